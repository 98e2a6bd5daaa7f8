//! What is handed out has the bytes that were sent.

use super::Property;
use crate::book::{Book, Event};

pub(super) const PROPERTY: Property = Property {
    name: "damaged",
    broken_by,
};

fn broken_by(_book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Delivered(delivered) if !delivered.intact => Some(format!(
            "{} handed out message {:?} with other bytes than were sent",
            delivered.queue, delivered.number
        )),
        Event::Audited(name, found, _) => {
            let bad = found.iter().flatten().find(|found| !found.intact)?;
            Some(format!(
                "{name} holds message {:?} with other bytes than were sent",
                bad.number
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::book::{Delivered, Event};
    use crate::properties::tests::{Tale, delivery};

    #[test]
    fn other_bytes_are_damage() {
        let mut tale = Tale::begin();
        tale.kept(1).then(Event::Delivered(Delivered {
            intact: false,
            ..delivery(1, 1)
        }));
        assert_eq!(tale.broken(), ["damaged"]);
    }
}
