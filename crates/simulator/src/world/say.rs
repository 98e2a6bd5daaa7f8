//! What a client can do, and how it chooses.

use everack_amqp::wire::method::{Method, basic, channel, connection, queue, tx};
use everack_amqp::wire::table::Table;

use super::agent::{Agent, Chan, ChanState, Line, Mode, Op, Phase, short};
use super::desk::Desk;
use super::families;
use crate::book::{Address, Binding, Class, Event, Message, Name, Presence, Verdict, family};
use crate::content;
use crate::random::Random;

/// Queues that any client may declare, bind, delete, publish to and read.
const QUEUES: [(&str, Class); 8] = [
    ("d0", Class::Durable),
    ("d1", Class::Durable),
    ("d2", Class::Durable),
    ("d3", Class::Durable),
    ("n0", Class::Drained),
    ("t0", Class::Transient),
    ("t1", Class::Transient),
    ("a0", Class::Fleeting),
];
const FANOUT: &str = "amq.fanout";
const DIRECT: &str = "amq.direct";
const KEYS: [&str; 2] = ["red", "blue"];

/// Questions that a client may have open on one channel.
const AWAITING_MAX: usize = 2;
/// Deliveries that a channel holds before its client settles rather than asks for more.
const HELD_MANY: usize = 12;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Publish,
    Get,
    Consume,
    Cancel,
    Settle,
    PutBack,
    Recover,
    Declare,
    Delete,
    Bind,
    Purge,
    Commit,
    CloseChannel,
    Close,
    Die,
    Dawdle,
}

impl Agent {
    /// Does the next thing.
    pub(super) fn act(&mut self, desk: &mut Desk) {
        let Some(line) = &mut self.line else { return };
        if line.phase != Phase::Open {
            if self.random.once_in(200) {
                self.die(desk);
            }
            return;
        }
        let index = self.random.below(line.channels.len() as u64) as usize;
        let chan = &line.channels[index];
        match chan.state {
            ChanState::Closed => return line.open_channel(index),
            ChanState::Opening | ChanState::Closing => return,
            ChanState::Open => (),
        }
        // Without queues there is little to do: who finds one missing declares it, more often than not.
        let declares = self.random.once_in(2) && chan.awaiting.is_empty();
        if let Some((name, class)) = missing(desk).filter(|_| declares) {
            return line.declare_queue(index, name, class, desk);
        }
        let deed = choose(&mut self.random, chan, desk);
        let random = &mut self.random;
        match deed {
            Deed::Publish => line.publish(index, random, desk),
            Deed::Get => line.get(index, random, desk),
            Deed::Consume => line.consume(index, random, desk),
            Deed::Cancel => line.cancel(index, random, desk),
            Deed::Settle => line.settle(index, random, Verdict::Done, desk),
            Deed::PutBack => line.settle(index, random, Verdict::Back, desk),
            Deed::Recover => line.recover(index, desk),
            Deed::Declare => line.declare(index, random, desk),
            Deed::Delete => line.delete(index, random, desk),
            Deed::Bind => line.bind(index, random, desk),
            Deed::Purge => line.purge(index, random, desk),
            Deed::Commit => line.commit(index, random, desk),
            Deed::CloseChannel => line.close_channel(index, desk),
            Deed::Close => {
                desk.hit("connections closed in order");
                line.say(0, connection::Close::default());
                line.connection.hang_up(false);
                self.give_up(desk, false);
            }
            Deed::Die => self.die(desk),
            Deed::Dawdle => {
                desk.hit("slow readers");
                self.reads_from_us = desk.book.now_us + self.random.between(5_000, 60_000);
            }
        }
    }
}

