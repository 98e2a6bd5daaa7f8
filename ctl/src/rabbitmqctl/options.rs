//! Options and arguments, as RabbitMQ's tools take them: anywhere on the line, `--name value` or `--name=value`.

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Formatter {
    Table,
    Json,
    Csv,
    Pretty,
    Erlang,
}

/// A line, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Line {
    /// The command and its arguments.
    pub(super) words: Vec<String>,
    /// Options with what they were given; an empty value for one that takes none.
    options: Vec<(&'static str, String)>,
    /// All as it was given.
    pub(super) original: Vec<String>,
    /// Options that nobody knows.
    pub(super) unknown: Vec<String>,
}

/// An option.
struct Known {
    long: &'static str,
    short: Option<char>,
    takes_value: bool,
}

const fn switch(long: &'static str) -> Known {
    Known {
        long,
        short: None,
        takes_value: false,
    }
}

const fn value(long: &'static str) -> Known {
    Known {
        long,
        short: None,
        takes_value: true,
    }
}

const KNOWN: &[Known] = &[
    Known {
        long: "node",
        short: Some('n'),
        takes_value: true,
    },
    Known {
        long: "vhost",
        short: Some('p'),
        takes_value: true,
    },
    Known {
        long: "timeout",
        short: Some('t'),
        takes_value: true,
    },
    Known {
        long: "quiet",
        short: Some('q'),
        takes_value: false,
    },
    Known {
        long: "silent",
        short: Some('s'),
        takes_value: false,
    },
    Known {
        long: "longnames",
        short: Some('l'),
        takes_value: false,
    },
    Known {
        long: "help",
        short: Some('?'),
        takes_value: false,
    },
    Known {
        long: "if-empty",
        short: Some('e'),
        takes_value: false,
    },
    Known {
        long: "if-unused",
        short: Some('u'),
        takes_value: false,
    },
    Known {
        long: "minimal",
        short: Some('m'),
        takes_value: false,
    },
    Known {
        long: "verbose",
        short: Some('v'),
        takes_value: false,
    },
    switch("no-table-headers"),
    switch("table-headers"),
    switch("online"),
    switch("offline"),
    switch("local"),
    switch("global"),
    switch("dry-run"),
    switch("implicitly-enabled"),
    switch("enabled"),
    value("formatter"),
    value("format"),
    value("user"),
    value("priority"),
    value("apply-to"),
    value("description"),
    value("tags"),
    value("default-queue-type"),
    value("limit"),
    value("per-connection-delay"),
    value("unit"),
    value("within"),
    value("erlang-cookie"),
];

impl Line {
    /// Reads the words behind the tool's name.
    pub(super) fn parse(given: impl IntoIterator<Item = String>) -> Self {
        let original: Vec<String> = given.into_iter().collect();
        let mut given = original.clone().into_iter();
        let mut line = Self {
            original,
            ..Self::default()
        };
        while let Some(word) = given.next() {
            if word == "--" {
                line.words.extend(given.by_ref());
            } else if let Some(rest) = word.strip_prefix("--").filter(|rest| !rest.is_empty()) {
                line.long(rest, &mut given);
            } else if let Some(short) = short_option(&word) {
                line.short(short, &word, &mut given);
            } else {
                line.words.push(word);
            }
        }
        line
    }

    fn long(&mut self, rest: &str, given: &mut impl Iterator<Item = String>) {
        let (name, inline) = match rest.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (rest, None),
        };
        let name = name.replace('_', "-");
        match KNOWN.iter().find(|known| known.long == name) {
            Some(known) => self.take(known, inline, given),
            None => self.unknown.push(format!("--{name}")),
        }
    }

    fn short(&mut self, short: char, word: &str, given: &mut impl Iterator<Item = String>) {
        match KNOWN.iter().find(|known| known.short == Some(short)) {
            Some(known) => self.take(known, None, given),
            None => self.unknown.push(word.to_owned()),
        }
    }

    fn take(&mut self, known: &Known, inline: Option<String>, given: &mut impl Iterator<Item = String>) {
        let value = match (known.takes_value, inline) {
            (true, None) => given.next().unwrap_or_default(),
            (_, Some(inline)) => inline,
            (false, None) => String::new(),
        };
        self.options.push((known.long, value));
    }

    /// The options that are known, with their values.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.options.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The value of an option; the last one counts.
    pub(super) fn value(&self, long: &str) -> Option<&str> {
        let mut found = self.options.iter().rev();
        found
            .find(|(name, _)| *name == long)
            .map(|(_, value)| value.as_str())
    }

    /// Whether an option was given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.value(long).is_some_and(|value| value != "false")
    }

    /// The virtual host.
    pub(super) fn vhost(&self) -> &str {
        self.value("vhost").unwrap_or("/")
    }

    /// How results are printed; the name of a formatter that there is not.
    pub(super) fn formatter(&self) -> Result<Formatter, String> {
        match self.value("formatter").unwrap_or("table") {
            "table" | "string" => Ok(Formatter::Table),
            "json" => Ok(Formatter::Json),
            "csv" => Ok(Formatter::Csv),
            "pretty_table" => Ok(Formatter::Pretty),
            "erlang" => Ok(Formatter::Erlang),
            other => Err(other.to_owned()),
        }
    }

    /// Whether a table begins with the names of its columns.
    pub(super) fn headers(&self) -> bool {
        !self.has("silent") && !self.has("no-table-headers")
    }
}

/// `-p`, but not `-1` or a text with a dash before it.
fn short_option(word: &str) -> Option<char> {
    let mut letters = word.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    (letters.next().is_none() && !letter.is_ascii_digit()).then_some(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_anywhere() {
        let check = |line: &str, words: &[&str], option: (&str, Option<&str>), unknown: &[&str]| {
            let line = Line::parse(line.split_whitespace().map(str::to_owned));
            assert_eq!(line.words, words);
            assert_eq!(line.value(option.0), option.1);
            assert_eq!(line.unknown, unknown);
        };
        check(
            "list_queues -p shop name",
            &["list_queues", "name"],
            ("vhost", Some("shop")),
            &[],
        );
        check("-q list_queues", &["list_queues"], ("quiet", Some("")), &[]);
        check(
            "list_queues --vhost=/ name",
            &["list_queues", "name"],
            ("vhost", Some("/")),
            &[],
        );
        check(
            "a --no-table-headers",
            &["a"],
            ("no-table-headers", Some("")),
            &[],
        );
        check(
            "a --no_table_headers",
            &["a"],
            ("no-table-headers", Some("")),
            &[],
        );
        check("a --nonsense b", &["a", "b"], ("vhost", None), &["--nonsense"]);
        check("a -z -1 -", &["a", "-1", "-"], ("vhost", None), &["-z"]);
        check("a -- --vhost", &["a", "--vhost"], ("vhost", None), &[]);
        check("a -p x -p y", &["a"], ("vhost", Some("y")), &[]);
        check("a -p", &["a"], ("vhost", Some("")), &[]);
    }

    #[test]
    fn formatters() {
        let check = |line: &str, expected: Result<Formatter, &str>| {
            let line = Line::parse(line.split_whitespace().map(str::to_owned));
            assert_eq!(line.formatter(), expected.map_err(str::to_owned));
        };
        check("a", Ok(Formatter::Table));
        check("a --formatter json", Ok(Formatter::Json));
        check("a --formatter=pretty_table", Ok(Formatter::Pretty));
        check("a --formatter x", Err("x"));
    }
}
