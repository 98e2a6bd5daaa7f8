//! Messages with priorities enter their queues: the queue machine does not read them, so it is told how urgent each run is.

use everack_amqp::content::flags;
use everack_broker::ids::{Millis, QueueId};
use everack_broker::partition::{Command, Run};

use super::Partition;
use crate::messages::Messages;

/// Whether any of the messages has a priority.
pub(super) fn has_priorities(messages: &Messages) -> bool {
    let mut entries = messages.entries.iter();
    entries.any(|entry| entry.flags & flags::HAS_PRIORITY != 0)
}

impl Partition {
    /// Messages enter a queue; `ranked` says that some of them have priorities, which the queue may know or not.
    #[inline]
    pub(super) fn enter(&mut self, queue: QueueId, run: Run<Messages>, ranked: bool, now: Millis) {
        if ranked {
            self.enter_ranked(queue, run, now);
        } else {
            self.machine.apply_enqueue(queue, run, now);
        }
    }

    fn enter_ranked(&mut self, queue: QueueId, run: Run<Messages>, now: Millis) {
        let ranks = self.queues.get(&queue).and_then(|stage| stage.ranks);
        let (Some(ranks), Some(messages)) = (ranks, run.content.clone()) else {
            return self.machine.apply_enqueue(queue, run, now);
        };
        let rank = |index: &u16| ranks.rank(messages.view(usize::from(*index)).priority);
        let indices: Vec<u16> = (run.from..run.to).collect();
        let mut rest = run;
        for neighbours in indices.chunk_by(|left, right| rank(left) == rank(right)) {
            let run = split(&mut rest, neighbours.len() as u16);
            let rank = rank(&neighbours[0]);
            let command = Command::EnqueueRanked { queue, run, rank };
            self.machine.apply(command, now);
        }
    }
}

/// Takes the first `count` messages off a run, with an even share of its bytes: the shares add up to the whole.
fn split(rest: &mut Run<Messages>, count: u16) -> Run<Messages> {
    let bytes = u64::from(rest.bytes) * u64::from(count) / u64::from(rest.count());
    let part = Run {
        bytes: bytes as u32,
        to: rest.from + count,
        ..rest.clone()
    };
    rest.first = part.end();
    rest.from = part.to;
    rest.bytes -= part.bytes;
    part
}
