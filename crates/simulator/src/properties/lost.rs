//! What was confirmed, and not settled, is there: when a queue is read from one end to the other, nothing that must be in it is missing.

use super::Property;
use crate::book::{Book, Event, Fate};

pub(super) const PROPERTY: Property = Property {
    name: "lost",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    let Event::Audited(name, found, _) = event else {
        return None;
    };
    let there = |number: u64| found.iter().flatten().any(|found| found.number == Some(number));
    let mut kept = book.queues.get(name)?.copies.iter();
    let (number, _) = kept.find(|(number, copy)| {
        copy.fate == Fate::Kept && !there(**number) && !book.rotten.contains(number)
    })?;
    Some(format!("message {number} was confirmed and is not in {name}"))
}

#[cfg(test)]
mod tests {
    use crate::properties::tests::Tale;

    #[test]
    fn a_confirmed_message_that_is_missing_is_lost() {
        let mut tale = Tale::begin();
        tale.kept(1).kept(2).crashed().audited(&[2]);
        assert_eq!(tale.broken(), ["lost"]);
    }

    #[test]
    fn so_is_one_that_was_held_when_the_power_went() {
        let mut tale = Tale::begin();
        tale.kept(1).delivered(1, 1).crashed().audited(&[]);
        assert_eq!(tale.broken(), ["lost"]);
    }

    #[test]
    fn an_unconfirmed_one_is_not() {
        let mut tale = Tale::begin();
        tale.kept(1).sent(2).crashed().audited(&[1]);
        assert_eq!(tale.broken(), [""; 0]);
    }
}
