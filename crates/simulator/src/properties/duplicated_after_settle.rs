//! While a broker runs, a message is in one pair of hands at a time, and once its settlement was taken in it is in nobody's.

use super::Property;
use crate::book::{Book, Event, Fate};

pub(super) const PROPERTY: Property = Property {
    name: "duplicated_after_settle",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    let Event::Delivered(delivered) = event else {
        return None;
    };
    let number = delivered.number?;
    let copy = book.copy(&delivered.queue, number)?;
    if copy.doubt.is_some() || delivered.void || book.is_unsteady(delivered.channel) {
        return None;
    }
    let queue = &delivered.queue;
    // The broker may have taken it out of those hands, and they have not been told yet.
    let steady = copy.holder.filter(|(holder, _)| !book.is_unsteady(*holder));
    if let Some((holder, tag)) = steady {
        return Some(format!(
            "message {number} of {queue} was handed out while channel {} holds it under tag {tag}",
            holder.0
        ));
    }
    match copy.fate {
        Fate::Leaving {
            since_us: Some(since),
        } => Some(format!(
            "message {number} of {queue} was handed out again {} µs after its settlement was taken in",
            book.now_us - since
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::book::{Delivered, Event, TransactionId, Verdict};
    use crate::properties::tests::{OTHER, READER, Tale, delivery};

    #[test]
    fn a_message_in_two_hands_is_found() {
        let mut tale = Tale::begin();
        let elsewhere = Delivered {
            channel: OTHER,
            redelivered: true,
            ..delivery(1, 1)
        };
        tale.kept(1).delivered(1, 1).then(Event::Delivered(elsewhere));
        assert!(tale.broken().contains(&"duplicated_after_settle"));
    }

    #[test]
    fn so_is_one_that_was_acknowledged() {
        let again = Delivered {
            redelivered: true,
            ..delivery(1, 2)
        };
        let mut tale = Tale::begin();
        tale.kept(1).delivered(1, 1).acknowledged(1);
        tale.then(Event::Delivered(again.clone()));
        assert!(tale.broken().contains(&"duplicated_after_settle"));

        let mut tale = Tale::begin();
        tale.kept(1).delivered(1, 1).then(Event::ChannelLost(READER));
        tale.then(Event::Delivered(Delivered {
            channel: OTHER,
            tag: 1,
            ..again
        }));
        assert_eq!(tale.broken(), [""; 0], "its holder had gone");
    }

    /// A message is handed to somebody else after its queue has been purged. Its first holder sent it back, in a transaction, and went.
    fn purged_beside_a_transaction(is_committed: bool) -> Vec<&'static str> {
        const IT: TransactionId = TransactionId(9);
        let again = Delivered {
            channel: OTHER,
            redelivered: true,
            ..delivery(1, 1)
        };
        let mut tale = Tale::begin();
        tale.kept(1).delivered(1, 1);
        tale.then(Event::SettleSent(READER, vec![1], Verdict::Back, Some(IT)));
        if is_committed {
            tale.then(Event::CommitSent(IT));
        }
        tale.then(Event::ChannelLost(READER))
            .then(Event::ChannelEnded(READER))
            .then(Event::PurgeSent(again.queue.clone()))
            .then(Event::Purged(again.queue.clone(), 0))
            .then(Event::Delivered(again));
        tale.broken()
    }

    #[test]
    fn what_is_purged_does_not_come_back_unless_it_was_nowhere() {
        assert_eq!(purged_beside_a_transaction(false), ["duplicated_after_settle"]);
        assert_eq!(purged_beside_a_transaction(true), [""; 0]);
    }
}
