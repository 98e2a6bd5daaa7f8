//! All invariants of a partition, in one place.

use super::command::Store;
use super::consumer::{Consumer, Kind, Standing};
use super::lifecycle::Lifecycle;
use super::queue::Queue;
use super::run::{Content, Run};
use super::slots::Slot;
use super::standing::address;
use super::{Awakened, Partition};

impl<C: Content> Partition<C> {
    /// Checks everything that must hold between rounds, at the cost of looking at everything. For tests and inspection.
    pub fn validate(&self) -> Result<(), String> {
        for (slot, queue) in self.queues.iter() {
            self.validate_queue(slot, queue)
                .map_err(|why| format!("queue {}: {why}", queue.id))?;
        }
        for (slot, consumer) in self.consumers.iter() {
            self.validate_consumer(slot, consumer)
                .map_err(|why| format!("consumer {}: {why}", consumer.id))?;
        }
        self.validate_maps()?;
        self.validate_timers()?;
        self.validate_totals()
    }

    fn validate_queue(&self, slot: Slot, queue: &Queue<C>) -> Result<(), String> {
        self.validate_levels(queue)?;
        let ready = Sum::of(queue.ready_runs());
        let members = || queue.members.iter().map(|&member| &self.consumers[member]);
        let unsettled = Sum::of(members().flat_map(|member| member.window.iter().map(|held| &held.run)));
        equal("ready messages", queue.ready, ready.messages)?;
        equal("ready bytes", queue.ready_bytes, ready.bytes)?;
        equal("unsettled messages", queue.unsettled, unsettled.messages)?;
        let dead = match &queue.lifecycle {
            Some(lifecycle) => self.validate_lifecycle(slot, queue, lifecycle)?,
            None => Sum::default(),
        };
        let retained = Sum::of(store_runs(queue, Store::Retained));
        // The promise: what was accepted is settled, discarded for a reason, or still there.
        let parked = Sum::of(store_runs(queue, Store::Parked));
        let delayed = Sum::of(delayed_runs(queue));
        equal(
            "live messages",
            queue.counters.live(),
            ready.messages
                + unsettled.messages
                + parked.messages
                + retained.messages
                + delayed.messages
                + dead.messages,
        )?;
        equal(
            "live bytes",
            queue.counters.live_bytes(),
            ready.bytes + unsettled.bytes + parked.bytes + retained.bytes + delayed.bytes + dead.bytes,
        )?;
        if let Some(waiting) = &queue.delayed {
            waiting.list.validate()?;
            equal("delayed messages", waiting.messages, delayed.messages)?;
            equal("delayed bytes", waiting.bytes, delayed.bytes)?;
        }
        for (store, sum) in [(Store::Parked, parked), (Store::Retained, retained)] {
            validate_store(queue, store, sum)?;
        }
        let active = members().filter(|member| member.kind == Kind::Active).count() as u64;
        equal("consumers", u64::from(queue.consumers), active)?;
        if queue.exclusive && queue.consumers != 1 {
            return Err("an exclusive consumer is not alone".into());
        }
        for (place, &member) in queue.members.iter().enumerate() {
            equal(
                "a member's queue",
                u64::from(self.consumers[member].queue),
                u64::from(slot),
            )?;
            equal(
                "a member's place",
                self.consumers[member].member as u64,
                place as u64,
            )?;
        }
        self.validate_single(queue)?;
        self.validate_lines(slot, queue)?;
        self.validate_owners(queue)
    }

    fn validate_levels(&self, queue: &Queue<C>) -> Result<(), String> {
        for (rank, main, returned) in queue.lists() {
            main.validate()?;
            returned.validate()?;
            if returned.iter().any(|returned| returned.marks.rank != rank) {
                return Err(format!(
                    "a message lies among those of rank {rank} that is not of it"
                ));
            }
        }
        let levels = || queue.levels.iter().flat_map(|levels| levels.iter());
        if !levels().is_sorted_by(|left, right| left.rank > right.rank) {
            return Err("levels are out of order".into());
        }
        if levels().any(|level| level.is_empty() || level.rank == 0) {
            return Err("a level is there that need not be".into());
        }
        Ok(())
    }

