//! Large messages on their way to clients that do not read: how many copies there are, and who gets the room.

use std::rc::Rc;

use everack_amqp::wire::method::basic;
use everack_broker::ids::Millis;

use crate::desk::{Desk, batch};
use crate::talk::{Talk, short};

const MIB: usize = 1 << 20;
/// What a driver asks for at a time.
const LIMIT: usize = 128 << 10;

/// Queues `q0` and `q1` with one message of 2 MiB each: two of them are more than the budget.
fn desk_with_messages() -> Rc<Desk> {
    let desk = Desk::new();
    desk.shared.large.set_max(3 * MIB as u64);
    for name in ["q0", "q1"] {
        let queue = desk.declare(name);
        desk.publish(batch(&[&vec![7; 2 * MIB]]), &[&queue]);
        desk.commit();
    }
    desk
}

fn consumer(desk: &Rc<Desk>, queue: &str) -> Talk {
    let mut talk = Talk::begin(desk, "guest");
    talk.say(
        1,
        basic::Consume {
            queue: short(queue),
            no_ack: true,
            ..basic::Consume::default()
        },
    );
    talk.turn_deaf(LIMIT);
    talk
}

fn holds_large(talk: &mut Talk) -> bool {
    talk.session.output().len() > MIB
}

#[test]
fn one_at_a_time_holds_what_two_would_not_fit() {
    let desk = desk_with_messages();
    let mut first = consumer(&desk, "q0");
    let mut second = consumer(&desk, "q1");
    assert!(holds_large(&mut first));
    assert!(!holds_large(&mut second));
    first.turn();
    assert_eq!(first.heard()[..2], ["1 BasicConsumeOk", "1 deliver 1"]);
    assert!(
        !holds_large(&mut second),
        "the room is given back when the next output is asked for"
    );
    first.turn();
    second.turn_deaf(LIMIT);
    assert!(holds_large(&mut second));
}

#[test]
fn who_does_not_read_while_others_wait_is_cut() {
    let desk = desk_with_messages();
    let mut first = consumer(&desk, "q0");
    assert_eq!(first.session.deadline(Millis(0)), None, "nobody waits");
    let mut second = consumer(&desk, "q1");
    assert_eq!(first.session.deadline(Millis(100)), Some(Millis(10_100)));
    assert_eq!(
        second.session.deadline(Millis(100)),
        None,
        "who waits is not stuck"
    );
    // Whoever reads, however slowly, is left alone.
    first.session.note_sent(Millis(5000));
    assert_eq!(first.session.deadline(Millis(5000)), Some(Millis(15_000)));
    first.session.tick(Millis(14_999));
    assert!(!first.session.is_cut());
    first.session.tick(Millis(15_000));
    assert!(first.session.is_cut());
    first.session.end();
    second.turn_deaf(LIMIT);
    assert!(holds_large(&mut second));
}

#[test]
fn who_goes_while_it_waits_leaves_nobody_waiting() {
    let desk = desk_with_messages();
    let mut first = consumer(&desk, "q0");
    let mut second = consumer(&desk, "q1");
    assert!(first.session.deadline(Millis(0)).is_some());
    second.session.end();
    assert_eq!(first.session.deadline(Millis(1)), None);
}

/// With and without acks: a message that is settled as it is handed over must not be refused on its way.
#[test]
fn a_get_that_finds_no_room_waits_for_it() {
    for no_ack in [false, true] {
        let desk = desk_with_messages();
        let mut first = consumer(&desk, "q0");
        let mut getter = Talk::begin(&desk, "guest");
        let queue = short("q1");
        getter.say(1, basic::Get { queue, no_ack });
        getter.say(1, basic::Qos::default());
        getter.turn_deaf(LIMIT);
        assert!(!holds_large(&mut getter));
        first.turn();
        first.turn();
        getter.turn();
        getter.turn();
        let heard = getter.heard();
        let body: usize = heard
            .iter()
            .filter(|frame| frame.starts_with('\u{7}'))
            .map(String::len)
            .sum();
        assert_eq!(body, 2 * MIB);
        let answers: Vec<&String> = heard.iter().filter(|frame| frame.starts_with("1 ")).collect();
        assert_eq!(
            answers,
            ["1 got 1", "1 BasicQosOk"],
            "the answers come in their order"
        );
    }
}

#[test]
fn a_get_that_waits_goes_back_when_its_client_goes() {
    let desk = desk_with_messages();
    let _first = consumer(&desk, "q0");
    let mut getter = Talk::begin(&desk, "guest");
    let queue = short("q1");
    getter.say(1, basic::Get { queue, no_ack: false });
    getter.turn_deaf(LIMIT);
    getter.session.end();
    getter.turn();
    assert_eq!(desk.ready(&desk.queue("q1").expect("it is there")), 1);
}
