//! `everack migrate` from Debian's RabbitMQ to our binary, both killed on the way, and the tool too.
//!
//! `EVERACK_MIGRATE_MESSAGES` says how many messages the kills meet (20,000).

mod client;
mod pair;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use client::{Client, Message};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use libtest_mimic::Arguments;
use pair::{Moved, PAIR, Pair};

/// How long a move may take until the next kill.
const PROGRESS_MAX: Duration = Duration::from_secs(300);

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trial = |name: &str, act: fn(&mut Pair) -> anyhow::Result<()>| {
        let act = move || {
            let mut pair = PAIR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            act(pair.get_or_insert_with(Pair::start))
        };
        everack_compat::trial(name, act)
    };
    let trials = vec![
        trial("a dry run changes nothing", dry_run),
        trial("messages arrive as they were", messages_arrive_as_they_were),
        trial("topology one by one", topology),
        trial("what is in use or cannot move is told, and stays", refusals),
        trial(
            "all definitions in one step, whatever cannot come along",
            definitions,
        ),
        trial("a full queue refuses, and the rest follows later", full_queue),
        trial("no journal, no adding", no_journal),
        trial("what the source brings back does not come twice", brought_back),
        trial(
            "the tool, the source and the target are killed: equal counts",
            kills,
        ),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    // A static is not dropped: end the brokers by hand.
    drop(
        PAIR.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take(),
    );
    conclusion.exit();
}

fn dry_run(pair: &mut Pair) -> anyhow::Result<()> {
    let source = pair.source("dry")?;
    source.declare("q", FieldTable::default())?;
    source.publish("", "q", BasicProperties::default(), b"stays")?;
    let moved = pair.migrate("dry", &["--dry-run"])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    ensure!(moved.report["moves"][0]["queue"] == "q", "{moved:?}");
    ensure!(source.count("q")? == 1, "the message is gone");
    ensure!(
        pair.target_vhosts()?.iter().all(|vhost| vhost != "dry"),
        "the target has the vhost"
    );
    Ok(())
}

fn table(entries: Vec<(&str, AMQPValue)>) -> FieldTable {
    let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
    entries.collect::<BTreeMap<_, _>>().into()
}

