//! Room for large messages in this connection's output: taken before they are encoded, given back once they are written.

use everack_broker::ids::Millis;

use super::Session;
use crate::large::{LARGE_BYTES, Room, STUCK_MS};

/// The session's part of the budget.
#[derive(Debug, Default)]
pub(super) struct Large {
    /// Bytes of it that are in the output.
    taken: usize,
    /// The size of the message at the front that has found no room; it need not be read from the log to ask again.
    wanted: usize,
    /// Since when nothing of it was written while others wait.
    stuck_since: Option<Millis>,
}

impl Session {
    /// Whether the front of what is due may be looked at: it has not been refused before, or there is room for it now.
    pub(super) fn has_room_for_front(&mut self) -> bool {
        let wanted = std::mem::take(&mut self.large.wanted);
        wanted == 0 || self.take_room(wanted)
    }

    /// Takes room for a message that is about to be encoded. If there is none, the connection is woken when there is.
    pub(super) fn take_room(&mut self, bytes: usize) -> bool {
        // What was taken before the message was read serves for it.
        if bytes <= LARGE_BYTES || self.large.taken >= bytes {
            return true;
        }
        match self.shared.large.take(bytes, &self.link) {
            Room::Taken => {
                self.large.taken += bytes;
                true
            }
            Room::None { first } => {
                self.large.wanted = bytes;
                if first {
                    // They have to begin to count how long they read nothing.
                    self.shared.wake_connections();
                }
                false
            }
        }
    }

    /// Gives the room back once what is left of the output is no more than any connection may have.
    pub(super) fn give_back_written(&mut self) {
        if self.large.taken > 0 && self.connection.output().len() <= LARGE_BYTES {
            self.give_back_room();
        }
    }

    /// Gives all room back: it is written, or never will be.
    pub(super) fn give_back_room(&mut self) {
        self.large.stuck_since = None;
        let taken = std::mem::take(&mut self.large.taken);
        if taken > 0 {
            self.shared.large.give_back(taken);
        }
    }

    /// The client has read something.
    pub(super) fn has_read(&mut self) {
        self.large.stuck_since = None;
    }

    /// When a client that reads nothing of a large message is closed, if others wait for its room.
    pub(super) fn stuck_until(&mut self, now: Millis) -> Option<Millis> {
        if self.large.taken == 0 || !self.shared.large.is_waited_for() {
            self.large.stuck_since = None;
            return None;
        }
        let since = *self.large.stuck_since.get_or_insert(now);
        Some(Millis(since.0.saturating_add(STUCK_MS)))
    }

    /// Closes a client that is stuck; there is no use in telling somebody who does not read.
    pub(super) fn cut_if_stuck(&mut self, now: Millis) {
        let over = |since: Millis| now.0 >= since.0.saturating_add(STUCK_MS);
        if self.large.stuck_since.is_some_and(over) {
            tracing::warn!(peer = %self.peer, user = %self.user, "connection closed: it does not read a large message that others wait behind");
            self.cut = true;
            self.connection.disconnected();
            self.release();
        }
    }
}
