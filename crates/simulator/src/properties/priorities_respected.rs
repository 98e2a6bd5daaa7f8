//! Where priorities count, nobody gets a message while one of a higher priority is ready.

use super::Property;
use crate::book::family::{self, Place};
use crate::book::{Book, Delivered, Event, Fate, Found, Name, Publish};

pub(super) const PROPERTY: Property = Property {
    name: "priorities_respected",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Delivered(delivered) => overtaken(book, delivered),
        Event::Audited(name, found, _) => out_of_order(book, name, found.as_deref()?),
        _ => None,
    }
}

fn ranks(name: &Name) -> Option<&'static Place> {
    family::place(name).filter(|place| place.priority_max.is_some())
}

/// With `basic.get`, by somebody who is alone: whatever was ready before it was asked for and is more urgent should have come first.
fn overtaken(book: &Book, delivered: &Delivered) -> Option<String> {
    let place = ranks(&delivered.place)?;
    let asked_us = delivered.asked_us?;
    if delivered.void || book.is_unsteady(delivered.channel) || !is_alone(book, delivered) {
        return None;
    }
    let number = delivered.number?;
    let rank = place.rank(&book.messages.get(&number)?.message);
    let waits = |publish: &&Publish| {
        let copy = book.copy(&delivered.queue, publish.message.number);
        let kept = copy.is_some_and(|copy| copy.fate == Fate::Kept && copy.seen_us.is_none());
        kept && publish.confirmed
            && publish.resolved_us.is_some_and(|at| at < asked_us)
            && !book.rotten.contains(&publish.message.number)
            && place.rank(&publish.message) > rank
    };
    let other = book.messages.values().find(waits)?;
    Some(format!(
        "{} handed out message {number} of priority {rank} while message {} of priority {} was ready",
        delivered.place,
        other.message.number,
        place.rank(&other.message)
    ))
}

/// Nobody else has read since it was asked for, nor any consumer of its own.
fn is_alone(book: &Book, delivered: &Delivered) -> bool {
    let readers = book.readers.get(&delivered.queue);
    let others = readers.is_some_and(|readers| readers.iter().any(|reader| *reader != delivered.channel));
    let mut consumers = book.consumers.values();
    let own =
        consumers.any(|consumer| consumer.channel == delivered.channel && consumer.queue == delivered.queue);
    let back = book
        .queues
        .get(&delivered.queue)
        .and_then(|queue| queue.returned_us);
    let came_back = back.is_some_and(|back| delivered.asked_us.is_none_or(|asked| back >= asked));
    !others && !own && !came_back
}

fn out_of_order(book: &Book, name: &Name, found: &[Found]) -> Option<String> {
    let place = ranks(name)?;
    let found = found.iter().filter(|found| !found.late);
    let mut lowest = u8::MAX;
    for number in found.filter_map(|found| found.number) {
        let rank = place.rank(&book.messages.get(&number)?.message);
        if rank > lowest {
            return Some(format!(
                "message {number} of priority {rank} lies in {name} behind one of priority {lowest}"
            ));
        }
        lowest = rank;
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::book::{Delivered, Event};
    use crate::properties::tests::{Family, OTHER};

    fn tale(first_seen: u64, alone: bool) -> Family {
        let mut tale = Family::begin("p0");
        tale.kept_with(1, Some(1))
            .kept_with(2, Some(5))
            .kept_with(3, Some(9));
        if !alone {
            tale.then(Event::Getting(OTHER, "p0".into()));
        }
        let asked_us = Some(tale.book().now_us);
        let delivered = tale.delivery("p0", first_seen, 1);
        tale.then(Event::Getting(delivered.channel, "p0".into()));
        tale.then(Event::Delivered(Delivered {
            asked_us,
            ..delivered
        }));
        tale
    }

    #[test]
    fn the_urgent_come_first() {
        assert_eq!(tale(2, true).broken(), [""; 0], "9 counts as 5");
        assert_eq!(tale(1, true).broken(), ["priorities_respected"]);
    }

    #[test]
    fn nobody_knows_what_others_have_taken() {
        assert_eq!(tale(1, false).broken(), [""; 0]);
    }

    /// Seed 15323: what another one had in hand comes back behind the get, and before its answer is read.
    #[test]
    fn nor_what_they_had_when_it_was_asked_for() {
        for (ends_late, broken) in [(true, &[][..]), (false, &["priorities_respected"])] {
            let mut tale = Family::begin("p0");
            tale.kept_with(1, Some(1)).kept_with(2, Some(5));
            tale.then(Event::Getting(OTHER, "p0".into()))
                .then(Event::ChannelLost(OTHER));
            if !ends_late {
                tale.then(Event::ChannelEnded(OTHER));
            }
            let delivered = tale.delivery("p0", 1, 1);
            tale.then(Event::Getting(delivered.channel, "p0".into()));
            let asked_us = Some(tale.book().now_us);
            if ends_late {
                tale.then(Event::ChannelEnded(OTHER));
            }
            tale.then(Event::Delivered(Delivered {
                asked_us,
                ..delivered
            }));
            assert_eq!(tale.broken(), broken, "it ends behind the question: {ends_late}");
        }
    }

    #[test]
    fn readings_are_sorted() {
        for (numbers, broken) in [(&[2, 3, 1][..], &[][..]), (&[1, 2, 3], &["priorities_respected"])] {
            let mut tale = Family::begin("p0");
            tale.kept_with(1, Some(1))
                .kept_with(2, Some(5))
                .kept_with(3, Some(9));
            tale.crashed().audited(numbers);
            assert_eq!(tale.broken(), broken, "{numbers:?}");
        }
    }
}
