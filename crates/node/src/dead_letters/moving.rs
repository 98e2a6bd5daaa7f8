//! Dead messages that move together: they become durable in one write, so there is a bound on how many do.

use std::sync::Arc;

use bytes::BytesMut;
use everack_amqp::content::{Batch, Entry, Group, flags};
use everack_amqp::wire::table::Table;
use everack_broker::ids::Seq;
use everack_broker::routing::Route;

use super::push_range;
use crate::messages::Messages;
use crate::record::Range;
use crate::request::RoutedRun;
use crate::traces::{Trace, Traced, TracedBatch};

/// Bytes of messages that move together; a larger one moves alone.
const TOGETHER_BYTES_MAX: usize = 1 << 20;
/// Places in queues that messages that move together go to; one that goes to more queues moves alone, with its neighbours of the
/// same route.
const TOGETHER_TARGETS_MAX: usize = 1 << 16;
/// What one move may store over all partitions: it is one write, and the log takes up to 1 GiB at once.
pub(super) const MOVE_BYTES_MAX: usize = 896 << 20;

/// One message on its way.
pub(super) struct Letter<'a> {
    /// Through which it goes.
    pub(super) exchange: &'a [u8],
    /// As the payload of a content header frame.
    pub(super) header: Vec<u8>,
    /// What is in it.
    pub(super) headers: Table,
    /// See [`everack_amqp::content::flags`].
    pub(super) flags: u16,
    /// With which it goes.
    pub(super) routing_key: Vec<u8>,
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Moving {
    chunk: BytesMut,
    entries: Vec<Entry>,
    groups: Vec<Group>,
    runs: Vec<RoutedRun>,
    moved: Vec<Range>,
    traced: Vec<Traced>,
    targets: usize,
}

/// What moves.
pub(super) struct Parts {
    pub(super) messages: Messages,
    /// Where they go.
    pub(super) runs: Arc<[RoutedRun]>,
    /// What they were.
    pub(super) moved: Vec<Range>,
    /// Those that are followed.
    pub(super) traced: Option<TracedBatch>,
}

impl Moving {
    /// Whether one more fits. The first one always does.
    pub(super) fn has_room_for(&self, letter: &Letter<'_>, body: &[u8], route: &Route) -> bool {
        let bytes = self.chunk.len() + letter.header.len() + body.len();
        // What has an expiration has a deadline of its own in each queue.
        let mortal = letter.flags & flags::HAS_EXPIRATION != 0;
        let few =
            self.goes_on(route) && !mortal || self.targets + route.targets.len() <= TOGETHER_TARGETS_MAX;
        self.entries.is_empty() || few && bytes <= TOGETHER_BYTES_MAX
    }

    /// Whether a message of this route goes where the last one does.
    fn goes_on(&self, route: &Route) -> bool {
        let last = self.runs.last();
        last.is_some_and(|last| last.route.targets == route.targets)
    }

    /// Adds a message that was `from` in the queue that it leaves.
    pub(super) fn push(&mut self, letter: &Letter<'_>, body: &[u8], route: Arc<Route>, from: Range) {
        let index = self.entries.len() as u16;
        let address_off = self.chunk.len() as u32;
        for part in [letter.exchange, &letter.routing_key] {
            // Names and keys that are longer than a short string were refused when they came in.
            let part = &part[..part.len().min(255)];
            self.chunk.extend_from_slice(&[part.len() as u8]);
            self.chunk.extend_from_slice(part);
        }
        let header_off = self.chunk.len() as u32;
        self.chunk.extend_from_slice(&letter.header);
        self.chunk.extend_from_slice(body);
        self.entries.push(Entry {
            address_off,
            address_len: (header_off - address_off) as u16,
            header_off,
            header_len: letter.header.len() as u32,
            body_off: header_off + letter.header.len() as u32,
            body_len: body.len() as u32,
            flags: letter.flags,
        });
        // Each in a group of its own: no two need share an address.
        self.groups.push(Group {
            from: index,
            to: index + 1,
            mandatory: false,
        });
        push_range(&mut self.moved, from);
        let goes_on = self.goes_on(&route);
        if !goes_on || letter.flags & flags::HAS_EXPIRATION != 0 {
            self.targets += route.targets.len();
        }
        match self.runs.last_mut() {
            Some(last) if goes_on => last.to = index + 1,
            _ => {
                let (from, to) = (index, index + 1);
                self.runs.push(RoutedRun { route, from, to });
            }
        }
    }

    /// The message that was added last, and was `from` in the queue that it leaves, is followed on if it is among these.
    pub(super) fn follow(&mut self, traced: &[(Seq, Arc<Trace>)], from: Range) {
        if let Ok(found) = traced.binary_search_by_key(&from.first, |(seq, _)| *seq) {
            self.traced.push(Traced {
                index: self.entries.len() as u16 - 1,
                trace: traced[found].1.clone(),
                origin: Some((from.queue, from.first)),
            });
        }
    }

    /// What has been gathered; none if there is nothing.
    pub(super) fn into_parts(self) -> Option<Parts> {
        if self.entries.is_empty() {
            return None;
        }
        let batch = Batch::from_parts(self.chunk.freeze(), self.entries.into(), self.groups.into());
        let messages = Messages::new(batch.expect("the parts were put together side by side"));
        Some(Parts {
            messages,
            runs: self.runs.into(),
            moved: self.moved,
            traced: (!self.traced.is_empty()).then(|| self.traced.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use everack_broker::ids::{PartitionId, QueueId};
    use everack_broker::routing::Target;

    use super::*;

    fn route(queues: std::ops::Range<u64>) -> Arc<Route> {
        let target = |queue| Target {
            partition: PartitionId(0),
            queue: QueueId(queue),
            durable: true,
        };
        Arc::new(Route {
            targets: queues.map(target).collect(),
            by_headers: false,
        })
    }

    /// How many of the messages move together, by the sizes of their bodies and the queues that they go to.
    #[track_caller]
    fn check(messages: &[(usize, std::ops::Range<u64>)], expected: &[usize]) {
        let letter = Letter {
            exchange: b"x",
            header: vec![0; 14],
            headers: Table::new(),
            flags: 0,
            routing_key: Vec::new(),
        };
        let (mut moving, mut together) = (Moving::default(), Vec::new());
        for (number, (bytes, queues)) in (1..).zip(messages) {
            let (body, route) = (vec![0; *bytes], route(queues.clone()));
            if !moving.has_room_for(&letter, &body, &route) {
                let parts = std::mem::take(&mut moving).into_parts();
                together.push(parts.expect("an empty one has room").messages.len());
            }
            let (queue, first) = (QueueId(1), Seq(number));
            moving.push(
                &letter,
                &body,
                route,
                Range {
                    queue,
                    first,
                    count: 1,
                },
            );
        }
        together.extend(moving.into_parts().map(|parts| parts.messages.len()));
        assert_eq!(together, expected);
    }

    #[test]
    fn what_moves_together_has_a_bound() {
        const MIB: usize = 1 << 20;
        check(&[], &[]);
        check(&vec![(1000, 0..3); 4096], &[1031, 1031, 1031, 1003]);
        check(&[(3 * MIB, 0..1), (1, 0..1), (MIB, 0..1)], &[1, 1, 1]);
        // Neighbours that go to the same queues are one run in each.
        check(&vec![(1, 0..70_000); 100], &[100]);
        let turns: Vec<_> = (0..10).map(|turn| (1, turn % 2..30_000 + turn % 2)).collect();
        check(&turns, &[2, 2, 2, 2, 2]);
    }
}
