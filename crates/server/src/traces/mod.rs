//! OpenTelemetry spans of messages on their way, sent to a collector (docs/decisions/0034).
//!
//! ```text
//! sessions, partitions, disk ──Event──> recorder: clock, book ──Ended──> exporter thread ──OTLP──> collector
//!                                       under one short lock   bounded   renders, retries
//! ```
//!
//! Without `traces.endpoint` none of it is there. With it nothing waits for it: what finds no room is dropped and counted.

mod book;
mod certificates;
mod exporter;
mod otlp;
mod patience;
mod recorder;
mod render;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use everack_node::partition::Partition;
use everack_node::shared::Shared;
use everack_node::traces::Choice;

use crate::config::Traces;
use crate::config::setting::Parents;
pub(crate) use exporter::Ending;
use exporter::Exporter;
use recorder::Bounds;
pub(crate) use recorder::{Readings, Recorder};

/// Begins to follow messages, if the configuration says where to send what is seen of them.
///
/// # Errors
/// See [`Exporter::new`].
pub(crate) fn begin(
    config: &Traces,
    node: &str,
    shared: &Shared,
    partitions: &mut [Partition],
) -> anyhow::Result<Option<(Arc<Recorder>, Ending)>> {
    let followed_max = config.followed_max.get() as usize;
    let recorder = Arc::new(Recorder::new(Bounds {
        followed_max,
        waiting_max: config.waiting_max.get() as usize,
        batch_max: config.batch_max.get() as usize,
    }));
    let Some(exporter) = Exporter::new(config, node, recorder.clone())? else {
        return Ok(None);
    };
    shared.follow(Choice::new(config.parents == Parents::On, config.sample.get()));
    let each = followed_max.div_ceil(partitions.len().max(1));
    partitions.iter_mut().for_each(|partition| partition.trace(each));
    Ok(Some((recorder, exporter.start()?)))
}
