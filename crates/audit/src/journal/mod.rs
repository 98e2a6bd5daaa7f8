//! The journal: what clients saw, in the order in which they saw it, and what was done to the broker.
//!
//! The verdict comes from here and from nowhere else. [`Journal`] writes it, for all publishers and consumers together;
//! [`Reader`] streams it back. It knows nothing of what an entry means for the verdict.

mod encoding;
mod entry;
mod reader;
mod writer;

pub use entry::{Entry, Range, Route};
pub use reader::Reader;
pub use writer::Journal;

/// The journal's file in its directory.
pub const FILE: &str = "journal";
