//! One connection as the broker has it: two pipes, and between them what `server/src/net/connection_task.rs` does. Bytes come in pieces of any
//! length, and go out only as far as the client's end has room.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use everack_amqp::settings::Settings;
use everack_broker::partition::Gate;
use everack_node::link::{Link, Wake};
use everack_node::session::{Session, Setting};

use crate::node::Core;
use crate::random::Random;

/// How a connection's ends behave, drawn for each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Bytes that the broker reads at a time, at most.
    pub(super) read_bytes: u64,
    /// Bytes on their way to the client, at most.
    pub(super) room_bytes: usize,
    /// Bytes that the session encodes at a time.
    pub(super) write_bytes: usize,
    /// Unsent deliveries at which partitions hold back.
    pub(super) gate_bytes: u64,
    /// Limits of the protocol machine that change its ways: see [`Settings`].
    pub(super) inline_bytes: u32,
    pub(super) copied_bytes: u32,
    pub(super) batch_messages: u16,
}

/// See the module documentation.
pub(super) struct Connection {
    core: Rc<Core>,
    session: Session,
    link: Arc<Link>,
    habits: Habits,
    input: BytesMut,
    written: usize,
    log_in_due: bool,
    /// From the client, not read yet.
    pub(super) up: VecDeque<u8>,
    /// To the client, not read yet.
    pub(super) down: VecDeque<u8>,
    /// Bytes put into `down` so far.
    pub(super) sent_total: u64,
    read_total: u64,
    /// Everything that the client sent before this byte has taken effect in the session.
    pub(super) handled_total: u64,
    /// The client has closed its end.
    pub(super) client_gone: bool,
    /// The broker has closed its end.
    pub(super) ended: bool,
    /// When it goes on without being asked: it is in the middle of something, or has a deadline.
    pub(super) next_us: u64,
    /// The last turn found nothing to read, and asked to be told of more.
    reads: bool,
    /// The last turn found no room to write, and asked to be told of some.
    writes: bool,
}

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

impl Habits {
    /// Most connections are usual ones; some read and write in tiny pieces, some have a narrow gate.
    pub(super) fn draw(random: &mut Random) -> Self {
        let wide = random.below(3) > 0;
        Self {
            read_bytes: *random.pick(&[40, 700, 4 << 10, 64 << 10]),
            room_bytes: *random.pick(&[600, 4 << 10, 64 << 10]),
            write_bytes: *random.pick(&[300, 8 << 10, 128 << 10]),
            gate_bytes: if wide { 1 << 20 } else { random.between(1, 4 << 10) },
            inline_bytes: if wide { 64 << 10 } else { 256 },
            copied_bytes: if wide { 4 << 10 } else { 64 },
            batch_messages: *random.pick(&[2, 7, 4096]),
        }
    }
}

impl Connection {
    /// A connection that has just been accepted.
    pub(super) fn accept(core: &Rc<Core>, habits: Habits) -> Self {
        let gate = Arc::new(Gate::new(habits.gate_bytes));
        let link = Arc::new(Link::new(core.shared.next_connection(), gate, Box::new(Nobody)));
        core.shared.register(&link);
        let protocol = Settings {
            inline_body_bytes_max: habits.inline_bytes,
            copied_bytes_max: habits.copied_bytes,
            batch_messages_max: habits.batch_messages,
            ..Settings::default()
        };
        let setting = Setting {
            shared: core.shared.clone(),
            recall: core.recall.clone(),
            protocol: Arc::new(protocol),
            link: link.clone(),
            peer: "simulated".to_owned(),
        };
        Self {
            core: core.clone(),
            session: Session::new(setting, core.now()),
            link,
            habits,
            input: BytesMut::new(),
            written: 0,
            log_in_due: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            sent_total: 0,
            read_total: 0,
            handled_total: 0,
            client_gone: false,
            ended: false,
            next_us: 0,
            reads: false,
            writes: false,
        }
    }

