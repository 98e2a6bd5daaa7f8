//! Where one consumer at a time is delivered to, no other one gets anything while it is there.

use super::Property;
use crate::book::family;
use crate::book::{Book, Event};

pub(super) const PROPERTY: Property = Property {
    name: "one_active_consumer",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    let Event::Delivered(delivered) = event else {
        return None;
    };
    let place = family::place(&delivered.place).filter(|place| place.single_active)?;
    let (consumer, active) = (delivered.consumer?, book.queues.get(&delivered.queue)?.active?);
    let there = |consumer: u64| {
        let known = book.consumers.get(&consumer);
        known.is_some_and(|known| !known.cancelling && !book.is_unsteady(known.channel))
    };
    (consumer != active && !delivered.void && there(consumer) && there(active)).then(|| {
        format!(
            "{} delivered to consumer {consumer} while {active} was the active one",
            place.name
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::book::{Delivered, Event};
    use crate::properties::tests::{Family, OTHER, READER};

    fn tale(meanwhile: Option<Event>) -> Vec<&'static str> {
        let mut tale = Family::begin("s0");
        tale.kept(1).kept(2);
        tale.then(Event::Consuming(5, READER, "s0".into(), 0))
            .then(Event::Consuming(6, OTHER, "s0".into(), 0));
        let to = |consumer, delivered: Delivered| {
            Event::Delivered(Delivered {
                consumer: Some(consumer),
                ..delivered
            })
        };
        let first = tale.delivery("s0", 1, 1);
        tale.then(to(5, first));
        meanwhile.into_iter().for_each(|event| {
            tale.then(event);
        });
        let second = Delivered {
            channel: OTHER,
            ..tale.delivery("s0", 2, 1)
        };
        tale.then(to(6, second));
        tale.broken()
    }

    #[test]
    fn the_second_one_waits() {
        assert_eq!(tale(None), ["one_active_consumer"]);
    }

    #[test]
    fn until_the_first_is_gone() {
        assert_eq!(tale(Some(Event::Cancelling(5))), [""; 0]);
        assert_eq!(tale(Some(Event::ChannelLost(READER))), [""; 0]);
    }
}
