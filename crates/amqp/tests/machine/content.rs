//! Messages in and out: what is taken without a copy, what is assembled, and how both leave again.

use everack_amqp::connection::Delivery;
use everack_amqp::content::{Batch, Entry, Group, flags};
use everack_amqp::encoding::DeliverHead;
use everack_amqp::event::Event;
use everack_amqp::settings::Settings;
use everack_amqp::short_list::ShortList;
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{basic, channel, tx};
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::Table;

use crate::peer::{Peer, call, header, publish, raw, short};

/// Sizes of the batches that `bytes` lead to on a running connection.
#[track_caller]
fn check_batches(bytes: &[u8], expected: &[usize]) {
    let sizes: Vec<usize> = batches(&mut Peer::running(), bytes)
        .iter()
        .map(Batch::len)
        .collect();
    assert_eq!(sizes, expected);
}

fn batches(peer: &mut Peer, bytes: &[u8]) -> Vec<Batch> {
    let events = peer.send(bytes).into_iter();
    let batches = events.filter_map(|event| match event {
        Event::Publish { batch, .. } => Some(batch),
        Event::Failed { reason } => panic!("{reason}"),
        _ => None,
    });
    batches.collect()
}

/// A publish with these properties and bits, in frames of 4096 bytes.
fn rich(key: &str, properties: &Properties, mandatory: bool, body: &[u8]) -> Vec<u8> {
    framed(key, properties, mandatory, body, 4096)
}

fn framed(key: &str, properties: &Properties, mandatory: bool, body: &[u8], frame_max: u32) -> Vec<u8> {
    let mut bytes = call(
        1,
        basic::Publish {
            routing_key: short(key),
            mandatory,
            ..basic::Publish::default()
        },
    );
    let mut encoded = Vec::new();
    properties.encode(&mut encoded);
    frame::write_content(&mut bytes, 1, &encoded, body, frame_max);
    bytes
}

#[test]
fn a_run_is_one_batch() {
    let small = publish(1, "q", b"body");
    let empty = publish(1, "q", b"");
    let large = publish(1, "q", &[7; 4089]);
    check_batches(&small, &[1]);
    check_batches(&small.repeat(3), &[3]);
    check_batches(&[&small[..], &empty, &empty, &small].concat(), &[4]);
    check_batches(&small.repeat(5000), &[4096, 904]);
    // A body in two frames goes alone, and so does whatever has something between its frames.
    check_batches(&[&small[..], &large, &small, &small].concat(), &[1, 1, 2]);
    let split = call(1, basic::Publish::default());
    let content = [raw(2, 1, &header(60, 0, 1)), raw(3, 1, b"x")].concat();
    check_batches(
        &[&small[..], &split, &raw(8, 0, &[]), &content, &small].concat(),
        &[1, 1, 1],
    );
    // A heartbeat or a request between two publishes only parts them.
    check_batches(&[&small[..], &raw(8, 0, &[]), &small].concat(), &[1, 1]);
    check_batches(
        &[&small[..], &call(1, channel::Flow { active: true }), &small].concat(),
        &[1, 1],
    );
}

