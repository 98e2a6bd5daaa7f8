//! Delayed exchanges through the session, the pipeline, the log and a restart.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use everack_amqp::wire::method::{basic, confirm, tx};
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::{Table, Value};
use everack_broker::arguments::Value as Argument;
use everack_broker::catalog::{
    Binding, Command, DeclareExchange, DelayBounds, Destination, Queue, UNROUTABLE_STORE, Unroutable,
};
use everack_broker::ids::Seq;
use everack_node::opening::Plan;
use everack_node::request::Request;

use crate::desk::{Desk, PLAN, arguments};
use crate::talk::{Talk, short};

const KEEP: Unroutable = Unroutable::Keep {
    messages_max: 100,
    bytes_max: 1 << 20,
};

fn text(text: &str) -> Argument {
    Argument::LongString(text.as_bytes().into())
}

fn declare(desk: &Desk, name: &str) {
    desk.command(Command::DeclareExchange(DeclareExchange {
        vhost: "/".into(),
        name: name.into(),
        kind: "x-delayed-message".into(),
        durable: true,
        arguments: arguments(&[("x-delayed-type", text("direct"))]),
        ..DeclareExchange::default()
    }));
}

fn bind(desk: &Desk, exchange: &str, queue: &str) {
    desk.command(Command::Bind {
        vhost: "/".into(),
        binding: Binding {
            source: exchange.into(),
            destination: Destination::Queue(queue.into()),
            routing_key: "k".into(),
            arguments: arguments(&[]),
        },
        connection: None,
    });
    desk.commit();
}

/// A desk with the delayed exchange `late`, the queue `q` bound to it by `k`, and a client on a confirming channel.
fn scene() -> (Rc<Desk>, Talk) {
    scene_on(&PLAN)
}

fn scene_on(plan: &Plan) -> (Rc<Desk>, Talk) {
    let desk = Desk::begin(plan);
    declare(&desk, "late");
    desk.declare("q");
    bind(&desk, "late", "q");
    let mut talk = Talk::begin(&desk, "guest");
    talk.say(1, confirm::Select { nowait: true });
    (desk, talk)
}

fn to(exchange: &str, key: &str) -> basic::Publish {
    basic::Publish {
        exchange: short(exchange),
        routing_key: short(key),
        ..basic::Publish::default()
    }
}

fn delayed(delay: impl Into<Value>) -> Properties {
    Properties {
        headers: Some(Table::new().with("x-delay", delay)),
        delivery_mode: Some(2),
        ..Properties::default()
    }
}

fn ready(desk: &Desk, queue: &str) -> u64 {
    desk.queue(queue).map_or(0, |queue| desk.ready(&queue))
}

fn room(desk: &Desk, exchange: &str) -> Option<Arc<Queue>> {
    let vhost = desk.shared.snapshot().vhost(b"/")?;
    vhost.room(exchange.as_bytes()).cloned()
}

/// Messages that wait or are on their way.
fn waiting(desk: &Desk, exchange: &str) -> u64 {
    let Some(room) = room(desk, exchange) else {
        return 0;
    };
    let partition = desk.partitions[usize::from(room.partition.0)].borrow();
    partition.waiting(room.id)
}

/// It is so much later, and everything that follows from that has happened.
fn pass(desk: &Desk, millis: u64) {
    desk.pass(millis);
    desk.commit();
}

/// A start on what was written, at the same time of the day.
fn again(desk: &Desk) -> Rc<Desk> {
    let again = desk.restart();
    again.now.set(desk.now.get());
    again.pass(0);
    again.commit();
    again
}

/// The bodies of all messages of a queue, taken for good.
fn drained(desk: &Rc<Desk>, queue: &str) -> Vec<String> {
    let mut talk = Talk::begin(desk, "guest");
    for _ in 0..ready(desk, queue) {
        let (queue, no_ack) = (short(queue), true);
        talk.say(1, basic::Get { queue, no_ack });
    }
    talk.settle();
    let heard = talk.heard().into_iter();
    heard.filter(|line| !line.contains("got")).collect()
}

