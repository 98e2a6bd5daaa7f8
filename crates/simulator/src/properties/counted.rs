//! Numbers add up: a declaration tells as many messages as can be read, a purge removes no more than there can be, tags rise by one.

use super::Property;
use crate::book::family;
use crate::book::{Book, Event};

pub(super) const PROPERTY: Property = Property {
    name: "counted",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Audited(name, Some(found), counted) => {
            let missing = book.rotten.len();
            let read = found.len();
            // What lies with heirs, or comes late, is not in that count.
            let wrong = family::place(name).is_none()
                && (read as u64 > *counted || (read + missing) < *counted as usize);
            wrong.then(|| format!("{name} tells {counted} messages and gives {read}"))
        }
        Event::Delivered(delivered) => {
            let last = book
                .channels
                .get(&delivered.channel)
                .map_or(0, |channel| channel.tag);
            (delivered.tag != last + 1).then(|| {
                format!(
                    "channel {} got tag {} behind tag {last}",
                    delivered.channel.0, delivered.tag
                )
            })
        }
        Event::Purged(name, count) => {
            let possible = possible(book, name);
            (*count > possible)
                .then(|| format!("{count} messages were purged from {name}, which can hold {possible}"))
        }
        _ => None,
    }
}

/// Most messages that a purge can find in a queue: what is not known to be gone, what has not been seen there and may have been sent there,
/// and what went with the queue while the purge was under way.
fn possible(book: &Book, name: &crate::book::Name) -> u64 {
    let Some(queue) = book.queues.get(name) else {
        return 0;
    };
    let sent = book
        .messages
        .iter()
        .filter(|(number, publish)| !queue.copies.contains_key(number) && book.possibly_in(publish, name));
    queue.held_at_most() + queue.deleted_beside_purge + sent.count() as u64
}

#[cfg(test)]
mod tests {
    use crate::book::{Event, Found};
    use crate::properties::tests::{Tale, q};

    #[test]
    fn a_count_that_does_not_add_up_is_found() {
        let found = Found {
            number: Some(1),
            intact: true,
            redelivered: true,
            place: q(),
            late: false,
        };
        for (counted, broken) in [(1, 0), (2, 1), (0, 1)] {
            let mut tale = Tale::begin();
            tale.kept(1)
                .then(Event::Audited(q(), Some(vec![found.clone()]), counted));
            assert_eq!(tale.broken().len(), broken, "{counted}");
        }
    }

    #[test]
    fn tags_rise_by_one() {
        let mut tale = Tale::begin();
        tale.kept(1).kept(2).delivered(1, 1).delivered(2, 3);
        assert_eq!(tale.broken(), ["counted"]);
    }

    #[test]
    fn a_purge_cannot_remove_what_is_not_there() {
        let mut tale = Tale::begin();
        tale.kept(1)
            .then(Event::PurgeSent(q()))
            .then(Event::Purged(q(), 1));
        assert_eq!(tale.broken(), [""; 0]);
        tale.then(Event::PurgeSent(q())).then(Event::Purged(q(), 3));
        assert_eq!(tale.broken(), ["counted"]);
    }

    /// Seed 24738: the purge came first, and its answer second.
    #[test]
    fn a_purge_may_have_been_before_the_deletion_that_is_heard_of_first() {
        for (purged, broken) in [(2, 0), (3, 1)] {
            let mut tale = Tale::begin();
            tale.kept(1).kept(2);
            tale.then(Event::PurgeSent(q()))
                .then(Event::DeleteSent(q()))
                .then(Event::Deleted(q()))
                .then(Event::Purged(q(), purged));
            assert_eq!(tale.broken().len(), broken, "{purged}");
        }
    }
}
