//! What queues of the walk do beyond first in, first out, and what operators do with what is parked.

use crate::ids::{QueueId, Seq};
use crate::partition::{Command, ParkedFate, Retry, RetryKind, Rules, SettleReason, Store, Takeover};

use super::model::Told;
use super::walk::Walk;

impl Walk {
    pub(super) fn unpark(&mut self, queue: u8, at: u8, count: u8, redrive: bool) {
        let queue = self.queue(queue);
        let parked = self.model.parked(queue);
        let Some(lowest) = parked.first() else { return };
        self.list_parked(queue, usize::from(count) + 1, &parked);
        let (first, end) = (
            lowest + u64::from(at) / 4,
            lowest + u64::from(at) + u64::from(count),
        );
        for seq in parked.into_iter().filter(|seq| first <= *seq && *seq < end) {
            if redrive {
                let queue_of = self.model.queues.get_mut(&queue).expect("picked");
                let message = queue_of.messages.get_mut(&seq).expect("parked");
                (message.parked, message.failures) = (false, 0);
                self.model.expect(Told::Unparked(queue, seq));
            } else {
                self.model.settle(queue, seq, SettleReason::ParkedDiscarded);
            }
        }
        self.apply(Command::Unpark {
            queue: QueueId(queue),
            store: Store::Parked,
            first: Seq(first),
            end: Seq(end),
            fate: if redrive {
                ParkedFate::Redrive
            } else {
                ParkedFate::Discard
            },
        });
    }

    pub(super) fn amend(&mut self, queue: u8, retry: u8, limit: u8) {
        let id = self.queue(queue);
        let queue = self.model.queues.get_mut(&id).expect("picked");
        queue.rules.counts_failures = limit > 5;
        queue.rules.delivery_limit = Some(u16::from(limit) / 4).filter(|limit| *limit < 5);
        queue.rules.retry = RETRIES[usize::from(retry) % RETRIES.len()];
        if queue.rules.retry.is_none() {
            let messages = queue.messages.values_mut();
            messages.for_each(|message| message.delayed_until = None);
        }
        let rules = Box::new(queue.rules.clone());
        self.apply(Command::Amend {
            queue: QueueId(id),
            rules,
        });
    }

    fn list_parked(&self, queue: u64, most: usize, expected: &[u64]) {
        let (mut listed, mut next) = (Vec::new(), Some(Seq(0)));
        while let Some(first) = next {
            let (runs, rest) = self
                .partition
                .set_aside(QueueId(queue), Store::Parked, first, most);
            let seqs = runs
                .iter()
                .flat_map(|parked| parked.run.first.0..parked.run.end().0);
            listed.extend(seqs);
            next = rest;
        }
        assert_eq!(listed, expected, "what is parked is listed");
    }
}

const RETRIES: [Option<Retry>; 6] = [
    None,
    retry(RetryKind::All, None),
    None,
    retry(RetryKind::Failed, Some(3)),
    None,
    retry(RetryKind::Returned, None),
];

const fn retry(kind: RetryKind, multiplier: Option<u32>) -> Option<Retry> {
    Some(Retry {
        kind,
        min_millis: 10,
        max_millis: 100,
        multiplier,
    })
}

/// Queues differ; those without rules are the most.
pub(super) fn rules(queue: u64) -> Rules {
    let single_active = match queue % 5 {
        0 => Some(Takeover::WhenGone),
        1 => Some(Takeover::WhenOutranked),
        _ => None,
    };
    Rules {
        single_active,
        counts_failures: queue.is_multiple_of(2) || queue.is_multiple_of(3),
        ranks: None,
        retry: RETRIES[(queue % 6) as usize],
        delivery_limit: queue.is_multiple_of(3).then_some((queue % 4) as u16),
        ..Rules::default()
    }
}
