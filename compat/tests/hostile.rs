//! What bad input gets: never a crash, never unbounded memory, a proper AMQP error where the protocol allows one; and
//! others on the same broker notice nothing.

use anyhow::{Context, ensure};
use everack_compat::broker::{Broker, is_rabbitmq};
use everack_compat::raw::{
    self, BODY, CONTENT_HEADER, Ending, Fields, HEADER, HEARTBEAT, METHOD, Raw, frame,
};
use libtest_mimic::{Arguments, Trial};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The memory that mistakes of others may cost for good.
const GROWTH_MAX: u64 = 200 << 20;

fn main() {
    let arguments = Arguments::from_args();
    let broker = Broker::start();
    let bystander = Raw::login(broker.address())
        .unwrap_or_else(|error| panic!("the bystander cannot log in: {error:#}\n{}", broker.log()));
    let scene = Arc::new(Scene {
        broker,
        bystander: Mutex::new(bystander),
    });
    let mut trials = Vec::new();
    let ours = |name: &str| !is_rabbitmq() || !OURS_ALONE.contains(&name);
    for (name, codes, act) in MISTAKES.iter().filter(|(name, ..)| ours(name)) {
        trials.push(trial(name, &scene, move |scene| mistake(scene, codes, *act)));
    }
    for (name, act) in ATTACKS.iter().copied().filter(|(name, _)| ours(name)) {
        trials.push(trial(name, &scene, act));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(scene);
    conclusion.exit();
}

/// The broker, and somebody who works on it undisturbed.
struct Scene {
    broker: Broker,
    bystander: Mutex<Raw>,
}

impl Scene {
    fn login(&self) -> anyhow::Result<Raw> {
        Raw::login(self.broker.address())
    }

    fn connect(&self) -> anyhow::Result<Raw> {
        Raw::connect(self.broker.address())
    }

    /// A socket that has said the protocol header and was answered.
    fn greeted(&self) -> anyhow::Result<Raw> {
        let mut raw = self.connect()?;
        raw.send(HEADER)?;
        raw.expect(10, 10)?;
        Ok(raw)
    }

    /// The process lives, and whoever was connected before works on.
    fn is_unharmed(&self) -> anyhow::Result<()> {
        ensure!(
            self.broker.is_alive(),
            "the broker is gone:\n{}",
            self.broker.log()
        );
        let mut bystander = self.bystander.lock().expect("no test panics with it");
        bystander
            .round_trip("bystander", b"still here")
            .context("the bystander was disturbed")
    }
}

fn trial(
    name: &str,
    scene: &Arc<Scene>,
    act: impl Fn(&Scene) -> anyhow::Result<()> + Send + 'static,
) -> Trial {
    let scene = Arc::clone(scene);
    Trial::test(name, move || {
        let result = act(&scene).and_then(|()| scene.is_unharmed());
        Ok(result.map_err(|error| format!("{error:#}"))?)
    })
}

/// Where Debian's RabbitMQ lets it pass, waits for more, or never closes: we promise more than it does.
const OURS_ALONE: &[&str] = &[
    "a method of the server",
    "more body than announced",
    "a channel above the limit",
    "a conversation with every byte wrong once",
];

type Mistake = (&'static str, &'static [u16], fn(&mut Raw) -> anyhow::Result<()>);

/// Somebody who is logged in makes a mistake; the connection is closed with one of these codes.
const MISTAKES: &[Mistake] = &[
    ("a wrong frame end", &[501], |raw| {
        let mut bytes = raw::declare("h", 4, &[]).on(1);
        *bytes.last_mut().expect("a frame has an end") = 0;
        raw.send(&bytes)
    }),
    ("an unknown frame type", &[501], |raw| {
        raw.send(&frame(9, 1, b"what"))
    }),
    ("a frame above the limit", &[501], |raw| {
        raw.send(&frame(BODY, 1, &vec![0; 200_000]))
    }),
    ("a frame that announces 4 GiB", &[501], |raw| {
        raw.send(&[METHOD, 0, 1, 255, 255, 255, 255, 0, 50])
    }),
    ("a method frame without a method", &[501, 502, 505, 541], |raw| {
        raw.send(&frame(METHOD, 1, &[]))
    }),
    ("an unknown class", &[503, 540, 541], |raw| {
        raw.send(&Fields::of(99, 10).on(1))
    }),
    ("an unknown method", &[503, 540, 541], |raw| {
        raw.send(&Fields::of(60, 999).on(1))
    }),
    ("a method of the server", &[503, 540], |raw| {
        raw.send(
            &Fields::of(60, 60)
                .name("t")
                .longlong(1)
                .octet(0)
                .name("")
                .name("")
                .on(1),
        )
    }),
    ("fields that end too early", &[501, 502, 541], |raw| {
        raw.send(&Fields::of(50, 10).short(0).octet(200).on(1))
    }),
    ("a table longer than its frame", &[501, 502, 541], |raw| {
        raw.send(&Fields::of(50, 10).short(0).name("h").octet(4).long(1 << 30).on(1))
    }),
    ("a table of an unknown type", &[501, 502, 541], |raw| {
        raw.send(&raw::declare("h", 4, b"\x01k\xff\x01").on(1))
    }),
    (
        "a table with a string that lies about its length",
        &[501, 502, 541],
        |raw| raw.send(&raw::declare("h", 4, b"\x01kS\x7f\xff\xff\xffx").on(1)),
    ),
    ("a body without a method", &[505], |raw| {
        raw.send(&frame(BODY, 1, b"x"))
    }),
    ("a content header without a method", &[505], |raw| {
        raw.send(&raw::content_header(1, 5))
    }),
    ("a method where a content header is due", &[505], |raw| {
        raw.send(&[raw::publish("h").on(1), raw::publish("h").on(1)].concat())
    }),
    ("a method where a body is due", &[505], |raw| {
        raw.send(
            &[
                raw::publish("h").on(1),
                raw::content_header(1, 5),
                raw::publish("h").on(1),
            ]
            .concat(),
        )
    }),
    ("a body where a content header is due", &[505], |raw| {
        raw.send(&[raw::publish("h").on(1), frame(BODY, 1, b"x")].concat())
    }),
    ("a second content header", &[505], |raw| {
        raw.send(
            &[
                raw::publish("h").on(1),
                raw::content_header(1, 5),
                raw::content_header(1, 5),
            ]
            .concat(),
        )
    }),
    ("a content header of another class", &[501, 505], |raw| {
        let header = Fields::default().short(50).short(0).longlong(1).short(0).0;
        raw.send(&[raw::publish("h").on(1), frame(CONTENT_HEADER, 1, &header)].concat())
    }),
    ("a content header that is cut short", &[501, 502, 541], |raw| {
        raw.send(&[raw::publish("h").on(1), frame(CONTENT_HEADER, 1, &[0, 60, 0])].concat())
    }),
    ("more body than announced", &[501, 505], |raw| {
        raw.send(
            &[
                raw::publish("h").on(1),
                raw::content_header(1, 3),
                frame(BODY, 1, b"four"),
            ]
            .concat(),
        )
    }),
    ("a channel above the limit", &[504, 530], |raw| {
        raw.send(&raw::channel_open().on(60_000))
    }),
    ("a channel's method on channel 0", &[503, 504, 505, 540], |raw| {
        raw.send(&raw::declare("h", 4, &[]).on(0))
    }),
    ("content on channel 0", &[501, 505], |raw| {
        raw.send(&frame(BODY, 0, b"x"))
    }),
    (
        "a connection's method on a channel",
        &[503, 504, 505, 540],
        |raw| raw.send(&raw::open("/").on(1)),
    ),
];

fn mistake(scene: &Scene, codes: &[u16], act: fn(&mut Raw) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut raw = scene.login()?;
    act(&mut raw)?;
    let ending = raw.ending()?;
    if is_rabbitmq() && ending == Ending::Cut {
        // Its connection process dies of some of these, and only its log says so; we answer.
        return Ok(());
    }
    let Ending::Connection(code, text) = &ending else {
        anyhow::bail!("the ending was {ending:?}")
    };
    ensure!(
        codes.contains(code),
        "closed with {code} {text}; expected one of {codes:?}"
    );
    raw.is_cut()
}

type Attack = (&'static str, fn(&Scene) -> anyhow::Result<()>);

/// What is more than one wrong frame.
const ATTACKS: &[Attack] = &[
    ("another protocol is answered with ours", another_protocol),
    ("the protocol header of 0-9 is accepted", |scene| {
        let mut raw = scene.connect()?;
        raw.send(b"AMQP\x01\x01\x08\x00")?;
        raw.expect(10, 10).map(drop)
    }),
    ("a method before logging in", method_before_login),
    ("login data beyond the limit", too_much_before_login),
    ("a frame limit below the least", |scene| {
        tuned(scene, raw::tune_ok(0, 100, 0))
    }),
    ("more channels than the broker offers", |scene| {
        tuned(scene, raw::tune_ok(u16::MAX, 131_072, 0))
    }),
    ("a larger frame limit than the broker offers", |scene| {
        tuned(scene, raw::tune_ok(0, 1 << 30, 0))
    }),
    ("a handshake that stalls at once", |scene| stalled(scene, &[])),
    ("a handshake that stalls after the header", |scene| {
        stalled(scene, HEADER)
    }),
    ("a handshake that stalls within a frame", |scene| {
        stalled(scene, &[&HEADER[..], &[1, 0, 0, 0, 0]].concat())
    }),
    ("a handshake byte by byte", dripping_handshake),
    ("tables nested 20,000 deep", deep_tables),
    ("arrays nested 25,000 deep", deep_arrays),
    ("a conversation that breaks off at every byte", truncated),
    ("a conversation with every byte wrong once", bit_flips),
    ("heartbeats in every place", heartbeats),
    ("bodies announced and never sent", announced_bodies),
    ("a body that announces more than any machine has", absurd_body),
    ("1000 connections that come and go", comers_and_goers),
    ("a consumer that never reads", deaf_consumer),
];

fn another_protocol(scene: &Scene) -> anyhow::Result<()> {
    for greeting in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"AMQP\x03\x01\x00\x00",
        b"AMQP\x00\x00\x08\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ] {
        let mut raw = scene.connect()?;
        raw.send(greeting)?;
        let answer = raw.bytes(8)?;
        ensure!(answer == HEADER, "{greeting:?} was answered with {answer:?}");
        raw.is_cut()?;
    }
    Ok(())
}

fn method_before_login(scene: &Scene) -> anyhow::Result<()> {
    let mut raw = scene.greeted()?;
    raw.send(&raw::declare("h", 4, &[]).on(1))?;
    raw.send(&raw::declare("h", 4, &[]).on(0))?;
    ensure!(
        !matches!(raw.ending()?, Ending::Channel(..)),
        "it was treated as if it were logged in"
    );
    raw.is_cut()
}

fn too_much_before_login(scene: &Scene) -> anyhow::Result<()> {
    let mut raw = scene.greeted()?;
    let properties = Fields::default()
        .name("k")
        .octet(b'S')
        .bytes(&vec![b'x'; 1 << 20])
        .0;
    raw.send(&raw::start_ok(&properties, "PLAIN", b"\0guest\0guest").on(0))?;
    ensure!(
        !matches!(raw.ending()?, Ending::Channel(..)),
        "it was treated as if it were logged in"
    );
    raw.is_cut()
}

fn tuned(scene: &Scene, answer: Fields) -> anyhow::Result<()> {
    let mut raw = scene.greeted()?;
    raw.send(&raw::start_ok(&[], "PLAIN", b"\0guest\0guest").on(0))?;
    raw.expect(10, 30)?;
    raw.send(&answer.on(0))?;
    let ending = raw.ending()?;
    let cut = is_rabbitmq() && ending == Ending::Cut;
    ensure!(
        cut || matches!(ending, Ending::Connection(530, _)),
        "the ending was {ending:?}"
    );
    raw.is_cut()
}

fn stalled(scene: &Scene, start: &[u8]) -> anyhow::Result<()> {
    let mut raw = scene.connect()?;
    raw.send(start)?;
    let since = Instant::now();
    raw.ending()?;
    let waited = since.elapsed();
    let right = Duration::from_secs(8)..Duration::from_secs(13);
    ensure!(
        right.contains(&waited),
        "the broker gave it {waited:?} instead of 10 s"
    );
    Ok(())
}

/// Slow is not stalled, but it counts from the beginning: no client stretches its ten seconds by a byte now and then.
fn dripping_handshake(scene: &Scene) -> anyhow::Result<()> {
    let mut raw = scene.greeted()?;
    let since = Instant::now();
    for byte in raw::start_ok(&[], "PLAIN", b"\0guest\0guest")
        .on(0)
        .into_iter()
        .take(28)
    {
        raw.send(&[byte])?;
        std::thread::sleep(Duration::from_millis(500));
    }
    raw.is_cut()?;
    ensure!(
        since.elapsed() < Duration::from_secs(16),
        "the broker waited for {:?}",
        since.elapsed()
    );
    Ok(())
}

fn deep_tables(scene: &Scene) -> anyhow::Result<()> {
    nested(scene, 20_000, |inner| {
        let mut table = vec![0, b'F'];
        table.extend((inner as u32).to_be_bytes());
        table
    })
}

fn deep_arrays(scene: &Scene) -> anyhow::Result<()> {
    nested(scene, 25_000, |inner| {
        let mut array = vec![b'A'];
        array.extend((inner as u32).to_be_bytes());
        array
    })
}

/// Opens one level after the other; the sizes are right, so only the depth is wrong. Whether it is refused or taken,
/// as arguments or as headers of a message: nobody falls over.
fn nested(scene: &Scene, depth: usize, level: fn(usize) -> Vec<u8>) -> anyhow::Result<()> {
    let width = level(0).len();
    let mut table: Vec<u8> = (0..depth).rev().flat_map(|left| level(left * width)).collect();
    if table[0] == b'A' {
        table.splice(0..0, *b"\x01a");
    }
    let mut raw = scene.login()?;
    raw.send(&raw::declare("deep", 4, &table).on(1))?;
    raw.finish_sending();
    raw.is_cut()?;

    let mut raw = scene.login()?;
    let header = Fields::default()
        .short(60)
        .short(0)
        .longlong(0)
        .short(1 << 13)
        .bytes(&table)
        .0;
    raw.send(&raw::declare("deep-headers", 4, &[]).on(1))?;
    raw.send(
        &Fields::of(50, 20)
            .short(0)
            .name("deep-headers")
            .name("amq.headers")
            .name("")
            .octet(0)
            .bytes(b"\x01kI\0\0\0\x01")
            .on(1),
    )?;
    raw.send(
        &Fields::of(60, 40)
            .short(0)
            .name("amq.headers")
            .name("")
            .octet(0)
            .on(1),
    )?;
    raw.send(&frame(CONTENT_HEADER, 1, &header))?;
    raw.finish_sending();
    raw.is_cut()
}

/// A conversation with everything in it: login, declaration, two messages, get, ack.
fn conversation() -> Vec<u8> {
    let message = [
        raw::publish("h").on(1),
        raw::content_header(1, 5),
        frame(BODY, 1, b"hello"),
    ]
    .concat();
    let get = Fields::of(60, 70).short(0).name("h").octet(0).on(1);
    [
        HEADER.to_vec(),
        raw::start_ok(&raw::capability("basic.nack"), "PLAIN", b"\0guest\0guest").on(0),
        raw::tune_ok(100, 8192, 0).on(0),
        raw::open("/").on(0),
        raw::channel_open().on(1),
        raw::declare("h", 4, b"\x0dx-message-ttlI\x00\x00\x10\x00").on(1),
        message.clone(),
        message,
        get,
        Fields::of(60, 80).longlong(1).octet(0).on(1),
    ]
    .concat()
}

fn truncated(scene: &Scene) -> anyhow::Result<()> {
    let whole = conversation();
    all_end(
        scene,
        (0..=whole.len())
            .map(|end| (format!("cut at byte {end}"), whole[..end].to_vec()))
            .collect(),
    )
}

fn bit_flips(scene: &Scene) -> anyhow::Result<()> {
    let whole = conversation();
    let flipped = |at: usize, flip: u8| {
        let mut wrong = whole.clone();
        wrong[at] ^= flip;
        (format!("byte {at} with {flip:#x}"), wrong)
    };
    let places = (HEADER.len()..whole.len()).flat_map(|at| [0x01, 0x80, 0xff].map(|flip| flipped(at, flip)));
    all_end(scene, places.collect())
}

/// Sends each of these and then nothing more; the broker may answer what it understood, and closes the socket.
/// Many at a time, because a broker may take seconds over a refused login on purpose.
fn all_end(scene: &Scene, conversations: Vec<(String, Vec<u8>)>) -> anyhow::Result<()> {
    for some in conversations.chunks(100) {
        let mut talks = Vec::new();
        for (name, bytes) in some {
            let mut raw = scene.connect()?;
            raw.send(bytes)?;
            raw.finish_sending();
            talks.push((name, raw));
        }
        for (name, mut raw) in talks {
            raw.is_cut().with_context(|| name.clone())?;
        }
    }
    Ok(())
}

fn heartbeats(scene: &Scene) -> anyhow::Result<()> {
    let beat = frame(HEARTBEAT, 0, &[]);
    let mut raw = scene.login()?;
    raw.send(
        &[
            beat.clone(),
            raw::publish("h").on(1),
            beat.clone(),
            raw::content_header(1, 2),
        ]
        .concat(),
    )?;
    raw.send(
        &[
            beat.clone(),
            frame(BODY, 1, b"x"),
            beat.clone(),
            frame(BODY, 1, b"y"),
            beat,
        ]
        .concat(),
    )?;
    raw.round_trip("beating", b"x")
}

/// Bodies grow with what arrives, never by what is announced.
fn announced_bodies(scene: &Scene) -> anyhow::Result<()> {
    let before = scene.broker.resident_bytes();
    let mut liars = Vec::new();
    for _ in 0..200 {
        let mut raw = scene.login()?;
        raw.send(
            &[
                raw::publish("h").on(1),
                raw::content_header(1, 100 << 20),
                frame(BODY, 1, b"and more later"),
            ]
            .concat(),
        )?;
        liars.push(raw);
    }
    scene.is_unharmed()?;
    std::thread::sleep(Duration::from_millis(200));
    if let (Some(before), Some(after)) = (before, scene.broker.resident_bytes()) {
        ensure!(
            after.saturating_sub(before) < GROWTH_MAX,
            "memory went from {before} to {after}"
        );
    }
    Ok(())
}

fn absurd_body(scene: &Scene) -> anyhow::Result<()> {
    for size in [u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 40] {
        let mut raw = scene.login()?;
        raw.send(
            &[
                raw::publish("h").on(1),
                raw::content_header(1, size),
                frame(BODY, 1, b"x"),
            ]
            .concat(),
        )?;
        raw.finish_sending();
        raw.is_cut()?;
    }
    Ok(())
}

fn comers_and_goers(scene: &Scene) -> anyhow::Result<()> {
    let before = scene.broker.resident_bytes();
    for number in 0..1000 {
        // Some leave in the middle of the login, some after it.
        if number % 2 == 0 {
            drop(scene.greeted()?)
        } else {
            drop(scene.login()?)
        }
    }
    if let (Some(before), Some(after)) = (before, scene.broker.resident_bytes()) {
        ensure!(
            after.saturating_sub(before) < GROWTH_MAX,
            "memory went from {before} to {after}"
        );
    }
    Ok(())
}

/// Somebody takes 300 MB without acks and reads none of it: what waits for it must not pile up in its buffers, and
/// everybody else goes on.
fn deaf_consumer(scene: &Scene) -> anyhow::Result<()> {
    let mut deaf = scene.login()?;
    deaf.send(&raw::declare("deaf", 2, &[]).on(1))?;
    deaf.expect(50, 11)?;
    deaf.send(
        &Fields::of(60, 20)
            .short(0)
            .name("deaf")
            .name("t")
            .octet(2)
            .long(0)
            .on(1),
    )?;
    deaf.expect(60, 21)?;
    let before = scene.broker.resident_bytes();
    let mut publisher = scene.login()?;
    publisher.send(&Fields::of(85, 10).octet(0).on(1))?;
    publisher.expect(85, 11)?;
    let body = vec![7; 100_000];
    let header = Fields::default()
        .short(60)
        .short(0)
        .longlong(body.len() as u64)
        .short(1 << 12)
        .octet(2)
        .0;
    let message = [
        raw::publish("deaf").on(1),
        frame(CONTENT_HEADER, 1, &header),
        frame(BODY, 1, &body),
    ]
    .concat();
    for round in 0..30 {
        for _ in 0..100 {
            publisher.send(&message)?;
        }
        wait_for_confirm(&mut publisher, (round + 1) * 100)?;
    }
    scene.is_unharmed()?;
    if let (Some(before), Some(after)) = (before, scene.broker.resident_bytes()) {
        ensure!(
            after.saturating_sub(before) < GROWTH_MAX,
            "memory went from {before} to {after}"
        );
    }
    drop(deaf);
    publisher.send(&Fields::of(50, 40).short(0).name("deaf").octet(0).on(1))?;
    publisher.expect(50, 41).map(drop)
}

fn wait_for_confirm(publisher: &mut Raw, wanted: u64) -> anyhow::Result<()> {
    loop {
        let ack = publisher.expect(60, 80)?;
        let tag = ack
            .get(4..12)
            .and_then(|tag| tag.try_into().ok())
            .map(u64::from_be_bytes);
        if tag.context("an ack without a tag")? >= wanted {
            return Ok(());
        }
    }
}
