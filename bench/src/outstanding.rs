//! What was published on a channel and is not confirmed yet: the confirm window, and how long each confirm took.
//!
//! Tags count from 1. Brokers confirm with `multiple`, one by one, and out of order; a bitmap as wide as the window
//! tells a confirm that came twice, or for nothing, from a good one. Times are kept a batch, not a message.
//!
//! `settled <= every tag confirmed out of order <= published <= settled + window`

use std::collections::VecDeque;

use crate::histogram::Histogram;
use crate::scanner::Error;

#[derive(Clone, Copy)]
struct Batch {
    last_tag: u64,
    sent_at: u64,
}

/// The unconfirmed publishes of one channel.
pub struct Outstanding {
    window: u64,
    published: u64,
    /// Every tag up to this one is confirmed.
    settled: u64,
    batches: VecDeque<Batch>,
    /// Bit `tag & mask` is set for a tag above `settled` that was confirmed before its turn.
    early: Vec<u64>,
    early_count: u64,
    mask: u64,
}

impl Outstanding {
    /// At most `window` publishes may be unconfirmed at a time; `window` is at least 1.
    pub fn new(window: u64) -> Self {
        let places = window.next_power_of_two().max(64);
        Self {
            window,
            published: 0,
            settled: 0,
            batches: VecDeque::new(),
            early: vec![0; (places / 64) as usize],
            early_count: 0,
            mask: places - 1,
        }
    }

    /// How many more may be published now.
    pub fn room(&self) -> u64 {
        self.settled + self.window - self.published
    }

    /// True when nothing waits for a confirm.
    pub fn is_empty(&self) -> bool {
        self.settled == self.published
    }

    /// The next `count` messages go out at the time `now`.
    pub fn publish(&mut self, count: u64, now: u64) {
        debug_assert!(count <= self.room(), "the window is respected");
        self.published += count;
        self.batches.push_back(Batch {
            last_tag: self.published,
            sent_at: now,
        });
    }

    /// A confirm came in. Answers how many messages it settles and records in `latencies` how long they took.
    pub fn confirm(
        &mut self,
        tag: u64,
        multiple: bool,
        now: u64,
        mut latencies: Option<&mut Histogram>,
    ) -> Result<u64, Error> {
        if tag == 0 {
            // From a client it means all so far; from a broker nobody could say what "so far" is.
            return Err(Error::Confirm {
                tag,
                what: "the first publish is 1",
            });
        }
        if tag > self.published {
            return Err(Error::Confirm {
                tag,
                what: "so many were not published",
            });
        }
        if tag <= self.settled {
            // RabbitMQ never repeats a confirm; a `multiple` that covers nothing new would be one.
            return Err(Error::Confirm {
                tag,
                what: "it was confirmed before",
            });
        }
        if multiple || tag == self.settled + 1 {
            let count = self.settle_up_to(tag, now, &mut latencies);
            self.settle_early();
            return Ok(count);
        }
        self.confirm_early(tag, now, &mut latencies)
    }

    fn settle_up_to(&mut self, tag: u64, now: u64, latencies: &mut Option<&mut Histogram>) -> u64 {
        let mut count = 0;
        while self.settled < tag {
            let Some(&batch) = self.batches.front() else { break };
            let end = batch.last_tag.min(tag);
            let fresh = end - self.settled - self.take_early(self.settled + 1, end);
            if let Some(latencies) = latencies {
                latencies.record(now.saturating_sub(batch.sent_at), fresh);
            }
            count += fresh;
            self.settled = end;
            if end == batch.last_tag {
                self.batches.pop_front();
            }
        }
        count
    }

    /// Moves on over what was confirmed out of order; it is counted already.
    fn settle_early(&mut self) {
        while self.early_count > 0 && self.take_early(self.settled + 1, self.settled + 1) == 1 {
            self.settled += 1;
            while self
                .batches
                .front()
                .is_some_and(|batch| batch.last_tag <= self.settled)
            {
                self.batches.pop_front();
            }
        }
    }

