//! Production nodes on a fake disk and clock, with clients that speak bytes to them: the same code that a process runs, driven step by step by one thread.
//!
//! | room | what it is |
//! |---|---|
//! | [`world`] | a whole history from one seed: clients, crashes, restarts, a bad disk |
//! | [`book`] | what clients know of each message, and nothing else |
//! | [`properties`] | what must be true, one property a file |
//! | [`campaign`], [`coverage`] | many histories, and what has to happen in them |
//! | [`node`], [`writer`], [`disk`], [`turn`] | one node driven by hand, its disk thread, its disk, and where others come in between |
//! | [`flaw`] | known bugs, put back on purpose |
//! | [`tales`], [`story`], [`client`] | a scripted story for each operation of the storage |
//! | [`crash_points`], [`oracle`] | the power goes at every call of a story; what must be true then |
//!
//! Everything is deterministic: the same seed makes the same calls and sends the same bytes. Not responsible for what the process adds: threads,
//! locks, sockets (`docs/internals/simulator.md`).

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
