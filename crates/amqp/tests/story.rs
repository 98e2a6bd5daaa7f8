//! One client's life, from the protocol header to the end, as bytes.

use std::sync::Arc;

use bytes::BytesMut;
use everack_amqp::Millis;
use everack_amqp::connection::{Connection, Delivery};
use everack_amqp::encoding::DeliverHead;
use everack_amqp::event::{Event, Outcome};
use everack_amqp::settings::Settings;
use everack_amqp::wire::frame::{self, Head};
use everack_amqp::wire::method::{Method, basic, channel, confirm, connection};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::Table;

/// A client and the machine that serves it, with nothing between them.
struct Peer {
    connection: Connection,
    input: BytesMut,
}

fn short(text: &str) -> ShortString {
    ShortString::new(text).unwrap()
}

impl Peer {
    fn new() -> Peer {
        let connection = Connection::new(Arc::new(Settings::default()), Millis(0));
        Peer {
            connection,
            input: BytesMut::new(),
        }
    }

    /// Hands over bytes and gives the next event.
    fn event(&mut self, bytes: &[u8]) -> Option<Event> {
        self.input.extend_from_slice(bytes);
        self.connection.receive(&mut self.input, Millis(1))
    }

    fn call(&mut self, channel: u16, method: impl Into<Method>) -> Option<Event> {
        let mut bytes = Vec::new();
        frame::write_method(&mut bytes, channel, &method.into());
        self.event(&bytes)
    }

    /// What the server has sent, as (channel, name of the method or type of the frame).
    fn sent(&mut self) -> Vec<(u16, String)> {
        let out = std::mem::take(self.connection.output());
        let mut rest = &out[..];
        let mut frames = Vec::new();
        while let Some(head) = Head::read(rest) {
            let payload = &rest[7..7 + head.size as usize];
            let name = match head.kind {
                frame::METHOD => {
                    let id = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
                    format!("{:?}", Method::decode(id(0), id(2), &payload[4..]).unwrap())
                }
                frame::HEADER => "header".to_string(),
                frame::BODY => String::from_utf8_lossy(payload).into_owned(),
                kind => format!("type {kind}"),
            };
            frames.push((head.channel, name));
            rest = &rest[head.frame_bytes()..];
        }
        assert!(rest.is_empty(), "half a frame was sent");
        frames
    }
}

fn publish(channel: u16, key: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let publish = basic::Publish {
        routing_key: short(key),
        ..basic::Publish::default()
    };
    frame::write_method(&mut bytes, channel, &publish.into());
    let mut properties = Vec::new();
    Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    }
    .encode(&mut properties);
    frame::write_content(&mut bytes, channel, &properties, body, 4096);
    bytes
}

#[test]
fn a_client_lives_and_leaves() {
    let mut peer = Peer::new();
    assert!(peer.event(b"AMQP\x00\x00\x09\x01").is_none());
    assert!(
        peer.sent()[0]
            .1
            .starts_with("ConnectionStart(Start { version_major: 0, version_minor: 9")
    );
    let start_ok = connection::StartOk {
        client_properties: Table::new(),
        mechanism: short("PLAIN"),
        response: b"\0guest\0secret".to_vec(),
        locale: short("en_US"),
    };
    let Some(Event::Authenticate { credentials, .. }) = peer.call(0, start_ok) else {
        panic!("no login")
    };
    assert_eq!(
        (&credentials.user[..], &credentials.password[..]),
        (&b"guest"[..], &b"secret"[..])
    );
    peer.connection.authenticated();
    assert!(
        peer.call(
            0,
            connection::TuneOk {
                channel_max: 10,
                frame_max: 4096,
                heartbeat: 5
            }
        )
        .is_none()
    );
    let Some(Event::Open { vhost }) = peer.call(
        0,
        connection::Open {
            virtual_host: short("/"),
        },
    ) else {
        panic!("no open")
    };
    assert_eq!(vhost, "/");
    peer.connection.opened();
    assert!(matches!(
        peer.call(1, channel::Open {}),
        Some(Event::ChannelOpen { channel: 1 })
    ));
    assert!(peer.call(1, confirm::Select { nowait: false }).is_none());
    peer.sent();

    // Two small messages and a large one: two batches.
    let mut bytes = publish(1, "small", b"one");
    bytes.extend(publish(1, "small", b"two"));
    bytes.extend(publish(1, "large", &[b'x'; 10_000]));
    let Some(Event::Publish {
        batch: small,
        first_number: 1,
        ..
    }) = peer.event(&bytes)
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
    }) = peer.event(&[])
    else {
        panic!()
    };
    assert_eq!((large.len(), large.body(0).len()), (1, 10_000));
    assert!(peer.event(&[]).is_none());

    let first = peer.connection.expect_confirm(1, 2, 1).unwrap();
    peer.connection.expect_confirm(1, 3, 0).unwrap();
    peer.connection.flush_confirms();
    assert!(peer.sent().is_empty(), "the second must not overtake the first");
    peer.connection.confirm(1, first);
    peer.connection.flush_confirms();
    assert_eq!(
        peer.sent(),
        [(1, "BasicAck(Ack { delivery_tag: 3, multiple: true })".to_string())]
    );

    let head = DeliverHead::new(1, b"me");
    let delivery = Delivery {
        source: 7,
        first: 100,
        no_ack: false,
        redelivered: false,
    };
    assert!(peer.connection.deliver(&head, &small, 0, 2, delivery));
    let names: Vec<String> = peer.sent().into_iter().map(|(_, name)| name).collect();
    assert!(names[0].contains("delivery_tag: 1"));
    assert_eq!(
        (&names[1][..], &names[2][..], &names[5][..]),
        ("header", "one", "two")
    );
    let ack = basic::Ack {
        delivery_tag: 2,
        multiple: true,
    };
    let Some(Event::Settle {
        outcome: Outcome::Ack,
        settled,
        ..
    }) = peer.call(1, ack)
    else {
        panic!()
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
        peer.call(1, channel::Close::default()),
        Some(Event::ChannelCloseRequested { .. })
    ));
    peer.connection.channel_closed(1);
    assert!(matches!(
        peer.call(0, connection::Close::default()),
        Some(Event::CloseRequested { .. })
    ));
    peer.connection.closed();
    assert!(peer.connection.is_finished());
    assert_eq!(peer.sent().last().unwrap().1, "ConnectionCloseOk(CloseOk)");
}
