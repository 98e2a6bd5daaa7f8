//! How everything stands at one moment: what a scrape reads its numbers from.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use everack_broker::catalog::{Queue, Snapshot, VhostView};
use everack_broker::ids::{ConsumerId, Millis, QueueId};
use everack_broker::name::Name;
use everack_broker::partition::{Counters, Depth, Holder};
use everack_node::catalog_service;
use everack_node::ledger::Sums;
use everack_node::report::{Published, Received};
use everack_node::tenants;

use crate::auth::attempts::Protocol;
use crate::engine::{Engine, disk_figures, gauges};
use crate::http::Node;
use crate::http::inquiry::{self, Connected, Holders};
use crate::http::refusal::Refusal;
use crate::statistics::figures;
use crate::traces;

/// A queue and how it stands.
pub(super) struct Stands {
    pub(super) queue: Arc<Queue>,
    pub(super) depth: Depth,
    /// For how long what is held for longest is held; 0 if nothing is.
    pub(super) oldest_unsettled_seconds: f64,
}

/// A consumer and how it gets on.
pub(super) struct Consumes {
    pub(super) queue: Arc<Queue>,
    pub(super) holder: Holder,
    /// RabbitMQ's name of its channel.
    pub(super) channel: String,
    pub(super) tag: Name,
    /// As of a queue.
    pub(super) oldest_unsettled_seconds: f64,
}

/// See the module documentation.
pub(super) struct Census {
    pub(super) node: Arc<Node>,
    pub(super) snapshot: Arc<Snapshot>,
    /// By virtual host and name.
    pub(super) queues: Vec<Stands>,
    /// Where virtual hosts keep what is unroutable.
    pub(super) stores: Vec<Stands>,
    /// Where exchanges keep what is delayed.
    pub(super) rooms: Vec<Stands>,
    pub(super) connections: Vec<Connected>,
    /// In the order in which they came.
    pub(super) consumers: Vec<Consumes>,
    pub(super) sums: Totals,
    pub(super) tenants: tenants::Churn,
    pub(super) churn: catalog_service::Churn,
    pub(super) gauges: gauges::Readings,
    pub(super) disk: disk_figures::Readings,
    /// All zero while nothing is followed.
    pub(super) traces: traces::Readings,
}

/// Sums over everything, what is gone included.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) counters: Counters,
    pub(super) received: Received,
    pub(super) published: Published,
    pub(super) confirmed: u64,
    pub(super) unconfirmed: u64,
}

impl Census {
    /// Asks all machines; of consumers one by one only if that is wanted.
    pub(super) async fn take(node: Arc<Node>, each_consumer: bool) -> Result<Self, Refusal> {
        let engine = &node.engine;
        let snapshot = engine.shared.snapshot();
        let views: Vec<VhostView> = snapshot.vhosts().collect();
        let of = |queues: &dyn Fn(&VhostView) -> Vec<Arc<Queue>>| -> Vec<Arc<Queue>> {
            let mut queues: Vec<_> = views.iter().flat_map(queues).collect();
            queues
                .sort_unstable_by(|left, right| (&left.vhost, &left.name).cmp(&(&right.vhost, &right.name)));
            queues
        };
        let queues = of(&|vhost| vhost.queues().cloned().collect());
        let stores = of(&|vhost| vhost.store().cloned().into_iter().collect());
        let rooms = of(&|vhost| vhost.rooms().cloned().collect());
        let all = queues.iter().chain(&stores).chain(&rooms);
        let depths = inquiry::queues(engine, all).await?;
        let consuming = queues.iter().filter(|_| each_consumer);
        let holders = inquiry::holders(engine, consuming).await?;
        let connections = inquiry::connections(engine).await?;
        let now = engine.clock.now();
        let gone = engine.shared.ledger.sums(|_, _| true);
        let mut counters = Counters::default();
        depths.deleted().for_each(|deleted| counters.add(deleted));
        depths.all().for_each(|depth| counters.add(&depth.counters));
        let sums = Totals::new(counters, &gone, &connections);
        let stand = |queues: Vec<Arc<Queue>>| {
            let stands = queues.into_iter().filter_map(|queue| {
                let depth = *depths.get(queue.id)?;
                let oldest_unsettled_seconds = age_seconds(now, depth.oldest_unsettled);
                Some(Stands {
                    queue,
                    depth,
                    oldest_unsettled_seconds,
                })
            });
            stands.collect()
        };
        Ok(Self {
            consumers: consumers(&queues, &holders, &connections, now),
            queues: stand(queues),
            stores: stand(stores),
            rooms: stand(rooms),
            sums,
            tenants: engine.shared.tenants.churn(),
            churn: engine.catalog.inspect(engine, |catalog| catalog.churn()),
            gauges: engine.gauges.read(),
            disk: engine.disk_figures.read(),
            traces: engine
                .recorder
                .as_ref()
                .map(|recorder| recorder.read())
                .unwrap_or_default(),
            connections,
            snapshot,
            node,
        })
    }

