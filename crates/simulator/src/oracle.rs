//! What must be true after a crash, judged by what clients saw and by nothing else.
//!
//! A publish that was not confirmed is unknown: it may be there or not. A settlement that was sent in the step of the crash may
//! not have become durable: that message may come back. Everything else is certain.

use std::collections::BTreeMap;

/// What the clients know of one message in one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Sent; no confirm was seen.
    Unknown,
    /// Confirmed: it must be there.
    Confirmed,
    /// Settled (or purged, or gone with its queue) in a step that ended in a crash: it may be there.
    Settling,
    /// Settled in a step that ended well: it must not be there.
    Settled,
}

/// What is known of all messages, by queue and body.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By queue, the number of the publish, and what is known.
    pub queues: BTreeMap<String, BTreeMap<u64, Fate>>,
    /// Transactions: the messages of each have the same fate.
    pub transactions: Vec<Vec<(String, u64)>>,
    /// Messages that are dying: each is either still in its queue or in the one that its dead letters go to.
    pub moves: Vec<Move>,
    /// Queues that a client knows to be there, or not to be there.
    pub declared: BTreeMap<String, bool>,
    /// Bindings, by exchange and queue, that a client knows to be there, or not to be there.
    pub bound: BTreeMap<(String, String), bool>,
}

/// A message on its way from one queue to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The queue that it dies in.
    pub source: String,
    /// The queue that its dead letter goes to.
    pub target: String,
    /// Its number.
    pub number: u64,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Confirmed, and not there.
    Lost(String, u64),
    /// Settled durably, and there again.
    Resurrected(String, u64),
    /// There, and never sent to this queue; or there twice.
    Phantom(String, u64),
    /// Not the bytes that were sent.
    Damaged(String),
    /// Behind one that was published later.
    Reordered(String, u64),
    /// A transaction of which some is there and some is not.
    Torn(Vec<(String, u64)>),
    /// A queue that was declared is gone, or one that was deleted is back.
    Topology(String),
}

impl Ledger {
    /// Judges what was found: the messages of each queue, in their order.
    pub fn judge(&self, found: &BTreeMap<String, Option<Vec<Vec<u8>>>>) -> Vec<Broken> {
        let mut broken = Vec::new();
        for (queue, there) in &self.declared {
            let is_there = found.get(queue).is_some_and(Option::is_some);
            if is_there != *there {
                broken.push(Broken::Topology(queue.clone()));
            }
        }
        for (queue, messages) in found {
            let Some(bodies) = messages else { continue };
            let known = self.queues.get(queue).cloned().unwrap_or_default();
            judge_queue(queue, &known, bodies, &mut broken);
        }
        for Move {
            source,
            target,
            number,
        } in &self.moves
        {
            let places = [source, target].map(|queue| usize::from(has(found, queue, *number)));
            match places.iter().sum() {
                0 => broken.push(Broken::Lost(source.clone(), *number)),
                1 => (),
                _ => broken.push(Broken::Phantom(target.clone(), *number)),
            }
        }
        for transaction in &self.transactions {
            let there = |(queue, number): &&(String, u64)| has(found, queue, *number);
            let count = transaction.iter().filter(there).count();
            if count != 0 && count != transaction.len() {
                broken.push(Broken::Torn(transaction.clone()));
            }
        }
        broken
    }
}

fn judge_queue(queue: &str, known: &BTreeMap<u64, Fate>, bodies: &[Vec<u8>], broken: &mut Vec<Broken>) {
    let mut seen = Vec::new();
    for body in bodies {
        let Some(number) = number_of(body) else {
            broken.push(Broken::Damaged(queue.to_owned()));
            continue;
        };
        if seen.last().is_some_and(|last| *last > number) {
            broken.push(Broken::Reordered(queue.to_owned(), number));
        }
        if seen.contains(&number) || !known.contains_key(&number) {
            broken.push(Broken::Phantom(queue.to_owned(), number));
        }
        if known.get(&number) == Some(&Fate::Settled) {
            broken.push(Broken::Resurrected(queue.to_owned(), number));
        }
        seen.push(number);
    }
    for (number, _) in known.iter().filter(|(_, fate)| **fate == Fate::Confirmed) {
        if !seen.contains(number) {
            broken.push(Broken::Lost(queue.to_owned(), *number));
        }
    }
}

fn has(found: &BTreeMap<String, Option<Vec<Vec<u8>>>>, queue: &str, number: u64) -> bool {
    let bodies = found.get(queue).and_then(Option::as_ref);
    bodies.is_some_and(|bodies| bodies.iter().any(|body| number_of(body) == Some(number)))
}

/// The body of message `number`, `bytes` long: the number, and a pattern that follows from it.
pub fn body_of(number: u64, bytes: usize) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.extend((8..bytes).map(|at| (number as usize * 31 + at) as u8));
    body
}

/// The number of the message with this body; none if the body is not what was sent.
pub fn number_of(body: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*body.first_chunk()?);
    (body == body_of(number, body.len())).then_some(number)
}