fn choose(random: &mut Random, chan: &Chan, desk: &Desk) -> Deed {
    let taste = &desk.taste;
    let held = desk
        .book
        .channels
        .get(&chan.id)
        .map_or(0, |channel| channel.held.len());
    // A cancellation is answered behind the deliveries that are due, and so behind what is asked later.
    let cancels = chan.awaiting.iter().any(|op| matches!(op, Op::Cancel(_)));
    let asks = chan.awaiting.len() < AWAITING_MAX && !cancels;
    let quiet = chan.awaiting.is_empty();
    // What is rolled back may be settled again, once that is answered.
    let held = if chan.awaiting.iter().any(|op| matches!(op, Op::Rollback(_))) {
        0
    } else {
        held
    };
    let if_so = |so: bool, weight: u64| if so { weight } else { 0 };
    let in_transaction = chan.mode == Mode::Transaction;
    let open = chan.transaction.is_some();
    let weights = [
        (Deed::Publish, taste.publish),
        (Deed::Get, if_so(asks && held < HELD_MANY, taste.get)),
        (
            Deed::Consume,
            if_so(asks && chan.consumers.len() < 2, taste.consume),
        ),
        (
            Deed::Cancel,
            if_so(quiet && !chan.consumers.is_empty(), taste.cancel),
        ),
        (
            Deed::Settle,
            if_so(held > 0, taste.settle * (1 + held as u64 / 4)),
        ),
        (
            Deed::PutBack,
            if_so(held > 0, taste.put_back + families::more_failures(desk)),
        ),
        (
            Deed::Recover,
            if_so(quiet && held > 0 && !in_transaction, taste.recover),
        ),
        (Deed::Declare, if_so(asks, taste.declare)),
        (Deed::Delete, if_so(asks, taste.delete)),
        (Deed::Bind, if_so(asks, taste.bind)),
        (Deed::Purge, if_so(asks, taste.purge)),
        (Deed::Commit, if_so(quiet && open, taste.commit)),
        (Deed::CloseChannel, if_so(quiet, taste.close_channel)),
        (Deed::Close, taste.close),
        (Deed::Die, taste.die),
        (Deed::Dawdle, taste.dawdle.max(1)),
    ];
    weights[random.weighted(weights.map(|(_, weight)| weight))].0
}

/// A queue that is there as far as anybody knows, rarely another one.
fn queue(random: &mut Random, desk: &Desk) -> Name {
    for _ in 0..8 {
        let (name, _) = random.pick(&QUEUES);
        let known = desk.book.queues.get(*name);
        if known.is_some_and(|queue| queue.there.now() == Presence::Present) {
            return Name::from(*name);
        }
    }
    let (name, _) = random.pick(&QUEUES);
    Name::from(*name)
}

/// Whether a channel has a consumer of a quorum queue.
/// A queue to read from.
fn source(random: &mut Random, desk: &Desk) -> Name {
    if !desk.families.is_empty() && random.below(3) > 0 {
        return families::place(random, desk);
    }
    queue(random, desk)
}

/// A durable queue that nobody has declared, or that was deleted.
fn missing(desk: &Desk) -> Option<(Name, Class)> {
    let absent = |name: &str| {
        let known = desk.book.queues.get(name);
        known.is_none_or(|queue| queue.there.now() == Presence::Absent)
    };
    let mut durable = QUEUES.iter().filter(|(_, class)| *class == Class::Durable);
    let found = durable.find(|(name, _)| absent(name) && !desk.busy.contains(*name));
    let plain = found.map(|(name, class)| (Name::from(*name), *class));
    plain.or_else(|| families::missing(desk))
}

impl Line {
    fn publish(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        let count = if random.once_in(4) {
            random.between(2, 9)
        } else {
            1
        };
        let address = address(random, desk);
        for _ in 0..count {
            self.publish_one(index, &address, random, desk);
        }
    }

    fn publish_one(&mut self, index: usize, address: &Address, random: &mut Random, desk: &mut Desk) {
        let number = desk.number();
        let bytes = bytes(random, desk);
        let mandatory = random.once_in(3);
        let (expiration_ms, priority) = families::extras(address, random);
        let chan = &mut self.channels[index];
        let id = chan.id;
        if chan.mode == Mode::Transaction && chan.transaction.is_none() {
            chan.transaction = Some(desk.transaction());
        }
        if chan.mode == Mode::Confirm {
            chan.published += 1;
            chan.outstanding.insert(chan.published, number);
        }
        desk.hit("messages sent");
        let message = Message {
            number,
            publisher: id,
            bytes,
            mandatory,
            address: address.clone(),
            transaction: chan.transaction,
            expiration_ms,
            priority,
        };
        desk.see(Event::Sent(message.clone()));
        let (exchange, key) = match address {
            Address::Queue(name) => ("", &**name),
            Address::Exchange(exchange, key) => (*exchange, *key),
        };
        let publish = basic::Publish {
            exchange: short(exchange),
            routing_key: short(key),
            mandatory,
            ..basic::Publish::default()
        };
        let properties = content::properties_of(&message, random.below(4) > 0);
        let number_on_wire = chan.number;
        self.say_content(
            number_on_wire,
            publish,
            &properties,
            &content::body(number, bytes),
        );
    }