    /// Leaves only what lies in some virtual hosts.
    pub(super) fn narrow(&mut self, vhosts: &HashSet<Name>) {
        let here = |vhost: &Name| vhosts.contains(vhost);
        self.queues.retain(|stands| here(&stands.queue.vhost));
        self.stores.retain(|stands| here(&stands.queue.vhost));
        self.rooms.retain(|stands| here(&stands.queue.vhost));
        self.consumers.retain(|consumes| here(&consumes.queue.vhost));
        self.connections
            .retain(|connected| here(&connected.session.vhost));
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.node.engine
    }

    /// Sums one number of all queues.
    pub(super) fn sum(&self, read: fn(&Depth) -> u64) -> f64 {
        self.queues.iter().map(|stands| read(&stands.depth)).sum::<u64>() as f64
    }

    /// Failed log-ins, by protocol.
    pub(super) fn attempts(&self, protocol: Protocol) -> (u64, u64) {
        self.node.authenticator.attempts.read(protocol)
    }
}

/// How consumers get on whose channel is still there.
fn consumers(
    queues: &[Arc<Queue>],
    holders: &Holders,
    connections: &[Connected],
    now: Millis,
) -> Vec<Consumes> {
    let queues: HashMap<QueueId, &Arc<Queue>> = queues.iter().map(|queue| (queue.id, queue)).collect();
    let mut known: HashMap<ConsumerId, (String, &Name)> = HashMap::new();
    for connected in connections {
        for channel in &connected.session.channels {
            let name = || connected.channel_name(channel.number);
            let consumers = channel.consumers.iter();
            known.extend(consumers.map(|consumer| (consumer.id, (name(), &consumer.tag))));
        }
    }
    let consumes = holders.in_order().into_iter().filter_map(|(queue, holder)| {
        let (channel, tag) = known.remove(&holder.consumer)?;
        Some(Consumes {
            queue: (*queues.get(&queue)?).clone(),
            holder,
            channel,
            tag: tag.clone(),
            oldest_unsettled_seconds: age_seconds(now, holder.oldest),
        })
    });
    consumes.collect()
}

fn age_seconds(now: Millis, at: Option<Millis>) -> f64 {
    at.map_or(0.0, |at| now.0.saturating_sub(at.0) as f64 / 1e3)
}

impl Totals {
    fn new(counters: Counters, gone: &Sums, connections: &[Connected]) -> Self {
        let mut totals = Self {
            received: figures::received(&counters),
            counters,
            published: gone.published,
            confirmed: gone.confirmed,
            unconfirmed: 0,
        };
        for Connected { session, .. } in connections {
            totals.confirmed += session.confirmed;
            for channel in &session.channels {
                totals.published.add(channel.published);
                totals.unconfirmed += channel.unconfirmed;
            }
        }
        totals
    }
}
