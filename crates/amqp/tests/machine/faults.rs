//! What a client gets for breaking the rules: the code, the text and how far the damage goes.

use everack_amqp::error::{Error, ReplyCode, Scope};
use everack_amqp::event::{Event, Failure};
use everack_amqp::settings::Settings;
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{Method, basic, channel, confirm, connection, queue, tx};

use crate::peer::{Peer, call, header, publish, raw, short};

/// `bytes` on a running connection lead to exactly this close, and to the event that goes with it.
#[track_caller]
fn check(bytes: Vec<u8>, expected: &str) {
    check_on(&mut Peer::running(), bytes, expected);
}

#[track_caller]
fn check_on(peer: &mut Peer, bytes: Vec<u8>, expected: &str) {
    let events = peer.send(&bytes);
    assert_eq!(peer.sent().last().map(String::as_str), Some(expected));
    let text = |error: &Error| {
        format!(
            "{} {}.{} {}",
            error.code.number(),
            error.class,
            error.method,
            error.reply_text()
        )
    };
    let told: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            Event::ChannelFailed { channel, error } => {
                Some(format!("{channel} channel.close {}", text(error)))
            }
            Event::Failed {
                reason: Failure::Protocol(error),
            } => Some(format!("0 connection.close {}", text(error))),
            _ => None,
        })
        .collect();
    assert_eq!(told, [expected]);
}

/// A call on channel 1.
fn one(method: impl Into<Method>) -> Vec<u8> {
    call(1, method)
}

fn begun() -> Vec<u8> {
    one(basic::Publish::default())
}

#[test]
fn frames_that_cannot_be_told_apart() {
    let mut wrong_end = publish(1, "q", b"body");
    *wrong_end.last_mut().unwrap() = 7;
    check(
        wrong_end,
        "0 connection.close 501 0.0 FRAME_ERROR - type 3, all octets = <<>>: {invalid_frame_end_marker,7}",
    );
    let mut wrong_end = one(queue::Purge {
        queue: short("a-long-name"),
        nowait: false,
    });
    *wrong_end.last_mut().unwrap() = 0;
    check(
        wrong_end,
        "0 connection.close 501 0.0 FRAME_ERROR - type 1, first 16 octets = \
         <<0,50,0,30,0,0,11,97,45,108,111,110,103,45,110,97>>: {invalid_frame_end_marker,0}",
    );
    check(
        vec![1, 0, 1, 0, 0, 16, 1],
        "0 connection.close 501 0.0 FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,4097,4088}",
    );
    check(
        [
            begun(),
            raw(2, 1, &header(60, 0, 9000)),
            vec![3, 0, 1, 0, 1, 0, 0],
        ]
        .concat(),
        "0 connection.close 501 0.0 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,65536,4088}",
    );
}

