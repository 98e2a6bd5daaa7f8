//! Looks through the messages of a queue, a page of runs after the other, without changing anything. The partition tells where they
//! are and goes on; what they are is read from memory or from the log here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use everack_broker::catalog::Queue;
use everack_broker::ids::{ConsumerId, Seq};
use everack_broker::partition::{Cursor, Place};
use everack_node::messages::Messages;
use everack_node::recall::Recall;
use everack_node::report::{ListedMessages, ListedReport, Report};
use everack_node::request::{List, Request};
use serde_json::{Map, Value, json};

use super::filter::{Filter, Wanted};
use super::messages;
use crate::http::Node;
use crate::http::inquiry;
use crate::http::refusal::Refusal;

/// Most messages that are shown at once.
pub(super) const SHOWN_MAX: usize = 1_000;
/// Most bytes of a body that are shown.
const BODY_SHOWN_MAX: usize = 64 << 10;
/// Bytes of bodies in one answer, after which it ends; one may go beyond.
const BODIES_BYTES_MAX: usize = 1 << 20;
/// Most messages that are looked at for one answer.
pub(super) const LOOKED_MAX: u64 = 100_000;
/// Bytes of records that are read for one answer, after which it ends; one may go beyond.
const READ_BYTES_MAX: usize = 64 << 20;
/// How long one answer may look.
const LOOK_MAX: Duration = Duration::from_secs(8);
/// Runs that a partition tells of in one go.
const PAGE_RUNS: usize = 256;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) place: Place,
    pub(super) from: Cursor,
    /// Only what this one holds.
    pub(super) holder: Option<ConsumerId>,
    /// Numbers from this on are not looked at.
    pub(super) end: Seq,
    pub(super) filter: Arc<Filter>,
    /// Most messages to find.
    pub(super) most: usize,
    /// Most messages to look at.
    pub(super) looked_max: u64,
    /// Most bytes of each body that are shown.
    pub(super) truncate: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// As they are shown.
    pub(super) messages: Vec<Value>,
    /// Their numbers.
    pub(super) ids: Vec<Seq>,
    /// How many were looked at.
    pub(super) looked: u64,
    /// Where to go on, if that was not all.
    pub(super) next: Option<Cursor>,
    shown_bytes: usize,
    read_bytes: usize,
    over: bool,
}

impl Question {
    /// Reads what stands behind the question mark.
    pub(super) fn of(pairs: &[(String, String)], place: Place) -> Result<Self, Refusal> {
        let mut question = Self {
            place,
            from: Cursor::default(),
            holder: None,
            end: Seq(u64::MAX),
            filter: Arc::default(),
            most: 100,
            looked_max: LOOKED_MAX,
            truncate: 1_000,
        };
        let mut wanted = Wanted::default();
        for (name, value) in pairs {
            let number = || {
                let parsed = value.parse::<u64>();
                parsed.map_err(|_| Refusal::Bad(format!("{name} is no number: {value}")))
            };
            match name.as_str() {
                "count" => question.most = number()?.clamp(1, SHOWN_MAX as u64) as usize,
                "truncate" => question.truncate = number()?.min(BODY_SHOWN_MAX as u64) as usize,
                "look" => question.looked_max = number()?.clamp(1, LOOKED_MAX),
                "first" => question.from = cursor(value)?,
                "consumer" => question.holder = Some(ConsumerId(number()?)),
                _ => {
                    wanted.take(name, value)?;
                }
            }
        }
        question.filter = Arc::new(Filter::new(wanted)?);
        if let Some(holder) = question.holder {
            if place != Place::Unsettled {
                return Err(Refusal::bad("consumer is for state=unsettled"));
            }
            let number = question.from.number * u64::from(question.from.holder == holder);
            question.from = Cursor { holder, number };
        }
        Ok(question)
    }

    /// As many runs as may be needed: there is a message in each, and the one behind the last is where the next question begins.
    fn page_runs(&self) -> usize {
        let messages = match self.filter.is_open() {
            true => self.looked_max.min(self.most as u64),
            false => self.looked_max,
        };
        PAGE_RUNS.min(messages as usize + 1)
    }
}

/// `next` of an answer: a number, or a consumer and a number.
pub(super) fn cursor(text: &str) -> Result<Cursor, Refusal> {
    let (holder, number) = text.split_once('-').unwrap_or(("0", text));
    match (holder.parse(), number.parse()) {
        (Ok(holder), Ok(number)) => Ok(Cursor {
            holder: ConsumerId(holder),
            number,
        }),
        _ => Err(Refusal::Bad(format!("first is no number: {text}"))),
    }
}

/// As [`cursor`] reads it.
pub(super) fn cursor_json(cursor: Option<Cursor>) -> Value {
    match cursor {
        None => Value::Null,
        Some(Cursor {
            holder: ConsumerId(0),
            number,
        }) => json!(number),
        Some(Cursor { holder, number }) => json!(format!("{holder}-{number}")),
    }
}

/// Looks, as far as one answer reaches.
pub(super) async fn search(node: &Node, queue: &Queue, question: Question) -> Result<Found, Refusal> {
    let began = Instant::now();
    let (mut found, mut question) = (Found::default(), question);
    loop {
        let Some(listed) = page(node, queue, &question).await? else {
            return Err(Refusal::NotFound);
        };
        let recall = node.engine.recall.clone();
        let sifted = tokio::task::spawn_blocking(move || {
            sift(&listed, &recall, &question, &mut found);
            (question, found)
        });
        let busy = |_| Refusal::Busy("the messages could not be read");
        (question, found) = sifted.await.map_err(busy)?;
        match found.next {
            Some(next) if !found.over && began.elapsed() < LOOK_MAX => question.from = next,
            _ => return Ok(found),
        }
    }
}

