//! How many live bytes each segment of the log holds, and who still reads it.
//!
//! A partition adds what it enqueues and subtracts what is settled; the sums always balance because queues apportion the
//! bytes of a run exactly when they split it. A segment without live bytes, which nobody reads and no checkpoint needs, may go.

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
    segments: HashMap<u32, Usage>,
}

#[derive(Debug, Default)]
struct Usage {
    live_bytes: i64,
    pin: Arc<()>,
}

impl Space {
    /// Counts bytes that live at `location` from now on.
    pub fn add(&mut self, location: Location, bytes: u64) {
        self.segments.entry(segment_of(location)).or_default().live_bytes += bytes as i64;
    }

    /// Counts bytes at `location` that are settled, discarded or moved.
    pub fn subtract(&mut self, location: Location, bytes: u64) {
        let usage = self.segments.entry(segment_of(location)).or_default();
        usage.live_bytes -= bytes as i64;
        assert!(
            usage.live_bytes >= 0,
            "segment {} has less than no live bytes",
            segment_of(location)
        );
    }

    /// Keeps the segment of `location` while the pin lives.
    pub fn pin(&mut self, location: Location) -> Pin {
        Pin(self.segments.entry(segment_of(location)).or_default().pin.clone())
    }

    /// Live bytes in `segment`, and whether deliveries on their way still read from it.
    pub fn usage(&self, segment: u32) -> (u64, bool) {
        match self.segments.get(&segment) {
            Some(usage) => (usage.live_bytes as u64, Arc::strong_count(&usage.pin) > 1),
            None => (0, false),
        }
    }

    /// Live bytes of all segments.
    pub fn live_bytes(&self) -> u64 {
        self.segments.values().map(|usage| usage.live_bytes as u64).sum()
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
        space.add(location, 100);
        space.add(Location(8 << 32), 5);
        let pin = space.pin(location);
        assert_eq!(space.usage(7), (100, true));
        space.subtract(location, 100);
        drop(pin);
        assert_eq!(space.usage(7), (0, false));
        assert_eq!(space.live_bytes(), 5);
    }
}
