//! A campaign: load on a broker that the nemesis ends again and again, then a full drain. What was seen is in the journal.

use crate::faults::{Fault, Schedule};
use crate::journal::{Entry, Journal};
use crate::load::{Crew, Stage, Topology};
use crate::nemesis::{Greeting, Nemesis, hello};
use anyhow::ensure;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the first backlog may take, and how long nothing may come in a drain that has messages left.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing comes any more when nothing has come for so long and the queues are empty.
const QUIET: Duration = Duration::from_millis(1000);
/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(5);
/// How often a drain asks for the queues' lengths.
const COUNT: Duration = Duration::from_millis(250);
/// Drains that leave something are begun again.
const DRAINS_MAX: usize = 5;

/// What is to be done.
pub(crate) struct Campaign {
    pub(crate) faults: Schedule,
    /// How long the load lasts; as long as the faults need if nothing is said.
    pub(crate) duration: Option<Duration>,
    pub(crate) topology: Topology,
    /// Whether the queues are to be deleted in the end.
    pub(crate) tidies: bool,
}

/// What a campaign has besides its journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aftermath {
    /// Who the broker says that it is.
    pub(crate) greeting: Greeting,
    /// Connections that were lost without a fault of ours.
    pub(crate) connections_lost: u64,
}

impl Campaign {
    /// Carries it out. Without a nemesis the broker runs already, and is left alone.
    pub(crate) async fn run(
        &self,
        url: &str,
        nemesis: &mut Option<Nemesis>,
        journal: &Arc<Journal>,
        rate: Option<f64>,
        random: &mut fastrand::Rng,
    ) -> anyhow::Result<Aftermath> {
        if let Some(nemesis) = nemesis {
            nemesis.start().await?;
        }
        let greeting = hello(url).await?;
        self.topology.declare(journal).await?;
        let crew = Crew::new(url, journal, &self.topology, rate, random);
        let mut scene = Scene {
            campaign: self,
            crew,
            journal,
            nemesis,
        };
        scene.crew.tell(|phase| phase.up = true);
        scene.fill().await?;
        scene.lives(random).await?;
        scene.drain().await?;
        let (_, _, connections_lost) = scene.crew.counts();
        if self.tidies {
            self.topology.delete().await?;
        }
        if let Some(nemesis) = nemesis {
            nemesis.finish().await?;
        }
        Ok(Aftermath {
            greeting,
            connections_lost,
        })
    }
}

/// A campaign under way.
struct Scene<'a> {
    campaign: &'a Campaign,
    crew: Crew,
    journal: &'a Arc<Journal>,
    nemesis: &'a mut Option<Nemesis>,
}

impl Scene<'_> {
    /// Waits for the backlog: a fault before it is there would prove little.
    async fn fill(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.crew.is_filled() {
            ensure!(
                begun.elapsed() < PATIENCE || self.crew.quiet() < PATIENCE,
                "the backlog does not fill: {} messages wait",
                self.crew.waiting()
            );
            self.look().await?;
        }
        Ok(())
    }

    async fn lives(&mut self, random: &mut fastrand::Rng) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mixed = self.campaign.faults.mixed(random, self.campaign.duration);
        for (life, fault) in mixed {
            self.live(life).await?;
            self.strike(fault).await?;
        }
        // The last life is a whole one as well.
        let rest = match self.campaign.duration {
            Some(duration) => duration.saturating_sub(begun.elapsed()),
            None => Duration::from_secs(1),
        };
        self.live(rest).await
    }

    /// Lets everybody work for so long.
    async fn live(&mut self, life: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + life;
        while Instant::now() < deadline {
            self.look().await?;
        }
        Ok(())
    }

    async fn strike(&mut self, fault: Fault) -> anyhow::Result<()> {
        let messages = self.crew.waiting();
        self.journal.append(&[Entry::Backlog { messages }]);
        let Some(nemesis) = self.nemesis.as_mut() else {
            return Ok(());
        };
        let ends = !matches!(fault, Fault::Pause(_));
        self.crew.tell(|phase| phase.ending = ends);
        if nemesis.strike(fault).await? {
            self.restart().await?;
        }
        Ok(())
    }

    /// Everybody leaves the old life before there is a new one.
    async fn restart(&mut self) -> anyhow::Result<()> {
        self.crew.tell(|phase| phase.up = false);
        self.crew.all_home().await;
        let Some(nemesis) = self.nemesis.as_mut() else {
            return Ok(());
        };
        nemesis.start().await?;
        let life = nemesis.life();
        self.crew
            .correct(&self.campaign.topology.look(self.journal).await?);
        self.crew.tell(|phase| {
            phase.life = life;
            phase.up = true;
            phase.ending = false;
        });
        Ok(())
    }

    /// Waits a moment; sees to whoever failed, and to a broker that died by itself.
    async fn look(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep(LOOK).await;
        self.crew.failure()?;
        let Some(nemesis) = self.nemesis.as_mut() else {
            return Ok(());
        };
        if nemesis.died()? {
            eprintln!(
                "everack audit: the broker died by itself in its life {}; it is started again",
                self.crew.life()
            );
            nemesis.bury().await?;
            self.restart().await?;
        }
        Ok(())
    }

    /// Takes everything that is left, until every queue says that it is empty.
    async fn drain(&mut self) -> anyhow::Result<()> {
        self.journal.append(&[Entry::Draining]);
        self.crew.tell(|phase| phase.stage = Stage::Drain);
        let mut left = 0;
        for _ in 0..DRAINS_MAX {
            left = self.drained().await?;
            if left > 0 {
                break;
            }
            // A queue may show something after its last count: an expired message, a late dead letter.
            tokio::time::sleep(QUIET).await;
            if self.messages().await? == 0 && self.crew.quiet() >= QUIET {
                break;
            }
        }
        self.crew.farewell().await?;
        if left == 0 {
            // Acks that did not arrive would show now.
            left = self.messages().await?;
        }
        self.journal.synced(&[Entry::Drained { left }]).await
    }

    /// Waits until the queues are empty and quiet; what is left if they do not become so.
    async fn drained(&mut self) -> anyhow::Result<u64> {
        loop {
            self.live(COUNT).await?;
            let quiet = self.crew.quiet();
            if quiet < QUIET {
                continue;
            }
            let messages = self.messages().await?;
            if messages == 0 || quiet > PATIENCE {
                return Ok(messages);
            }
        }
    }

    async fn messages(&self) -> anyhow::Result<u64> {
        let messages = self.campaign.topology.look(self.journal).await?;
        Ok(messages.iter().sum())
    }
}
