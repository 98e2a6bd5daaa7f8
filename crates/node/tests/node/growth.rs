//! What a client may make grow: the limits, and what holds while memory is short.

use everack_amqp::wire::frame;
use everack_amqp::wire::method::{basic, channel, exchange, queue, tx};
use everack_amqp::wire::table::{Table, Value};
use everack_broker::ids::Millis;
use everack_node::alarms::Resource;

use crate::desk::Desk;
use crate::talk::{Talk, short};

const MIB: usize = 1 << 20;

fn declare(name: &str) -> queue::Declare {
    queue::Declare {
        queue: short(name),
        durable: true,
        ..queue::Declare::default()
    }
}

fn bind(name: &str, key: &str) -> queue::Bind {
    queue::Bind {
        queue: short(name),
        exchange: short("amq.direct"),
        routing_key: short(key),
        ..queue::Bind::default()
    }
}

fn consume(name: &str, tag: &str) -> basic::Consume {
    basic::Consume {
        queue: short(name),
        consumer_tag: short(tag),
        ..basic::Consume::default()
    }
}

/// A connection whose node is short of memory from here on.
fn in_need(desk: &Desk) {
    desk.shared.limits.set_patience_ms(5000);
    desk.shared.alarms.set(Resource::Memory, true);
}

#[test]
fn only_so_many_commands_are_under_way() {
    let desk = Desk::new();
    let mut talk = Talk::begin(&desk, "guest");
    for number in 0..200 {
        let mut declare = declare(&format!("q{number}"));
        declare.nowait = true;
        talk.say(1, declare);
    }
    // The log does not move, so none of them is answered.
    talk.turn();
    assert_eq!(desk.jobs.borrow().len(), 64);
    talk.say(1, declare("the last"));
    talk.settle();
    assert_eq!(talk.heard(), ["1 declared the last 0"]);
    assert_eq!(desk.shared.snapshot().queue_count(), 201);
}

#[test]
fn limits_are_refused_in_rabbitmqs_words() {
    let desk = Desk::new();
    desk.declare("there");
    desk.shared.limits.set_counts(1, 1, 1);
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, declare("there"));
    talk.say(1, declare("new"));
    talk.settle();
    assert_eq!(talk.heard(), ["1 declared there 0", "1 close 406"]);
    let exchange = |name| exchange::Declare {
        exchange: short(name),
        kind: short("fanout"),
        ..exchange::Declare::default()
    };
    talk.say(2, exchange("first"));
    talk.settle();
    talk.say(2, exchange("first"));
    talk.say(2, exchange("second"));
    talk.settle();
    assert_eq!(
        talk.heard(),
        ["2 ExchangeDeclareOk", "2 ExchangeDeclareOk", "2 close 406"]
    );
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, consume("there", "one"));
    talk.say(2, consume("there", "on another channel"));
    talk.say(1, consume("there", "two"));
    talk.settle();
    let expected = ["1 BasicConsumeOk", "2 BasicConsumeOk", "0 connection close 530"];
    assert_eq!(talk.heard(), expected);
}

#[test]
fn arguments_hold_only_so_many_values() {
    let desk = Desk::new();
    let mut talk = Talk::begin(&desk, "guest");
    let with = |count: usize| queue::Declare {
        arguments: Table::from_iter([(
            short("k"),
            Value::Array(vec![Value::Array(vec![Value::Void; count])]),
        )]),
        ..declare("q")
    };
    talk.say(1, with(4094));
    talk.settle();
    assert_eq!(talk.heard(), ["1 declared q 0"]);
    talk.say(1, with(4095));
    talk.settle();
    assert_eq!(talk.heard(), ["1 close 406"]);
}

#[test]
fn nothing_new_is_declared_while_memory_is_short() {
    let desk = Desk::new();
    desk.declare("there");
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, bind("there", "k"));
    talk.settle();
    in_need(&desk);
    talk.say(1, declare("there"));
    talk.say(1, bind("there", "k"));
    talk.say(1, consume("there", "t"));
    talk.settle();
    let expected = [
        "1 QueueBindOk",
        "1 declared there 0",
        "1 QueueBindOk",
        "1 BasicConsumeOk",
    ];
    assert_eq!(talk.heard(), expected);
    talk.say(1, bind("there", "another key"));
    talk.say(2, declare("new"));
    talk.settle();
    assert_eq!(talk.heard(), ["1 close 406", "2 close 406"]);
    desk.shared.alarms.set(Resource::Memory, false);
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, declare("new"));
    talk.settle();
    assert_eq!(talk.heard(), ["1 declared new 0"]);
}

