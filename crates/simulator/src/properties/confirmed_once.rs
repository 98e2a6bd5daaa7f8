//! Each publish is confirmed once, and nothing else is.

use super::Property;
use crate::book::{Book, Event};

pub(super) const PROPERTY: Property = Property {
    name: "confirmed_once",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Confirmed(_, numbers) => {
            let twice = |number: &&u64| book.messages.get(number).is_none_or(|publish| publish.confirmed);
            let number = numbers.iter().find(twice)?;
            Some(format!("message {number} was confirmed twice, or never sent"))
        }
        Event::ConfirmedNothing(channel, tag) => Some(format!(
            "channel {} was sent a confirm for publish {tag}, which is not outstanding",
            channel.0
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::book::Event;
    use crate::properties::tests::{PUBLISHER, Tale};

    #[test]
    fn a_second_confirm_is_found() {
        let mut tale = Tale::begin();
        tale.kept(1).confirmed(1);
        assert_eq!(tale.broken(), ["confirmed_once"]);
    }

    #[test]
    fn so_is_one_for_nothing() {
        let mut tale = Tale::begin();
        tale.then(Event::ConfirmedNothing(PUBLISHER, 9));
        assert_eq!(tale.broken(), ["confirmed_once"]);
    }
}
