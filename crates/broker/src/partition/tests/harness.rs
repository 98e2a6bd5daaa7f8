//! A partition that is validated after every round, and a language in which cases are short.

use std::fmt::Write;
use std::sync::Arc;

use crate::ids::{ConnectionId, ConsumerId, Location, Millis, QueueId, Seq, Ticket};
use crate::partition::{
    Command, Content, Delivery, Effect, Gate, Limits, Move, Partition, Rules, Run, SettleOutcome,
    SettleReason, SharedLimit,
};
use crate::terms::Terms;

pub(super) const QUEUE: QueueId = QueueId(1);
pub(super) const TICKET: Ticket = Ticket(7);

/// Runs `script` on a fresh partition and compares what its last round tells.
pub(super) fn check(script: impl FnOnce(&mut Bench), expected: &str) {
    check_with(Bench::new(), script, expected);
}

pub(super) fn check_with(mut bench: Bench, script: impl FnOnce(&mut Bench), expected: &str) {
    script(&mut bench);
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(bench.round().lines().collect::<Vec<_>>(), expected);
}

/// A batch whose messages are known by their marks.
#[derive(Clone, Debug)]
pub(super) struct Batch(Arc<Vec<(u64, u64)>>);

impl Batch {
    /// `count` messages of `size` bytes each.
    pub(super) fn even(count: u16, size: u64) -> Self {
        Self(Arc::new((0..u64::from(count)).map(|at| (at, size)).collect()))
    }

    /// `count` messages with marks from `first` on, of various sizes.
    pub(super) fn marked(first: u64, count: u16) -> Self {
        Self(Arc::new(
            (0..u64::from(count))
                .map(|at| (first + at, (first + at * 7) % 31))
                .collect(),
        ))
    }

    pub(super) fn mark(&self, index: u16) -> u64 {
        self.0[usize::from(index)].0
    }

    pub(super) fn owners(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(super) fn size(&self, from: u16, to: u16) -> u64 {
        self.0[usize::from(from)..usize::from(to)]
            .iter()
            .map(|message| message.1)
            .sum()
    }
}

impl Content for Batch {
    fn bytes(&self, from: u16, to: u16) -> u64 {
        self.size(from, to)
    }

    fn compact(&self, from: u16, to: u16) -> Option<Self> {
        let part = &self.0[usize::from(from)..usize::from(to)];
        (part.len() * 4 < self.0.len()).then(|| Self(Arc::new(part.to_vec())))
    }

    fn thinned(&self, from: u16, to: u16) -> Option<Self> {
        let kept = usize::from(from)..usize::from(to);
        let nothing = (u64::MAX, 0);
        let entries = self.0.iter().enumerate();
        let thinned = entries.map(|(index, entry)| if kept.contains(&index) { *entry } else { nothing });
        (kept.len() * 8 < self.0.len()).then(|| Self(Arc::new(thinned.collect())))
    }

    fn pinned(&self) -> u64 {
        self.size(0, self.0.len() as u16)
    }

    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A run of messages of 10 bytes each, at `location` in segment 1 (0 is nowhere), indices from 0.
pub(super) fn run(first: u64, count: u16, location: u64) -> Run<Batch> {
    let location = if location == 0 {
        Location::NOWHERE
    } else {
        Location(1 << 32 | location)
    };
    let content = Some(Batch::even(count, 10));
    Run {
        first: Seq(first),
        location,
        content,
        bytes: u32::from(count) * 10,
        from: 0,
        to: count,
    }
}

/// One partition with queue 1 in it, and a gate for each connection.
pub(super) struct Bench {
    pub(super) partition: Partition<Batch>,
    pub(super) effects: Vec<Effect<Batch>>,
    now: Millis,
    gates: Vec<Arc<Gate>>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Limits::default(), 1 << 40)
    }

    /// Queue 1 has rules.
    pub(super) fn ruled(rules: Rules) -> Self {
        let mut bench = Self::empty(Limits::default(), 1 << 40);
        bench.create(1, rules);
        bench
    }

    pub(super) fn with(limits: Limits, gate: u64) -> Self {
        let mut bench = Self::empty(limits, gate);
        bench.create(1, Rules::default());
        bench
    }

    /// Queue 1 keeps its messages on these terms.
    pub(super) fn on(terms: Terms) -> Self {
        let mut bench = Self::empty(Limits::default(), 1 << 40);
        bench.create(
            1,
            Rules {
                terms,
                ..Rules::default()
            },
        );
        bench.round();
        bench
    }

    fn empty(limits: Limits, gate: u64) -> Self {
        let gates = (0..10).map(|_| Arc::new(Gate::new(gate))).collect();
        Self {
            partition: Partition::new(limits),
            effects: Vec::new(),
            now: Millis(0),
            gates,
        }
    }

