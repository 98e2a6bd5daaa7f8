//! Messages that name their receivers themselves: copies to further keys, and direct replies.

use std::rc::Rc;

use everack_amqp::wire::method::{basic, channel, queue, tx};
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::{Table, Value};

use everack_broker::arguments::{Arguments, Value as Argument};
use everack_broker::catalog::{Binding, Command, DeclareExchange, Destination};

use crate::desk::Desk;
use crate::talk::{Talk, short};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn to(key: &str) -> basic::Publish {
    basic::Publish {
        routing_key: short(key),
        ..basic::Publish::default()
    }
}

fn mandatory(key: &str) -> basic::Publish {
    basic::Publish {
        mandatory: true,
        ..to(key)
    }
}

fn get(name: &str) -> basic::Get {
    basic::Get {
        queue: short(name),
        no_ack: true,
    }
}

fn strings(keys: &[&str]) -> Value {
    Value::Array(
        keys.iter()
            .map(|key| Value::String(key.as_bytes().to_vec()))
            .collect(),
    )
}

fn with_headers(headers: Table) -> Properties {
    Properties {
        headers: Some(headers),
        ..Properties::default()
    }
}

fn consume_replies(tag: &str, no_ack: bool) -> basic::Consume {
    basic::Consume {
        queue: short(REPLY_TO),
        consumer_tag: short(tag),
        no_ack,
        ..basic::Consume::default()
    }
}

fn asking() -> Properties {
    Properties {
        reply_to: Some(short(REPLY_TO)),
        ..Properties::default()
    }
}

#[test]
fn copies_go_to_further_keys_and_blind_ones_are_not_told() {
    let desk = Desk::new();
    ["a", "b", "c"].iter().for_each(|name| drop(desk.declare(name)));
    let mut talk = Talk::begin(&desk, "guest");
    let headers = Table::new()
        .with("CC", strings(&["b", "a", "nowhere"]))
        .with("x", true)
        .with("BCC", strings(&["c"]));
    talk.publish(1, "a", b"plain");
    talk.publish_as(1, to("a"), &with_headers(headers), b"copied");
    talk.publish(1, "a", b"behind");
    talk.settle();
    for (queue, bodies) in [
        ("a", vec!["plain", "copied", "behind"]),
        ("b", vec!["copied"]),
        ("c", vec!["copied"]),
    ] {
        for body in bodies {
            talk.say(1, get(queue));
            talk.settle();
            assert_eq!(talk.heard().last().map(String::as_str), Some(body), "in {queue}");
            let headers = talk.properties.headers.clone().unwrap_or_default();
            let names: Vec<_> = headers.iter().map(|(name, _)| name.to_string()).collect();
            let expected: &[&str] = if body == "copied" { &["CC", "x"] } else { &[] };
            assert_eq!(names, expected, "in {queue}");
        }
        talk.say(1, get(queue));
        talk.settle();
        assert_eq!(talk.heard(), ["1 BasicGetEmpty"]);
    }
}

#[test]
fn a_copy_alone_is_enough_for_a_mandatory_message() {
    let desk = Desk::new();
    desk.declare("a");
    let mut talk = Talk::begin(&desk, "guest");
    let copied = with_headers(Table::new().with("CC", strings(&["a"])));
    talk.publish_as(1, mandatory("nowhere"), &copied, b"found");
    let lost = with_headers(Table::new().with("BCC", strings(&["either"])));
    talk.publish_as(1, mandatory("nowhere"), &lost, b"lost");
    talk.settle();
    assert_eq!(talk.heard(), ["1 BasicReturn", "lost"]);
    assert_eq!(
        talk.properties.headers,
        Some(Table::new()),
        "blind copies are not told"
    );
    assert_eq!(desk.ready(&desk.queue("a").unwrap()), 1);
}

