//! What all clients of a history share: the book of what they know, the properties that watch it, and the next numbers.

use std::collections::BTreeSet;

use crate::book::{Book, ChannelId, Event, Name, TransactionId};
use crate::coverage::Coverage;
use crate::flaw::Flaw;
use crate::properties::{self, Violation};
use crate::trace::Trace;

/// See the module documentation.
pub(super) struct Desk {
    pub(super) book: Book,
    pub(super) violations: Vec<Violation>,
    pub(super) coverage: Coverage,
    pub(super) trace: Trace,
    pub(super) flaw: Flaw,
    /// Queues of whose declaration, deletion or bindings something is under way: one at a time, or nobody could know what became of it.
    pub(super) busy: BTreeSet<Name>,
    /// How often clients do what, drawn for each history.
    pub(super) taste: Taste,
    /// Queues with rules that there are in this history.
    pub(super) families: Vec<&'static str>,
    next: u64,
}

/// Weights of what a client may do next. Histories differ most if each of them leaves something out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taste {
    pub(super) publish: u64,
    pub(super) get: u64,
    pub(super) consume: u64,
    pub(super) cancel: u64,
    pub(super) settle: u64,
    pub(super) put_back: u64,
    pub(super) recover: u64,
    pub(super) declare: u64,
    pub(super) delete: u64,
    pub(super) bind: u64,
    pub(super) purge: u64,
    pub(super) commit: u64,
    pub(super) close_channel: u64,
    pub(super) close: u64,
    pub(super) die: u64,
    pub(super) dawdle: u64,
    /// One in so many bodies is huge; bytes of the others at most.
    pub(super) huge_in: u64,
    pub(super) bytes_max: u64,
    /// A transaction instead of confirms, in percent.
    pub(super) transactions: u64,
}

impl Desk {
    pub(super) fn new(taste: Taste, families: Vec<&'static str>, flaw: Flaw, with_lines: bool) -> Self {
        Self {
            book: Book::default(),
            violations: Vec::new(),
            coverage: Coverage::default(),
            trace: Trace::new(with_lines),
            flaw,
            busy: BTreeSet::new(),
            taste,
            families,
            next: 0,
        }
    }

    /// Takes in what a client did or saw.
    pub(super) fn see(&mut self, event: Event) {
        let now = self.book.now_us;
        self.trace.line(|| format!("{now:>10} {event:?}"));
        let broken = properties::see(&mut self.book, event);
        for violation in &broken {
            self.trace
                .line(|| format!("{now:>10} BROKEN {}: {}", violation.property, violation.text));
        }
        self.violations.extend(broken);
    }

    pub(super) fn hit(&mut self, kind: &'static str) {
        self.coverage.hit(kind);
    }

    /// A number that nobody has had.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn channel(&mut self) -> ChannelId {
        ChannelId(self.number())
    }

    pub(super) fn transaction(&mut self) -> TransactionId {
        TransactionId(self.number())
    }
}
