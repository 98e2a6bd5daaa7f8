//! Whatever bytes come, in whatever pieces: no panic, no unbounded memory, and the same meaning however they
//! are cut.

use everack_amqp::event::Event;
use everack_amqp::settings::Settings;
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{Method, basic, channel, confirm, connection, exchange, queue, tx};
use everack_amqp::wire::properties::{self, Properties};
use everack_amqp::wire::table::{self, Table};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::peer::{Peer, call, header, publish, raw, short, start_ok};

/// Answers everything an event asks for, and forgets the rest.
fn answer(peer: &mut Peer, event: &Event) {
    match event {
        Event::Authenticate { .. } => peer.connection.authenticated(),
        Event::Open { .. } => peer.connection.opened(),
        Event::ChannelCloseRequested { channel, .. } => peer.connection.channel_closed(*channel),
        Event::CloseRequested { .. } => peer.connection.closed(),
        Event::Publish {
            channel,
            batch,
            first_number,
            ..
        } => {
            look_at(batch);
            if *first_number != 0 {
                let last = first_number + batch.len() as u64 - 1;
                peer.connection.expect_confirm(*channel, last, 0);
            }
            peer.connection.flush_confirms();
        }
        _ => {}
    }
}

/// Touches every part of every message.
fn look_at(batch: &everack_amqp::content::Batch) {
    let mut end = 0;
    for group in &batch.groups {
        assert_eq!(group.from, end);
        end = group.to;
        for index in usize::from(group.from)..usize::from(group.to) {
            assert_eq!(batch.address(index), batch.address(usize::from(group.from)));
            assert_eq!(batch.flags(index), batch.flags(usize::from(group.from)));
        }
    }
    assert_eq!(usize::from(end), batch.len());
    for index in 0..batch.len() {
        let size = 2 + batch.exchange(index).len() + batch.routing_key(index).len();
        assert_eq!(size, batch.address(index).len());
        Properties::decode(batch.properties(index)).expect("properties are checked when they come in");
        assert_eq!(
            batch.header(index)[4..12],
            (batch.body(index).len() as u64).to_be_bytes()
        );
    }
}

/// What an event means, without how messages were batched.
fn meaning(event: &Event) -> Vec<String> {
    match event {
        Event::Publish {
            channel,
            batch,
            first_number,
            transactional,
        } => (0..batch.len())
            .map(|index| {
                let number = if *first_number == 0 {
                    0
                } else {
                    first_number + index as u64
                };
                let (address, flags) = (batch.address(index), batch.flags(index));
                let (header, body) = (batch.header(index), shown(batch.body(index)));
                format!("{channel} {number} {transactional} {address:?} {flags} {header:?} {body}")
            })
            .collect(),
        Event::Settle {
            channel,
            outcome,
            settled,
            ..
        } => settled
            .iter()
            .flat_map(|it| {
                (0..u64::from(it.count)).map(move |index| (it.source, it.first + index, it.tag + index))
            })
            .map(|it| format!("{channel} {outcome:?} {it:?}"))
            .collect(),
        other => vec![format!("{other:?}")],
    }
}

/// A body by its size and a sum that depends on the order of its bytes.
fn shown(body: &[u8]) -> String {
    let sum = body.iter().fold(0u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
    });
    format!("{} {sum:08x}", body.len())
}

/// Hands over `pieces` one after the other; gives everything that happened and everything that was said,
/// apart from confirms, which follow the batches.
fn play(peer: &mut Peer, pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut happened = Vec::new();
    for piece in pieces {
        peer.input.extend_from_slice(piece);
        while let Some(event) = peer.connection.receive(&mut peer.input, peer.now) {
            happened.extend(meaning(&event));
            answer(peer, &event);
        }
        let held = peer.input.len();
        assert!(held < 200_000, "{held} bytes are held");
    }
    (happened, std::mem::take(peer.connection.output()))
}

/// A whole session: login, channels, messages in many shapes, requests, settlements, the end.
fn session() -> Vec<u8> {
    let persistent = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    let rich = Properties {
        content_type: Some(short("text/plain")),
        headers: Some(
            Table::new()
                .with("x-match", "all")
                .with("nested", Table::new().with("n", 1)),
        ),
        expiration: Some(short("1000")),
        ..persistent.clone()
    };
    let message = |channel, properties: &Properties, size| {
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        let mut bytes = call(
            channel,
            basic::Publish {
                routing_key: short("key"),
                ..basic::Publish::default()
            },
        );
        frame::write_content(&mut bytes, channel, &encoded, &vec![b'b'; size], 4096);
        bytes
    };
    let declare = queue::Declare {
        queue: short("q"),
        arguments: Table::new().with("x", 1),
        ..queue::Declare::default()
    };
    [
        frame::PROTOCOL_HEADER.to_vec(),
        call(0, start_ok("PLAIN", b"\0guest\0guest", &["connection.blocked"])),
        call(
            0,
            connection::TuneOk {
                channel_max: 100,
                frame_max: 4096,
                heartbeat: 10,
            },
        ),
        call(
            0,
            connection::Open {
                virtual_host: short("/"),
            },
        ),
        [call(1, channel::Open {}), call(2, channel::Open {})].concat(),
        call(
            1,
            exchange::Declare {
                exchange: short("e"),
                kind: short("topic"),
                ..exchange::Declare::default()
            },
        ),
        call(1, declare),
        call(
            2,
            basic::Consume {
                queue: short("q"),
                ..basic::Consume::default()
            },
        ),
        call(1, confirm::Select { nowait: false }),
        message(1, &persistent, 10),
        message(1, &persistent, 10),
        message(1, &persistent, 0),
        message(1, &rich, 10),
        raw(8, 0, &[]),
        message(1, &Properties::default(), 5000),
        call(2, tx::Select {}),
        message(2, &rich, 100),
        call(1, basic::Publish::default()),
        message(2, &persistent, 4000),
        [
            raw(2, 1, &header(60, 0, 2)),
            raw(3, 1, b"a"),
            raw(3, 1, b""),
            raw(3, 1, b"b"),
        ]
        .concat(),
        call(2, tx::Commit {}),
        call(
            2,
            basic::Ack {
                delivery_tag: 0,
                multiple: true,
            },
        ),
        call(2, channel::Close::default()),
        message(1, &persistent, 10),
        call(0, connection::Close::default()),
    ]
    .concat()
}

