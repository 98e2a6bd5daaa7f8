//! Orders about messages: back, away, elsewhere. One order of ours may take the broker several steps; each of them is done or not done
//! as a whole, and what was done is told even if a later one fails.

use std::io::IsTerminal as _;

use clap::Args;
use serde_json::{Value, json};

use super::exit::Misused;
use super::filter::Filter;
use super::{Context, Exit};
use crate::output::cell::bytes_text;

/// Which messages an order is about.
#[derive(Debug, Default, Args)]
pub(super) struct Which {
    /// These, by their ids, with commas between them.
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with_all = ["first", "last", "all"])]
    ids: Vec<u64>,
    /// From this id on.
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    first: Option<u64>,
    /// Up to this id.
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    last: Option<u64>,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Only say how many they are, and do nothing.
    #[arg(long, visible_alias = "dry-run")]
    preview: bool,
    #[command(flatten)]
    filter: Filter,
}

/// One order: what it asks for, and how it is told.
pub(super) struct Order<'a> {
    /// Where it is sent.
    pub(super) path: String,
    /// What it says besides which messages.
    pub(super) more: Value,
    /// `redrive`, `discard`, ...
    pub(super) act: &'a str,
    /// What has become of the messages, as in `3 messages redriven`.
    pub(super) done: &'a str,
    /// The messages of what.
    pub(super) what: String,
}

/// What has become of an order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Outcome {
    messages: u64,
    bytes: u64,
    stayed: u64,
    reason: Option<String>,
}

impl Which {
    /// The first request; `None` in place of `first` begins at the beginning.
    fn body(&self, first: Option<u64>) -> Result<Value, Misused> {
        let Self { ids, all, filter, .. } = self;
        let bounded = self.first.is_some() || self.last.is_some();
        let which = match (ids.as_slice(), filter.json()) {
            (ids @ [_, ..], None) => {
                let left: Vec<u64> = ids
                    .iter()
                    .copied()
                    .filter(|id| first.is_none_or(|first| *id >= first))
                    .collect();
                json!({ "ids": left })
            }
            ([], Some(filter)) => self.range(json!({ "filter": filter }), first),
            ([], None) if *all || bounded => self.range(json!({}), first),
            _ => {
                let text = "say which: --ids, --first and --last, --all, or what they carry, such as --routing-key or --text; --ids alone";
                return Err(Misused(text.to_owned()));
            }
        };
        Ok(which)
    }

    fn range(&self, mut body: Value, first: Option<u64>) -> Value {
        let first = first.or(self.first).unwrap_or(0);
        body["first"] = json!(first);
        body["last"] = json!(self.last.unwrap_or(u64::MAX));
        body
    }
}

impl Order<'_> {
    /// Asks the broker until all is done, and says what was.
    pub(super) fn run(&self, context: &Context, which: &Which) -> anyhow::Result<Exit> {
        which.body(None)?;
        if self.act == "discard" && !which.preview {
            context.confirm(&format!("discard {}", self.what))?;
        }
        let mut outcome = Outcome::default();
        let carried_out = self.steps(context, which, &mut outcome);
        let sentence = outcome.sentence(self.done, which.preview);
        if let Err(error) = carried_out {
            let before = if outcome == Outcome::default() {
                String::new()
            } else {
                format!("; before that: {sentence}")
            };
            return Err(error.context(format!("cannot {} {}{before}", self.act, self.what)));
        }
        let Outcome {
            messages,
            bytes,
            stayed,
            reason,
        } = outcome;
        let answer = json!({
            "preview": which.preview, "messages": messages, "bytes": bytes, "stayed": stayed, "reason": reason,
        });
        context.say(&sentence, &answer)
    }

    fn steps(&self, context: &Context, which: &Which, outcome: &mut Outcome) -> anyhow::Result<()> {
        let mut progress = Progress::new(context.json);
        let mut first = None;
        loop {
            let mut body = which.body(first)?;
            body["preview"] = json!(which.preview);
            if let (Some(body), Some(more)) = (body.as_object_mut(), self.more.as_object()) {
                body.extend(more.clone());
            }
            let answer = context.api.post(&self.path, &body)?.body;
            let before = outcome.clone();
            outcome.add(&answer);
            let next = answer["next"].as_u64();
            // What finds no room now finds none at the next attempt, and an order that gets no further is over.
            let stuck = outcome.reason.as_deref() == Some("no_room") || next <= first && before == *outcome;
            match next {
                Some(_) if !stuck => first = next,
                _ => return Ok(()),
            }
            progress.tell(outcome);
        }
    }
}

