//! What was confirmed, and not settled, is there: when a queue is read from one end to the other, nothing that must be in it is missing.

use super::Property;
use crate::book::{Book, Event, Fate};

pub(super) const PROPERTY: Property = Property {
    name: "lost",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    let Event::Audited(name, found, _) = event else {
        return None;
    };
    let there = |number: u64| found.iter().flatten().any(|found| found.number == Some(number));
    let mut kept = book.queues.get(name)?.copies.iter();
    let (number, _) = kept.find(|(number, copy)| {
        copy.fate == Fate::Kept
            && !there(**number)
            && !book.rotten.contains(number)
            && book.must_be_there(name, **number)
    })?;
    Some(format!("message {number} was confirmed and is not in {name}"))
}

#[cfg(test)]
mod tests {
    use crate::book::{Class, Event};
    use crate::properties::tests::{READER, Tale, q};

    #[test]
    fn a_confirmed_message_that_is_missing_is_lost() {
        let mut tale = Tale::begin();
        tale.kept(1).kept(2).crashed().audited(&[2]);
        assert_eq!(tale.broken(), ["lost"]);
    }

    #[test]
    fn so_is_one_that_was_held_when_the_power_went() {
        let mut tale = Tale::begin();
        tale.kept(1).delivered(1, 1).crashed().audited(&[]);
        assert_eq!(tale.broken(), ["lost"]);
    }

    /// Seed 10367: the answer of a get is read after a deletion, of which nobody heard, and a new declaration.
    #[test]
    fn what_was_on_its_way_while_its_queue_may_have_been_deleted_is_not() {
        let mut tale = Tale::begin();
        tale.kept(1)
            .then(Event::Getting(READER, q()))
            .then(Event::DeleteSent(q()))
            .then(Event::DeclareSent(q(), Class::Durable))
            .then(Event::Declared(q()))
            .delivered(1, 1);
        tale.kept(2).crashed();
        let mut other = Tale {
            book: tale.book.clone(),
            broken: Vec::new(),
        };
        tale.audited(&[2]);
        assert_eq!(tale.broken(), [""; 0]);
        other.audited(&[1]);
        assert_eq!(other.broken(), ["lost"], "of the new queue");
    }

    /// Seed 36814: a channel fails behind a get, its message goes back and is purged, and then its client reads the answer of the get.
    #[test]
    fn nor_is_what_may_have_gone_back_before_a_purge() {
        for (asking, broken) in [(1, &[][..]), (0, &["lost"][..])] {
            let mut tale = Tale::begin();
            tale.kept(1)
                .then(Event::Getting(READER, q()))
                .then(Event::PurgeSent(q()))
                .then(Event::Purged(q(), 1))
                .then(Event::Asking(READER, asking))
                .delivered(1, 1)
                .crashed()
                .audited(&[]);
            assert_eq!(tale.broken(), broken, "{asking} questions are open");
        }
    }

    #[test]
    fn an_unconfirmed_one_is_not() {
        let mut tale = Tale::begin();
        tale.kept(1).sent(2).crashed().audited(&[1]);
        assert_eq!(tale.broken(), [""; 0]);
    }
}
