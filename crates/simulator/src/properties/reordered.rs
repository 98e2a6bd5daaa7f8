//! Messages of one publisher's channel come out of a queue in the order in which they went in: of those that were never handed out before, on
//! each consumer; of all, when the whole queue is read.

use std::collections::BTreeMap;

use super::Property;
use crate::book::{Book, ChannelId, Event};

pub(super) const PROPERTY: Property = Property {
    name: "reordered",
    broken_by,
};

fn broken_by(book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::Delivered(delivered) if !delivered.redelivered && !delivered.void => {
            let publish = book.messages.get(&delivered.number?)?;
            let key = (
                delivered.queue.clone(),
                publish.message.publisher,
                delivered.consumer,
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
            let mut last: BTreeMap<ChannelId, u64> = BTreeMap::new();
            for number in found.iter().flatten().filter_map(|found| found.number) {
                let publish = book.messages.get(&number)?;
                let before = last.insert(publish.message.publisher, publish.order);
                if before.is_some_and(|before| before > publish.order) {
                    return Some(format!(
                        "message {number} lies in {name} behind a later one of its channel"
                    ));
                }
            }
            None
        }
        _ => None,
    }
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