    /// With a single active consumer, everybody else waits; nobody waits without one.
    fn validate_single(&self, queue: &Queue<C>) -> Result<(), String> {
        let standings = || {
            let active = queue.members.iter().map(|&member| &self.consumers[member]);
            active.filter(|member| member.kind == Kind::Active)
        };
        let waits = |consumer: &Consumer<C>| consumer.standing == Standing::Waiting;
        let waiting = standings().filter(|consumer| waits(consumer)).count();
        let Some(single) = &queue.single else {
            return equal("consumers that wait for their turn", 0, waiting as u64);
        };
        equal(
            "consumers that wait for their turn",
            single.waiting().count() as u64,
            waiting as u64,
        )?;
        if !single.waiting().all(|waiter| waits(&self.consumers[waiter])) {
            return Err("somebody is counted as waiting who does not".into());
        }
        match single.active {
            None => equal("consumers without an active one", 0, u64::from(queue.consumers)),
            Some(active) if waits(&self.consumers[active]) => Err("the active consumer waits".into()),
            Some(_) => equal("active consumers", 1, u64::from(queue.consumers) - waiting as u64),
        }
    }

    /// Returns the sum of the dead.
    fn validate_lifecycle(
        &self,
        slot: Slot,
        queue: &Queue<C>,
        lifecycle: &Lifecycle<C>,
    ) -> Result<Sum, String> {
        lifecycle.dead.validate()?;
        if lifecycle.measures() {
            let bytes = queue.ready_runs().map(|run| lifecycle.body_bytes(run)).sum();
            equal("bytes of ready bodies", lifecycle.ready_body_bytes, bytes)?;
        }
        if let Some(due) = lifecycle.due
            && !self.timers.contains(&(due, slot))
        {
            return Err(format!("it is to be looked at at {due}, but nobody knows"));
        }
        Ok(Sum::of(lifecycle.dead.runs()))
    }

    fn validate_lines(&self, slot: Slot, queue: &Queue<C>) -> Result<(), String> {
        if !queue
            .lines
            .is_sorted_by(|left, right| left.priority > right.priority)
        {
            return Err("lines are out of order".into());
        }
        for (at, line) in queue.lines.iter().enumerate() {
            let mut members = 0;
            for member in line.ring.iter(&self.consumers) {
                let consumer = &self.consumers[member];
                if consumer.queue != slot
                    || consumer.standing != Standing::InLine
                    || consumer.priority != line.priority
                {
                    return Err(format!(
                        "consumer {} stands in a line that is not its own",
                        consumer.id
                    ));
                }
                members += 1;
            }
            equal("members of a line's ring", u64::from(line.ring.len()), members)?;
            if !line.ring.is_empty() && at < queue.line_first {
                return Err(format!(
                    "somebody stands in line {at}, before {}",
                    queue.line_first
                ));
            }
            if !line.ring.is_empty() && queue.ready > 0 && !queue.touched {
                return Err("messages are ready, and so is a consumer".into());
            }
        }
        Ok(())
    }

    /// No message has two owners, and all numbers are below the next one.
    fn validate_owners(&self, queue: &Queue<C>) -> Result<(), String> {
        let windows = queue
            .members
            .iter()
            .flat_map(|&member| self.consumers[member].window.iter());
        let ready = queue.ready_runs();
        let held = windows.map(|held| &held.run);
        let dead = queue.lifecycle.iter().flat_map(|lifecycle| lifecycle.dead.runs());
        let mut runs: Vec<&Run<C>> = ready
            .chain(held)
            .chain(store_runs(queue, Store::Parked))
            .chain(store_runs(queue, Store::Retained))
            .chain(delayed_runs(queue))
            .chain(dead)
            .collect();
        runs.sort_unstable_by_key(|run| run.first);
        for pair in runs.windows(2) {
            if pair[0].end() > pair[1].first {
                return Err(format!("message {} is there twice", pair[1].first));
            }
        }
        if runs.last().is_some_and(|last| last.end() > queue.next_seq) {
            return Err(format!(
                "a message has a number that is not below {}",
                queue.next_seq
            ));
        }
        match runs
            .iter()
            .find(|run| !run.location.is_durable() && run.content.is_none())
        {
            Some(run) => Err(format!("message {} is nowhere", run.first)),
            None => Ok(()),
        }
    }

