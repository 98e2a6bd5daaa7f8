//! A thread of the generator: one epoll loop over some of the connections.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::Context;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::board::{Board, Phase, Totals};
use crate::consumer::Consumer;
use crate::histogram::Histogram;
use crate::producer::Producer;

/// What one read takes at most.
const READ_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 256;
/// The loop wakes at least this often to see whether the phase has changed.
const NAP_NS: u64 = 20_000_000;
/// The board is brought up to date at most this often while messages flow.
const TELL_EVERY_NS: u64 = 1_000_000;
/// ... and no more often than adding up so many connections is worth.
const TELL_NS_PER_SEAT: u64 = 1_000;
/// Heartbeats are looked at this often.
const TICK_EVERY_NS: u64 = 1_000_000_000;
/// Acks that wait for their batch to fill wait this long.
const ACK_WITHIN_NS: u64 = 10_000_000;
/// Producers held back by the backlog look again after this time.
const BACKLOG_RETRY_NS: u64 = 200_000;

/// One connection of either kind.
pub enum Client {
    /// Publishes.
    Producer(Box<Producer>),
    /// Consumes.
    Consumer(Box<Consumer>),
}

struct Seat {
    client: Client,
    wants_out: bool,
    /// When it is in the heap of those waiting for their time.
    due: Option<u64>,
}

/// The bound on messages that are published and not received.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// 0: no bound.
    pub max: u64,
    /// How often each message is received.
    pub copies: u64,
    /// Producers of all workers, among whom the room is shared.
    pub producers: u64,
}

/// What a worker brings home.
#[derive(Default)]
pub struct Harvest {
    /// How long confirms took.
    pub confirm: Histogram,
    /// How long messages took from publish to delivery.
    pub end_to_end: Histogram,
    /// The first return's text.
    pub returned: Option<String>,
}

/// A thread's worth of connections.
pub struct Worker {
    index: usize,
    board: Arc<Board>,
    epoll: OwnedFd,
    seats: Vec<Seat>,
    backlog: Backlog,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    phase: Phase,
    buffer: Vec<u8>,
    told_at: u64,
    ticked_at: u64,
    acks_wait_since: Option<u64>,
    held_by_backlog: bool,
}

