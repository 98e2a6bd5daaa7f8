//! Exchanges, queues and bindings made to be expensive, and names that are not for clients.

use anyhow::ensure;
use everack_compat::raw::{self, Fields, Raw};
use std::time::{Duration, Instant};

use crate::scene::{Scene, channel_ends_with, ends_with, holds};
use crate::{Case, case, ours};

pub(crate) const CASES: &[Case] = &[
    case("exchanges bound in a circle", 8, circle),
    case("a chain of 500 exchanges", 16, chain),
    case("alternate exchanges in a circle", 8, |scene| {
        let mut raw = scene.login()?;
        for (exchange, other) in [("alt-a", "alt-b"), ("alt-b", "alt-a")] {
            let table = Fields::default()
                .name("alternate-exchange")
                .octet(b'S')
                .bytes(other.as_bytes())
                .0;
            raw.send(&raw::declare_exchange(exchange, "direct", 4, &table).on(1))?;
            raw.expect(40, 11)?;
        }
        raw.send(&raw::message(
            1,
            &raw::publish_to("alt-a", "nowhere", 1),
            b"round and round",
        ))?;
        raw.expect(60, 50)?;
        raw.frame()?;
        raw.frame()?;
        remove_exchanges(&mut raw, ["alt-a", "alt-b"].into_iter())?;
        Ok("`basic.return` 312".into())
    }),
    ours("topic bindings made of 60 `#`", 16, wildcards),
    ours("topic keys of 128 words, and of nothing but dots", 16, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare("words", 4, &[]).on(1))?;
        raw.expect(50, 11)?;
        let words = ["a"; 128].join(".");
        for key in [&words[..], &".".repeat(255), &"*.".repeat(127), &"#.".repeat(127)] {
            raw.send(&raw::bind("words", "amq.topic", key, false, &[]).on(1))?;
            raw.expect(50, 21)?;
            raw.send(&raw::message(1, &raw::publish_to("amq.topic", key, 0), b"x"))?;
        }
        raw.round_trip("after", b"x")?;
        Ok("none; they are bindings".into())
    }),
    case("a routing key and a queue's name of 255 bytes", 8, |scene| {
        let mut raw = scene.login()?;
        raw.round_trip(&"q".repeat(255), b"x")?;
        Ok("none; that is allowed".into())
    }),
    ours(
        "a binding with 100 KiB of arguments, a hundred times",
        40,
        |scene| {
            let mut raw = scene.login()?;
            raw.send(&raw::declare("much", 4, &[]).on(1))?;
            raw.expect(50, 11)?;
            let value = vec![b'v'; 100 << 10];
            for number in 0..100 {
                let table = Fields::default()
                    .name(&format!("k{number}"))
                    .octet(b'S')
                    .bytes(&value)
                    .0;
                raw.send(&raw::bind("much", "amq.headers", "", true, &table).on(1))?;
            }
            raw.round_trip("after", b"x")?;
            Ok("none; they are bindings".into())
        },
    ),
    ours("a queue whose arguments hold 120,000 nothings", 24, |scene| {
        let array = Fields::default()
            .name("a")
            .octet(b'A')
            .bytes(&vec![b'V'; 120_000])
            .0;
        too_many_values(scene, &array)
    }),
    ours("a queue whose arguments are 60,000 empty names", 24, |scene| {
        too_many_values(scene, &[0, b'V'].repeat(60_000))
    }),
    ours("queues beyond `limits.queues_max`", 24, |scene| {
        let mut raw = scene.login()?;
        for number in 0..3200 {
            raw.send(&raw::declare(&format!("many-{number}"), 4 | 16, &[]).on(1))?;
        }
        channel_ends_with(&mut raw, 406)
    }),
    ours("exchanges beyond `limits.exchanges_max`", 24, |scene| {
        let mut raw = scene.login()?;
        for number in 0..1600 {
            raw.send(&raw::declare_exchange(&format!("many-{number}"), "fanout", 16, &[]).on(1))?;
        }
        let answer = channel_ends_with(&mut raw, 406)?;
        remove_exchanges(&mut raw, (0..1600).map(|number| format!("many-{number}")))?;
        Ok(answer)
    }),
    ours("consumers beyond `limits.consumers_max`", 24, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare("popular", 4, &[]).on(1))?;
        for number in 0..2100 {
            raw.send(&raw::consume("popular", &format!("t{number}"), 8).on(1))?;
        }
        ends_with(&mut raw, &[530])
    }),
    case("a consumer tag that is taken", 8, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare("tags", 4, &[]).on(1))?;
        raw.expect(50, 11)?;
        raw.send(&raw::consume("tags", "taken", 0).on(1))?;
        raw.expect(60, 21)?;
        raw.send(&raw::consume("tags", "taken", 0).on(1))?;
        ends_with(&mut raw, &[530])
    }),
    case("a queue named `amq.` something", 8, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare("amq.mine", 0, &[]).on(1))?;
        channel_ends_with(&mut raw, 403)
    }),
    case("an exchange named `amq.` something", 8, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare_exchange("amq.mine", "direct", 0, &[]).on(1))?;
        channel_ends_with(&mut raw, 403)
    }),
    case("an exchange that every broker has, deleted", 8, |scene| {
        let mut raw = scene.login()?;
        raw.send(&Fields::of(40, 20).short(0).name("amq.direct").octet(0).on(1))?;
        channel_ends_with(&mut raw, 403)
    }),
    case("a binding to the default exchange", 8, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare("plain", 4, &[]).on(1))?;
        raw.expect(50, 11)?;
        raw.send(&raw::bind("plain", "", "k", false, &[]).on(1))?;
        channel_ends_with(&mut raw, 403)
    }),
    case("somebody else's exclusive queue", 8, |scene| {
        let mut owner = scene.login()?;
        owner.send(&raw::declare("mine", 4, &[]).on(1))?;
        owner.expect(50, 11)?;
        let mut raw = scene.login()?;
        raw.send(&raw::declare("mine", 1, &[]).on(1))?;
        channel_ends_with(&mut raw, 405)
    }),
    case(
        "permissions that are regular expressions with no end",
        64,
        expressions,
    ),
    case("one message to 1,000 queues", 24, |scene| {
        let mut raw = scene.login()?;
        for number in 0..1000 {
            let queue = format!("copy-{number}");
            raw.send(&raw::declare(&queue, 4 | 16, &[]).on(1))?;
            raw.send(&raw::bind(&queue, "amq.fanout", "", true, &[]).on(1))?;
        }
        raw.send(&raw::message(
            1,
            &raw::publish_to("amq.fanout", "", 0),
            &[7; 1 << 20],
        ))?;
        raw.send(&raw::get("copy-999", true).on(1))?;
        raw.expect(60, 71)?;
        Ok("none; they share one body".into())
    }),
];

