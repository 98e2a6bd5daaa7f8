//! A queue with a limit refuses only when it is full, holds no more than it may where it makes room by itself, and only a queue that
//! refuses refuses.

use super::Property;
use crate::book::family::{self, Overflow};
use crate::book::{Address, Book, Event, Fate, Found, Name, Number, Publish};

pub(super) const PROPERTY: Property = Property {
    name: "limits_respected",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Refused(_, numbers) => numbers.iter().find_map(|number| refused(book, *number)),
        Event::Audited(name, found, _) => too_many(name, found.as_deref()?),
        _ => None,
    }
}

fn refused(book: &Book, number: Number) -> Option<String> {
    let Some(publish) = book.messages.get(&number) else {
        return Some(format!("message {number} was refused and never sent"));
    };
    let Address::Queue(name) = &publish.message.address else {
        return Some(format!("message {number} was refused, and not for one queue"));
    };
    let place = family::place(name).filter(|place| place.refuses());
    let Some(max) = place.and_then(|place| place.messages_max) else {
        return Some(format!(
            "message {number} was refused by {name}, which refuses nothing"
        ));
    };
    if publish.confirmed {
        return Some(format!("message {number} was refused and confirmed"));
    }
    let taken = book.messages.values();
    let taken = taken.filter(|other| other.message.number != number && counts(book, name, publish, other));
    let taken = taken.count() as u64;
    (taken < max)
        .then(|| format!("message {number} was refused by {name}, which can hold {taken} of {max} messages"))
}

/// Whether a message may have been in a queue when another one was sent, or later.
fn counts(book: &Book, name: &Name, publish: &Publish, other: &Publish) -> bool {
    let here = matches!(&other.message.address, Address::Queue(to) if to == name);
    let left = book.copy(name, other.message.number).and_then(|copy| {
        let gone = matches!(copy.fate, Fate::Gone | Fate::Leaving { since_us: Some(_) });
        copy.left_us.filter(|_| gone)
    });
    here && !other.withdrawn && !other.refused && left.is_none_or(|left| left >= publish.sent_us)
}

fn too_many(name: &Name, found: &[Found]) -> Option<String> {
    let place = family::place(name).filter(|place| place.overflow == Overflow::DropHead)?;
    let max = place.messages_max?;
    let first = found.iter().filter(|found| !found.late && found.place == *name);
    let count = first.count() as u64;
    (count > max).then(|| format!("{name} holds {count} messages, and may hold {max}"))
}

#[cfg(test)]
mod tests {
    use crate::book::{ChannelId, Event};
    use crate::properties::tests::{Family, PUBLISHER};

    fn refuse(tale: &mut Family, number: u64) {
        tale.sent_with(number, None);
        tale.then(Event::Refused(PUBLISHER, vec![number]));
    }

    #[test]
    fn a_full_queue_refuses() {
        for (there, broken) in [(4, &[][..]), (3, &["limits_respected"])] {
            let mut tale = Family::begin("r0");
            (1..=there).for_each(|number| {
                tale.kept(number);
            });
            refuse(&mut tale, 9);
            assert_eq!(tale.broken(), broken, "{there} are there");
        }
    }

    #[test]
    fn others_do_not() {
        let mut tale = Family::begin("m0");
        (1..=4).for_each(|number| {
            tale.kept(number);
        });
        refuse(&mut tale, 9);
        assert_eq!(tale.broken(), ["limits_respected"]);
        let mut tale = Family::begin("r0");
        tale.then(Event::Refused(ChannelId(1), vec![77]));
        assert_eq!(tale.broken(), ["limits_respected"]);
    }

    #[test]
    fn what_is_refused_is_not_there() {
        let mut tale = Family::begin("r0");
        (1..=4).for_each(|number| {
            tale.kept(number);
        });
        refuse(&mut tale, 9);
        tale.crashed().audited(&[1, 2, 3, 4, 9]);
        assert_eq!(tale.broken(), ["phantom"]);
    }

    #[test]
    fn only_the_oldest_make_room() {
        for (found, broken) in [
            (&[3, 4, 5, 6][..], &[][..]),
            (&[1, 2, 3, 4], &["lost"]),
            (&[2, 3, 4, 5, 6], &["limits_respected"]),
        ] {
            let mut tale = Family::begin("m0");
            (1..=6).for_each(|number| {
                tale.kept(number);
            });
            tale.crashed().audited(found);
            assert_eq!(tale.broken(), broken, "{found:?}");
        }
    }
}