#[test]
fn a_message_waits_after_its_confirm_and_comes_in_its_time() {
    let (desk, mut talk) = scene();
    talk.publish_as(1, to("late", "k"), &delayed(Value::I32(100)), b"one");
    talk.turn();
    assert_eq!(talk.heard(), [""; 0], "not durable yet");
    talk.settle();
    assert_eq!(talk.heard(), ["1 ack 1"]);
    assert_eq!((waiting(&desk, "late"), ready(&desk, "q")), (1, 0));
    pass(&desk, 99);
    assert_eq!((waiting(&desk, "late"), ready(&desk, "q")), (1, 0));
    pass(&desk, 1);
    assert_eq!((waiting(&desk, "late"), ready(&desk, "q")), (0, 1));
    let (queue, no_ack) = (short("q"), true);
    talk.say(1, basic::Get { queue, no_ack });
    talk.settle();
    assert_eq!(talk.heard(), ["1 got 1", "one"]);
    let headers = talk.properties.headers.clone().expect("as it came");
    assert_eq!(headers.get("x-delay"), Some(&Value::I64(-100)));
    assert_eq!(headers.len(), 1, "it did not die");
    assert_eq!(talk.properties.delivery_mode, Some(2));
}

#[test]
fn what_asks_for_no_delay_goes_at_once() {
    let (desk, mut talk) = scene();
    for delay in [Value::I32(0), Value::I64(-1), Value::I64(1 << 32), Value::Void] {
        talk.publish_as(1, to("late", "k"), &delayed(delay), b"now");
    }
    talk.publish_as(1, to("late", "k"), &Properties::default(), b"now");
    talk.settle();
    assert_eq!((waiting(&desk, "late"), ready(&desk, "q")), (0, 5));
}

#[test]
fn the_order_is_that_of_the_times_and_then_of_the_publishes() {
    let (desk, mut talk) = scene();
    for (delay, body) in [(300, "d"), (100, "a"), (200, "b"), (200, "c"), (400, "e")] {
        talk.publish_as(1, to("late", "k"), &delayed(Value::I16(delay)), body.as_bytes());
    }
    talk.settle();
    let after = again(&desk);
    for desk in [desk, after] {
        pass(&desk, 1000);
        assert_eq!(drained(&desk, "q"), ["a", "b", "c", "d", "e"]);
    }
}

#[test]
fn a_message_is_in_one_place_at_any_time() {
    let (desk, mut talk) = scene();
    // The room and the queue are in different partitions, so that both have a part in the move.
    let room = room(&desk, "late").expect("it has one");
    let apart = (0..4)
        .map(|number| desk.declare(&format!("apart{number}")))
        .find(|queue| queue.partition != room.partition)
        .expect("queues go to both partitions");
    desk.command(Command::DeleteQueue {
        vhost: "/".into(),
        name: "q".into(),
        connection: None,
    });
    desk.commit();
    bind(&desk, "late", std::str::from_utf8(&apart.name).unwrap());
    talk.publish_as(1, to("late", "k"), &delayed(Value::I32(100)), b"one");
    talk.settle();
    desk.pass(100);
    // The move is framed, and nobody has seen it: after a crash it never was, and happens then.
    assert_eq!(desk.jobs.borrow().len(), 1, "one append for both partitions");
    let places = |desk: &Desk| (waiting(desk, "late"), desk.ready(&apart));
    assert_eq!(places(&desk), (1, 0));
    assert_eq!(places(&desk.restart()), (1, 0));
    assert_eq!(places(&again(&desk)), (0, 1));
    // It is written, and nobody has been told.
    desk.write(1);
    assert_eq!(places(&desk), (1, 0));
    assert_eq!(places(&again(&desk)), (0, 1));
    // One partition has been told, the other has not.
    desk.tell_some(1);
    assert_eq!(places(&again(&desk)), (0, 1));
    desk.commit();
    assert_eq!(places(&desk), (0, 1));
    assert!(desk.look_after(|_| ()));
    assert_eq!(places(&again(&desk)), (0, 1));
}

#[test]
fn what_waits_survives_checkpoints_and_its_segments() {
    let (desk, mut talk) = scene();
    talk.publish_as(1, to("late", "k"), &delayed(Value::I32(1000)), b"kept");
    // The segments around it die.
    for _ in 0..60 {
        talk.publish(1, "q", &[b'x'; 4000]);
    }
    talk.settle();
    drained(&desk, "q");
    desk.commit();
    for _ in 0..3 {
        assert!(desk.look_after(|_| ()));
        desk.commit();
    }
    let desk = again(&desk);
    assert_eq!(waiting(&desk, "late"), 1);
    pass(&desk, 999);
    assert_eq!(ready(&desk, "q"), 0, "its time is known still");
    pass(&desk, 1);
    assert_eq!(drained(&desk, "q"), ["kept"]);
}

