//! Messages that are announced and never come, come in too many pieces, or are larger than anybody has agreed to.

use anyhow::ensure;
use everack_compat::raw::{self, BODY, CONTENT_HEADER, Ending, Fields, Raw, frame};

use crate::scene::{Scene, channel_ends_with, ends_with, holds, told};
use crate::{Case, case, ours};

const MIB: usize = 1 << 20;

pub(crate) const CASES: &[Case] = &[
    ours("a body that announces 2^64 - 1 bytes", 8, |scene| {
        absurd(scene, u64::MAX)
    }),
    ours("a body that announces 2^63 bytes", 8, |scene| {
        absurd(scene, 1 << 63)
    }),
    ours("a body that announces 2^63 - 1 bytes", 8, |scene| {
        absurd(scene, (1 << 63) - 1)
    }),
    ours("a body one byte larger than the largest", 8, |scene| {
        absurd(scene, (128 << 20) + 1)
    }),
    ours("more body than announced", 8, |scene| {
        let mut raw = scene.login()?;
        let message = [
            raw::publish("h").on(1),
            raw::content_header(1, 3),
            frame(BODY, 1, b"four"),
        ];
        raw.send(&message.concat())?;
        ends_with(&mut raw, &[501, 505])
    }),
    case("200 bodies of 100 MiB announced, none sent", 24, announced),
    case(
        "bodies under way on 2,047 channels of one connection",
        32,
        interleaved,
    ),
    ours(
        "unfinished bodies of more than 256 MiB on one connection",
        420,
        unfinished,
    ),
    ours(
        "8 clients that stop in the middle of a body of 20 MiB",
        200,
        halves,
    ),
    ours(
        "a client that goes in the middle of a body of 128 MiB",
        144,
        gone_in_the_middle,
    ),
    ours("200,000 body frames without a byte in them", 16, |scene| {
        let mut raw = scene.login()?;
        raw.send(
            &[
                raw::declare("empty", 4, &[]).on(1),
                raw::publish("empty").on(1),
                raw::content_header(1, 1),
            ]
            .concat(),
        )?;
        raw.expect(50, 11)?;
        raw.send(&frame(BODY, 1, &[]).repeat(200_000))?;
        raw.send(&frame(BODY, 1, b"x"))?;
        raw.round_trip("after", b"x")?;
        Ok("none; the connection goes on".into())
    }),
    case("a body in 100,000 frames of one byte", 16, |scene| {
        let mut raw = scene.login()?;
        raw.send(
            &[
                raw::declare("bytes", 4, &[]).on(1),
                raw::publish("bytes").on(1),
                raw::content_header(1, 100_000),
            ]
            .concat(),
        )?;
        raw.expect(50, 11)?;
        raw.send(&frame(BODY, 1, b"x").repeat(100_000))?;
        raw.round_trip("after", b"x")?;
        Ok("none; the connection goes on".into())
    }),
    case("500 messages with 100 KiB of headers each", 96, |scene| {
        let mut raw = scene.login()?;
        raw.send(&raw::declare("headers", 4, &[]).on(1))?;
        raw.expect(50, 11)?;
        let table = Fields::default()
            .name("k")
            .octet(b'S')
            .bytes(&vec![b'h'; 100 << 10])
            .0;
        let message = with_headers("", "headers", &table);
        for _ in 0..500 {
            raw.send(&message)?;
        }
        raw.round_trip("after", b"x")?;
        Ok("none; they are messages".into())
    }),
    case(
        "headers with 60,000 empty names, to a headers exchange",
        48,
        |scene| {
            let table: Vec<u8> = [0, b'V'].repeat(60_000);
            to_headers_exchange(scene, &table)
        },
    ),
    case(
        "headers with an array of 120,000 nothings, to a headers exchange",
        48,
        |scene| {
            let table = Fields::default()
                .name("a")
                .octet(b'A')
                .bytes(&vec![b'V'; 120_000])
                .0;
            to_headers_exchange(scene, &table)
        },
    ),
    case("headers nested 20,000 deep, to a headers exchange", 24, |scene| {
        nested(scene, 20_000, false)
    }),
    case("arrays nested 25,000 deep in headers", 24, |scene| {
        nested(scene, 25_000, true)
    }),
    case("a user id that is somebody else's", 8, |scene| {
        let mut raw = scene.login()?;
        let header = Fields::default()
            .short(60)
            .short(0)
            .longlong(0)
            .short(1 << 4)
            .name("bomber")
            .0;
        raw.send(&[raw::publish("h").on(1), frame(CONTENT_HEADER, 1, &header)].concat())?;
        channel_ends_with(&mut raw, 406)
    }),
    case("an expiration that is no number", 8, |scene| {
        let mut raw = scene.login()?;
        let header = Fields::default()
            .short(60)
            .short(0)
            .longlong(0)
            .short(1 << 8)
            .name("soon")
            .0;
        raw.send(&[raw::publish("h").on(1), frame(CONTENT_HEADER, 1, &header)].concat())?;
        channel_ends_with(&mut raw, 406)
    }),
];

fn absurd(scene: &Scene, size: u64) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    raw.send(
        &[
            raw::publish("h").on(1),
            raw::content_header(1, size),
            frame(BODY, 1, b"x"),
        ]
        .concat(),
    )?;
    let ending = raw.ending()?;
    ensure!(
        matches!(ending, Ending::Channel(406, _) | Ending::Connection(501 | 502, _)),
        "the ending was {ending:?}"
    );
    Ok(told(&ending))
}

