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
    exchange: Option<String>,
    kind: QueueKind,
}

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
            exchange: workload.fanout.then_some(prefix),
            kind: workload.queue,
        }
    }

    pub(super) fn declare(&self, session: &mut Session) -> anyhow::Result<()> {
        if let Some(exchange) = &self.exchange {
            session
                .declare_fanout(exchange, self.kind != QueueKind::Transient)
                .with_context(|| format!("cannot declare exchange {exchange}"))?;
        }
        for queue in &self.queues {
            session
                .declare_queue(queue, self.kind, false)
                .with_context(|| format!("cannot declare queue {queue}"))?;
            if let Some(exchange) = &self.exchange {
                session
                    .bind(queue, exchange)
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
            session.delete_exchange(exchange)?;
        }
        session.close();
        Ok(())
    }

    pub(super) fn routes(&self, queues: &[u16]) -> Vec<Route> {
        if let Some(exchange) = &self.exchange {
            return vec![Route {
                exchange: exchange.clone(),
                routing_key: String::new(),
            }];
        }
        let route = |queue: &u16| Route {
            exchange: String::new(),
            routing_key: self.queues[usize::from(*queue)].clone(),
        };
        queues.iter().map(route).collect()
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