    /// Whether its task wants a turn at this moment. It sleeps until something wakes it, as in the process: a wake-up that nobody gives is
    /// missed here as well.
    pub(super) fn wants_turn(&self, now_us: u64) -> bool {
        let readable = self.reads && (self.client_gone || !self.up.is_empty());
        let writable = self.writes && self.down.len() < self.habits.room_bytes;
        !self.ended && (readable || writable || self.next_us <= now_us || self.link.is_scheduled())
    }

    /// One round of the connection's task; says whether anything moved.
    pub(super) fn turn(&mut self, random: &mut Random, now_us: u64) -> bool {
        let mut moved = false;
        if std::mem::take(&mut self.log_in_due) {
            self.session.authenticated();
            moved = true;
        }
        if self.link.begin_turn() {
            self.session.absorb();
            moved = true;
        }
        moved |= self.session_step();
        moved |= self.write();
        let over = self.session.is_over() && self.written == self.session.output().len();
        if over || self.session.is_cut() {
            self.end();
            return true;
        }
        let deadline = self.session.deadline(self.core.now());
        if deadline.is_some_and(|at| at <= self.core.now()) {
            self.session.tick(self.core.now());
            moved = true;
        }
        moved |= self.read(random);
        self.next_us = match deadline {
            _ if moved => now_us + random.below(40),
            Some(at) => at.0 * 1000,
            None => u64::MAX,
        };
        moved
    }

    fn session_step(&mut self) -> bool {
        let moved = self.session.receive(&mut self.input, self.core.now());
        self.log_in_due |= self.session.take_credentials().is_some();
        if self.session.wants_input(self.core.now()) {
            self.handled_total = self.read_total - self.input.len() as u64;
        }
        self.submit() | moved
    }

    fn submit(&mut self) -> bool {
        let (requests, catalog) = (&mut self.session.requests, &mut self.session.catalog);
        let any = !requests.is_empty() || !catalog.is_empty();
        for (partition, request) in requests.drain(..) {
            self.core.post(usize::from(partition.0), request);
        }
        catalog
            .drain(..)
            .for_each(|request| self.core.post_catalog(request));
        any
    }

    fn write(&mut self) -> bool {
        let mut moved = false;
        loop {
            self.session.fill(self.written + self.habits.write_bytes);
            let output = self.session.output();
            let room = self.habits.room_bytes.saturating_sub(self.down.len());
            let bytes = room.min(output.len() - self.written);
            self.writes = self.written < output.len();
            if bytes == 0 {
                break;
            }
            self.down.extend(&output[self.written..self.written + bytes]);
            self.written += bytes;
            self.sent_total += bytes as u64;
            moved = true;
            if self.written == output.len() {
                output.clear();
                self.written = 0;
            }
        }
        if moved {
            self.session.note_sent(self.core.now());
        }
        self.submit() | moved
    }

    fn read(&mut self, random: &mut Random) -> bool {
        self.reads = false;
        let unwritten = self.session.output().len() - self.written;
        if unwritten > (1 << 20) || !self.session.wants_input(self.core.now()) {
            return false;
        }
        if self.up.is_empty() {
            if self.client_gone {
                self.end();
            }
            self.reads = true;
            return self.client_gone;
        }
        let bytes = random
            .between(1, self.habits.read_bytes)
            .min(self.up.len() as u64) as usize;
        self.input.extend(self.up.drain(..bytes));
        self.read_total += bytes as u64;
        self.session_step();
        true
    }

    /// The task ends: everything that the connection held goes back.
    fn end(&mut self) {
        self.ended = true;
        self.core.shared.deregister(self.link.connection);
        self.session.end();
        self.submit();
    }

    /// The client's end is gone. If it was torn off, the broker does not even get what is on its way.
    pub(super) fn hang_up(&mut self, torn: bool) {
        self.client_gone = true;
        if torn {
            self.up.clear();
            self.end();
        }
    }
}
