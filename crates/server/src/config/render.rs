//! The keys as people read them: the documented defaults that `everack config` prints, and the
//! reference in the guide.

use std::fmt::Write as _;

use super::keys::Config;
use super::table::{Change, Key, REQUIRED, Setting, join};

/// The documented default configuration. Every key is there, commented out, so that a file made
/// from it keeps following the defaults of later versions until a line is changed.
pub fn documented_defaults() -> String {
    let mut out = String::from(
        "# Configuration of everack. Every key with its default. Uncomment a line to change it.\n\
         # Give the file with `everack serve --config FILE`. Flags win over the file.\n\
         # Keys marked (reload) are taken over at SIGHUP; the others at the next start.\n",
    );
    for section in Config::KEYS {
        out.push('\n');
        comment(&mut out, section.help);
        if section.is_list {
            example_entry(&mut out, section);
        } else {
            let _ = writeln!(out, "[{}]", section.name);
            section.keys.iter().for_each(|key| documented_key(&mut out, key));
        }
    }
    out
}

fn comment(out: &mut String, help: &[&str]) {
    for line in help {
        let _ = writeln!(out, "#{line}");
    }
}

fn documented_key(out: &mut String, key: &Key) {
    out.push('\n');
    comment(out, key.help);
    let reload = if key.change == Change::Live {
        " (reload)"
    } else {
        ""
    };
    let _ = writeln!(out, "# {}{reload}", capitalised(&(key.type_name)()));
    let _ = writeln!(out, "#{} = {}", key.name, key.default);
}

/// A list of tables has no default entry to show; an example says more.
fn example_entry(out: &mut String, section: &Key) {
    let _ = writeln!(out, "#[[{}]]", section.name);
    for key in section.keys {
        comment(out, key.help);
        let shown = if key.is_list {
            example_of(key)
        } else {
            example_value(key).to_owned()
        };
        let _ = writeln!(out, "#{} = {shown}", key.name);
    }
}

fn example_of(key: &Key) -> String {
    let fields: Vec<String> = key
        .keys
        .iter()
        .map(|inner| format!("{} = {}", inner.name, example_value(inner)))
        .collect();
    format!("[{{ {} }}]", fields.join(", "))
}

fn example_value(key: &Key) -> &'static str {
    match key.name {
        "name" => "\"orders\"",
        "password_hash" => "\"$argon2id$v=19$m=19456,t=2,p=1$...\"",
        "configure" | "write" | "read" => "\".*\"",
        _ => key.default,
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + letters.as_str())
        .unwrap_or_default()
}

/// The configuration reference of the guide.
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration reference\n\n\
         <!-- Written by `everack config --reference` from crates/server/src/config/keys.rs; a test keeps it current. -->\n\n\
         The file is [TOML](https://toml.io) and is given with `everack serve --config FILE`; without it the defaults\n\
         below hold. Any key can also be given on the command line as `--set key=value` (`--data` and `--amqp` are\n\
         short for two of them), and a flag wins over the file. Relative paths start at the working directory. An unknown key is an error. `everack config` prints all of\n\
         this as a file to start from, and `everack config --check FILE` checks one.\n\n\
         At SIGHUP the file is read again: keys marked *reload* take effect at once, and the log names every other key\n\
         that has changed and needs a restart. A file with an error changes nothing.\n",
    );
    for section in Config::KEYS {
        let title = if section.is_list {
            format!("[[{}]]", section.name)
        } else {
            format!("[{}]", section.name)
        };
        let _ = write!(out, "\n## `{title}`\n\n{}\n", prose(section.help));
        rows(&mut out, section.name, section.keys);
    }
    out
}

fn prose(help: &[&str]) -> String {
    help.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn rows(out: &mut String, path: &str, keys: &[Key]) {
    for key in keys {
        let name = join(path, key.name);
        let default = match key.default {
            REQUIRED => "required".to_owned(),
            default => format!("default `{default}`"),
        };
        let change = if key.change == Change::Live {
            "reload"
        } else {
            "restart"
        };
        let _ = write!(
            out,
            "\n### `{name}`\n\n{}\n\n{}; {default}; *{change}*.\n",
            prose(key.help),
            capitalised(&(key.type_name)())
        );
        rows(out, &name, key.keys);
    }
}
