//! What becomes of those who hold on to memory while there is too little of it. The alarm is raised by messages in a queue that is not
//! durable, and stands until they are gone.

use anyhow::{Context, ensure};
use everack_compat::raw::{self, BODY, Ending, Fields, Raw, frame};
use std::thread;
use std::time::{Duration, Instant};

use crate::scene::{Scene, ends_with, told};
use crate::{Case, ours};

pub(crate) const CASES: &[Case] = &[
    ours("connections beyond `amqp.connections_max`", 16, |scene| {
        let mut raws = Vec::new();
        for _ in 0..98 {
            raws.push(scene.login()?);
        }
        // The bystander has a place too, so one is left.
        let mut last = scene.login()?;
        let mut more = scene.connect()?;
        more.ends_somehow()?;
        last.round_trip("last", b"x")?;
        Ok("socket closed".into())
    }),
    ours(
        "a publisher that goes on sending while it is blocked",
        300,
        blocked_publisher,
    ),
    ours(
        "bodies half sent, transactions and answers nobody reads, while memory is short",
        300,
        hoarders,
    ),
    ours(
        "declarations, bindings, consumers and channels while memory is short",
        300,
        growers,
    ),
];

/// Fills memory beyond the alarm with messages that only a consumer can take away; gives the publisher, blocked. Memory is looked at every 100 ms, and
/// over loopback a publisher gets in up to 100 MiB meanwhile: hence the 300 MiB above, where the alarm is at 200 less what it keeps in hand.
fn raise_alarm(scene: &Scene) -> anyhow::Result<Raw> {
    let mut raw = scene.login_able()?;
    raw.send(&raw::declare("heap", 0, &[]).on(1))?;
    raw.expect(50, 11)?;
    let message = raw::message(1, &raw::publish("heap"), &[7; 1 << 20]);
    raw.send_until_stuck(&message, 400 << 20)?;
    raw.expect(10, 60)?;
    Ok(raw)
}

/// Takes the messages away again, so that the alarm ends.
fn end_alarm(scene: &Scene, mut blocked: Raw) -> anyhow::Result<()> {
    let mut raw = scene.login()?;
    raw.send(&Fields::of(50, 40).short(0).name("heap").octet(0).on(1))?;
    raw.expect(50, 41)?;
    blocked.expect(10, 61).context("the publisher stays blocked")?;
    blocked.reset();
    scene.wait_below(180, Duration::from_secs(10))
}

fn blocked_publisher(scene: &Scene) -> anyhow::Result<String> {
    let mut blocked = raise_alarm(scene)?;
    let before = scene.resident_bytes();
    let message = raw::message(1, &raw::publish("heap"), &[7; 1 << 20]);
    let taken = blocked.send_until_stuck(&message, 400 << 20)?;
    let grown = scene
        .resident_bytes()
        .zip(before)
        .map(|(now, before)| now.saturating_sub(before));
    ensure!(
        grown.is_none_or(|grown| grown < 16 << 20),
        "memory went on growing, by {grown:?} bytes"
    );
    ensure!(
        taken < 64 << 20,
        "{taken} bytes were taken from a blocked publisher"
    );
    let mut reader = scene.login()?;
    reader.send(&Fields::of(50, 30).short(0).name("heap").octet(0).on(1))?;
    reader.expect(50, 31)?;
    blocked.expect(10, 61).context("the publisher stays blocked")?;
    end_quietly(scene, blocked)?;
    Ok("`connection.blocked` *low on memory*, then `connection.unblocked`".into())
}

fn end_quietly(scene: &Scene, publisher: Raw) -> anyhow::Result<()> {
    publisher.reset();
    let mut raw = scene.login()?;
    raw.send(&Fields::of(50, 40).short(0).name("heap").octet(0).on(1))?;
    raw.expect(50, 41)?;
    scene.wait_below(180, Duration::from_secs(10))
}