/// Everything that a message can have.
fn rich() -> BasicProperties {
    let nested = table(vec![("deep", AMQPValue::LongLongInt(-1))]);
    let headers = table(vec![
        ("bool", AMQPValue::Boolean(true)),
        ("double", AMQPValue::Double(0.25)),
        ("nested", AMQPValue::FieldTable(nested)),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("void", AMQPValue::Void),
    ]);
    BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("utf-8".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(3)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("86400000".into())
        .with_message_id("m".into())
        .with_timestamp(1_700_000_001)
        .with_type("t".into())
        .with_app_id("a".into())
}

fn messages_arrive_as_they_were(pair: &mut Pair) -> anyhow::Result<()> {
    let vhost = "as/they were";
    let source = pair.source(vhost)?;
    let quorum = table(vec![("x-queue-type", AMQPValue::LongString("quorum".into()))]);
    for name in ["häß/lich %2F", "other"] {
        source.declare(name, FieldTable::default())?;
    }
    source.declare("quorum", quorum)?;
    source.topic("x", &[("häß/lich %2F", "key.#"), ("quorum", "quorum.#")])?;
    let plain = BasicProperties::default();
    let copied = AMQPValue::FieldArray(vec![AMQPValue::LongString("other".into())].into());
    let copied = plain.clone().with_headers(table(vec![("CC", copied)]));
    source.publish("", "häß/lich %2F", rich(), b"rich")?;
    source.publish("x", "key.of.its.own", plain.clone(), b"")?;
    source.publish("x", "key.copied", copied, b"copied")?;
    source.publish("x", "key.large", plain.clone(), &vec![7; 1 << 20])?;
    for number in 0..5 {
        source.publish("x", "quorum.1", plain.clone(), format!("{number}").as_bytes())?;
    }
    source.give_back("quorum", 5)?;
    let moved = pair.migrate(vhost, &[])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    let target = pair.target(vhost)?;
    let messages = target.drain("häß/lich %2F")?;
    let keys: Vec<&str> = messages.iter().map(|message| message.key.as_str()).collect();
    ensure!(
        keys == ["häß/lich %2F", "key.of.its.own", "key.copied", "key.large"],
        "{keys:?}"
    );
    ensure!(messages[0].properties == rich(), "{:?}", messages[0].properties);
    ensure!(messages[0].exchange.is_empty(), "{:?}", messages[0].exchange);
    ensure!(
        messages[3].body == vec![7; 1 << 20],
        "the large body is another one"
    );
    // The copy went to the other queue at the source, and not a second time on the way.
    ensure!(target.drain("other")?.is_empty(), "copies were made on the way");
    let bodies: Vec<Vec<u8>> = target
        .drain("quorum")?
        .into_iter()
        .map(|message| message.body)
        .collect();
    ensure!(bodies == [b"0", b"1", b"2", b"3", b"4"], "{bodies:?}");
    Ok(())
}

fn topology(pair: &mut Pair) -> anyhow::Result<()> {
    let source = pair.source("defined")?;
    source.declare("limited", table(vec![("x-max-length", AMQPValue::LongInt(10))]))?;
    source.topic("x", &[("limited", "a.*")])?;
    let moved = pair.migrate("defined", &[])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    let target = pair.target("defined")?;
    target.publish("x", "a.b", BasicProperties::default(), b"routed")?;
    ensure!(target.drain("limited")?.len() == 1, "the binding is not there");
    // Once more: what is there and the same stays.
    let again = pair.migrate("defined", &[])?;
    ensure!(again.status == Some(0), "{again:?}");
    Ok(())
}

/// Behind the trial that has left a stream at the source.
fn definitions(pair: &mut Pair) -> anyhow::Result<()> {
    let source = pair.source("whole")?;
    source.declare("limited", FieldTable::default())?;
    source.publish("", "limited", BasicProperties::default(), b"moved")?;
    pair.put_source(
        "/api/users/ann",
        r#"{"password": "secret", "tags": "management"}"#,
    )?;
    let all = r#"{"configure": ".*", "write": ".*", "read": ".*"}"#;
    pair.put_source("/api/permissions/whole/ann", all)?;
    let policy = r#"{"pattern": "^lim", "definition": {"max-length": 10}, "apply-to": "queues"}"#;
    pair.put_source("/api/policies/whole/short", policy)?;
    let moved = pair.migrate("whole", &["--definitions", "all"])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    let queue = pair.of_target("/api/queues/whole/limited", "ann:secret")?;
    ensure!(queue["policy"] == "short", "{queue}");
    ensure!(
        pair.target("whole")?.drain("limited")?.len() == 1,
        "the message is not there"
    );
    let again = pair.migrate("whole", &["--definitions", "all"])?;
    ensure!(again.status == Some(0), "{again:?}");
    Ok(())
}

fn refusals(pair: &mut Pair) -> anyhow::Result<()> {
    let source = pair.source("refused")?;
    let stream = table(vec![("x-queue-type", AMQPValue::LongString("stream".into()))]);
    source.declare("stream", stream)?;
    source.declare("used", FieldTable::default())?;
    source.publish("", "used", BasicProperties::default(), b"held")?;
    let consumer = source.consume("used")?;
    let moved = pair.migrate("refused", &["--patience", "2"])?;
    ensure!(moved.status == Some(1), "{moved:?}");
    ensure!(moved.problem("stream").contains("it is a stream"), "{moved:?}");
    ensure!(moved.problem("used").contains("1 consumers"), "{moved:?}");
    drop(consumer);
    source.delete("stream")?;
    let moved = pair.migrate("refused", &[])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    ensure!(
        pair.target("refused")?.drain("used")?.len() == 1,
        "the message was not moved"
    );
    Ok(())
}

fn full_queue(pair: &mut Pair) -> anyhow::Result<()> {
    let (source, target) = (pair.source("full")?, pair.target_new("full")?);
    source.declare("q", FieldTable::default())?;
    for number in 0..10 {
        source.publish(
            "",
            "q",
            BasicProperties::default(),
            format!("{number}").as_bytes(),
        )?;
    }
    let limits = table(vec![
        ("x-max-length", AMQPValue::LongInt(4)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ]);
    target.declare("q", limits)?;
    let moved = pair.migrate("full", &["--definitions", "none"])?;
    ensure!(moved.status == Some(1), "{moved:?}");
    ensure!(moved.problem("q").contains("basic.nack"), "{moved:?}");
    ensure!(
        (source.count("q")?, target.count("q")?) == (6, 4),
        "not 4 of 10 were moved"
    );
    let first = target.drain("q")?;
    let moved = pair.migrate("full", &["--definitions", "none"])?;
    ensure!(moved.status == Some(1), "{moved:?}");
    ensure!(moved.report["moved"] == 8, "{moved:?}");
    let second = target.drain("q")?;
    let moved = pair.migrate("full", &["--definitions", "none"])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    let third = target.drain("q")?;
    let all: Vec<Vec<u8>> = [first, second, third]
        .into_iter()
        .flatten()
        .map(|message| message.body)
        .collect();
    let expected: Vec<Vec<u8>> = (0..10).map(|number| format!("{number}").into_bytes()).collect();
    ensure!(all == expected, "{all:?}");
    Ok(())
}

fn no_journal(pair: &mut Pair) -> anyhow::Result<()> {
    let (source, target) = (pair.source("filled")?, pair.target_new("filled")?);
    source.declare("q", FieldTable::default())?;
    target.declare("q", FieldTable::default())?;
    source.publish("", "q", BasicProperties::default(), b"moved")?;
    target.publish("", "q", BasicProperties::default(), b"there")?;
    let moved = pair.migrate("filled", &[])?;
    ensure!(moved.status == Some(1), "{moved:?}");
    ensure!(moved.problem("q").contains("--add"), "{moved:?}");
    let moved = pair.migrate("filled", &["--add"])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    let bodies: Vec<Vec<u8>> = target
        .drain("q")?
        .into_iter()
        .map(|message| message.body)
        .collect();
    ensure!(bodies == [b"there", b"moved"], "{bodies:?}");
    Ok(())
}

/// After its move a source that is killed may have messages again whose acknowledgements had not reached its disk.
fn brought_back(pair: &mut Pair) -> anyhow::Result<()> {
    let source = pair.source("back")?;
    source.declare("q", FieldTable::default())?;
    let publish = |count| {
        let message = || {
            Message::new(
                "",
                "q",
                BasicProperties::default().with_delivery_mode(2),
                b"alike",
            )
        };
        source.publish_all((0..count).map(|_| message()))
    };
    publish(3)?;
    let moved = pair.migrate("back", &[])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    let target = pair.target("back")?;
    // Delivered before, and the same as those at the end of the move: so they look after a crash.
    publish(2)?;
    source.give_back("q", 2)?;
    let moved = pair.migrate("back", &[])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    ensure!(moved.report["queues"][0]["already_there"] == 2, "{moved:?}");
    let counts = (source.count("q")?, target.count("q")?);
    ensure!(counts == (0, 3), "{counts:?} are left and there");
    // The same again, but nobody got them before: they are new.
    publish(2)?;
    let moved = pair.migrate("back", &[])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    let counts = (source.count("q")?, target.count("q")?);
    ensure!(counts == (0, 5), "{counts:?} are left and there");
    // Both: which is which is not guessed.
    publish(1)?;
    source.give_back("q", 1)?;
    publish(1)?;
    let moved = pair.migrate("back", &[])?;
    ensure!(moved.status == Some(1), "{moved:?}");
    ensure!(moved.problem("q").contains("--accept-duplicates"), "{moved:?}");
    let moved = pair.migrate("back", &["--accept-duplicates"])?;
    ensure!(moved.status == Some(0), "{moved:?}");
    let counts = (source.count("q")?, target.count("q")?);
    ensure!(counts.0 == 0 && counts.1 >= 6, "{counts:?} are left and there");
    Ok(())
}

/// The queues of the story with kills: by an exchange and by the default one, one with identical messages only.
const QUEUES: [&str; 3] = ["by key", "by name", "all alike"];

fn kills(pair: &mut Pair) -> anyhow::Result<()> {
    let total: u64 = match std::env::var("EVERACK_MIGRATE_MESSAGES") {
        Ok(count) => count.parse()?,
        Err(_) => 20_000,
    };
    let each = total.div_ceil(QUEUES.len() as u64);
    fill(&pair.source("/")?, each)?;
    let start = Instant::now();
    let mut tool = pair.begin("/", &[])?;
    pair.wait_for("/", &QUEUES, each / 2, PROGRESS_MAX)?;
    println!("{:?}: killing the tool", start.elapsed());
    tool.kill()?;
    tool.wait()?;
    let mut tool = pair.begin("/", &[])?;
    pair.wait_for("/", &QUEUES, each, PROGRESS_MAX)?;
    println!("{:?}: killing the source", start.elapsed());
    pair.source.restart()?;
    pair.wait_for("/", &QUEUES, each * 3 / 2, PROGRESS_MAX)?;
    println!("{:?}: killing the target", start.elapsed());
    pair.target.restart()?;
    pair.wait_for("/", &QUEUES, each * 2, PROGRESS_MAX)?;
    println!("{:?}: killing the tool again", start.elapsed());
    tool.kill()?;
    tool.wait()?;
    let moved = pair.migrate("/", &[])?;
    println!("{:?}: done\n{:#}", start.elapsed(), moved.report);
    judge(pair, &moved, each)
}

fn fill(source: &Client, each: u64) -> anyhow::Result<()> {
    for queue in QUEUES {
        source.declare(queue, FieldTable::default())?;
    }
    source.topic("orders", &[("by key", "order.#")])?;
    let message = |queue: &str, number: u64| {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        match queue {
            "by key" => {
                let properties = persistent.with_message_id(number.to_string().into());
                Message::new("orders", &format!("order.{}", number % 7), properties, b"order")
            }
            "by name" => Message::new("", queue, persistent, format!("{number}").as_bytes()),
            _ => Message::new("", queue, persistent, b"alike"),
        }
    };
    for queue in QUEUES {
        source.publish_all((0..each).map(|number| message(queue, number)))?;
    }
    Ok(())
}

fn judge(pair: &Pair, moved: &Moved, each: u64) -> anyhow::Result<()> {
    ensure!(moved.status == Some(0), "{moved:?}");
    ensure!(moved.report["agrees"] == true, "{moved:?}");
    ensure!(moved.report["moved"] == each * QUEUES.len() as u64, "{moved:?}");
    let (source, target) = (pair.source("/")?, pair.target("/")?);
    for queue in QUEUES {
        ensure!(
            source.count(queue)? == 0,
            "{queue}: something is left at the source"
        );
        ensure!(
            target.count(queue)? == each,
            "{queue}: the target has another count"
        );
        let messages = target.drain_seen(queue, || pair.target_seen())?;
        ensure!(
            messages.len() as u64 == each,
            "{queue}: {} came out",
            messages.len()
        );
        for (number, message) in messages.iter().enumerate() {
            let seen = match queue {
                "by key" => message.properties.message_id().as_ref().map(ToString::to_string),
                "by name" => Some(String::from_utf8(message.body.clone())?),
                _ => continue,
            };
            let seen = seen.context("the message has no number")?;
            ensure!(
                seen == number.to_string(),
                "{queue}: {seen} where {number} should be"
            );
        }
    }
    Ok(())
}
