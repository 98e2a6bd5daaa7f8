//! The log as the node reads it.

use bytes::Bytes;
use everack_node::recall::ReadRecord;
use everack_storage::disk::Os;
use everack_storage::{Position, ReadError, Reader};

/// Reads records from the files.
pub(crate) struct DiskReader(pub(crate) Reader<Os>);

impl ReadRecord for DiskReader {
    fn read(&self, position: Position) -> Result<Bytes, ReadError> {
        self.0.read(position)
    }
}
