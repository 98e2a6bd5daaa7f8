//! A message that somebody has seen comes again with the flag; one that nobody can have had in hand comes without.

use super::Property;
use crate::book::{Book, Event};

pub(super) const PROPERTY: Property = Property {
    name: "redelivered_flag",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    let Event::Delivered(delivered) = event else {
        return None;
    };
    if delivered.void {
        return None;
    }
    let (queue, number) = (&delivered.queue, delivered.number?);
    let copy = book
        .copy(queue, number)
        .filter(|copy| copy.place.is_none() || copy.place.as_ref() == Some(&delivered.place));
    let seen = copy.is_some_and(|copy| copy.seen_us.is_some());
    // In a circle it comes again as another message.
    let again = copy.is_some_and(|copy| copy.rejected);
    if seen && !again && !delivered.redelivered && !book.is_unsteady(delivered.channel) {
        return Some(format!(
            "message {number} of {queue} comes again and is not flagged redelivered"
        ));
    }
    let (sent, back) = (
        book.messages.get(&number)?.sent_us,
        book.queues.get(queue)?.returned_us,
    );
    let never_back = back.is_none_or(|back| back < sent) && !book.may_come_back(queue);
    (!seen && delivered.redelivered && never_back).then(|| {
        format!(
            "message {number} of {queue} is flagged redelivered, and nothing has come back since it was sent"
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::book::{Delivered, Event};
    use crate::properties::tests::{OTHER, READER, Tale, delivery};

    #[test]
    fn a_second_delivery_without_the_flag_is_found() {
        let mut tale = Tale::begin();
        tale.kept(1).delivered(1, 1).then(Event::ChannelLost(READER));
        tale.then(Event::Delivered(Delivered {
            channel: OTHER,
            ..delivery(1, 1)
        }));
        assert_eq!(tale.broken(), ["redelivered_flag"]);
    }

    #[test]
    fn so_is_a_first_one_with_it() {
        let mut tale = Tale::begin();
        tale.kept(1).then(Event::Delivered(Delivered {
            redelivered: true,
            ..delivery(1, 1)
        }));
        assert_eq!(tale.broken(), ["redelivered_flag"]);
    }
}
