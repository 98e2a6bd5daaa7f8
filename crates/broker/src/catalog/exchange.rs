//! One exchange: what was declared, the bindings that start here and the table made of them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::binding::Binding;
use super::bound::Bound;
use super::delayed;
use super::equivalence;
use super::erlang;
use super::govern::Governance;
use super::refusal::{Refusal, RefusalKind, resource};
use crate::arguments::{Arguments, Value};
use crate::name::Name;
use crate::routing::Property;
use crate::routing::one_of::{Choice, HashedBy, OneOf};
use crate::routing::table::Table;

/// How an exchange chooses.
///
/// Part of the log's format by way of [`super::Fact`]: variants are appended, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExchangeKind {
    /// By the routing key.
    Direct,
    /// Not at all: to every destination.
    Fanout,
    /// By patterns of words.
    Topic,
    /// By headers.
    Headers,
    /// One of the bindings, by hash and weight.
    ConsistentHash,
    /// One of the bindings, by hash alone.
    ModulusHash,
    /// One of the bindings, by chance.
    Random,
    /// One of the queues of this node, by chance.
    LocalRandom,
    /// As another kind does, once the time of a message has come.
    Delayed,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Unique in its virtual host.
    pub name: Name,
    /// How it chooses.
    pub kind: ExchangeKind,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with the last binding that starts here.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// As declared.
    pub arguments: Arguments,
    /// Which policies govern it, and what they set.
    pub governance: Governance,
    /// Where messages go that find no destination here, as declared or as a policy says. Need not exist.
    pub alternate: Option<Name>,
    /// The name of the queue in which messages wait before they are routed, if they do here.
    pub(crate) room: Option<Name>,
    pub(crate) binding_count: usize,
    pub(crate) table: Table,
}

/// What was asked for when an exchange is declared.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub(crate) kind: ExchangeKind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Arguments,
}

/// The argument that names the alternate exchange; the only one that a redeclaration must repeat.
pub(crate) const ALTERNATE: &str = "alternate-exchange";

impl ExchangeKind {
    /// The kind of that name.
    pub fn parse(name: &[u8]) -> Result<Self, Refusal> {
        Ok(match name {
            b"direct" => ExchangeKind::Direct,
            b"fanout" => ExchangeKind::Fanout,
            b"topic" => ExchangeKind::Topic,
            b"headers" => ExchangeKind::Headers,
            b"x-consistent-hash" => ExchangeKind::ConsistentHash,
            b"x-modulus-hash" => ExchangeKind::ModulusHash,
            b"x-random" => ExchangeKind::Random,
            b"x-local-random" => ExchangeKind::LocalRandom,
            b"x-delayed-message" => ExchangeKind::Delayed,
            other => {
                let text = format!("unknown exchange type '{}'", String::from_utf8_lossy(other));
                return Err(Refusal::new(RefusalKind::CommandInvalid, text));
            }
        })
    }
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Headers => "headers",
            ExchangeKind::ConsistentHash => "x-consistent-hash",
            ExchangeKind::ModulusHash => "x-modulus-hash",
            ExchangeKind::Random => "x-random",
            ExchangeKind::LocalRandom => "x-local-random",
            ExchangeKind::Delayed => "x-delayed-message",
        })
    }
}

impl Exchange {
    pub(crate) fn new(name: Name, declaration: Declaration) -> Self {
        let Declaration {
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
        } = declaration;
        let table = match chooses_as(kind, &arguments) {
            // What no longer says how to choose does so by the key: it was checked when it was declared.
            ExchangeKind::Direct | ExchangeKind::Delayed => Table::Direct(Default::default()),
            ExchangeKind::Fanout => Table::Fanout(Default::default()),
            ExchangeKind::Topic => Table::Topic(Default::default()),
            ExchangeKind::Headers => Table::Headers(Default::default()),
            ExchangeKind::ConsistentHash => Table::OneOf(OneOf::new(Choice::Weighted, hashed_by(&arguments))),
            ExchangeKind::ModulusHash => Table::OneOf(OneOf::new(Choice::Modulus, HashedBy::RoutingKey)),
            ExchangeKind::Random | ExchangeKind::LocalRandom => {
                Table::OneOf(OneOf::new(Choice::Random, HashedBy::RoutingKey))
            }
        };
        Exchange {
            room: (kind == ExchangeKind::Delayed).then(|| delayed::room_of(&name)),
            name,
            kind,
            durable,
            auto_delete,
            internal,
            alternate: alternate_of(&arguments),
            arguments,
            governance: Governance::default(),
            binding_count: 0,
            table,
        }
    }