#[test]
fn a_batch_never_mixes_channels() {
    let mut peer = Peer::running();
    peer.send(&call(2, channel::Open {}));
    let (one, two) = (publish(1, "q", b"1"), publish(2, "q", b"2"));
    let events = peer.send(&[&one[..], &one, &two, &one].concat());
    let channels: Vec<(u16, usize)> = events
        .iter()
        .map(|event| match event {
            Event::Publish { channel, batch, .. } => (*channel, batch.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(channels, [(1, 2), (2, 1), (1, 1)]);
}

#[test]
fn groups_are_neighbours_alike() {
    let plain = Properties::default();
    let persistent = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    let bytes = [
        rich("a", &plain, false, b"1"),
        rich("a", &plain, false, b"22"),
        rich("b", &plain, false, b"3"),
        rich("b", &plain, true, b"4"),
        rich("b", &persistent, true, b"5"),
        rich("b", &persistent, true, b"66"),
        rich("a", &plain, false, b"7"),
    ];
    let batch = batches(&mut Peer::running(), &bytes.concat()).remove(0);
    let groups: Vec<(u16, u16, bool)> = batch
        .groups
        .iter()
        .map(|it| (it.from, it.to, it.mandatory))
        .collect();
    assert_eq!(
        groups,
        [
            (0, 2, false),
            (2, 3, false),
            (3, 4, true),
            (4, 6, true),
            (6, 7, false)
        ]
    );
    assert_eq!(batch.flags(5), flags::PERSISTENT | flags::MANDATORY);
    assert_eq!(batch.body(5), b"66");
}

#[test]
fn flags_tell_when_to_look_closer() {
    #[track_caller]
    fn check(properties: Properties, expected: u16) {
        // Through the hot loop and through assembly.
        for body in [&b"x"[..], &[0; 5000]] {
            let batch = batches(&mut Peer::running(), &rich("q", &properties, false, body)).remove(0);
            assert_eq!(batch.flags(0), expected);
            let mut encoded = Vec::new();
            properties.encode(&mut encoded);
            assert_eq!(batch.properties(0), encoded);
            assert_eq!(Properties::decode(batch.properties(0)).unwrap(), properties);
        }
    }
    let plain = Properties::default;
    check(plain(), 0);
    check(
        Properties {
            delivery_mode: Some(1),
            ..plain()
        },
        0,
    );
    check(
        Properties {
            delivery_mode: Some(2),
            ..plain()
        },
        flags::PERSISTENT,
    );
    check(
        Properties {
            headers: Some(Table::new().with("a", 1)),
            ..plain()
        },
        flags::HAS_HEADERS,
    );
    check(
        Properties {
            expiration: Some(short("100")),
            ..plain()
        },
        flags::HAS_EXPIRATION,
    );
    check(
        Properties {
            user_id: Some(short("guest")),
            app_id: Some(short("x")),
            ..plain()
        },
        flags::HAS_USER_ID,
    );
    check(
        Properties {
            priority: Some(9),
            message_id: Some(short("x")),
            ..plain()
        },
        flags::HAS_PRIORITY,
    );
    check(
        Properties {
            reply_to: Some(short("x")),
            timestamp: Some(1),
            ..plain()
        },
        flags::HAS_REPLY_TO,
    );
}

#[test]
fn an_incomplete_small_publish_waits_and_a_large_one_does_not() {
    let mut peer = Peer::running();
    let small = publish(1, "q", &[1; 1000]);
    assert!(peer.send(&small[..small.len() - 1]).is_empty());
    assert_eq!(peer.input.len(), small.len() - 1, "it waits where it is");
    assert_eq!(peer.connection.wanted(), small.len());
    assert_eq!(batches(&mut peer, &small[small.len() - 1..]).len(), 1);

    let settings = Settings {
        inline_body_bytes_max: 500,
        ..Settings::default()
    };
    let mut peer = Peer::running_with(settings, 4096);
    assert!(peer.send(&small[..small.len() - 1]).is_empty());
    assert!(peer.input.is_empty(), "it is being assembled");
    assert_eq!(
        batches(&mut peer, &small[small.len() - 1..])[0].body(0),
        [1; 1000]
    );
}

#[test]
fn a_small_batch_does_not_hold_on_to_the_read_buffer() {
    #[track_caller]
    fn check(count: usize, copied: bool) {
        let mut peer = Peer::running();
        peer.input.reserve(64 << 10);
        let bytes = publish(1, "q", &[1; 1000]).repeat(count);
        peer.input.extend_from_slice(&bytes);
        let buffer = peer.input.as_ptr_range();
        let batch = batches(&mut peer, &[]).remove(0);
        assert_eq!(batch.len(), count);
        assert_eq!(buffer.contains(&batch.chunk.as_ptr()), !copied);
    }
    check(3, true);
    check(4, false);
}

#[test]
fn whatever_is_waited_for_is_bounded() {
    // Byte by byte, the input never holds more than a publish frame, a header frame and an inline body.
    let mut peer = Peer::running();
    let bytes = publish(1, &"k".repeat(255), &[1; 100_000]);
    let mut held = 0;
    let mut found = 0;
    for byte in bytes {
        found += batches(&mut peer, &[byte]).len();
        held = held.max(peer.input.len());
        assert!(peer.connection.wanted() <= 3 * 4104);
    }
    assert_eq!(found, 1);
    assert!(held < 600, "{held}");
}

#[test]
fn bodies_of_any_size_come_through() {
    for size in [0, 1, 4087, 4088, 4089, 8176, 8177, 100_000, 3 << 20] {
        let body: Vec<u8> = (0..size).map(|index| index as u8).collect();
        for piece in [1 << 30, 65_536, 777] {
            let mut peer = Peer::running();
            let mut found = Vec::new();
            for part in publish(1, "q", &body).chunks(piece) {
                found.extend(batches(&mut peer, part));
            }
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].body(0), body);
        }
    }
}

#[test]
fn a_frame_without_a_limit_is_not_waited_for() {
    let settings = Settings {
        frame_bytes_max: 0,
        ..Settings::default()
    };
    let mut peer = Peer::running_with(settings, 0);
    let mut bytes = call(1, basic::Publish::default());
    frame::write_content(&mut bytes, 1, &[0, 0], &[9; 500_000], 0);
    let mut found = Vec::new();
    for part in bytes.chunks(8192) {
        found.extend(batches(&mut peer, part));
        assert!(peer.input.len() <= 8192);
    }
    assert_eq!(found[0].body(0).len(), 500_000);
}

/// The same messages as they come from a publisher, from assembly and from elsewhere are delivered alike.
#[test]
fn deliveries_look_alike_wherever_the_message_was() {
    let bodies = [&b""[..], b"x", &[5; 4000], &[6; 10_000]];
    for frame_max in [4096, 8192, 131_072] {
        for body in bodies {
            let properties = Properties {
                headers: Some(Table::new().with("a", 1)),
                ..Properties::default()
            };
            let settings = Settings {
                inline_body_bytes_max: 64 << 10,
                ..Settings::default()
            };
            let bytes = framed("key", &properties, false, body, 131_072);
            let arrived = batches(&mut Peer::running_with(settings, 131_072), &bytes).remove(0);
            let copied = arrived.copied(0, 1);
            let entries = copied.entries.clone();
            let restored = Batch::from_parts(copied.chunk.clone(), entries, copied.groups.clone()).unwrap();
            let outputs: Vec<Vec<u8>> = [arrived, copied, restored]
                .iter()
                .map(|batch| {
                    let mut peer = Peer::running_with(Settings::default(), frame_max);
                    peer.send(&call(9, channel::Open {}));
                    peer.connection.output().clear();
                    let delivery = Delivery {
                        source: 1,
                        first: 1,
                        no_ack: false,
                        redelivered: true,
                    };
                    assert!(
                        peer.connection
                            .deliver(&DeliverHead::new(9, b"tag"), batch, 0, 1, delivery)
                    );
                    assert!(peer.connection.get_ok(9, batch, 0, delivery, 3));
                    peer.connection.return_message(9, batch, 0, 312, "NO_ROUTE");
                    std::mem::take(peer.connection.output())
                })
                .collect();
            assert_eq!(outputs[0], outputs[1]);
            assert_eq!(outputs[0], outputs[2]);
            let lines = crate::peer::describe(&outputs[0]);
            assert!(lines.contains(&"9 basic.deliver 1 true".to_string()));
            assert!(lines.contains(&"9 basic.get-ok 2 true 3".to_string()));
            assert!(lines.contains(&"9 basic.return 312 NO_ROUTE key".to_string()));
            let pieces: Vec<usize> = lines
                .iter()
                .filter_map(|line| line.strip_prefix("9 body ")?.parse().ok())
                .collect();
            assert_eq!(pieces.iter().sum::<usize>(), 3 * body.len());
            assert!(pieces.iter().all(|piece| piece + 8 <= frame_max as usize));
        }
    }
}

#[test]
fn a_slice_of_a_batch_is_delivered_and_copied() {
    let bytes: Vec<u8> = (0..10u8)
        .flat_map(|index| publish(1, &format!("k{}", index / 4), &[index; 3]))
        .collect();
    let batch = batches(&mut Peer::running(), &bytes).remove(0);
    let copy = batch.copied(3, 9);
    assert_eq!(copy.len(), 6);
    for index in 0..6 {
        assert_eq!(copy.body(index), batch.body(index + 3));
        assert_eq!(copy.routing_key(index), batch.routing_key(index + 3));
        assert_eq!(copy.header(index), batch.header(index + 3));
    }
    let groups: Vec<(u16, u16)> = copy.groups.iter().map(|group| (group.from, group.to)).collect();
    assert_eq!(groups, [(0, 1), (1, 5), (5, 6)]);
    assert!(copy.bytes(0, 6) < batch.bytes(3, 9));
    assert_eq!((batch.bytes(3, 3), batch.bytes(0, 99)), (0, 0));
    let thinned = batch.thinned(3, 9);
    assert_eq!(thinned.len(), batch.len());
    assert_eq!(thinned.groups[..], batch.groups[..]);
    assert_eq!(thinned.chunk, copy.chunk);
    for index in 3..9 {
        assert_eq!(thinned.body(index), batch.body(index));
        assert_eq!(thinned.routing_key(index), batch.routing_key(index));
        assert_eq!(thinned.header(index), batch.header(index));
    }
    assert_eq!(thinned.copied(4, 8).chunk, batch.copied(4, 8).chunk);
    assert_eq!(thinned.bytes(3, 9), copy.bytes(0, 6));
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let good = Batch::single(&[0, 1, b'q'], &header(60, 0, 2), b"ab", 0);
    let entry = good.entries[0];
    #[track_caller]
    fn check(good: &Batch, entry: Entry, groups: &[(u16, u16)], ok: bool) {
        let groups = groups
            .iter()
            .map(|&(from, to)| Group {
                from,
                to,
                mandatory: false,
            })
            .collect();
        assert_eq!(
            Batch::from_parts(good.chunk.clone(), ShortList::one(entry), groups).is_ok(),
            ok
        );
    }
    check(&good, entry, &[(0, 1)], true);
    check(&good, entry, &[], false);
    check(&good, entry, &[(0, 2)], false);
    check(&good, entry, &[(0, 0), (0, 1)], false);
    check(
        &good,
        Entry {
            address_off: 1,
            ..entry
        },
        &[(0, 1)],
        false,
    );
    check(
        &good,
        Entry {
            address_len: 2,
            ..entry
        },
        &[(0, 1)],
        false,
    );
    check(&good, Entry { body_len: 3, ..entry }, &[(0, 1)], false);
    check(
        &good,
        Entry {
            body_off: entry.body_off + 1,
            body_len: 1,
            ..entry
        },
        &[(0, 1)],
        false,
    );
    check(
        &good,
        Entry {
            header_len: 3,
            body_off: entry.header_off + 3,
            ..entry
        },
        &[(0, 1)],
        false,
    );
    check(
        &good,
        Entry {
            header_off: u32::MAX,
            ..entry
        },
        &[(0, 1)],
        false,
    );
    assert!(Batch::from_parts(good.chunk.clone(), ShortList::default(), ShortList::default()).is_err());
}

#[test]
fn publishes_of_a_transaction_say_so() {
    let mut peer = Peer::running();
    let events = peer.send(
        &[
            call(1, tx::Select {}),
            publish(1, "q", b"x"),
            call(1, tx::Commit {}),
        ]
        .concat(),
    );
    let [
        Event::Publish {
            transactional: true,
            first_number: 0,
            ..
        },
        Event::TxCommit { channel: 1 },
    ] = events[..]
    else {
        panic!("{events:?}")
    };
}
