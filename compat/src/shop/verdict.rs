//! What must be true of a shop's journal, whatever the library.
//!
//! Believes only what clients saw. An order whose publish was open when the broker died may exist more than once, since its
//! confirm may have been lost: of it, only survival is demanded. A settlement is no fact until the broker has made it durable,
//! and nobody tells a consumer when: one that was handed over less than [`SETTLED_AFTER`] before the crash may be forgotten.

use super::journal::{Crash, Entry, Fact};
use std::collections::BTreeMap;
use std::time::Duration;

/// An acknowledgement that is so much older than the crash must survive it. The broker itself promises 10 ms and a sync from
/// its receipt; the rest is the way of the bytes from the library, and of its line to us, on a busy machine.
pub const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// How much later a line of one process may reach us than a later one of another.
const SKEW: Duration = Duration::from_secs(1);

/// What is known of one order.
#[derive(Default)]
struct Order {
    sendings: Vec<Duration>,
    confirms: Vec<Duration>,
    gots: Vec<(Duration, bool)>,
    acks: Vec<Duration>,
    asked: usize,
    answered: usize,
}

impl Order {
    /// Whether a publish of it was open at some time of the broker's absence.
    fn is_unsure(&self, crash: Crash) -> bool {
        self.sendings.iter().enumerate().any(|(copy, sent)| {
            let confirmed = self.confirms.get(copy).copied().unwrap_or(Duration::MAX);
            *sent <= crash.back && confirmed >= crash.killed
        })
    }

    /// How many of its acknowledgements, as of then, nothing may have undone.
    fn settled(&self, now: Duration, crash: Crash) -> usize {
        let certain = |acked: &&Duration| {
            let before = now >= crash.killed && **acked < crash.back;
            **acked < now && (!before || **acked + SETTLED_AFTER < crash.killed)
        };
        self.acks.iter().filter(certain).count()
    }

    fn complaint(&self, crash: Crash) -> Option<String> {
        if self.confirms.is_empty() {
            return Some("was never confirmed".to_owned());
        }
        if self.acks.is_empty() {
            return Some(format!(
                "was confirmed and lost: it came {} times and was never acknowledged",
                self.gots.len()
            ));
        }
        if self.answered < self.asked.min(1) {
            return Some("asked for its price and got no answer".to_owned());
        }
        if self.is_unsure(crash) {
            return None;
        }
        self.complaint_of_one_that_is_sure(crash)
    }

    fn complaint_of_one_that_is_sure(&self, crash: Crash) -> Option<String> {
        if self.acks.len() < self.confirms.len() {
            return Some(format!(
                "was confirmed {} times and acknowledged {} times",
                self.confirms.len(),
                self.acks.len()
            ));
        }
        for (at, _) in &self.gots {
            let copies = self.sendings.iter().filter(|sent| **sent <= *at + SKEW).count();
            let settled = self.settled(*at, crash);
            if settled >= copies {
                return Some(format!(
                    "came back at {at:?} although acknowledged at {:?}",
                    self.acks
                ));
            }
        }
        let fresh = self.gots.iter().filter(|(_, redelivered)| !redelivered).count();
        (fresh > self.sendings.len())
            .then(|| format!("came {fresh} times without being flagged as redelivered"))
    }
}

/// Whether there is nothing left to wait for: every order confirmed and acknowledged, every question answered.
pub fn is_complete(journal: &[Entry], orders: usize) -> bool {
    let known = by_order(journal);
    known.len() == orders
        && known.values().all(|order| {
            !order.acks.is_empty()
                && order.acks.len() >= order.confirms.len()
                && !order.confirms.is_empty()
                && order.answered >= order.asked.min(1)
        })
}

/// Everything that is wrong; nothing when all is well.
pub fn complaints(journal: &[Entry], orders: usize, crash: Crash) -> Vec<String> {
    let known = by_order(journal);
    let none = Order::default();
    let of = |number: usize| known.get(&number).unwrap_or(&none).complaint(crash);
    let mut wrong: Vec<String> = (0..orders)
        .filter_map(|number| Some(format!("order {number} {}", of(number)?)))
        .collect();
    wrong.extend(coverage(journal, crash).map(|missing| format!("the test showed nothing: {missing}")));
    wrong
}

/// The crash has to come in the middle of work on both sides, and the work has to go on after it.
fn coverage(journal: &[Entry], crash: Crash) -> impl Iterator<Item = &'static str> {
    let count = |wanted: fn(&Fact) -> bool, after: bool| {
        let there = |entry: &&Entry| {
            wanted(&entry.fact)
                && (if after {
                    entry.at > crash.back
                } else {
                    entry.at < crash.killed
                })
        };
        journal.iter().filter(there).count()
    };
    let confirmed = |fact: &Fact| matches!(fact, Fact::Confirmed(_));
    let acked = |fact: &Fact| matches!(fact, Fact::Acked(_));
    let flagged = |fact: &Fact| matches!(fact, Fact::Got(_, true));
    let answered = |fact: &Fact| matches!(fact, Fact::Answered(_));
    let needs = [
        (
            count(confirmed, false) > 0,
            "nothing was confirmed before the crash",
        ),
        (
            count(acked, false) > 0,
            "nothing was acknowledged before the crash",
        ),
        (
            count(confirmed, true) > 0,
            "nothing was confirmed after the crash",
        ),
        (count(acked, true) > 0, "nothing was acknowledged after the crash"),
        (
            count(flagged, true) > 0,
            "nothing was redelivered after the crash",
        ),
        (
            count(answered, true) > 0 || count(answered, false) == 0,
            "no question was answered after the crash",
        ),
    ];
    needs
        .into_iter()
        .filter(|(there, _)| !there)
        .map(|(_, missing)| missing)
}

