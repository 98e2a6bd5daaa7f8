//! From the first byte to an open virtual host.

use everack_amqp::Millis;
use everack_amqp::credentials::Mechanism;
use everack_amqp::event::{Event, Failure};
use everack_amqp::settings::Settings;
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{channel, connection};
use everack_amqp::wire::table::{Table, Value};

use crate::peer::{Peer, call, raw, short, start_ok};

/// A client that has been offered a login.
fn started() -> Peer {
    let mut peer = Peer::new(Settings::default());
    assert!(peer.send(&frame::PROTOCOL_HEADER).is_empty());
    assert_eq!(peer.sent(), ["0 connection.start"]);
    peer
}

/// A client that has been let in.
fn tuning() -> Peer {
    let mut peer = started();
    peer.send(&call(0, start_ok("PLAIN", b"\0guest\0guest", &[])));
    peer.connection.authenticated();
    assert_eq!(peer.sent(), ["0 connection.tune"]);
    peer
}

#[test]
fn protocol_headers() {
    #[track_caller]
    fn check(header: &[u8; 8], served: bool) {
        let mut peer = Peer::new(Settings::default());
        let events = peer.send(header);
        if served {
            assert!(events.is_empty());
            assert_eq!(peer.sent(), ["0 connection.start"]);
        } else {
            assert!(
                matches!(&events[..], [Event::Failed { reason: Failure::ProtocolHeader(it) }] if it == header)
            );
            assert_eq!(peer.connection.output()[..], *b"AMQP\x00\x00\x09\x01");
            peer.connection.tick(peer.connection.deadline().unwrap());
            assert!(peer.connection.is_finished());
        }
    }
    check(b"AMQP\x00\x00\x09\x01", true);
    check(b"AMQP\x01\x01\x00\x09", true);
    check(b"AMQP\x01\x01\x08\x00", true);
    check(b"AMQP\x00\x00\x09\x00", false);
    check(b"AMQP\x00\x01\x00\x00", false);
    check(b"AMQP\x03\x01\x00\x00", false);
    check(b"GET / HT", false);
    check(b"\x16\x03\x01\x02\x00\x01\x00\x01", false);
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let mut peer = Peer::new(Settings::default());
    for byte in frame::PROTOCOL_HEADER {
        assert!(peer.sent().is_empty());
        peer.send(&[byte]);
    }
    assert_eq!(peer.sent(), ["0 connection.start"]);
}

#[test]
fn server_properties_are_what_clients_test_on() {
    let mut peer = Peer::new(Settings::default());
    peer.send(&frame::PROTOCOL_HEADER);
    let out = peer.connection.output().clone();
    let mut reader = everack_amqp::wire::primitive::Reader::new(&out[11..]);
    let start = connection::Start::decode(&mut reader).unwrap();
    assert_eq!(
        (start.mechanisms, start.locales),
        (b"PLAIN AMQPLAIN".to_vec(), b"en_US".to_vec())
    );
    assert_eq!(
        start.server_properties.get("product"),
        Some(&Value::from("RabbitMQ"))
    );
    let Some(Value::Table(capabilities)) = start.server_properties.get("capabilities") else {
        panic!()
    };
    let expected = [
        ("publisher_confirms", true),
        ("exchange_exchange_bindings", true),
        ("basic.nack", true),
        ("consumer_cancel_notify", true),
        ("connection.blocked", true),
        ("consumer_priorities", true),
        ("authentication_failure_close", true),
        ("per_consumer_qos", true),
        ("direct_reply_to", true),
    ];
    for (name, value) in expected {
        assert_eq!(capabilities.get(name), Some(&Value::Bool(value)), "{name}");
    }
}

