//! Production nodes on a fake disk and clock, with clients that speak bytes to them: the same code that a process runs, driven step by step by one thread.
//!
//! | room | what it is |
//! |---|---|
//! | [`node`] | one node: the real log, recovery, machines and upkeep over [`everack_storage::disk::Memory`] |
//! | [`client`] | one AMQP client that speaks bytes to a real session, and remembers what it saw |
//! | [`story`] | a scripted workload in which every kind of storage operation happens |
//! | [`flaw`] | known bugs, put back on purpose |
//! | [`oracle`] | what must be true after a crash, judged by what clients saw and by nothing else |
//!
//! Everything is deterministic: the same story on a disk with the same seed makes the same calls, so a crash can be put at each.

pub mod book;
pub mod campaign;
pub mod client;
pub mod content;
pub mod coverage;
pub mod crash_points;
pub mod disk;
pub mod flaw;
mod flawed;
pub mod node;
pub mod oracle;
pub mod properties;
pub mod random;
pub mod story;
pub mod tales;
pub mod trace;
pub mod turn;
pub mod world;
pub mod writer;
