//! The management API changes things: status, reason and effect of each request are RabbitMQ's.
//!
//! One table, in the order of its rows, against ours and against RabbitMQ.

mod administration;
mod rights;

use anyhow::{Context, bail, ensure};
use everack_compat::broker::{Broker, Settings};
use everack_compat::http;
use futures_util::StreamExt as _;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

const GUEST: &str = "guest:guest";

/// How long a broker may take to show a connection, and a client to be told.
const TOLD_MAX: Duration = Duration::from_secs(20);

/// Method, path below `/api`, body, status, and what the reason has to contain.
type Row = (&'static str, &'static str, &'static str, u16, &'static str);

/// What a test does.
type Act = Box<dyn Fn(&Broker) -> anyhow::Result<()> + Send>;

fn main() {
    let arguments = Arguments::from_args();
    let broker = Arc::new(Broker::with(Settings {
        management: true,
        ..Settings::default()
    }));
    let trial = |name: &str, act: Act| {
        let broker = broker.clone();
        Trial::test(name, move || {
            Ok(act(&broker).map_err(|error| format!("{error:#}\n{}", broker.log()))?)
        })
    };
    let table = |name, rows: &'static [Row]| trial(name, Box::new(|broker| play(broker, rows)));
    let trials = vec![
        table("virtual hosts", VHOSTS),
        table("exchanges", EXCHANGES),
        table("queues", QUEUES),
        table("bindings", BINDINGS),
        table("users", administration::USERS),
        table("permissions", administration::PERMISSIONS),
        table("topic permissions", administration::TOPIC_PERMISSIONS),
        table("policies", administration::POLICIES),
        table("operator policies", administration::OPERATOR_POLICIES),
        table("limits", administration::LIMITS),
        table("parameters", administration::PARAMETERS),
        table("what a vhost is for", administration::DESCRIPTIONS),
        trial("tags decide who may change what", Box::new(rights::rights)),
        trial("a connection is closed with a reason", Box::new(connections)),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    conclusion.exit();
}

fn play(broker: &Broker, rows: &[Row]) -> anyhow::Result<()> {
    play_as(broker, GUEST, rows)
}

fn play_as(broker: &Broker, login: &str, rows: &[Row]) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for (method, path, body, status, reason) in rows {
        let answer = http::send(broker.management(), method, &format!("/api{path}"), login, body)
            .with_context(|| format!("{method} {path}"))?;
        let text = String::from_utf8_lossy(&answer.body);
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let told = said_of(&said["reason"]);
        if answer.status != *status || !told.contains(reason) {
            wrong.push(format!(
                "{method} {path} {body}: {} {text}, not {status} {reason}",
                answer.status
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// A reason is a text, or a list that begins with its name. RabbitMQ escapes some texts as if they were shown in a page.
fn said_of(reason: &Value) -> String {
    let text = reason.as_str().or(reason[0].as_str()).unwrap_or_default();
    text.replace("&lt;", "<").replace("&gt;", ">")
}

const VHOSTS: &[Row] = &[
    ("PUT", "/vhosts/new", "", 201, ""),
    ("PUT", "/vhosts/new", "{}", 204, ""),
    ("GET", "/vhosts/new", "", 200, ""),
    ("GET", "/permissions/new/guest", "", 200, ""),
    ("DELETE", "/vhosts/new", "", 204, ""),
    ("DELETE", "/vhosts/new", "", 404, "Not Found"),
    ("GET", "/vhosts/new", "", 404, "Not Found"),
];

const EXCHANGES: &[Row] = &[
    ("PUT", "/exchanges/%2f/e", r#"{"type": "topic"}"#, 201, ""),
    (
        "PUT",
        "/exchanges/%2f/e",
        r#"{"type": "topic", "durable": false}"#,
        204,
        "",
    ),
    (
        "PUT",
        "/exchanges/%2f/e",
        r#"{"type": "fanout"}"#,
        400,
        "inequivalent arg 'type' for exchange 'e' in vhost '/'",
    ),
    (
        "PUT",
        "/exchanges/%2f/other",
        r#"{"type": "nonsense"}"#,
        400,
        "unknown exchange type 'nonsense'",
    ),
    ("PUT", "/exchanges/%2f/plain", "{}", 201, ""),
    ("PUT", "/exchanges/%2f/plain", r#"{"type": "direct"}"#, 204, ""),
    ("DELETE", "/exchanges/%2f/plain", "", 204, ""),
    ("PUT", "/exchanges/%2f/other", "nonsense", 400, "not_json"),
    ("PUT", "/exchanges/%2f/amq.other", r#"{"type": "topic"}"#, 401, ""),
    ("PUT", "/exchanges/nowhere/e", r#"{"type": "topic"}"#, 404, ""),
    ("DELETE", "/exchanges/%2f/amq.topic", "", 401, ""),
    ("DELETE", "/exchanges/%2f/nothing", "", 404, "Not Found"),
    ("DELETE", "/exchanges/%2f/e?if-unused=true", "", 204, ""),
    ("DELETE", "/exchanges/%2f/e", "", 404, "Not Found"),
];

const QUEUES: &[Row] = &[
    ("PUT", "/queues/%2f/q", "{}", 201, ""),
    (
        "PUT",
        "/queues/%2f/q",
        r#"{"durable": false, "auto_delete": false, "arguments": {}}"#,
        204,
        "",
    ),
    (
        "PUT",
        "/queues/%2f/q",
        r#"{"durable": true}"#,
        400,
        "inequivalent arg 'durable' for queue 'q' in vhost '/'",
    ),
    (
        "PUT",
        "/queues/%2f/r",
        r#"{"arguments": {"x-max-length": "many"}}"#,
        400,
        "invalid arg 'x-max-length'",
    ),
    ("PUT", "/queues/%2f/r", r#"{"durable": "maybe"}"#, 400, ""),
    ("PUT", "/queues/%2f/amq.r", "{}", 401, ""),
    ("DELETE", "/queues/%2f/q/contents", "", 204, ""),
    ("DELETE", "/queues/%2f/r/contents", "", 404, "Not Found"),
    (
        "DELETE",
        "/queues/%2f/q?if-empty=true&if-unused=true",
        "",
        204,
        "",
    ),
    ("DELETE", "/queues/%2f/q", "", 404, "Not Found"),
];

const BINDINGS: &[Row] = &[
    ("PUT", "/queues/%2f/bound", "", 201, ""),
    (
        "POST",
        "/bindings/%2f/e/amq.topic/q/bound",
        r#"{"routing_key": "a.*", "arguments": {}}"#,
        201,
        "",
    ),
    ("POST", "/bindings/%2f/e/amq.topic/q/bound", "{}", 201, ""),
    ("GET", "/bindings/%2f/e/amq.topic/q/bound", "", 200, ""),
    ("GET", "/bindings/%2f/e/amq.topic/q/bound/a.%252A", "", 200, ""),
    ("DELETE", "/bindings/%2f/e/amq.topic/q/bound/a.%252A", "", 204, ""),
    (
        "DELETE",
        "/bindings/%2f/e/amq.topic/q/bound/a.%252A",
        "",
        404,
        "Not Found",
    ),
    ("DELETE", "/bindings/%2f/e/amq.topic/q/bound/~", "", 204, ""),
    ("POST", "/bindings/%2f/e/amq.topic/q/nothing", "{}", 404, ""),
    ("POST", "/bindings/%2f/e/amq.default/q/bound", "{}", 401, ""),
    (
        "POST",
        "/bindings/%2f/e/amq.topic/e/amq.fanout",
        r#"{"routing_key": "x"}"#,
        201,
        "",
    ),
    ("GET", "/bindings/%2f/e/amq.topic/e/amq.fanout", "", 200, ""),
    ("DELETE", "/bindings/%2f/e/amq.topic/e/amq.fanout/x", "", 204, ""),
    ("DELETE", "/queues/%2f/bound", "", 204, ""),
];

/// The client is told why, and by whom it was not.
fn connections(broker: &Broker) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&broker.url(), properties).await?;
        let channel = connection.create_channel().await?;
        let (queue, none) = ("amq.rabbitmq.reply-to".into(), FieldTable::default());
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let mut consumer = channel.basic_consume(queue, "".into(), no_ack, none).await?;
        let name = named(broker)?;
        let path = format!(
            "/api/connections/{}",
            name.replace(' ', "%20").replace('>', "%3E")
        );
        let close = |path: &str| http::request(broker.management(), "DELETE", path, GUEST);
        ensure!(
            close("/api/connections/nobody")?.status == 404,
            "nobody was closed"
        );
        let answer = close(&path)?;
        ensure!(answer.status == 204, "{path}: {} {}", answer.status, answer.head);
        let told = tokio::time::timeout(TOLD_MAX, consumer.next()).await?;
        let why = match told {
            Some(Err(error)) => error.to_string(),
            other => bail!("the client was given {other:?}"),
        };
        ensure!(
            why.contains("CONNECTION_FORCED - Closed via management plugin"),
            "the client was told {why}"
        );
        // It goes when its client has gone.
        drop(connection);
        let deadline = Instant::now() + TOLD_MAX;
        while close(&path)?.status != 404 {
            ensure!(Instant::now() < deadline, "it is still there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    })
}

/// The name of the only connection. RabbitMQ learns of connections every few seconds.
fn named(broker: &Broker) -> anyhow::Result<String> {
    let deadline = Instant::now() + TOLD_MAX;
    loop {
        let list = http::get(broker.management(), "/api/connections", GUEST)?.json()?;
        if let Some(name) = list[0]["name"].as_str() {
            return Ok(name.to_owned());
        }
        ensure!(Instant::now() < deadline, "the connection is not shown");
        std::thread::sleep(Duration::from_millis(200));
    }
}