#[test]
fn logins() {
    #[track_caller]
    fn check(mechanism: Mechanism, response: &[u8], user: &str, password: &str) {
        let events = started().send(&call(0, start_ok(mechanism.name(), response, &[])));
        let [Event::Authenticate { credentials, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(credentials.mechanism, mechanism);
        assert_eq!(
            (&credentials.user[..], &credentials.password[..]),
            (user.as_bytes(), password.as_bytes())
        );
        assert!(!format!("{credentials:?}").contains(password) || password.is_empty());
    }
    check(Mechanism::Plain, b"\0guest\0secret", "guest", "secret");
    check(Mechanism::Plain, b"someone\0guest\0", "guest", "");
    let mut response = Vec::new();
    Table::new()
        .with("LOGIN", "guest")
        .with("PASSWORD", "secret")
        .encode(&mut response);
    check(Mechanism::AmqPlain, &response[4..], "guest", "secret");
}

#[test]
fn logins_that_cannot_be_read() {
    #[track_caller]
    fn check(mechanism: &str, response: &[u8], expected: &str) {
        let mut peer = started();
        assert!(matches!(
            peer.send(&call(0, start_ok(mechanism, response, &[])))[..],
            [Event::Failed { .. }]
        ));
        assert_eq!(peer.sent(), [format!("0 connection.close {expected}")]);
    }
    check(
        "EXTERNAL",
        b"",
        "503 10.11 COMMAND_INVALID - unknown authentication mechanism 'EXTERNAL'",
    );
    check(
        "PLAIN",
        b"secret",
        "502 10.11 SYNTAX_ERROR - invalid PLAIN response",
    );
    check(
        "PLAIN",
        b"\0a\0b\0c",
        "502 10.11 SYNTAX_ERROR - invalid PLAIN response",
    );
    check(
        "AMQPLAIN",
        b"\x05LOGIN",
        "502 10.11 SYNTAX_ERROR - invalid AMQPLAIN response",
    );
    check(
        "AMQPLAIN",
        b"",
        "502 10.11 SYNTAX_ERROR - invalid AMQPLAIN response",
    );
}

#[test]
fn a_refused_login_is_told_only_to_those_who_understand() {
    let mut peer = started();
    peer.send(&call(
        0,
        start_ok("PLAIN", b"\0guest\0wrong", &["authentication_failure_close"]),
    ));
    peer.connection.refuse_authentication();
    let text = "Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";
    assert_eq!(
        peer.sent(),
        [format!("0 connection.close 403 0.0 ACCESS_REFUSED - {text}")]
    );
    peer.send(&call(0, connection::CloseOk {}));
    assert!(peer.connection.is_finished());

    let mut peer = started();
    peer.send(&call(0, start_ok("PLAIN", b"\0guest\0wrong", &[])));
    peer.connection.refuse_authentication();
    assert!(peer.sent().is_empty());
    assert!(peer.connection.is_finished());
}

#[test]
fn nothing_is_read_while_the_driver_owes_an_answer() {
    let mut peer = started();
    let tune_ok = connection::TuneOk {
        channel_max: 1,
        frame_max: 4096,
        heartbeat: 0,
    };
    let open = connection::Open {
        virtual_host: short("/"),
    };
    let login = call(0, start_ok("PLAIN", b"\0guest\0guest", &[]));
    let bytes = [login, call(0, tune_ok), call(0, open), call(1, channel::Open {})].concat();
    assert!(matches!(peer.send(&bytes)[..], [Event::Authenticate { .. }]));
    peer.connection.authenticated();
    assert!(matches!(&peer.send(&[])[..], [Event::Open { vhost }] if *vhost == "/"));
    peer.connection.opened();
    assert!(matches!(peer.send(&[])[..], [Event::ChannelOpen { channel: 1 }]));
    assert_eq!(
        peer.sent(),
        ["0 connection.tune", "0 connection.open-ok", "1 channel.open-ok"]
    );
}

#[test]
fn limits_are_negotiated() {
    #[track_caller]
    fn check(channel_max: u16, frame_max: u32, expected: Result<(), &str>) {
        let mut peer = tuning();
        let events = peer.send(&call(
            0,
            connection::TuneOk {
                channel_max,
                frame_max,
                heartbeat: 7,
            },
        ));
        let Err(text) = expected else {
            assert!(events.is_empty());
            assert_eq!(
                (peer.connection.channel_max(), peer.connection.frame_max()),
                (channel_max, frame_max)
            );
            assert_eq!(peer.connection.heartbeat_s(), 7);
            return;
        };
        assert!(matches!(events[..], [Event::Failed { .. }]));
        assert_eq!(
            peer.sent(),
            [format!(
                "0 connection.close 530 10.30 NOT_ALLOWED - negotiated {text}"
            )]
        );
    }
    check(2047, 131_072, Ok(()));
    check(1, 4096, Ok(()));
    check(
        1,
        4095,
        Err("frame_max = 4095 is lower than the minimum allowed value (4096)"),
    );
    check(
        1,
        131_073,
        Err("frame_max = 131073 is higher than the maximum allowed value (131072)"),
    );
    check(
        1,
        0,
        Err("frame_max = 0 (no limit) is higher than the maximum allowed value (131072)"),
    );
    check(
        2048,
        4096,
        Err("channel_max = 2048 is higher than the maximum allowed value (2047)"),
    );
    check(
        0,
        4096,
        Err("channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"),
    );
}

#[test]
fn a_missing_virtual_host() {
    let mut peer = tuning();
    peer.send(&call(
        0,
        connection::TuneOk {
            channel_max: 1,
            frame_max: 4096,
            heartbeat: 0,
        },
    ));
    peer.send(&call(
        0,
        connection::Open {
            virtual_host: short("nope"),
        },
    ));
    peer.connection.refuse_vhost("vhost nope not found");
    assert_eq!(
        peer.sent(),
        ["0 connection.close 530 10.40 NOT_ALLOWED - vhost nope not found"]
    );
}

#[test]
fn methods_out_of_turn() {
    let mut peer = started();
    peer.send(&call(
        0,
        connection::Open {
            virtual_host: short("/"),
        },
    ));
    let text = "unexpected method in connection state starting";
    assert_eq!(
        peer.sent(),
        [format!("0 connection.close 504 10.40 CHANNEL_ERROR - {text}")]
    );
    let mut peer = started();
    peer.send(&call(1, channel::Open {}));
    assert_eq!(
        peer.sent(),
        ["0 connection.close 505 0.0 UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>"]
    );
}

#[test]
fn a_client_may_leave_before_it_is_in() {
    let mut peer = started();
    assert!(matches!(
        peer.send(&call(0, connection::Close::default()))[..],
        [Event::CloseRequested { .. }]
    ));
    peer.connection.closed();
    assert_eq!(peer.sent(), ["0 connection.close-ok"]);
    peer.connection.disconnected();
    assert!(peer.connection.is_finished());
}

#[test]
fn nobody_takes_forever_to_log_in() {
    let mut peer = started();
    assert_eq!(peer.connection.deadline(), Some(Millis(10_000)));
    assert!(peer.connection.tick(Millis(9_999)).is_none());
    let event = peer.connection.tick(Millis(10_000));
    assert!(matches!(
        event,
        Some(Event::Failed {
            reason: Failure::HandshakeTimeout(10_000)
        })
    ));
    assert!(peer.connection.is_finished());
    assert!(peer.connection.deadline().is_none());
}

#[test]
fn nobody_needs_that_many_bytes_to_log_in() {
    // One frame too many, and one that is too large from the start.
    let mut peer = started();
    let mut events = Vec::new();
    for _ in 0..10_000 {
        events.extend(peer.send(&raw(frame::HEARTBEAT, 0, &[])));
    }
    assert!(matches!(
        events[..],
        [Event::Failed {
            reason: Failure::HandshakeBytes(16384)
        }]
    ));
    let mut peer = started();
    let huge = call(0, start_ok("PLAIN", &[b'x'; 70_000], &[]));
    assert!(matches!(peer.send(&huge[..100])[..], [Event::Failed { .. }]));
    // Half a frame within the bound waits, and fails when the bound is reached.
    let mut peer = started();
    let large = call(0, start_ok("PLAIN", &[b'x'; 16_250], &[]));
    assert!(peer.send(&large[..15_000]).is_empty());
    let more = [&large[15_000..large.len() - 1], &[0; 600]].concat();
    assert!(matches!(peer.send(&more)[..], [Event::Failed { .. }]));
}
