//! `everack doctor` against real brokers: a scene with many risks, and one with none that loses messages.
//!
//! The same scene against Debian's RabbitMQ: `COMPAT_AGAINST=rabbitmq`.

use anyhow::{Context, ensure};
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::trial;
use futures_util::StreamExt as _;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use libtest_mimic::Arguments;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// RabbitMQ's statistics come in every five seconds.
const SEEN_MAX: Duration = Duration::from_secs(45);

/// What doctor has to find in the scene: the check, and what it is about.
const RISKS: &[(&str, &str)] = &[
    ("unconfirmed-publishers", "channel "),
    ("unroutable", "the broker"),
    ("unbound-exchanges", "exchange 'risky.nowhere' in vhost '/'"),
    (
        "alternate-exchange-missing",
        "exchange 'risky.alternate' in vhost '/'",
    ),
    ("transient-queues", "queue 'risky.transient' in vhost '/'"),
    ("drop-head", "queue 'risky.limited' in vhost '/'"),
    ("expiry", "queue 'risky.ttl' in vhost '/'"),
    ("delivery-limit", "queue 'risky.quorum' in vhost '/'"),
    ("dead-letter-target", "queue 'risky.dead' in vhost '/'"),
    ("no-ack-consumers", "queue 'risky.no-ack' in vhost '/'"),
    ("unacknowledged", "channel "),
    ("unattended-queues", "queue 'risky.transient' in vhost '/'"),
    ("guest", "user 'guest'"),
    ("one-replica", "node "),
];

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let mut trials = vec![
        trial("a scene with many risks: each is found", risks),
        trial("nobody answers: status 2", nobody_answers),
        trial("a wrong password: status 2", wrong_password),
    ];
    if !is_rabbitmq() {
        // On RabbitMQ a durable classic queue is a risk of its own.
        trials.push(trial("a scene without risks: status 0", no_risks));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Ours is told to drop what nobody wants, as RabbitMQ does; otherwise it keeps it.
fn broker() -> Broker {
    Broker::with(Settings {
        management: true,
        config: "[[vhosts]]\nname = \"/\"\nunroutable = \"drop\"\n".to_owned(),
        ..Settings::default()
    })
}

/// What one run of the real binary came to.
struct Examined {
    status: Option<i32>,
    report: Value,
    complaint: String,
}

fn doctor(url: &str) -> anyhow::Result<Examined> {
    let everack = std::env::var_os("EVERACK_BIN");
    let everack = everack.map_or_else(|| everack_compat::binary("everack"), Into::into);
    let output = Command::new(everack)
        .args(["doctor", "--json", "--watch", "0", "--url", url])
        .output()?;
    Ok(Examined {
        status: output.status.code(),
        report: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn url(broker: &Broker, login: &str) -> String {
    format!("http://{login}@{}", broker.management())
}

impl Examined {
    fn has(&self, check: &str, subject: &str) -> bool {
        let findings = self.report["findings"].as_array();
        findings.into_iter().flatten().any(|finding| {
            let about = finding["subject"].as_str().unwrap_or_default();
            finding["check"] == check && about.starts_with(subject)
        })
    }

    fn missing(&self) -> Vec<&'static str> {
        // What reaches the limit is parked by ours, and no risk.
        let risks = RISKS
            .iter()
            .filter(|(check, _)| is_rabbitmq() || *check != "delivery-limit");
        let missing = risks.filter(|(check, subject)| !self.has(check, subject));
        missing.map(|(check, _)| *check).collect()
    }
}

fn risks() -> anyhow::Result<()> {
    let broker = broker();
    let runtime = tokio::runtime::Runtime::new()?;
    let scene = runtime.block_on(play_risks(&broker))?;
    let deadline = Instant::now() + SEEN_MAX;
    let examined = loop {
        let examined = doctor(&url(&broker, "guest:guest"))?;
        if examined.missing().is_empty() || Instant::now() > deadline {
            break examined;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    let missing = examined.missing();
    ensure!(
        missing.is_empty(),
        "not found: {missing:?} in {:#}",
        examined.report
    );
    ensure!(examined.status == Some(1), "status {:?}", examined.status);
    ensure!(
        examined.report["loses_now"].as_u64() >= Some(2),
        "{:#}",
        examined.report
    );
    // What is in order is not complained of.
    let innocent = ["risky.limited.safe", "risky.ttl.safe"];
    for finding in examined.report["findings"].as_array().into_iter().flatten() {
        let subject = finding["subject"].as_str().unwrap_or_default();
        let check = finding["check"].as_str().unwrap_or_default();
        let of_limits = ["drop-head", "expiry"].contains(&check);
        ensure!(
            !(of_limits && innocent.iter().any(|name| subject.contains(name))),
            "{finding}"
        );
    }
    drop(scene);
    Ok(())
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

async fn queue(
    channel: &Channel,
    name: &str,
    durable: bool,
    arguments: &[(&str, AMQPValue)],
) -> anyhow::Result<()> {
    let options = QueueDeclareOptions {
        durable,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(name.into(), options, table(arguments))
        .await?;
    Ok(())
}

async fn exchange(channel: &Channel, name: &str, arguments: &[(&str, AMQPValue)]) -> anyhow::Result<()> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(name.into(), ExchangeKind::Fanout, options, table(arguments))
        .await?;
    Ok(())
}

async fn publish(channel: &Channel, exchange: &str, key: &str, count: usize) -> anyhow::Result<()> {
    for _ in 0..count {
        let properties = BasicProperties::default().with_delivery_mode(2);
        channel
            .basic_publish(
                exchange.into(),
                key.into(),
                BasicPublishOptions::default(),
                b"x",
                properties,
            )
            .await?
            .await?;
    }
    Ok(())
}

/// What has to live while the doctor looks: a channel whose last handle is dropped is closed.
struct Scene {
    _connection: Connection,
    _channel: Channel,
    _consumers: Vec<Consumer>,
}

/// Everything that a doctor should complain of, at once.
async fn play_risks(broker: &Broker) -> anyhow::Result<Scene> {
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    queue(&channel, "risky.transient", false, &[]).await?;
    queue(&channel, "risky.no-ack", true, &[]).await?;
    queue(&channel, "risky.held", true, &[]).await?;
    let limit = ("x-max-length", AMQPValue::LongInt(3));
    let refuse = ("x-overflow", text("reject-publish"));
    queue(&channel, "risky.limited", true, std::slice::from_ref(&limit)).await?;
    queue(&channel, "risky.limited.safe", true, &[limit, refuse]).await?;
    let ttl = ("x-message-ttl", AMQPValue::LongInt(3_600_000));
    let dead = ("x-dead-letter-exchange", text("amq.fanout"));
    queue(&channel, "risky.ttl", true, std::slice::from_ref(&ttl)).await?;
    queue(&channel, "risky.ttl.safe", true, &[ttl, dead]).await?;
    let gone = ("x-dead-letter-exchange", text("risky.gone"));
    queue(&channel, "risky.dead", true, &[gone]).await?;
    let quorum = ("x-queue-type", text("quorum"));
    let deliveries = ("x-delivery-limit", AMQPValue::LongInt(5));
    queue(&channel, "risky.quorum", true, &[quorum, deliveries]).await?;
    exchange(&channel, "risky.nowhere", &[]).await?;
    exchange(
        &channel,
        "risky.alternate",
        &[("alternate-exchange", text("risky.gone"))],
    )
    .await?;
    publish(&channel, "risky.nowhere", "", 2).await?;
    publish(&channel, "", "risky.transient", 4).await?;
    publish(&channel, "", "risky.limited", 3).await?;
    publish(&channel, "", "risky.no-ack", 2).await?;
    publish(&channel, "", "risky.held", 150).await?;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut careless = channel
        .basic_consume(
            "risky.no-ack".into(),
            "careless".into(),
            no_ack,
            FieldTable::default(),
        )
        .await?;
    let mut greedy = channel
        .basic_consume(
            "risky.held".into(),
            "greedy".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let arrived = careless.by_ref().take(2).count();
    ensure!(
        tokio::time::timeout(SEEN_MAX, arrived).await? == 2,
        "two messages arrive"
    );
    let arrived = greedy.by_ref().take(150).count();
    ensure!(
        tokio::time::timeout(SEEN_MAX, arrived).await? == 150,
        "all messages arrive"
    );
    Ok(Scene {
        _connection: connection,
        _channel: channel,
        _consumers: vec![careless, greedy],
    })
}

fn no_risks() -> anyhow::Result<()> {
    let broker = broker();
    let runtime = tokio::runtime::Runtime::new()?;
    let scene = runtime.block_on(play_no_risks(&broker))?;
    let examined = doctor(&url(&broker, "guest:guest"))?;
    ensure!(examined.status == Some(0), "{:#}", examined.report);
    ensure!(examined.report["can_lose"] == 0, "{:#}", examined.report);
    ensure!(
        examined.report["unchecked"] == Value::Array(Vec::new()),
        "{:#}",
        examined.report
    );
    let product = examined.report["product"].as_str().context("no product")?;
    ensure!(product.starts_with("Everack "), "{product}");
    drop(scene);
    Ok(())
}

/// A publisher and a consumer as they should be.
async fn play_no_risks(broker: &Broker) -> anyhow::Result<Scene> {
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    queue(&channel, "sound", true, &[]).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(10, BasicQosOptions::default()).await?;
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    for _ in 0..20 {
        let properties = BasicProperties::default().with_delivery_mode(2);
        channel
            .basic_publish("".into(), "sound".into(), mandatory, b"x", properties)
            .await?
            .await?;
    }
    let mut consumer = channel
        .basic_consume(
            "sound".into(),
            "sound".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    for _ in 0..20 {
        let delivery = consumer.next().await.context("the consumer has ended")??;
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(Scene {
        _connection: connection,
        _channel: channel,
        _consumers: vec![consumer],
    })
}

fn nobody_answers() -> anyhow::Result<()> {
    let free = everack_compat::broker::free_port();
    let examined = doctor(&format!("http://guest:guest@127.0.0.1:{free}"))?;
    ensure!(examined.status == Some(2), "{:?}", examined.status);
    ensure!(
        examined.complaint.contains("does not answer"),
        "{}",
        examined.complaint
    );
    Ok(())
}

fn wrong_password() -> anyhow::Result<()> {
    let broker = broker();
    let examined = doctor(&url(&broker, "guest:wrong"))?;
    ensure!(examined.status == Some(2), "{:?}", examined.status);
    ensure!(
        examined.complaint.contains("401 Unauthorized: Login failed"),
        "{}",
        examined.complaint
    );
    Ok(())
}
