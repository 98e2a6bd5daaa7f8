//! Looking at the messages of a queue, wherever they are: a page at a time, and nothing is changed by it.

use crate::ids::{ConsumerId, Millis, QueueId, Seq};

use super::Partition;
use super::command::Store;
use super::consumer::Unsettled;
use super::dead_list::{Dead, Death, Origin};
use super::marks::Marks;
use super::parking::Aside;
use super::query::Listed;
use super::run::{Content, Run};
use super::slots::Slot;
use super::spans::Span;

/// Where in a queue a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Ready to be delivered.
    Ready,
    /// With a consumer, and not settled.
    Unsettled,
    /// It came back, and waits before it is delivered again.
    Delayed,
    /// It has died, or is moved, and has not arrived elsewhere yet.
    Dead,
    /// Set aside.
    Aside(Store),
}

/// Where a look begins, or goes on. Cursors of different places mean nothing to one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Of what is unsettled: the consumer. They are looked at by rising id.
    pub holder: ConsumerId,
    /// Of what is unsettled, the consumer's own number of the delivery; else the number of the message.
    pub number: u64,
}

/// Messages in a row.
#[derive(Clone, Debug)]
pub struct Looked<C> {
    /// The cursor of the first.
    pub at: Cursor,
    /// The messages. Without content if it has to be read from the log.
    pub run: Run<C>,
    /// How often each was delivered and came back, and failed.
    pub marks: Marks,
    /// Why they are set aside, if they are.
    pub why: Option<Aside>,
    /// What they died of, if they have.
    pub death: Option<Death>,
    /// When the first was delivered to who holds it; up to a second earlier, or a 32nd of the time, if much was delivered.
    pub since: Option<Millis>,
}

impl Cursor {
    /// The message with this number.
    pub fn message(seq: Seq) -> Self {
        Self {
            holder: ConsumerId(0),
            number: seq.0,
        }
    }

    /// So many messages on, within one run.
    pub fn plus(self, messages: u64) -> Self {
        Self {
            number: self.number.saturating_add(messages),
            ..self
        }
    }
}

impl<C: Content> Partition<C> {
    /// Messages of `queue` at one place, from a cursor on, up to `most` runs; and where to go on if there are more. In the order of their
    /// numbers, but what is unsettled by consumer and delivery.
    pub fn look(
        &self,
        queue: QueueId,
        place: Place,
        from: Cursor,
        most: usize,
    ) -> (Vec<Looked<C>>, Option<Cursor>) {
        let Some(&slot) = self.queue_slots.get(&queue) else {
            return (Vec::new(), None);
        };
        let first = Seq(from.number);
        match place {
            Place::Ready => {
                let (runs, next) = self.ready_from(queue, first, most);
                let runs = runs.into_iter().map(|(run, marks)| looked(run, marks));
                (runs.collect(), next.map(Cursor::message))
            }
            Place::Aside(store) => {
                let (runs, next) = self.set_aside(queue, store, first, most);
                let runs = runs.into_iter().map(|parked| Looked {
                    why: Some(parked.why),
                    ..looked(parked.run, parked.marks)
                });
                (runs.collect(), next.map(Cursor::message))
            }
            Place::Unsettled => self.look_at_windows(slot, from, most),
            Place::Delayed => self.look_at_delayed_ones(slot, first, most),
            Place::Dead => self.look_at_dead(slot, first, most),
        }
    }

    fn look_at_windows(&self, slot: Slot, from: Cursor, most: usize) -> (Vec<Looked<C>>, Option<Cursor>) {
        let members = self.queues[slot].members.iter();
        let mut members: Vec<_> = members
            .map(|&member| &self.consumers[member])
            .filter(|member| member.held() > 0 && member.id >= from.holder)
            .collect();
        members.sort_unstable_by_key(|member| member.id);
        let mut runs = Vec::new();
        for member in members {
            let begin = if member.id == from.holder { from.number } else { 0 };
            for held in member.window.iter_from(begin) {
                let at = Cursor {
                    holder: member.id,
                    number: held.delivery.max(begin),
                };
                if runs.len() >= most.max(1) {
                    return (runs, Some(at));
                }
                let since = member.times.at(at.number);
                runs.push(held_from(held, at, since));
            }
        }
        (runs, None)
    }

    fn look_at_delayed_ones(&self, slot: Slot, first: Seq, most: usize) -> (Vec<Looked<C>>, Option<Cursor>) {
        let delayed = self.queues[slot].delayed.as_ref();
        let mut left = delayed
            .into_iter()
            .flat_map(|delayed| delayed.list.iter_from(first.0));
        let runs = left.by_ref().take(most.max(1));
        let runs = runs.map(|waiting| looked(waiting.run.starting_at(first), waiting.marks));
        let runs = runs.collect();
        let next = left.next().map(|waiting| Cursor::message(waiting.run.first));
        (runs, next)
    }

    fn look_at_dead(&self, slot: Slot, first: Seq, most: usize) -> (Vec<Looked<C>>, Option<Cursor>) {
        let Some(lifecycle) = &self.queues[slot].lifecycle else {
            return (Vec::new(), None);
        };
        let lists = lifecycle.dead.lists().map(|list| {
            let runs = list.iter_from(first.0);
            let died = |dead: &Dead<C>| (dead.origin == Origin::Died).then_some(dead.death);
            Listed::new(runs.map(move |dead| (&dead.run, (dead.marks, died(dead), dead.origin))))
        });
        let mut lists = Vec::from(lists);
        let mut runs = Vec::new();
        while runs.len() < most.max(1) {
            let foremost = lists.iter_mut().min_by_key(|list| list.first);
            let Some((run, (marks, death, origin))) = foremost.and_then(Listed::take) else {
                return (runs, None);
            };
            runs.push(Looked {
                death,
                why: origin.aside(),
                ..looked(run.starting_at(first), marks)
            });
        }
        let next = lists.iter().map(|list| list.first).min();
        let next = next.filter(|next| next.0 < u64::MAX);
        (runs, next.map(Cursor::message))
    }
}

fn looked<C>(run: Run<C>, marks: Marks) -> Looked<C> {
    Looked {
        at: Cursor::message(run.first),
        run,
        marks,
        why: None,
        death: None,
        since: None,
    }
}

/// What a consumer holds, from a delivery on.
fn held_from<C: Content>(held: &Unsettled<C>, at: Cursor, since: Option<Millis>) -> Looked<C> {
    let before = at.number.saturating_sub(held.start());
    let run = held.run.starting_at(held.run.first.plus(before));
    let marks = held.marks;
    Looked {
        at,
        since,
        ..looked(run, marks)
    }
}
