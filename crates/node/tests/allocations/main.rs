//! What a warm node allocates on the way of messages from bytes to bytes: publish, route, log, confirm, deliver, acknowledge. Exactly: so
//! much for each round of a flow and not one piece more, the difference between two numbers of rounds, so that what it takes to start
//! cancels out. Whoever allocates for each message, or for each command, fails here; whoever stops doing so writes the lower figure down.
//!
//! With `PLACES=flow` in the environment the chains of calls are shown that allocate in a flow.
//!
//! The process around the node has a test of its own, `crates/server/tests/allocations`. One test in a binary of its own, as it has an
//! allocator of its own.

mod counting;
mod peer;
mod rig;

use counting::Counting;
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{Method, basic, confirm, exchange, queue};
use peer::{Peer, short};
use rig::Rig;

#[global_allocator]
static COUNTING: Counting = Counting;

const QUEUE: &str = "orders";
const WARM_UP_ROUNDS: u64 = 12;
const ROUNDS: u64 = 6;

/// What messages are like, how many are on their way together, and what that costs.
#[derive(Clone, Copy)]
struct Flow {
    name: &'static str,
    /// Persistent, confirmed, acknowledged; or none of that.
    durable: bool,
    body_bytes: usize,
    /// Messages a round.
    messages: u64,
    /// How many are acknowledged together.
    acked: u64,
    /// Addresses in turn: the default exchange for one, else routing keys of a direct exchange.
    keys: u64,
    /// Queues that get every message, through a fanout exchange if there are several.
    queues: u64,
    /// Flags and values of the properties.
    properties: &'static [u8],
    /// Allocations a round.
    allocations: u64,
}

/// The delivery mode alone.
const TRANSIENT: &[u8] = &[0x10, 0, 1];
const PERSISTENT: &[u8] = &[0x10, 0, 2];
/// Content type, one header, delivery mode, priority, an hour to live.
const REAL: &[u8] = b"\xb9\0\x0atext/plain\0\0\0\x0a\x04kindS\0\0\0\0\x02\x04\x073600000";

const W1: Flow = Flow {
    name: "transient-single",
    durable: false,
    body_bytes: 16,
    messages: 1,
    acked: 1,
    keys: 1,
    queues: 1,
    properties: TRANSIENT,
    allocations: 2,
};
const W2: Flow = Flow {
    name: "durable-single",
    durable: true,
    body_bytes: 1024,
    properties: PERSISTENT,
    allocations: 2,
    ..W1
};

const FLOWS: [Flow; 9] = [
    W1,
    Flow {
        name: "transient",
        messages: 1000,
        allocations: 2,
        ..W1
    },
    Flow {
        name: "fanout",
        messages: 1000,
        queues: 10,
        allocations: 3,
        ..W1
    },
    W2,
    Flow {
        name: "durable",
        messages: 1000,
        acked: 100,
        allocations: 25,
        ..W2
    },
    Flow {
        name: "durable-each-acked",
        messages: 100,
        allocations: 2,
        ..W2
    },
    Flow {
        name: "durable-ten-keys",
        messages: 1000,
        acked: 100,
        keys: 10,
        allocations: 35,
        ..W2
    },
    Flow {
        name: "durable-real",
        messages: 1000,
        acked: 100,
        keys: 10,
        properties: REAL,
        allocations: 45,
        ..W2
    },
    Flow {
        name: "transient-real",
        messages: 1000,
        keys: 10,
        properties: REAL,
        allocations: 6,
        ..W1
    },
];

#[test]
fn a_warm_node_allocates_by_the_batch() {
    let wrong: Vec<&str> = FLOWS
        .iter()
        .filter(|flow| !as_told(flow))
        .map(|flow| flow.name)
        .collect();
    assert!(
        wrong.is_empty(),
        "{wrong:?} allocate otherwise than is written down"
    );
}

/// Prints what was counted; says whether it is what is written down.
fn as_told(flow: &Flow) -> bool {
    let mut pair = Pair::new(flow);
    (0..WARM_UP_ROUNDS).for_each(|_| pair.round());
    let mut rounds = |rounds: u64| counting::count(|| (0..rounds).for_each(|_| pair.round()));
    let (less, more) = (rounds(ROUNDS), rounds(2 * ROUNDS));
    let counted = more - less;
    println!(
        "{:<20} {:>8.3} allocations a round of {}, {:.3} a message; {} are written down",
        flow.name,
        counted as f64 / ROUNDS as f64,
        flow.messages,
        counted as f64 / (ROUNDS * flow.messages) as f64,
        flow.allocations,
    );
    if std::env::var("PLACES").is_ok_and(|name| name == flow.name) {
        for (times, place) in counting::places(|| pair.round()) {
            println!("  {times} times\n      {place}");
        }
    }
    pair.rig.validate();
    counted == ROUNDS * flow.allocations
}

