//! What the session keeps of one channel, besides what the protocol machine keeps.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use everack_broker::ids::{ConsumerId, QueueId};
use everack_broker::name::Name;
use everack_broker::partition::SharedLimit;
use rustc_hash::{FxHashMap, FxHashSet};

use super::publishing::Publishing;
use super::replies::{Answering, ReplyConsumer};
use super::routes::Routes;
use crate::messages::Messages;
use crate::report::Received;
use crate::request::{RoutedRun, Settle};

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// The queue that an empty name stands for: the last one declared on this channel.
    pub(super) last_queue: Option<Name>,
    /// Most unsettled messages of each consumer to come.
    pub(super) prefetch: u16,
    /// Most unsettled messages over all consumers.
    pub(super) limit: Option<Arc<SharedLimit>>,
    /// Consumers by tag.
    pub(super) consumers: FxHashMap<Box<[u8]>, ConsumerId>,
    /// Every consumer that may hold deliveries of this channel, cancelled ones and those of `basic.get` too.
    pub(super) holders: Vec<ConsumerId>,
    /// Who stands for what this channel gets from a queue with `basic.get`.
    pub(super) getters: FxHashMap<QueueId, ConsumerId>,
    /// Queues that it has got messages from without acknowledging.
    pub(super) polled_no_ack: FxHashSet<QueueId>,
    /// Set when the channel fails, so that commands already on their way to the catalog are not carried out.
    pub(super) failed: Arc<AtomicBool>,
    /// What a transaction has gathered.
    pub(super) transaction: Gathered,
    /// Messages that answer somebody once the transaction under way is durable.
    pub(super) answers: Vec<(Messages, Vec<Answering>)>,
    /// What it has published.
    pub(super) publishing: Publishing,
    /// What it has received.
    pub(super) received: Received,
    /// Its consumer of direct replies.
    pub(super) replies: Option<ReplyConsumer>,
    /// Where it has published to.
    pub(super) routes: Routes,
}

/// Publishes and settlements that wait for `tx.commit`.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) publishes: Vec<BufferedPublish>,
    pub(super) settles: Vec<Settle>,
    /// The protocol's side of `settles`: a rollback makes these deliveries unsettled again.
    pub(super) ranges: Vec<everack_amqp::deliveries::DeliveryRange>,
    pub(super) bytes: usize,
}

/// A published batch within a transaction.
#[derive(Debug)]
pub(super) struct BufferedPublish {
    pub(super) messages: Messages,
    pub(super) runs: Vec<RoutedRun>,
    /// Messages that nobody wants and whose publisher wants them back, with the commit.
    pub(super) returned: Vec<u16>,
    /// Messages that answer somebody, with the commit.
    pub(super) answering: Vec<Answering>,
}