#[test]
fn what_is_overdue_after_a_restart_goes_at_once() {
    let (desk, mut talk) = scene();
    talk.publish_as(1, to("late", "k"), &delayed(Value::I32(100)), b"one");
    talk.settle();
    let after = desk.restart();
    after.now.set(desk.now.get().plus(100_000));
    pass(&after, 0);
    assert_eq!(ready(&after, "q"), 1);
    let message = after.queue("q").expect("there");
    let consumer = after.consumer(&message);
    assert_eq!(after.get(&message, consumer).expect("it has come"), b"one");
}

#[test]
fn a_mandatory_message_comes_back_if_nobody_wants_it_now() {
    let (desk, mut talk) = scene();
    let publish = |key| basic::Publish {
        mandatory: true,
        ..to("late", key)
    };
    talk.publish_as(1, publish("k"), &delayed(Value::I32(100)), b"wanted");
    talk.publish_as(1, publish("other"), &delayed(Value::I32(100)), b"back");
    talk.settle();
    assert_eq!(talk.heard(), ["1 BasicReturn", "back", "1 ack 2"]);
    assert_eq!(waiting(&desk, "late"), 1);
    pass(&desk, 100);
    assert_eq!(drained(&desk, "q"), ["wanted"]);
}

#[test]
fn what_nobody_wants_when_it_is_due_is_treated_as_if_published_then() {
    let check = |fate, kept: u64, left: u64, counted: [u64; 2]| {
        let (desk, mut talk) = scene();
        let vhost = "/".into();
        desk.command(Command::SetUnroutable { vhost, fate });
        desk.commit();
        talk.publish_as(1, to("late", "other"), &delayed(Value::I32(100)), b"one");
        talk.settle();
        assert_eq!(talk.heard(), ["1 ack 1"]);
        pass(&desk, 100);
        assert_eq!(
            (ready(&desk, UNROUTABLE_STORE), waiting(&desk, "late")),
            (kept, left),
            "{fate:?}"
        );
        let counters = &desk.shared.counters;
        let counters = [&counters.unroutable_kept, &counters.unroutable_dropped];
        assert_eq!(
            counters.map(|counter| counter.load(Ordering::Relaxed)),
            counted,
            "{fate:?}"
        );
        let after = again(&desk);
        assert_eq!(
            (ready(&after, UNROUTABLE_STORE), waiting(&after, "late")),
            (kept, left),
            "{fate:?}"
        );
        (desk, talk)
    };
    check(KEEP, 1, 0, [1, 0]);
    check(Unroutable::Drop, 0, 0, [0, 1]);
    // There is nobody left to refuse it to: it waits until somebody wants it.
    let (desk, _talk) = check(Unroutable::Nack, 0, 1, [0, 0]);
    desk.declare("late comer");
    desk.command(Command::Bind {
        vhost: "/".into(),
        binding: Binding {
            source: "late".into(),
            destination: Destination::Queue("late comer".into()),
            routing_key: "other".into(),
            arguments: arguments(&[]),
        },
        connection: None,
    });
    desk.commit();
    pass(&desk, 1000);
    assert_eq!((ready(&desk, "late comer"), waiting(&desk, "late")), (1, 0));
}

#[test]
fn an_alternate_exchange_gets_what_nobody_wants_when_it_is_due() {
    let desk = Desk::new();
    desk.declare("q");
    desk.command(Command::DeclareExchange(DeclareExchange {
        vhost: "/".into(),
        name: "late".into(),
        kind: "x-delayed-message".into(),
        durable: true,
        arguments: arguments(&[
            ("x-delayed-type", text("topic")),
            ("alternate-exchange", text("amq.direct")),
        ]),
        ..DeclareExchange::default()
    }));
    bind(&desk, "amq.direct", "q");
    let mut talk = Talk::begin(&desk, "guest");
    let publish = basic::Publish {
        mandatory: true,
        ..to("late", "k")
    };
    talk.publish_as(1, publish, &delayed(Value::I32(100)), b"one");
    talk.settle();
    assert_eq!(talk.heard(), [""; 0], "it counts as wanted");
    assert_eq!(ready(&desk, "q"), 0);
    pass(&desk, 100);
    assert_eq!(drained(&desk, "q"), ["one"]);
}

