//! One command as its page tells it, whatever the page is written in.

use clap::{Arg, Command};

/// One command: what it is called, what it does, what it takes.
pub(super) struct Page<'a> {
    /// The words that call it.
    words: Vec<&'a str>,
    command: &'a Command,
    /// The command above it.
    parent: Option<&'a Command>,
}

/// One option or argument.
pub(super) struct Item {
    /// As it is written: `-y, --yes`, `--url <URL>`, `<QUEUE>`.
    pub(super) written: String,
    /// What it means, in sentences.
    pub(super) help: String,
    /// What it may be, if that is a list, and what each of it means.
    pub(super) values: Vec<(String, Option<String>)>,
    /// What it is if nothing is said.
    pub(super) default: Option<String>,
    /// The variable that says it where there is no option.
    pub(super) variable: Option<String>,
}

/// Commands that one looks for when one has found another.
const RELATED: &[(&str, &[&str])] = &[
    ("serve", &["config", "health", "ctl"]),
    ("config", &["serve", "hash-password"]),
    ("ctl", &["top", "doctor"]),
    ("top", &["ctl", "doctor"]),
    ("doctor", &["ctl", "audit"]),
    ("audit", &["doctor", "bench"]),
    ("inspect", &["serve", "audit"]),
    ("health", &["ctl", "serve"]),
    ("migrate", &["ctl"]),
];

impl<'a> Page<'a> {
    /// All pages, a command before those below it.
    pub(super) fn all(everack: &'a Command) -> Vec<Self> {
        let mut pages = Vec::new();
        collect(Vec::new(), everack, None, &mut pages);
        pages
    }

    /// `everack ctl list`.
    pub(super) fn name(&self) -> String {
        self.words.join(" ")
    }

    /// `everack-ctl-list`, as man pages are called.
    pub(super) fn title(&self) -> String {
        self.words.join("-")
    }

    /// What it does, as one phrase.
    pub(super) fn phrase(&self) -> String {
        let about = self.command.get_about().map(ToString::to_string);
        about.unwrap_or_default().trim_end_matches('.').to_owned()
    }

    /// What it does, paragraph by paragraph.
    pub(super) fn description(&self) -> Vec<String> {
        let about = self.command.get_long_about().or(self.command.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        about.split("\n\n").map(sentence).collect()
    }

    /// How it is called.
    pub(super) fn usage(&self) -> Vec<String> {
        let usage = self.command.clone().render_usage().to_string();
        let usage = usage.strip_prefix("Usage:").unwrap_or(&usage);
        usage.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// What is given by its place.
    pub(super) fn arguments(&self) -> Vec<Item> {
        self.command
            .get_positionals()
            .filter(|arg| !arg.is_hide_set())
            .map(Item::of)
            .collect()
    }

    /// Options of its own.
    pub(super) fn options(&self) -> Vec<Item> {
        let own = |arg: &&Arg| !arg.is_positional() && !arg.is_hide_set() && !self.inherits(arg);
        self.command.get_arguments().filter(own).map(Item::of).collect()
    }

    /// The command whose options it takes besides.
    pub(super) fn inherits_from(&self) -> Option<String> {
        let inherits = self
            .command
            .get_arguments()
            .any(|arg| arg.is_global_set() && self.inherits(arg));
        // All that is inherited comes from the second word.
        inherits.then(|| self.words[..2.min(self.words.len())].join(" "))
    }

    fn inherits(&self, arg: &Arg) -> bool {
        let Some(parent) = self.parent else {
            return false;
        };
        // Every command has these; one page tells of them.
        let usual = matches!(arg.get_id().as_str(), "help" | "version");
        let above = || parent.get_arguments().any(|above| above.get_id() == arg.get_id());
        usual || arg.is_global_set() && above()
    }

    /// The commands below it: their words, titles and phrases.
    pub(super) fn commands(&self) -> Vec<(String, String, String)> {
        let below = self.command.get_subcommands();
        let told = |command: &'a Command| {
            let page = self.below(command);
            (page.name(), page.title(), page.phrase())
        };
        below.map(told).collect()
    }

    /// The statuses that it ends with, and what they mean.
    pub(super) fn statuses(&self) -> Vec<(String, String)> {
        let after = self
            .command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let lines = after.lines().map(str::trim);
        let pair = |line: &str| {
            line.split_once("  ")
                .map(|(status, meaning)| (status.to_owned(), meaning.to_owned()))
        };
        lines.filter_map(pair).collect()
    }

    /// The titles of pages that go on from here.
    pub(super) fn see_also(&self) -> Vec<String> {
        let mut titles = Vec::new();
        if self.parent.is_some() {
            titles.push(self.words[..self.words.len() - 1].join("-"));
        }
        if let [_, name] = self.words[..] {
            let related = RELATED.iter().filter(|(of, _)| *of == name);
            titles.extend(
                related
                    .flat_map(|(_, names)| names.iter())
                    .map(|name| format!("everack-{name}")),
            );
        }
        titles.extend(self.commands().into_iter().map(|(_, title, _)| title));
        titles
    }

    /// How deep below the first word it lies.
    pub(super) fn depth(&self) -> usize {
        self.words.len() - 1
    }

    fn below(&self, command: &'a Command) -> Self {
        let mut words = self.words.clone();
        words.push(command.get_name());
        Self {
            words,
            command,
            parent: Some(self.command),
        }
    }
}

fn collect<'a>(
    above: Vec<&'a str>,
    command: &'a Command,
    parent: Option<&'a Command>,
    pages: &mut Vec<Page<'a>>,
) {
    let words = [above, vec![command.get_name()]].concat();
    pages.push(Page {
        words: words.clone(),
        command,
        parent,
    });
    for subcommand in command.get_subcommands() {
        collect(words.clone(), subcommand, Some(command), pages);
    }
}

