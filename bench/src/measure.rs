//! One run: prepare the broker, connect, warm up, measure, drain, check, clean up.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::board::Board;
use crate::report::{Ending, Report, Run};
use crate::setup::{Options, Session};
use crate::url::Url;
use crate::workload::Workload;

mod backlog;
mod crew;
mod topology;
mod watch;

use crew::{Builder, Crew};
use topology::Topology;
use watch::Watch;

pub use watch::Stretch;

/// Which broker, and how to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The broker's address.
    pub url: Url,
    /// The broker's process, if it runs on this machine.
    pub broker_pid: Option<u32>,
    /// Load before the measurement.
    pub warm_up: Duration,
    /// Load that is measured.
    pub duration: Duration,
    /// How long to wait for what is under way after the measurement; zero ends at once and checks nothing.
    pub drain: Duration,
    /// Threads of the generator: with one, it does everything; with more, half publish and half consume.
    pub threads: usize,
    /// Ids in all messages.
    pub check: bool,
    /// Heartbeat and frame size.
    pub options: Options,
    /// Leave queues and exchange behind.
    pub keep: bool,
}

/// Puts `workload` on the broker of `plan` once.
pub fn measure(workload: &Workload, plan: &Plan) -> anyhow::Result<Report> {
    workload
        .validate()
        .map_err(|reason| anyhow!("this workload cannot run: {reason}"))?;
    // Nobody sends heartbeats on this connection while it waits for the end of the run.
    let silent = Options {
        heartbeat_seconds: 0,
        ..plan.options
    };
    let mut session = Session::open(&plan.url, silent)?;
    let topology = Topology::new(workload);
    let result = topology.declare(&mut session).and_then(|()| {
        if workload.backlog > 0 {
            backlog::pile_up_and_drain(workload, plan, &topology, &mut session)
        } else {
            load(workload, plan, &topology, &mut session)
        }
    });
    if !plan.keep {
        let removed = topology.remove(plan);
        if result.is_ok() {
            removed.context("cannot remove the queues of the run")?;
        }
    }
    session.close();
    result
}

/// Publishes and consumes at the same time.
fn load(
    workload: &Workload,
    plan: &Plan,
    topology: &Topology,
    session: &mut Session,
) -> anyhow::Result<Report> {
    let board = Arc::new(Board::new(plan.threads));
    let builder = Builder {
        workload,
        plan,
        topology,
        board: &board,
    };
    let mut crew = Crew::hire(&builder, 0..workload.producers, 0..workload.consumers)?;
    let watch = Watch {
        workload,
        plan,
        board: &board,
    };
    let outcome = watch.phases();
    let harvest = crew.go_home();
    let (stretch, ending) = outcome?;
    let left_in_queues = match ending {
        Ending::Drained => Some(topology.count_left(session)?),
        _ => None,
    };
    Ok(Report::new(Run {
        workload: workload.clone(),
        url: plan.url.to_string(),
        server: session.server().clone(),
        checked: builder.checks(),
        stretch,
        totals: board.totals(),
        ending,
        left_in_queues,
        harvest,
    }))
}