    fn validate_consumer(&self, slot: Slot, consumer: &Consumer<C>) -> Result<(), String> {
        consumer.window.validate()?;
        let held = Sum::of(consumer.window.iter().map(|held| &held.run));
        equal("messages in the window", consumer.held(), held.messages)?;
        if consumer.otherwise + consumer.held() > consumer.next_delivery {
            return Err("more deliveries have ended than there were".into());
        }
        if held.messages > 0 && consumer.oldest_at().is_none() {
            return Err("it holds messages, and nobody knows since when".into());
        }
        if consumer
            .window
            .back()
            .is_some_and(|back| back.delivery + u64::from(back.run.count()) > consumer.next_delivery)
        {
            return Err("a delivery has a number that was not given yet".into());
        }
        let fits = match consumer.kind {
            Kind::Active => consumer.standing != Standing::Aside,
            Kind::Cancelled => consumer.standing == Standing::Aside && consumer.unsettled > 0,
            Kind::Getter => consumer.standing == Standing::Aside,
        };
        if !fits {
            return Err(format!(
                "{:?} but {:?} with {} messages",
                consumer.kind, consumer.standing, consumer.unsettled
            ));
        }
        if consumer.standing == Standing::Sated && consumer.credit() > 0 {
            return Err("sated, but it has credit".into());
        }
        if consumer.standing == Standing::Yielding && consumer.held() == 0 {
            return Err("it makes room, and holds nothing".into());
        }
        if consumer.standing == Standing::InLine && consumer.credit() == 0 {
            return Err("in line, but it has no credit".into());
        }
        let ring = match consumer.standing {
            Standing::AtGate => Awakened::Gate(consumer.connection),
            Standing::AtLimit => Awakened::Limit(consumer.limit.as_ref().map_or(0, address)),
            _ => return Ok(()),
        };
        if !self
            .ring(ring)
            .is_some_and(|ring| ring.iter(&self.consumers).any(|member| member == slot))
        {
            return Err("it waits in no ring".into());
        }
        Ok(())
    }

    /// Every timer belongs to somebody, and everybody who waits has one.
    fn validate_timers(&self) -> Result<(), String> {
        let consumers = self.consumers.iter().filter_map(|(slot, consumer)| {
            let at = consumer.patience.as_ref()?.timer?;
            Some((at, slot))
        });
        let consumers: Vec<_> = consumers.collect();
        if !consumers.iter().all(|timer| self.impatient.contains(timer)) {
            return Err("a consumer's timer is not among the timers".into());
        }
        equal(
            "timers of consumers",
            self.impatient.len() as u64,
            consumers.len() as u64,
        )?;
        let forgotten = self.consumers.iter().find(|(_, consumer)| {
            let patience = consumer.patience.as_ref();
            consumer.held() > 0 && patience.is_some_and(|patience| patience.timer.is_none())
        });
        if let Some((_, consumer)) = forgotten {
            return Err(format!("consumer {} holds messages for ever", consumer.id));
        }
        let waiting = self.queues.iter().filter(|(_, queue)| {
            let delayed = queue.delayed.as_ref();
            delayed.is_some_and(|delayed| delayed.timer.is_some())
        });
        let forgotten = self.queues.iter().find(|(_, queue)| {
            let delayed = queue.delayed.as_ref();
            let timeless = delayed.is_some_and(|delayed| delayed.messages > 0 && delayed.timer.is_none());
            let lifecycle = queue.lifecycle.as_ref();
            timeless
                && lifecycle.is_none_or(|lifecycle| !lifecycle.terms.scheduled || lifecycle.dead.is_open())
        });
        if let Some((_, queue)) = forgotten {
            return Err(format!("messages of queue {} wait for ever", queue.id));
        }
        equal(
            "timers of queues",
            self.retrying.len() as u64,
            waiting.count() as u64,
        )
    }

