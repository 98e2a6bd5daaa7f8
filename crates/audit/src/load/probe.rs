//! Proves from outside that acks were received: a synchronous method on the same channel, now and then behind them.
//!
//! A broker handles the methods of a channel in their order, so the answer to `basic.qos` says that every ack before it has been
//! received by then. The question and its answer go into the journal; what they prove is for the verdict to say.

use crate::journal::{Entry, Journal};
use lapin::Channel;
use lapin::options::BasicQosOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How old an ack gets before it is asked after.
pub(super) const AGE: Duration = Duration::from_millis(2);
/// So many acks are asked after at once.
const ACKS: u32 = 100;

/// The questions of one consumer. One is on its way at a time.
pub(super) struct Probe {
    consumer: u32,
    channel: Channel,
    journal: Arc<Journal>,
    /// The prefetch that the channel has already: the question changes nothing.
    prefetch: u16,
    waits: Arc<AtomicBool>,
    /// Acks behind the last question, and when the first of them was sent.
    owed: u32,
    since: Instant,
}

impl Probe {
    pub(super) fn new(consumer: u32, channel: &Channel, journal: &Arc<Journal>, prefetch: u16) -> Self {
        Self {
            consumer,
            channel: channel.clone(),
            journal: Arc::clone(journal),
            prefetch,
            waits: Arc::new(AtomicBool::new(false)),
            owed: 0,
            since: Instant::now(),
        }
    }

    /// Settlements were sent: they are in the client's outgoing order by now.
    pub(super) fn settled(&mut self, count: u32) {
        if self.owed == 0 {
            self.since = Instant::now();
        }
        self.owed += count;
        if self.owed >= ACKS {
            self.ask();
        }
    }

    /// Whether something has not been asked after yet.
    pub(super) fn owes(&self) -> bool {
        self.owed > 0
    }

    /// Asks if something is old enough.
    pub(super) fn ask_when_due(&mut self) {
        if self.owes() && self.since.elapsed() >= AGE {
            self.ask();
        }
    }

    /// Asks now, unless a question is on its way.
    pub(super) fn ask(&mut self) {
        if self.waits.swap(true, Ordering::AcqRel) {
            return;
        }
        self.owed = 0;
        let (consumer, prefetch) = (self.consumer, self.prefetch);
        self.journal.append(&[Entry::Asked { consumer }]);
        let (channel, journal, waits) = (
            self.channel.clone(),
            Arc::clone(&self.journal),
            Arc::clone(&self.waits),
        );
        // Acks that are sent before this task runs are covered as well; the verdict does not count on it.
        tokio::spawn(async move {
            let answer = channel.basic_qos(prefetch, BasicQosOptions::default()).await;
            if answer.is_ok() {
                journal.append(&[Entry::Answered { consumer }]);
                waits.store(false, Ordering::Release);
            }
        });
    }

    /// Waits until everything so far is proven; `false` if that does not come about.
    pub(super) async fn all_proven(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            let waits = self.waits.load(Ordering::Acquire);
            if !waits && !self.owes() {
                return true;
            }
            if !waits {
                self.ask();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }
}
