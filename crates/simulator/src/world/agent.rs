//! One client of a history: connects, does one thing after another as its chance has it, believes what it is told, and dies now and then.
//!
//! [`say`](super::say) holds what it can say, [`hear`](super::hear) what it makes of the answers.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use everack_amqp::wire::frame;
use everack_amqp::wire::method::{Method, channel, connection};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::table::Table;

use super::desk::Desk;
use super::network::{Connection, Habits};
use crate::book::{Binding, ChannelId, Event, Name, Number, TransactionId};
use crate::node::Core;
use crate::random::Random;

/// See the module documentation.
pub(super) struct Agent {
    pub(super) random: Random,
    /// When it does its next thing.
    pub(super) next_us: u64,
    /// It does not read before this moment.
    pub(super) reads_from_us: u64,
    /// It does nothing new any more.
    pub(super) rests: bool,
    pub(super) line: Option<Line>,
    /// Connections that it has given up and the broker has not.
    pub(super) lingering: Vec<(Connection, Left)>,
}

/// A connection and what the client has on it.
pub(super) struct Line {
    pub(super) connection: Connection,
    pub(super) inbox: Vec<u8>,
    pub(super) phase: Phase,
    pub(super) channels: Vec<Chan>,
    /// Bytes written by the client so far.
    pub(super) written_total: u64,
    /// Bytes read by the client so far.
    pub(super) heard_total: u64,
    /// What came behind this byte was sent after the disk had failed.
    pub(super) fatal_total: Option<u64>,
    /// Frames that are held back, with the bug that lets confirms overtake returns.
    pub(super) held_back: Vec<Number>,
}

/// What a connection that is given up leaves behind until the broker has noticed.
#[derive(Default)]
pub(super) struct Left {
    pub(super) channels: Vec<ChannelId>,
    pub(super) busy: Vec<Name>,
    pub(super) purges: Vec<Name>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Handshake,
    Open,
    Closing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    Confirm,
    Transaction,
}

/// A channel as its client has it.
pub(super) struct Chan {
    pub(super) number: u16,
    pub(super) id: ChannelId,
    pub(super) mode: Mode,
    pub(super) state: ChanState,
    pub(super) awaiting: VecDeque<Op>,
    pub(super) content: Option<Content>,
    /// Publishes that are not confirmed, by their number on the channel.
    pub(super) outstanding: BTreeMap<u64, Number>,
    pub(super) published: u64,
    pub(super) transaction: Option<TransactionId>,
    pub(super) consumers: BTreeMap<String, (u64, Name, bool)>,
    /// Settlements whose bytes end here in the stream of the connection, oldest first.
    pub(super) receipts: VecDeque<(u64, Vec<u64>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ChanState {
    Closed,
    Opening,
    Open,
    Closing,
}

/// A question whose answer is awaited.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Open,
    Select,
    Qos,
    Declare(Name),
    Delete(Name),
    Bind(Binding),
    Unbind(Binding),
    Purge(Name),
    Consume,
    Cancel(String),
    /// Of which queue, whether it is settled by being handed over, and when it was asked for.
    Get(Name, bool, u64),
    Recover,
    Commit(TransactionId),
    Rollback(TransactionId),
    Close,
}

/// Content that is coming in.
pub(super) struct Content {
    pub(super) head: Method,
    pub(super) properties: Vec<u8>,
    pub(super) bytes: u64,
    pub(super) body: Vec<u8>,
}

const FRAME_MAX: u32 = 4096;

impl Agent {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            next_us: 0,
            reads_from_us: 0,
            rests: false,
            line: None,
            lingering: Vec::new(),
        }
    }

    /// Connects and says all that a log-in takes, as far as it can be said at once.
    pub(super) fn connect(&mut self, core: &Rc<Core>, desk: &mut Desk) {
        desk.hit("connections");
        let connection = Connection::accept(core, Habits::draw(&mut self.random));
        let mut line = Line {
            connection,
            inbox: Vec::new(),
            phase: Phase::Handshake,
            channels: Vec::new(),
            written_total: 0,
            heard_total: 0,
            fatal_total: None,
            held_back: Vec::new(),
        };
        line.write(&frame::PROTOCOL_HEADER);
        let capabilities = Table::new()
            .with("connection.blocked", true)
            .with("consumer_cancel_notify", true);
        let start_ok = connection::StartOk {
            client_properties: Table::new().with("capabilities", capabilities),
            mechanism: short("PLAIN"),
            response: b"\0guest\0guest".to_vec(),
            locale: short("en_US"),
        };
        line.say(0, start_ok);
        let percent = desk.taste.transactions;
        for number in [1, 2] {
            let mode = match self.random.below(100) {
                chance if chance < percent => Mode::Transaction,
                chance if chance < 95 => Mode::Confirm,
                _ => Mode::Plain,
            };
            line.channels.push(Chan::new(number, desk.channel(), mode));
        }
        self.line = Some(line);
    }

    /// Moves what has arrived from the connection to the client, and has it read.
    pub(super) fn listen(&mut self, desk: &mut Desk) {
        let Some(line) = &mut self.line else { return };
        let down = &mut line.connection.down;
        if down.is_empty() {
            if line.connection.ended {
                // Closed by the broker, politely or not.
                self.give_up(desk, true);
            }
            return;
        }
        let bytes = self.random.between(1, down.len() as u64) as usize;
        line.inbox.extend(down.drain(..bytes));
        line.hear(desk);
        if line.phase == Phase::Closing && line.connection.ended && line.connection.down.is_empty() {
            self.give_up(desk, true);
        }
    }

    /// What the broker has taken in of what was settled.
    pub(super) fn note_receipts(&mut self, desk: &mut Desk) {
        let Some(line) = &mut self.line else { return };
        let handled = line.connection.handled_total;
        for chan in &mut line.channels {
            // An answer that is awaited may turn out to be the end of the channel; then what came behind the question was ignored.
            while chan.awaiting.is_empty() && chan.receipts.front().is_some_and(|(end, _)| *end <= handled) {
                if let Some((_, tags)) = chan.receipts.pop_front() {
                    desk.see(Event::SettleReceived(chan.id, tags));
                }
            }
        }
    }

    /// The connection is gone, for the client. `over`: the broker has ended it as well, or never will know.
    pub(super) fn give_up(&mut self, desk: &mut Desk, over: bool) {
        let Some(mut line) = self.line.take() else { return };
        let mut left = Left::default();
        for chan in &mut line.channels {
            left.take_from(chan);
            desk.see(Event::ChannelLost(chan.id));
        }
        if over {
            left.forget(desk);
        } else {
            self.lingering.push((line.connection, left));
        }
    }

    /// The client dies: what it was writing is cut anywhere.
    pub(super) fn die(&mut self, desk: &mut Desk) {
        let Some(line) = &mut self.line else { return };
        desk.hit("connections that died");
        let up = &mut line.connection.up;
        if !up.is_empty() && self.random.once_in(2) {
            up.truncate(self.random.below(up.len() as u64) as usize);
            desk.hit("frames cut by a death");
        }
        let torn = self.random.once_in(3);
        line.connection.hang_up(torn);
        self.give_up(desk, false);
    }

    /// Connections that the broker has ended are forgotten, with all that was left open by them.
    pub(super) fn bury(&mut self, desk: &mut Desk) {
        let mut index = 0;
        while index < self.lingering.len() {
            if self.lingering[index].0.ended {
                let (_, left) = self.lingering.swap_remove(index);
                left.forget(desk);
            } else {
                index += 1;
            }
        }
    }

    /// The node is gone: what was on its way to the client may arrive, or a part of it.
    pub(super) fn lose_node(&mut self, desk: &mut Desk) {
        if let Some(line) = &mut self.line {
            let down = &mut line.connection.down;
            if self.random.once_in(3) {
                down.truncate(self.random.below(down.len() as u64 + 1) as usize);
            }
            let rest: Vec<u8> = down.drain(..).collect();
            line.inbox.extend(rest);
            line.hear(desk);
        }
        self.give_up(desk, true);
        for (_, left) in std::mem::take(&mut self.lingering) {
            left.forget(desk);
        }
    }
}

