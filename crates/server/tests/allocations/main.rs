//! What the whole broker allocates once it is warm: a few pieces of memory for each batch, and nothing for each message in it. The real
//! process, its threads, sockets and log within the test; one test in a binary of its own, as it counts what every thread but the
//! client's allocates.
//!
//! The pieces of a batch are the ones that lie in a queue as long as its messages do: their bytes, where each begins if they are several,
//! and the count of those who hold them. What happens by the clock beside the messages is counted with them, so this is not exact;
//! `crates/node/tests/allocations` is. With `PLACES` in the environment it shows where the first pieces were allocated.
//!
//! ```text
//! client ── publishes, one or a hundred ──> socket, session, partition, (log, sync) ── confirms, deliveries ──> client ── ack ──> ...
//! ```

mod client;
mod counting;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Parser as _;
use client::{Client, Heard, short};
use counting::{Counted, Counting};
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{Method, basic, confirm, queue};
use everack_server::broker::Everack;
use everack_server::cli::Cli;
use rustix::process::{Signal, getpid, kill_process};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What messages are like, and how many are on their way together.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    durable: bool,
    body_bytes: usize,
    batch: usize,
    warm_up_rounds: u64,
    rounds: u64,
    /// Allocations a round at most; what happens by the clock beside the messages included.
    allowed: f64,
}

const SINGLE: Scenario = Scenario {
    name: "transient-single",
    durable: false,
    body_bytes: 16,
    batch: 1,
    warm_up_rounds: 300,
    rounds: 600,
    allowed: 2.9,
};
const MANY: Scenario = Scenario {
    name: "transient",
    batch: 100,
    warm_up_rounds: 100,
    rounds: 200,
    allowed: 5.0,
    ..SINGLE
};

/// As the scenarios of `cargo xtask instructions`.
const SCENARIOS: [Scenario; 4] = [
    SINGLE,
    MANY,
    Scenario {
        name: "durable-single",
        durable: true,
        body_bytes: 1024,
        allowed: 2.9,
        ..SINGLE
    },
    Scenario {
        name: "durable",
        durable: true,
        body_bytes: 1024,
        allowed: 5.0,
        ..MANY
    },
];

#[test]
fn a_warm_broker_allocates_by_the_batch() {
    counting::exempt_this_thread();
    if std::env::var_os("PLACES").is_some() {
        counting::remember_places();
    }
    let directory = directory();
    let broker = Broker::start(directory.path());
    let found = SCENARIOS.map(|scenario| (scenario, Pair::new(broker.address, scenario).measure()));
    broker.stop();
    let over: Vec<&str> = found
        .iter()
        .filter(|(scenario, counted)| !told(scenario, counted))
        .map(|(scenario, _)| scenario.name)
        .collect();
    assert!(over.is_empty(), "{over:?} allocate more than is allowed");
}

/// In memory, where there is such a place: how long a sync takes does not matter here.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory of our own")
}

/// Prints what was found; says whether it is within what is allowed.
fn told(scenario: &Scenario, counted: &Counted) -> bool {
    let rounds = scenario.rounds as f64;
    let each = counted.allocations as f64 / rounds;
    let allowed = each <= scenario.allowed;
    println!(
        "{:<18} {each:.3} allocations and {:.0} bytes a round, {:.4} a message; {} are allowed",
        scenario.name,
        counted.bytes as f64 / rounds,
        each / scenario.batch as f64,
        scenario.allowed
    );
    for (times, place) in &counted.places {
        println!("  {times} of the first ones at\n      {place}");
    }
    allowed
}

/// A broker in this process.
struct Broker {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Broker {
    fn start(data: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        let words = [
            "everack",
            "serve",
            "--http",
            "off",
            "--metrics",
            "off",
            "--set",
            "log.level=warn",
            "--data",
        ];
        let words = words.map(str::to_owned).into_iter();
        let words = words.chain([
            data.display().to_string(),
            "--amqp".to_owned(),
            address.to_string(),
        ]);
        let cli = Cli::parse_from(words);
        let thread = thread::spawn(move || {
            cli.run::<Everack>().expect("the broker runs and stops");
        });
        Self { address, thread }
    }

    fn stop(self) {
        kill_process(getpid(), Signal::TERM).expect("we may signal ourselves");
        self.thread.join().expect("the broker ends");
    }
}

/// A publisher and a consumer of one queue.
struct Pair {
    scenario: Scenario,
    publisher: Client,
    consumer: Client,
    publishes: Vec<u8>,
    published: u64,
    heard: Heard,
    confirmed: Heard,
}

impl Pair {
    fn new(address: SocketAddr, scenario: Scenario) -> Self {
        let durable = scenario.durable;
        let (mut publisher, mut consumer) = (connect(address), connect(address));
        consumer.ask(queue::Declare {
            queue: short(scenario.name),
            durable,
            ..queue::Declare::default()
        });
        consumer.ask(basic::Consume {
            queue: short(scenario.name),
            no_ack: !durable,
            ..basic::Consume::default()
        });
        if durable {
            publisher.ask(confirm::Select::default());
        }
        Self {
            scenario,
            publisher,
            consumer,
            publishes: publishes(&scenario),
            published: 0,
            heard: Heard::default(),
            confirmed: Heard::default(),
        }
    }

    fn measure(mut self) -> Counted {
        (0..self.scenario.warm_up_rounds).for_each(|_| self.round());
        let rounds = self.scenario.rounds;
        counting::count(|| (0..rounds).for_each(|_| self.round()))
    }

    fn round(&mut self) {
        self.publisher.send(&self.publishes);
        self.published += self.scenario.batch as u64;
        let published = self.published;
        self.consumer
            .listen(&mut self.heard, |heard| heard.deliveries == published);
        if self.scenario.durable {
            self.publisher
                .listen(&mut self.confirmed, |heard| heard.confirmed == published);
            self.consumer.ack(self.heard.tag);
        }
    }
}

fn connect(address: SocketAddr) -> Client {
    let began = Instant::now();
    loop {
        if let Some(client) = Client::connect(address) {
            return client;
        }
        assert!(began.elapsed() < PATIENCE, "the broker does not listen");
        thread::sleep(Duration::from_millis(10));
    }
}

fn publishes(scenario: &Scenario) -> Vec<u8> {
    let publish = Method::from(basic::Publish {
        routing_key: short(scenario.name),
        ..basic::Publish::default()
    });
    // The delivery mode alone.
    let properties = [0x10, 0, if scenario.durable { 2 } else { 1 }];
    let body = vec![b'x'; scenario.body_bytes];
    let mut bytes = Vec::new();
    for _ in 0..scenario.batch {
        frame::write_method(&mut bytes, 1, &publish);
        frame::write_content(&mut bytes, 1, &properties, &body, 131_072);
    }
    bytes
}
