//! The errors of appending. A caller can do one of two things: wait for space, or stop.

use std::{io, sync::Arc};

/// The disk failed while writing, syncing or rolling. What is durable is now unknown, so the log refuses everything
/// from here on: nothing can be appended or reported durable. Stop the process and recover from the files; retrying an
/// fsync may report success for data that the kernel has already given up (fsyncgate 2018).
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log stopped while {doing}: {source}")]
pub struct Fatal {
    doing: &'static str,
    source: Arc<io::Error>,
}

impl Fatal {
    pub(crate) fn new(doing: &'static str, source: io::Error) -> Fatal {
        Fatal {
            doing,
            source: Arc::new(source),
        }
    }

    /// The error of the operating system.
    pub fn io(&self) -> &io::Error {
        &self.source
    }
}

/// Why an append was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// No space for another segment. The log and the frames are as they were; try again when space has returned.
    #[error("the disk is full: no room for another log segment")]
    Full,
    /// The log is poisoned. See [`Fatal`].
    #[error(transparent)]
    Fatal(#[from] Fatal),
}
