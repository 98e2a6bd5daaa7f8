//! Where the parts of one `tx.commit` meet, so that they become durable in one write or not at all.
//!
//! Each partition frames its own part and leaves it here. The one that leaves the last part takes them all away as a
//! single job, closed by a record that says the transaction is whole. Recovery applies the parts of a transaction only
//! once it has read that closing record (`record`), so a crash shows all of a transaction or nothing of it, also when it
//! touches several partitions of this node. Over several nodes it will need prepare and decide records instead
//! (docs/decisions/0005-transactions.md).

use everack_storage::Frames;
use parking_lot::Mutex;

use crate::append::{AppendJob, JobId, Lane, Origin, Share};
use crate::record;

/// See the module documentation.
#[derive(Debug)]
pub struct Assembly {
    /// Names the transaction in its records; unique within the log.
    pub transaction: u64,
    state: Mutex<State>,
}

/// What a part has led to.
#[derive(Debug)]
#[must_use = "whoever leaves the last part carries all of them on"]
pub enum Contribution {
    /// Others are missing.
    Waits,
    /// It was the last one: this is the job to append.
    Whole(AppendJob),
    /// It was the last one, and some part was refused: these have framed theirs in vain.
    Abandoned(Vec<Share>),
}

#[derive(Debug)]
struct State {
    missing: usize,
    refused: bool,
    frames: Frames,
    shares: Vec<Share>,
}

impl Assembly {
    /// An assembly for a transaction that touches `parts` partitions.
    pub fn new(transaction: u64, parts: usize) -> Self {
        assert!(parts > 0, "a transaction without parts needs no assembly");
        let state = State {
            missing: parts,
            refused: false,
            frames: Frames::default(),
            shares: Vec::with_capacity(parts),
        };
        Self {
            transaction,
            state: Mutex::new(state),
        }
    }

    /// Adds one partition's framed part. What it returns is to be carried on.
    pub fn contribute(&self, origin: Origin, job: JobId, encode: impl FnOnce(&mut Frames)) -> Contribution {
        let mut state = self.state.lock();
        encode(&mut state.frames);
        state.shares.push(Share { origin, job });
        self.close(&mut state)
    }

    /// One partition cannot do its part, so none of it shall happen. What it returns is to be carried on.
    pub fn refuse(&self) -> Contribution {
        let mut state = self.state.lock();
        state.refused = true;
        self.close(&mut state)
    }

    fn close(&self, state: &mut State) -> Contribution {
        assert!(
            state.missing > 0,
            "a transaction got more parts than it announced"
        );
        state.missing -= 1;
        if state.missing > 0 {
            return Contribution::Waits;
        }
        let shares = std::mem::take(&mut state.shares);
        if state.refused {
            return Contribution::Abandoned(shares);
        }
        let mut frames = std::mem::take(&mut state.frames);
        record::encode_transaction_end(&mut frames, self.transaction);
        Contribution::Whole(AppendJob {
            frames: frames.into(),
            shares: shares.into_iter().collect(),
            lane: Lane::Publish,
            urgent: true,
        })
    }
}
