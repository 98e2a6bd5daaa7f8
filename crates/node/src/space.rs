//! How many live messages each segment of the log holds, their bytes, and who still reads it.
//!
//! A partition adds what it enqueues and subtracts what is settled; the sums always balance because queues apportion the
//! bytes of a run exactly when they split it. Bytes say how much room there is to win; whether a segment may go is for the messages to
//! say: one without live messages, which nobody reads and no checkpoint needs.

use std::collections::HashMap;
use std::sync::Arc;

use everack_broker::ids::Location;

/// While one of these lives, its segment is not deleted: a delivery on its way to a consumer may still be read from it.
#[derive(Clone, Debug)]
pub struct Pin(#[expect(dead_code, reason = "it is held, not read")] Arc<()>);

/// The segment that a location lies in.
pub fn segment_of(location: Location) -> u32 {
    (location.0 >> 32) as u32
}

/// Live bytes and pins by segment, for one partition.
#[derive(Debug, Default)]
pub struct Space {
    segments: HashMap<u32, Live>,
}

/// What a segment is still needed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Live messages that lie in it, a message of several queues once for each.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Deliveries on their way still read from it.
    pub pinned: bool,
}

impl Usage {
    /// Whether nobody needs it.
    pub fn is_none(self) -> bool {
        self.messages == 0 && !self.pinned
    }

    /// For both.
    pub fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
            pinned: self.pinned | other.pinned,
        }
    }
}

#[derive(Debug, Default)]
struct Live {
    messages: u64,
    bytes: u64,
    pin: Arc<()>,
}

impl Space {
    /// Counts messages that live at `location` from now on.
    pub fn add(&mut self, location: Location, messages: u64, bytes: u64) {
        let live = self.segments.entry(segment_of(location)).or_default();
        live.messages += messages;
        live.bytes += bytes;
    }

    /// Counts messages at `location` that are settled, discarded or moved.
    pub fn subtract(&mut self, location: Location, messages: u64, bytes: u64) {
        let segment = segment_of(location);
        let live = self.segments.entry(segment).or_default();
        let (messages, bytes) = (live.messages.checked_sub(messages), live.bytes.checked_sub(bytes));
        live.messages =
            messages.unwrap_or_else(|| panic!("segment {segment} has less than no live messages"));
        live.bytes = bytes.unwrap_or_else(|| panic!("segment {segment} has less than no live bytes"));
    }

    /// Keeps the segment of `location` while the pin lives.
    pub fn pin(&mut self, location: Location) -> Pin {
        Pin(self.segments.entry(segment_of(location)).or_default().pin.clone())
    }

    /// What `segment` is needed for.
    pub fn usage(&self, segment: u32) -> Usage {
        let live = self.segments.get(&segment);
        live.map_or_else(Usage::default, |live| Usage {
            messages: live.messages,
            bytes: live.bytes,
            pinned: Arc::strong_count(&live.pin) > 1,
        })
    }

    /// Live bytes of all segments.
    pub fn live_bytes(&self) -> u64 {
        self.segments.values().map(|live| live.bytes).sum()
    }

    /// Forgets a segment that is gone.
    pub fn forget(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_goes_and_pins_hold() {
        let mut space = Space::default();
        let location = Location(7 << 32 | 4096);
        let usage = |messages, bytes, pinned| Usage {
            messages,
            bytes,
            pinned,
        };
        space.add(location, 3, 100);
        space.add(Location(8 << 32), 1, 5);
        let pin = space.pin(location);
        assert_eq!(space.usage(7), usage(3, 100, true));
        space.subtract(location, 2, 100);
        drop(pin);
        assert_eq!(space.usage(7), usage(1, 0, false));
        space.subtract(location, 1, 0);
        assert_eq!(space.usage(7), Usage::default());
        assert_eq!(space.live_bytes(), 5);
    }
}
