//! A transaction counts as a whole or not at all. One whose commit was not answered before the crash is judged by what is there
//! afterwards: its messages, and those that it settles.

use super::Property;
use crate::book::family;
use crate::book::{Book, Class, Event, Fate, Held, Name, Publish, Transaction, TransactionState, Verdict};

pub(super) const PROPERTY: Property = Property {
    name: "torn_transaction",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    let Event::AuditEnded = event else {
        return None;
    };
    let mut in_doubt = book
        .transactions
        .iter()
        .filter(|(_, transaction)| transaction.state == TransactionState::InDoubt);
    in_doubt.find_map(|(id, transaction)| {
        let signs = signs(book, transaction);
        let (for_it, against_it) = (signs.iter().any(|sign| *sign), signs.iter().any(|sign| !*sign));
        (for_it && against_it).then(|| {
            format!(
                "of transaction {} some is there and some is not: publishes {:?}, settles {:?}",
                id.0,
                transaction.publishes,
                transaction
                    .settles
                    .iter()
                    .map(|(_, held, _)| held.number)
                    .collect::<Vec<_>>()
            )
        })
    })
}

/// What speaks for its having happened, and what against.
fn signs(book: &Book, transaction: &Transaction) -> Vec<bool> {
    let rotten = |number: &u64| book.rotten.contains(number);
    if transaction.publishes.iter().any(rotten)
        || transaction
            .settles
            .iter()
            .any(|(_, held, _)| rotten(&held.number))
    {
        return Vec::new();
    }
    let publishes = transaction
        .publishes
        .iter()
        .filter_map(|number| book.messages.get(number));
    let entered = publishes.flat_map(|publish| entered(book, publish));
    let settled = transaction
        .settles
        .iter()
        .filter(|(_, _, verdict)| *verdict == Some(Verdict::Done));
    let left = settled
        .filter(|(_, held, _)| !another_settles(book, transaction, held))
        .filter_map(|(_, held, _)| left(book, transaction, held));
    entered.chain(left).collect()
}

/// In each queue that it surely went to: whether it was ever seen there.
fn entered(book: &Book, publish: &Publish) -> Vec<bool> {
    let names = book.surely_to(publish, book.now_us).into_iter();
    let names: Vec<_> = names
        .filter(|name| !drops(name) && !book.lost_heirs_since(name, publish.sent_us))
        .collect();
    let seen = |name| {
        book.copy(name, publish.message.number)
            .is_some_and(|copy| copy.seen_us.is_some())
    };
    names.iter().map(seen).collect()
}

/// Whether messages may go from a queue without anybody's doing.
fn drops(name: &Name) -> bool {
    family::place(name).is_some_and(family::Place::drops)
}

/// Whether a message may have been settled by another transaction, of which its connection did not hear: it counts as a whole too, also if
/// the message has been in other hands since.
fn another_settles(book: &Book, transaction: &Transaction, held: &Held) -> bool {
    let others = book
        .transactions
        .values()
        .filter(|other| !std::ptr::eq(*other, transaction));
    let mut counting = others.filter(|other| {
        matches!(
            other.state,
            TransactionState::InDoubt | TransactionState::Committed
        )
    });
    counting.any(|other| {
        let mut settles = other.settles.iter();
        settles.any(|(_, settled, _)| settled.queue == held.queue && settled.number == held.number)
    })
}

/// Whether what it settles is gone; nothing can be said if somebody had it in hand since, or the queue was emptied by others.
fn left(book: &Book, transaction: &Transaction, held: &Held) -> Option<bool> {
    let queue = book.queues.get(&held.queue)?;
    let copy = queue.copies.get(&held.number)?;
    let since = copy.seen_us?;
    let bereft = book.lost_heirs_since(&held.queue, since);
    let steady = queue.class == Class::Durable
        && !drops(&held.queue)
        && !bereft
        && queue.there.surely(since, book.now_us)
        && !queue.purging.possibly(since, book.now_us);
    match copy.fate {
        Fate::Kept => Some(false),
        Fate::Gone if steady && since < transaction.commit_us => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::book::{Address, Delivered, Event, TransactionId, Verdict};
    use crate::properties::tests::{OTHER, PUBLISHER, READER, Tale, delivery, q};

    const IT: TransactionId = TransactionId(1);

    fn tale() -> Tale {
        let mut tale = Tale::begin();
        tale.kept(1).delivered(1, 1);
        tale.sent_as(2, Address::Queue(q()), Some(IT))
            .sent_as(3, Address::Queue(q()), Some(IT))
            .then(Event::SettleSent(READER, vec![1], Verdict::Done, Some(IT)))
            .then(Event::CommitSent(IT))
            .then(Event::ChannelLost(PUBLISHER))
            .then(Event::ChannelLost(READER))
            .crashed();
        tale
    }

    #[test]
    fn all_or_nothing_is_well() {
        for found in [&[2, 3][..], &[1]] {
            let mut tale = tale();
            tale.audited(found);
            assert_eq!(tale.broken(), [""; 0]);
        }
    }

    /// Seed 27013: the message came back when the connection of another transaction died behind its commit, and that counted.
    #[test]
    fn what_another_transaction_has_settled_says_nothing() {
        const OTHERS: TransactionId = TransactionId(2);
        let mut tale = Tale::begin();
        tale.kept(1)
            .delivered(1, 1)
            .then(Event::SettleSent(READER, vec![1], Verdict::Done, Some(OTHERS)))
            .then(Event::CommitSent(OTHERS))
            .then(Event::ChannelLost(READER));
        tale.then(Event::Delivered(Delivered {
            channel: OTHER,
            redelivered: true,
            ..delivery(1, 1)
        }));
        tale.sent_as(2, Address::Queue(q()), Some(IT))
            .then(Event::SettleSent(OTHER, vec![1], Verdict::Done, Some(IT)))
            .then(Event::CommitSent(IT))
            .then(Event::ChannelLost(PUBLISHER))
            .then(Event::ChannelLost(OTHER))
            .crashed()
            .audited(&[]);
        assert_eq!(tale.broken(), [""; 0]);
    }

    #[test]
    fn a_part_is_not() {
        for found in [&[1, 2, 3][..], &[2], &[1, 3], &[]] {
            let mut tale = tale();
            tale.audited(found);
            assert_eq!(tale.broken(), ["torn_transaction"], "{found:?}");
        }
    }
}
