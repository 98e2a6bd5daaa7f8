//! One client's life, from the protocol header to the end.

use everack_amqp::connection::Delivery;
use everack_amqp::encoding::DeliverHead;
use everack_amqp::event::{Event, Outcome};
use everack_amqp::settings::Settings;
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{basic, channel, confirm, connection};

use crate::peer::{Peer, call, publish, short, start_ok};

#[test]
fn a_client_lives_and_leaves() {
    let mut peer = Peer::new(Settings::default());
    peer.send(&frame::PROTOCOL_HEADER);
    peer.send(&call(0, start_ok("PLAIN", b"\0guest\0secret", &[])));
    peer.connection.authenticated();
    peer.send(&call(
        0,
        connection::TuneOk {
            channel_max: 10,
            frame_max: 4096,
            heartbeat: 5,
        },
    ));
    peer.send(&call(
        0,
        connection::Open {
            virtual_host: short("/"),
        },
    ));
    peer.connection.opened();
    peer.send(&call(1, channel::Open {}));
    peer.send(&call(1, confirm::Select { nowait: false }));
    let greeting = [
        "0 connection.start",
        "0 connection.tune",
        "0 connection.open-ok",
        "1 channel.open-ok",
    ];
    assert_eq!(peer.sent(), [&greeting[..], &["1 confirm.select-ok"]].concat());

    // Two small messages and a large one: two batches.
    let bytes = [
        publish(1, "small", b"one"),
        publish(1, "small", b"two"),
        publish(1, "large", &[b'x'; 10_000]),
    ];
    let mut events = peer.send(&bytes.concat()).into_iter();
    let Some(Event::Publish {
        batch: small,
        first_number: 1,
        ..
    }) = events.next()
    else {
        panic!()
    };
    assert_eq!((small.len(), small.groups.len()), (2, 1));
    assert_eq!(
        (small.routing_key(1), small.body(1)),
        (&b"small"[..], &b"two"[..])
    );
    let Some(Event::Publish {
        batch: large,
        first_number: 3,
        ..
    }) = events.next()
    else {
        panic!()
    };
    assert_eq!((large.len(), large.body(0).len()), (1, 10_000));
    assert!(events.next().is_none());

    let first = peer.connection.expect_confirm(1, 2, 1).unwrap();
    peer.connection.expect_confirm(1, 3, 0).unwrap();
    peer.connection.flush_confirms();
    assert!(peer.sent().is_empty(), "the second must not overtake the first");
    peer.connection.confirm(1, first);
    peer.connection.flush_confirms();
    assert_eq!(peer.sent(), ["1 basic.ack 3 true"]);

    let head = DeliverHead::new(1, b"me");
    let delivery = Delivery {
        source: 7,
        first: 100,
        no_ack: false,
        redelivered: false,
    };
    assert!(peer.connection.deliver(&head, &small, 0, 2, delivery));
    let deliveries = [
        "1 basic.deliver 1 false",
        "1 header 3",
        "1 body 3",
        "1 basic.deliver 2 false",
    ];
    assert_eq!(peer.sent()[..4], deliveries);
    let events = peer.send(&call(
        1,
        basic::Ack {
            delivery_tag: 2,
            multiple: true,
        },
    ));
    let [
        Event::Settle {
            outcome: Outcome::Ack,
            settled,
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(
        (
            settled.len(),
            settled[0].source,
            settled[0].first,
            settled[0].count
        ),
        (1, 7, 100, 2)
    );

    assert!(matches!(
        peer.send(&call(1, channel::Close::default()))[..],
        [Event::ChannelCloseRequested { .. }]
    ));
    assert!(!peer.connection.deliver(&head, &small, 0, 1, delivery));
    peer.connection.channel_closed(1);
    assert!(matches!(
        peer.send(&call(0, connection::Close::default()))[..],
        [Event::CloseRequested { .. }]
    ));
    peer.connection.closed();
    assert_eq!(peer.sent(), ["1 channel.close-ok", "0 connection.close-ok"]);
    // What a client had in its buffers behind its close is read, or the socket's reset would take the answer away from it.
    assert!(peer.send(&publish(1, "late", b"late")).is_empty());
    assert!(!peer.connection.is_finished());
    // Whoever never closes its side is not waited for.
    let deadline = peer.connection.deadline().expect("it ends by itself");
    assert!(peer.connection.tick(deadline).is_none());
    assert!(peer.connection.is_finished());
    assert_eq!(peer.sent(), [""; 0]);
}
