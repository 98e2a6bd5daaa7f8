//! What must be true, one property a file. Each looks at an event before the [`Book`] takes it in, and says in words what is broken.

pub mod confirm_after_return;
pub mod confirmed_once;
pub mod counted;
pub mod damaged;
pub mod duplicated_after_settle;
pub mod expiry_respected;
pub mod failures_counted;
pub mod limits_respected;
pub mod lost;
pub mod moved_for_a_reason;
pub mod nothing_after_fatal;
pub mod one_active_consumer;
pub mod phantom;
pub mod prefetch_respected;
pub mod priorities_respected;
pub mod redelivered_flag;
pub mod reordered;
pub mod resurrected;
pub mod retries_wait;
pub mod topology;
pub mod torn_transaction;

use crate::book::{Book, Event};

/// One property: its name, and what says how an event breaks it.
pub struct Property {
    /// The name of its file.
    pub name: &'static str,
    /// In words, if it is broken.
    pub broken_by: fn(&Book, &Event) -> Option<String>,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property.
    pub property: &'static str,
    /// What happened.
    pub text: String,
    /// When, in simulated microseconds.
    pub at_us: u64,
}

/// All of them.
pub const ALL: [Property; 21] = [
    lost::PROPERTY,
    phantom::PROPERTY,
    damaged::PROPERTY,
    resurrected::PROPERTY,
    reordered::PROPERTY,
    duplicated_after_settle::PROPERTY,
    torn_transaction::PROPERTY,
    topology::PROPERTY,
    confirm_after_return::PROPERTY,
    confirmed_once::PROPERTY,
    prefetch_respected::PROPERTY,
    redelivered_flag::PROPERTY,
    nothing_after_fatal::PROPERTY,
    counted::PROPERTY,
    moved_for_a_reason::PROPERTY,
    expiry_respected::PROPERTY,
    limits_respected::PROPERTY,
    priorities_respected::PROPERTY,
    one_active_consumer::PROPERTY,
    retries_wait::PROPERTY,
    failures_counted::PROPERTY,
];

/// What this event breaks; then the book takes it in.
pub fn see(book: &mut Book, event: Event) -> Vec<Violation> {
    let violations = ALL.iter().filter_map(|property| {
        (property.broken_by)(book, &event).map(|text| Violation {
            property: property.name,
            text,
            at_us: book.now_us,
        })
    });
    let violations = violations.collect();
    book.apply(event);
    violations
}

#[cfg(test)]
pub(crate) mod tests {
    //! Short histories for the properties' tests: each must be silent where all is well, and speak where it is not.

    use super::*;
    use crate::book::{
        Address, ChannelId, Class, Crash, Delivered, Found, Message, Name, Number, TransactionId, Verdict,
    };

    pub(crate) const PUBLISHER: ChannelId = ChannelId(1);
    pub(crate) const READER: ChannelId = ChannelId(2);
    pub(crate) const OTHER: ChannelId = ChannelId(3);

    /// A history in which a millisecond passes between events.
    pub(crate) struct Tale {
        pub(crate) book: Book,
        pub(crate) broken: Vec<Violation>,
    }

    pub(crate) fn q() -> Name {
        Name::from("q")
    }

    impl Tale {
        /// With a durable queue `q`.
        pub(crate) fn begin() -> Self {
            let mut tale = Self {
                book: Book::default(),
                broken: Vec::new(),
            };
            tale.then(Event::DeclareSent(q(), Class::Durable))
                .then(Event::Declared(q()));
            for channel in [PUBLISHER, READER, OTHER] {
                tale.then(Event::Asking(channel, 0));
            }
            tale
        }

        pub(crate) fn then(&mut self, event: Event) -> &mut Self {
            self.book.now_us += 1000;
            self.broken.extend(see(&mut self.book, event));
            self
        }

        pub(crate) fn sent(&mut self, number: Number) -> &mut Self {
            self.sent_as(number, Address::Queue(q()), None)
        }

        pub(crate) fn sent_as(
            &mut self,
            number: Number,
            address: Address,
            transaction: Option<TransactionId>,
        ) -> &mut Self {
            self.then(Event::Sent(Message {
                number,
                publisher: PUBLISHER,
                bytes: 10,
                mandatory: true,
                address,
                transaction,
                expiration_ms: None,
                priority: None,
            }))
        }

        pub(crate) fn confirmed(&mut self, number: Number) -> &mut Self {
            self.then(Event::Confirmed(PUBLISHER, vec![number]))
        }

        pub(crate) fn kept(&mut self, number: Number) -> &mut Self {
            self.sent(number).confirmed(number)
        }

