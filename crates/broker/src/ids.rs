//! Ids, each in a type of its own so that the compiler catches swapped arguments.
//!
//! Ids that reach the log (`QueueId`, `PartitionId`, `Seq`, `Location`) derive serde; the others live only as long as the
//! process.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($inner:ty) $(, $serde:ident)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash $(, $serde)*)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl From<$inner> for $name {
            fn from(inner: $inner) -> Self {
                Self(inner)
            }
        }
    };
}

id! {
    /// One declaration of a queue. Never used again, not even after a restart, so that contents found in the log can
    /// never be taken for those of a later queue of the same name.
    QueueId(u64), Serialize, Deserialize
}
id! {
    /// The partition in which a queue lives.
    PartitionId(u16), Serialize, Deserialize
}
id! {
    /// One client connection; unique within the process.
    ConnectionId(u64)
}
id! {
    /// One consumer; unique within the process.
    ConsumerId(u64)
}
id! {
    /// A question put to a partition, so that its answer finds the asker; chosen by the asker.
    Ticket(u64)
}
id! {
    /// The number of a message within its queue. Rises, is never used twice, starts at 1.
    Seq(u64), Serialize, Deserialize
}
id! {
    /// Where the bytes of a message lie in the log (segment number << 32 | byte offset); opaque to this crate.
    /// Zero means nowhere: the message is transient.
    Location(u64), Serialize, Deserialize
}
id! {
    /// Milliseconds since 1970 that never go back while the process lives. Passed in, as nothing here reads a clock.
    Millis(u64)
}

impl Location {
    /// The location of what was never written to the log.
    pub const NOWHERE: Location = Location(0);

    /// Whether there are bytes in the log.
    pub fn is_durable(self) -> bool {
        self != Self::NOWHERE
    }
}

impl Seq {
    /// The number `count` places further on.
    pub fn plus(self, count: u64) -> Seq {
        Seq(self.0 + count)
    }
}

impl Millis {
    /// The moment `millis` later; the end of time rather than a wrap.
    pub fn plus(self, millis: u64) -> Millis {
        Millis(self.0.saturating_add(millis))
    }
}
