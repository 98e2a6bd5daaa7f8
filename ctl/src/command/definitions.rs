//! `export` and `import`: the definitions as one JSON document, RabbitMQ's format.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use everack_api_client::path;
use serde_json::{Value, json};

use super::exit::Misused;
use super::{Context, Exit};
use crate::output::print_json;

/// Most bytes of a file of definitions.
const FILE_BYTES_MAX: u64 = 512 << 20;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file to write; standard output if nothing is said. With --vhost only what is in that.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file to read; `-` for standard input. With --vhost into that.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let path = definitions(context.vhost.as_deref());
        let answer = context.api.get(&path).context("cannot read the definitions")?;
        let Some(file) = self.file.filter(|file| file != Path::new("-")) else {
            print_json(&answer)?;
            return Ok(Exit::Done);
        };
        write_private(&file, &answer)?;
        let sentence = format!("the definitions are in {}", file.display());
        context.say(&sentence, &json!({ "exported": file.display().to_string() }))
    }
}

impl Import {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let text = read(&self.file)?;
        let wrong = |error| Misused(format!("{}: this is not JSON: {error}", self.file.display()));
        let body: Value = serde_json::from_str(&text).map_err(wrong)?;
        let mut path = definitions(context.vhost.as_deref());
        if self.dry_run {
            path += "?dry_run=true";
        } else {
            context.confirm(&format!(
                "bring the definitions of {} into force",
                self.file.display()
            ))?;
        }
        let answer = context
            .api
            .post(&path, &body)
            .context("nothing was imported")?
            .body;
        if self.dry_run {
            // The difference is for people and scripts alike.
            print_json(&answer)?;
            return Ok(Exit::Done);
        }
        let done = json!({ "imported": self.file.display().to_string() });
        context.say("the definitions are in force", &done)
    }
}

/// Where the definitions are, of all or of one virtual host.
fn definitions(vhost: Option<&str>) -> String {
    match vhost {
        Some(vhost) => path(&["definitions", vhost]),
        None => path(&["definitions"]),
    }
}

/// Writes a document that holds hashes of passwords: a file for its owner only.
pub(crate) fn write_private(file: &Path, document: &Value) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let about = || format!("cannot write {}", file.display());
    let mut options = std::fs::OpenOptions::new();
    let mut out = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .with_context(about)?;
    serde_json::to_writer_pretty(&mut out, document).with_context(about)?;
    out.write_all(b"\n").with_context(about)?;
    out.sync_all().with_context(about)
}

/// The text of a file, or of standard input.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    let about = || format!("cannot read {}", file.display());
    let mut text = String::new();
    let input: Box<dyn std::io::Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(about)?)
    };
    input
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .with_context(about)?;
    ensure!(
        text.len() as u64 <= FILE_BYTES_MAX,
        "{}: too large for definitions",
        file.display()
    );
    Ok(text)
}