    fn get(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        let name = source(random, desk);
        let no_ack = &*name == "n0" && random.once_in(2);
        desk.see(Event::Getting(self.channels[index].id, family::family(&name)));
        let get = basic::Get {
            queue: short(&name),
            no_ack,
        };
        self.ask(index, get, Op::Get(name, no_ack, desk.book.now_us), desk);
    }

    pub(super) fn consume(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        let mut name = source(random, desk);
        let chan = &self.channels[index];
        let limited = desk
            .book
            .channels
            .get(&chan.id)
            .is_some_and(|channel| channel.limit > 0);
        // Quorum queues know no limit over a channel, and close the connection of whoever wants one.
        let mut quorum = family::place(&name).is_some_and(|place| place.quorum);
        if quorum && limited {
            name = queue(random, desk);
            quorum = false;
        }
        let no_ack = &*name == "n0" && random.once_in(2);
        let prefetch = random.pick(&[0, 1, 2, 5]);
        if !quorum && chan.may_be_limited() && random.once_in(4) {
            self.limit(index, random, desk);
        }
        let qos = basic::Qos {
            prefetch_count: *prefetch,
            ..basic::Qos::default()
        };
        self.ask(index, qos, Op::Qos, desk);
        let consumer = desk.number();
        let tag = format!("c{consumer}");
        let chan = &mut self.channels[index];
        desk.see(Event::Consuming(
            consumer,
            chan.id,
            family::family(&name),
            u64::from(*prefetch),
        ));
        desk.hit("consumers");
        if no_ack {
            desk.hit("consumers without acknowledgements");
        }
        chan.consumers
            .insert(tag.clone(), (consumer, name.clone(), no_ack));
        let consume = basic::Consume {
            queue: short(&name),
            consumer_tag: short(&tag),
            no_ack,
            ..basic::Consume::default()
        };
        self.ask(index, consume, Op::Consume, desk);
    }

    /// A limit over all consumers of a channel.
    pub(super) fn limit(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        let limit = random.between(1, 4);
        desk.hit("channel limits");
        desk.see(Event::Limited(self.channels[index].id, limit));
        let qos = basic::Qos {
            prefetch_count: limit as u16,
            global: true,
            ..basic::Qos::default()
        };
        self.ask(index, qos, Op::Qos, desk);
    }

    fn cancel(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        let tags: Vec<String> = self.channels[index].consumers.keys().cloned().collect();
        let tag = random.pick(&tags).clone();
        if let Some((consumer, _, _)) = self.channels[index].consumers.get(&tag) {
            desk.see(Event::Cancelling(*consumer));
        }
        let cancel = basic::Cancel {
            consumer_tag: short(&tag),
            nowait: false,
        };
        self.ask(index, cancel, Op::Cancel(tag), desk);
    }