    fn confirm_early(
        &mut self,
        tag: u64,
        now: u64,
        latencies: &mut Option<&mut Histogram>,
    ) -> Result<u64, Error> {
        let (word, bit) = self.place(tag);
        if self.early[word] & bit != 0 {
            return Err(Error::Confirm {
                tag,
                what: "it was confirmed before",
            });
        }
        self.early[word] |= bit;
        self.early_count += 1;
        let index = self.batches.partition_point(|batch| batch.last_tag < tag);
        if let (Some(batch), Some(latencies)) = (self.batches.get(index), latencies) {
            latencies.record(now.saturating_sub(batch.sent_at), 1);
        }
        Ok(1)
    }

    /// Clears the marks from `first` to `last` and answers how many there were.
    fn take_early(&mut self, first: u64, last: u64) -> u64 {
        if self.early_count == 0 {
            return 0;
        }
        let mut taken = 0;
        for tag in first..=last {
            let (word, bit) = self.place(tag);
            if self.early[word] & bit != 0 {
                self.early[word] &= !bit;
                taken += 1;
            }
        }
        self.early_count -= taken;
        taken
    }

    fn place(&self, tag: u64) -> (usize, u64) {
        let index = tag & self.mask;
        ((index / 64) as usize, 1 << (index % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Publishes 10 messages in batches of 4, 4 and 2, then confirms; answers the counts settled by each.
    fn check(confirms: &[(u64, bool)], expected: &[Result<u64, &'static str>], empty: bool) {
        let mut outstanding = Outstanding::new(10);
        let mut latencies = Histogram::default();
        for (count, now) in [(4, 100), (4, 200), (2, 300)] {
            outstanding.publish(count, now);
        }
        assert_eq!(outstanding.room(), 0);
        let mut total = 0;
        for (&(tag, multiple), expected) in confirms.iter().zip(expected) {
            let answer = outstanding.confirm(tag, multiple, 1_000, Some(&mut latencies));
            total += *answer.as_ref().unwrap_or(&0);
            let answer = answer.map_err(|error| match error {
                Error::Confirm { what, .. } => what,
                _ => "another error",
            });
            assert_eq!(&answer, expected, "confirm {tag} multiple {multiple}");
        }
        assert_eq!(outstanding.is_empty(), empty);
        assert_eq!(latencies.total(), total, "each message is timed once");
    }

    #[test]
    fn multiples_and_singles() {
        check(&[(10, true)], &[Ok(10)], true);
        check(
            &[(1, false), (2, false), (9, true), (10, false)],
            &[Ok(1), Ok(1), Ok(7), Ok(1)],
            true,
        );
    }

    #[test]
    fn out_of_order() {
        check(
            &[(3, false), (2, false), (1, false)],
            &[Ok(1), Ok(1), Ok(1)],
            false,
        );
        check(
            &[(9, false), (5, false), (10, true)],
            &[Ok(1), Ok(1), Ok(8)],
            true,
        );
        check(
            &[(10, false), (8, true), (9, false)],
            &[Ok(1), Ok(8), Ok(1)],
            true,
        );
    }

    #[test]
    fn confirms_for_nothing() {
        check(&[(0, true)], &[Err("the first publish is 1")], false);
        check(&[(11, false)], &[Err("so many were not published")], false);
        check(
            &[(4, true), (4, false)],
            &[Ok(4), Err("it was confirmed before")],
            false,
        );
        check(
            &[(4, true), (3, true)],
            &[Ok(4), Err("it was confirmed before")],
            false,
        );
        check(
            &[(7, false), (7, false)],
            &[Ok(1), Err("it was confirmed before")],
            false,
        );
    }

    #[test]
    fn a_long_life_reuses_the_bitmap() {
        let mut outstanding = Outstanding::new(3);
        let mut latencies = Histogram::default();
        for round in 0..1_000_u64 {
            outstanding.publish(3, round);
            for tag in [3, 1, 2] {
                let settled = outstanding.confirm(round * 3 + tag, false, round, Some(&mut latencies));
                assert_eq!(settled, Ok(1));
            }
            assert!(outstanding.is_empty());
        }
        assert!(outstanding.batches.is_empty());
    }
}
