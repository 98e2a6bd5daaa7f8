//! Random lives of a node, with upkeep and starts in between, against a map of what has to be there.
//!
//! Everything handed to the log and not written is lost at a start; what was not durable may be there or not, the rest is certain.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use everack_broker::catalog::Queue;
use everack_broker::ids::ConsumerId;
use everack_broker::partition::SettleOutcome;
use everack_broker::routing::{Route, Target};
use everack_node::messages::Messages;
use everack_node::request::{Request, RoutedRun, Settle, TransactionPart};
use everack_node::transaction::Assembly;

use crate::desk::{Desk, batch};
use crate::queue_image::Random;

/// A message in a queue.
type Copy = (usize, u64);

struct Life {
    desk: Rc<Desk>,
    queues: Vec<Arc<Queue>>,
    random: Random,
    number: u64,
    /// By queue, who gets, and how many messages it has got.
    getters: BTreeMap<usize, (ConsumerId, u64)>,
    held: Vec<(Copy, ConsumerId, u64)>,
    /// What is there, once everything is durable.
    live: BTreeSet<Copy>,
    /// As it was when everything was durable the last time.
    durable: BTreeSet<Copy>,
    published_since: BTreeSet<Copy>,
    settled_since: BTreeSet<Copy>,
}

impl Life {
    fn begin(seed: u64) -> Self {
        let desk = Desk::new();
        let queues = (0..4).map(|index| desk.declare(&format!("q{index}"))).collect();
        Self {
            desk,
            queues,
            random: Random(seed * 0x9e37_79b9),
            number: 0,
            getters: BTreeMap::new(),
            held: Vec::new(),
            live: BTreeSet::new(),
            durable: BTreeSet::new(),
            published_since: BTreeSet::new(),
            settled_since: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        match self.random.below(14) {
            0..3 => self.publish(),
            3..7 => self.get(),
            7..9 => self.settle(),
            9 => self.transaction(),
            10 => {
                let count = self.random.below(self.desk.jobs.borrow().len() as u64 + 1);
                self.desk.write(count as usize);
            }
            11 => self.desk.tell_some(self.random.below(3) as usize),
            12 => self.look_back(),
            _ => self.rest(),
        }
    }

    /// Queues of one partition, and how a message gets to them.
    fn some_queues(&mut self) -> (Vec<usize>, Arc<Route>) {
        let first = self.random.below(4) as usize;
        let partition = self.queues[first].partition;
        let all = self.random.below(2) == 0;
        let chosen: Vec<usize> = (0..4)
            .filter(|index| *index == first || all && self.queues[*index].partition == partition)
            .collect();
        let target = |index: &usize| Target {
            partition,
            queue: self.queues[*index].id,
            durable: true,
        };
        let targets = chosen.iter().map(target).collect();
        (
            chosen,
            Arc::new(Route {
                targets,
                by_headers: false,
            }),
        )
    }

    fn new_messages(&mut self, queues: &[usize]) -> Messages {
        let count = 1 + self.random.below(5);
        let bodies: Vec<Vec<u8>> = (self.number + 1..=self.number + count).map(body).collect();
        for number in self.number + 1..=self.number + count {
            self.live.extend(queues.iter().map(|queue| (*queue, number)));
            self.published_since
                .extend(queues.iter().map(|queue| (*queue, number)));
        }
        self.number += count;
        Messages::new(batch(&bodies.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    }

    fn publish(&mut self) {
        let (chosen, _) = self.some_queues();
        let messages = self.new_messages(&chosen);
        let queues: Vec<&Queue> = chosen.iter().map(|index| &*self.queues[*index]).collect();
        self.desk.publish((*messages).clone(), &queues);
    }

    fn get(&mut self) {
        let index = self.random.below(4) as usize;
        let fresh = self.desk.consumer(&self.queues[index]);
        let (consumer, got) = self.getters.entry(index).or_insert((fresh, 0));
        if let Some(body) = self.desk.get(&self.queues[index], *consumer) {
            self.held.push(((index, number_of(&body)), *consumer, *got));
            *got += 1;
        }
    }

    /// Takes a held message out of the hands of its getter.
    fn done_with(&mut self) -> Option<(Copy, Settle)> {
        if self.held.is_empty() {
            return None;
        }
        let index = self.random.below(self.held.len() as u64) as usize;
        let (copy, consumer, first) = self.held.swap_remove(index);
        let outcomes = [
            SettleOutcome::Done,
            SettleOutcome::Discard,
            SettleOutcome::Requeue,
        ];
        let outcome = outcomes[self.random.below(3) as usize];
        if outcome != SettleOutcome::Requeue {
            self.live.remove(&copy);
            self.settled_since.insert(copy);
        }
        Some((
            copy,
            Settle {
                consumer,
                first,
                count: 1,
                outcome,
            },
        ))
    }

    fn settle(&mut self) {
        if let Some(((queue, _), settle)) = self.done_with() {
            self.desk.ask_of(&self.queues[queue], Request::Settle(settle));
        }
    }

    fn transaction(&mut self) {
        let (chosen, route) = self.some_queues();
        let messages = self.new_messages(&chosen);
        let published = usize::from(self.queues[chosen[0]].partition.0);
        let settled = self
            .done_with()
            .map(|((queue, _), settle)| (usize::from(self.queues[queue].partition.0), settle));
        let partitions: BTreeSet<usize> = settled
            .iter()
            .map(|(partition, _)| *partition)
            .chain([published])
            .collect();
        let assembly = Arc::new(Assembly::new(
            self.desk.shared.next_transaction(),
            partitions.len(),
        ));
        let to = messages.entries.len() as u16;
        let runs: Arc<[RoutedRun]> = Arc::new([RoutedRun { route, from: 0, to }]);
        for partition in partitions {
            let publishes = if partition == published {
                vec![(messages.clone(), runs.clone())]
            } else {
                Vec::new()
            };
            let settles = settled
                .iter()
                .filter(|(of, _)| *of == partition)
                .map(|(_, settle)| *settle)
                .collect();
            let part = TransactionPart {
                traced: Vec::new(),
                assembly: assembly.clone(),
                publishes,
                settles,
                reply: self.desk.reply(),
            };
            self.desk.ask(partition, Request::Transaction(part));
        }
    }

    /// Everything becomes durable; what is held goes back; the node looks after itself or starts again.
    fn rest(&mut self) {
        for (consumer, _) in std::mem::take(&mut self.getters).into_values() {
            let partition = consumer.0 as u16;
            self.desk.ask(usize::from(partition), Request::Gone { consumer });
        }
        self.held.clear();
        if self.random.below(2) == 0 {
            assert!(self.desk.look_after(Desk::tell));
        }
        self.desk.commit();
        self.durable = self.live.clone();
        self.published_since.clear();
        self.settled_since.clear();
        if self.random.below(2) == 0 {
            self.desk = self.desk.restart();
        }
        self.look_back();
    }

    /// A start on what has been written so far.
    fn look_back(&mut self) {
        let again = self.desk.restart();
        assert_eq!(
            (again.report.gaps.as_slice(), again.report.orphans.as_slice()),
            (&[][..], &[][..])
        );
        let found: BTreeSet<Copy> = (0..4)
            .flat_map(|index| drain(&again, index, &self.queues[index]))
            .collect();
        let certain: BTreeSet<Copy> = self.durable.difference(&self.settled_since).copied().collect();
        let possible: BTreeSet<Copy> = self.durable.union(&self.published_since).copied().collect();
        assert_eq!(certain.difference(&found).next(), None, "lost");
        assert_eq!(found.difference(&possible).next(), None, "come back");
    }
}

fn drain(desk: &Desk, index: usize, queue: &Queue) -> Vec<Copy> {
    let consumer = desk.consumer(queue);
    let found: Vec<Copy> = std::iter::from_fn(|| desk.get(queue, consumer))
        .map(|body| (index, number_of(&body)))
        .collect();
    assert!(
        found.is_sorted_by(|left, right| left < right),
        "in order, each once: {found:?}"
    );
    found
}

fn body(number: u64) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(8 + (number as usize * 377) % 3000, number as u8);
    body
}

fn number_of(read: &[u8]) -> u64 {
    let number = u64::from_be_bytes(*read.first_chunk().expect("a number"));
    assert_eq!(read, body(number), "the bytes that were sent");
    number
}

#[test]
fn what_is_durable_is_there_in_every_life() {
    for seed in 1..13 {
        println!("seed {seed}");
        let mut life = Life::begin(seed);
        (0..200).for_each(|_| life.step());
        life.rest();
    }
}
