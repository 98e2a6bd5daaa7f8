//! Messages of one publisher's channel come out of a queue in the order in which they went in: of those that were never handed out before, on
//! each consumer; of all, when the whole queue is read.

use std::collections::BTreeMap;

use super::Property;
use crate::book::family::{self, Place};
use crate::book::{Book, ChannelId, Event, Message, Name};

pub(super) const PROPERTY: Property = Property {
    name: "reordered",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Delivered(delivered)
            if !delivered.redelivered && !delivered.void && keeps_order(&delivered.place) =>
        {
            let publish = book.messages.get(&delivered.number?)?;
            let key = (
                delivered.place.clone(),
                publish.message.publisher,
                delivered.consumer,
                rank(&delivered.place, &publish.message),
            );
            let last = book.channels.get(&delivered.channel)?.last.get(&key)?;
            (*last >= publish.order).then(|| {
                format!(
                    "{} handed out message {}, publish {} of its channel, behind publish {last}",
                    delivered.queue, publish.message.number, publish.order
                )
            })
        }
        Event::Audited(name, found, _) => {
            let mut last: BTreeMap<(&Name, ChannelId, u8), u64> = BTreeMap::new();
            let found = found.iter().flatten();
            let found = found.filter(|found| !found.late && keeps_order(&found.place));
            for (place, number) in found.filter_map(|found| Some((&found.place, found.number?))) {
                let publish = book.messages.get(&number)?;
                let key = (place, publish.message.publisher, rank(name, &publish.message));
                let before = last.insert(key, publish.order);
                if before.is_some_and(|before| before > publish.order) {
                    return Some(format!(
                        "message {number} lies in {place} behind a later one of its channel"
                    ));
                }
            }
            None
        }
        _ => None,
    }
}

fn keeps_order(place: &Name) -> bool {
    family::place(place).is_none_or(Place::keeps_order)
}

/// Messages of different ranks have no order.
fn rank(place: &Name, message: &Message) -> u8 {
    family::place(place).map_or(0, |place| place.rank(message))
}

#[cfg(test)]
mod tests {
    use crate::properties::tests::Tale;

    #[test]
    fn deliveries_keep_their_order() {
        let mut tale = Tale::begin();
        tale.kept(1).kept(2).delivered(2, 1).delivered(1, 2);
        assert_eq!(tale.broken(), ["reordered"]);
    }

    #[test]
    fn so_does_what_a_start_brings_back() {
        let mut tale = Tale::begin();
        tale.kept(1).kept(2).crashed().audited(&[2, 1]);
        assert_eq!(tale.broken(), ["reordered"]);
    }
}