/// Everything that a connection may hold without being finished with it; each is given up after the time for it.
fn check_given_up(hold: impl FnOnce(&mut Talk), cut: bool) {
    let desk = Desk::new();
    desk.declare("q");
    let mut talk = Talk::begin(&desk, "guest");
    hold(&mut talk);
    assert_eq!(talk.session.deadline(Millis(10)), None);
    in_need(&desk);
    assert_eq!(talk.session.deadline(Millis(100)), Some(Millis(5100)));
    // Time that passes does not begin anew.
    assert_eq!(talk.session.deadline(Millis(3000)), Some(Millis(5100)));
    talk.session.tick(Millis(5099));
    assert!(talk.session.deadline(Millis(5099)).is_some());
    talk.heard.clear();
    talk.session.tick(Millis(5100));
    assert_eq!(talk.session.is_cut(), cut);
    talk.turn();
    assert_eq!(talk.heard().last().unwrap(), "0 connection close 506");
}

#[test]
fn what_is_held_while_memory_is_short_is_given_up() {
    let half = |talk: &mut Talk| {
        let mut bytes = Vec::new();
        frame::write_content(&mut bytes, 1, &[0, 0], &vec![7; 2 * MIB], 131_072);
        talk.say(1, basic::Publish::default());
        talk.send(&bytes[..bytes.len() - 100]);
        talk.turn();
    };
    check_given_up(half, false);
    let gathered = |talk: &mut Talk| {
        talk.say(1, tx::Select {});
        for _ in 0..20 {
            talk.publish(1, "q", &vec![7; 100_000]);
        }
        talk.turn();
    };
    check_given_up(gathered, false);
    let unread = |talk: &mut Talk| {
        // Nobody takes it away; what it says does not matter here.
        talk.session.output().extend(vec![0; 2 * MIB]);
    };
    check_given_up(unread, true);
}

#[test]
fn little_is_held_for_as_long_as_one_likes() {
    let desk = Desk::new();
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, tx::Select {});
    talk.publish(1, "q", b"a little");
    talk.turn();
    in_need(&desk);
    assert_eq!(talk.session.deadline(Millis(0)), None);
    talk.session.tick(Millis(1 << 40));
    assert!(!talk.session.is_cut());
}

/// A publish that is not whole is one that the alarm concerns: what it still sends is not read.
#[test]
fn a_half_message_makes_a_publisher() {
    let desk = Desk::new();
    let mut talk = Talk::begin(&desk, "guest");
    in_need(&desk);
    talk.say(1, basic::Publish::default());
    talk.turn();
    assert!(
        talk.session.wants_input(Millis(0)),
        "so far it only waits in the read buffer"
    );
    let mut bytes = Vec::new();
    frame::write_content(&mut bytes, 1, &[0, 0], &vec![7; 2 * MIB], 131_072);
    talk.send(&bytes[..MIB]);
    talk.turn();
    assert!(!talk.session.wants_input(Millis(0)));
    desk.shared.alarms.set(Resource::Memory, false);
    assert!(talk.session.wants_input(Millis(0)));
}

#[test]
fn a_transaction_is_charged_for_what_points_to_its_messages() {
    let desk = Desk::new();
    desk.declare("q");
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, tx::Select {});
    talk.turn();
    // Each by itself: a batch of one empty message is mostly what surrounds it.
    for _ in 0..5000 {
        talk.publish(1, "q", b"");
        talk.turn();
    }
    in_need(&desk);
    assert!(
        talk.session.deadline(Millis(0)).is_some(),
        "5,000 of them are more than 1 MiB"
    );
}

#[test]
fn channels_are_few_while_memory_is_short() {
    let desk = Desk::new();
    let mut talk = Talk::begin(&desk, "guest");
    in_need(&desk);
    for number in 3..=10 {
        talk.say(number, channel::Open {});
    }
    talk.turn();
    assert_eq!(talk.heard().len(), 8, "ten channels are few");
}
