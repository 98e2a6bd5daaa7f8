//! Runs a passive machine on whichever thread brings work: a mailbox and a combining lock.
//!
//! A thread of its own for each partition would cost a wake-up a batch, up to nineteen times the CPU where batches are small
//! (docs/decisions/0001). So the one that posts tries the lock: if it is free, it drains the mailbox, its own request included;
//! if not, it leaves, because the holder looks at the mailbox again after every round. Nobody spins and nobody waits.

use everack_node::machine::Machine;
use everack_node::outbox::Outbox;
use parking_lot::Mutex;

use super::Engine;

/// While one round is carried out, other threads may be at the next ones.
const SPARES_MAX: usize = 4;

/// See the module documentation.
pub(crate) struct Runner<M: Machine> {
    mailbox: Mutex<Vec<M::Request>>,
    running: Mutex<Running<M>>,
}

struct Running<M: Machine> {
    machine: M,
    batch: Vec<M::Request>,
    /// Empty ones, whose lists have grown to what a round needs.
    spares: Vec<Outbox>,
}

impl<M: Machine> Runner<M> {
    pub(crate) fn new(machine: M) -> Self {
        let running = Running {
            machine,
            batch: Vec::new(),
            spares: Vec::new(),
        };
        Self {
            mailbox: Mutex::new(Vec::new()),
            running: Mutex::new(running),
        }
    }

    /// Leaves a request; it is carried out by the next [`Runner::run`] of anybody.
    pub(crate) fn post(&self, request: M::Request) {
        self.mailbox.lock().push(request);
    }

    /// Leaves all of `requests`, in their order.
    pub(crate) fn post_all(&self, requests: impl IntoIterator<Item = M::Request>) {
        self.mailbox.lock().extend(requests);
    }

    /// Drains the mailbox, unless somebody else is at it.
    pub(crate) fn run(&self, engine: &Engine) {
        let mut carried: Option<Outbox> = None;
        loop {
            let Some(mut running) = self.running.try_lock() else {
                return;
            };
            let Running {
                machine,
                batch,
                spares,
            } = &mut *running;
            if spares.len() < SPARES_MAX {
                spares.extend(carried.take().filter(Outbox::is_small));
            }
            std::mem::swap(&mut *self.mailbox.lock(), batch);
            if batch.is_empty() {
                drop(running);
                // A request may have come between the look and the unlock; its sender found us at it and left.
                if self.mailbox.lock().is_empty() {
                    return;
                }
                continue;
            }
            engine.slumber.stir();
            let mut outbox = spares.pop().unwrap_or_default();
            let now = engine.clock.now();
            for request in batch.drain(..) {
                machine.handle(request, now, &mut outbox);
            }
            machine.finish(now, &mut outbox);
            // Under the lock, so that the jobs and answers of two rounds never change places.
            engine.carry(&mut outbox);
            drop(running);
            engine.settle_round(&mut outbox);
            debug_assert!(outbox.is_empty(), "a round is carried whole");
            carried = Some(outbox);
        }
    }

    /// Looks at the machine between two rounds; waits for the lock. Whoever brought work meanwhile found the lock taken and left
    /// it to us, so the mailbox is drained afterwards.
    pub(crate) fn inspect<T>(&self, engine: &Engine, look: impl FnOnce(&mut M) -> T) -> T {
        let seen = look(&mut self.running.lock().machine);
        self.run(engine);
        seen
    }
}