#[test]
fn what_waits_outlives_its_exchange() {
    let (desk, mut talk) = scene();
    desk.command(Command::SetUnroutable {
        vhost: "/".into(),
        fate: KEEP,
    });
    talk.publish_as(1, to("late", "k"), &delayed(Value::I32(100)), b"one");
    talk.publish_as(1, to("late", "k"), &delayed(Value::I32(200_000)), b"two");
    talk.settle();
    desk.command(Command::DeleteExchange {
        vhost: "/".into(),
        name: "late".into(),
        if_unused: false,
    });
    desk.commit();
    let desk = again(&desk);
    pass(&desk, 100);
    assert_eq!(
        (drained(&desk, UNROUTABLE_STORE), waiting(&desk, "late")),
        (vec!["one".to_owned()], 1)
    );
    // An exchange of that name takes over what is left.
    declare(&desk, "late");
    desk.commit();
    bind(&desk, "late", "q");
    pass(&desk, 200_000);
    assert_eq!(drained(&desk, "q"), ["two"]);
    desk.command(Command::DeleteExchange {
        vhost: "/".into(),
        name: "late".into(),
        if_unused: false,
    });
    desk.commit();
    assert!(room(&desk, "late").is_some());
    for _ in 0..2 {
        pass(&desk, 60_000);
    }
    assert!(
        room(&desk, "late").is_none(),
        "an empty room goes after its exchange"
    );
    assert!(room(&again(&desk), "late").is_none());
}

#[test]
fn a_full_room_refuses() {
    let check = |delay_bounds, bodies: &[&str], expected: &[&str]| {
        let (desk, mut talk) = scene_on(&Plan { delay_bounds, ..PLAN });
        for body in bodies {
            talk.publish_as(1, to("late", "k"), &delayed(Value::I32(100)), body.as_bytes());
            talk.settle();
        }
        assert_eq!(talk.heard(), expected);
        pass(&desk, 100);
        talk.publish_as(1, to("late", "k"), &delayed(Value::I32(100)), b"a");
        talk.settle();
        assert_eq!(
            talk.heard(),
            [format!("1 ack {}", bodies.len() + 1)],
            "there is room again"
        );
    };
    let bounds = |messages_max, bytes_max| DelayBounds {
        messages_max,
        bytes_max,
    };
    check(
        bounds(2, 1000),
        &["a", "b", "c"],
        &["1 ack 1", "1 ack 2", "1 nack 3"],
    );
    let large = "x".repeat(400);
    check(
        bounds(10, 700),
        &[&large, &large, "b"],
        &["1 ack 1", "1 nack 2", "1 ack 3"],
    );
}

#[test]
fn expirations_count_from_when_the_message_is_routed() {
    let (desk, mut talk) = scene();
    let properties = Properties {
        expiration: Some(short("50")),
        ..delayed(Value::I32(100))
    };
    talk.publish_as(1, to("late", "k"), &properties, b"one");
    talk.settle();
    pass(&desk, 100);
    pass(&desk, 49);
    assert_eq!(ready(&desk, "q"), 1);
    assert_eq!(ready(&again(&desk), "q"), 1);
    pass(&desk, 1);
    assert_eq!(ready(&desk, "q"), 0);
}

#[test]
fn copies_are_made_when_the_time_has_come_and_blind_ones_are_nobodys_business() {
    let (desk, mut talk) = scene();
    let list = |key: &str| Value::Array(vec![Value::String(key.as_bytes().to_vec())]);
    for (queue, key) in [("cc", "carbon"), ("bcc", "blind")] {
        desk.declare(queue);
        desk.command(Command::Bind {
            vhost: "/".into(),
            binding: Binding {
                source: "late".into(),
                destination: Destination::Queue(queue.into()),
                routing_key: key.into(),
                arguments: arguments(&[]),
            },
            connection: None,
        });
    }
    desk.commit();
    let headers = Table::new()
        .with("CC", list("carbon"))
        .with("BCC", list("blind"))
        .with("x-delay", Value::I32(100));
    let properties = Properties {
        headers: Some(headers),
        ..Properties::default()
    };
    talk.publish_as(1, to("late", "k"), &properties, b"one");
    talk.settle();
    let places = |desk: &Desk| ["q", "cc", "bcc"].map(|queue| ready(desk, queue));
    assert_eq!(places(&desk), [0, 0, 0]);
    pass(&desk, 100);
    assert_eq!(places(&desk), [1, 1, 1]);
    let (queue, no_ack) = (short("bcc"), true);
    talk.say(1, basic::Get { queue, no_ack });
    talk.settle();
    let headers = talk.properties.headers.clone().expect("as it came");
    let names: Vec<String> = headers.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["CC", "x-delay"]);
}