/// How many dead letters come to the queues bound with `own`, `copy` and `other`, of a message sent with `own` and a copy to `copy`.
fn letters_of_copies(arguments: &[(&str, Argument)]) -> [u64; 3] {
    let desk = Desk::new();
    desk.command(Command::DeclareExchange(DeclareExchange {
        vhost: "/".into(),
        name: "letters".into(),
        kind: "direct".into(),
        durable: true,
        ..DeclareExchange::default()
    }));
    let letters = ["own", "copy", "other"].map(|key| {
        let queue = desk.declare(&format!("letters.{key}"));
        desk.command(Command::Bind {
            vhost: "/".into(),
            binding: Binding {
                source: "letters".into(),
                destination: Destination::Queue(queue.name.clone()),
                routing_key: key.into(),
                arguments: Arguments::default(),
            },
            connection: None,
        });
        desk.commit();
        queue
    });
    let letters_exchange = [("x-dead-letter-exchange", Argument::from("letters"))];
    desk.declare_with("own", letters_exchange.iter().chain(arguments).cloned().collect());
    let mut talk = Talk::begin(&desk, "guest");
    let headers = Table::new().with("CC", strings(&["copy", "nowhere"]));
    talk.publish_as(1, to("own"), &with_headers(headers), b"x");
    talk.say(
        1,
        basic::Get {
            no_ack: false,
            ..get("own")
        },
    );
    talk.settle();
    assert_eq!(talk.heard(), ["1 got 1", "x"]);
    talk.say(
        1,
        basic::Reject {
            delivery_tag: 1,
            requeue: false,
        },
    );
    talk.settle();
    assert_eq!(talk.heard(), [""; 0]);
    letters.map(|queue| desk.ready(&queue))
}

#[test]
fn a_dead_letter_that_keeps_its_key_keeps_the_further_ones() {
    assert_eq!(letters_of_copies(&[]), [1, 1, 0]);
    assert_eq!(
        letters_of_copies(&[("x-dead-letter-routing-key", "other".into())]),
        [0, 0, 1]
    );
}

/// What happens to a message with these further keys, sent to `amq.topic` by somebody who may use keys that begin with `public` there.
fn check_copies(keys: &[&str], heard: &[&str]) {
    let desk = Desk::new();
    desk.command(Command::SetTopicPermission {
        user: "guest".into(),
        vhost: "/".into(),
        exchange: "amq.topic".into(),
        write: "^public".to_owned(),
        read: ".*".to_owned(),
    });
    desk.commit();
    let mut talk = Talk::begin(&desk, "guest");
    let topic = basic::Publish {
        exchange: short("amq.topic"),
        ..to("public.a")
    };
    let headers = with_headers(Table::new().with("BCC", strings(keys)));
    talk.publish_as(1, topic, &headers, b"x");
    talk.settle();
    assert_eq!(talk.heard(), heard, "{} keys", keys.len());
}

#[test]
fn copies_go_where_their_publisher_may_send() {
    check_copies(&["public.b"], &[""; 0]);
    check_copies(&["public.b", "secret.c"], &["1 close 403"]);
}

