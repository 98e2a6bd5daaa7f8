//! Frames that are wrong by themselves, or in their place, and conversations that break off or are damaged.

use anyhow::Context;
use everack_compat::raw::{self, BODY, CONTENT_HEADER, Fields, HEADER, HEARTBEAT, METHOD, Raw, frame};

use crate::scene::{Scene, ends_with};
use crate::{Case, case, ours};

pub(crate) const CASES: &[Case] = &[
    case("a wrong frame end", 8, |scene| {
        let mut bytes = raw::declare("h", 4, &[]).on(1);
        *bytes.last_mut().context("a frame has an end")? = 0;
        mistake(scene, &[501], &bytes)
    }),
    case("an unknown frame type", 8, |scene| {
        mistake(scene, &[501], &frame(9, 1, b"what"))
    }),
    case("a frame above the limit", 8, |scene| {
        mistake(scene, &[501], &frame(BODY, 1, &vec![0; 200_000]))
    }),
    case("a frame that announces 4 GiB", 8, |scene| {
        mistake(scene, &[501], &[METHOD, 0, 1, 255, 255, 255, 255, 0, 50])
    }),
    case("a method frame without a method", 8, |scene| {
        mistake(scene, &[501, 502, 505, 541], &frame(METHOD, 1, &[]))
    }),
    case("an unknown class", 8, |scene| {
        mistake(scene, &[503, 540, 541], &Fields::of(99, 10).on(1))
    }),
    case("an unknown method", 8, |scene| {
        mistake(scene, &[503, 540, 541], &Fields::of(60, 999).on(1))
    }),
    ours("a method of the server", 8, |scene| {
        let deliver = Fields::of(60, 60)
            .name("t")
            .longlong(1)
            .octet(0)
            .name("")
            .name("");
        mistake(scene, &[503, 540], &deliver.on(1))
    }),
    case("fields that end too early", 8, |scene| {
        mistake(
            scene,
            &[501, 502, 541],
            &Fields::of(50, 10).short(0).octet(200).on(1),
        )
    }),
    case("fields that go on behind the last", 8, |scene| {
        mistake(
            scene,
            &[501, 502, 541],
            &frame(METHOD, 1, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7, 7, 7, 7]),
        )
        .or_else(|_| channel_mistake(scene))
    }),
    case("a method where a content header is due", 8, |scene| {
        mistake(
            scene,
            &[505],
            &[raw::publish("h").on(1), raw::publish("h").on(1)].concat(),
        )
    }),
    case("a method where a body is due", 8, |scene| {
        let publish = [raw::publish("h").on(1), raw::content_header(1, 5)].concat();
        mistake(scene, &[505], &[publish, raw::publish("h").on(1)].concat())
    }),
    case("a body without a method", 8, |scene| {
        mistake(scene, &[505], &frame(BODY, 1, b"x"))
    }),
    case("a content header without a method", 8, |scene| {
        mistake(scene, &[505], &raw::content_header(1, 5))
    }),
    case("a body where a content header is due", 8, |scene| {
        mistake(
            scene,
            &[505],
            &[raw::publish("h").on(1), frame(BODY, 1, b"x")].concat(),
        )
    }),
    case("a second content header", 8, |scene| {
        let header = raw::content_header(1, 5);
        mistake(
            scene,
            &[505],
            &[raw::publish("h").on(1), header.clone(), header].concat(),
        )
    }),
    case("a content header of another class", 8, |scene| {
        let header = Fields::default().short(50).short(0).longlong(1).short(0).0;
        mistake(
            scene,
            &[501, 505],
            &[raw::publish("h").on(1), frame(CONTENT_HEADER, 1, &header)].concat(),
        )
    }),
    case("a content header that is cut short", 8, |scene| {
        mistake(
            scene,
            &[501, 502, 541],
            &[raw::publish("h").on(1), frame(CONTENT_HEADER, 1, &[0, 60, 0])].concat(),
        )
    }),
    ours("a channel above the limit", 8, |scene| {
        mistake(scene, &[504, 530], &raw::channel_open().on(60_000))
    }),
    case("a channel that was never opened", 8, |scene| {
        mistake(scene, &[504, 505], &raw::declare("h", 4, &[]).on(7))
    }),
    case("a channel that is opened twice", 8, |scene| {
        mistake(scene, &[504], &raw::channel_open().on(1))
    }),
    case("a channel's method on channel 0", 8, |scene| {
        mistake(scene, &[503, 504, 505, 540], &raw::declare("h", 4, &[]).on(0))
    }),
    case("content on channel 0", 8, |scene| {
        mistake(scene, &[501, 505], &frame(BODY, 0, b"x"))
    }),
    case("a connection's method on a channel", 8, |scene| {
        mistake(scene, &[503, 504, 505, 540], &raw::open("/").on(1))
    }),
    ours("a heartbeat with a payload, and one on a channel", 8, |scene| {
        mistake(scene, &[501, 505], &frame(HEARTBEAT, 0, b"beat"))?;
        mistake(scene, &[501, 503, 505], &frame(HEARTBEAT, 1, &[]))
    }),
    case("100,000 heartbeats", 8, |scene| {
        let mut raw = scene.login()?;
        raw.send(&frame(HEARTBEAT, 0, &[]).repeat(100_000))?;
        raw.round_trip("beating", b"x")?;
        Ok("none; the connection goes on".into())
    }),
    case("heartbeats between the frames of a message", 8, heartbeats),
    case("a conversation that ends at every byte", 24, |scene| {
        let whole = conversation();
        let parts = (0..=whole.len()).map(|end| (format!("cut at byte {end}"), whole[..end].to_vec()));
        all_end(scene, parts.collect())
    }),
    case("a conversation that is reset behind every byte", 24, |scene| {
        let whole = conversation();
        for end in 0..=whole.len() {
            let mut raw = scene.connect()?;
            raw.send(&whole[..end])?;
            raw.reset();
        }
        scene.is_alive()?;
        Ok("none; they are gone".into())
    }),
    ours("a conversation with every byte wrong once", 48, |scene| {
        let whole = conversation();
        let flipped = |at: usize, flip: u8| {
            let mut wrong = whole.clone();
            wrong[at] ^= flip;
            (format!("byte {at} with {flip:#x}"), wrong)
        };
        let places =
            (HEADER.len()..whole.len()).flat_map(|at| [0x01, 0x80, 0xff].map(|flip| flipped(at, flip)));
        all_end(scene, places.collect())
    }),
];

