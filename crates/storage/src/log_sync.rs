//! A sync of the log, apart from the log: so that one thread can wait for the disk while another appends.

use crate::{
    Fatal, Position,
    disk::{Disk, File},
    shared::Shared,
};
use std::sync::Arc;

/// A sync that was begun and is still to be carried out: of everything that was appended before it was begun.
///
/// Several of one log may run at the same time. As fdatasync covers all that is written, the one begun last covers what
/// those before it cover, whichever of them ends first. The kernel tells of a failed write-back only once for an open file, so
/// each has an open file of its own; what a sync covers may be promised only when every sync begun before it has succeeded too.
#[must_use = "nothing is durable before it is run"]
pub struct LogSync<D: Disk> {
    shared: Arc<Shared<D>>,
    /// `None` when nothing was appended since the sync before.
    file: Option<Arc<D::File>>,
    end: Position,
}

impl<D: Disk> LogSync<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>, file: Option<Arc<D::File>>, end: Position) -> LogSync<D> {
        LogSync { shared, file, end }
    }

    /// Wait for the disk. Returns the position before which everything is durable; an error poisons the log.
    pub fn run(self) -> Result<Position, Fatal> {
        self.shared.check()?;
        if let Some(file) = self.file {
            file.sync_data()
                .map_err(|error| self.shared.poison("syncing", error))?;
            // Somebody else's sync may have failed meanwhile, of this file or of the directory that names it.
            self.shared.check()?;
            self.shared.made_durable(self.end);
        }
        Ok(self.shared.durable())
    }
}
