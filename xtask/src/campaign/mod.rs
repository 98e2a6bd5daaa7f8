//! `cargo xtask campaign`: everything that is to show that a confirmed message is never lost, in one go, with the same
//! faults on RabbitMQ beside it. Writes what was seen to `figures.json` and `figures.md`.
//!
//! Responsible for the order of the parts, for what is demanded of their figures, and for the report. What a part does is
//! the part's own affair: each is a command of ours that prints one JSON object on its last line.

mod demand;
mod machine;
mod part;
mod parts;
mod peer;
mod report;

use crate::{shell, workspace};
use anyhow::{Context, bail};
use part::{Outcome, Part};
use std::fs;
use std::path::PathBuf;

/// How much of it is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// What the report in the repository was made with: about an hour on two cores.
    Full,
    /// A tenth of it, to see that everything still works.
    Short,
}

/// Where the commands and their files are.
pub(crate) struct Site {
    pub(crate) scale: Scale,
    /// The folder of the release binaries.
    pub(crate) binaries: PathBuf,
    /// A folder for data, journals and logs; emptied at the start.
    pub(crate) scratch: PathBuf,
}

impl Site {
    /// How often something is done: `full` times, or a tenth of that.
    pub(crate) fn times(&self, full: u64) -> u64 {
        match self.scale {
            Scale::Full => full,
            Scale::Short => full.div_ceil(10),
        }
    }
}

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let options = Options::parse(arguments)?;
    let metadata = workspace::metadata()?;
    shell::run(shell::cargo().args(["build", "--release", "--workspace", "--bins"]))?;
    let site = Site {
        scale: options.scale,
        binaries: metadata.target_directory.join("release"),
        scratch: metadata.target_directory.join("campaign"),
    };
    if site.scratch.exists() {
        fs::remove_dir_all(&site.scratch).context("cannot empty the folder of the last campaign")?;
    }
    fs::create_dir_all(&site.scratch)?;
    let mut outcomes = Vec::new();
    for part in &options.parts {
        let outcome = part.run(&site)?;
        println!("{}\n", outcome.line());
        outcomes.push(outcome);
    }
    let out = options.out.unwrap_or_else(|| site.scratch.clone());
    report::write(&out, &site, &outcomes)?;
    println!("the report is in {}", out.display());
    if outcomes.iter().all(Outcome::is_good) {
        return Ok(());
    }
    bail!("some part did not show what it was to show: see above")
}

/// What the command line asks for.
struct Options {
    scale: Scale,
    parts: Vec<&'static Part>,
    out: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options = Self {
            scale: Scale::Full,
            parts: parts::ALL.iter().collect(),
            out: None,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--short" => options.scale = Scale::Short,
                "--only" => {
                    let names = words.next().context("--only needs names of parts")?;
                    options.parts = names.split(',').map(parts::find).collect::<anyhow::Result<_>>()?;
                }
                "--out" => {
                    let folder = words.next().context("--out needs a folder")?;
                    options.out = Some(workspace::root().join(folder));
                }
                "--list" => {
                    parts::ALL
                        .iter()
                        .for_each(|part| println!("{:<20} {}", part.name, part.title));
                    std::process::exit(0);
                }
                other => bail!(
                    "`{other}` is not known; there are --short, --only PART,..., --out FOLDER and --list"
                ),
            }
        }
        Ok(options)
    }
}
