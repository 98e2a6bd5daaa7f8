//! A consumer never holds more than its prefetch, nor do the consumers of a channel together hold more than the channel's.

use super::Property;
use crate::book::{Book, Channel, Event, Held};

pub(super) const PROPERTY: Property = Property {
    name: "prefetch_respected",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    let Event::Delivered(delivered) = event else {
        return None;
    };
    let consumer = delivered
        .consumer
        .filter(|_| !delivered.no_ack && !delivered.void)?;
    let (prefetch, held) = (book.consumers.get(&consumer)?.prefetch, book.held_by(consumer));
    if prefetch > 0 && held >= prefetch {
        return Some(format!(
            "consumer {consumer} holds {held} messages and got another one; its prefetch is {prefetch}"
        ));
    }
    let channel = book.channels.get(&delivered.channel)?;
    let held = book
        .in_hand_of(delivered.channel)
        .filter(|held| counts(book, channel, held));
    let held = held.count() as u64;
    (channel.limit > 0 && held >= channel.limit).then(|| {
        format!(
            "channel {} holds {held} messages and got another one; its limit is {}",
            delivered.channel.0, channel.limit
        )
    })
}

/// What was held before there was a limit does not count.
fn counts(book: &Book, channel: &Channel, held: &Held) -> bool {
    let consumer = held.consumer.and_then(|consumer| book.consumers.get(&consumer));
    consumer.is_some_and(|consumer| consumer.since_us >= channel.limited_us) && book.is_held(held)
}

#[cfg(test)]
mod tests {
    use crate::book::{Address, Class, Delivered, Event, Name, TransactionId, Verdict};
    use crate::properties::tests::{OTHER, READER, Tale, delivery, q};

    fn to_consumer(number: u64, tag: u64) -> Event {
        Event::Delivered(Delivered {
            consumer: Some(5),
            ..delivery(number, tag)
        })
    }

    /// An acknowledgement in a transaction makes room when the transaction is committed, not before.
    #[test]
    fn what_is_settled_and_not_committed_is_in_hand() {
        const IT: TransactionId = TransactionId(1);
        for (commits, broken) in [(false, &["prefetch_respected"][..]), (true, &[])] {
            let mut tale = Tale::begin();
            tale.kept(1).kept(2);
            tale.then(Event::Consuming(5, READER, q(), 1));
            tale.then(to_consumer(1, 1));
            tale.then(Event::SettleSent(READER, vec![1], Verdict::Done, Some(IT)));
            if commits {
                tale.then(Event::CommitSent(IT));
            }
            tale.then(to_consumer(2, 2));
            assert_eq!(tale.broken(), broken, "commits: {commits}");
        }
    }

    #[test]
    fn one_too_many_is_found() {
        let mut tale = Tale::begin();
        tale.kept(1).kept(2).kept(3);
        tale.then(Event::Consuming(5, READER, q(), 2));
        tale.then(to_consumer(1, 1)).then(to_consumer(2, 2));
        assert_eq!(tale.broken(), [""; 0]);
        tale.then(to_consumer(3, 3));
        assert_eq!(tale.broken(), ["prefetch_respected"]);
    }

    /// A limit of one over a channel; its consumer 5 of a queue that goes with its consumers gets a message, `then` something
    /// happens, and its consumer 6 of another queue gets one too. Before all that, somebody else may have had a consumer of the first
    /// queue; that one may have ended.
    fn fleeting(former_ends: Option<bool>, then: Option<Event>) -> Vec<&'static str> {
        let fleeting = || Name::from("a");
        let mut tale = Tale::begin();
        tale.then(Event::DeclareSent(fleeting(), Class::Fleeting))
            .then(Event::Declared(fleeting()));
        if former_ends.is_some() {
            tale.then(Event::Consuming(4, OTHER, fleeting(), 0));
        }
        if former_ends == Some(true) {
            tale.then(Event::ChannelLost(OTHER));
        }
        tale.then(Event::Limited(READER, 1))
            .then(Event::Consuming(5, READER, fleeting(), 0))
            .then(Event::Consuming(6, READER, q(), 0));
        tale.sent_as(1, Address::Queue(fleeting()), None)
            .confirmed(1)
            .kept(2);
        tale.then(Event::Delivered(Delivered {
            queue: fleeting(),
            consumer: Some(5),
            ..delivery(1, 1)
        }));
        if let Some(event) = then {
            tale.then(event);
        }
        tale.then(Event::Delivered(Delivered {
            consumer: Some(6),
            ..delivery(2, 2)
        }));
        tale.broken()
    }

    #[test]
    fn what_a_queue_held_that_goes_with_its_consumers_counts() {
        for former_ends in [None, Some(false)] {
            assert_eq!(fleeting(former_ends, None), ["prefetch_respected"]);
        }
    }

    /// Seeds 19268, 22917, 29983, 34903, 47098, 49086: the queue goes with its last consumer, and the next message comes before `cancel-ok`.
    #[test]
    fn until_its_consumer_is_to_end() {
        assert_eq!(fleeting(None, Some(Event::Cancelling(5))), [""; 0]);
    }

    /// Seed 27844: the last consumer but one went, the next one came, and then the queue went with the former.
    #[test]
    fn or_a_former_one_is() {
        assert_eq!(fleeting(Some(true), None), [""; 0]);
    }

    #[test]
    fn so_is_one_beyond_the_limit_of_the_channel() {
        let mut tale = Tale::begin();
        tale.kept(1).kept(2);
        tale.then(Event::Limited(READER, 1))
            .then(Event::Consuming(5, READER, q(), 0));
        tale.then(to_consumer(1, 1)).then(to_consumer(2, 2));
        assert_eq!(tale.broken(), ["prefetch_respected"]);
    }
}
