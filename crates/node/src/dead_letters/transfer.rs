//! Messages that an operator sends to another queue, or once more to where they were published: as they are, all of a step in one
//! move. What does not find its way stays where it was.

use std::sync::Arc;

use everack_amqp::content::flags;
use everack_amqp::wire::table::Table;
use everack_broker::catalog::Snapshot;
use everack_broker::ids::{PartitionId, QueueId, Seq};
use everack_broker::partition::Run;
use everack_broker::routing::{Route, Target};

use super::moving::{Letter, Moving};
use super::{DeadLetters, Sender, push_range};
use crate::messages::Messages;
use crate::outbox::Outbox;
use crate::record::Range;
use crate::report::{MovedReport, Report, Unmoved};
use crate::request::{Goal, Order, Request};
use crate::session::message::Message;
use crate::space::Pin;
use crate::traces::Trace;

/// Messages of one queue that leave it together. It owns them until they have arrived.
#[derive(Debug)]
pub struct Transfer {
    /// Where their queue is.
    pub partition: PartitionId,
    /// Their queue.
    pub queue: QueueId,
    /// The messages, without content if they have to be read from the log; and what keeps their segments.
    pub runs: Vec<(Run<Messages>, Option<Pin>)>,
    /// Where they go.
    pub goal: Goal,
    /// Who is told.
    pub order: Order,
    /// Those that are followed, by their numbers; rising.
    pub traced: Vec<(Seq, Arc<Trace>)>,
}

impl DeadLetters {
    pub(super) fn transfer(&self, transfer: Transfer, outbox: &mut Outbox) {
        let snapshot = self.shared.snapshot();
        let mut moving = Moving::default();
        let (mut staying, mut why) = (Vec::new(), None);
        for (run, _) in &transfer.runs {
            let messages = match &run.content {
                Some(messages) => Some(messages.clone()),
                None => self.recall.glance(run.location).ok(),
            };
            let messages = messages.filter(|messages| usize::from(run.to) <= messages.len());
            for index in run.from..run.to {
                let one = Range {
                    queue: transfer.queue,
                    first: run.first.plus(u64::from(index - run.from)),
                    count: 1,
                };
                let Some(messages) = &messages else {
                    (why, _) = (Some(Unmoved::Unreadable), push_range(&mut staying, one));
                    continue;
                };
                let index = usize::from(index);
                match self.goal(&snapshot, &transfer, messages, index) {
                    Some(route) => {
                        let (letter, body) = (as_it_is(messages, index), messages.body(index));
                        moving.push(&letter, body, route, one);
                        moving.follow(&transfer.traced, one);
                    }
                    None => (why, _) = (Some(Unmoved::NoWay), push_range(&mut staying, one)),
                }
            }
        }
        let stayed = staying.iter().map(|range: &Range| u64::from(range.count)).sum();
        let requests = staying.into_iter().map(Request::keep);
        let requests = requests.map(|request| (transfer.partition, request));
        outbox.requests.extend(requests);
        let sender = Sender {
            partition: transfer.partition,
            queue: transfer.queue,
            owned: true,
        };
        let mut order = transfer.order;
        order.report.refused = why;
        order.report.messages = 0;
        order.report.bytes = 0;
        order.report.stayed = stayed;
        match moving.into_parts() {
            Some(parts) => {
                let messages = &parts.messages;
                order.report.messages = messages.len() as u64;
                order.report.bytes = (0..messages.len())
                    .map(|index| messages.body(index).len() as u64)
                    .sum();
                self.hand_out(sender, parts, None, Some(order), outbox);
            }
            None => order.tell(outbox),
        }
    }

    /// Where a message goes; none if there is no such place.
    fn goal(
        &self,
        snapshot: &Snapshot,
        transfer: &Transfer,
        messages: &Messages,
        index: usize,
    ) -> Option<Arc<Route>> {
        match transfer.goal {
            Goal::Queue(queue) => {
                let queue = snapshot.queue(queue)?;
                let target = Target {
                    partition: queue.partition,
                    queue: queue.id,
                    durable: queue.durable,
                };
                Some(Arc::new(Route {
                    targets: Box::new([target]),
                    by_headers: false,
                }))
            }
            Goal::Address => {
                let queue = snapshot.queue(transfer.queue)?;
                let vhost = snapshot.vhost(&queue.vhost)?;
                let message = Message::new(messages, index, &self.shared);
                let (exchange, key) = (messages.exchange(index), messages.routing_key(index));
                let route = vhost.route(exchange, key, &message).ok()?;
                (!route.is_empty()).then_some(route)
            }
        }
    }
}

impl Order {
    /// Whoever has ordered is told how far it came.
    pub(crate) fn tell(self, outbox: &mut Outbox) {
        let report = Report::Moved(self.report);
        outbox.seldom().reports.push((self.inquirer, report));
    }

    /// Nothing of it is done, for this reason.
    pub(crate) fn refused(self, why: Unmoved) -> Self {
        let report = MovedReport {
            messages: 0,
            bytes: 0,
            stayed: self.report.stayed + self.report.messages,
            refused: Some(why),
            ..self.report
        };
        Self { report, ..self }
    }
}

/// A message that goes on without a change; nobody waits to have it back.
fn as_it_is(messages: &Messages, index: usize) -> Letter<'_> {
    Letter {
        exchange: messages.exchange(index),
        header: messages.header(index).to_vec(),
        headers: Table::new(),
        flags: messages.flags(index) & !flags::MANDATORY,
        routing_key: messages.routing_key(index).to_vec(),
    }
}