/// Nobody else can free what these hold, so they are given some time (four seconds here) and then given up.
fn hoarders(scene: &Scene) -> anyhow::Result<String> {
    let mut half = scene.login()?;
    half.send(&[raw::publish("h").on(1), raw::content_header(1, 40 << 20)].concat())?;
    for _ in 0..300 {
        half.send(&frame(BODY, 1, &[7; 100_000]))?;
    }
    let mut gathering = scene.login()?;
    gathering.send(&raw::declare("gathered", 4, &[]).on(1))?;
    gathering.expect(50, 11)?;
    gathering.send(&Fields::of(90, 10).on(1))?;
    gathering.expect(90, 11)?;
    for _ in 0..30 {
        gathering.send(&raw::message(1, &raw::publish("gathered"), &[7; 1 << 20]))?;
    }
    let mut deaf = scene.login_deaf()?;
    deaf.send(&raw::declare("large", 4, &[]).on(1))?;
    deaf.expect(50, 11)?;
    deaf.send(&raw::confirm_select().on(1))?;
    deaf.expect(85, 11)?;
    deaf.send(&raw::message(1, &raw::publish("large"), &[7; 20 << 20]))?;
    crate::scene::confirmed(&mut deaf, 1)?;
    deaf.send(&raw::get("large", true).on(1))?;
    let blocked = raise_alarm(scene)?;
    let since = Instant::now();
    let answers = thread::scope(|scope| {
        let half = scope.spawn(move || half.ending());
        let gathering = scope.spawn(move || gathering.ending());
        (
            half.join().expect("no thread panics"),
            gathering.join().expect("no thread panics"),
        )
    });
    let waited = since.elapsed();
    let (half, gathering) = (answers.0?, answers.1?);
    for ending in [&half, &gathering] {
        ensure!(
            matches!(ending, Ending::Connection(506, _)),
            "the ending was {ending:?}"
        );
    }
    ensure!(
        (Duration::from_secs(1)..Duration::from_secs(10)).contains(&waited),
        "they were given up after {waited:?}"
    );
    deaf.ends_somehow()?;
    end_alarm(scene, blocked)?;
    Ok(format!("{}; socket closed where nobody reads", told(&half)))
}

/// What is there may be used and declared again; what would be new has to wait.
fn growers(scene: &Scene) -> anyhow::Result<String> {
    let mut known = scene.login()?;
    known.send(&raw::declare("known", 4, &[]).on(1))?;
    known.expect(50, 11)?;
    known.send(&raw::bind("known", "amq.direct", "k", false, &[]).on(1))?;
    known.expect(50, 21)?;
    let mut wide = scene.login()?;
    let blocked = raise_alarm(scene)?;

    known.send(&raw::declare("known", 4, &[]).on(1))?;
    known.expect(50, 11)?;
    known.send(&raw::bind("known", "amq.direct", "k", false, &[]).on(1))?;
    known.expect(50, 21)?;
    let refused = |bytes: &[u8]| -> anyhow::Result<String> {
        let mut raw = scene.login()?;
        raw.send(bytes)?;
        crate::scene::channel_ends_with(&mut raw, 406)
    };
    let answer = refused(&raw::declare("new", 0, &[]).on(1))?;
    refused(&raw::declare_exchange("new", "fanout", 0, &[]).on(1))?;
    refused(&raw::bind("treasury", "amq.direct", "new", false, &[]).on(1))?;
    for number in 0..64 {
        known.send(&raw::consume("known", &format!("t{number}"), 8).on(1))?;
    }
    known.send(&raw::consume("known", "one-too-many", 0).on(1))?;
    crate::scene::channel_ends_with(&mut known, 406)?;
    for number in 2..=65 {
        wide.send(&raw::channel_open().on(number))?;
    }
    ends_with(&mut wide, &[506])?;
    end_alarm(scene, blocked)?;
    Ok(answer)
}
