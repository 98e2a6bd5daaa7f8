//! Nothing is there that was not sent there: no unknown message, none of another queue, none that was rolled back, none twice.

use std::collections::BTreeSet;

use super::Property;
use crate::book::family;
use crate::book::{Book, Event, Name};

pub(super) const PROPERTY: Property = Property {
    name: "phantom",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Delivered(delivered) => wrong(book, &delivered.queue, delivered.number?),
        Event::Audited(name, found, _) => {
            let mut seen = BTreeSet::new();
            let numbers = found.iter().flatten().filter_map(|found| found.number);
            for number in numbers {
                if !seen.insert(number) {
                    return Some(format!("message {number} is in {name} twice"));
                }
                if let Some(text) = wrong(book, name, number) {
                    return Some(text);
                }
            }
            None
        }
        Event::Returned(_, number) if !book.messages.contains_key(number) => {
            Some(format!("message {number} came back and was never sent"))
        }
        _ => None,
    }
}

fn wrong(book: &Book, queue: &Name, number: u64) -> Option<String> {
    // What has been seen there is known to belong there.
    if book.copy(queue, number).is_some() {
        return None;
    }
    match book.messages.get(&number) {
        None => Some(format!("message {number} is in {queue} and was never sent")),
        Some(publish) if publish.refused && !may_be_inherited(queue) => {
            Some(format!("message {number} is in {queue} and was refused"))
        }
        Some(publish) if publish.withdrawn => {
            Some(format!("message {number} is in {queue} and was never committed"))
        }
        Some(publish) if !book.possibly_in(publish, queue) => Some(format!(
            "message {number} is in {queue}, which it was not sent to: {:?}",
            publish.message.address
        )),
        Some(_) => None,
    }
}

/// A copy of what is refused goes to an heir.
fn may_be_inherited(queue: &Name) -> bool {
    family::place(queue).is_some_and(|head| head.overflow == family::Overflow::RejectToHeir)
}

#[cfg(test)]
mod tests {
    use crate::book::{Address, Binding, Event, TransactionId};
    use crate::properties::tests::{PUBLISHER, Tale, q};

    #[test]
    fn a_message_that_was_never_sent_is_one() {
        let mut tale = Tale::begin();
        tale.kept(1).delivered(7, 1);
        assert_eq!(tale.broken(), ["phantom"]);
    }

    #[test]
    fn so_is_one_that_is_there_twice() {
        let mut tale = Tale::begin();
        tale.kept(1).crashed().audited(&[1, 1]);
        assert!(tale.broken().contains(&"phantom"));
    }

    #[test]
    fn so_is_one_of_a_transaction_that_never_committed() {
        let mut tale = Tale::begin();
        tale.sent_as(1, Address::Queue(q()), Some(TransactionId(1)))
            .then(Event::ChannelLost(PUBLISHER))
            .crashed()
            .audited(&[1]);
        assert_eq!(tale.broken(), ["phantom"]);
    }

    #[test]
    fn so_is_one_that_no_binding_led_to() {
        let binding = Binding {
            exchange: "amq.fanout",
            key: "#",
            queue: q(),
        };
        let mut tale = Tale::begin();
        tale.then(Event::BindSent(binding.clone()))
            .then(Event::Bound(binding.clone()))
            .sent_as(1, Address::Exchange("amq.fanout", ""), None)
            .delivered(1, 1);
        assert_eq!(tale.broken(), [""; 0]);
        tale.then(Event::UnbindSent(binding.clone()))
            .then(Event::Unbound(binding))
            .sent_as(2, Address::Exchange("amq.fanout", ""), None)
            .delivered(2, 2);
        assert_eq!(tale.broken(), ["phantom"]);
    }
}
