//! Messages that an operator moves from one durable queue to another while the broker is killed, again and again: whatever was confirmed is in
//! exactly one of the two, in its order, and the order can be given again until all of it is done. All of it is Everack's own.

use anyhow::{Context, ensure};
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::{http, raw};
use libtest_mimic::Arguments;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MESSAGES: u64 = 100_000;
/// Messages that are written at once.
const BURST: u64 = 5_000;
const KILLS: u64 = 6;
/// A kill comes after so long at most, in milliseconds: a part of the time that all of a move takes, also on a fast machine.
const KILL_AFTER_MAX: u64 = 40;
/// How long all orders together may take.
const ORDERS_MAX: Duration = Duration::from_secs(60);
const QUEUES: [&str; 2] = ["from", "to"];

fn main() {
    let arguments = Arguments::from_args();
    if is_rabbitmq() {
        return;
    }
    let trial = everack_compat::trial("a move that is killed moves each message or leaves it", killed);
    libtest_mimic::run(&arguments, vec![trial]).exit();
}

fn killed() -> anyhow::Result<()> {
    let mut broker = Broker::everack(Settings {
        management: true,
        ..Settings::default()
    });
    fill(broker.address())?;
    let mut chance = Chance::new()?;
    let mut met = 0;
    for kill in 1..=KILLS {
        let management = broker.management();
        let mover = thread::spawn(move || order(management));
        thread::sleep(Duration::from_millis(chance.below(KILL_AFTER_MAX)));
        broker.restart()?;
        // Whoever has ordered is not told, unless all was done before.
        let told = mover.join().expect("asking does not panic").is_ok();
        let [from, to] = counts(broker.address())?;
        println!("kill {kill}: {from} are left and {to} have moved; told: {told}");
        ensure!(
            from + to == MESSAGES,
            "{from} and {to} are not {MESSAGES} ({chance:?})"
        );
        met += u64::from(!told);
    }
    ensure!(met > 0, "no kill met an order ({chance:?})");
    finish(&broker)?;
    drained(broker.address())
}

/// Publishes all messages to the first queue, each with its number, and waits for their confirms.
fn fill(address: SocketAddr) -> anyhow::Result<()> {
    let mut client = raw::Raw::login(address)?;
    for queue in QUEUES {
        client.send(&raw::declare(queue, 2, &[]).on(1))?;
        client.expect(50, 11)?;
    }
    client.send(&raw::confirm_select().on(1))?;
    client.expect(85, 11)?;
    let publish = raw::publish(QUEUES[0]).on(1);
    let mut confirmed = 0;
    for first in (0..MESSAGES).step_by(BURST as usize) {
        let burst: Vec<u8> = (first..first + BURST)
            .flat_map(|number| message(&publish, number))
            .collect();
        client.send(&burst)?;
        while confirmed < first + BURST {
            let ack = client.expect(60, 80)?;
            confirmed = u64::from_be_bytes(ack[4..12].try_into()?);
        }
    }
    Ok(())
}

/// A persistent message whose body is its number.
fn message(publish: &[u8], number: u64) -> Vec<u8> {
    let body = number.to_be_bytes();
    let mut header = vec![0, 60, 0, 0];
    header.extend((body.len() as u64).to_be_bytes());
    header.extend([0x10, 0, 2]);
    [
        publish,
        &raw::frame(raw::CONTENT_HEADER, 1, &header),
        &raw::frame(raw::BODY, 1, &body),
    ]
    .concat()
}

fn order(management: SocketAddr) -> anyhow::Result<Value> {
    let path = format!("/api/everack/queues/%2f/{}/messages/move", QUEUES[0]);
    let body = json!({ "to": QUEUES[1], "all": true }).to_string();
    let answer = http::send(management, "POST", &path, "guest:guest", &body)?;
    ensure!(answer.status == 200, "{answer:?}");
    answer.json()
}

/// Gives the order again until nothing is left.
fn finish(broker: &Broker) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let told = order(broker.management())?;
        let [from, to] = counts(broker.address())?;
        ensure!(
            from + to == MESSAGES,
            "{from} and {to} are not {MESSAGES}: {told}"
        );
        ensure!(told["stayed"] == 0, "{told}");
        if from == 0 {
            return Ok(());
        }
        ensure!(begin.elapsed() < ORDERS_MAX, "{from} are left: {told}");
    }
}

fn counts(address: SocketAddr) -> anyhow::Result<[u64; 2]> {
    let mut client = raw::Raw::login(address)?;
    let mut count = |queue| {
        // Passive.
        client.send(&raw::declare(queue, 1, &[]).on(1))?;
        let declared = client.expect(50, 11)?;
        let numbers = &declared[declared.len() - 8..];
        anyhow::Ok(u64::from(u32::from_be_bytes(numbers[..4].try_into()?)))
    };
    Ok([count(QUEUES[0])?, count(QUEUES[1])?])
}

/// The second queue has every message once, in the order of their publishing.
fn drained(address: SocketAddr) -> anyhow::Result<()> {
    let mut client = raw::Raw::login(address)?;
    client.send(&raw::consume(QUEUES[1], "all", 0).on(1))?;
    client.expect(60, 21)?;
    for expected in 0..MESSAGES {
        client.expect(60, 60)?;
        client.frame()?.context("a content header is due")?;
        let (_, _, body) = client.frame()?.context("a body is due")?;
        let number = u64::from_be_bytes(body.as_slice().try_into()?);
        ensure!(number == expected, "message {number} where {expected} should be");
    }
    Ok(())
}

/// When the next kill comes: seeded by the clock, and told when something is wrong.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn new() -> anyhow::Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Self(since.as_nanos() as u64))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