    /// One delivery, or all up to one.
    fn settle(&mut self, index: usize, random: &mut Random, verdict: Verdict, desk: &mut Desk) {
        let chan = &mut self.channels[index];
        let Some(known) = desk.book.channels.get(&chan.id) else {
            return;
        };
        let held: Vec<u64> = known.held.keys().copied().collect();
        let at = random.below(held.len() as u64) as usize;
        let counts = known
            .held
            .get(&held[at])
            .is_some_and(|held| families::counts_failures(&held.place));
        let multiple = random.once_in(3);
        let tags = if multiple {
            held[..=at].to_vec()
        } else {
            vec![held[at]]
        };
        if chan.mode == Mode::Transaction && chan.transaction.is_none() {
            chan.transaction = Some(desk.transaction());
        }
        let (id, number, transaction) = (chan.id, chan.number, chan.transaction);
        let delivery_tag = held[at];
        let verdict = match (verdict, random.below(3)) {
            (Verdict::Done, _) if !multiple && counts && random.once_in(2) => Verdict::Failed,
            (Verdict::Done, 0) if !multiple => Verdict::Rejected,
            (Verdict::Back, 0) if !multiple => Verdict::Failed,
            (Verdict::Back, _) if !multiple && counts => Verdict::Failed,
            (verdict, _) => verdict,
        };
        match verdict {
            Verdict::Rejected => {
                desk.hit("rejected");
                self.say(
                    number,
                    basic::Reject {
                        delivery_tag,
                        requeue: false,
                    },
                );
            }
            Verdict::Done => {
                desk.hit(if multiple {
                    "settled with multiple"
                } else {
                    "settled singly"
                });
                self.say(
                    number,
                    basic::Ack {
                        delivery_tag,
                        multiple,
                    },
                );
            }
            Verdict::Failed => {
                if counts {
                    desk.hit("failed deliveries");
                }
                desk.hit("put back singly");
                self.say(
                    number,
                    basic::Reject {
                        delivery_tag,
                        requeue: true,
                    },
                );
            }
            Verdict::Back => {
                desk.hit(if multiple {
                    "put back with multiple"
                } else {
                    "put back singly"
                });
                self.say(
                    number,
                    basic::Nack {
                        delivery_tag,
                        multiple,
                        requeue: true,
                    },
                );
            }
        }
        desk.see(Event::SettleSent(id, tags.clone(), verdict, transaction));
        if transaction.is_none() {
            let end = self.written_total;
            self.channels[index].receipts.push_back((end, tags));
        }
    }

    /// Everything that a channel has in hand.
    pub(super) fn acknowledge_all(&mut self, index: usize, desk: &mut Desk) {
        let chan = &mut self.channels[index];
        let known = desk.book.channels.get(&chan.id);
        let tags: Vec<u64> = known.map_or_else(Vec::new, |known| known.held.keys().copied().collect());
        let Some(&delivery_tag) = tags.last() else {
            return;
        };
        if chan.mode == Mode::Transaction && chan.transaction.is_none() {
            chan.transaction = Some(desk.transaction());
        }
        let (id, number, transaction) = (chan.id, chan.number, chan.transaction);
        self.say(
            number,
            basic::Ack {
                delivery_tag,
                multiple: true,
            },
        );
        desk.see(Event::SettleSent(id, tags.clone(), Verdict::Done, transaction));
        if transaction.is_none() {
            let end = self.written_total;
            self.channels[index].receipts.push_back((end, tags));
        }
    }

    fn recover(&mut self, index: usize, desk: &mut Desk) {
        let id = self.channels[index].id;
        let Some(known) = desk.book.channels.get(&id) else {
            return;
        };
        let tags: Vec<u64> = known.held.keys().copied().collect();
        self.ask(index, basic::Recover { requeue: true }, Op::Recover, desk);
        desk.see(Event::SettleSent(id, tags, Verdict::Back, None));
        desk.see(Event::Recovering(id, true));
    }

    fn declare(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        let (name, class) = if random.once_in(8) {
            (
                Name::from(format!("e{}", desk.number()).as_str()),
                Class::Fleeting,
            )
        } else {
            let (name, class) = random.pick(&QUEUES);
            (Name::from(*name), *class)
        };
        self.declare_queue(index, name, class, desk);
    }

    fn declare_queue(&mut self, index: usize, name: Name, class: Class, desk: &mut Desk) {
        let exclusive = name.starts_with('e');
        if !desk.busy.insert(name.clone()) {
            return;
        }
        let known = desk.book.queues.get(&name);
        let again = known.is_some_and(|queue| queue.there.now() == Presence::Present);
        desk.hit(if again {
            "queues declared again"
        } else {
            "queues declared"
        });
        match &*name {
            _ if exclusive => desk.hit("exclusive queues"),
            "a0" => desk.hit("auto-delete queues"),
            _ => (),
        }
        if !family::is_heir(&name) {
            desk.see(Event::DeclareSent(name.clone(), class));
        }
        let quorum = family::place(&name).is_some_and(|place| place.quorum);
        let declare = queue::Declare {
            queue: short(&name),
            durable: quorum || matches!(class, Class::Durable | Class::Drained),
            arguments: families::arguments(&name),
            exclusive,
            auto_delete: &*name == "a0",
            ..queue::Declare::default()
        };
        self.ask(index, declare, Op::Declare(name), desk);
    }

