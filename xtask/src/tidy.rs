//! The house rules, as checks whose messages say what to do.
//!
//! The rules live in one table, [`RULES`]; who may import whom is one table too, [`layers::PACKAGES`]. Run by
//! `cargo xtask tidy`, by `cargo xtask test` and by `cargo test -p xtask`.

mod documents;
mod layers;
mod sources;

use crate::workspace::{self, Metadata};
use anyhow::bail;
use std::fs;
use std::path::{Path, PathBuf};

/// One rule of the house.
pub(crate) struct Rule {
    name: &'static str,
    /// Why we have it; printed under its complaints.
    why: &'static str,
    check: fn(&Tree) -> Vec<String>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "layers",
        why: "a crate exists because it makes an import impossible",
        check: layers::check,
    },
    Rule {
        name: "purity",
        why: "input and output belong to the edges, so that the core can be simulated",
        check: layers::check_sources,
    },
    Rule {
        name: "leftovers",
        why: "what is handed over works; what is left to do is an issue",
        check: sources::leftovers,
    },
    Rule {
        name: "module docs",
        why: "each module opens with what it is and what it is not responsible for",
        check: sources::module_docs,
    },
    Rule {
        name: "file length",
        why: "a file is a room with one purpose",
        check: sources::length,
    },
    Rule {
        name: "machine paths",
        why: "the tree must mean the same on every machine",
        check: sources::machine_paths,
    },
    Rule {
        name: "registry hosts",
        why: "where packages come from is the machine's business, not the tree's",
        check: sources::registry_hosts,
    },
    Rule {
        name: "lints",
        why: "the workspace's lints hold in every package",
        check: layers::check_lints,
    },
    Rule {
        name: "architecture",
        why: "a map that lies is worse than none",
        check: documents::architecture,
    },
    Rule {
        name: "links",
        why: "a link in a document leads somewhere",
        check: documents::links,
    },
    Rule {
        name: "decisions",
        why: "decisions are found by their number",
        check: documents::decisions,
    },
];

/// What the rules look at.
pub(crate) struct Tree {
    metadata: Metadata,
    files: Vec<File>,
}

/// A text file of the repository.
pub(crate) struct File {
    path: PathBuf,
    text: String,
}

impl Tree {
    fn read() -> anyhow::Result<Self> {
        let readable = |path: PathBuf| {
            let text = fs::read_to_string(workspace::root().join(&path)).ok()?;
            Some(File { path, text })
        };
        let files = workspace::files()?.into_iter().filter_map(readable).collect();
        Ok(Self {
            metadata: workspace::metadata()?,
            files,
        })
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(|file| file.path.extension().is_some_and(|extension| extension == "rs"))
    }

    fn markdown(&self) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(|file| file.path.extension().is_some_and(|extension| extension == "md"))
    }

    fn file(&self, path: impl AsRef<Path>) -> Option<&File> {
        self.files.iter().find(|file| file.path == path.as_ref())
    }
}

impl File {
    /// Written by a programme: it says so within its first lines.
    fn is_generated(&self) -> bool {
        self.text
            .lines()
            .take(5)
            .any(|line| line.contains(concat!("GENER", "ATED by")))
    }

    /// The lines with their numbers, from 1.
    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// The lines before the test module that closes the file.
    fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }

    fn complaint(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path.display())
    }
}

pub(crate) fn run(_arguments: &[String]) -> anyhow::Result<()> {
    let mut broken = 0;
    for (rule, complaints) in check_all()? {
        print(rule, &complaints);
        broken += usize::from(!complaints.is_empty());
    }
    if broken > 0 {
        bail!("{broken} house rules are broken")
    } else {
        Ok(())
    }
}

/// Every rule with what it has to complain about.
pub(crate) fn check_all() -> anyhow::Result<Vec<(&'static Rule, Vec<String>)>> {
    let tree = Tree::read()?;
    Ok(RULES.iter().map(|rule| (rule, (rule.check)(&tree))).collect())
}

pub(crate) fn print(rule: &Rule, complaints: &[String]) {
    if complaints.is_empty() {
        println!("ok   {}", rule.name);
        return;
    }
    println!("FAIL {}: {}", rule.name, rule.why);
    complaints
        .iter()
        .for_each(|complaint| println!("     {complaint}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn house_rules_hold() {
        let broken: Vec<String> = check_all()
            .unwrap()
            .into_iter()
            .flat_map(|(_, complaints)| complaints)
            .collect();
        assert!(
            broken.is_empty(),
            "`cargo xtask tidy` explains:\n{}",
            broken.join("\n")
        );
    }
}
