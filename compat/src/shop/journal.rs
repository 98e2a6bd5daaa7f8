//! What the processes of a shop said, in the order of its arrival here, with the time.

use anyhow::{Context, bail};
use std::time::Duration;

/// A fact that a programme prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Its role has begun.
    Ready,
    /// A copy of this order is about to be published.
    Sending(usize),
    /// The broker has confirmed this order.
    Confirmed(usize),
    /// This order has come, flagged redelivered or not.
    Got(usize, bool),
    /// This order's acknowledgement is under way.
    Acked(usize),
    /// The price of this order is about to be asked for.
    Asked(usize),
    /// The price of this order has come.
    Answered(usize),
}

impl Fact {
    /// Reads one line.
    pub fn parse(line: &str) -> anyhow::Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let order = || -> anyhow::Result<usize> {
            let word = words.get(1).context("no order")?;
            word.parse().with_context(|| format!("not an order: {word}"))
        };
        let fact = || -> anyhow::Result<Self> {
            Ok(match (words.first().copied(), words.len()) {
                (Some("ready"), 1) => Self::Ready,
                (Some("sending"), 2) => Self::Sending(order()?),
                (Some("confirmed"), 2) => Self::Confirmed(order()?),
                (Some("got"), 3) => Self::Got(order()?, is_redelivered(words[2])?),
                (Some("acked"), 2) => Self::Acked(order()?),
                (Some("asked"), 2) => Self::Asked(order()?),
                (Some("answered"), 2) => Self::Answered(order()?),
                _ => bail!("not a fact"),
            })
        };
        fact().with_context(|| format!("a programme printed {line:?}"))
    }
}

fn is_redelivered(word: &str) -> anyhow::Result<bool> {
    match word {
        "fresh" => Ok(false),
        "redelivered" => Ok(true),
        _ => bail!("neither fresh nor redelivered"),
    }
}

/// A fact and when it arrived, since the story's beginning.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Never earlier than it happened.
    pub at: Duration,
    /// What happened.
    pub fact: Fact,
}

/// The broker's absence, since the story's beginning.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// Just before the SIGKILL.
    pub killed: Duration,
    /// The broker has answered again.
    pub back: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_fact() {
        let check = |line: &str, fact: Fact| assert_eq!(Fact::parse(line).unwrap(), fact, "{line}");
        check("ready", Fact::Ready);
        check("sending 0", Fact::Sending(0));
        check("confirmed 12", Fact::Confirmed(12));
        check("got 3 fresh", Fact::Got(3, false));
        check("got 3 redelivered", Fact::Got(3, true));
        check("acked 3", Fact::Acked(3));
        check("asked 4", Fact::Asked(4));
        check("answered 4", Fact::Answered(4));
    }

    #[test]
    fn nothing_else_is_one() {
        for line in [
            "",
            "got 3",
            "got 3 stale",
            "acked",
            "acked x",
            "acked 3 4",
            "Traceback",
        ] {
            assert!(Fact::parse(line).is_err(), "{line}");
        }
    }
}
