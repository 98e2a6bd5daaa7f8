//! Clients that never log in: other protocols, too much, too early, and limits that nobody agreed to.

use anyhow::ensure;
use everack_compat::broker::is_rabbitmq;
use everack_compat::raw::{self, Ending, Fields, HEADER, Raw};

use crate::scene::{Scene, ends_with, told};
use crate::{Case, case, ours};

pub(crate) const CASES: &[Case] = &[
    case("HTTP on the AMQP port", 8, |scene| {
        answered_with_ours(scene, b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n")
    }),
    case("the header of AMQP 1.0", 8, |scene| {
        answered_with_ours(scene, b"AMQP\x00\x01\x00\x00")
    }),
    case("the header of AMQP 1.0 with SASL", 8, |scene| {
        answered_with_ours(scene, b"AMQP\x03\x01\x00\x00")
    }),
    case("a TLS hello on the plain port", 8, |scene| {
        answered_with_ours(scene, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    }),
    case("1 MiB of noise instead of a header", 8, |scene| {
        let noise: Vec<u8> = (0..1u32 << 20)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        answered_with_ours(scene, &noise)
    }),
    case(
        "the headers of AMQP 0-8 and 0-9, which are accepted",
        8,
        |scene| {
            for header in [b"AMQP\x01\x01\x08\x00", b"AMQP\x01\x01\x00\x09"] {
                let mut raw = scene.connect()?;
                raw.send(header)?;
                raw.expect(10, 10)?;
            }
            Ok("`connection.start`".into())
        },
    ),
    case("a method before logging in", 8, |scene| {
        let mut raw = scene.greeted()?;
        raw.send(&raw::declare("h", 4, &[]).on(1))?;
        raw.send(&raw::declare("h", 4, &[]).on(0))?;
        never_logged_in(&mut raw)
    }),
    case("`open` before `tune-ok`", 8, |scene| {
        let mut raw = scene.tuned()?;
        raw.send(&raw::open("/").on(0))?;
        never_logged_in(&mut raw)
    }),
    case("`start-ok` twice", 8, |scene| {
        let mut raw = scene.tuned()?;
        raw.send(&raw::start_ok(&[], "PLAIN", b"\0guest\0guest").on(0))?;
        never_logged_in(&mut raw)
    }),
    case("`secure-ok` that nobody asked for", 8, |scene| {
        let mut raw = scene.greeted()?;
        raw.send(&Fields::of(10, 21).bytes(b"what").on(0))?;
        never_logged_in(&mut raw)
    }),
    case("a virtual host that is not there", 8, |scene| {
        let mut raw = scene.tuned()?;
        raw.send(&raw::tune_ok(100, 131_072, 0).on(0))?;
        raw.send(&raw::open(&"v".repeat(255)).on(0))?;
        ends_with(&mut raw, &[530])
    }),
    case("1 MiB of client properties", 8, |scene| {
        let properties = Fields::default()
            .name("k")
            .octet(b'S')
            .bytes(&vec![b'x'; 1 << 20])
            .0;
        too_much(scene, &properties)
    }),
    case("client properties nested 1,500 deep", 8, |scene| {
        let mut properties = Vec::new();
        for _ in 0..1500 {
            properties = Fields::default().name("").octet(b'F').bytes(&properties).0;
        }
        too_much(scene, &properties)
    }),
    case("client properties with an array of 60,000 nothings", 8, |scene| {
        let properties = Fields::default()
            .name("k")
            .octet(b'A')
            .bytes(&vec![b'V'; 60_000])
            .0;
        too_much(scene, &properties)
    }),
    case(
        "400 clients with half a `start-ok` each, all at once",
        32,
        half_a_login,
    ),
    case("`frame-max` 1", 8, |scene| tuned(scene, raw::tune_ok(100, 1, 0))),
    case("`frame-max` 4095", 8, |scene| {
        tuned(scene, raw::tune_ok(100, 4095, 0))
    }),
    case("`frame-max` 0, which means no limit", 8, |scene| {
        tuned(scene, raw::tune_ok(100, 0, 0))
    }),
    case("`frame-max` of 2^31 and of 2^32 - 1", 8, |scene| {
        tuned(scene, raw::tune_ok(100, 1 << 31, 0))?;
        tuned(scene, raw::tune_ok(100, u32::MAX, 0))
    }),
    case("`channel-max` above what was offered, and 0", 8, |scene| {
        tuned(scene, raw::tune_ok(u16::MAX, 131_072, 0))?;
        tuned(scene, raw::tune_ok(0, 131_072, 0))
    }),
    ours("noise on the TLS port", 8, |scene| {
        let mut raw = scene.connect_tls()?;
        raw.send(&[0x55; 4096])?;
        raw.ends_somehow()?;
        Ok("socket closed".into())
    }),
    ours("AMQP in clear on the TLS port", 8, |scene| {
        let mut raw = scene.connect_tls()?;
        raw.send(HEADER)?;
        raw.ends_somehow()?;
        Ok("TLS alert, socket closed".into())
    }),
    ours(
        "a TLS record that announces 16 KiB and holds nothing",
        8,
        |scene| {
            let mut raws = Vec::new();
            for _ in 0..50 {
                let mut raw = scene.connect_tls()?;
                raw.send(b"\x16\x03\x01\x40\x00")?;
                raws.push(raw);
            }
            raws.into_iter().for_each(Raw::reset);
            scene.is_alive()?;
            Ok("nothing is said to it; see *silence* for when it ends".into())
        },
    ),
];

/// Another protocol is answered with the header of ours.
fn answered_with_ours(scene: &Scene, greeting: &[u8]) -> anyhow::Result<String> {
    let mut raw = scene.connect()?;
    raw.send(greeting)?;
    // The rest of the noise may turn the end into a reset, which takes the answer with it.
    if greeting.len() < 1000 {
        let answer = raw.bytes(8)?;
        ensure!(answer == HEADER, "it was answered with {answer:?}");
    }
    raw.ends_somehow()?;
    Ok("the header of 0-9-1, socket closed".into())
}

fn never_logged_in(raw: &mut Raw) -> anyhow::Result<String> {
    let ending = raw.ending()?;
    ensure!(
        !matches!(ending, Ending::Channel(..)),
        "it was treated as if it were logged in"
    );
    raw.is_cut()?;
    Ok(told(&ending))
}

fn too_much(scene: &Scene, properties: &[u8]) -> anyhow::Result<String> {
    let mut raw = scene.greeted()?;
    raw.send(&raw::start_ok(properties, "PLAIN", b"\0guest\0guest").on(0))?;
    never_logged_in(&mut raw)
}

/// Each sends as much as it may without ever being whole.
fn half_a_login(scene: &Scene) -> anyhow::Result<String> {
    let whole = raw::start_ok(&vec![b'x'; 15_000], "PLAIN", b"\0guest\0guest").on(0);
    let mut raws = Vec::new();
    for _ in 0..400 {
        let mut raw = scene.connect()?;
        raw.send(HEADER)?;
        raw.send(&whole[..14_000])?;
        raws.push(raw);
    }
    scene.login()?.round_trip("meanwhile", b"another one logs in")?;
    raws.into_iter().for_each(Raw::reset);
    Ok("nothing is said to them; see *silence* for when they end".into())
}

fn tuned(scene: &Scene, answer: Fields) -> anyhow::Result<String> {
    let mut raw = scene.tuned()?;
    raw.send(&answer.on(0))?;
    let ending = raw.ending()?;
    let cut = is_rabbitmq() && ending == Ending::Cut;
    ensure!(
        cut || matches!(ending, Ending::Connection(530, _)),
        "the ending was {ending:?}"
    );
    raw.is_cut()?;
    Ok(told(&ending))
}
