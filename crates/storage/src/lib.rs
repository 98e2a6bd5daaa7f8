//! A durable log of opaque bytes in segment files, and checkpoints beside it.
//!
//! This crate knows bytes and positions only: no queues, no messages, no clocks, no threads of its own. What a record
//! means is the node's affair. Its one promise: after [`Log::sync`] has returned, every record appended before it is
//! found again by the next [`Log::open`], or its damage is reported by position; it is never passed over in silence.
//!
//! One log has three kinds of handle, so that nobody waits for somebody else's disk access:
//!
//! | handle | held by | does |
//! |---|---|---|
//! | [`Log`] | one thread at a time | append, sync ([`LogSync`], to be waited for by any thread), mark |
//! | [`Reader`] (clones) | any thread | read one record, replay all |
//! | [`Maintenance`] (clones) | a maintenance thread | retire segments, prepare the next |
//!
//! The byte formats are drawn in [`record`] (frames, groups), [`segment`] (files), [`manifest`] and [`checkpoint`].

mod position;

pub mod disk;
pub mod record;

mod frames;
mod gate;
pub mod manifest;
pub mod segment;

mod directory;
mod fatal;
mod log;
mod log_sync;
mod maintenance;
mod pending;
mod reader;
mod recovery;
mod shared;
mod supply;
mod walk;

pub mod checkpoint;
mod inspect;

pub use checkpoint::Checkpoints;
pub use fatal::{AppendError, Fatal};
pub use frames::Frames;
pub use inspect::inspect;
pub use log::{Log, Options};
pub use log_sync::LogSync;
pub use maintenance::{Maintenance, Prepared, RetireError, Retired, SegmentInfo};
pub use position::{Position, SegmentNumber};
pub use reader::{Found, ReadError, Reader, ReplayError, Replayed};
pub use recovery::{Cut, Damage, Fault, OpenError, Proof, RecoveryReport};
