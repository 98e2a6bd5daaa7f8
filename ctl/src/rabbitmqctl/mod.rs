//! `rabbitmqctl`, `rabbitmq-diagnostics` and `rabbitmq-plugins`: RabbitMQ's command line tools, for scripts that know them.
//!
//! | room | what it does |
//! |---|---|
//! | [`options`] | words and options, as those tools take them |
//! | [`session`] | one call: the API, banners, errors and their statuses |
//! | [`commands`] | the table of commands |
//! | [`lists`] | from the API's fields to RabbitMQ's columns |
//! | [`rows`], [`cell`] | five formats |
//! | [`actions`], [`diagnostics`], [`plugins`] | what changes, what looks, what is built in |
//!
//! Texts and statuses are those of RabbitMQ 3.10.8 (`compat/rabbitmqctl`). What there is no Erlang for ends with 69 and a reason.

mod actions;
mod cell;
mod commands;
mod diagnostics;
mod lists;
mod options;
mod plugins;
mod rows;
mod session;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use options::Line;
use session::{Done, Session, Stop, status};

/// Which tool was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `rabbitmqctl`.
    Ctl,
    /// `rabbitmq-diagnostics`.
    Diagnostics,
    /// `rabbitmq-plugins`.
    Plugins,
}

impl Tool {
    /// The tool that a programme's name stands for, if it does.
    pub fn named(programme: &OsStr) -> Option<Self> {
        match Path::new(programme).file_name()?.to_str()? {
            "rabbitmqctl" => Some(Self::Ctl),
            "rabbitmq-diagnostics" => Some(Self::Diagnostics),
            "rabbitmq-plugins" => Some(Self::Plugins),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ctl => "rabbitmqctl",
            Self::Diagnostics => "rabbitmq-diagnostics",
            Self::Plugins => "rabbitmq-plugins",
        }
    }
}

/// A command.
struct Spec {
    name: &'static str,
    /// The tools that have it, besides those that have all of them.
    of: &'static [Tool],
    /// What follows the name in its usage.
    usage: &'static str,
    /// What it does.
    about: &'static str,
    /// Fewest and most arguments.
    words: (usize, usize),
    /// Options beyond those that all take.
    options: &'static [&'static str],
    run: fn(&Session) -> Done,
}

/// Options that all commands take.
const GENERAL: [&str; 9] = [
    "node",
    "timeout",
    "quiet",
    "silent",
    "longnames",
    "help",
    "formatter",
    "erlang-cookie",
    "no-table-headers",
];

/// Does what a tool was called for; `given` are the words behind its name.
pub fn run(tool: Tool, given: impl IntoIterator<Item = String>) -> ExitCode {
    let line = Line::parse(given);
    match execute(tool, line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop { status, text }) => {
            eprint!("{text}");
            ExitCode::from(status)
        }
    }
}

fn execute(tool: Tool, line: Line) -> Done {
    let Some(name) = line.words.first().cloned() else {
        return if line.has("help") {
            help(tool, None)
        } else {
            Err(Stop {
                status: status::USAGE,
                text: overview(tool),
            })
        };
    };
    if name == "help" {
        return help(tool, line.words.get(1).map(String::as_str));
    }
    let Some(spec) = found(tool, &name) else {
        return Err(unknown(tool, &name));
    };
    if line.has("help") {
        return help(tool, Some(&name));
    }
    if let Some(misused) = wrong(tool, spec, &line) {
        return Err(misused);
    }
    let formatter = line.formatter();
    let formatter =
        formatter.map_err(|name| misused(tool, spec, &line, &format!("Invalid formatter: {name}")))?;
    let session = Session::new(tool, spec, line, formatter);
    (spec.run)(&session)
}

/// The command of that name. `rabbitmqctl` has none of the diagnostics' own, as in RabbitMQ.
fn found(tool: Tool, name: &str) -> Option<&'static Spec> {
    commands::all().find(|spec| spec.name == name && spec.of.contains(&tool))
}

/// What is wrong with the words, if something is.
fn wrong(tool: Tool, spec: &'static Spec, line: &Line) -> Option<Stop> {
    let alien = line
        .given()
        .find(|(name, _)| !GENERAL.contains(name) && !spec.options.contains(name));
    let alien = alien.map(|(name, value)| format!("--{name} : {value}"));
    let alien = line
        .unknown
        .first()
        .map(|option| format!("{option} : "))
        .or(alien);
    if let Some(alien) = alien {
        return Some(misused(
            tool,
            spec,
            line,
            &format!("Invalid options for this command:\n{alien}"),
        ));
    }
    let (fewest, most) = spec.words;
    match line.words.len() - 1 {
        few if few < fewest => Some(misused(tool, spec, line, "not enough arguments.")),
        many if many > most => Some(misused(tool, spec, line, "too many arguments.")),
        _ => None,
    }
}

/// What RabbitMQ says to a line that cannot be.
fn misused(tool: Tool, spec: &Spec, line: &Line, what: &str) -> Stop {
    Stop {
        status: status::USAGE,
        text: format!(
            "Error (argument validation): {what}\nArguments given:\n\t{}\n{}",
            line.original.join(" "),
            usage(tool, spec)
        ),
    }
}