/// How far an order is, on a terminal: one line that is written over.
struct Progress {
    shows: bool,
    told: bool,
}

impl Progress {
    fn new(json: bool) -> Self {
        let shows = std::io::stderr().is_terminal() && !json;
        Self { shows, told: false }
    }

    fn tell(&mut self, outcome: &Outcome) {
        if self.shows {
            self.told = true;
            let bytes = bytes_text(outcome.bytes as f64);
            eprint!("\r\x1b[K{} messages ({bytes}) so far", outcome.messages);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.told {
            eprint!("\r\x1b[K");
        }
    }
}

impl Outcome {
    fn add(&mut self, answer: &Value) {
        let number = |field: &str| answer[field].as_u64().unwrap_or_default();
        self.messages += number("messages");
        self.bytes += number("bytes");
        self.stayed += number("stayed") + number("no_room");
        let reason = answer["reason"].as_str().map(str::to_owned);
        self.reason = reason
            .or_else(|| (number("no_room") > 0).then(|| "no_room".to_owned()))
            .or(self.reason.take());
    }

    fn sentence(&self, done: &str, preview: bool) -> String {
        let Self {
            messages,
            bytes,
            stayed,
            reason,
        } = self;
        let would = if preview { "would be " } else { "" };
        let why = match reason.as_deref() {
            Some("no_room") => "there is no room for them".to_owned(),
            Some("no_target") => "no queue wants them".to_owned(),
            Some("gone") => "somebody has taken them meanwhile".to_owned(),
            Some("too_large") => "they are too large".to_owned(),
            Some("unreadable") => "they cannot be read".to_owned(),
            Some(other) => other.to_owned(),
            None => return format!("{messages} messages ({bytes} bytes) {would}{done}"),
        };
        let stayed = if *stayed > 0 {
            format!("{stayed} stayed")
        } else {
            "the rest stayed".to_owned()
        };
        format!("{messages} messages ({bytes} bytes) {would}{done}; {stayed}: {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        which: Which,
    }

    fn which(line: &str) -> Which {
        let words = line.split(' ').filter(|word| !word.is_empty());
        Line::parse_from(std::iter::once("x").chain(words)).which
    }

    #[test]
    fn an_order_says_which() {
        let check = |line: &str, first: Option<u64>, expected: Option<Value>| {
            assert_eq!(which(line).body(first).ok(), expected, "{line} {first:?}");
        };
        let end = u64::MAX;
        check("--ids 1,2", None, Some(json!({"ids": [1, 2]})));
        check("--ids 1,2,9", Some(2), Some(json!({"ids": [2, 9]})));
        check("--first 1 --last 9", None, Some(json!({"first": 1, "last": 9})));
        check(
            "--first 1 --last 9",
            Some(5),
            Some(json!({"first": 5, "last": 9})),
        );
        check("--all", None, Some(json!({"first": 0, "last": end})));
        check("--all", Some(7), Some(json!({"first": 7, "last": end})));
        check(
            "--text x",
            Some(7),
            Some(json!({"filter": {"text": "x"}, "first": 7, "last": end})),
        );
        check("--ids 1 --text x", None, None);
        check("", None, None);
        check("--preview", None, None);
    }

    #[test]
    fn what_became_of_an_order() {
        let check = |answers: &[Value], preview: bool, expected: &str| {
            let mut outcome = Outcome::default();
            answers.iter().for_each(|answer| outcome.add(answer));
            assert_eq!(outcome.sentence("redriven", preview), expected);
        };
        check(
            &[json!({"messages": 3, "bytes": 30, "no_room": 0})],
            false,
            "3 messages (30 bytes) redriven",
        );
        check(
            &[
                json!({"messages": 3, "bytes": 30}),
                json!({"messages": 1, "bytes": 5}),
            ],
            true,
            "4 messages (35 bytes) would be redriven",
        );
        check(
            &[json!({"messages": 3, "bytes": 30, "no_room": 1})],
            false,
            "3 messages (30 bytes) redriven; 1 stayed: there is no room for them",
        );
        check(
            &[
                json!({"messages": 0, "bytes": 0, "stayed": 2, "reason": "no_target"}),
                json!({"messages": 0, "bytes": 0}),
            ],
            false,
            "0 messages (0 bytes) redriven; 2 stayed: no queue wants them",
        );
        check(
            &[json!({"messages": 5, "bytes": 9, "stayed": 0, "reason": "no_room"})],
            false,
            "5 messages (9 bytes) redriven; the rest stayed: there is no room for them",
        );
    }
}
