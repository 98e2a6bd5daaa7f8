//! The web console in headless Chromium, against the real binary: every page on a phone and on a wide screen, by day and by night, and what people do with
//! them. Screenshots are kept under `target/compat/console-shots`. Runs against ours only.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use everack_compat::broker::{self, Broker, Settings};
use everack_compat::client::Running;
use everack_compat::{binary, http, source, tools};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use libtest_mimic::{Arguments, Failed, Trial};

/// Somebody who sees one virtual host, and nothing of the node.
const LOOKER: &str = r#"
[[users]]
name = "reader"
# Of "reader", as RabbitMQ writes it, with a salt of zeros.
password_hash = "AAAAAPBdphbDxYUbuJjHShCWdIETQKkFlVlydttKiEZ0wLq1"
tags = ["management"]
permissions = [{ vhost = "/", read = ".*" }]
"#;
const ADMINISTRATOR: &str = "guest:guest";
/// Queues that make a list of several pages.
const BULK: usize = 120;
/// A name that tries what it can. The script has it too.
const ODD: &str = "<script>alert(1)</script> \"&'/..";

/// The verdicts by case: `Ok`, or why not.
type Verdicts = HashMap<String, Result<(), String>>;

fn main() {
    let arguments = Arguments::from_args();
    if broker::is_rabbitmq() {
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    let names =
        output(browse().arg("--list")).expect("the script lists its cases: run `cargo xtask setup` first");
    let verdicts: Arc<OnceLock<Verdicts>> = Arc::default();
    // One after the other: all of them wait for the one run of the script.
    let trial = |name: &str| {
        let (verdicts, case) = (verdicts.clone(), name.to_owned());
        Trial::test(name, move || {
            let verdicts =
                verdicts.get_or_init(|| play().unwrap_or_else(|error| failed(&format!("{error:#}"))));
            match verdicts.get(&case).or_else(|| verdicts.get("")) {
                Some(verdict) => verdict.clone().map_err(Failed::from),
                None => Err(Failed::from("the script ended before this case")),
            }
        })
    };
    let mut trials: Vec<Trial> = names.lines().map(trial).collect();
    trials.push(everack_compat::trial(
        "the order story is watched, and somebody is killed in it",
        story,
    ));
    libtest_mimic::run(&arguments, trials).exit();
}

fn failed(why: &str) -> Verdicts {
    [(String::new(), Err(why.to_owned()))].into_iter().collect()
}

fn browse() -> Command {
    let mut command = Command::new("node");
    command
        .arg(source("console/browse.js"))
        .env("NODE_PATH", tools().join("console/node_modules"));
    command
}

/// The demo, with a page to look on, and a person who takes part.
fn story() -> anyhow::Result<()> {
    let mut command = Command::new(binary("everack"));
    command.args(["demo", "--orders", "250", "--watch", "127.0.0.1:0"]);
    let mut demo = Running::start(&mut command)?;
    let line = demo.line()?;
    let address = line.strip_prefix("Watch the story at ").context(line.clone())?;
    let mut command = browse();
    command
        .args(["--story", address.trim_end_matches('/')])
        .arg("--shots")
        .arg(tools().join("console-shots"));
    let lines = output(&mut command)?;
    let verdict = lines
        .lines()
        .find_map(verdict)
        .context("the script says nothing of the story")?;
    verdict.1.map_err(anyhow::Error::msg)
}

/// Fills a broker, and has the script look at it.
fn play() -> anyhow::Result<Verdicts> {
    let broker = Broker::with(Settings {
        management: true,
        config: LOOKER.to_owned(),
        ..Settings::default()
    });
    declare(&broker)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let guests = runtime.block_on(fill(&broker))?;
    let mut command = browse();
    command
        .args(["--url", &format!("http://{}", broker.management())])
        .arg("--shots")
        .arg(tools().join("console-shots"));
    let lines = output(&mut command)?;
    drop(guests);
    Ok(lines.lines().filter_map(verdict).collect())
}

fn verdict(line: &str) -> Option<(String, Result<(), String>)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let why = line["why"]
        .as_str()
        .unwrap_or("the script does not say why")
        .to_owned();
    Some((
        line["case"].as_str()?.to_owned(),
        if line["ok"] == true { Ok(()) } else { Err(why) },
    ))
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("node is missing: run `cargo xtask setup`")?;
    ensure!(
        !output.stdout.is_empty(),
        "the script ended with {} and printed nothing",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Queues, over the API.
fn declare(broker: &Broker) -> anyhow::Result<()> {
    let put = |name: &str, arguments: &str| {
        let path = format!("/api/queues/%2f/{}", escape(name));
        let body = format!("{{\"durable\": true, \"arguments\": {arguments}}}");
        let answer = http::send(broker.management(), "PUT", &path, ADMINISTRATOR, &body)?;
        ensure!(
            answer.status == 201,
            "{path}: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(())
    };
    put("orders", r#"{"x-queue-type": "quorum"}"#)?;
    put("poisoned", r#"{"x-queue-type": "quorum", "x-delivery-limit": 0}"#)?;
    put("shortened", r#"{"x-max-length": 5}"#)?;
    put("live", "{}")?;
    put("source", "{}")?;
    put("target", "{}")?;
    put("held", "{}")?;
    put(ODD, "{}")?;
    (0..BULK).try_for_each(|number| put(&format!("bulk-{number:03}"), "{}"))
}

fn escape(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Messages, and clients that do what they should not: their connections live as long as the result.
async fn fill(broker: &Broker) -> anyhow::Result<(Vec<Connection>, Hands)> {
    let careless = connect(broker, "careless").await?;
    let channel = careless.create_channel().await?;
    for number in 0..20 {
        publish(&channel, "", "orders", &format!("{{\"order\": {number}}}")).await?;
    }
    for number in 0..3 {
        publish(&channel, "", "poisoned", &format!("poison {number}")).await?;
    }
    for number in ["one", "two", "three", "four"] {
        publish(&channel, "", "source", &format!("number {number}")).await?;
    }
    publish(&channel, "amq.direct", "nobody", "unroutable").await?;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    channel
        .basic_consume(
            "shortened".into(),
            "careless".into(),
            no_ack,
            FieldTable::default(),
        )
        .await?;
    poison(&channel).await?;
    let victim = connect(broker, "victim").await?;
    let worker = connect(broker, "worker").await?;
    let channel = worker.create_channel().await?;
    channel.basic_qos(5, Default::default()).await?;
    channel
        .basic_consume(
            "orders".into(),
            "worker".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let hands = hold(&worker).await?;
    Ok((vec![careless, victim, worker], hands))
}

/// A channel that holds a message until it is dropped, which closes it, and a consumer that could take it.
type Hands = (Channel, Consumer);

/// Somebody holds a message, and somebody else could take it.
async fn hold(connection: &Connection) -> anyhow::Result<Hands> {
    let channel = connection.create_channel().await?;
    publish(&channel, "", "held", "in somebody's hands").await?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while channel
        .basic_get("held".into(), Default::default())
        .await?
        .is_none()
    {
        ensure!(Instant::now() < deadline, "the message to be held does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let other = connection.create_channel().await?;
    let options = BasicConsumeOptions::default();
    let keeper = other.basic_consume("held".into(), "keeper".into(), options, FieldTable::default());
    Ok((channel, keeper.await?))
}

async fn connect(broker: &Broker, name: &str) -> anyhow::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Ok(Connection::connect(&broker.url(), properties).await?)
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str) -> anyhow::Result<()> {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id("some id".into());
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties)
        .await?;
    Ok(())
}

/// Rejects what is in the queue of poison until it is parked.
async fn poison(channel: &Channel) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut rejected = 0;
    while rejected < 3 {
        ensure!(Instant::now() < deadline, "the poison does not come");
        match channel.basic_get("poisoned".into(), Default::default()).await? {
            Some(message) => {
                message.acker.reject(BasicRejectOptions { requeue: true }).await?;
                rejected += 1;
            }
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    Ok(())
}
