//! What the pipeline tells of messages that are followed; it does nothing as long as none are.

use std::sync::Arc;

use everack_broker::ids::{QueueId, Seq};
use everack_broker::partition::Effect;
use everack_storage::Position;

use super::Partition;
use super::numbering::Numbered;
use super::tracer::Tracer;
use crate::messages::Messages;
use crate::outbox::Outbox;
use crate::record::Target;
use crate::request::RoutedRun;
use crate::traces::{Trace, Traced, TracedBatch};

impl Partition {
    /// Messages are followed from now on, `most` copies at a time.
    pub fn trace(&mut self, most: usize) {
        self.tracer = Some(Box::new(Tracer::new(most)));
    }

    /// Tells of what has happened in this round.
    #[cold]
    pub(super) fn watch(&mut self, effects: &[Effect<Messages>], outbox: &mut Outbox) {
        let Some(tracer) = &mut self.tracer else {
            return;
        };
        effects.iter().for_each(|effect| tracer.watch(effect));
        let happened = tracer.take();
        if !happened.is_empty() {
            outbox.seldom().traced.extend(happened);
        }
    }

    /// A publish has its numbers: what went to transient queues is there, and what has none will be nowhere.
    #[cold]
    pub(super) fn trace_publish(&mut self, runs: &[RoutedRun], traced: &[Traced], numbered: &Numbered) {
        if let Some(tracer) = &mut self.tracer {
            tracer.enter(&numbered.transient, traced, None);
        }
        self.trace_missing(runs, traced, numbered);
    }

    /// Tells of queues that are gone, and of those that had no room.
    pub(super) fn trace_missing(&mut self, runs: &[RoutedRun], traced: &[Traced], numbered: &Numbered) {
        let Some(tracer) = &mut self.tracer else {
            return;
        };
        // What goes on from another copy is missing from no publish.
        let published = traced.iter().filter(|one| one.origin.is_none());
        for Traced { index, trace, .. } in published {
            let run = runs.iter().find(|run| (run.from..run.to).contains(index));
            let targets = run.into_iter().flat_map(|run| run.route.targets.iter());
            let here = targets.filter(|target| target.partition == self.id);
            let gone = here.filter(|target| !self.queues.contains_key(&target.queue));
            let refused = numbered.refused.iter();
            let refused = refused.filter(|(from, to)| (*from..*to).contains(index));
            let places = (gone.count() + refused.count()) as u32;
            if places > 0 {
                tracer.missed(trace, places);
            }
        }
    }

    /// Messages enter their queues.
    pub(super) fn trace_entered(
        &mut self,
        targets: &[Target],
        traced: Option<TracedBatch>,
        location: Option<Position>,
    ) {
        if let (Some(tracer), Some(traced)) = (&mut self.tracer, traced) {
            tracer.enter(targets, &traced, location);
        }
    }

    /// Messages of a queue that are followed, by their numbers; rising.
    pub(super) fn followed(&self, queue: QueueId, first: Seq, count: u32) -> Vec<(Seq, Arc<Trace>)> {
        let tracer = self.tracer.as_ref();
        tracer
            .map(|tracer| tracer.followed(queue, first, count))
            .unwrap_or_default()
    }
}