#[test]
fn there_are_only_so_many_copies_and_no_longer_ones_than_keys() {
    let many: Vec<String> = (0..257).map(|number| format!("public.{number}")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    check_copies(&many, &["1 close 406"]);
    many.pop();
    check_copies(&many, &[""; 0]);
    check_copies(&[&"public".repeat(43)], &["1 close 406"]);
}

#[test]
fn copies_of_the_wrong_type_are_refused_in_their_turn() {
    let desk = Desk::new();
    desk.declare("a");
    let mut talk = Talk::begin(&desk, "guest");
    talk.publish(1, "a", b"before");
    talk.publish_as(
        1,
        to("a"),
        &with_headers(Table::new().with("BCC", true)),
        b"wrong",
    );
    talk.publish(1, "a", b"behind");
    talk.settle();
    assert_eq!(talk.heard(), ["1 close 406"]);
    assert_eq!(desk.ready(&desk.queue("a").unwrap()), 1);
}

/// A client that waits for replies on channel 1, and the name that its requests carry.
fn asker(desk: &Rc<Desk>) -> (Talk, String) {
    let mut asker = Talk::begin(desk, "guest");
    asker.say(1, consume_replies("me", true));
    asker.publish_as(1, to("requests"), &asking(), b"what?");
    asker.settle();
    assert_eq!(asker.heard(), ["1 BasicConsumeOk"]);
    let mut server = Talk::begin(desk, "guest");
    server.say(1, get("requests"));
    server.settle();
    assert_eq!(server.heard(), ["1 got 1", "what?"]);
    let name = server
        .properties
        .reply_to
        .expect("a request says where the answer goes");
    (asker, name.to_string())
}

fn scene() -> (Rc<Desk>, Talk, Talk, String) {
    let desk = Desk::new();
    desk.declare("requests");
    let (asker, name) = asker(&desk);
    assert!(name.starts_with("amq.rabbitmq.reply-to."), "{name}");
    let server = Talk::begin(&desk, "guest");
    (desk, asker, server, name)
}

#[test]
fn an_answer_goes_straight_to_the_one_who_asked() {
    let (_, mut asker, mut server, name) = scene();
    for body in [b"one", b"two"] {
        server.publish_as(1, mandatory(&name), &Properties::default(), body);
    }
    server.settle();
    asker.settle();
    assert_eq!(server.heard(), [""; 0]);
    assert_eq!(asker.heard(), ["1 deliver 1", "one", "1 deliver 2", "two"]);
}

#[test]
fn a_declaration_asks_whether_somebody_waits() {
    let (_, mut asker, mut server, name) = scene();
    let declare = |name: &str| queue::Declare {
        queue: short(name),
        passive: true,
        ..queue::Declare::default()
    };
    server.say(1, declare(&name));
    server.say(2, declare(REPLY_TO));
    server.say(2, declare("amq.rabbitmq.reply-to.nobody"));
    server.settle();
    let expected = [
        format!("1 declared {name} 0"),
        format!("2 declared {REPLY_TO} 0"),
        "2 close 404".to_owned(),
    ];
    assert_eq!(server.heard(), expected);
    asker.say(1, channel::Close::default());
    asker.settle();
    server.say(1, declare(&name));
    server.settle();
    assert_eq!(server.heard(), ["1 close 404"], "it ends with its channel");
}

#[test]
fn nobody_is_answered_who_is_gone() {
    let (_, mut asker, mut server, name) = scene();
    asker.say(
        1,
        basic::Cancel {
            consumer_tag: short("me"),
            nowait: false,
        },
    );
    asker.settle();
    assert_eq!(asker.heard(), ["1 BasicCancelOk"]);
    server.publish_as(1, to(&name), &Properties::default(), b"too late");
    server.publish_as(1, mandatory(&name), &Properties::default(), b"come back");
    server.settle();
    asker.settle();
    assert_eq!(server.heard(), ["1 BasicReturn", "come back"]);
    assert_eq!(asker.heard(), [""; 0]);
    // Another name from here on.
    asker.say(1, consume_replies("me", true));
    asker.settle();
    server.publish_as(1, mandatory(&name), &Properties::default(), b"old name");
    server.settle();
    assert_eq!(server.heard(), ["1 BasicReturn", "old name"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let desk = Desk::new();
    desk.declare("requests");
    let check = |say: &dyn Fn(&mut Talk), expected: &[&str]| {
        let mut talk = Talk::begin(&desk, "guest");
        say(&mut talk);
        talk.settle();
        assert_eq!(talk.heard(), expected);
    };
    check(
        &|talk| talk.say(1, consume_replies("me", false)),
        &["1 close 406"],
    );
    check(
        &|talk| talk.publish_as(1, to("requests"), &asking(), b"what?"),
        &["1 close 406"],
    );
    check(
        &|talk| {
            talk.say(1, consume_replies("me", true));
            talk.say(1, consume_replies("other", true));
        },
        &["1 BasicConsumeOk", "1 close 406"],
    );
    // Each channel asks for itself.
    check(
        &|talk| {
            talk.say(1, consume_replies("me", true));
            talk.publish_as(2, to("requests"), &asking(), b"what?");
        },
        &["1 BasicConsumeOk", "2 close 406"],
    );
}

#[test]
fn an_answer_in_a_transaction_waits_for_the_commit() {
    let (desk, mut asker, mut server, name) = scene();
    desk.declare("done");
    server.say(1, tx::Select {});
    server.publish(1, "done", b"the work");
    server.publish_as(1, to(&name), &Properties::default(), b"it is done");
    server.settle();
    asker.settle();
    assert_eq!(asker.heard(), [""; 0]);
    server.say(1, tx::Commit {});
    server.turn();
    asker.turn();
    assert_eq!(asker.heard(), [""; 0], "the work is not durable yet");
    server.settle();
    asker.settle();
    assert_eq!(server.heard(), ["1 TxSelectOk", "1 TxCommitOk"]);
    assert_eq!(asker.heard(), ["1 deliver 1", "it is done"]);
}

#[test]
fn who_does_not_read_is_not_answered_without_bound() {
    let (desk, mut asker, mut server, name) = scene();
    let body = vec![0; 100_000];
    for _ in 0..400 {
        server.publish_as(1, to(&name), &Properties::default(), &body);
        server.turn();
    }
    server.publish_as(1, mandatory(&name), &Properties::default(), b"full");
    server.settle();
    assert_eq!(server.heard(), ["1 BasicReturn", "full"]);
    asker.settle();
    let bodies = asker
        .heard()
        .iter()
        .filter(|heard| heard.starts_with("1 deliver"))
        .count();
    assert!((100..300).contains(&bodies), "{bodies} of 400");
    server.publish_as(1, mandatory(&name), &Properties::default(), b"room again");
    server.settle();
    asker.settle();
    assert_eq!(asker.heard().last().map(String::as_str), Some("room again"));
    drop(desk);
}

/// How many messages came back, and how many arrived at the asker.
fn back_and_there(server: &mut Talk, asker: &mut Talk) -> (usize, usize) {
    server.settle();
    asker.settle();
    let count = |heard: Vec<String>, word: &str| heard.iter().filter(|text| text.contains(word)).count();
    (
        count(server.heard(), "BasicReturn"),
        count(asker.heard(), "deliver"),
    )
}

#[test]
fn a_mandatory_answer_arrives_or_comes_back() {
    let body = vec![0; 100_000];
    let in_transaction = |message: basic::Publish| {
        let (_desk, mut asker, mut server, name) = scene();
        server.say(1, tx::Select {});
        for _ in 0..400 {
            let message = basic::Publish {
                routing_key: short(&name),
                ..message.clone()
            };
            server.publish_as(1, message, &Properties::default(), &body);
            server.turn();
        }
        server.say(1, tx::Commit {});
        back_and_there(&mut server, &mut asker)
    };
    let (back, there) = in_transaction(mandatory(""));
    assert_eq!(back + there, 400, "{back} came back, {there} arrived");
    assert!(back > 0 && there > 0, "{back} came back, {there} arrived");
    let (back, there) = in_transaction(to(""));
    assert!(back == 0 && there < 400, "{back} came back, {there} arrived");
}

#[test]
fn who_is_gone_at_the_commit_is_not_answered() {
    let (_desk, mut asker, mut server, name) = scene();
    server.say(1, tx::Select {});
    server.publish_as(1, mandatory(&name), &Properties::default(), b"too late");
    server.publish_as(1, to(&name), &Properties::default(), b"for nobody");
    server.settle();
    asker.say(1, channel::Close::default());
    asker.settle();
    server.say(1, tx::Commit {});
    server.settle();
    let expected = ["1 TxSelectOk", "1 BasicReturn", "too late", "1 TxCommitOk"];
    assert_eq!(server.heard(), expected);
}
