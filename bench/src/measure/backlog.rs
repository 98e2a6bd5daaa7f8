//! The other kind of run: first publish so many messages with nobody consuming, then drain them with nobody publishing.
//! What a pile of messages costs shows here: time and CPU to build it, memory to hold it, time and CPU to take it down.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::Plan;
use super::crew::{Builder, Crew};
use super::topology::Topology;
use super::watch::{Stretch, Watch};
use crate::board::{Board, Phase, Totals};
use crate::report::{Ending, Pile, Report, Run};
use crate::setup::Session;
use crate::worker::Harvest;
use crate::workload::Workload;

/// A part in which nothing moves for so long is given up.
const STALLS_AFTER: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// One half of the run.
struct Part {
    stretch: Stretch,
    totals: Totals,
    harvest: Harvest,
    checked: bool,
}

pub(super) fn pile_up_and_drain(
    workload: &Workload,
    plan: &Plan,
    topology: &Topology,
    session: &mut Session,
) -> anyhow::Result<Report> {
    let work = Work {
        workload,
        plan,
        topology,
    };
    let publish = work.part(0..workload.producers, 0..0, Phase::Measure)?;
    // Latencies are not taken: they would tell how long the pile lay, not how fast the broker is.
    let drain = work.part(0..0, 0..workload.consumers, Phase::WarmUp)?;
    let mut totals = publish.totals;
    totals.add(&drain.totals);
    let pile = Pile::new(
        workload.backlog,
        workload.copies(),
        &publish.stretch,
        &drain.stretch,
    );
    let mut report = Report::new(Run {
        workload: workload.clone(),
        url: plan.url.to_string(),
        server: session.server().clone(),
        checked: publish.checked,
        stretch: publish.stretch.then(&drain.stretch),
        totals,
        ending: Ending::Drained,
        left_in_queues: Some(topology.count_left(session)?),
        harvest: publish.harvest,
    });
    report.published_per_second = pile.published_per_second;
    report.received_per_second = pile.drained_per_second;
    report.pile = Some(pile);
    Ok(report)
}

struct Work<'a> {
    workload: &'a Workload,
    plan: &'a Plan,
    topology: &'a Topology,
}

impl Work<'_> {
    fn part(&self, producers: Range<u16>, consumers: Range<u16>, phase: Phase) -> anyhow::Result<Part> {
        let (workload, plan, topology) = (self.workload, self.plan, self.topology);
        let board = Arc::new(Board::new(plan.threads));
        let builder = Builder {
            workload,
            plan,
            topology,
            board: &board,
        };
        let watch = Watch {
            workload,
            plan,
            board: &board,
        };
        let (due_published, due_received) = if consumers.is_empty() {
            (workload.backlog, 0)
        } else {
            (0, workload.backlog * workload.copies())
        };
        let mut crew = Crew::hire(&builder, producers, consumers)?;
        let before = watch.look()?;
        board.enter(phase);
        wait_for(&board, due_published, due_received)?;
        let after = watch.look()?;
        let harvest = crew.go_home();
        let resident_bytes = after.broker.map_or(0, |usage| usage.resident_bytes);
        let mut stretch = watch.stretch(&before, &after, resident_bytes);
        // Deliveries may have begun before the first look: what counts is all of the part.
        stretch.totals = board.totals();
        Ok(Part {
            stretch,
            totals: board.totals(),
            harvest,
            checked: builder.checks(),
        })
    }
}

/// Waits until so much is published and confirmed, or received.
fn wait_for(board: &Board, published: u64, received: u64) -> anyhow::Result<()> {
    let mut moved = (Totals::default(), Instant::now());
    loop {
        if let Some(reason) = board.failure() {
            bail!(reason);
        }
        let done = board.publishing_done();
        let totals = board.totals();
        if done && totals.published >= published && totals.received >= received {
            return Ok(());
        }
        let progress = |totals: &Totals| (totals.published, totals.confirmed, totals.received);
        if progress(&moved.0) != progress(&totals) {
            moved = (totals, Instant::now());
        }
        ensure!(
            moved.1.elapsed() < STALLS_AFTER,
            "nothing moves any more: {} published, {} confirmed, {} received of {}",
            totals.published,
            totals.confirmed,
            totals.received,
            published.max(received)
        );
        thread::sleep(LOOK_EVERY);
    }
}