    /// From here on these policies govern it. What was declared counts before them.
    pub(crate) fn govern(&mut self, governance: Governance) {
        self.alternate = alternate_of(&governance.effective(&self.arguments));
        self.governance = governance;
    }

    /// How it chooses, once the time of a message has come.
    pub(crate) fn chooses_as(&self) -> ExchangeKind {
        chooses_as(self.kind, &self.arguments)
    }

    /// Whether no binding starts here.
    pub fn is_unused(&self) -> bool {
        self.binding_count == 0
    }

    /// How many bindings start here.
    pub fn binding_count(&self) -> usize {
        self.binding_count
    }

    /// The bindings that start here, in no particular order.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> {
        self.bound().map(|binding| binding.binding())
    }

    /// The same as they are kept.
    pub(crate) fn bound(&self) -> impl Iterator<Item = &Arc<Bound>> {
        self.table.bindings()
    }

    /// Whether a declaration says the same as this.
    pub(crate) fn check_equivalence(&self, vhost: &Name, declared: &Declaration) -> Result<(), Refusal> {
        let resource = resource("exchange", &self.name, vhost);
        equivalence::check_property("type", &resource, self.kind, declared.kind)?;
        equivalence::check_property("durable", &resource, self.durable, declared.durable)?;
        equivalence::check_property("auto_delete", &resource, self.auto_delete, declared.auto_delete)?;
        equivalence::check_property("internal", &resource, self.internal, declared.internal)?;
        equivalence::check_arguments(&[ALTERNATE], &resource, &self.arguments, &declared.arguments)
    }
}

/// What an exchange of that kind does with messages whose time has come.
fn chooses_as(kind: ExchangeKind, arguments: &Arguments) -> ExchangeKind {
    match kind {
        ExchangeKind::Delayed => delayed::delayed_kind(arguments).unwrap_or(kind),
        kind => kind,
    }
}

fn alternate_of(arguments: &Arguments) -> Option<Name> {
    let name = arguments.get(ALTERNATE).and_then(Value::as_long_string);
    name.map(Name::new)
}

/// Whether an argument that names an exchange is a string, if it is there; `resource` is what is being declared.
pub(crate) fn check_exchange_argument(
    name: &str,
    arguments: &Arguments,
    resource: &str,
) -> Result<(), Refusal> {
    match arguments.get(name) {
        None | Some(Value::LongString(_)) => Ok(()),
        Some(other) => {
            let text = format!(
                "invalid type '{}' for arg '{name}' in {resource}",
                other.type_name()
            );
            Err(Refusal::precondition_failed(text))
        }
    }
}

/// What the arguments of a consistent hash exchange may be: a header or a property to hash, not both.
pub(crate) fn check_hash_arguments(arguments: &Arguments, resource: &str) -> Result<(), Refusal> {
    check_exchange_argument(HASH_HEADER, arguments, resource)?;
    check_exchange_argument(HASH_PROPERTY, arguments, resource)?;
    match (arguments.get(HASH_HEADER), arguments.get(HASH_PROPERTY)) {
        (Some(_), Some(_)) => Err(Refusal::precondition_failed(
            "hash-header and hash-property are mutually exclusive",
        )),
        (None, Some(property)) if hashed_property(property).is_none() => {
            let property = erlang::plain(property);
            Err(Refusal::precondition_failed(format!(
                "Unsupported property: {property}"
            )))
        }
        _ => Ok(()),
    }
}

const HASH_HEADER: &str = "hash-header";
const HASH_PROPERTY: &str = "hash-property";

fn hashed_by(arguments: &Arguments) -> HashedBy {
    let header = arguments.get(HASH_HEADER).and_then(Value::as_long_string);
    let property = arguments.get(HASH_PROPERTY).and_then(hashed_property);
    match (header, property) {
        (Some(header), _) => HashedBy::Header(Name::new(header)),
        (None, Some(property)) => HashedBy::Property(property),
        (None, None) => HashedBy::RoutingKey,
    }
}

fn hashed_property(name: &Value) -> Option<Property> {
    match name.as_long_string()? {
        b"correlation_id" => Some(Property::CorrelationId),
        b"message_id" => Some(Property::MessageId),
        b"timestamp" => Some(Property::Timestamp),
        _ => None,
    }
}
