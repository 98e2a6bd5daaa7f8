//! What "committed" means: nothing kept ([`Volatile`]), our own fsync ([`Standalone`]), later a majority's.
//!
//! The node writes its facts through [`CommitLog`] and confirms what a [`Commit`] has returned; which of these
//! it talks to is chosen when the process starts. Payloads are opaque in here: this crate knows records and positions,
//! no queues and no messages.
//!
//! ```text
//!  confirmed <= committed <= appended
//! ```

mod commit_log;
mod standalone;
mod volatile;

pub use commit_log::{Commit, CommitLog, LogReader, LogUpkeep};
pub use standalone::Standalone;
pub use volatile::{Volatile, VolatileCommit, VolatileReader, VolatileUpkeep};

pub use everack_storage::{
    AppendError, Damage, Fatal, Found, Frames, Position, Prepared, ReadError, ReplayError, Replayed,
    RetireError, Retired, SegmentInfo, SegmentNumber,
};
