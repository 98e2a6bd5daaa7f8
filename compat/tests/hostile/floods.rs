//! Too many of what would be right once: connections, channels, methods, acknowledgements, transactions.

use anyhow::ensure;
use everack_compat::raw::{self, Fields, Raw};
use std::time::Duration;

use crate::scene::{Scene, channel_ends_with, ends_with, told};
use crate::{Case, case, ours};

pub(crate) const CASES: &[Case] = &[
    case("1,000 connections that come and go", 24, |scene| {
        for number in 0..1000 {
            // Some leave in the middle of the login, some after it.
            if number % 2 == 0 {
                drop(scene.greeted()?)
            } else {
                drop(scene.login()?)
            }
        }
        Ok("none; they are served".into())
    }),
    case("400 connections at once", 48, |scene| {
        let mut raws = Vec::new();
        for _ in 0..400 {
            raws.push(scene.login()?);
        }
        raws[399].round_trip("the-last", b"x")?;
        Ok("none; they are served".into())
    }),
    case("half-open: 300 clients that vanish without a word", 24, |scene| {
        for _ in 0..300 {
            let mut raw = scene.login()?;
            raw.send(&raw::declare("", 4, &[]).on(1))?;
            raw.reset();
        }
        scene.is_alive()?;
        Ok("none; their queues are gone with them".into())
    }),
    ours("a channel opened and closed 20,000 times", 16, |scene| {
        let mut raw = scene.login()?;
        let close = Fields::of(20, 40).short(200).name("").short(0).short(0).on(2);
        let once = [raw::channel_open().on(2), close].concat();
        for _ in 0..200 {
            raw.send(&once.repeat(100))?;
            for _ in 0..100 {
                raw.expect(20, 11)?;
                raw.expect(20, 41)?;
            }
        }
        Ok("none; they are opened and closed".into())
    }),
    case("a channel that fails 2,000 times", 16, |scene| {
        let mut raw = scene.login()?;
        let mut answer = String::new();
        for _ in 0..2000 {
            raw.send(&raw::declare("nowhere", 1, &[]).on(1))?;
            answer = channel_ends_with(&mut raw, 404)?;
        }
        Ok(answer)
    }),
    ours(
        "2,047 channels that failed and whose ends are never agreed to",
        16,
        |scene| {
            let mut raw = scene.login()?;
            for number in 2..=2047 {
                raw.send(&raw::channel_open().on(number))?;
            }
            for number in 1..=2047 {
                raw.send(&raw::declare("nowhere", 1, &[]).on(number))?;
            }
            raw.send(&raw::channel_open().on(1))?;
            let mut raw = raw;
            let ending = raw.ending()?;
            Ok(told(&ending))
        },
    ),
    case("20,000 declarations that wait for nothing", 32, |scene| {
        let mut raw = scene.login()?;
        for number in 0..20_000 {
            raw.send(&raw::declare(&format!("same-{}", number % 50), 2 | 16, &[]).on(1))?;
        }
        raw.round_trip("after", b"x")?;
        for number in 0..50 {
            raw.send(
                &Fields::of(50, 40)
                    .short(0)
                    .name(&format!("same-{number}"))
                    .octet(4)
                    .on(1),
            )?;
        }
        raw.round_trip("after", b"x")?;
        Ok("none; they are served in their order".into())
    }),
    case("500 durable queues declared and deleted", 32, |scene| {
        let mut raw = scene.login()?;
        for number in 0..500 {
            let name = format!("short-lived-{number}");
            raw.send(&raw::declare(&name, 2 | 16, &[]).on(1))?;
            raw.send(&Fields::of(50, 40).short(0).name(&name).octet(4).on(1))?;
        }
        raw.round_trip("after", b"x")?;
        Ok("none; they are served in their order".into())
    }),
    case("2,000 exclusive queues of a client that goes", 24, |scene| {
        let mut raw = scene.login()?;
        for _ in 0..2000 {
            raw.send(&raw::declare("", 4, &[]).on(1))?;
        }
        for _ in 0..2000 {
            raw.expect(50, 11)?;
        }
        raw.reset();
        // They are gone, or their number would soon be at its limit.
        std::thread::sleep(Duration::from_millis(200));
        let mut raw = scene.login()?;
        for _ in 0..2000 {
            raw.send(&raw::declare("", 4, &[]).on(1))?;
        }
        for _ in 0..2000 {
            raw.expect(50, 11)?;
        }
        Ok("none; they go with it".into())
    }),
    case("5,000 bindings of one queue", 24, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare("bound", 4, &[]).on(1))?;
        raw.expect(50, 11)?;
        for number in 0..5000 {
            raw.send(&raw::bind("bound", "amq.direct", &format!("key-{number}"), true, &[]).on(1))?;
        }
        raw.round_trip("after", b"x")?;
        Ok("none; they are bindings".into())
    }),
    case("5,000 consumers that come and go", 16, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare("fickle", 4, &[]).on(1))?;
        raw.expect(50, 11)?;
        for _ in 0..5000 {
            raw.send(&raw::consume("fickle", "t", 8).on(1))?;
            raw.send(&Fields::of(60, 30).name("t").octet(1).on(1))?;
        }
        raw.round_trip("after", b"x")?;
        Ok("none; they are served in their order".into())
    }),
    case("20,000 cancellations of nobody", 16, |scene| {
        let mut raw = scene.login()?;
        raw.send(&Fields::of(60, 30).name("nobody").octet(1).on(1).repeat(20_000))?;
        raw.round_trip("after", b"x")?;
        Ok("none; there was nothing to cancel".into())
    }),
    case("20,000 gets of an empty queue", 16, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare("nothing", 4, &[]).on(1))?;
        raw.expect(50, 11)?;
        for _ in 0..200 {
            raw.send(&raw::get("nothing", false).on(1).repeat(100))?;
            for _ in 0..100 {
                raw.expect(60, 72)?;
            }
        }
        Ok("`basic.get-empty`".into())
    }),
    case("20,000 changes of the prefetch", 16, |scene| {
        let mut raw = scene.login()?;
        for round in 0..200u16 {
            let qos = Fields::of(60, 10)
                .long(0)
                .short(round % 3)
                .octet((round % 2) as u8)
                .on(1);
            raw.send(&qos.repeat(100))?;
            for _ in 0..100 {
                raw.expect(60, 11)?;
            }
        }
        Ok("`basic.qos-ok`".into())
    }),
    case("an ack of a tag that was never given", 8, |scene| {
        settles(scene, &Fields::of(60, 80).longlong(1 << 40).octet(0))
    }),
    case("a multiple ack of the largest tag", 8, |scene| {
        settles(scene, &Fields::of(60, 80).longlong(u64::MAX).octet(1))
    }),
    case("a nack and a reject of unknown tags", 8, |scene| {
        settles(scene, &Fields::of(60, 120).longlong(7).octet(1 | 2))?;
        settles(scene, &Fields::of(60, 90).longlong(7).octet(1))
    }),
    case("the same message acknowledged twice", 8, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare("twice", 4, &[]).on(1))?;
        raw.send(&raw::message(1, &raw::publish("twice"), b"x"))?;
        raw.expect(50, 11)?;
        raw.send(&raw::get("twice", false).on(1))?;
        raw.expect(60, 71)?;
        raw.frame()?;
        raw.frame()?;
        raw.send(&Fields::of(60, 80).longlong(1).octet(0).on(1).repeat(2))?;
        channel_ends_with(&mut raw, 406)
    }),
    case(
        "50,000 messages unsettled, asked back again and again",
        64,
        recovers,
    ),
    ours("a transaction that gathers more than 256 MiB", 340, |scene| {
        let mut raw = scene.login()?;
        begin_transaction(&mut raw)?;
        let message = raw::message(1, &raw::publish("gathered"), &[7; 1 << 20]);
        for _ in 0..260 {
            raw.send(&message)?;
        }
        ends_with(&mut raw, &[506])
    }),
    ours(
        "a transaction of 300,000 empty messages, rolled back",
        64,
        |scene| {
            let mut raw = scene.login()?;
            begin_transaction(&mut raw)?;
            let message = raw::message(1, &raw::publish("gathered"), &[]).repeat(1000);
            for _ in 0..300 {
                raw.send(&message)?;
            }
            raw.send(&Fields::of(90, 30).on(1))?;
            raw.expect(90, 31)?;
            Ok("`tx.rollback-ok`".into())
        },
    ),
    case("a commit on a channel without a transaction", 8, |scene| {
        let mut raw = scene.login()?;
        raw.send(&Fields::of(90, 20).on(1))?;
        channel_ends_with(&mut raw, 406)
    }),
    case("`confirm.select` and `tx.select` on one channel", 8, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::confirm_select().on(1))?;
        raw.expect(85, 11)?;
        raw.send(&Fields::of(90, 10).on(1))?;
        channel_ends_with(&mut raw, 406)
    }),
];

