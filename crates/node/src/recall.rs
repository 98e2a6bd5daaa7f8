//! Messages read back from the log, with a small cache.
//!
//! Queues hold positions, not bodies; what is no longer in memory is read here, a whole record at a time, by the connection that
//! is about to deliver it. Several consumers share the records of one backlog, hence the cache: the last few records, first
//! in, first out, bounded in bytes.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use everack_broker::ids::Location;
use everack_storage::{Position, ReadError};
use parking_lot::Mutex;

use crate::messages::Messages;
use crate::record::{self, RecordError};

/// Reads one record's payload; implemented by the commit log's reader.
pub trait ReadRecord: Send + Sync {
    /// The payload at `position`, verified against its checksum.
    fn read(&self, position: Position) -> Result<Bytes, ReadError>;
}

/// Why messages could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    /// The log could not give the record back whole.
    #[error("the record at {location:#x} cannot be read: {source}")]
    Unreadable {
        /// Where.
        location: u64,
        /// What the log says.
        source: ReadError,
    },
    /// The record is whole but not what the queue says it is.
    #[error("the record at {location:#x} holds no messages: {source}")]
    Misplaced {
        /// Where.
        location: u64,
        /// What is wrong with it.
        source: RecordError,
    },
}

/// See the module documentation.
pub struct Recall {
    reader: Box<dyn ReadRecord>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    records: HashMap<Location, Messages>,
    order: VecDeque<Location>,
    bytes: usize,
}

/// What the cache may hold.
const CACHE_BYTES_MAX: usize = 16 << 20;

impl RecallError {
    /// Whether the record may be all right and only could not be read this time.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreadable {
                source: ReadError::Io { .. },
                ..
            }
        )
    }
}

impl Recall {
    /// Reads through `reader`.
    pub fn new(reader: Box<dyn ReadRecord>) -> Self {
        Self {
            reader,
            cache: Mutex::new(Cache::default()),
        }
    }

    /// The messages of the record at `location`.
    pub fn messages(&self, location: Location) -> Result<Messages, RecallError> {
        if let Some(messages) = self.cache.lock().records.get(&location) {
            return Ok(messages.clone());
        }
        let messages = Messages::new(self.read(location)?);
        self.cache.lock().insert(location, messages.clone());
        Ok(messages)
    }

    /// The same for somebody who only looks: what consumers share is not pushed out of the cache by it.
    pub fn glance(&self, location: Location) -> Result<Messages, RecallError> {
        if let Some(messages) = self.cache.lock().records.get(&location) {
            return Ok(messages.clone());
        }
        Ok(Messages::new(self.read(location)?))
    }

    fn read(&self, location: Location) -> Result<everack_amqp::content::Batch, RecallError> {
        let payload = self
            .reader
            .read(Position(location.0))
            .map_err(|source| RecallError::Unreadable {
                location: location.0,
                source,
            })?;
        let (batch, _) = record::decode_messages(payload).map_err(|source| RecallError::Misplaced {
            location: location.0,
            source,
        })?;
        Ok(batch)
    }
}

impl Cache {
    fn insert(&mut self, location: Location, messages: Messages) {
        let bytes = messages.chunk.len();
        if bytes > CACHE_BYTES_MAX || self.records.insert(location, messages).is_some() {
            return;
        }
        self.order.push_back(location);
        self.bytes += bytes;
        while self.bytes > CACHE_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some(gone) = self.records.remove(&oldest) {
                self.bytes -= gone.chunk.len();
            }
        }
    }
}

impl std::fmt::Debug for Recall {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Recall").finish_non_exhaustive()
    }
}
