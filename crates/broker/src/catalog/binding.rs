//! A binding: from a source exchange to a queue or another exchange.

use serde::{Deserialize, Serialize};

use super::erlang;
use super::exchange::ExchangeKind;
use super::queue_arguments::QueueKind;
use super::refusal::{Refusal, resource};
use crate::arguments::{Arguments, Value};
use crate::name::Name;
use crate::routing::one_of;

/// What a binding leads to.
///
/// Part of the log's format by way of [`super::Fact`]: variants are appended, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Destination {
    /// A queue of the same virtual host.
    Queue(Name),
    /// An exchange of the same virtual host.
    Exchange(Name),
}

/// One binding. Two that are equal in all of this are the same binding, however often it was asked for; the order of the
/// arguments does not count, which is why they are kept sorted.
///
/// Part of the log's format by way of [`super::Fact`]: fields are never reordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Binding {
    /// The exchange that messages come from.
    pub source: Name,
    /// Where they go to.
    pub destination: Destination,
    /// What it means depends on the type of the source.
    pub routing_key: Name,
    /// Sorted by name.
    pub arguments: Arguments,
}

impl Destination {
    /// The name of the queue or exchange.
    pub fn name(&self) -> &Name {
        match self {
            Destination::Queue(name) | Destination::Exchange(name) => name,
        }
    }

    pub(crate) fn describe(&self, vhost: &Name) -> String {
        match self {
            Destination::Queue(name) => resource("queue", name, vhost),
            Destination::Exchange(name) => resource("exchange", name, vhost),
        }
    }

    fn normalized(self) -> Self {
        match self {
            Destination::Queue(name) => Destination::Queue(name.without_line_ends()),
            Destination::Exchange(name) => Destination::Exchange(name.without_line_ends()),
        }
    }
}

impl Binding {
    /// The binding as it is compared and kept.
    pub(crate) fn normalized(self) -> Self {
        Self {
            source: self.source.without_line_ends(),
            destination: self.destination.normalized(),
            routing_key: self.routing_key,
            arguments: self.arguments.sorted(),
        }
    }

    /// Neither end may be the default exchange, to which every queue is bound by its name and nothing else ever is.
    pub(crate) fn check_ends(&self) -> Result<(), Refusal> {
        let to_default = matches!(&self.destination, Destination::Exchange(name) if name.is_empty());
        if self.source.is_empty() || to_default {
            Err(Refusal::default_exchange())
        } else {
            Ok(())
        }
    }
}

/// Whether an exchange of that kind can make sense of the binding; `queue` is the type of the queue that it leads to.
pub(crate) fn check_for(
    source: ExchangeKind,
    binding: &Binding,
    queue: Option<QueueKind>,
) -> Result<(), Refusal> {
    match source {
        ExchangeKind::Headers => check_headers_match(&binding.arguments),
        ExchangeKind::ConsistentHash => check_weight(&binding.routing_key),
        ExchangeKind::LocalRandom => check_local(&binding.routing_key, queue),
        ExchangeKind::Direct
        | ExchangeKind::Fanout
        | ExchangeKind::Topic
        | ExchangeKind::ModulusHash
        | ExchangeKind::Random
        | ExchangeKind::Delayed => Ok(()),
    }
}

fn check_weight(key: &Name) -> Result<(), Refusal> {
    match one_of::weight(key) {
        None => Err(Refusal::precondition_failed(format!(
            "The binding key must be an integer: {}",
            erlang::binary(key)
        ))),
        Some(0) => Err(Refusal::precondition_failed(
            "The binding key must be greater than 0",
        )),
        Some(_) => Ok(()),
    }
}

fn check_local(key: &Name, queue: Option<QueueKind>) -> Result<(), Refusal> {
    match queue {
        _ if !key.is_empty() => Err(Refusal::precondition_failed(format!(
            "Non empty binding '{key}' key not permitted"
        ))),
        None => Err(Refusal::precondition_failed("Destination not found")),
        Some(QueueKind::Classic) => Ok(()),
        Some(kind) => Err(Refusal::precondition_failed(format!(
            "Queue type {} not valid for this exchange type",
            kind.module_name()
        ))),
    }
}

/// Whether a headers exchange can make sense of the arguments.
fn check_headers_match(arguments: &Arguments) -> Result<(), Refusal> {
    match arguments.get("x-match") {
        None => Ok(()),
        Some(Value::LongString(how)) => match how.as_ref() {
            b"all" | b"any" | b"all-with-x" | b"any-with-x" => Ok(()),
            other => Err(Refusal::precondition_failed(format!(
                "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
                erlang::binary(other)
            ))),
        },
        Some(other) => Err(Refusal::precondition_failed(format!(
            "Invalid x-match field type {} (value {}); expected longstr",
            other.type_name(),
            erlang::term(other)
        ))),
    }
}
