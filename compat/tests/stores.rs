//! Messages that the real binary sets aside, seen from outside with lapin and HTTP: retained after they were handed over without
//! acknowledgement, parked, unroutable; brought back, through a SIGKILL too; and the guard that says who may read so.
//!
//! All of it is Everack's own, so these do not run against RabbitMQ.

use anyhow::{Context, ensure};
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::http;
use everack_compat::trial;
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const LOGIN: &str = "guest:guest";
const PATIENCE: Duration = Duration::from_secs(20);

/// Queues of these names are guarded in different ways.
/// Long after settlements are durable.
const WRITTEN: Duration = Duration::from_millis(500);
const POLICIES: &str = r#"
[[policies]]
name = "retain"
pattern = "^retain"
definition = { no-ack-guard = "retain", no-ack-retention = 600000 }

[[policies]]
name = "brief"
pattern = "^brief"
priority = 1
definition = { no-ack-guard = "retain", no-ack-retention = 300, no-ack-retention-length = 2 }

[[policies]]
name = "deny"
pattern = "^deny"
definition = { no-ack-guard = "deny" }

[[users]]
name = "reader"
# Of "reader", as RabbitMQ writes it, with a salt of zeros.
password_hash = "AAAAAPBdphbDxYUbuJjHShCWdIETQKkFlVlydttKiEZ0wLq1"
tags = ["management"]
permissions = [{ vhost = "/", read = ".*" }]

[[users]]
name = "nobody"
# Of "nobody", likewise.
password_hash = "AAAAAHc48iQLVexqTJvl7XpIDcq1zMQgPbQxTqqWB3aiR9Sl"
tags = ["management"]
permissions = [{ vhost = "/", configure = "^$", write = "^$", read = "^$" }]
"#;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    if is_rabbitmq() {
        return;
    }
    let trials = vec![
        trial(
            "what a consumer without acknowledgements got comes back, through SIGKILL",
            retained,
        ),
        trial("what is retained is bounded in number and time", bounded),
        trial("who does not acknowledge is told of once, or refused", guarded),
        trial(
            "what is parked is listed, redriven and discarded, through SIGKILL",
            parked,
        ),
        trial("what nobody wants is listed", unroutable),
        trial("orders are checked", orders),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A broker and a client.
struct Scene {
    broker: Broker,
    runtime: Runtime,
}

impl Scene {
    fn begin() -> anyhow::Result<Self> {
        Ok(Self {
            broker: Broker::with(Settings {
                management: true,
                config: POLICIES.to_owned(),
                ..Settings::default()
            }),
            runtime: Runtime::new()?,
        })
    }

    fn channel(&self) -> anyhow::Result<(Connection, Channel)> {
        let url = self.broker.url();
        self.runtime.block_on(async {
            let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok((connection, channel))
        })
    }

    fn declare(&self, channel: &Channel, queue: &str, arguments: &[(&str, AMQPValue)]) -> anyhow::Result<()> {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert(ShortString::from(*name), value.clone());
        }
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        self.runtime
            .block_on(channel.queue_declare(queue.into(), durable, table))?;
        Ok(())
    }

    fn publish(&self, channel: &Channel, key: &str, bodies: &[&str]) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            for body in bodies {
                let properties = BasicProperties::default().with_delivery_mode(2);
                channel
                    .basic_publish(
                        "".into(),
                        key.into(),
                        BasicPublishOptions::default(),
                        body.as_bytes(),
                        properties,
                    )
                    .await?
                    .await?;
            }
            Ok(())
        })
    }

    fn get(&self, channel: &Channel, queue: &str, no_ack: bool) -> anyhow::Result<Option<BasicGetMessage>> {
        let options = BasicGetOptions { no_ack };
        Ok(self.runtime.block_on(channel.basic_get(queue.into(), options))?)
    }

    fn api(&self, path: &str) -> anyhow::Result<Value> {
        let answer = http::get(self.broker.management(), path, LOGIN)?;
        ensure!(
            answer.status == 200,
            "{path}: {} {:?}",
            answer.status,
            answer.json()
        );
        answer.json()
    }

    fn order(&self, path: &str, order: &Value) -> anyhow::Result<Value> {
        let answer = http::send(self.broker.management(), "POST", path, LOGIN, &order.to_string())?;
        ensure!(
            answer.status == 200,
            "{path}: {} {:?}",
            answer.status,
            answer.json()
        );
        answer.json()
    }

    /// Waits until a field of a queue has this value.
    fn wait_for(&self, queue: &str, field: &str, expected: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.api(&format!("/api/queues/%2f/{queue}"))?;
            if shown[field] == json!(expected) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{field} of {queue} is {}",
                shown[field]
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL and a start, and a new client.
    fn crash(&mut self) -> anyhow::Result<(Connection, Channel)> {
        self.broker.kill();
        self.broker.restart()?;
        self.channel()
    }
}

