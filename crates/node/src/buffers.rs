//! Buffers of jobs that go round: from a partition to the thread that writes them and back, so that they are grown once, and
//! their pages are the kernel's to fill once, instead of once a round.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use everack_storage::Frames;
use parking_lot::Mutex;

/// How many lie ready at most: as many as a partition has under way when syncs are slow.
const SPARES_MAX: usize = 8;
/// A buffer that has grown beyond this is not kept, in bytes.
const SPARE_BYTES_MAX: usize = 1 << 20;

const THERE: &str = "frames are there until they are dropped";

/// Empty frames with room in them, the one used last on top. Holds at most [`SPARES_MAX`] of at most [`SPARE_BYTES_MAX`].
#[derive(Debug, Default)]
pub struct Buffers {
    spares: Mutex<Vec<Frames>>,
}

/// Frames that were lent from a pool and go back to it when they are dropped, without their records; or frames of nobody's.
#[derive(Debug)]
pub struct Lent {
    /// There until it is dropped.
    frames: Option<Frames>,
    home: Option<Arc<Buffers>>,
}

impl Buffers {
    /// Empty frames.
    pub fn lend(self: &Arc<Self>) -> Lent {
        let spare = self.spares.lock().pop();
        Lent {
            frames: Some(spare.unwrap_or_default()),
            home: Some(self.clone()),
        }
    }

    fn take_back(&self, mut frames: Frames) {
        if frames.room_bytes() > SPARE_BYTES_MAX {
            return;
        }
        frames.clear();
        let mut spares = self.spares.lock();
        if spares.len() < SPARES_MAX {
            spares.push(frames);
        }
    }
}

impl From<Frames> for Lent {
    fn from(frames: Frames) -> Self {
        Self {
            frames: Some(frames),
            home: None,
        }
    }
}

impl Default for Lent {
    fn default() -> Self {
        Frames::default().into()
    }
}

impl Deref for Lent {
    type Target = Frames;

    #[inline]
    fn deref(&self) -> &Frames {
        self.frames.as_ref().expect(THERE)
    }
}

impl DerefMut for Lent {
    #[inline]
    fn deref_mut(&mut self) -> &mut Frames {
        self.frames.as_mut().expect(THERE)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((home, frames)) = self.home.take().zip(self.frames.take()) {
            home.take_back(frames);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pool: &Arc<Buffers>, bytes: usize) -> Lent {
        let mut lent = pool.lend();
        lent.push(&vec![1; bytes]);
        lent
    }

    /// How many bytes the next frames have room for after frames with records of these sizes, in bytes, have come back together.
    #[track_caller]
    fn check(sizes: &[usize], room_bytes: std::ops::Range<usize>) {
        let pool = Arc::new(Buffers::default());
        let lent: Vec<_> = sizes.iter().map(|&bytes| filled(&pool, bytes)).collect();
        drop(lent);
        let next = pool.lend();
        assert!(next.is_empty());
        assert!(
            room_bytes.contains(&next.room_bytes()),
            "{} after {sizes:?}",
            next.room_bytes()
        );
    }

    #[test]
    fn what_comes_back_is_empty_and_keeps_its_room() {
        check(&[], 1..10_000);
        check(&[100], 100..20_000);
        check(&[100_000], 100_000..300_000);
        check(&[500_000, 100], 100..20_000);
        check(&[100, 500_000], 500_000..SPARE_BYTES_MAX + 1);
    }

    #[test]
    fn what_is_too_large_or_too_many_is_not_kept() {
        check(&[3 << 20], 1..10_000);
        let pool = Arc::new(Buffers::default());
        let lent: Vec<_> = (0..50).map(|_| filled(&pool, 10)).collect();
        drop(lent);
        assert_eq!(pool.spares.lock().len(), SPARES_MAX);
    }
}
