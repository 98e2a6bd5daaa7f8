//! Publishes: from a batch with its routes to numbered messages on their way to the log, and what their publisher is told.

use everack_broker::ids::Millis;

use super::numbering::{Full, Numbered};
use super::staged::{Accept, Extras, Framing};
use super::{Partition, READY_BYTES_SLOW, admission};
use crate::charge::Charge;
use crate::dead_letters::{DeadLetter, Mail};
use crate::messages::Messages;
use crate::notice::Notice;
use crate::outbox::Outbox;
use crate::record::Target;
use crate::request::{Publish, RoutedRun};

/// A publish to more queues than this, or with more deadlines, becomes several records.
const TOGETHER_MAX: usize = 1 << 16;

impl Partition {
    pub(super) fn publish(&mut self, publish: Publish, now: Millis, outbox: &mut Outbox) {
        let mut numbered = self.numbered.take().unwrap_or_default();
        numbered.clear();
        let expires = admission::expires(&publish.messages);
        for run in publish.runs.iter() {
            let together = self.messages_together(run, expires);
            if together == run.to - run.from {
                self.take_in(&publish, run, expires, now, &mut numbered, outbox);
                continue;
            }
            for from in (run.from..run.to).step_by(usize::from(together)) {
                let (route, to) = (run.route.clone(), run.to.min(from + together));
                let part = RoutedRun { route, from, to };
                self.take_in(&publish, &part, expires, now, &mut numbered, outbox);
            }
        }
        if !numbered.transient.is_empty() {
            self.set_deadlines(&numbered.fleeting, now);
            self.enqueue_transient(&numbered.transient, &publish.messages, now);
        }
        if let Some(traced) = &publish.traced {
            self.trace_publish(&publish.runs, traced, &numbered);
        }
        if !numbered.dead.is_empty() {
            send_refused_on(&publish, &mut numbered.dead, outbox);
        }
        let accept = Accept {
            reply: publish.reply,
            confirm: publish.confirm,
            bytes: publish.bytes,
            refused: (*numbered.refused).into(),
        };
        if numbered.durable.is_empty() {
            self.release_room(&numbered.reserved);
            self.accept(accept, outbox);
        } else {
            let (deadlines, reserved) = (&mut numbered.deadlines, &mut numbered.reserved);
            let (deadlines, reserved) = (std::mem::take(deadlines), std::mem::take(reserved));
            let extras = Extras::of(deadlines, reserved, publish.traced.clone());
            self.stage(&publish.messages, &numbered.durable, Some(accept), extras);
            self.hand_out_if_large(outbox);
        }
        self.numbered = Some(numbered);
    }

    /// How many messages of a run are numbered together. Each may need a deadline or a target of its own in every queue.
    fn messages_together(&self, run: &RoutedRun, expires: bool) -> u16 {
        let (count, targets) = (run.to - run.from, &run.route.targets);
        if usize::from(count) * targets.len() <= TOGETHER_MAX {
            return count;
        }
        let mut stages = targets.iter().map(|target| self.queues.get(&target.queue));
        let apart = expires || stages.any(|stage| stage.is_some_and(|stage| stage.admission.is_some()));
        if apart {
            (TOGETHER_MAX / targets.len()).max(1) as u16
        } else {
            count
        }
    }

    /// Numbers messages; frames those before them if it would be too much for one record.
    fn take_in(
        &mut self,
        publish: &Publish,
        run: &RoutedRun,
        expires: bool,
        now: Millis,
        numbered: &mut Numbered,
        outbox: &mut Outbox,
    ) {
        let messages = &publish.messages;
        let (targets, deadlines) = (numbered.durable.len(), numbered.deadlines.len());
        let reserved = numbered.reserved.len();
        self.number(messages, run, expires, Full::Refuses, now, numbered);
        // The last part is kept back: the publisher is told when that one is durable, so there has to be one.
        if targets.max(deadlines) > TOGETHER_MAX && numbered.durable.len() > targets {
            let durable = numbered.durable.split_off(targets);
            let deadlines = numbered.deadlines.split_off(deadlines);
            let reserved = numbered.reserved.split_off(reserved);
            let front = std::mem::replace(&mut numbered.durable, durable);
            let extras = Extras::of(
                std::mem::replace(&mut numbered.deadlines, deadlines),
                std::mem::replace(&mut numbered.reserved, reserved),
                publish.traced.clone(),
            );
            self.stage(messages, &front, None, extras);
            self.hand_out_if_large(outbox);
        }
    }

    /// Frames a record of these messages; they enter their queues, and their publisher is told, when it is durable.
    fn stage(
        &mut self,
        messages: &Messages,
        targets: &[Target],
        accept: Option<Accept>,
        extras: Option<Box<Extras>>,
    ) {
        let mut framing = Framing {
            partition: self.id,
            transaction: None,
            frames: &mut self.frames,
            staged: &mut self.staged,
        };
        framing.enter(messages, targets, accept, extras);
        self.urgent = true;
    }

    /// The publish is where it has to be: confirms it, and gives its bytes back to the publisher's window, now or when the
    /// queues have caught up.
    pub(super) fn accept(&mut self, accept: Accept, outbox: &mut Outbox) {
        let Accept {
            reply,
            confirm,
            bytes,
            refused,
        } = accept;
        if let Some(confirm) = confirm {
            let channel = reply.channel;
            let notice = if refused.is_empty() {
                Notice::Confirm { channel, confirm }
            } else {
                Notice::Refused {
                    channel,
                    confirm,
                    refused,
                }
            };
            outbox.notify(&reply.link, notice);
        }
        if self.machine.ready_bytes() > READY_BYTES_SLOW && self.machine.consumer_count() > 0 {
            self.held.push((reply.link, bytes));
        } else if reply.link.publish_ends(bytes) {
            outbox.touch(&reply.link);
        }
    }

    pub(super) fn release_held(&mut self, outbox: &mut Outbox) {
        for (link, bytes) in self.held.drain(..) {
            if link.publish_ends(bytes) {
                outbox.touch(&link);
            }
        }
    }
}

/// What full queues refuse is in memory until it is in the log elsewhere, and its publisher is to wait as long.
#[cold]
fn send_refused_on(publish: &Publish, letters: &mut Vec<DeadLetter>, outbox: &mut Outbox) {
    let charge = Charge::new(publish.reply.link.clone(), publish.bytes);
    for mut letter in letters.drain(..) {
        letter.charge = Some(charge.clone());
        outbox.seldom().dead.push(Mail::Dead(letter));
    }
}
