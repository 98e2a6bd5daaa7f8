//! What shells and people are told of the command line: completions, man pages, the guide's reference. All of it comes from the one
//! definition in [`crate::cli`]; a page is a [`page::Page`], written as roff or as Markdown.

mod completions;
mod markdown;
mod page;
mod roff;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _};

pub(crate) use completions::Completions;

use crate::cli::Cli;
use crate::output::print;
use page::Page;

/// Which pages to write.
#[derive(Debug, Args)]
pub(crate) struct Manual {
    /// The directory to write a page for each command into, such as /usr/local/share/man/man1. It is made if it is not there.
    #[arg(value_name = "DIR", required_unless_present = "markdown")]
    directory: Option<PathBuf>,
    /// Print the reference of all commands as Markdown, as in the guide.
    #[arg(long, conflicts_with = "directory")]
    markdown: bool,
}

impl Manual {
    /// Writes what was asked for.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let everack = everack();
        let pages = Page::all(&everack);
        let Some(directory) = self.directory else {
            print(&markdown::reference(&pages))?;
            return Ok(ExitCode::SUCCESS);
        };
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        for page in &pages {
            let file = directory.join(format!("{}.1", page.title()));
            std::fs::write(&file, roff::render(page))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        print(&format!("{} pages are in {}\n", pages.len(), directory.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The command line as users may know it: without what is hidden, and complete, with all that subcommands inherit.
fn everack() -> Command {
    let whole = Cli::command();
    let mut shown = Command::new("everack")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .subcommand_required(true)
        .disable_help_subcommand(true);
    if let Some(about) = whole.get_about() {
        shown = shown.about(about.clone());
    }
    for subcommand in whole.get_subcommands().filter(|command| !command.is_hide_set()) {
        shown = shown.subcommand(subcommand.clone());
    }
    shown.build();
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hidden_is_told_and_all_else_is() {
        fn check(command: &Command) {
            assert!(!command.is_hide_set(), "{}", command.get_name());
            assert!(
                command.get_about().is_some(),
                "{} says nothing of itself",
                command.get_name()
            );
            command.get_subcommands().for_each(check);
        }
        let everack = everack();
        check(&everack);
        let names: Vec<&str> = everack.get_subcommands().map(Command::get_name).collect();
        assert!(names.contains(&"serve") && names.contains(&"ctl"), "{names:?}");
    }

    /// To refresh it: `cargo run -p everack-server -- man --markdown > docs/guide/src/commands.md`.
    #[cfg(feature = "demo")]
    #[test]
    fn the_reference_in_the_guide_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/src/commands.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == markdown::reference(&Page::all(&everack())),
            "docs/guide/src/commands.md is behind the command line; run\n  \
             cargo run -p everack-server -- man --markdown > docs/guide/src/commands.md"
        );
    }
}