/// A publisher and a consumer.
struct Pair<'a> {
    flow: &'a Flow,
    rig: Rig,
    publisher: Peer,
    consumer: Peer,
    publishes: Vec<u8>,
    published: u64,
    acked: u64,
}

impl<'a> Pair<'a> {
    fn new(flow: &'a Flow) -> Self {
        let mut rig = Rig::open();
        let publisher = Peer::connect(&mut rig);
        let consumer = Peer::connect(&mut rig);
        let mut pair = Self {
            flow,
            rig,
            publisher,
            consumer,
            publishes: publishes(flow),
            published: 0,
            acked: 0,
        };
        pair.declare();
        if flow.durable {
            pair.publisher.ask(&mut pair.rig, confirm::Select::default());
        }
        pair
    }

    fn declare(&mut self) {
        let (flow, rig, consumer) = (self.flow, &mut self.rig, &mut self.consumer);
        let declare = exchange::Declare {
            exchange: short(exchange_of(flow)),
            kind: short(if flow.queues > 1 { "fanout" } else { "direct" }),
            ..exchange::Declare::default()
        };
        if !declare.exchange.as_bytes().is_empty() {
            consumer.ask(rig, declare);
        }
        for number in 0..flow.queues {
            let name = if number == 0 {
                QUEUE.to_owned()
            } else {
                format!("{QUEUE}-{number}")
            };
            let declare = queue::Declare {
                queue: short(&name),
                durable: flow.durable,
                ..queue::Declare::default()
            };
            consumer.ask(rig, declare);
            for key in (0..flow.keys).filter(|_| !exchange_of(flow).is_empty()) {
                let bind = queue::Bind {
                    queue: short(&name),
                    exchange: short(exchange_of(flow)),
                    routing_key: short(&key_of(flow, key)),
                    ..queue::Bind::default()
                };
                consumer.ask(rig, bind);
            }
            let consume = basic::Consume {
                queue: short(&name),
                no_ack: !flow.durable,
                ..basic::Consume::default()
            };
            consumer.ask(rig, consume);
        }
    }

    /// All the way from bytes to bytes, and back.
    fn round(&mut self) {
        let (flow, rig) = (self.flow, &mut self.rig);
        self.published += flow.messages;
        let deliveries = self.published * flow.queues;
        self.publisher.send(rig, &self.publishes);
        rig.settle_down();
        self.publisher.listen(rig);
        self.consumer.listen(rig);
        assert_eq!(
            self.consumer.heard.deliveries, deliveries,
            "every message arrives"
        );
        if !flow.durable {
            return;
        }
        assert_eq!(
            self.publisher.heard.confirmed, self.published,
            "every message is confirmed"
        );
        if flow.acked == 1 {
            self.consumer
                .ack(rig, self.acked + 1, deliveries - self.acked, false);
        } else {
            for first in (self.acked..deliveries).step_by(flow.acked as usize) {
                self.consumer.ack(rig, first + 1, flow.acked, true);
            }
        }
        self.acked = deliveries;
        rig.settle_down();
    }
}

fn exchange_of(flow: &Flow) -> &'static str {
    match (flow.keys, flow.queues) {
        (1, 1) => "",
        (_, 1) => "by key",
        _ => "to all",
    }
}

fn key_of(flow: &Flow, number: u64) -> String {
    if exchange_of(flow).is_empty() {
        QUEUE.to_owned()
    } else {
        format!("key-{number}")
    }
}

fn publishes(flow: &Flow) -> Vec<u8> {
    let body = vec![b'x'; flow.body_bytes];
    let mut bytes = Vec::new();
    for number in 0..flow.messages {
        let publish = Method::from(basic::Publish {
            exchange: short(exchange_of(flow)),
            routing_key: short(&key_of(flow, number % flow.keys)),
            ..basic::Publish::default()
        });
        frame::write_method(&mut bytes, 1, &publish);
        frame::write_content(&mut bytes, 1, flow.properties, &body, 131_072);
    }
    bytes
}
