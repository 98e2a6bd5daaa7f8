//! What a machine gives to the log, and how it learns that it is durable.
//!
//! One job is one write. Its frames belong to one origin, or, for a transaction, to several partitions at once. Jobs
//! of one origin are made durable in the order in which they were handed over, with one exception: while the disk is full,
//! settlements go ahead of publishes ([`Lane`]), because they are what makes room. That is safe, as a message can
//! only be settled after its own publish has been made durable.

use everack_broker::ids::PartitionId;
use everack_storage::Position;

use crate::buffers::Lent;

use crate::few::Few;

/// Numbers the jobs of one origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Whose frames they are, and who is told when they are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The topology.
    Catalog,
    /// Queue contents.
    Partition(PartitionId),
}

/// Which jobs may use the space that is kept back for a full disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Grows what is stored: waits while the disk is full.
    Publish,
    /// Makes room (settlements, deletions, survivors of a segment that is to go): may use the reserve.
    Settle,
}

/// One origin's share of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Who.
    pub origin: Origin,
    /// The origin's own number for it.
    pub job: JobId,
}

/// One origin's share of what was written: its job, the position that the job's offsets count from, and the job's end.
pub type Written = (Share, Position, Position);

/// Frames to be written and synced as one.
#[derive(Debug)]
pub struct AppendJob {
    /// The framed records.
    pub frames: Lent,
    /// Whose they are; one share but for transactions over several partitions.
    pub shares: Few<Share>,
    /// What happens to it while the disk is full.
    pub lane: Lane,
    /// Whether somebody waits for it. What nobody waits for (settlements) may ride along with the next sync, but waits no
    /// longer than [`LAZY_WAIT_MILLIS_MAX`](crate::rounds::LAZY_WAIT_MILLIS_MAX).
    pub urgent: bool,
}