#[test]
fn a_wrong_end_in_a_run_spoils_only_what_follows() {
    let good = publish(1, "q", b"body");
    for at in [good.len() - 1, good.len() - 13, 20] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let mut peer = Peer::running();
        let events = peer.send(&[&good[..], &good, &bad, &good].concat());
        let [Event::Publish { batch, .. }, .., Event::Failed { .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(batch.len(), 2, "byte {at}");
    }
}

#[test]
fn frames_that_mean_nothing() {
    check(
        raw(9, 1, b"hello"),
        "0 connection.close 501 0.0 FRAME_ERROR - type 9, all octets = <<\"hello\">>: unknown_frame",
    );
    check(
        raw(1, 1, &[0, 60]),
        "0 connection.close 501 0.0 FRAME_ERROR - type 1, all octets = <<0,60>>: unknown_frame",
    );
    check(
        raw(8, 0, &[1]),
        "0 connection.close 501 0.0 FRAME_ERROR - type 8, all octets = <<1>>: unknown_frame",
    );
    check(
        raw(8, 1, &[]),
        "0 connection.close 505 0.0 UNEXPECTED_FRAME - type 8, all octets = <<>>",
    );
    check(
        raw(2, 0, &header(60, 0, 1)),
        "0 connection.close 505 0.0 UNEXPECTED_FRAME - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,1,0,0>>",
    );
    check(
        raw(3, 0, b"ab"),
        "0 connection.close 505 0.0 UNEXPECTED_FRAME - type 3, all octets = <<\"ab\">>",
    );
}

#[test]
fn frames_out_of_order() {
    let expected_method =
        "0 connection.close 505 0.0 UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    check(raw(2, 1, &header(60, 0, 1)), expected_method);
    check(raw(3, 1, b"body"), expected_method);
    check(raw(3, 9, b"body"), expected_method);
    check([publish(1, "q", b""), raw(3, 1, b"")].concat(), expected_method);
    let expected_header = "0 connection.close 505 60.40 UNEXPECTED_FRAME - \
                           expected content header for class 60, got non content header frame instead";
    check([begun(), begun()].concat(), expected_header);
    check([begun(), raw(3, 1, b"body")].concat(), expected_header);
    check([begun(), raw(2, 1, &header(60, 1, 1))].concat(), expected_header);
    check(
        [begun(), raw(2, 1, &header(50, 0, 1))].concat(),
        "0 connection.close 505 60.40 UNEXPECTED_FRAME - \
         expected content header for class 60, got one for class 50 instead",
    );
    let expected_body = "0 connection.close 505 60.40 UNEXPECTED_FRAME - \
                         expected content body, got non content body frame instead";
    check(
        [begun(), raw(2, 1, &header(60, 0, 1)), begun()].concat(),
        expected_body,
    );
    check(
        [
            begun(),
            raw(2, 1, &header(60, 0, 1)),
            raw(2, 1, &header(60, 0, 1)),
        ]
        .concat(),
        expected_body,
    );
    check(
        [begun(), raw(2, 1, &header(60, 0, 3)), raw(3, 1, b"four")].concat(),
        "0 connection.close 501 60.40 FRAME_ERROR - content body frame exceeds remaining content size",
    );
}

#[test]
fn methods_that_do_not_exist_or_do_not_belong() {
    check(
        raw(1, 1, &[0, 99, 0, 10]),
        "0 connection.close 503 99.10 COMMAND_INVALID - unknown class 99",
    );
    check(
        raw(1, 1, &[0, 60, 0, 99]),
        "0 connection.close 540 60.99 NOT_IMPLEMENTED - unknown method 99 of class 60",
    );
    check(
        raw(1, 1, &[0, 50, 0, 30, 0]),
        "0 connection.close 502 50.30 SYNTAX_ERROR - malformed arguments: it ends too early",
    );
    check(
        raw(1, 1, &[0, 90, 0, 10, 1, 2]),
        "0 connection.close 502 90.10 SYNTAX_ERROR - malformed arguments: 2 bytes too many",
    );
    let unimplemented =
        |ids: &str| format!("0 connection.close 503 {ids} COMMAND_INVALID - unimplemented method");
    check(one(queue::DeclareOk::default()), &unimplemented("50.11"));
    check(one(basic::Deliver::default()), &unimplemented("60.60"));
    check(one(connection::Close::default()), &unimplemented("10.50"));
    let unexpected = "CHANNEL_ERROR - unexpected method in connection state running";
    check(
        call(0, channel::Open {}),
        &format!("0 connection.close 504 20.10 {unexpected}"),
    );
    check(
        call(0, basic::Publish::default()),
        &format!("0 connection.close 504 60.40 {unexpected}"),
    );
    check(
        call(0, connection::StartOk::default()),
        &format!("0 connection.close 504 10.11 {unexpected}"),
    );
}

#[test]
fn requests_that_nobody_serves() {
    check(
        one(basic::Publish {
            immediate: true,
            ..basic::Publish::default()
        }),
        "0 connection.close 540 60.40 NOT_IMPLEMENTED - immediate=true",
    );
    check(
        one(basic::Qos {
            prefetch_size: 10,
            ..basic::Qos::default()
        }),
        "0 connection.close 540 60.10 NOT_IMPLEMENTED - prefetch_size!=0 (10)",
    );
    let requeue = |ids| format!("0 connection.close 540 {ids} NOT_IMPLEMENTED - requeue=false");
    check(one(basic::Recover { requeue: false }), &requeue("60.110"));
    check(one(basic::RecoverAsync { requeue: false }), &requeue("60.100"));
    check(
        one(channel::Flow { active: false }),
        "0 connection.close 540 20.20 NOT_IMPLEMENTED - active=false",
    );
}

#[test]
fn channels_and_their_numbers() {
    check(
        one(channel::Open {}),
        "0 connection.close 504 20.10 CHANNEL_ERROR - second 'channel.open' seen",
    );
    check(
        call(2, tx::Select {}),
        "0 connection.close 504 90.10 CHANNEL_ERROR - expected 'channel.open'",
    );
    check(
        publish(2, "q", b"x"),
        "0 connection.close 504 60.40 CHANNEL_ERROR - expected 'channel.open'",
    );
    check(
        call(2048, channel::Open {}),
        "0 connection.close 530 20.10 NOT_ALLOWED - channel number 2048 is higher than the negotiated channel_max (2047)",
    );
    let mut peer = Peer::running();
    for number in 2..=2047 {
        peer.send(&call(number, channel::Open {}));
    }
    check_on(
        &mut peer,
        call(2048, channel::Open {}),
        "0 connection.close 530 20.10 NOT_ALLOWED - number of channels opened (2047) has reached the negotiated \
         channel_max (2047)",
    );
}

#[test]
fn modes_and_tags() {
    let failed = |ids: &str, text: &str| format!("1 channel.close 406 {ids} PRECONDITION_FAILED - {text}");
    let confirm = || one(confirm::Select { nowait: true });
    check(
        [one(tx::Select {}), confirm()].concat(),
        &failed("85.10", "cannot switch from tx to confirm mode"),
    );
    check(
        [confirm(), one(tx::Select {})].concat(),
        &failed("90.10", "cannot switch from confirm to tx mode"),
    );
    check(
        one(tx::Commit {}),
        &failed("90.20", "channel is not transactional"),
    );
    check(
        one(tx::Rollback {}),
        &failed("90.30", "channel is not transactional"),
    );
    for multiple in [false, true] {
        let ack = basic::Ack {
            delivery_tag: 99,
            multiple,
        };
        check(one(ack), &failed("60.80", "unknown delivery tag 99"));
        let nack = basic::Nack {
            delivery_tag: 99,
            multiple,
            requeue: true,
        };
        check(one(nack), &failed("60.120", "unknown delivery tag 99"));
    }
    check(
        one(basic::Reject {
            delivery_tag: 0,
            requeue: true,
        }),
        &failed("60.90", "unknown delivery tag 0"),
    );
}

#[test]
fn content_too_large_or_malformed() {
    let large = header(60, 0, (128 << 20) + 1);
    check(
        [begun(), raw(2, 1, &large)].concat(),
        "1 channel.close 406 60.40 PRECONDITION_FAILED - message size 134217729 is larger than configured max size \
         134217728",
    );
    for properties in [&[0x80, 0][..], &[0, 1], &[0, 0, 0], &[0x20, 0, 0, 0, 0, 9]] {
        let mut payload = header(60, 0, 1);
        payload.splice(12.., properties.iter().copied());
        let mut peer = Peer::running();
        peer.send(&[begun(), raw(2, 1, &payload), raw(3, 1, b"x")].concat());
        let sent = peer.sent();
        assert!(
            sent[0].starts_with("0 connection.close 502 60.40 SYNTAX_ERROR - content header: "),
            "{sent:?}"
        );
    }
}

#[test]
fn unfinished_messages_share_a_bound() {
    let settings = Settings {
        assembly_bytes_max: 10_000,
        ..Settings::default()
    };
    let mut peer = Peer::running_with(settings, 4096);
    let half = |channel| {
        let frames = [
            call(channel, basic::Publish::default()),
            raw(2, channel, &header(60, 0, 9000)),
        ];
        [frames.concat(), raw(3, channel, &[0; 4000])].concat()
    };
    peer.send(&half(1));
    peer.send(&[call(2, channel::Open {}), half(2)].concat());
    assert_eq!(peer.sent(), ["2 channel.open-ok"]);
    // The end of a channel gives its share back.
    peer.connection.fail(2, Error::new(ReplyCode::NotFound, "gone"));
    peer.send(&[call(2, channel::CloseOk {}), call(2, channel::Open {}), half(2)].concat());
    assert_eq!(
        peer.sent(),
        ["2 channel.close 404 0.0 NOT_FOUND - gone", "2 channel.open-ok"]
    );
    check_on(
        &mut peer,
        [call(3, channel::Open {}), half(3)].concat(),
        "0 connection.close 506 60.40 RESOURCE_ERROR - unfinished messages on this connection are larger than 10000 \
         bytes",
    );
}

#[test]
fn finished_messages_give_their_share_back() {
    let settings = Settings {
        assembly_bytes_max: 10_000,
        ..Settings::default()
    };
    let mut peer = Peer::running_with(settings, 4096);
    assert_eq!(peer.send(&publish(1, "q", &[0; 9000]).repeat(20)).len(), 20);
    assert!(peer.sent().is_empty());
}

#[test]
fn a_failed_channel_hears_nothing_but_the_answer() {
    let mut peer = Peer::running();
    peer.send(&one(basic::Ack {
        delivery_tag: 1,
        multiple: false,
    }));
    assert_eq!(peer.sent().len(), 1);
    assert!(!peer.connection.is_open(1));
    // Whatever was on its way, whole or broken, is thrown away; other channels go on.
    let late = [
        publish(1, "q", b"late"),
        begun(),
        raw(3, 1, b"x"),
        one(queue::DeclareOk::default()),
    ]
    .concat();
    assert!(peer.send(&late).is_empty());
    peer.connection.reply(1, &queue::DeclareOk::default().into());
    assert!(peer.sent().is_empty());
    assert_eq!(peer.send(&call(2, channel::Open {})).len(), 1);
    // A close that crosses ours is answered, and ours is still to be.
    assert!(peer.send(&one(channel::Close::default())).is_empty());
    assert_eq!(peer.sent(), ["2 channel.open-ok", "1 channel.close-ok"]);
    assert!(peer.send(&one(channel::CloseOk {})).is_empty());
    assert!(matches!(
        peer.send(&one(channel::Open {}))[..],
        [Event::ChannelOpen { channel: 1 }]
    ));
}

#[test]
fn a_large_message_is_refused_and_its_body_thrown_away() {
    let settings = Settings {
        body_bytes_max: 5000,
        ..Settings::default()
    };
    let mut peer = Peer::running_with(settings, 4096);
    let events = peer.send(&[publish(1, "q", &[0; 5001]), call(2, channel::Open {})].concat());
    assert!(matches!(
        events[..],
        [
            Event::ChannelFailed { channel: 1, .. },
            Event::ChannelOpen { channel: 2 }
        ]
    ));
}

#[test]
fn a_failed_connection_hears_nothing_but_the_answer() {
    let mut peer = Peer::running();
    peer.send(&one(channel::Open {}));
    peer.sent();
    assert!(
        peer.send(&[publish(1, "q", b"late"), raw(9, 7, b"?"), raw(3, 0, b"?")].concat())
            .is_empty()
    );
    assert!(peer.send(&call(0, connection::Close::default())).is_empty());
    assert_eq!(peer.sent(), ["0 connection.close-ok"]);
    assert!(!peer.connection.is_finished());
    peer.send(&call(0, connection::CloseOk {}));
    assert!(peer.connection.is_finished());
    assert!(peer.sent().is_empty());
}

#[test]
fn after_a_fatal_error_the_client_is_told_once_and_then_ignored() {
    let mut peer = Peer::running();
    let mut bytes = one(tx::Select {});
    *bytes.last_mut().unwrap() = 0;
    assert_eq!(peer.send(&bytes).len(), 1);
    assert!(peer.send(&[1; 100_000]).is_empty());
    assert!(peer.input.is_empty());
    assert_eq!(peer.sent().len(), 1);
    let end = peer.connection.deadline().unwrap();
    assert!(peer.connection.tick(end).is_none());
    assert!(peer.connection.is_finished());
}

#[test]
fn the_driver_fails_channels_and_connections() {
    let mut peer = Peer::running();
    let ids = (basic::Publish::CLASS, basic::Publish::METHOD);
    let not_found = Error::new(ReplyCode::NotFound, "no exchange 'nope' in vhost '/'").caused_by(ids);
    assert_eq!(peer.connection.fail(1, not_found.clone()), Scope::Channel);
    assert_eq!(
        peer.sent(),
        ["1 channel.close 404 60.40 NOT_FOUND - no exchange 'nope' in vhost '/'"]
    );
    // Neither again nor on a channel that is not there.
    peer.connection.fail(1, not_found.clone());
    peer.connection.fail(7, not_found);
    assert!(peer.sent().is_empty());
    assert!(peer.connection.expect_confirm(1, 1, 1).is_none());
    let reuse = Error::new(ReplyCode::NotAllowed, "attempt to reuse consumer tag 't'");
    assert_eq!(peer.connection.fail(1, reuse.clone()), Scope::Connection);
    assert_eq!(
        peer.sent(),
        ["0 connection.close 530 0.0 NOT_ALLOWED - attempt to reuse consumer tag 't'"]
    );
    peer.connection.fail(1, reuse);
    assert!(peer.sent().is_empty());
}

#[test]
fn long_texts_are_cut_between_characters() {
    let text = Error::new(ReplyCode::NotFound, "ä".repeat(200)).reply_text();
    assert!(text.len() <= 255);
    assert!(text.to_string().ends_with("ä..."));
    assert_eq!(
        std::str::from_utf8(&text)
            .unwrap()
            .chars()
            .filter(|it| *it == 'ä')
            .count(),
        120
    );
}

#[test]
fn other_channels_are_not_disturbed_by_frames_between() {
    let mut peer = Peer::running();
    peer.send(&call(2, channel::Open {}));
    let bytes = [
        begun(),
        call(2, basic::Publish::default()),
        raw(2, 1, &header(60, 0, 6)),
        raw(frame::HEARTBEAT, 0, &[]),
        raw(2, 2, &header(60, 0, 3)),
        raw(3, 1, b"one"),
        raw(3, 2, b"two"),
        raw(3, 1, b"..."),
    ];
    let events = peer.send(&bytes.concat());
    let bodies: Vec<(u16, &[u8])> = events
        .iter()
        .map(|event| match event {
            Event::Publish { channel, batch, .. } => (*channel, batch.body(0)),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(bodies, [(2, &b"two"[..]), (1, b"one...")]);
}
