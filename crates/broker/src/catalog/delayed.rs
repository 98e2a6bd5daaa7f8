//! Exchanges of type `x-delayed-message`: a message with a delay waits before it is routed, the way RabbitMQ's plugin of that name
//! does it, but in a durable queue.
//!
//! Each such exchange has a **waiting room**, a queue that no client can name: it is in no list, and nothing but its exchange leads
//! there. An exchange that goes leaves its room behind for as long as somebody waits in it; one that is declared again under the name
//! takes it over.

use super::exchange::ExchangeKind;
use super::govern::Governance;
use super::refusal::Refusal;
use crate::arguments::{Arguments, Value};
use crate::name::Name;

/// The argument that says how the exchange chooses once the time has come.
const DELAYED_TYPE: &str = "x-delayed-type";

/// What the names of waiting rooms begin with; the name of the exchange follows.
pub(super) const ROOM_PREFIX: &str = "amq.everack.delayed.";

/// How much may wait in the room of one exchange. What comes beyond is refused, as with `reject-publish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayBounds {
    /// Most messages.
    pub messages_max: u64,
    /// Most bytes, as the messages take them up in the log.
    pub bytes_max: u64,
}

impl Default for DelayBounds {
    fn default() -> Self {
        Self {
            messages_max: 1_000_000,
            bytes_max: 1 << 30,
        }
    }
}

impl DelayBounds {
    /// In the form of a policy that nobody else can set.
    pub(super) fn governance(self) -> Governance {
        let bound = |most: u64| Value::Long(i64::try_from(most).unwrap_or(i64::MAX));
        let settings = [
            ("max-length", bound(self.messages_max)),
            ("max-length-bytes", bound(self.bytes_max)),
            ("overflow", Value::from("reject-publish")),
        ];
        Governance {
            settings: settings.into_iter().collect(),
            ..Governance::default()
        }
    }
}

/// The name of the room of an exchange.
pub(super) fn room_of(exchange: &[u8]) -> Name {
    Name::new(&[ROOM_PREFIX.as_bytes(), exchange].concat())
}

/// How an exchange with these arguments chooses once the time has come.
///
/// # Errors
/// The plugin's refusals: the argument is missing, is no string, or names what is no type or the type itself.
pub(super) fn delayed_kind(arguments: &Arguments) -> Result<ExchangeKind, Refusal> {
    let name = match arguments.get(DELAYED_TYPE) {
        Some(Value::LongString(name) | Value::Binary(name)) => name,
        _ => {
            return Err(Refusal::precondition_failed(
                "Invalid argument, 'x-delayed-type' must be an existing exchange type",
            ));
        }
    };
    match ExchangeKind::parse(name)? {
        ExchangeKind::Delayed => Err(Refusal::precondition_failed(
            "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
        )),
        kind => Ok(kind),
    }
}