    pub(super) fn create(&mut self, queue: u64, rules: Rules) {
        self.apply(Command::CreateQueue {
            queue: QueueId(queue),
            durable: true,
            auto_delete: false,
            rules: Box::new(rules),
        });
    }

    pub(super) fn apply(&mut self, command: Command<Batch>) {
        self.partition.apply(command, self.now);
    }

    /// Time passes until so many milliseconds from the beginning.
    pub(super) fn pass(&mut self, now: u64) {
        self.now = Millis(now);
        self.partition.pass(self.now);
    }

    /// Messages of queue 1 expire at a time.
    pub(super) fn expire(&mut self, first: u64, count: u32, at: u64) {
        self.apply(Command::Expire {
            queue: QUEUE,
            first: Seq(first),
            count,
            at: Millis(at),
        });
    }

    /// Ends the round and says what happened, one effect a line.
    pub(super) fn round(&mut self) -> String {
        self.partition.finish(&mut self.effects);
        self.partition.validate().expect("all invariants hold");
        let mut told = String::new();
        for effect in self.effects.drain(..) {
            writeln!(told, "{}", describe(&effect)).expect("a string takes all");
        }
        told.trim_end().to_string()
    }

    pub(super) fn gate(&self, connection: u64) -> &Arc<Gate> {
        &self.gates[connection as usize]
    }

    pub(super) fn enqueue(&mut self, run: Run<Batch>) {
        self.apply(Command::Enqueue {
            queue: QueueId(1),
            run,
        });
    }

    pub(super) fn enqueue_ranked(&mut self, rank: i16, run: Run<Batch>) {
        self.apply(Command::EnqueueRanked {
            queue: QueueId(1),
            run,
            rank,
        });
    }

    /// Consumer `n` of connection `n` on queue 1.
    pub(super) fn consume(&mut self, consumer: u64, prefetch: u16) {
        self.consume_as(
            consumer,
            Wish {
                prefetch,
                ..Wish::default()
            },
        );
    }

    pub(super) fn consume_as(&mut self, consumer: u64, wish: Wish) {
        let Wish {
            queue,
            connection,
            no_ack,
            exclusive,
            priority,
            prefetch,
            patience_millis,
            limit,
        } = wish;
        let connection = connection.unwrap_or(consumer);
        self.apply(Command::Consume {
            consumer: ConsumerId(consumer),
            connection: ConnectionId(connection),
            queue: QueueId(queue),
            no_ack,
            exclusive,
            priority,
            prefetch,
            patience_millis,
            gate: self.gates[connection as usize].clone(),
            limit,
            ticket: Ticket(consumer),
        });
    }

    pub(super) fn get(&mut self, consumer: u64, no_ack: bool) {
        let (consumer, connection, queue) = (ConsumerId(consumer), ConnectionId(9), QueueId(1));
        self.apply(Command::Get {
            consumer,
            connection,
            queue,
            no_ack,
            ticket: Ticket(7),
        });
    }

    pub(super) fn settle(&mut self, consumer: u64, first: u64, count: u32, outcome: SettleOutcome) {
        self.apply(Command::Settle {
            consumer: ConsumerId(consumer),
            first,
            count,
            outcome,
        });
    }

    pub(super) fn ack(&mut self, consumer: u64, first: u64, count: u32) {
        self.settle(consumer, first, count, SettleOutcome::Done);
    }

    pub(super) fn nack(&mut self, consumer: u64, first: u64, count: u32) {
        self.settle(consumer, first, count, SettleOutcome::Requeue);
    }

    pub(super) fn reject(&mut self, consumer: u64, first: u64, count: u32) {
        self.settle(consumer, first, count, SettleOutcome::RequeueFailed);
    }

    pub(super) fn purge(&mut self, ticket: Ticket) {
        self.apply(Command::Purge { queue: QUEUE, ticket });
    }

    /// May the queue be deleted if it is empty?
    pub(super) fn check_empty(&mut self, ticket: Ticket) {
        self.apply(Command::CheckDelete {
            queue: QUEUE,
            if_unused: false,
            if_empty: true,
            ticket,
        });
    }

    pub(super) fn die(&mut self, consumer: u64) {
        self.apply(Command::ReturnAll {
            consumer: ConsumerId(consumer),
        });
    }

    pub(super) fn relocate(&mut self, moves: &[(u64, u16, u64, u16)]) {
        let moves = moves.iter().map(|&(first, count, location, from)| Move {
            first: Seq(first),
            count,
            location: Location(2 << 32 | location),
            from,
        });
        self.apply(Command::Relocate {
            queue: QueueId(1),
            moves: moves.collect(),
        });
    }
}

