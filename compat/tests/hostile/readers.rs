//! Clients that ask and never listen: what waits for them must not pile up, and others must not wait for them.

use anyhow::ensure;
use everack_compat::raw::{self, Fields, Raw};
use std::time::{Duration, Instant};

use crate::scene::{Scene, confirmed, delivered, persistent};
use crate::{Case, case, ours};

pub(crate) const CASES: &[Case] = &[
    case("a consumer that never reads 100 MB", 128, deaf_consumer),
    case("a consumer without acks that never reads 50 MB", 128, |scene| {
        let mut deaf = scene.login_deaf()?;
        deaf.send(&raw::declare("unheard", 0, &[]).on(1))?;
        deaf.expect(50, 11)?;
        deaf.send(&raw::consume("unheard", "t", 2).on(1))?;
        deaf.expect(60, 21)?;
        fill(scene, "unheard", 500)?;
        remove(scene, "unheard")?;
        Ok("none; it is not read either once 1 MiB waits for it".into())
    }),
    case("100 consumers that never read", 128, |scene| {
        let mut deaf = Vec::new();
        let mut owner = scene.login()?;
        owner.send(&raw::declare("all-deaf", 2, &[]).on(1))?;
        owner.expect(50, 11)?;
        for _ in 0..100 {
            let mut raw = scene.login_deaf()?;
            raw.send(&raw::consume("all-deaf", "t", 0).on(1))?;
            deaf.push(raw);
        }
        fill(scene, "all-deaf", 300)?;
        remove(scene, "all-deaf")?;
        Ok("none; each holds about 1 MiB at most".into())
    }),
    case("a publisher that never reads its confirms", 32, |scene| {
        let mut deaf = scene.login_deaf()?;
        deaf.send(&raw::declare("confirmed", 4, &[]).on(1))?;
        deaf.expect(50, 11)?;
        deaf.send(&raw::confirm_select().on(1))?;
        let message = raw::message(1, &raw::publish("confirmed"), b"x").repeat(100);
        let taken = deaf.send_until_stuck(&message, 20 << 20)?;
        ensure!(taken > 0, "nothing was taken");
        Ok("none; confirms for many messages go in one".into())
    }),
    ours("a publisher that never reads what comes back", 24, |scene| {
        let mut deaf = scene.login_deaf()?;
        let message = raw::message(1, &raw::publish_to("", "nowhere at all", 1), &[7; 10_000]);
        let taken = deaf.send_until_stuck(&message, 200 << 20)?;
        ensure!(taken < 200 << 20, "all of it was taken");
        Ok(format!("none; not read any more after {} MiB", taken >> 20))
    }),
    case(
        "a client that gets 100 KiB again and again and reads nothing",
        64,
        |scene| {
            let mut deaf = scene.login_deaf()?;
            deaf.send(&raw::declare("got", 4, &[]).on(1))?;
            deaf.expect(50, 11)?;
            let message = raw::message(1, &raw::publish("got"), &[7; 100_000]);
            for _ in 0..200 {
                deaf.send(&message)?;
            }
            let gets = raw::get("got", true).on(1).repeat(1000);
            deaf.send_until_stuck(&gets, 1 << 20)?;
            Ok("none; not read any more once 1 MiB waits for it".into())
        },
    ),
    case(
        "a client that asks for 100,000 answers and reads none",
        24,
        |scene| {
            let mut deaf = scene.login_deaf()?;
            let asks = raw::declare("treasury", 1 | 2, &[]).on(1).repeat(1000);
            deaf.send_until_stuck(&asks, 10 << 20)?;
            Ok("none; not read any more once 1 MiB waits for it".into())
        },
    ),
    ours(
        "8 consumers that never read one body of 60 MiB, and one that does",
        500,
        deaf_to_large,
    ),
];

/// Somebody takes 100 MB with acks to come and reads none of it.
fn deaf_consumer(scene: &Scene) -> anyhow::Result<String> {
    let mut deaf = scene.login_deaf()?;
    deaf.send(&raw::declare("deaf", 2, &[]).on(1))?;
    deaf.expect(50, 11)?;
    deaf.send(&raw::consume("deaf", "t", 0).on(1))?;
    deaf.expect(60, 21)?;
    fill(scene, "deaf", 1000)?;
    remove(scene, "deaf")?;
    Ok("none; its messages wait in the queue, on disk".into())
}

/// There is room for four copies. Whoever reads gets its own all the same, once the deaf have held theirs for ten seconds.
fn deaf_to_large(scene: &Scene) -> anyhow::Result<String> {
    let mut owner = scene.login()?;
    let mut deaf = Vec::new();
    let subscribe = |mut raw: Raw, owner: &mut Raw, number: usize| -> anyhow::Result<Raw> {
        let queue = format!("large-{number}");
        owner.send(&raw::declare(&queue, 0, &[]).on(1))?;
        owner.expect(50, 11)?;
        owner.send(&raw::bind(&queue, "amq.fanout", "", false, &[]).on(1))?;
        owner.expect(50, 21)?;
        raw.send(&raw::consume(&queue, "t", 2).on(1))?;
        raw.expect(60, 21)?;
        Ok(raw)
    };
    for number in 0..8 {
        deaf.push(subscribe(scene.login_deaf()?, &mut owner, number)?);
    }
    owner.send(&raw::message(
        1,
        &raw::publish_to("amq.fanout", "", 0),
        &[7; 60 << 20],
    ))?;
    owner.round_trip("after", b"x")?;
    std::thread::sleep(Duration::from_millis(500));
    // The deaf have taken all the room by now.
    let mut reader = subscribe(scene.login()?, &mut owner, 8)?;
    let since = Instant::now();
    owner.send(&raw::message(1, &raw::publish("large-8"), &[8; 60 << 20]))?;
    ensure!(delivered(&mut reader)?.len() == 60 << 20, "another body came");
    let waited = since.elapsed();
    for number in 0..9 {
        owner.send(
            &Fields::of(50, 40)
                .short(0)
                .name(&format!("large-{number}"))
                .octet(4)
                .on(1),
        )?;
    }
    owner.round_trip("after", b"x")?;
    Ok(format!(
        "socket closed after 10 s; the one that reads had waited {} s for its room",
        waited.as_secs()
    ))
}

/// Confirmed messages of 100 KB.
fn fill(scene: &Scene, queue: &str, count: u64) -> anyhow::Result<()> {
    let mut publisher = scene.login()?;
    publisher.send(&raw::confirm_select().on(1))?;
    publisher.expect(85, 11)?;
    let message = persistent(queue, &[7; 100_000]);
    for number in 1..=count {
        publisher.send(&message)?;
        if number % 100 == 0 {
            confirmed(&mut publisher, number)?;
        }
    }
    Ok(())
}

fn remove(scene: &Scene, queue: &str) -> anyhow::Result<()> {
    let mut raw = scene.login()?;
    raw.send(&Fields::of(50, 40).short(0).name(queue).octet(0).on(1))?;
    raw.expect(50, 41).map(drop)
}
