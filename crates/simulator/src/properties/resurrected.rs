//! What is settled for certain never comes back: acknowledged, rejected, purged or deleted, and taken in by the broker longer before the
//! crash than a settlement may wait; or answered for as durable, as `tx.commit-ok` and `queue.delete-ok` do; or not shown by an earlier
//! start.

use super::Property;
use crate::book::{Book, Event, Fate, Name};

pub(super) const PROPERTY: Property = Property {
    name: "resurrected",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        // What was on its way when its queue was deleted arrives; and so does what the broker has taken back from a channel since.
        Event::Delivered(delivered)
            if !deleted_in_this_life(book, &delivered.queue) && !book.is_unsteady(delivered.channel) =>
        {
            gone(book, &delivered.queue, delivered.number?)
        }
        Event::Audited(name, found, _) => {
            let mut numbers = found.iter().flatten().filter_map(|found| found.number);
            numbers.find_map(|number| gone(book, name, number))
        }
        _ => None,
    }
}

fn deleted_in_this_life(book: &Book, queue: &Name) -> bool {
    let deleted = book.queues.get(queue).and_then(|queue| queue.deleted_us);
    deleted.is_some_and(|deleted| deleted >= book.life_began_us)
}

fn gone(book: &Book, queue: &Name, number: u64) -> Option<String> {
    let copy = book.copy(queue, number)?;
    let back = copy.fate == Fate::Gone && !book.rotten.contains(&number);
    back.then(|| format!("message {number} is in {queue} again, and was done with for certain"))
}

#[cfg(test)]
mod tests {
    use crate::book::{Crash, Event};
    use crate::properties::tests::Tale;

    #[test]
    fn a_settlement_long_before_the_crash_holds() {
        let mut tale = Tale::begin();
        tale.kept(1).delivered(1, 1).acknowledged(1);
        tale.later(11_001).crashed().audited(&[1]);
        assert_eq!(tale.broken(), ["resurrected"]);
    }

    #[test]
    fn one_right_before_it_may_be_forgotten() {
        let mut tale = Tale::begin();
        tale.kept(1).delivered(1, 1).acknowledged(1);
        tale.later(10_900).crashed().audited(&[1]);
        assert_eq!(tale.broken(), [""; 0]);
    }

    /// Seed 32688: there was room again 16 µs before the end.
    #[test]
    fn one_that_waited_for_room_may_be_forgotten_until_it_has_been_written() {
        for (room_for_us, broken) in [(16, &[][..]), (13_000, &["resurrected"][..])] {
            let mut tale = Tale::begin();
            tale.kept(1).delivered(1, 1).acknowledged(1).later(40_000);
            let now = tale.book.now_us + 1000;
            tale.then(Event::Crashed(Crash {
                settled_within_us: 12_000,
                full_until_us: Some(now - room_for_us),
                ..Crash::default()
            }));
            tale.audited(&[1]);
            assert_eq!(
                tale.broken(),
                broken,
                "{room_for_us} µs after there was room again"
            );
        }
    }

    #[test]
    fn what_a_start_did_not_show_stays_away() {
        let mut tale = Tale::begin();
        tale.sent(1).crashed().audited(&[]).crashed().audited(&[1]);
        assert_eq!(tale.broken(), ["resurrected"]);
    }
}
