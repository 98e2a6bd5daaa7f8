//! The hot path of a node, from bytes to bytes, for an instruction counter: `cargo xtask instructions` runs it under valgrind's callgrind, which
//! counts what happens inside of [`counted_step`] and leaves the fake disk out. It does so for two numbers of rounds, and takes the difference: what
//! it costs to start is in both. Instructions of a message are the same on a busy machine and on an idle one.
//!
//! ```text
//! instructions SCENARIO ROUNDS
//! ```
//! prints how many messages went all the way.

use std::hint::black_box;
use std::process::ExitCode;
use std::rc::Rc;

use everack_amqp::wire::frame;
use everack_amqp::wire::method::{Method, basic, confirm, queue};
use everack_broker::catalog::DelayBounds;
use everack_node::names::NameKey;
use everack_node::opening::Plan;
use everack_simulator::client::{Client, short};
use everack_simulator::disk::{Pace, Watched};
use everack_simulator::flaw::Flaw;
use everack_simulator::node::{Core, Node};
use everack_storage::disk::Memory;

const PLAN: Plan = Plan {
    segment_bytes: 64 << 20,
    partitions: 1,
    resident_bytes_max: 64 << 20,
    hash_key: 1,
    name_key: NameKey([0, 2]),
    delay_bounds: DelayBounds {
        messages_max: 1_000,
        bytes_max: 1 << 20,
    },
};
const QUEUE: &str = "orders";

/// What messages are like, and how many are on their way together.
struct Scenario {
    name: &'static str,
    durable: bool,
    body_bytes: usize,
    batch: usize,
}

const SCENARIOS: [Scenario; 4] = [
    // W2: persistent, confirmed, acknowledged, many at once.
    Scenario {
        name: "durable",
        durable: true,
        body_bytes: 1024,
        batch: 100,
    },
    // W4: one at a time.
    Scenario {
        name: "durable-single",
        durable: true,
        body_bytes: 1024,
        batch: 1,
    },
    // W1: neither confirmed nor acknowledged.
    Scenario {
        name: "transient",
        durable: false,
        body_bytes: 16,
        batch: 100,
    },
    Scenario {
        name: "transient-single",
        durable: false,
        body_bytes: 16,
        batch: 1,
    },
];

fn main() -> ExitCode {
    // `cargo bench` and `cargo test` pass options of their own.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let (name, rounds) = match &words[..] {
        [] => ("durable", 1),
        [name, rounds] => (name.as_str(), rounds.parse().unwrap_or(0)),
        _ => ("", 0),
    };
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let (Some(scenario), 1..) = (scenario, rounds) else {
        let names = SCENARIOS.map(|scenario| scenario.name).join(", ");
        eprintln!("instructions SCENARIO ROUNDS, where SCENARIO is one of {names}");
        return ExitCode::from(2);
    };
    let messages = Bench::new(scenario).play(rounds);
    println!("{messages}");
    ExitCode::SUCCESS
}

/// A node with a publisher and a consumer.
struct Bench<'a> {
    scenario: &'a Scenario,
    core: Rc<Core>,
    publisher: Client,
    consumer: Client,
}

impl<'a> Bench<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let memory = Memory::new(1);
        let disk = Watched::new(&memory, Pace::INSTANT, 0, Flaw::None);
        let node = Node::open(&disk, &PLAN, Flaw::None, 0).expect("an empty disk opens");
        node.declare_guest();
        node.core().pump();
        let mut bench = Self {
            scenario,
            core: node.core().clone(),
            publisher: Client::connect(node.core()),
            consumer: Client::connect(node.core()),
        };
        bench.set_up();
        // What the fake disk does at a sync is nobody's work.
        memory.set_lying(true);
        bench
    }

    fn set_up(&mut self) {
        let durable = self.scenario.durable;
        self.consumer.say(queue::Declare {
            queue: short(QUEUE),
            durable,
            ..queue::Declare::default()
        });
        self.consumer.say(basic::Consume {
            queue: short(QUEUE),
            no_ack: !durable,
            ..basic::Consume::default()
        });
        self.consumer.run();
        if durable {
            self.publisher.say(confirm::Select::default());
            self.publisher.run();
        }
    }

    /// Plays so many rounds; returns the messages that arrived.
    fn play(&mut self, rounds: u64) -> u64 {
        let publishes = self.publishes();
        let messages = (0..rounds).map(|_| self.round(&publishes)).sum();
        if self.scenario.durable {
            assert_eq!(self.publisher.confirmed, messages, "every message is confirmed");
        }
        messages
    }

    /// All the way from bytes to bytes; returns how many messages arrived.
    fn round(&mut self, publishes: &[u8]) -> u64 {
        self.publisher.feed(publishes);
        self.step();
        let arrived = std::mem::take(&mut self.consumer.received);
        assert_eq!(arrived.len(), self.scenario.batch, "every message arrives");
        if self.scenario.durable
            && let Some(last) = arrived.last()
        {
            self.consumer.say(basic::Ack {
                delivery_tag: last.tag,
                multiple: true,
            });
            self.step();
        }
        arrived.len() as u64
    }

    fn step(&mut self) {
        let (confirms, deliveries) = counted_step(&self.core, &mut self.publisher, &mut self.consumer);
        self.publisher.read(&confirms);
        self.consumer.read(&deliveries);
    }

    fn publishes(&self) -> Vec<u8> {
        let publish = Method::from(basic::Publish {
            routing_key: short(QUEUE),
            ..basic::Publish::default()
        });
        // The delivery mode alone.
        let properties = [0x10, 0, if self.scenario.durable { 2 } else { 1 }];
        let body = vec![b'x'; self.scenario.body_bytes];
        let mut bytes = Vec::new();
        for _ in 0..self.scenario.batch {
            frame::write_method(&mut bytes, 1, &publish);
            frame::write_content(&mut bytes, 1, &properties, &body, 131_072);
        }
        bytes
    }
}

/// What the two have to say is read and carried out, and what there is for them is written. The counter knows it by its name.
#[inline(never)]
fn counted_step(core: &Core, publisher: &mut Client, consumer: &mut Client) -> (Vec<u8>, Vec<u8>) {
    publisher.hand_over();
    consumer.hand_over();
    core.pump();
    black_box((publisher.take_output(), consumer.take_output()))
}
