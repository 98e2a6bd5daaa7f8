//! A message lies with an heir of its queue only if it may have died there: rejected, too old, one too many, or failed too often; or if an
//! operator has ordered it there.

use super::Property;
use crate::book::family;
use crate::book::{Book, Event, Name, Number};

pub(super) const PROPERTY: Property = Property {
    name: "moved_for_a_reason",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Delivered(delivered) => wrong(book, &delivered.queue, &delivered.place, delivered.number?),
        Event::Audited(name, found, _) => {
            let mut found = found.iter().flatten();
            found.find_map(|found| wrong(book, name, &found.place, found.number?))
        }
        _ => None,
    }
}

fn wrong(book: &Book, queue: &Name, place: &Name, number: Number) -> Option<String> {
    if !family::is_heir(place) {
        return None;
    }
    let (head, publish) = (family::place(queue)?, book.messages.get(&number)?);
    if head.sent_to.is_some() {
        let ordered = book.queues.get(queue)?.ordered_us;
        return ordered.is_none_or(|at| at < publish.sent_us).then(|| {
            format!(
                "message {number} went from {queue} to {place}, and nobody has ordered that since it was sent"
            )
        });
    }
    let moved = family::may_have_moved(head, publish, book.copy(queue, number), book.now_us);
    (!moved).then(|| {
        format!(
            "message {number} went from {queue} to {place} {} µs after it was sent, and nothing had happened to it",
            book.now_us - publish.sent_us
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::book::{Event, Name, Verdict};
    use crate::properties::tests::{Family, PUBLISHER, READER};

    #[test]
    fn what_is_too_old_moves() {
        for (after_us, broken) in [(10_000, &["moved_for_a_reason"][..]), (40_000, &[])] {
            let mut tale = Family::begin("x1");
            tale.kept(1).later(after_us);
            tale.seen("x1.dead", 1, 1);
            assert_eq!(tale.broken(), broken, "{after_us} µs later");
        }
    }

    #[test]
    fn what_was_ordered_moves() {
        for (ordered, broken) in [(false, &["moved_for_a_reason"][..]), (true, &[])] {
            let mut tale = Family::begin("o0");
            tale.then(Event::Ordered(Name::from("o0"))).kept(1);
            if ordered {
                tale.then(Event::Ordered(Name::from("o0")));
            }
            tale.seen("o0.else", 1, 1);
            assert_eq!(tale.broken(), broken, "ordered behind its publish: {ordered}");
        }
    }

    /// Seeds 170, 210 and 689 of the first runs: a message may have gone with an heir before its confirm is read, or behind a deletion of
    /// which nobody heard.
    #[test]
    fn who_has_moved_may_go_with_an_heir() {
        let dead = || Name::from("m1.dead");
        for (deleted, broken) in [(false, &["lost"][..]), (true, &[])] {
            let mut tale = Family::begin("m1");
            tale.then(Event::HeirDeclared(dead())).sent_with(1, None);
            if deleted {
                tale.then(Event::HeirDeleteSent(dead()))
                    .then(Event::HeirDeleted(dead()));
            }
            tale.then(Event::Confirmed(PUBLISHER, vec![1]))
                .crashed()
                .audited(&[]);
            assert_eq!(tale.broken(), broken, "the heir is deleted: {deleted}");
        }
        let heir = || Name::from("x0.dead");
        for (rejected, broken) in [(false, &["lost"][..]), (true, &[])] {
            let mut tale = Family::begin("x0");
            tale.then(Event::HeirDeclared(heir())).kept(1);
            tale.then(Event::HeirDeleteSent(heir())).seen("x0", 1, 1);
            let verdict = if rejected {
                Verdict::Rejected
            } else {
                Verdict::Back
            };
            tale.then(Event::SettleSent(READER, vec![1], verdict, None));
            tale.then(Event::HeirDeclared(heir())).crashed().audited(&[]);
            assert_eq!(tale.broken(), broken, "it was rejected: {rejected}");
        }
    }

    #[test]
    fn and_what_is_rejected() {
        for (verdict, broken) in [
            (Verdict::Rejected, &[][..]),
            (Verdict::Back, &["moved_for_a_reason"]),
        ] {
            let mut tale = Family::begin("x0");
            tale.kept(1).seen("x0", 1, 1);
            tale.then(Event::SettleSent(READER, vec![1], verdict, None));
            tale.seen("x0.dead", 1, 2);
            assert_eq!(tale.broken(), broken, "{verdict:?}");
        }
    }
}
