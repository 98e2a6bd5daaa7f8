//! The bodies of the fuzz targets: each takes any bytes and panics when something does not hold that must hold for all of them.
//!
//! They live here and not in the targets, so that the ordinary test run plays every file of `fuzz/corpus` through the same
//! functions (`fuzz/checks/tests/corpus.rs`), on stable and without a sanitizer. Not responsible for making inputs: a
//! fuzzer does that, from the seeds that `fuzz-seeds` writes.
//!
//! | target | what the bytes are | what must hold |
//! |---|---|---|
//! | [`frames`] | a list of frames, right and wrong | no panic, bounded memory, the same meaning wherever they are cut, the same frames as `amq-protocol` sees |
//! | [`tables`] | a field table, or properties | reading, checking and writing agree, with each other and with `amq-protocol` |
//! | [`methods`] | a method's numbers and its arguments | as with tables |
//! | [`conversation`] | what a client sends once it is in | no panic, bounded memory; cut anywhere it means the same |
//! | [`segments`] | changes to a log's files | recovery never panics, never shows a record whose checksum is wrong, shows the same twice |
//! | [`checkpoints`] | changes to checkpoint files, or their contents | as with segments |
//! | [`records`] | payloads of records | decoding never panics, and a node opens on a log that holds them |

pub mod conversation;
pub mod frames;
pub mod methods;
pub mod oracle;
pub mod tables;

pub mod checkpoints;
pub mod directory;
pub mod records;
pub mod segments;

pub mod script;

/// A target: takes any bytes, panics when something does not hold.
pub type Check = fn(&[u8]);

/// Every target by its name, which is also the name of its folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Check)] = &[
    ("checkpoints", checkpoints::check),
    ("connection", conversation::check),
    ("cuts", conversation::check_cuts),
    ("frames", frames::check),
    ("methods", methods::check),
    ("records", records::check),
    ("segments", segments::check),
    ("tables", tables::check),
];
