//! A queue that was declared durable is there until it is deleted, and one that was deleted is not.

use super::Property;
use crate::book::{Book, Class, Event, Presence};

pub(super) const PROPERTY: Property = Property {
    name: "topology",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    let Event::Audited(name, found, _) = event else {
        return None;
    };
    let queue = book.queues.get(name)?;
    if queue.class == Class::Fleeting && found.is_none() {
        return None;
    }
    match (queue.there.now(), found) {
        (Presence::Present, None) => Some(format!("{name} was declared and is gone")),
        (Presence::Absent, Some(_)) => Some(format!("{name} was deleted, or never declared, and is there")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::book::Event;
    use crate::properties::tests::{Tale, q};

    #[test]
    fn a_declared_queue_stays() {
        let mut tale = Tale::begin();
        tale.crashed().then(Event::Audited(q(), None, 0));
        assert_eq!(tale.broken(), ["topology"]);
    }

    #[test]
    fn a_deleted_one_goes() {
        let mut tale = Tale::begin();
        tale.then(Event::DeleteSent(q()));
        assert!(!tale.broken().contains(&"topology"));
        tale.then(Event::Deleted(q())).crashed().audited(&[]);
        assert_eq!(tale.broken(), ["topology"]);
    }
}