#[test]
fn a_transaction_holds_back_what_it_publishes() {
    let (desk, mut talk) = scene();
    talk.say(2, tx::Select {});
    talk.publish_as(2, to("late", "k"), &delayed(Value::I32(100)), b"one");
    talk.turn();
    assert_eq!(waiting(&desk, "late"), 0);
    talk.say(2, tx::Commit {});
    talk.settle();
    assert_eq!((waiting(&desk, "late"), ready(&desk, "q")), (1, 0));
    let desk = again(&desk);
    pass(&desk, 100);
    assert_eq!(ready(&desk, "q"), 1);
}

#[test]
fn dead_letters_wait_too() {
    let (desk, mut talk) = scene();
    let letters = [
        ("x-dead-letter-exchange", text("late")),
        ("x-dead-letter-routing-key", text("k")),
        ("x-message-ttl", Argument::Long(10)),
    ];
    desk.declare_with("mortal", arguments(&letters));
    let own = basic::Publish {
        routing_key: short("mortal"),
        ..basic::Publish::default()
    };
    talk.publish_as(1, own, &delayed(Value::I32(100)), b"one");
    talk.settle();
    pass(&desk, 10);
    assert_eq!((waiting(&desk, "late"), ready(&desk, "q")), (1, 0));
    let desk = again(&desk);
    pass(&desk, 99);
    assert_eq!(ready(&desk, "q"), 0);
    pass(&desk, 1);
    assert_eq!(drained(&desk, "q"), ["one"]);
}

#[test]
fn what_is_called_off_never_comes() {
    let (desk, mut talk) = scene();
    for body in ["a", "b", "c"] {
        talk.publish_as(1, to("late", "k"), &delayed(Value::I32(100)), body.as_bytes());
    }
    talk.settle();
    let room = room(&desk, "late").expect("it has one");
    let inquirer = Arc::new(Asked::default());
    desk.ask_of(
        &room,
        Request::Unschedule(everack_node::request::Unschedule {
            queue: room.id,
            first: Seq(2),
            end: Seq(3),
            inquirer: inquirer.clone(),
        }),
    );
    desk.commit();
    assert_eq!(*inquirer.0.lock().unwrap(), ["1 unscheduled"]);
    let after = again(&desk);
    for desk in [desk, after] {
        pass(&desk, 100);
        assert_eq!(drained(&desk, "q"), ["a", "c"]);
    }
}

#[derive(Debug, Default)]
struct Asked(std::sync::Mutex<Vec<String>>);

impl everack_node::report::Inquirer for Asked {
    fn told(&self, report: everack_node::report::Report) {
        let told = match report {
            everack_node::report::Report::Unscheduled(report) => format!("{} unscheduled", report.messages),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(told);
    }
}

#[test]
fn names_of_headers_are_as_they_came() {
    let (desk, mut talk) = scene();
    let headers = Table::new()
        .with("z", Value::Bool(true))
        .with("x-delay", Value::String(b"100".to_vec()))
        .with("a", Value::I32(1));
    let properties = Properties {
        headers: Some(headers),
        message_id: ShortString::new("id").ok(),
        ..Properties::default()
    };
    talk.publish_as(1, to("late", "k"), &properties, b"one");
    talk.settle();
    pass(&desk, 100);
    let (queue, no_ack) = (short("q"), true);
    talk.say(1, basic::Get { queue, no_ack });
    talk.settle();
    let expected = Table::new()
        .with("a", Value::I32(1))
        .with("x-delay", Value::I64(-100))
        .with("z", Value::Bool(true));
    assert_eq!(talk.properties.headers, Some(expected));
    assert_eq!(talk.properties.message_id, ShortString::new("id").ok());
}
