//! Traces: which messages are followed on their way, and what is told of them.
//!
//! ```text
//! session ──chooses──> Trace ──with the batch──> partition ──watches its effects──┐
//!    └───────────── Event ──────────> driver <──────────── Event ─────────────────┘
//! ```
//!
//! Machines tell [`Event`]s; the driver gives them their time and makes spans of them (docs/decisions/0034). Nothing here costs anything
//! while tracing is off: there is no [`Choice`] then, no batch carries traces, and partitions do not watch.

mod choice;
mod event;

use std::sync::Arc;

use everack_broker::ids::{QueueId, Seq};
use everack_broker::name::Name;

pub use choice::{Choice, Parent};
pub use event::{Event, Fate, Phase};

/// One message that is followed, as it was published. Its copies in all queues share it.
#[derive(Debug, PartialEq, Eq)]
pub struct Trace {
    /// Unique within the process.
    pub number: u64,
    /// The span of the publisher that it belongs to, if it has told.
    pub parent: Option<Parent>,
    /// The exchange.
    pub exchange: Name,
    /// The routing key.
    pub routing_key: Name,
    /// Its property `message-id`.
    pub message_id: Option<Name>,
    /// Its property `correlation-id`.
    pub correlation_id: Option<Name>,
    /// Bytes of its body.
    pub body_bytes: u32,
    /// Whether its publisher asked for persistence.
    pub persistent: bool,
    /// Its publisher.
    pub publisher: Arc<Publisher>,
    /// The publisher's channel.
    pub channel: u16,
}

/// Who publishes: a connection, as far as spans tell of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Publisher {
    /// The client's address and port.
    pub peer: String,
    /// Who has logged in.
    pub user: Name,
    /// Into which virtual host.
    pub vhost: Name,
}

/// One message of a batch that is followed.
#[derive(Clone, Debug)]
pub struct Traced {
    /// Which.
    pub index: u16,
    /// Its trace.
    pub trace: Arc<Trace>,
    /// The copy that it goes on from, if it does not come from its publisher.
    pub origin: Option<(QueueId, Seq)>,
}

/// Those of a batch that are followed, in their order.
pub type TracedBatch = Arc<[Traced]>;

/// Those among `from..to`.
pub(crate) fn among(traced: &[Traced], from: u16, to: u16) -> &[Traced] {
    let first = traced.partition_point(|one| one.index < from);
    let end = traced.partition_point(|one| one.index < to);
    &traced[first..end.max(first)]
}