async fn page(node: &Node, queue: &Queue, question: &Question) -> Result<Option<ListedReport>, Refusal> {
    let reports = inquiry::ask(&node.engine, queue.partition, |inquirer| {
        vec![Request::List(List {
            queue: queue.id,
            place: question.place,
            from: question.from,
            most: question.page_runs(),
            inquirer: inquirer.clone(),
        })]
    });
    let reports = reports.await?.into_iter();
    let mut listed = reports.filter_map(|report| match report {
        Report::Listed(listed) => Some(listed),
        _ => None,
    });
    Ok(listed.next())
}

/// Adds what fits of a page. Reads the log.
fn sift(listed: &ListedReport, recall: &Recall, question: &Question, found: &mut Found) {
    let same = |next: &Cursor| question.holder.is_none_or(|holder| next.holder == holder);
    found.next = listed.next.filter(same);
    for run in &listed.runs {
        if question
            .holder
            .is_some_and(|holder| run.looked.at.holder != holder)
        {
            (found.next, found.over) = (None, true);
            return;
        }
        // Until somebody wants it, it is not read.
        let mut content = None;
        for offset in 0..run.looked.run.count() {
            let at = run.looked.at.plus(u64::from(offset));
            let id = run.looked.run.first.plus(u64::from(offset));
            if id >= question.end && question.place != Place::Unsettled {
                (found.next, found.over) = (None, true);
                return;
            }
            let full = found.ids.len() >= question.most || found.looked >= question.looked_max;
            if full || found.shown_bytes >= BODIES_BYTES_MAX || found.read_bytes >= READ_BYTES_MAX {
                (found.next, found.over) = (Some(at), true);
                return;
            }
            found.looked += 1;
            let content = content.get_or_insert_with(|| read(run, recall, &mut found.read_bytes));
            let index = usize::from(run.looked.run.from + offset);
            let fits = match content {
                Ok(messages) => question.filter.fits(messages, index),
                // What cannot be read is there all the same.
                Err(_) => question.filter.is_open(),
            };
            if fits {
                let (shown, bytes) = show(run, id, content, index, question.truncate);
                found.messages.push(Value::Object(shown));
                found.ids.push(id);
                found.shown_bytes += bytes;
            }
        }
    }
}

/// One message as it is shown, and how many bytes of its body are.
fn show(
    run: &ListedMessages,
    id: Seq,
    content: &Result<Messages, String>,
    index: usize,
    truncate: usize,
) -> (Map<String, Value>, usize) {
    let mut shown = messages::about(run, id);
    match content {
        Ok(messages) => {
            let body = messages.body(index);
            let piece = &body[..body.len().min(truncate)];
            messages::describe(&mut shown, messages, index, piece);
            (shown, piece.len())
        }
        Err(error) => {
            shown.insert("error".to_owned(), json!(error));
            (shown, 0)
        }
    }
}

fn read(listed: &ListedMessages, recall: &Recall, bytes: &mut usize) -> Result<Messages, String> {
    let run = &listed.looked.run;
    if let Some(content) = &run.content {
        return Ok(content.clone());
    }
    let messages = recall.glance(run.location).map_err(|error| error.to_string())?;
    *bytes += messages.chunk.len();
    match usize::from(run.to) <= messages.len() {
        true => Ok(messages),
        false => Err("the record has fewer messages".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let check = |text: &str, holder: u64, number: u64, shown: Value| {
            let holder = ConsumerId(holder);
            let expected = Cursor { holder, number };
            assert_eq!(cursor(text), Ok(expected), "{text}");
            assert_eq!(cursor_json(Some(expected)), shown);
        };
        check("7", 0, 7, json!(7));
        check("65536-9", 65_536, 9, json!("65536-9"));
        for odd in ["", "-", "x", "1-", "-1", "1-2-3"] {
            assert!(cursor(odd).is_err(), "{odd}");
        }
        assert_eq!(cursor_json(None), Value::Null);
    }

    #[test]
    fn no_more_runs_are_listed_than_may_be_needed() {
        let check = |pairs: &[(&str, &str)], runs: usize| {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let question = Question::of(&pairs, Place::Ready).ok().unwrap();
            assert_eq!(question.page_runs(), runs, "{pairs:?}");
        };
        check(&[], 101);
        check(&[("count", "1")], 2);
        check(&[("count", "1"), ("text", "x")], PAGE_RUNS);
        check(&[("count", "1"), ("text", "x"), ("look", "9")], 10);
        check(&[("count", "1000")], PAGE_RUNS);
    }

    #[test]
    fn questions_have_bounds() {
        let ask = |name: &str, value: &str| {
            let pairs = [(name.to_owned(), value.to_owned())];
            Question::of(&pairs, Place::Ready)
        };
        assert_eq!(ask("count", "0").map(|question| question.most).ok(), Some(1));
        assert_eq!(
            ask("count", "5000").map(|question| question.most).ok(),
            Some(SHOWN_MAX)
        );
        let truncate = ask("truncate", "99999999").map(|question| question.truncate);
        assert_eq!(truncate.ok(), Some(BODY_SHOWN_MAX));
        let looked = ask("look", "99999999").map(|question| question.looked_max);
        assert_eq!(looked.ok(), Some(LOOKED_MAX));
        assert!(ask("count", "x").is_err());
        assert!(ask("first", "x").is_err());
    }
}