/// How a consumer differs from the usual one.
pub(super) struct Wish {
    pub(super) queue: u64,
    pub(super) connection: Option<u64>,
    pub(super) no_ack: bool,
    pub(super) exclusive: bool,
    pub(super) priority: i32,
    pub(super) prefetch: u16,
    pub(super) patience_millis: Option<u64>,
    pub(super) limit: Option<Arc<SharedLimit>>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            queue: 1,
            connection: None,
            no_ack: false,
            exclusive: false,
            priority: 0,
            prefetch: 0,
            patience_millis: None,
            limit: None,
        }
    }
}

fn describe(effect: &Effect<Batch>) -> String {
    match effect {
        Effect::Deliver(delivery) => describe_delivery(delivery),
        Effect::Got {
            ticket,
            delivery,
            remaining,
        } => format!("{ticket}: got {}, {remaining} left", describe_delivery(delivery)),
        Effect::GotEmpty { ticket } => format!("{ticket}: empty"),
        Effect::Settled {
            queue,
            first,
            count,
            location,
            bytes,
            reason,
        } => {
            format!(
                "q{queue} {} {}b @{} {}",
                span(*first, *count),
                bytes,
                place(*location),
                word(*reason)
            )
        }
        Effect::Returned {
            queue,
            first,
            count,
            durable,
            failed,
            ..
        } => {
            format!(
                "q{queue} {} back{}{}",
                span(*first, *count),
                if *durable { "" } else { " transient" },
                if *failed { " failed" } else { "" }
            )
        }
        Effect::Parked {
            queue, first, count, ..
        } => format!("q{queue} {} parked", span(*first, *count)),
        Effect::Retained {
            queue,
            first,
            count,
            until,
        } => format!("q{queue} {} retained until {until}", span(*first, *count)),
        Effect::Unparked {
            queue,
            first,
            count,
            expires,
            ..
        } => match expires {
            Some(at) => format!("q{queue} {} unparked until {at}", span(*first, *count)),
            None => format!("q{queue} {} unparked", span(*first, *count)),
        },
        Effect::Rejected {
            queue, first, count, ..
        } => format!("q{queue} {} rejected", span(*first, *count)),
        Effect::ConsumeOk { ticket } => format!("{ticket}: consuming"),
        Effect::Cancelled { ticket } => format!("{ticket}: cancelled"),
        Effect::Refused { ticket, refusal } => format!("{ticket}: {refusal:?}"),
        Effect::Counts {
            ticket,
            messages,
            consumers,
        } => format!("{ticket}: {messages} messages, {consumers} consumers"),
        Effect::DeleteAllowed { ticket, messages } => format!("{ticket}: delete with {messages}"),
        Effect::Purged { ticket, messages } => format!("{ticket}: purged {messages}"),
        Effect::ConsumerGone { consumer, .. } => format!("c{consumer} gone"),
        Effect::TimedOut { consumer, .. } => format!("c{consumer} timed out"),
        Effect::Unused { queue } => format!("q{queue} unused"),
        Effect::LimitFreed { consumer, .. } => format!("c{consumer} limit freed"),
        Effect::Relocated {
            queue,
            first,
            count,
            old,
            location,
            bytes,
        } => {
            format!(
                "q{queue} {} {bytes}b {} to {}",
                span(*first, *count),
                place(*old),
                place(*location)
            )
        }
        Effect::Died { queue, death, run } => {
            format!("q{queue} {} died: {death:?}", span(run.first, run.count().into())).to_lowercase()
        }
        Effect::Orphaned { queue, run } => {
            format!("q{queue} orphaned {}", span(run.first, run.count().into()))
        }
    }
}

/// `c1 <- 5..8 #0 @1:7[2] again 1`: consumer, messages, delivery number, location and index; `lean` if without content.
fn describe_delivery(delivery: &Delivery<Batch>) -> String {
    let Delivery {
        consumer,
        run,
        first_delivery,
        marks,
        redelivered,
        ..
    } = delivery;
    let mut told = format!(
        "c{consumer} <- {} #{first_delivery}",
        span(run.first, run.count().into())
    );
    if run.location.is_durable() {
        write!(told, " @{}[{}]", place(run.location), run.from).expect("a string takes all");
    }
    if run.content.is_none() {
        told += " lean";
    }
    if *redelivered {
        write!(told, " again {}", marks.deliveries).expect("a string takes all");
    }
    if marks.failures > 0 {
        write!(told, " failed {}", marks.failures).expect("a string takes all");
    }
    told
}

fn span(first: Seq, count: u32) -> String {
    if count == 1 {
        format!("{first}")
    } else {
        format!("{first}..{}", first.plus(u64::from(count)))
    }
}

fn place(location: Location) -> String {
    if location.is_durable() {
        format!("{}:{}", location.0 >> 32, location.0 & 0xffff_ffff)
    } else {
        "-".into()
    }
}

fn word(reason: SettleReason) -> String {
    format!("{reason:?}").to_lowercase()
}