impl Left {
    /// Takes over what a channel leaves open.
    pub(super) fn take_from(&mut self, chan: &mut Chan) {
        self.channels.push(chan.id);
        for op in chan.awaiting.drain(..) {
            match op {
                Op::Declare(name) | Op::Delete(name) => self.busy.push(name),
                Op::Bind(binding) | Op::Unbind(binding) => self.busy.push(binding.queue),
                Op::Purge(name) => self.purges.push(name),
                _ => (),
            }
        }
        chan.receipts.clear();
    }

    /// The broker is done with it.
    pub(super) fn forget(self, desk: &mut Desk) {
        for channel in self.channels {
            desk.see(Event::ChannelEnded(channel));
        }
        for name in self.busy {
            desk.busy.remove(&name);
        }
        for name in self.purges {
            desk.see(Event::PurgeOver(name));
        }
    }
}

impl Line {
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.connection.up.extend(bytes);
        self.written_total += bytes.len() as u64;
    }

    pub(super) fn say(&mut self, channel: u16, method: impl Into<Method>) {
        let mut bytes = Vec::new();
        frame::write_method(&mut bytes, channel, &method.into());
        self.write(&bytes);
    }

    pub(super) fn say_content(
        &mut self,
        channel: u16,
        method: impl Into<Method>,
        properties: &[u8],
        body: &[u8],
    ) {
        let mut bytes = Vec::new();
        frame::write_method(&mut bytes, channel, &method.into());
        frame::write_content(&mut bytes, channel, properties, body, FRAME_MAX);
        self.write(&bytes);
    }

    /// The broker has tuned: the rest of the handshake, and the channels.
    pub(super) fn tuned(&mut self) {
        let tune_ok = connection::TuneOk {
            channel_max: 10,
            frame_max: FRAME_MAX,
            heartbeat: 0,
        };
        self.say(0, tune_ok);
        let open = connection::Open {
            virtual_host: short("/"),
        };
        self.say(0, open);
    }

    pub(super) fn open_channel(&mut self, index: usize) {
        let number = self.channels[index].number;
        self.say(number, channel::Open {});
        self.channels[index].state = ChanState::Opening;
        self.channels[index].awaiting.push_back(Op::Open);
    }
}

impl Chan {
    /// Whether a limit may be set over the consumers that are to come.
    pub(super) fn may_be_limited(&self) -> bool {
        self.consumers.is_empty() && self.awaiting.is_empty()
    }

    pub(super) fn new(number: u16, id: ChannelId, mode: Mode) -> Self {
        Self {
            number,
            id,
            mode,
            state: ChanState::Closed,
            awaiting: VecDeque::new(),
            content: None,
            outstanding: BTreeMap::new(),
            published: 0,
            transaction: None,
            consumers: BTreeMap::new(),
            receipts: VecDeque::new(),
        }
    }
}

/// A short string.
pub(super) fn short(text: &str) -> ShortString {
    ShortString::shortened(text)
}
