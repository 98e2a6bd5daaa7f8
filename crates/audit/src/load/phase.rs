//! What everybody is told: the broker's life, whether it is up, and how far the run is.

use tokio::sync::watch;

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Publishers publish, consumers keep the backlog.
    Load,
    /// Nobody publishes any more; consumers take everything that is left, and all of it.
    Drain,
    /// Everybody says goodbye.
    Stop,
}

/// What everybody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    /// The broker's life, counted from 0.
    pub(crate) life: u32,
    /// It answers. Between a fault and the next start it does not.
    pub(crate) up: bool,
    /// This life is being ended: a connection that is lost now is no surprise.
    pub(crate) ending: bool,
    pub(crate) stage: Stage,
}

/// Somebody's ear.
#[derive(Clone)]
pub(crate) struct Ear(pub(crate) watch::Receiver<Phase>);

impl Ear {
    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the broker is up, or until it is too late for somebody who works up to `last`.
    pub(crate) async fn up(&mut self, last: Stage) -> Option<Phase> {
        let wanted = |phase: &Phase| phase.up || phase.stage > last;
        let phase = *self.0.wait_for(wanted).await.ok()?;
        Some(phase).filter(|phase| phase.stage <= last)
    }

    /// Waits until this life is over.
    pub(crate) async fn life_over(&mut self, life: u32) {
        // An error means that the run is over, and every life with it.
        let over = |phase: &Phase| phase.life != life || !phase.up;
        let _ = self.0.wait_for(over).await;
    }

    /// Waits until the run has come this far.
    pub(crate) async fn stage(&mut self, stage: Stage) {
        let _ = self.0.wait_for(|phase| phase.stage >= stage).await;
    }
}
