//! Resources that run short: while an alarm stands, publishers are blocked and consumers go on.

use std::sync::atomic::{AtomicU8, Ordering};

/// What can run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Space for the log.
    Disk = 1,
    /// Memory for messages.
    Memory = 2,
}

/// The alarms of this node; raised and cleared by whoever watches the resource.
#[derive(Debug, Default)]
pub struct Alarms(AtomicU8);

impl Alarms {
    /// Raises or clears the alarm of `resource`; says whether that changed it.
    pub fn set(&self, resource: Resource, raised: bool) -> bool {
        let bit = resource as u8;
        let before = if raised {
            self.0.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.0.fetch_and(!bit, Ordering::AcqRel)
        };
        (before & bit != 0) != raised
    }

    /// Whether any alarm stands.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    /// Whether the alarm of `resource` stands.
    pub fn stands(&self, resource: Resource) -> bool {
        self.0.load(Ordering::Acquire) & resource as u8 != 0
    }

    /// The reason told to clients, in RabbitMQ's words (`low on disk`, `low on memory`).
    pub fn reason(&self) -> &'static str {
        match (self.stands(Resource::Disk), self.stands(Resource::Memory)) {
            (true, true) => "low on memory & disk",
            (true, false) => "low on disk",
            _ => "low on memory",
        }
    }
}
