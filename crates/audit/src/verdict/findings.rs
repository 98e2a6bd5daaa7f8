//! What was broken: how often in each way, and which messages first.

use crate::Id;

/// Messages of each kind that are named. The rest is only counted.
const NAMED_MAX: usize = 20;

/// A way in which a promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Flaw {
    /// Confirmed, and not settled by anybody although everything was drained.
    Lost,
    /// Bytes that nobody sent.
    Damaged,
    /// Nobody published it, or not there, or it was rolled back.
    Phantom,
    /// Overtaken by a later message of its publisher, at the same consumer, when both came for the first time.
    Reordered,
    /// Delivered again after its ack was received, or to a second consumer while the first held it; and no crash in between.
    Duplicated,
    /// Delivered again after a crash, although its ack had been received longer before than may be forgotten.
    Resurrected,
    /// A part of a transaction came, and a part did not.
    Torn,
}

impl Flaw {
    /// All of them, worst first.
    pub const ALL: [Self; 7] = [
        Self::Lost,
        Self::Damaged,
        Self::Phantom,
        Self::Reordered,
        Self::Duplicated,
        Self::Resurrected,
        Self::Torn,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Damaged => "damaged",
            Self::Phantom => "phantom",
            Self::Reordered => "reordered",
            Self::Duplicated => "duplicated",
            Self::Resurrected => "resurrected late",
            Self::Torn => "torn",
        }
    }
}

/// One broken message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How.
    pub flaw: Flaw,
    /// Which; `None` for damage that does not say whose it is.
    pub id: Option<Id>,
    /// Which queue.
    pub queue: Option<u16>,
    /// What else is to be said.
    pub note: String,
}

/// Everything that was broken.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    counts: [u64; Flaw::ALL.len()],
    named: Vec<Finding>,
}

impl Findings {
    /// One more.
    pub fn add(&mut self, flaw: Flaw, id: Option<Id>, queue: Option<u16>, note: impl FnOnce() -> String) {
        let count = &mut self.counts[flaw as usize];
        *count += 1;
        if *count <= NAMED_MAX as u64 {
            self.named.push(Finding {
                flaw,
                id,
                queue,
                note: note(),
            });
        }
    }

    /// How often in this way.
    pub fn count(&self, flaw: Flaw) -> u64 {
        self.counts[flaw as usize]
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// The first ones of each kind, worst kind first.
    pub fn named(&self) -> Vec<&Finding> {
        let mut named: Vec<&Finding> = self.named.iter().collect();
        named.sort_by_key(|finding| (finding.flaw, finding.id));
        named
    }
}