        pub(crate) fn delivered(&mut self, number: Number, tag: u64) -> &mut Self {
            self.then(Event::Delivered(delivery(number, tag)))
        }

        pub(crate) fn acknowledged(&mut self, tag: u64) -> &mut Self {
            self.then(Event::SettleSent(READER, vec![tag], Verdict::Done, None))
                .then(Event::SettleReceived(READER, vec![tag]))
        }

        pub(crate) fn later(&mut self, micros: u64) -> &mut Self {
            self.book.now_us += micros;
            self
        }

        pub(crate) fn crashed(&mut self) -> &mut Self {
            self.then(Event::Crashed(Crash {
                settled_within_us: 12_000,
                ..Crash::default()
            }))
        }

        pub(crate) fn audited(&mut self, numbers: &[Number]) -> &mut Self {
            let found = numbers.iter().map(|number| Found {
                number: Some(*number),
                intact: true,
                redelivered: true,
                place: q(),
                late: false,
            });
            let found: Vec<Found> = found.collect();
            let count = found.len() as u64;
            self.then(Event::Audited(q(), Some(found), count))
                .then(Event::AuditEnded)
        }

        /// Which properties were broken.
        pub(crate) fn broken(&self) -> Vec<&'static str> {
            self.broken.iter().map(|violation| violation.property).collect()
        }
    }

    pub(crate) fn delivery(number: Number, tag: u64) -> Delivered {
        Delivered {
            queue: q(),
            place: q(),
            number: Some(number),
            intact: true,
            redelivered: false,
            channel: READER,
            tag,
            consumer: None,
            no_ack: false,
            void: false,
            asked_us: None,
            failures: None,
        }
    }

    /// A history of a queue with rules, and its heirs.
    pub(crate) struct Family {
        tale: Tale,
        name: Name,
    }

    impl Family {
        pub(crate) fn begin(name: &str) -> Self {
            let name = Name::from(name);
            let mut tale = Tale::begin();
            tale.then(Event::DeclareSent(name.clone(), Class::Durable))
                .then(Event::Declared(name.clone()));
            Self { tale, name }
        }

        pub(crate) fn book(&self) -> &Book {
            &self.tale.book
        }

        pub(crate) fn then(&mut self, event: Event) -> &mut Self {
            self.tale.then(event);
            self
        }

        pub(crate) fn sent_with(&mut self, number: Number, priority: Option<u8>) -> &mut Self {
            self.then(Event::Sent(Message {
                number,
                publisher: PUBLISHER,
                bytes: 10,
                mandatory: true,
                address: Address::Queue(self.name.clone()),
                transaction: None,
                expiration_ms: None,
                priority,
            }))
        }

        pub(crate) fn kept_with(&mut self, number: Number, priority: Option<u8>) -> &mut Self {
            self.sent_with(number, priority)
                .then(Event::Confirmed(PUBLISHER, vec![number]))
        }

        pub(crate) fn kept(&mut self, number: Number) -> &mut Self {
            self.kept_with(number, None)
        }

        pub(crate) fn delivery(&self, place: &str, number: Number, tag: u64) -> Delivered {
            Delivered {
                queue: self.name.clone(),
                place: Name::from(place),
                ..delivery(number, tag)
            }
        }

        pub(crate) fn seen(&mut self, place: &str, number: Number, tag: u64) -> &mut Self {
            let delivered = self.delivery(place, number, tag);
            self.then(Event::Delivered(delivered))
        }

        pub(crate) fn later(&mut self, micros: u64) -> &mut Self {
            self.tale.later(micros);
            self
        }

        pub(crate) fn crashed(&mut self) -> &mut Self {
            self.tale.crashed();
            self
        }

        /// All that was found in the head.
        pub(crate) fn audited(&mut self, numbers: &[Number]) -> &mut Self {
            let found = numbers.iter().map(|number| Found {
                number: Some(*number),
                intact: true,
                redelivered: true,
                place: self.name.clone(),
                late: false,
            });
            let found: Vec<Found> = found.collect();
            let count = found.len() as u64;
            self.then(Event::Audited(self.name.clone(), Some(found), count))
                .then(Event::AuditEnded)
        }

        pub(crate) fn broken(&self) -> Vec<&'static str> {
            self.tale.broken()
        }
    }

    #[test]
    fn a_good_history_breaks_nothing() {
        let mut tale = Tale::begin();
        tale.kept(1)
            .kept(2)
            .kept(3)
            .delivered(1, 1)
            .acknowledged(1)
            .later(20_000);
        tale.sent(4).crashed().audited(&[2, 3, 4]);
        assert_eq!(tale.broken, []);
    }
}