    fn validate_maps(&self) -> Result<(), String> {
        equal(
            "queues by id",
            self.queue_slots.len() as u64,
            self.queues.iter().count() as u64,
        )?;
        equal(
            "consumers by id",
            self.consumer_slots.len() as u64,
            self.consumers.iter().count() as u64,
        )?;
        let waiting = |standing| {
            self.consumers
                .iter()
                .filter(|(_, consumer)| consumer.standing == standing)
                .count() as u64
        };
        let in_rings = |lens: u32| u64::from(lens);
        equal(
            "waiting at gates",
            in_rings(self.at_gate.values().map(|ring| ring.len()).sum()),
            waiting(Standing::AtGate),
        )?;
        equal(
            "waiting at limits",
            in_rings(self.at_limit.values().map(|ring| ring.len()).sum()),
            waiting(Standing::AtLimit),
        )
    }

    fn validate_totals(&self) -> Result<(), String> {
        let (mut ready, mut resident) = (Sum::default(), 0);
        for (_, queue) in self.queues.iter() {
            for run in queue.ready_runs() {
                ready.add(run);
                if run.location.is_durable() && run.content.is_some() {
                    resident += u64::from(run.bytes);
                }
            }
        }
        equal("ready messages", self.totals.ready, ready.messages)?;
        equal("ready bytes", self.totals.ready_bytes, ready.bytes)?;
        equal("resident bytes", self.totals.resident_bytes, resident)?;
        let active = self
            .consumers
            .iter()
            .filter(|(_, consumer)| consumer.kind == Kind::Active)
            .count() as u64;
        equal("consumers", self.totals.consumers, active)
    }
}

fn delayed_runs<C: Content>(queue: &Queue<C>) -> impl Iterator<Item = &Run<C>> {
    let delayed = queue.delayed.iter();
    delayed
        .flat_map(|delayed| delayed.list.iter())
        .map(|delayed| &delayed.run)
}

fn store_runs<C: Content>(queue: &Queue<C>, store: Store) -> impl Iterator<Item = &Run<C>> {
    let parking = queue.store(store).into_iter();
    parking
        .flat_map(|parking| parking.list.iter())
        .map(|parked| &parked.run)
}

fn validate_store<C: Content>(queue: &Queue<C>, store: Store, found: Sum) -> Result<(), String> {
    let Some(parking) = queue.store(store) else {
        return Ok(());
    };
    parking.list.validate()?;
    if parking.list.iter().any(|parked| parked.why.store() != store) {
        return Err(format!("{store:?} has a message that does not belong there"));
    }
    equal("messages set aside", parking.messages, found.messages)?;
    equal("bytes set aside", parking.bytes, found.bytes)
}

#[derive(Clone, Copy, Default)]
struct Sum {
    messages: u64,
    bytes: u64,
}

impl Sum {
    fn of<'a, C: 'a>(runs: impl Iterator<Item = &'a Run<C>>) -> Self {
        let mut sum = Self::default();
        runs.for_each(|run| sum.add(run));
        sum
    }

    fn add<C>(&mut self, run: &Run<C>) {
        self.messages += u64::from(run.count());
        self.bytes += u64::from(run.bytes);
    }
}

fn equal(what: &str, counted: u64, found: u64) -> Result<(), String> {
    if counted == found {
        Ok(())
    } else {
        Err(format!("{what}: counted {counted}, found {found}"))
    }
}