/// Somebody who is logged in makes a mistake; the connection is closed with one of these codes.
fn mistake(scene: &Scene, codes: &[u16], bytes: &[u8]) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    raw.send(bytes)?;
    ends_with(&mut raw, codes)
}

/// RabbitMQ takes an ack with something behind it for an ack, of a tag that it does not know.
fn channel_mistake(scene: &Scene) -> anyhow::Result<String> {
    let mut raw = scene.login()?;
    raw.send(&Fields::of(60, 80).longlong(1).octet(0).octet(7).on(1))?;
    crate::scene::channel_ends_with(&mut raw, 406)
}

/// A conversation with everything in it: login, declaration, two messages, get, ack.
fn conversation() -> Vec<u8> {
    let message = raw::message(1, &raw::publish("h"), b"hello");
    [
        HEADER.to_vec(),
        raw::start_ok(&raw::capability("basic.nack"), "PLAIN", b"\0guest\0guest").on(0),
        raw::tune_ok(100, 8192, 0).on(0),
        raw::open("/").on(0),
        raw::channel_open().on(1),
        raw::declare("h", 4, b"\x0dx-message-ttlI\x00\x00\x10\x00").on(1),
        message.clone(),
        message,
        raw::get("h", false).on(1),
        Fields::of(60, 80).longlong(1).octet(0).on(1),
    ]
    .concat()
}

/// Sends each of these and then nothing more; the broker may answer what it understood, and closes the socket.
/// Many at a time, because a broker may take seconds over a refused login on purpose.
fn all_end(scene: &Scene, conversations: Vec<(String, Vec<u8>)>) -> anyhow::Result<String> {
    let count = conversations.len();
    for some in conversations.chunks(100) {
        let mut talks: Vec<(&str, Raw)> = Vec::new();
        for (name, bytes) in some {
            let mut raw = scene.connect()?;
            raw.send(bytes)?;
            raw.finish_sending();
            talks.push((name, raw));
        }
        for (name, mut raw) in talks {
            raw.is_cut().with_context(|| name.to_owned())?;
        }
    }
    Ok(format!("each of {count} sockets is closed"))
}

fn heartbeats(scene: &Scene) -> anyhow::Result<String> {
    let beat = frame(HEARTBEAT, 0, &[]);
    let mut raw = scene.login()?;
    let message = [
        beat.clone(),
        raw::publish("h").on(1),
        beat.clone(),
        raw::content_header(1, 2),
        beat.clone(),
        frame(BODY, 1, b"x"),
        beat.clone(),
        frame(BODY, 1, b"y"),
        beat,
    ];
    raw.send(&message.concat())?;
    raw.round_trip("beating", b"x")?;
    Ok("none; the connection goes on".into())
}