/// Bodies grow with what arrives, never by what is announced.
fn announced(scene: &Scene) -> anyhow::Result<String> {
    let mut liars = Vec::new();
    for _ in 0..200 {
        let mut raw = scene.login()?;
        let begun = [
            raw::publish("h").on(1),
            raw::content_header(1, 100 << 20),
            frame(BODY, 1, b"and more later"),
        ];
        raw.send(&begun.concat())?;
        liars.push(raw);
    }
    scene.login()?.round_trip("meanwhile", b"x")?;
    Ok("none; they may still send the rest".into())
}

fn interleaved(scene: &Scene) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    for number in 2..=2047 {
        raw.send(&raw::channel_open().on(number))?;
    }
    for _ in 2..=2047 {
        raw.expect(20, 11)?;
    }
    raw.send(&raw::declare("mixed", 4, &[]).on(1))?;
    raw.expect(50, 11)?;
    let on_all = |raw: &mut Raw, bytes: &dyn Fn(u16) -> Vec<u8>| {
        (1..=2047).try_for_each(|number| raw.send(&bytes(number)))
    };
    on_all(&mut raw, &|number| raw::publish("mixed").on(number))?;
    on_all(&mut raw, &|number| raw::content_header(number, 3 * 1000))?;
    for round in 0..3u8 {
        on_all(&mut raw, &|number| frame(BODY, number, &[round; 1000]))?;
    }
    holds(&mut raw, "mixed", 2047)?;
    Ok("none; all 2,047 messages arrive".into())
}

/// 100 MiB on each of three channels: each may, the connection as a whole may not.
fn unfinished(scene: &Scene) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    raw.send(&[raw::channel_open().on(2), raw::channel_open().on(3)].concat())?;
    raw.expect(20, 11)?;
    raw.expect(20, 11)?;
    for channel in 1..=3 {
        raw.send(
            &[
                raw::publish("h").on(channel),
                raw::content_header(channel, 101 * MIB as u64),
            ]
            .concat(),
        )?;
        for _ in 0..1000 {
            raw.send(&frame(BODY, channel, &[7; 104_857]))?;
        }
    }
    ends_with(&mut raw, &[506])
}

fn halves(scene: &Scene) -> anyhow::Result<String> {
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut raw = scene.login()?;
        raw.send(&[raw::publish("h").on(1), raw::content_header(1, 20 * MIB as u64)].concat())?;
        for _ in 0..190 {
            raw.send(&frame(BODY, 1, &[7; 100_000]))?;
        }
        stuck.push(raw);
    }
    scene.login()?.round_trip("meanwhile", b"x")?;
    Ok("none; see *memory runs short* for when they are given up".into())
}

fn gone_in_the_middle(scene: &Scene) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    raw.send(&[raw::publish("h").on(1), raw::content_header(1, 128 * MIB as u64)].concat())?;
    for _ in 0..640 {
        raw.send(&frame(BODY, 1, &[7; 100_000]))?;
    }
    raw.reset();
    scene.login()?.round_trip("meanwhile", b"x")?;
    Ok("none; it is gone".into())
}

fn with_headers(exchange: &str, key: &str, table: &[u8]) -> Vec<u8> {
    let header = Fields::default()
        .short(60)
        .short(0)
        .longlong(0)
        .short(1 << 13)
        .bytes(table)
        .0;
    [
        raw::publish_to(exchange, key, 0).on(1),
        frame(CONTENT_HEADER, 1, &header),
    ]
    .concat()
}

fn to_headers_exchange(scene: &Scene, table: &[u8]) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    raw.send(&raw::declare("by-headers", 4, &[]).on(1))?;
    raw.expect(50, 11)?;
    let binding = [
        Fields::default().name("x-match").octet(b'S').bytes(b"any").0,
        b"\x01kI\0\0\0\x01".to_vec(),
    ];
    raw.send(&raw::bind("by-headers", "amq.headers", "", false, &binding.concat()).on(1))?;
    raw.expect(50, 21)?;
    for _ in 0..10 {
        raw.send(&with_headers("amq.headers", "", table))?;
    }
    raw.round_trip("after", b"x")?;
    Ok("none; nobody wants them".into())
}

/// Opens one level after the other; the sizes are right, so only the depth is wrong.
fn nested(scene: &Scene, depth: usize, arrays: bool) -> anyhow::Result<String> {
    let level = |inner: usize| {
        let mut bytes = if arrays { vec![b'A'] } else { vec![0, b'F'] };
        bytes.extend((inner as u32).to_be_bytes());
        bytes
    };
    let width = level(0).len();
    let mut table: Vec<u8> = (0..depth).rev().flat_map(|left| level(left * width)).collect();
    if arrays {
        table.splice(0..0, *b"\x01a");
    }
    let mut raw = scene.login()?;
    raw.send(&raw::declare("deep", 4, &table).on(1))?;
    raw.finish_sending();
    raw.is_cut()?;
    let mut raw = scene.login()?;
    raw.send(&raw::declare("deep-headers", 4, &[]).on(1))?;
    raw.expect(50, 11)?;
    raw.send(&raw::bind("deep-headers", "amq.headers", "", false, b"\x01kI\0\0\0\x01").on(1))?;
    raw.expect(50, 21)?;
    raw.send(&with_headers("amq.headers", "", &table))?;
    // RabbitMQ takes it, and waits for more.
    raw.finish_sending();
    Ok(told(&raw.ending()?))
}