impl Worker {
    /// Takes the connections over. `index` is its place on the board.
    pub fn new(
        index: usize,
        board: Arc<Board>,
        clients: Vec<Client>,
        backlog: Backlog,
    ) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("cannot create an epoll")?;
        let mut seats = Vec::with_capacity(clients.len());
        for (seat, client) in clients.into_iter().enumerate() {
            epoll::add(
                &epoll,
                client.stream(),
                EventData::new_u64(seat as u64),
                EventFlags::IN,
            )?;
            seats.push(Seat {
                client,
                wants_out: false,
                due: None,
            });
        }
        Ok(Self {
            index,
            board,
            epoll,
            seats,
            backlog,
            due: BinaryHeap::new(),
            phase: Phase::Ready,
            buffer: vec![0; READ_BYTES],
            told_at: 0,
            ticked_at: 0,
            acks_wait_since: None,
            held_by_backlog: false,
        })
    }

    /// Works until the run stops. A failure goes to the board.
    pub fn run(mut self) -> Harvest {
        self.board
            .introduce(self.index, rustix::thread::gettid().as_raw_nonzero().get() as u32);
        if let Err(error) = self.work() {
            self.board.fail(format!("{error:#}"));
        }
        for seat in &mut self.seats {
            match &mut seat.client {
                Client::Producer(producer) => producer.farewell(),
                Client::Consumer(consumer) => consumer.farewell(),
            }
        }
        self.tell();
        self.harvest()
    }

    fn work(&mut self) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.follow_phase()?;
            if self.phase == Phase::Stop {
                return Ok(());
            }
            events.clear();
            let timeout = self.timeout();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("epoll"),
            }
            let idle = events.is_empty();
            for event in events.drain(..) {
                let (seat, flags) = (event.data.u64() as usize, event.flags);
                self.serve(seat, flags)?;
            }
            self.serve_due()?;
            self.chores(idle)?;
        }
    }

    /// Notices a new phase and does what it asks for.
    fn follow_phase(&mut self) -> anyhow::Result<()> {
        let phase = self.board.phase();
        if phase == self.phase {
            return Ok(());
        }
        let starting = self.phase == Phase::Ready;
        self.phase = phase;
        let timed = phase == Phase::Measure;
        for seat in &mut self.seats {
            match &mut seat.client {
                Client::Producer(producer) => producer.set_timed(timed),
                Client::Consumer(consumer) => consumer.set_timed(timed),
            }
        }
        if starting {
            self.publish_all()?;
        }
        Ok(())
    }

    fn publish_all(&mut self) -> anyhow::Result<()> {
        for seat in 0..self.seats.len() {
            self.publish(seat)?;
        }
        Ok(())
    }

    /// How long the loop may sleep.
    fn timeout(&self) -> Timespec {
        let now = self.board.now();
        let mut nanoseconds = NAP_NS;
        if let Some(Reverse((due, _))) = self.due.peek() {
            nanoseconds = nanoseconds.min(due.saturating_sub(now));
        }
        if self.acks_wait_since.is_some() {
            nanoseconds = nanoseconds.min(ACK_WITHIN_NS);
        }
        if self.held_by_backlog {
            nanoseconds = nanoseconds.min(BACKLOG_RETRY_NS);
        }
        Timespec {
            tv_sec: 0,
            tv_nsec: nanoseconds as i64,
        }
    }

    fn serve(&mut self, seat: usize, flags: EventFlags) -> anyhow::Result<()> {
        // A broken connection shows as HUP or ERR; reading it gives the reason.
        let readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
        match &mut self.seats[seat].client {
            Client::Producer(producer) => {
                if readable {
                    producer.receive(&mut self.buffer)?;
                }
                self.publish(seat)
            }
            Client::Consumer(consumer) => {
                let full = if readable {
                    consumer.receive(&mut self.buffer)?
                } else {
                    consumer.flush()?
                };
                if consumer.has_unacked() && self.acks_wait_since.is_none() {
                    self.acks_wait_since = Some(self.board.now());
                }
                self.want_out(seat, full)
            }
        }
    }

    fn publish(&mut self, seat: usize) -> anyhow::Result<()> {
        if self.phase < Phase::WarmUp {
            return Ok(());
        }
        let room = self.backlog_room();
        let Client::Producer(producer) = &mut self.seats[seat].client else {
            return Ok(());
        };
        let draining = self.phase >= Phase::Drain;
        let wants_out = producer.publish(draining, room)?;
        // No event tells when the backlog has shrunk, so whoever is bound by it looks again.
        self.held_by_backlog |= self.backlog.max > 0 && !wants_out && !draining;
        let wake_at = if draining || wants_out {
            None
        } else {
            producer.wake_at()
        };
        if let Some(due) = wake_at
            && self.seats[seat].due.is_none()
        {
            self.seats[seat].due = Some(due);
            self.due.push(Reverse((due, seat)));
        }
        self.want_out(seat, wants_out)
    }

    /// How many messages a producer may publish before the backlog is full.
    fn backlog_room(&self) -> u64 {
        let Backlog {
            max,
            copies,
            producers,
        } = self.backlog;
        if max == 0 {
            return u64::MAX;
        }
        self.tell();
        let totals = self.board.totals();
        let backlog = totals.published.saturating_sub(totals.received / copies);
        max.saturating_sub(backlog).div_ceil(producers)
    }

    /// Epoll tells us that a socket can take more only while something waits to be sent: a ready socket would
    /// otherwise wake the loop for nothing.
    fn want_out(&mut self, seat: usize, wants_out: bool) -> anyhow::Result<()> {
        let index = seat;
        let seat = &mut self.seats[index];
        if seat.wants_out != wants_out {
            seat.wants_out = wants_out;
            let flags = if wants_out {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            epoll::modify(
                &self.epoll,
                seat.client.stream(),
                EventData::new_u64(index as u64),
                flags,
            )?;
        }
        Ok(())
    }

    fn serve_due(&mut self) -> anyhow::Result<()> {
        if self.held_by_backlog {
            self.held_by_backlog = false;
            self.publish_all()?;
        }
        while let Some(&Reverse((due, seat))) = self.due.peek() {
            if due > self.board.now() {
                break;
            }
            self.due.pop();
            self.seats[seat].due = None;
            self.publish(seat)?;
        }
        Ok(())
    }

    fn chores(&mut self, idle: bool) -> anyhow::Result<()> {
        let now = self.board.now();
        if self
            .acks_wait_since
            .is_some_and(|since| now - since >= ACK_WITHIN_NS)
        {
            self.acks_wait_since = None;
            self.ack_rest()?;
        }
        if now - self.ticked_at >= TICK_EVERY_NS {
            self.ticked_at = now;
            self.tick(now)?;
        }
        let eager = self.phase == Phase::Drain || self.backlog.max > 0;
        let tell_every = TELL_EVERY_NS.max(self.seats.len() as u64 * TELL_NS_PER_SEAT);
        if idle || eager || now - self.told_at >= tell_every {
            self.told_at = now;
            self.tell();
        }
        Ok(())
    }

    fn ack_rest(&mut self) -> anyhow::Result<()> {
        for index in 0..self.seats.len() {
            if let Client::Consumer(consumer) = &mut self.seats[index].client
                && consumer.has_unacked()
            {
                let full = consumer.ack_rest()?;
                self.want_out(index, full)?;
            }
        }
        Ok(())
    }

    fn tick(&mut self, now: u64) -> anyhow::Result<()> {
        for seat in &mut self.seats {
            match &mut seat.client {
                Client::Producer(producer) => producer.tick(now)?,
                Client::Consumer(consumer) => consumer.tick(now)?,
            }
        }
        Ok(())
    }

    fn tell(&self) {
        let mut totals = Totals::default();
        let draining = self.phase >= Phase::Drain;
        let mut done = true;
        for seat in &self.seats {
            match &seat.client {
                Client::Producer(producer) => {
                    totals.add(&producer.totals());
                    done &= producer.is_done(draining);
                }
                Client::Consumer(consumer) => totals.add(&consumer.totals()),
            }
        }
        self.board.tell(self.index, &totals, done);
    }

    fn harvest(&self) -> Harvest {
        let mut harvest = Harvest::default();
        for seat in &self.seats {
            match &seat.client {
                Client::Producer(producer) => {
                    harvest.confirm.merge(producer.confirm_latency());
                    let returned = producer.returned().map(str::to_owned);
                    harvest.returned = harvest.returned.take().or(returned);
                }
                Client::Consumer(consumer) => harvest.end_to_end.merge(consumer.end_to_end()),
            }
        }
        harvest
    }
}

impl Client {
    fn stream(&self) -> &std::net::TcpStream {
        match self {
            Self::Producer(producer) => producer.link().stream(),
            Self::Consumer(consumer) => consumer.link().stream(),
        }
    }
}
