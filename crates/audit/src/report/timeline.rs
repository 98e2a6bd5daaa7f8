//! What happened when: confirms, deliveries and the backlog over time, the faults, and how long the broker was down.

use crate::faults::Fault;
use crate::journal::{Entry, Route};

/// Most slices of time. When there are more, two become one.
const SLICES_MAX: usize = 480;

/// A slice of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slice {
    pub(super) confirmed: u64,
    pub(super) delivered: u64,
    /// Copies confirmed, less acks.
    pub(super) growth: i64,
    /// The backlog where it was counted last.
    pub(super) backlog: Option<u64>,
}

/// A fault, or the broker's own death.
#[derive(Clone, Debug)]
pub(super) struct Strike {
    /// `None` if the broker died by itself.
    pub(super) fault: Option<Fault>,
    /// Microseconds.
    pub(super) at: u64,
    /// When the broker answered again.
    pub(super) back: Option<u64>,
    pub(super) backlog: u64,
}

/// The run over time.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// Microseconds of a slice.
    pub(super) width: u64,
    pub(super) slices: Vec<Slice>,
    pub(super) strikes: Vec<Strike>,
    pub(super) draining: Option<u64>,
    pub(super) end: u64,
    backlog: u64,
    /// Copies of each message, by publisher.
    copies: Vec<u64>,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self {
            width: 10_000,
            slices: Vec::new(),
            strikes: Vec::new(),
            draining: None,
            end: 0,
            backlog: 0,
            copies: Vec::new(),
        }
    }

    /// The next entry.
    pub(super) fn see(&mut self, micros: u64, entry: &Entry) {
        self.end = self.end.max(micros);
        match entry {
            Entry::Publisher {
                publisher,
                route: Route::Every,
                queues,
                ..
            } => {
                let publisher = *publisher as usize;
                self.copies.resize(self.copies.len().max(publisher + 1), 1);
                self.copies[publisher] = queues.len() as u64;
            }
            Entry::Confirmed(range) => {
                let copies = self.copies.get(range.publisher as usize).copied().unwrap_or(1);
                let count = u64::from(range.count);
                let slice = self.slice(micros);
                slice.confirmed += count;
                slice.growth += (count * copies) as i64;
            }
            Entry::Delivered { .. } => self.slice(micros).delivered += 1,
            Entry::Acked { .. } => self.slice(micros).growth -= 1,
            Entry::Backlog { messages } => {
                self.backlog = *messages;
                self.slice(micros).backlog = Some(*messages);
            }
            Entry::Fault(fault) => self.strike(micros, Some(*fault)),
            Entry::Ending { .. } => {
                // A fault has come just before it; without, the broker died by itself.
                let known = self
                    .strikes
                    .last()
                    .is_some_and(|last| last.back.is_none() && !matches!(last.fault, Some(Fault::Pause(_))));
                if !known {
                    self.strike(micros, None);
                }
            }
            Entry::Started { .. } => {
                if let Some(last) = self.strikes.last_mut().filter(|last| last.back.is_none()) {
                    last.back = Some(micros);
                }
            }
            Entry::Draining => self.draining = Some(micros),
            _ => {}
        }
    }

    fn strike(&mut self, at: u64, fault: Option<Fault>) {
        let back = match fault {
            Some(Fault::Pause(pause)) => Some(at + pause.as_micros() as u64),
            _ => None,
        };
        self.strikes.push(Strike {
            fault,
            at,
            back,
            backlog: self.backlog,
        });
    }

    fn slice(&mut self, micros: u64) -> &mut Slice {
        while micros / self.width >= SLICES_MAX as u64 {
            self.width *= 2;
            let halves = std::mem::take(&mut self.slices);
            self.slices = halves.chunks(2).map(join).collect();
        }
        let at = (micros / self.width) as usize;
        if self.slices.len() <= at {
            self.slices.resize(at + 1, Slice::default());
        }
        &mut self.slices[at]
    }

    /// Messages that wait, slice by slice. Acks that a crash forgot are counted twice, so the count begins anew at each fault.
    pub(super) fn backlogs(&self) -> Vec<f64> {
        let mut waiting = 0_i64;
        let next = |slice: &Slice| {
            waiting = (waiting + slice.growth).max(0);
            if let Some(counted) = slice.backlog {
                waiting = counted as i64;
            }
            waiting as f64
        };
        self.slices.iter().map(next).collect()
    }

    /// Times from the end of a life to the first answer of the next, in milliseconds, ascending.
    pub(super) fn restarts(&self) -> Vec<f64> {
        let ended = self
            .strikes
            .iter()
            .filter(|strike| !matches!(strike.fault, Some(Fault::Pause(_))));
        let mut restarts: Vec<f64> = ended
            .filter_map(|strike| Some((strike.back? - strike.at) as f64 / 1e3))
            .collect();
        restarts.sort_by(f64::total_cmp);
        restarts
    }
}

fn join(slices: &[Slice]) -> Slice {
    slices.iter().fold(Slice::default(), |sum, slice| Slice {
        confirmed: sum.confirmed + slice.confirmed,
        delivered: sum.delivered + slice.delivered,
        growth: sum.growth + slice.growth,
        backlog: slice.backlog.or(sum.backlog),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Range;
    use std::time::Duration;

    #[test]
    fn slices_grow_and_lose_nothing() {
        let mut timeline = Timeline::new();
        for second in 0..1000 {
            let range = Range {
                publisher: 1,
                first: second + 1,
                count: 3,
            };
            timeline.see(second * 1_000_000, &Entry::Confirmed(range));
        }
        assert!(timeline.slices.len() <= SLICES_MAX);
        assert_eq!(
            timeline.slices.iter().map(|slice| slice.confirmed).sum::<u64>(),
            3000
        );
    }

    #[test]
    fn strikes_are_paired_with_starts() {
        let mut timeline = Timeline::new();
        let entries = [
            Entry::Started { life: 0 },
            Entry::Fault(Fault::Kill),
            Entry::Ending { life: 0 },
            Entry::Started { life: 1 },
            Entry::Fault(Fault::Pause(Duration::from_millis(2))),
            Entry::Ending { life: 1 },
            Entry::Started { life: 2 },
        ];
        for (at, entry) in entries.iter().enumerate() {
            timeline.see(at as u64 * 1000, entry);
        }
        let kinds: Vec<_> = timeline.strikes.iter().map(|strike| strike.fault).collect();
        let pause = Fault::Pause(Duration::from_millis(2));
        assert_eq!(kinds, [Some(Fault::Kill), Some(pause), None]);
        assert_eq!(timeline.restarts(), [1.0, 2.0]);
    }
}
