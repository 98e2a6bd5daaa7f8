//! Heartbeats both ways, and being told to wait.

use everack_amqp::Millis;
use everack_amqp::event::{Event, Failure};
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{channel, connection};

use crate::peer::{Peer, call, raw, short};

#[test]
fn a_silent_client_is_given_up_after_two_intervals() {
    let mut peer = Peer::running();
    for at in [5_000, 10_000, 15_000, 19_999] {
        assert!(peer.connection.tick(Millis(at)).is_none());
    }
    let event = peer.connection.tick(Millis(20_000));
    assert!(matches!(
        event,
        Some(Event::Failed {
            reason: Failure::HeartbeatTimeout(10)
        })
    ));
    assert!(peer.connection.is_finished());
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut peer = Peer::running();
    peer.now = Millis(15_000);
    peer.send(&raw(frame::HEARTBEAT, 0, &[])[..3]);
    assert!(peer.connection.tick(Millis(34_999)).is_none());
    // Looking again at the same bytes is none.
    peer.now = Millis(34_999);
    peer.send(&[]);
    assert!(peer.connection.tick(Millis(35_000)).is_some());
}

#[test]
fn heartbeats_are_sent_when_nothing_else_is() {
    let mut peer = Peer::running();
    assert_eq!(peer.connection.deadline(), Some(Millis(5_000)));
    assert!(peer.connection.tick(Millis(5_000)).is_none());
    assert_eq!(peer.sent(), ["0 heartbeat"]);
    assert_eq!(peer.connection.deadline(), Some(Millis(10_000)));
    peer.connection.note_sent(Millis(8_000));
    peer.connection.tick(Millis(10_000));
    assert!(peer.sent().is_empty());
    assert_eq!(peer.connection.deadline(), Some(Millis(13_000)));
}

#[test]
fn silence_means_nothing_while_nobody_listens() {
    let mut peer = Peer::running();
    peer.connection.pause_reading();
    assert!(peer.connection.tick(Millis(100_000)).is_none());
    peer.connection.resume_reading(Millis(100_000));
    assert!(peer.connection.tick(Millis(119_999)).is_none());
    assert!(peer.connection.tick(Millis(120_000)).is_some());
}

#[test]
fn a_close_that_nobody_answers_ends_by_itself() {
    let mut peer = Peer::running();
    peer.now = Millis(1_000);
    peer.send(&call(1, channel::Open {}));
    assert_eq!(peer.connection.deadline(), Some(Millis(11_000)));
    peer.connection.tick(Millis(10_999));
    assert!(!peer.connection.is_finished());
    assert!(peer.connection.tick(Millis(11_000)).is_none());
    assert!(peer.connection.is_finished());
}

#[test]
fn blocked_and_cancelled_are_told_to_those_who_understand() {
    let tell = |peer: &mut Peer| {
        peer.connection.blocked("low on disk");
        peer.connection.unblocked();
        peer.connection.cancel_consumer(1, &short("tag"));
        peer.sent()
    };
    let mut peer = Peer::running();
    assert_eq!(
        tell(&mut peer),
        ["0 connection.blocked", "0 connection.unblocked", "1 basic.cancel"]
    );

    let mut peer = Peer::new(everack_amqp::settings::Settings::default());
    peer.send(&frame::PROTOCOL_HEADER);
    peer.send(&call(0, crate::peer::start_ok("PLAIN", b"\0guest\0guest", &[])));
    peer.connection.authenticated();
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
            virtual_host: short("/"),
        },
    ));
    peer.connection.opened();
    peer.send(&call(1, channel::Open {}));
    peer.sent();
    assert!(tell(&mut peer).is_empty());
    // Without heartbeats nothing is due.
    assert!(peer.connection.deadline().is_none());
}