fn usage(tool: Tool, spec: &Spec) -> String {
    let rest = if spec.usage.is_empty() {
        String::new()
    } else {
        format!(" {}", spec.usage)
    };
    format!(
        "\n\x1b[1mUsage\x1b[0m\n\n{} [--node <node>] [--longnames] [--quiet] {}{rest}\n",
        tool.name(),
        spec.name
    )
}

fn unknown(tool: Tool, name: &str) -> Stop {
    let near = commands::all().filter(|spec| spec.of.contains(&tool));
    let near = near.map(|spec| (distance(spec.name, name), spec.name)).min();
    let text = match near {
        Some((few, near)) if few <= 3 => {
            format!("\nCommand '{name}' not found. \nDid you mean '{near}'? \n\n")
        }
        _ => format!("\nCommand '{name}' not found. \n{}", overview(tool)),
    };
    Stop {
        status: status::USAGE,
        text,
    }
}

/// How many letters have to be changed, added or left out.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, wanted) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *wanted);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// All commands of a tool.
fn overview(tool: Tool) -> String {
    let mut out = format!(
        "\n\x1b[1mUsage\x1b[0m\n\n{} [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> [<command options>]\n\n\
         Available commands:\n\n",
        tool.name()
    );
    for spec in commands::all().filter(|spec| spec.of.contains(&tool)) {
        out += &format!("   {:<30}{}\n", spec.name, spec.about);
    }
    out + &format!(
        "\nUse '{0} help <command>' to learn more about a specific command\n\n\
         This is Everack's {0}: it asks the management API, where EVERACK_URL says, else that of the broker on this machine.\n",
        tool.name()
    )
}

fn help(tool: Tool, command: Option<&str>) -> Done {
    let text = match command {
        None => overview(tool),
        Some(name) => {
            let spec = found(tool, name).ok_or_else(|| unknown(tool, name))?;
            format!("{}\n{}.\n", usage(tool, spec), spec.about)
        }
    };
    let _ = crate::output::print(&text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(tool: Tool, line: &str) -> Stop {
        let line = Line::parse(line.split_whitespace().map(str::to_owned));
        execute(tool, line).unwrap_err()
    }

    #[test]
    fn tools_by_name() {
        let check = |name: &str, expected| assert_eq!(Tool::named(OsStr::new(name)), expected, "{name}");
        check("rabbitmqctl", Some(Tool::Ctl));
        check("/usr/sbin/rabbitmqctl", Some(Tool::Ctl));
        check("./rabbitmq-diagnostics", Some(Tool::Diagnostics));
        check("rabbitmq-plugins", Some(Tool::Plugins));
        check("everack", None);
        check("", None);
    }

    /// What RabbitMQ 3.10.8 printed.
    #[test]
    fn lines_that_cannot_be() {
        let check = |line: &str, expected: &str| {
            let stop = stop(Tool::Ctl, line);
            assert_eq!((stop.status, stop.text.as_str()), (64, expected), "{line}");
        };
        check(
            "add_user",
            "Error (argument validation): not enough arguments.\nArguments given:\n\tadd_user\n\n\
             \x1b[1mUsage\x1b[0m\n\nrabbitmqctl [--node <node>] [--longnames] [--quiet] add_user <username> <password>\n",
        );
        check(
            "list_users extra args",
            "Error (argument validation): too many arguments.\nArguments given:\n\tlist_users extra args\n\n\
             \x1b[1mUsage\x1b[0m\n\nrabbitmqctl [--node <node>] [--longnames] [--quiet] list_users [--no-table-headers] [--timeout <timeout>]\n",
        );
        check(
            "list_exchanges foo",
            "Error (argument validation): Info key(s) foo are not supported\nArguments given:\n\tlist_exchanges foo\n\n\
             \x1b[1mUsage\x1b[0m\n\nrabbitmqctl [--node <node>] [--longnames] [--quiet] list_exchanges [--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]\n",
        );
        check(
            "list_quues",
            "\nCommand 'list_quues' not found. \nDid you mean 'list_queues'? \n\n",
        );
        assert!(stop(Tool::Ctl, "list_queues --nonsense name").text.starts_with(
            "Error (argument validation): Invalid options for this command:\n--nonsense : \nArguments given:\n\tlist_queues --nonsense name\n"
        ));
        assert!(
            stop(Tool::Ctl, "add_vhost a --if-empty")
                .text
                .contains("--if-empty : \n")
        );
        assert!(stop(Tool::Plugins, "list_queues").text.contains("not found"));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let stop = stop(Tool::Ctl, "stop_app");
        assert_eq!(stop.status, 69);
        assert!(stop.text.starts_with("Error:\nstop_app: "), "{}", stop.text);
    }

    #[test]
    fn names_are_unique_and_described() {
        for (at, spec) in commands::all().enumerate() {
            assert!(!spec.about.is_empty(), "{}", spec.name);
            let same = commands::all().skip(at + 1).find(|other| other.name == spec.name);
            assert!(same.is_none(), "{} twice", spec.name);
        }
    }

    #[test]
    fn distances() {
        let check = |one: &str, other: &str, expected| assert_eq!(distance(one, other), expected);
        check("", "", 0);
        check("abc", "abc", 0);
        check("list_queues", "list_quues", 1);
        check("abc", "xyz", 3);
        check("", "ab", 2);
    }
}