#[test]
fn a_session_means_the_same_wherever_it_is_cut() {
    let bytes = session();
    let (expected, out) = play(&mut Peer::new(Settings::default()), &[&bytes]);
    assert!(expected.last().unwrap().starts_with("CloseRequested"));
    assert_eq!(expected.len(), 19, "{expected:#?}");
    let names = |out: &[u8]| -> Vec<String> {
        crate::peer::describe(out)
            .into_iter()
            .filter(|line| !line.contains("basic.ack"))
            .collect()
    };
    for cut in 0..bytes.len() {
        let mut peer = Peer::new(Settings::default());
        let (happened, said) = play(&mut peer, &[&bytes[..cut], &bytes[cut..]]);
        assert_eq!(happened, expected, "cut at {cut}");
        assert_eq!(names(&said), names(&out), "cut at {cut}");
        assert!(!peer.connection.is_running());
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(play(&mut Peer::new(Settings::default()), &single).0, expected);
}

proptest! {
    #[test]
    fn any_bytes_from_the_start(bytes in vec(any::<u8>(), 0..2000)) {
        play(&mut Peer::new(Settings::default()), &[&bytes]);
        play(&mut Peer::new(Settings::default()), &[&frame::PROTOCOL_HEADER, &bytes]);
    }

    #[test]
    fn any_bytes_when_running(bytes in vec(any::<u8>(), 0..2000)) {
        play(&mut Peer::running(), &[&bytes]);
    }

    /// Frames that are frames, with anything in them.
    #[test]
    fn any_frames(frames in vec((0..10u8, 0..4u16, vec(any::<u8>(), 0..40)), 0..40)) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, channel, payload)| raw(*kind, *channel, payload)).collect();
        play(&mut Peer::running(), &[&bytes]);
    }

    /// Methods that are methods, with any arguments, on any channel, with content now and then.
    #[test]
    fn any_methods(calls in vec((0..4u16, method_ids(), vec(0..6u8, 0..30), 0..60usize), 0..60)) {
        let mut peer = Peer::running();
        for (channel, (class, method), arguments, size) in calls {
            let payload = [&class.to_be_bytes()[..], &method.to_be_bytes(), &arguments].concat();
            peer.deliver_if_open();
            let mut bytes = raw(1, channel, &payload);
            if size > 30 {
                bytes.extend(publish(channel, "k", &vec![0; size * size]));
            }
            play(&mut peer, &[&bytes]);
        }
    }

    /// A good session with some bytes changed, lost or doubled.
    #[test]
    fn a_session_gone_wrong(
        changes in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = session();
        for (at, value, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, value),
            }
        }
        let cut = cut.index(bytes.len());
        let (whole, _) = play(&mut Peer::new(Settings::default()), &[&bytes]);
        let (parts, _) = play(&mut Peer::new(Settings::default()), &[&bytes[..cut], &bytes[cut..]]);
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn any_table_and_properties(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(Table::decode(&bytes).is_ok(), table::validate(&bytes).is_ok());
        prop_assert_eq!(Properties::decode(&bytes).is_ok(), properties::validate(&bytes).is_ok());
    }
}

/// Numbers of methods that exist, mostly.
fn method_ids() -> impl Strategy<Value = (u16, u16)> {
    let classes = prop::sample::select(vec![10u16, 20, 30, 40, 50, 60, 85, 90, 7]);
    let methods = prop::sample::select(vec![
        10u16, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 70, 80, 90, 100, 110, 120,
    ]);
    (classes, methods)
}

impl Peer {
    /// Gives channel 1 something to settle.
    fn deliver_if_open(&mut self) {
        if self.connection.is_open(1) {
            self.deliver(1, 0, 3);
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let mut bytes = Vec::new();
        for _ in 0..depth {
            let length = bytes.len() as u32;
            bytes = [&[1, b'n', b'F'][..], &length.to_be_bytes(), &bytes].concat();
        }
        bytes
    };
    assert!(Table::decode(&nested(table::DEPTH_MAX)).is_ok());
    assert!(Table::decode(&nested(table::DEPTH_MAX + 1)).is_err());
    // Deep enough to exhaust a stack, within a frame that is allowed.
    let deep = nested(18_000);
    assert!(deep.len() < 131_072);
    assert!(table::validate(&deep).is_err());
    let mut payload = Method::from(queue::Declare::default());
    if let Method::QueueDeclare(declare) = &mut payload {
        declare.queue = short("q");
    }
    let mut peer = Peer::running_with(Settings::default(), 131_072);
    let arguments = [
        &[0, 50, 0, 10, 0, 0, 0, 0][..],
        &(deep.len() as u32).to_be_bytes(),
        &deep,
    ]
    .concat();
    assert!(matches!(
        peer.send(&raw(1, 1, &arguments))[..],
        [Event::Failed { .. }]
    ));
}