fn settles(scene: &Scene, settle: &Fields) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    raw.send(&settle.on(1))?;
    channel_ends_with(&mut raw, 406)
}

fn begin_transaction(raw: &mut Raw) -> anyhow::Result<()> {
    raw.send(&raw::declare("gathered", 4, &[]).on(1))?;
    raw.expect(50, 11)?;
    raw.send(&Fields::of(90, 10).on(1))?;
    raw.expect(90, 11).map(drop)
}

/// A consumer without prefetch takes everything and settles nothing; what it is asked to take back comes again.
fn recovers(scene: &Scene) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    raw.send(&raw::declare("window", 4, &[]).on(1))?;
    raw.expect(50, 11)?;
    raw.send(&raw::message(1, &raw::publish("window"), b"x").repeat(50_000))?;
    raw.send(&raw::consume("window", "t", 0).on(1))?;
    raw.expect(60, 21)?;
    let mut seen = 0;
    for round in 1..=2 {
        while seen < round * 50_000 {
            let (_, _, payload) = raw
                .frame()?
                .ok_or_else(|| anyhow::anyhow!("the broker closed the socket"))?;
            seen += usize::from(payload.starts_with(&[0, 60, 0, 60]));
        }
        // The last content is still to come.
        raw.frame()?;
        raw.frame()?;
        if round == 1 {
            raw.send(&Fields::of(60, 110).octet(1).on(1))?;
            raw.expect(60, 111)?;
        }
    }
    ensure!(seen == 100_000, "{seen} deliveries");
    Ok("`basic.recover-ok`, and all of them again".into())
}
