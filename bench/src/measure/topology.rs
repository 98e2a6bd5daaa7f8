//! The queues and the exchange of a run: declared before, counted after, removed in the end.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

use super::Plan;
use crate::block::Route;
use crate::setup::Session;
use crate::workload::{QueueKind, Workload};

/// The queues and the exchange of a run, with names of its own.
pub(super) struct Topology {
    pub(super) queues: Vec<String>,
    exchange: Option<Exchange>,
    kind: QueueKind,
}

/// The exchange of a run, if it is not the default one.
struct Exchange {
    name: String,
    kind: &'static str,
    /// Bindings of each queue.
    keys: usize,
}

/// Routing keys of a queue that messages take in turn when they are dressed.
const KEYS: usize = 10;

impl Topology {
    pub(super) fn new(workload: &Workload) -> Self {
        static RUN: AtomicU32 = AtomicU32::new(0);
        let prefix = format!(
            "eb{:x}-{:x}",
            std::process::id(),
            RUN.fetch_add(1, Ordering::Relaxed)
        );
        Self {
            queues: (0..workload.queues)
                .map(|index| format!("{prefix}.{index}"))
                .collect(),
            exchange: Exchange::of(workload, prefix),
            kind: workload.queue,
        }
    }

    pub(super) fn declare(&self, session: &mut Session) -> anyhow::Result<()> {
        if let Some(exchange) = &self.exchange {
            session
                .declare_exchange(&exchange.name, exchange.kind, self.kind != QueueKind::Transient)
                .with_context(|| format!("cannot declare exchange {}", exchange.name))?;
        }
        for (index, queue) in self.queues.iter().enumerate() {
            session
                .declare_queue(queue, self.kind, false)
                .with_context(|| format!("cannot declare queue {queue}"))?;
            for route in self.routes_of(index) {
                session
                    .bind(queue, &route.exchange, &route.routing_key)
                    .with_context(|| format!("cannot bind queue {queue}"))?;
            }
        }
        Ok(())
    }

    /// On a connection of its own, for the one of the run may be broken.
    pub(super) fn remove(&self, plan: &Plan) -> anyhow::Result<()> {
        let mut session = Session::open(&plan.url, plan.options)?;
        for queue in &self.queues {
            session.delete_queue(queue)?;
        }
        if let Some(exchange) = &self.exchange {
            session.delete_exchange(&exchange.name)?;
        }
        session.close();
        Ok(())
    }

    pub(super) fn routes(&self, queues: &[u32]) -> Vec<Route> {
        if self.exchange.is_some() {
            let routes = queues.iter().flat_map(|&queue| self.routes_of(queue as usize));
            let routes: Vec<Route> = routes.collect();
            // A fanout exchange takes every queue's message to all of them.
            let fanout = routes.iter().all(|route| *route == routes[0]);
            return if fanout { routes[..1].to_vec() } else { routes };
        }
        let route = |queue: &u32| Route {
            exchange: String::new(),
            routing_key: self.queues[*queue as usize].clone(),
        };
        queues.iter().map(route).collect()
    }

    /// What a queue is bound by.
    fn routes_of(&self, queue: usize) -> Vec<Route> {
        let Some(exchange) = &self.exchange else {
            return Vec::new();
        };
        let route = |key: usize| Route {
            exchange: exchange.name.clone(),
            routing_key: exchange.key(queue, key),
        };
        (0..exchange.keys).map(route).collect()
    }

    /// Messages that are still in the queues although everything was received and acknowledged.
    pub(super) fn count_left(&self, session: &mut Session) -> anyhow::Result<u64> {
        let mut left = 0;
        for queue in &self.queues {
            left += u64::from(session.declare_queue(queue, self.kind, true)?);
        }
        Ok(left)
    }
}

impl Exchange {
    fn of(workload: &Workload, name: String) -> Option<Self> {
        let (kind, keys) = match (workload.fanout, workload.dressed) {
            (true, _) => ("fanout", 1),
            (false, true) => ("direct", KEYS),
            (false, false) => return None,
        };
        Some(Self { name, kind, keys })
    }

    fn key(&self, queue: usize, key: usize) -> String {
        if self.kind == "fanout" {
            return String::new();
        }
        format!("orders.{queue}.{key}")
    }
}