fn by_order(journal: &[Entry]) -> BTreeMap<usize, Order> {
    let mut known: BTreeMap<usize, Order> = BTreeMap::new();
    for Entry { at, fact } in journal {
        match *fact {
            Fact::Ready => {}
            Fact::Sending(number) => known.entry(number).or_default().sendings.push(*at),
            Fact::Confirmed(number) => known.entry(number).or_default().confirms.push(*at),
            Fact::Got(number, redelivered) => known.entry(number).or_default().gots.push((*at, redelivered)),
            Fact::Acked(number) => known.entry(number).or_default().acks.push(*at),
            Fact::Asked(number) => known.entry(number).or_default().asked += 1,
            Fact::Answered(number) => known.entry(number).or_default().answered += 1,
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Crash = Crash {
        killed: Duration::from_secs(10),
        back: Duration::from_secs(12),
    };

    /// Facts as `SECONDS LINE`, of one order.
    fn complaint(facts: &[(f64, &str)]) -> Option<String> {
        let entry = |(at, line): &(f64, &str)| Entry {
            at: Duration::from_secs_f64(*at),
            fact: Fact::parse(line).unwrap(),
        };
        let journal: Vec<Entry> = facts.iter().map(entry).collect();
        by_order(&journal).get(&0).unwrap().complaint(CRASH)
    }

    fn fine(facts: &[(f64, &str)]) {
        assert_eq!(complaint(facts), None, "{facts:?}");
    }

    fn wrong(facts: &[(f64, &str)], why: &str) {
        let found = complaint(facts).unwrap_or_default();
        assert!(found.contains(why), "{facts:?}: {found:?}");
    }

    const PUBLISHED: [(f64, &str); 2] = [(1.0, "sending 0"), (1.1, "confirmed 0")];

    fn published(more: &[(f64, &'static str)]) -> Vec<(f64, &'static str)> {
        [&PUBLISHED[..], more].concat()
    }

    #[test]
    fn what_was_confirmed_must_come_and_be_acknowledged() {
        fine(&published(&[(1.2, "got 0 fresh"), (1.3, "acked 0")]));
        wrong(&published(&[]), "lost");
        wrong(&published(&[(1.2, "got 0 fresh")]), "lost");
        wrong(&[(1.0, "sending 0")], "never confirmed");
    }

    #[test]
    fn what_was_in_work_comes_again_with_the_flag() {
        fine(&published(&[
            (9.9, "got 0 fresh"),
            (13.0, "got 0 redelivered"),
            (13.1, "acked 0"),
        ]));
        wrong(
            &published(&[(9.9, "got 0 fresh"), (13.0, "got 0 fresh"), (13.1, "acked 0")]),
            "without being flagged",
        );
    }

    #[test]
    fn an_old_acknowledgement_survives_the_crash_and_a_young_one_may_not() {
        let back = |acked: f64| {
            published(&[
                (1.2, "got 0 fresh"),
                (acked, "acked 0"),
                (13.0, "got 0 redelivered"),
                (13.1, "acked 0"),
            ])
        };
        wrong(&back(8.9), "came back");
        fine(&back(9.1));
        fine(&back(10.5));
    }

    #[test]
    fn without_a_crash_between_nothing_comes_back() {
        let twice = |first: f64, then: f64| {
            published(&[
                (first, "got 0 fresh"),
                (first, "acked 0"),
                (then, "got 0 redelivered"),
                (then, "acked 0"),
            ])
        };
        wrong(&twice(2.0, 3.0), "came back");
        wrong(&twice(9.5, 9.9), "came back");
        wrong(&twice(13.0, 13.5), "came back");
    }

    #[test]
    fn a_second_copy_may_come_and_must_be_settled_too() {
        let retried = [
            (2.0, "got 0 fresh"),
            (2.1, "sending 0"),
            (2.2, "confirmed 0"),
            (2.3, "acked 0"),
            (3.0, "got 0 fresh"),
        ];
        fine(&[&published(&retried)[..], &[(3.1, "acked 0")]].concat());
        wrong(&published(&retried), "acknowledged 1 times");
        wrong(
            &[
                &published(&retried)[..],
                &[(3.1, "acked 0"), (3.2, "got 0 redelivered")],
            ]
            .concat(),
            "came back",
        );
    }

    #[test]
    fn of_an_open_publish_only_survival_is_demanded() {
        let open = [(9.9, "sending 0"), (12.5, "sending 0"), (12.6, "confirmed 0")];
        let twice = [
            (13.0, "got 0 redelivered"),
            (13.1, "acked 0"),
            (14.0, "got 0 fresh"),
            (14.1, "acked 0"),
        ];
        fine(&[&open[..], &twice].concat());
        wrong(&open, "lost");
    }

    #[test]
    fn a_question_needs_an_answer() {
        let asked = published(&[(1.2, "got 0 fresh"), (1.3, "acked 0"), (1.4, "asked 0")]);
        wrong(&asked, "no answer");
        fine(&[&asked[..], &[(1.5, "answered 0")]].concat());
    }

    #[test]
    fn a_crash_in_nobodys_work_shows_nothing() {
        let missing: Vec<_> = coverage(&[], CRASH).collect();
        assert_eq!(missing.len(), 5, "{missing:?}");
    }
}
