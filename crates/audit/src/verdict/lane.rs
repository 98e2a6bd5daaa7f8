//! What is known of a publisher's messages, in 17 bytes each and 16 more for each further copy.

use crate::journal::{Range, Route};
use crate::workload::Rules;

/// What happened to a message at its publisher.
pub(super) mod mark {
    pub(in super::super) const INTENDED: u8 = 1;
    pub(in super::super) const CONFIRMED: u8 = 2;
    pub(in super::super) const REFUSED: u8 = 4;
    pub(in super::super) const ROLLED_BACK: u8 = 8;
}

/// What is true of a copy.
pub(super) mod state {
    /// A consumer has it and has neither settled it nor given it back, nor lost its channel.
    pub(in super::super) const HELD: u16 = 1;
    /// The last thing that a consumer said about it is an ack.
    pub(in super::super) const ACKED: u16 = 2;
    /// An ack was sent once that may have arrived: nobody owes it any more.
    pub(in super::super) const SETTLED: u16 = 4;
}

/// A message in one queue, or in one chain of queues.
#[derive(Clone, Copy, Default)]
pub(super) struct Copy {
    /// Who got it last.
    pub(super) holder: u32,
    /// Who acked it last, and which of his questions proves it.
    pub(super) acker: u32,
    pub(super) question: u32,
    /// Deliveries, up to what fits.
    pub(super) deliveries: u16,
    pub(super) state: u16,
}

impl Copy {
    pub(super) fn is(&self, state: u16) -> bool {
        self.state & state != 0
    }

    pub(super) fn set(&mut self, state: u16) {
        self.state |= state;
    }

    pub(super) fn clear(&mut self, state: u16) {
        self.state &= !state;
    }
}

/// A publisher's messages.
pub(super) struct Lane {
    pub(super) rules: Rules,
    route: Route,
    pub(super) queues: Vec<u16>,
    /// By number, from 1.
    marks: Vec<u8>,
    /// By number and copy.
    copies: Vec<Copy>,
    pub(super) transactions: Vec<Range>,
}

impl Lane {
    pub(super) fn new(rules: Rules, route: Route, queues: Vec<u16>) -> Self {
        Self {
            rules,
            route,
            queues,
            marks: Vec::new(),
            copies: Vec::new(),
            transactions: Vec::new(),
        }
    }

    /// Copies that there are of each message.
    pub(super) fn copies_each(&self) -> usize {
        match self.route {
            Route::Every => self.queues.len(),
            Route::Turns | Route::Chain => 1,
        }
    }

    /// The queue in which a copy belongs; the first of its chain if it moves.
    pub(super) fn queue_of(&self, number: u64, copy: usize) -> u16 {
        match self.route {
            Route::Every => self.queues[copy],
            Route::Turns => self.queues[(number % self.queues.len() as u64) as usize],
            Route::Chain => self.queues[0],
        }
    }

    /// Marks a range; numbers that are new are made room for. Says how many of them did not have the mark.
    pub(super) fn mark(&mut self, range: Range, mark: u8) -> u64 {
        let last = range.first + u64::from(range.count);
        if self.marks.len() < last as usize {
            self.marks.resize(last as usize, 0);
            self.copies
                .resize(last as usize * self.copies_each(), Copy::default());
        }
        let marks = &mut self.marks[range.first as usize..last as usize];
        let fresh = marks.iter().filter(|marks| **marks & mark == 0).count();
        marks.iter_mut().for_each(|marks| *marks |= mark);
        fresh as u64
    }

    /// What is marked at a number; 0 for a number that nobody used.
    pub(super) fn marks(&self, number: u64) -> u8 {
        usize::try_from(number)
            .ok()
            .and_then(|at| self.marks.get(at))
            .copied()
            .unwrap_or_default()
    }

    /// The copy of a message that a queue may give out; `None` where it has no business.
    pub(super) fn copy(&mut self, number: u64, queue: u16) -> Option<&mut Copy> {
        let copy = match self.route {
            Route::Every => self.queues.iter().position(|other| *other == queue)?,
            Route::Turns => Some(0).filter(|_| self.queue_of(number, 0) == queue)?,
            Route::Chain => Some(0).filter(|_| self.queues.contains(&queue))?,
        };
        let at = usize::try_from(number).ok()? * self.copies_each() + copy;
        self.copies.get_mut(at)
    }

    /// Numbers in use, from 1.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        1..self.marks.len() as u64
    }

    /// All copies of a message.
    pub(super) fn copies_of(&self, number: u64) -> &[Copy] {
        let at = number as usize * self.copies_each();
        &self.copies[at..at + self.copies_each()]
    }
}
