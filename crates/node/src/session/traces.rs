//! Choosing messages that are followed on their way, and what a session tells of them. Without a choice it does nothing.

use std::sync::Arc;

use everack_amqp::content::{Batch, flags};
use everack_broker::ids::ConsumerId;
use everack_broker::name::Name;

use super::Session;
use super::channel::BufferedPublish;
use super::publish::Routed;
use super::replies::Answering;
use crate::request::RoutedRun;
use crate::traces::{Choice, Event, Fate, Parent, Publisher, Trace, Traced, TracedBatch};

/// What a session needs to follow messages.
pub(super) struct Traces {
    choice: Choice,
    /// This connection, once a message of it is followed.
    publisher: Option<Arc<Publisher>>,
    happened: Vec<Event>,
}

impl Traces {
    pub(super) fn new(choice: Choice) -> Box<Self> {
        Box::new(Self {
            choice,
            publisher: None,
            happened: Vec::new(),
        })
    }
}

/// Where the messages of a batch go.
#[derive(Clone, Copy)]
pub(super) struct Ways<'a> {
    runs: &'a [RoutedRun],
    returned: &'a [u16],
    refused: &'a [(u16, u16)],
    answering: &'a [Answering],
}

impl<'a> Ways<'a> {
    pub(super) fn of(routed: &'a Routed) -> Self {
        let Routed {
            runs,
            returned,
            refused,
            answering,
            ..
        } = routed;
        Self {
            runs,
            returned,
            refused,
            answering,
        }
    }

    pub(super) fn of_buffered(publish: &'a BufferedPublish) -> Self {
        Self {
            runs: &publish.runs,
            returned: &publish.returned,
            refused: &[],
            answering: &publish.answering,
        }
    }

    fn fate(&self, index: u16) -> Fate {
        let run = self.runs.iter().find(|run| (run.from..run.to).contains(&index));
        if let Some(run) = run {
            return Fate::Queues(run.route.targets.len() as u32);
        }
        if self.returned.contains(&index) {
            return Fate::Returned;
        }
        if self
            .refused
            .iter()
            .any(|(from, to)| (*from..*to).contains(&index))
        {
            return Fate::Refused;
        }
        let mut answers = self.answering.iter();
        if answers.any(|answer| (answer.from..answer.to).contains(&index)) {
            return Fate::Answer;
        }
        Fate::Dropped
    }
}

impl Session {
    /// What has happened since the last call to messages that are followed.
    pub fn take_traced(&mut self) -> Vec<Event> {
        let traces = self.traces.as_mut();
        traces
            .map(|traces| std::mem::take(&mut traces.happened))
            .unwrap_or_default()
    }

    /// Chooses from the messages of a batch that are before `end`, and tells that they have come.
    #[cold]
    pub(super) fn trace_batch(
        &mut self,
        channel: u16,
        batch: &Batch,
        ways: Ways<'_>,
        end: u16,
        confirms: bool,
    ) -> Option<TracedBatch> {
        let choice = self.traces.as_ref()?.choice;
        let publisher = self.publisher()?;
        let mut traced = Vec::new();
        for index in 0..end {
            let has_headers = batch.flags(usize::from(index)) & flags::HAS_HEADERS != 0;
            if !has_headers && !choice.draws() {
                continue;
            }
            let headers = batch.view(usize::from(index)).headers;
            if let Some(parent) = choice.choose(headers, || self.shared.draw()) {
                let trace = Arc::new(self.trace(&publisher, channel, batch, index, parent));
                traced.push(Traced {
                    index,
                    trace,
                    origin: None,
                });
            }
        }
        let traces = self.traces.as_mut()?;
        traces.happened.extend(traced.iter().map(|one| Event::Published {
            trace: one.trace.clone(),
            fate: ways.fate(one.index),
            confirms,
        }));
        (!traced.is_empty()).then(|| traced.into())
    }

    fn trace(
        &self,
        publisher: &Arc<Publisher>,
        channel: u16,
        batch: &Batch,
        index: u16,
        parent: Option<Parent>,
    ) -> Trace {
        let index = usize::from(index);
        let view = batch.view(index);
        Trace {
            number: self.shared.next_trace(),
            parent,
            exchange: Name::new(batch.exchange(index)),
            routing_key: Name::new(batch.routing_key(index)),
            message_id: view.message_id.map(Name::new),
            correlation_id: view.correlation_id.map(Name::new),
            body_bytes: batch.entries[index].body_len,
            persistent: view.is_persistent(),
            publisher: publisher.clone(),
            channel,
        }
    }

    /// This connection, as spans tell of it, if they do.
    fn publisher(&mut self) -> Option<Arc<Publisher>> {
        let publisher = || {
            Arc::new(Publisher {
                peer: self.peer.clone(),
                user: self.user.clone(),
                vhost: self.vhost_name.clone(),
            })
        };
        let traces = self.traces.as_mut()?;
        Some(traces.publisher.get_or_insert_with(publisher).clone())
    }

    /// A consumer, or who stands for what a channel gets from a queue, may be told of.
    pub(super) fn trace_consumer(&mut self, consumer: ConsumerId, tag: &[u8], channel: u16) {
        let peer = self.publisher();
        if let Some((traces, peer)) = self.traces.as_mut().zip(peer) {
            let tag = Name::new(tag);
            traces.happened.push(Event::ConsumerBegins {
                consumer,
                tag,
                channel,
                peer,
            });
        }
    }

    /// It is gone.
    pub(super) fn trace_consumer_ends(&mut self, consumer: ConsumerId) {
        if let Some(traces) = &mut self.traces {
            traces.happened.push(Event::ConsumerEnds { consumer });
        }
    }
}