fn bodies(listed: &Value) -> Vec<&str> {
    let messages = listed["messages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    messages
        .iter()
        .map(|message| message["payload"].as_str().unwrap_or("?"))
        .collect()
}

fn retained() -> anyhow::Result<()> {
    let mut scene = Scene::begin()?;
    let (_connection, channel) = scene.channel()?;
    scene.declare(&channel, "retain", &[])?;
    scene.publish(&channel, "retain", &["one", "two", "three", "four"])?;
    // A consumer that is never heard of again.
    let consumer = scene.runtime.block_on(async {
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        channel
            .basic_consume("retain".into(), "careless".into(), options, FieldTable::default())
            .await
    })?;
    scene.wait_for("retain", "messages_retained", 4)?;
    let shown = scene.api("/api/queues/%2f/retain")?;
    ensure!(
        shown["messages"] == json!(0) && shown["consumers_no_ack"] == json!(1),
        "{shown}"
    );
    ensure!(shown["no_ack_guard"] == json!("retain"), "{shown}");
    ensure!(
        shown["message_stats"]["deliver_no_ack"] == json!(4),
        "{}",
        shown["message_stats"]
    );
    // What is handed over without acknowledgement is written down behind it, as settlements are; a crash before that gives it back at once.
    std::thread::sleep(WRITTEN);
    let (connection, channel) = scene.crash()?;
    drop(consumer);

    let path = "/api/everack/queues/%2f/retain/retained";
    let listed = scene.api(path)?;
    ensure!(
        bodies(&listed) == ["one", "two", "three", "four"],
        "after SIGKILL: {listed}"
    );
    ensure!(listed["messages"][0]["retained_until"].is_u64(), "{listed}");
    let ids: Vec<u64> = (1..3)
        .filter_map(|at| listed["messages"][at]["id"].as_u64())
        .collect();
    let preview = scene.order(
        &format!("{path}/redeliver"),
        &json!({ "ids": ids, "preview": true }),
    )?;
    ensure!(
        preview["messages"] == json!(2) && preview["preview"] == json!(true),
        "{preview}"
    );
    ensure!(bodies(&scene.api(path)?).len() == 4, "a preview changes nothing");
    let done = scene.order(&format!("{path}/redeliver"), &json!({ "ids": ids }))?;
    ensure!(done["messages"] == json!(2), "{done}");
    drop((connection, channel));

    // What was answered is durable.
    let (_connection, channel) = scene.crash()?;
    ensure!(
        bodies(&scene.api(path)?) == ["one", "four"],
        "after a second SIGKILL"
    );
    for expected in ["two", "three"] {
        let message = scene
            .get(&channel, "retain", false)?
            .context("it was brought back")?;
        ensure!(
            message.delivery.data == expected.as_bytes(),
            "{:?}",
            message.delivery
        );
        ensure!(message.delivery.redelivered, "it is flagged");
    }
    ensure!(scene.get(&channel, "retain", false)?.is_none(), "nothing else is");
    let gone = scene.order(&format!("{path}/discard"), &json!({ "all": true }))?;
    ensure!(gone["messages"] == json!(2), "{gone}");
    Ok(())
}

fn bounded() -> anyhow::Result<()> {
    let scene = Scene::begin()?;
    let (_connection, channel) = scene.channel()?;
    scene.declare(&channel, "brief", &[])?;
    scene.publish(&channel, "brief", &["one", "two", "three"])?;
    for _ in 0..3 {
        ensure!(scene.get(&channel, "brief", true)?.is_some(), "it is there");
    }
    scene.wait_for("brief", "messages_displaced", 1)?;
    scene.wait_for("brief", "messages_retained", 0)?;
    let shown = scene.api("/api/queues/%2f/brief")?;
    let balance = &shown["message_balance"];
    ensure!(
        balance["settled"] == json!(3) && balance["live"] == json!(0),
        "{balance}"
    );
    Ok(())
}

fn guarded() -> anyhow::Result<()> {
    let scene = Scene::begin()?;
    let (_connection, channel) = scene.channel()?;
    for queue in ["plain", "deny"] {
        scene.declare(&channel, queue, &[])?;
    }
    let careless = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consume = |channel: &Channel, queue: &str, options| {
        let consumed = channel.basic_consume(queue.into(), "careless".into(), options, FieldTable::default());
        scene.runtime.block_on(consumed).map(drop)
    };
    consume(&channel, "plain", careless)?;
    scene.publish(&channel, "plain", &["one", "two"])?;
    scene.get(&channel, "plain", true)?;
    scene.get(&channel, "plain", true)?;
    let log = scene.broker.log();
    let told = log
        .lines()
        .filter(|line| line.contains("read without acknowledgements"))
        .count();
    ensure!(
        told == 2,
        "once for the consumer, once for the polling channel: {log}"
    );
    let error = consume(&channel, "deny", careless)
        .err()
        .context("it is refused")?;
    let text = error.to_string();
    ensure!(
        text.contains("ACCESS_REFUSED") && text.contains("no-ack guard"),
        "{text}"
    );
    let (_other, channel) = scene.channel()?;
    let error = scene.get(&channel, "deny", true).err().context("so is a get")?;
    ensure!(format!("{error:#}").contains("ACCESS_REFUSED"), "{error:#}");
    let (_third, channel) = scene.channel()?;
    consume(&channel, "deny", BasicConsumeOptions::default())?;
    let counted = scene.api("/api/overview")?["no_ack"].clone();
    ensure!(counted == json!({ "warned": 2, "refused": 2 }), "{counted}");
    Ok(())
}

fn parked() -> anyhow::Result<()> {
    let mut scene = Scene::begin()?;
    let (connection, channel) = scene.channel()?;
    let arguments = [
        ("x-delivery-limit", AMQPValue::LongInt(0)),
        ("x-message-ttl", AMQPValue::LongInt(2000)),
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    scene.declare(&channel, "park", &arguments)?;
    for body in ["bad", "worse"] {
        scene.publish(&channel, "park", &[body])?;
        let message = scene.get(&channel, "park", false)?.context("it is there")?;
        let requeue = BasicRejectOptions { requeue: true };
        scene.runtime.block_on(message.delivery.acker.reject(requeue))?;
        scene.wait_for("park", "messages_ready", 0)?;
    }
    scene.wait_for("park", "messages_parked", 2)?;
    // Longer than their time to live.
    std::thread::sleep(Duration::from_millis(2100));
    drop((connection, channel));

    let (connection, channel) = scene.crash()?;
    let path = "/api/everack/queues/%2f/park/parked";
    let listed = scene.api(path)?;
    ensure!(bodies(&listed) == ["bad", "worse"], "{listed}");
    let first = &listed["messages"][0];
    ensure!(
        first["reason"] == json!("delivery_limit") && first["failures"] == json!(1),
        "{first}"
    );
    let pages = scene.api(&format!("{path}?count=1"))?;
    ensure!(pages["next"] == listed["messages"][1]["id"], "{pages}");
    // There is room for one.
    let done = scene.order(&format!("{path}/redrive"), &json!({ "all": true }))?;
    ensure!(
        done["messages"] == json!(1) && done["no_room"] == json!(1),
        "{done}"
    );
    drop((connection, channel));

    let (_connection, channel) = scene.crash()?;
    let message = scene
        .get(&channel, "park", false)?
        .context("it lives anew, also after SIGKILL")?;
    ensure!(message.delivery.data == b"bad", "{:?}", message.delivery);
    ensure!(bodies(&scene.api(path)?) == ["worse"]);
    let gone = scene.order(&format!("{path}/discard"), &json!({ "all": true }))?;
    ensure!(gone["messages"] == json!(1), "{gone}");
    let shown = scene.api("/api/queues/%2f/park")?;
    ensure!(
        shown["message_balance"]["discarded"]["parked"] == json!(1),
        "{shown}"
    );
    Ok(())
}

fn unroutable() -> anyhow::Result<()> {
    let scene = Scene::begin()?;
    let (_connection, channel) = scene.channel()?;
    scene.publish(&channel, "nowhere", &["lost", "found"])?;
    let path = "/api/everack/vhosts/%2f/unroutable";
    for _ in 0..2 {
        let listed = scene.api(path)?;
        ensure!(bodies(&listed) == ["lost", "found"], "{listed}");
        ensure!(
            listed["messages"][0]["routing_key"] == json!("nowhere"),
            "{listed}"
        );
    }
    let piece = scene.api(&format!("{path}?truncate=2&count=1"))?;
    ensure!(
        bodies(&piece) == ["lo"] && piece["messages"][0]["payload_bytes"] == json!(4),
        "{piece}"
    );
    Ok(())
}

fn orders() -> anyhow::Result<()> {
    let scene = Scene::begin()?;
    let (_connection, channel) = scene.channel()?;
    scene.declare(&channel, "park", &[])?;
    let address = scene.broker.management();
    let path = "/api/everack/queues/%2f/park/parked";
    let check = |path: &str, login: &str, body: &str, expected: u16| -> anyhow::Result<()> {
        let answer = http::send(address, "POST", path, login, body)?;
        ensure!(
            answer.status == expected,
            "{path} as {login:?} with {:.40}: {} instead of {expected}",
            body,
            answer.status
        );
        Ok(())
    };
    let all = r#"{"all":true}"#;
    let redrive = format!("{path}/redrive");
    check(&redrive, LOGIN, all, 200)?;
    check(&redrive, "", all, 401)?;
    check(&redrive, "reader:reader", all, 401)?;
    check(&format!("{path}/discard"), "reader:reader", all, 200)?;
    check(&redrive, LOGIN, "{}", 400)?;
    check(&redrive, LOGIN, "no json", 400)?;
    check(&redrive, LOGIN, &" ".repeat((64 << 10) + 1), 413)?;
    check("/api/everack/queues/%2f/none/parked/redrive", LOGIN, all, 404)?;
    check(path, LOGIN, all, 405)?;
    let release = "/api/everack/queues/%2f/park/messages/1/release";
    check(release, "nobody:nobody", "", 401)?;
    check(release, "reader:reader", "", 404)?;
    check(release, LOGIN, &" ".repeat(2 << 10), 413)?;
    let listed = http::get(address, &format!("{path}?count=many"), LOGIN)?;
    ensure!(listed.status == 400, "{}", listed.status);
    Ok(())
}