fn circle(scene: &Scene) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    let names: Vec<String> = (0..10).map(|number| format!("circle-{number}")).collect();
    for name in &names {
        raw.send(&raw::declare_exchange(name, "fanout", 0, &[]).on(1))?;
        raw.expect(40, 11)?;
    }
    for (at, name) in names.iter().enumerate() {
        for other in [
            &names[(at + 1) % names.len()],
            &names[(at + 3) % names.len()],
            name,
        ] {
            raw.send(&raw::bind_exchange(other, name, "").on(1))?;
            raw.expect(40, 31)?;
        }
    }
    raw.send(&raw::declare("once", 4, &[]).on(1))?;
    raw.expect(50, 11)?;
    raw.send(&raw::bind("once", &names[5], "", false, &[]).on(1))?;
    raw.expect(50, 21)?;
    for _ in 0..100 {
        raw.send(&raw::message(1, &raw::publish_to(&names[0], "", 0), b"round"))?;
    }
    holds(&mut raw, "once", 100)?;
    remove_exchanges(&mut raw, names.iter())?;
    Ok("none; each message arrives once".into())
}

fn chain(scene: &Scene) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    let name = |number: usize| format!("chain-{number}");
    for number in 0..500 {
        raw.send(&raw::declare_exchange(&name(number), "fanout", 16, &[]).on(1))?;
        if number > 0 {
            raw.send(&raw::bind_exchange(&name(number), &name(number - 1), "").on(1))?;
            raw.expect(40, 31)?;
        }
    }
    raw.send(&raw::declare("end", 4, &[]).on(1))?;
    raw.expect(50, 11)?;
    raw.send(&raw::bind("end", &name(499), "", false, &[]).on(1))?;
    raw.expect(50, 21)?;
    for _ in 0..20 {
        raw.send(&raw::message(1, &raw::publish_to(&name(0), "", 0), b"far"))?;
    }
    holds(&mut raw, "end", 20)?;
    remove_exchanges(&mut raw, (0..500).map(name))?;
    Ok("none; they come through".into())
}

/// Matched depth first, one key costs more steps than there are seconds.
fn wildcards(scene: &Scene) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    raw.send(&raw::declare("wild", 4, &[]).on(1))?;
    raw.expect(50, 11)?;
    for key in [
        "#.a.".repeat(60) + "#",
        "#.".repeat(60) + "b",
        "*.#.".repeat(50) + "c",
    ] {
        raw.send(&raw::bind("wild", "amq.topic", &key, false, &[]).on(1))?;
        raw.expect(50, 21)?;
    }
    let start = Instant::now();
    for end in ["a", "b", "c", "d"] {
        let key = "a.".repeat(120) + end;
        raw.send(&raw::message(1, &raw::publish_to("amq.topic", &key, 0), b"x"))?;
    }
    raw.round_trip("after", b"x")?;
    let took = start.elapsed();
    ensure!(took < Duration::from_secs(2), "four keys took {took:?}");
    Ok(format!(
        "none; four keys of 121 words are routed within {} ms",
        took.as_millis()
    ))
}

fn too_many_values(scene: &Scene, table: &[u8]) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    raw.send(&raw::declare("valued", 4, table).on(1))?;
    channel_ends_with(&mut raw, 406)
}

fn expressions(scene: &Scene) -> anyhow::Result<String> {
    let mut raw = scene.connect()?.logged_in(b"\0bomber\0secret", &[])?;
    let start = Instant::now();
    let name = "a".repeat(254) + "!";
    raw.send(&raw::declare(&name, 0, &[]).on(1))?;
    let answer = channel_ends_with(&mut raw, 403)?;
    let took = start.elapsed();
    ensure!(took < Duration::from_secs(2), "one name took {took:?}");
    Ok(answer)
}

fn remove_exchanges(raw: &mut Raw, names: impl Iterator<Item = impl AsRef<str>>) -> anyhow::Result<()> {
    for name in names {
        raw.send(&Fields::of(40, 20).short(0).name(name.as_ref()).octet(2).on(1))?;
    }
    raw.round_trip("removed", b"x")
}
