//! A mandatory message that nobody wants comes back before it is confirmed, and nothing else comes back.

use super::Property;
use crate::book::{Book, Event};

pub(super) const PROPERTY: Property = Property {
    name: "confirm_after_return",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Confirmed(_, numbers) => numbers.iter().find_map(|number| {
            let publish = book.messages.get(number)?;
            let owed = publish.message.mandatory && !publish.returned && book.surely_nowhere(publish);
            owed.then(|| format!("message {number} was confirmed before it came back, and nobody wanted it"))
        }),
        Event::Returned(_, number) => {
            let publish = book.messages.get(number)?;
            let wrong = !publish.message.mandatory
                || publish.returned
                || publish.confirmed
                || !book.surely_to(publish, book.now_us).is_empty();
            wrong.then(|| {
                format!("message {number} came back: mandatory {}, returned before {}, confirmed before {}, wanted {}",
                    publish.message.mandatory, publish.returned, publish.confirmed,
                    !book.surely_to(publish, book.now_us).is_empty())
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::book::{Address, Event};
    use crate::properties::tests::{PUBLISHER, Tale};

    #[test]
    fn the_return_comes_first() {
        let mut tale = Tale::begin();
        tale.sent_as(1, Address::Queue("nobody".into()), None)
            .then(Event::Returned(PUBLISHER, 1))
            .confirmed(1);
        assert_eq!(tale.broken(), [""; 0]);
        tale.sent_as(2, Address::Queue("nobody".into()), None)
            .confirmed(2);
        assert_eq!(tale.broken(), ["confirm_after_return"]);
    }

    #[test]
    fn what_somebody_wants_does_not_come_back() {
        let mut tale = Tale::begin();
        tale.sent(1).then(Event::Returned(PUBLISHER, 1));
        assert_eq!(tale.broken(), ["confirm_after_return"]);
    }
}
