//! One queue from its count before to its count after, over broken connections.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use crate::crew::Shared;
use crate::journal::{Journal, Leg};
use crate::link::{self, Link};
use crate::plan::Task;
use crate::pump::{Pump, Refused, Stranger, identify};
use crate::reconcile::{Front, Known, Resumption, came_back, reconcile};
use crate::report::Row;

/// How long to wait before a broker that is away is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Moves queues, one after the other.
pub(crate) struct Mover {
    shared: Arc<Shared>,
    link: Option<Link>,
}

impl Mover {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, link: None }
    }

    /// Moves all of a queue; what it came to is told in any case.
    pub(crate) async fn work(&mut self, task: &Task) -> Row {
        let mut row = Row::of(task);
        if let Err(error) = self.try_work(task, &mut row).await {
            row.problem = Some(link::told(&error));
            self.hang_up().await;
        }
        row
    }

    /// Looks again at a queue that was moved, and goes on with it if its source has messages again.
    ///
    /// # Errors
    /// A broker does not answer any more; the row is as it was.
    pub(crate) async fn look_again(&mut self, task: &Task, row: &mut Row) -> anyhow::Result<()> {
        let mut now = Row::of(task);
        match self.try_work(task, &mut now).await {
            Err(error) if link::is_passing(&error) => return Err(error),
            Err(error) => {
                now.problem = Some(link::told(&error));
                self.hang_up().await;
            }
            Ok(()) => {}
        }
        now.already_there += row.already_there;
        *row = now;
        Ok(())
    }

    async fn try_work(&mut self, task: &Task, row: &mut Row) -> anyhow::Result<()> {
        let mut deadline = Instant::now() + self.shared.patience;
        let mut journal = None;
        let mut last = String::new();
        loop {
            let before = journal.as_ref().map(Journal::confirmed);
            let attempt = self.attempt(task, &mut journal, row).await;
            if let Some(journal) = &journal {
                row.take(journal);
            }
            let Err(error) = attempt else { return Ok(()) };
            if self.begins_anew(&error) {
                let journal = journal.as_mut().context("something was on its way")?;
                self.begin_anew(task, journal).await?;
                if error.is::<Refused>() {
                    return Err(error);
                }
                continue;
            }
            if !link::is_passing(&error) {
                return Err(error);
            }
            if journal.as_ref().map(Journal::confirmed) > before {
                deadline = Instant::now() + self.shared.patience;
            }
            if Instant::now() > deadline {
                return Err(error.context("given up; run it again to go on"));
            }
            let told = link::told(&error);
            if told != last {
                self.shared
                    .say(&format!("{}: {told}; trying again", task.shown()));
                last = told;
            }
            self.hang_up().await;
            sleep(PAUSE).await;
        }
    }

    /// Whether the counts as they are now are to be the ones of a new beginning.
    fn begins_anew(&self, error: &anyhow::Error) -> bool {
        error.is::<Refused>() || (error.is::<Stranger>() && self.shared.accepts_duplicates)
    }

    /// Goes on with the queue until it is done, or a connection breaks.
    async fn attempt(
        &mut self,
        task: &Task,
        journal: &mut Option<Journal>,
        row: &mut Row,
    ) -> anyhow::Result<()> {
        self.connect(&task.vhost).await?;
        let link = self.link.as_ref().context("there is a connection")?;
        let begun = match journal {
            Some(_) => Begun::Before,
            None => self.find_or_begin(link, task, journal, row).await?,
        };
        let Some(journal) = journal else { return Ok(()) };
        let resumption = match begun {
            Begun::Now => Resumption::default(),
            Begun::Before if journal.leg.reopened => {
                *journal = self.give_up_telling(link, task, journal).await?;
                Resumption::default()
            }
            Begun::Before | Begun::Again => self.resume(link, task, journal).await?,
        };
        row.already_there += resumption.moved - resumption.removed;
        let mut missing = 0;
        if journal.leg.source_before > 0 {
            let pump = Pump::prime(link, task, &self.shared, journal, &resumption).await?;
            missing = pump.run().await?;
            link::close_passage(&link.target, &task.vhost, &task.queue)
                .await
                .context("the target")?;
        }
        row.take(journal);
        self.verify(link, task, journal, row, missing).await
    }

    async fn connect(&mut self, vhost: &str) -> anyhow::Result<()> {
        let fits = |link: &Link| link.vhost == vhost && link.is_up();
        if !self.link.as_ref().is_some_and(fits) {
            self.hang_up().await;
            self.link = Some(Link::open(&self.shared.ends, vhost).await?);
        }
        Ok(())
    }

    async fn hang_up(&mut self) {
        if let Some(link) = self.link.take() {
            link.close().await;
        }
    }

    /// Finds the journal to go on with, or begins one; leaves none if the queue is done.
    async fn find_or_begin(
        &self,
        link: &Link,
        task: &Task,
        journal: &mut Option<Journal>,
        row: &mut Row,
    ) -> anyhow::Result<Begun> {
        let shared = &self.shared;
        let Some(mut found) = shared.journals.find(&task.vhost, &task.queue)? else {
            *journal = Some(self.begin(link, task).await?);
            return Ok(Begun::Now);
        };
        let (from, to) = shared.places();
        ensure!(
            found.leg.from == from && found.leg.to == to,
            "the journal in --state is of a move from {} to {}: give another directory",
            found.leg.from,
            found.leg.to
        );
        row.take(&found);
        if found.leg.target_after.is_none() {
            *journal = Some(found);
            return Ok(Begun::Before);
        }
        row.source_after = Some(
            link::count(&link.source, &task.queue)
                .await
                .context("the source")?
                .ready,
        );
        row.target_after = found.leg.target_after;
        if row.source_after == Some(0) {
            return Ok(Begun::Now);
        }
        // Moved once, and something has come since.
        if self.has_come_back(link, task, &mut found).await? {
            found.reopen()?;
            *journal = Some(found);
            return Ok(Begun::Again);
        }
        *journal = Some(self.begin_leg(link, task, 0).await?);
        Ok(Begun::Now)
    }

    /// Whether the source has messages again that were moved already: acknowledgements that were not yet on its disk when it was killed.
    async fn has_come_back(&self, link: &Link, task: &Task, journal: &mut Journal) -> anyhow::Result<bool> {
        if journal.leg.looked {
            // Whether its first message was delivered before that look is not known any more.
            ensure!(self.shared.accepts_duplicates, Untold);
            return Ok(false);
        }
        journal.looking()?;
        let first = link::first(&link.source, &task.queue)
            .await
            .context("the source")?;
        let Some(mut first) = first else { return Ok(false) };
        let front = Front {
            print: identify(task, &mut first.delivery),
            redelivered: first.delivery.redelivered,
        };
        Ok(came_back(front, &journal.messages(0..journal.published())?))
    }

    /// The first leg of a queue: nobody may work on it, on either side.
    async fn begin(&self, link: &Link, task: &Task) -> anyhow::Result<Journal> {
        let target = link::count(&link.target, &task.queue)
            .await
            .context("the target")?;
        ensure!(
            target.ready == 0 || self.shared.adds,
            "the target's queue holds {} messages of which no journal tells: --state names another directory than before, or --add adds \
             to them",
            target.ready
        );
        self.begin_leg(link, task, 0).await
    }

    async fn begin_leg(&self, link: &Link, task: &Task, earlier: u64) -> anyhow::Result<Journal> {
        let source = link::count(&link.source, &task.queue)
            .await
            .context("the source")?;
        ensure!(
            source.consumers == 0,
            "the source's queue has {} consumers: stop them, or the counts cannot agree",
            source.consumers
        );
        let target = link::count(&link.target, &task.queue)
            .await
            .context("the target")?;
        ensure!(
            target.consumers == 0,
            "the target's queue has {} consumers: stop them until it is moved, or the counts cannot agree",
            target.consumers
        );
        let (from, to) = self.shared.places();
        self.shared.journals.begin(Leg {
            vhost: task.vhost.clone(),
            queue: task.queue.clone(),
            from,
            to,
            source_before: source.ready,
            target_before: target.ready,
            earlier,
            has_gap: false,
            target_after: None,
            looked: false,
            reopened: false,
        })
    }

    /// The source had brought back messages, and was interrupted at giving them once more: now all count as delivered before, new ones too.
    async fn give_up_telling(&self, link: &Link, task: &Task, journal: &Journal) -> anyhow::Result<Journal> {
        ensure!(self.shared.accepts_duplicates, Untold);
        let source = link::quiet_count(&link.source, &task.queue, self.shared.patience)
            .await
            .context("the source")?;
        self.begin_leg(link, task, moved_until(journal, source.ready))
            .await
    }

    /// Where to go on: what the target has need not be published again.
    async fn resume(&self, link: &Link, task: &Task, journal: &mut Journal) -> anyhow::Result<Resumption> {
        let Shared {
            patience,
            accepts_duplicates,
            ..
        } = *self.shared;
        let source = link::quiet_count(&link.source, &task.queue, patience)
            .await
            .context("the source")?;
        let target = link::quiet_count(&link.target, &task.queue, patience)
            .await
            .context("the target")?;
        ensure!(
            source.consumers == 0,
            "the source's queue has {} other consumers",
            source.consumers
        );
        ensure!(
            target.consumers == 0,
            "the target's queue has {} consumers",
            target.consumers
        );
        if journal.published() == 0 && !journal.leg.has_gap {
            // Nothing was on its way: these counts are as good as those of before.
            *journal = self.begin_leg(link, task, journal.leg.earlier).await?;
            return Ok(Resumption::default());
        }
        let found = reconcile(Known::from(&*journal), source.ready, target.ready);
        let trouble = match found {
            Ok(resumption) if !journal.leg.has_gap => {
                journal.settle_at(resumption.moved)?;
                return Ok(resumption);
            }
            Ok(_) => "the target refused a message, and it is not known what it took behind that".to_owned(),
            Err(disagreement) => disagreement.to_string(),
        };
        ensure!(
            accepts_duplicates,
            "{trouble}. Which messages were moved already cannot be told; --accept-duplicates moves all that the source has"
        );
        *journal = self
            .begin_leg(link, task, moved_until(journal, source.ready))
            .await?;
        Ok(Resumption::default())
    }

    /// Takes the source as it is now for the beginning of a further leg.
    async fn begin_anew(&mut self, task: &Task, journal: &mut Journal) -> anyhow::Result<()> {
        self.hang_up().await;
        self.connect(&task.vhost).await?;
        let link = self.link.as_ref().context("there is a connection")?;
        let source = link::quiet_count(&link.source, &task.queue, self.shared.patience).await?;
        *journal = self
            .begin_leg(link, task, moved_until(journal, source.ready))
            .await?;
        Ok(())
    }

    /// Everything is moved if the numbers say so.
    async fn verify(
        &self,
        link: &Link,
        task: &Task,
        journal: &mut Journal,
        row: &mut Row,
        missing: u64,
    ) -> anyhow::Result<()> {
        let expected = journal.leg.target_before + journal.leg.source_before;
        let source = link::count(&link.source, &task.queue)
            .await
            .context("the source")?;
        let target = link::expected_count(&link.target, &task.queue, expected)
            .await
            .context("the target")?;
        row.source_after = Some(source.ready);
        row.target_after = Some(target.ready);
        ensure!(
            missing == 0,
            "{missing} messages fewer came out of the source than it had: they expired, or somebody else took them"
        );
        ensure!(
            target.ready == expected,
            "the target has {} messages and should have {expected}: a limit or an expiry, or somebody consumes or publishes there",
            target.ready
        );
        journal.finish(target.ready)?;
        ensure!(
            source.ready == 0,
            "{} messages came to the source in the meantime: stop its publishers, and run it again",
            source.ready
        );
        Ok(())
    }
}

/// Messages of a finished queue came back, and have been handed out since.
#[derive(Debug, thiserror::Error)]
#[error(
    "the source has messages again, and whether they are those that were moved cannot be told any more; --accept-duplicates moves all \
     that it has"
)]
struct Untold;

/// Whether a leg's counts were taken just now.
enum Begun {
    Now,
    Before,
    /// It was finished, and was opened again just now.
    Again,
}

/// How many messages were moved in all, when a leg is ended with so many left at the source.
fn moved_until(journal: &Journal, left: u64) -> u64 {
    journal.leg.earlier + journal.leg.source_before.saturating_sub(left)
}