impl Item {
    fn of(arg: &Arg) -> Self {
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string);
        let takes_value = arg.get_action().takes_values();
        let listed = takes_value && !arg.is_hide_possible_values_set();
        let values = if listed {
            arg.get_possible_values()
        } else {
            Vec::new()
        };
        let values = values.iter().filter(|value| !value.is_hide_set());
        let value = |value: &clap::builder::PossibleValue| {
            (
                value.get_name().to_owned(),
                value.get_help().map(|help| sentence(&help.to_string())),
            )
        };
        let defaults = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy().into_owned());
        let default = defaults.collect::<Vec<_>>().join(",");
        let told = takes_value && !arg.is_hide_default_value_set() && !default.is_empty();
        Self {
            written: written(arg),
            help: sentence(&help.unwrap_or_default()),
            values: values.map(value).collect(),
            default: told.then_some(default),
            variable: arg.get_env().map(|name| name.to_string_lossy().into_owned()),
        }
    }
}

fn written(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let names = if names.is_empty() {
        arg.get_id().as_str().to_uppercase()
    } else {
        names.join(" ")
    };
    if arg.is_positional() {
        return if arg.is_required_set() {
            format!("<{names}>")
        } else {
            format!("[{names}]")
        };
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let others = arg.get_visible_aliases().unwrap_or_default();
    let long = arg.get_long().into_iter().chain(others);
    let flags: Vec<String> = short
        .into_iter()
        .chain(long.map(|long| format!("--{long}")))
        .collect();
    let value = if arg.get_action().takes_values() {
        format!(" <{names}>")
    } else {
        String::new()
    };
    format!("{}{value}", flags.join(", "))
}

/// A help text with the full stop that the library takes away.
fn sentence(text: &str) -> String {
    let text = text.trim().replace('\n', " ");
    if text.is_empty() || text.ends_with(['.', '!', '?', ':']) {
        text
    } else {
        format!("{text}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn related_pages_are_there() {
        let everack = super::super::everack();
        let pages = Page::all(&everack);
        let titles: Vec<String> = pages.iter().map(Page::title).collect();
        for page in &pages {
            for title in page.see_also() {
                assert!(titles.contains(&title), "{} names {title}", page.title());
            }
        }
    }

    #[test]
    fn options_of_a_group_of_commands_are_told_once() {
        let everack = super::super::everack();
        let pages = Page::all(&everack);
        let check = |name: &str, from: Option<&str>, option: &str, expected: bool| {
            let page = pages.iter().find(|page| page.name() == name).unwrap();
            assert_eq!(page.inherits_from().as_deref(), from, "{name}");
            let told = page.options().iter().any(|item| item.written.contains(option));
            assert_eq!(told, expected, "{name} {option}");
        };
        check("everack", None, "--version", true);
        check("everack ctl", None, "--url <URL>", true);
        check("everack ctl list", Some("everack ctl"), "--url", false);
        check(
            "everack ctl list",
            Some("everack ctl"),
            "--columns <FIELDS>",
            true,
        );
        check("everack ctl declare queue", Some("everack ctl"), "--help", false);
        check("everack serve", None, "--http <ADDR:PORT>", true);
    }

    #[test]
    fn what_is_said_of_an_option() {
        let item = Item::of(
            &Arg::new("level")
                .short('l')
                .long("level")
                .value_name("LEVEL")
                .default_value("3")
                .help("How deep"),
        );
        assert_eq!(item.written, "-l, --level <LEVEL>");
        assert_eq!(
            (item.help.as_str(), item.default.as_deref()),
            ("How deep.", Some("3"))
        );
        let preview = Arg::new("preview")
            .long("preview")
            .visible_alias("dry-run")
            .action(clap::ArgAction::SetTrue);
        assert_eq!(Item::of(&preview).written, "--preview, --dry-run");
        let item = Item::of(&Arg::new("queue").required(true));
        assert_eq!(item.written, "<QUEUE>");
    }
}
