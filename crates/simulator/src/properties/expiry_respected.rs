//! What has reached its end before it is asked for is not handed out from the queue in which it has reached it.

use super::Property;
use crate::book::family;
use crate::book::{Book, Event};

pub(super) const PROPERTY: Property = Property {
    name: "expiry_respected",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    let Event::Delivered(delivered) = event else {
        return None;
    };
    let (asked_us, number) = (delivered.asked_us?, delivered.number?);
    if delivered.place != delivered.queue || book.is_unsteady(delivered.channel) {
        return None;
    }
    let (head, publish) = (family::place(&delivered.place)?, book.messages.get(&number)?);
    family::had_expired(head, publish, asked_us).then(|| {
        format!(
            "message {number} was handed out of {}, asked for at {asked_us} µs, sent at {} µs to live for {:?} µs",
            delivered.place,
            publish.sent_us,
            head.life_us(&publish.message)
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::book::{Delivered, Event};
    use crate::properties::tests::Family;

    #[test]
    fn the_old_are_not_handed_out() {
        for (later_us, broken) in [(20_000, &[][..]), (50_000, &["expiry_respected"])] {
            let mut tale = Family::begin("u0");
            tale.kept(1).later(later_us);
            let asked_us = Some(tale.book().now_us);
            let delivered = tale.delivery("u0", 1, 1);
            tale.then(Event::Delivered(Delivered {
                asked_us,
                ..delivered
            }));
            assert_eq!(tale.broken(), broken, "{later_us} µs later");
        }
    }
}
