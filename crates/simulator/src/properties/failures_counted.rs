//! Where failed deliveries count, the broker knows of each that has become durable, and nobody gets a message that has failed more often than
//! its queue allows.

use super::Property;
use crate::book::family;
use crate::book::{Book, Delivered, Event, Name, Number};

pub(super) const PROPERTY: Property = Property {
    name: "failures_counted",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Delivered(delivered) => handed_out(book, delivered),
        Event::Audited(name, found, _) => found.as_ref()?.iter().find_map(|found| {
            let parked = found.late || found.place != *name;
            over_limit(book, name, found.number?).filter(|_| !parked)
        }),
        _ => None,
    }
}

fn handed_out(book: &Book, delivered: &Delivered) -> Option<String> {
    let place = family::place(&delivered.place).filter(|place| place.quorum)?;
    let number = delivered.number?;
    let known = book.copy(&delivered.queue, number)?.failures.len() as u64;
    if delivered.void || book.is_unsteady(delivered.channel) {
        return None;
    }
    if let Some(text) = over_limit(book, &delivered.place, number) {
        return Some(text);
    }
    let told = delivered.failures.unwrap_or(0);
    (told < known).then(|| {
        format!(
            "{} says of message {number} that it failed {told} times, and it failed {known} times",
            place.name
        )
    })
}

fn over_limit(book: &Book, name: &Name, number: Number) -> Option<String> {
    let limit = family::place(name)?.delivery_limit?;
    let (limit, known) = (
        u64::try_from(limit).ok()?,
        book.copy(name, number)?.failures.len() as u64,
    );
    (known > limit)
        .then(|| format!("{name} handed message {number} out although it has failed {known} times"))
}

#[cfg(test)]
mod tests {
    use crate::book::{Delivered, Event, Verdict};
    use crate::properties::tests::{Family, READER};

    /// A message that has failed once, and is handed out again after `between`, with the broker's count.
    fn tale(times: u64, told: u64, between: impl FnOnce(&mut Family)) -> Vec<&'static str> {
        let mut tale = Family::begin("l0");
        tale.kept(1).seen("l0", 1, 1);
        for tag in 1..=times {
            tale.then(Event::SettleSent(READER, vec![tag], Verdict::Failed, None))
                .then(Event::SettleReceived(READER, vec![tag]));
            if tag == times {
                break;
            }
            let again = Delivered {
                redelivered: true,
                failures: Some(tag),
                ..tale.delivery("l0", 1, tag + 1)
            };
            tale.then(Event::Delivered(again));
        }
        between(&mut tale);
        let tag = tale.book().channels[&READER].tag + 1;
        let again = Delivered {
            redelivered: true,
            failures: Some(told),
            ..tale.delivery("l0", 1, tag)
        };
        tale.then(Event::Delivered(again));
        tale.broken()
    }

    #[test]
    fn each_failure_counts() {
        assert_eq!(tale(1, 1, |_| ()), [""; 0]);
        assert_eq!(tale(1, 0, |_| ()), ["failures_counted"]);
    }

    #[test]
    fn one_too_many_is_not_handed_out() {
        assert_eq!(tale(1, 1, |_| ()), [""; 0]);
        assert_eq!(tale(2, 2, |_| ()), ["failures_counted"]);
    }

    #[test]
    fn who_was_reading_when_the_node_died_may_have_sent_it_back() {
        let broken_off = |tale: &mut Family| {
            tale.later(20_000).crashed();
            tale.then(Event::AuditBroken).crashed();
        };
        assert_eq!(tale(2, 0, broken_off), [""; 0]);
    }

    #[test]
    fn a_crash_forgets_only_the_last() {
        let crash = |after_us| {
            move |tale: &mut Family| {
                tale.later(after_us).crashed();
            }
        };
        assert_eq!(tale(1, 0, crash(5_000)), [""; 0]);
        assert_eq!(tale(1, 0, crash(20_000)), ["failures_counted"]);
    }
}
