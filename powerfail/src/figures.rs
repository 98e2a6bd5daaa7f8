//! What the file system was asked for and how long it took: counters, and the status that `powerfail ctl status` prints.

use crate::disk::Model;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Counters since the file system was mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Calls that read from files.
    pub reads: u64,
    /// Calls that wrote to files.
    pub writes: u64,
    /// fsync and fdatasync of files.
    pub syncs: u64,
    /// fsync of folders.
    pub folder_syncs: u64,
    /// Files, folders and links made.
    pub creations: u64,
    /// Names removed.
    pub removals: u64,
    /// Names changed.
    pub renames: u64,
    /// Files made shorter or longer, or given space.
    pub resizes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// The longest sync, from its arrival to its answer, in milliseconds.
    pub sync_longest_ms: f64,
    /// All syncs together, in milliseconds.
    pub sync_total_ms: f64,
    /// How often changes became durable without a sync because too many were pending.
    pub written_back: u64,
    /// Power cuts.
    pub cuts: u64,
}

impl Figures {
    /// A sync has been answered.
    pub fn sync_took(&mut self, took: Duration) {
        let took_ms = took.as_secs_f64() * 1000.0;
        self.sync_longest_ms = self.sync_longest_ms.max(took_ms);
        self.sync_total_ms += took_ms;
    }
}

/// What `status` answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The modes that hold, separated by commas.
    pub modes: String,
    /// What a power cut may take.
    pub model: Model,
    /// Calls that were made to fail or to misbehave.
    pub faults_fired: u64,
    /// The power is off.
    pub off: bool,
    /// Bytes written that a power cut may take.
    pub unsynced_bytes: u64,
    /// Writes and changes of a length that a power cut may take.
    pub unsynced_changes: u64,
    /// Changes of names that a power cut may take.
    pub unsynced_names: u64,
    /// Files, folders and links that have a name or are open.
    pub files: u64,
    /// Room that they take, in bytes.
    pub used_bytes: u64,
    /// Counters.
    #[serde(flatten)]
    pub figures: Figures,
}
