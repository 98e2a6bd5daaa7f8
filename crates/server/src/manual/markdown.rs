//! The guide's reference of all commands.

use std::fmt::Write as _;

use super::page::{Item, Page};

const HEAD: &str = "# Command reference

<!-- Written by `everack man --markdown` from the definition of the command line; a test keeps it current. -->

All commands with all that they take, as `everack COMMAND --help` and the man pages (`man everack-ctl-list`) tell it. [Operating from the command
line](command-line.md) tells how to use them.

";

/// All of it.
pub(super) fn reference(pages: &[Page<'_>]) -> String {
    let mut out = HEAD.to_owned();
    for page in pages {
        section(&mut out, page);
    }
    // One line end at the end.
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn section(out: &mut String, page: &Page<'_>) {
    // The page's title is the first level; what lies deep is not made smaller than can be read.
    let marks = "#".repeat((page.depth() + 2).min(4));
    let _ = write!(out, "{marks} {}\n\n", page.name());
    for paragraph in page.description() {
        let _ = write!(out, "{}\n\n", escaped(&paragraph));
    }
    let _ = write!(out, "```text\n{}\n```\n\n", page.usage().join("\n"));
    commands(out, page);
    items(out, "argument", &page.arguments());
    items(out, "option", &page.options());
    if let Some(from) = page.inherits_from() {
        let _ = write!(
            out,
            "Also the options of [{from}](#{}).\n\n",
            from.replace(' ', "-")
        );
    }
    let statuses = page.statuses();
    if !statuses.is_empty() {
        out.push_str("| status | meaning |\n|---|---|\n");
        for (status, meaning) in statuses {
            let _ = writeln!(out, "| {status} | {} |", escaped(&meaning));
        }
        out.push('\n');
    }
}

fn commands(out: &mut String, page: &Page<'_>) {
    let commands = page.commands();
    if commands.is_empty() {
        return;
    }
    out.push_str("| command | what it does |\n|---|---|\n");
    for (name, title, phrase) in commands {
        let _ = writeln!(out, "| [`{name}`](#{title}) | {} |", escaped(&phrase));
    }
    out.push('\n');
}

fn items(out: &mut String, heading: &str, items: &[Item]) {
    if items.is_empty() {
        return;
    }
    let _ = write!(out, "| {heading} | meaning |\n|---|---|\n");
    for item in items {
        let mut text = escaped(&item.help);
        if let Some(default) = &item.default {
            let _ = write!(text, " The default is `{}`.", default.replace('|', "\\|"));
        }
        if let Some(variable) = &item.variable {
            let _ = write!(text, " The variable `{variable}` says it too.");
        }
        values(&mut text, item);
        let _ = writeln!(out, "| `{}` | {} |", item.written, text.trim());
    }
    out.push('\n');
}

fn values(text: &mut String, item: &Item) {
    for (name, help) in &item.values {
        let help = help
            .as_deref()
            .map(|help| format!(": {}", escaped(help)))
            .unwrap_or_default();
        let _ = write!(text, "<br>`{name}`{help}");
    }
}

/// Text that stays within a cell and is no HTML. What is between backticks is left as it is, but for the cell's own mark.
fn escaped(text: &str) -> String {
    let piece = |(at, piece): (usize, &str)| {
        let piece = piece.replace('|', "\\|");
        if at % 2 == 1 {
            piece
        } else {
            piece.replace('<', "&lt;")
        }
    };
    text.split('`')
        .enumerate()
        .map(piece)
        .collect::<Vec<_>>()
        .join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_kept() {
        let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected);
        check("a | b", "a \\| b");
        check("a<b `c<d`", "a&lt;b `c<d`");
        check("", "");
    }

    #[test]
    fn a_command_has_a_section() {
        let everack = super::super::everack();
        let text = reference(&Page::all(&everack));
        for part in [
            "\n## everack\n",
            "\n### everack ctl\n",
            "\n#### everack ctl list\n",
            "| [`everack ctl list`](#everack-ctl-list) | List what there is |\n",
            "Also the options of [everack ctl](#everack-ctl).",
            "| `-y, --yes` | Do not ask before something is taken away. |\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing");
        }
    }
}