    fn delete(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        let heir = families::heir(random, desk);
        let name = heir.unwrap_or_else(|| queue(random, desk));
        if !desk.busy.insert(name.clone()) {
            return;
        }
        if family::is_heir(&name) {
            desk.hit("heirs deleted");
            desk.see(Event::HeirDeleteSent(name.clone()));
        } else {
            desk.see(Event::DeleteSent(name.clone()));
        }
        let delete = queue::Delete {
            queue: short(&name),
            ..queue::Delete::default()
        };
        self.ask(index, delete, Op::Delete(name), desk);
    }

    fn bind(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        let name = queue(random, desk);
        let (exchange, key) = match random.below(3) {
            0 => (FANOUT, "#"),
            _ => (DIRECT, *random.pick(&KEYS)),
        };
        if !desk.busy.insert(name.clone()) {
            return;
        }
        let binding = Binding {
            exchange,
            key,
            queue: name.clone(),
        };
        if random.once_in(4) {
            desk.hit("unbinds");
            desk.see(Event::UnbindSent(binding.clone()));
            let unbind = queue::Unbind {
                queue: short(&name),
                exchange: short(exchange),
                routing_key: short(key),
                arguments: Table::new(),
            };
            self.ask(index, unbind, Op::Unbind(binding), desk);
        } else {
            desk.hit("binds");
            desk.see(Event::BindSent(binding.clone()));
            let bind = queue::Bind {
                queue: short(&name),
                exchange: short(exchange),
                routing_key: short(key),
                ..queue::Bind::default()
            };
            self.ask(index, bind, Op::Bind(binding), desk);
        }
    }

    fn purge(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        let name = queue(random, desk);
        let known = desk.book.queues.get(&name);
        if known.is_none_or(|queue| queue.purging.now() != Presence::Absent) {
            return;
        }
        desk.see(Event::PurgeSent(name.clone()));
        let purge = queue::Purge {
            queue: short(&name),
            nowait: false,
        };
        self.ask(index, purge, Op::Purge(name), desk);
    }

    pub(super) fn commit(&mut self, index: usize, random: &mut Random, desk: &mut Desk) {
        let Some(transaction) = self.channels[index].transaction.take() else {
            return;
        };
        if random.once_in(4) {
            self.ask(index, tx::Rollback {}, Op::Rollback(transaction), desk);
        } else {
            desk.see(Event::CommitSent(transaction));
            self.ask(index, tx::Commit {}, Op::Commit(transaction), desk);
        }
    }

    fn close_channel(&mut self, index: usize, desk: &mut Desk) {
        self.ask(index, channel::Close::default(), Op::Close, desk);
        self.channels[index].state = ChanState::Closing;
        // Half a message that is coming in is of no use any more.
        self.channels[index].content = None;
        desk.see(Event::ChannelLost(self.channels[index].id));
    }

    fn ask(&mut self, index: usize, method: impl Into<Method>, op: Op, desk: &mut Desk) {
        let number = self.channels[index].number;
        self.say(number, method);
        let chan = &mut self.channels[index];
        chan.awaiting.push_back(op);
        desk.see(Event::Asking(chan.id, chan.awaiting.len()));
    }
}

fn address(random: &mut Random, desk: &Desk) -> Address {
    if !desk.families.is_empty() && random.below(3) > 0 {
        return Address::Queue(Name::from(*random.pick(&desk.families)));
    }
    match random.below(10) {
        0..5 => Address::Queue(queue(random, desk)),
        5..7 => Address::Exchange(FANOUT, ""),
        7..9 => {
            let key = *random.pick(&KEYS);
            Address::Exchange(DIRECT, key)
        }
        _ => Address::Queue(Name::from("nobody")),
    }
}

fn bytes(random: &mut Random, desk: &mut Desk) -> usize {
    if random.once_in(desk.taste.huge_in) {
        desk.hit("messages larger than a segment");
        return random.between(15_000, 24_000) as usize;
    }
    if random.once_in(12) {
        desk.hit("messages without a body");
        return 0;
    }
    random.between(1, desk.taste.bytes_max) as usize
}
