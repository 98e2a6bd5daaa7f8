//! The management API: the same scene looks the same as in RabbitMQ.
//!
//! `compat/management/shapes.json` says which fields RabbitMQ has and of which JSON types. Against RabbitMQ the tests check that
//! file (and write it anew with `COMPAT_RECORD=1`); against ours they check us by it. So what is expected of us is proven.

use anyhow::{Context, bail, ensure};
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::{http, source};
use futures_util::StreamExt as _;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use libtest_mimic::Arguments;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[path = "management/rates.rs"]
mod rates;
#[path = "management/trail.rs"]
mod trail;

/// RabbitMQ's statistics come in every five seconds.
const SETTLED_MAX: Duration = Duration::from_secs(40);
const GUEST: &str = "guest:guest";

fn main() {
    let arguments = Arguments::from_args();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    // Ours is told to drop what nobody wants, as RabbitMQ does, so that the figures are the same.
    let broker = Arc::new(Broker::with(Settings {
        management: true,
        config: "[[vhosts]]\nname = \"/\"\nunroutable = \"drop\"\n".to_owned(),
        ..Settings::default()
    }));
    let scene = runtime.block_on(Scene::play(&broker));
    let scene =
        scene.unwrap_or_else(|error| panic!("the scene cannot be played: {error:#}\n{}", broker.log()));
    let trial = |name: &str, act: fn(&Broker) -> anyhow::Result<()>| {
        let broker = broker.clone();
        everack_compat::trial(name, move || act(&broker))
    };
    let mut trials = vec![
        trial("fields have RabbitMQ's names and types", shapes),
        trial("figures of the scene are RabbitMQ's", figures),
        trial("refusals are RabbitMQ's", refusals),
        trial("lists are sorted, paged and narrowed as RabbitMQ's", views),
        trial("rates and samples are as RabbitMQ's", rates::check),
        trial("log-ins are counted", rates::attempts),
    ];
    if !is_rabbitmq() {
        trials.push(trial("administrative acts leave a trail", trail::check));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(scene);
    drop(broker);
    conclusion.exit();
}

/// What is there while the tests look. A channel whose last handle is dropped is closed.
struct Scene {
    _connections: [Connection; 2],
    _publisher: Channel,
    _readers: Readers,
}

/// The channels of the one who reads, and its consumers.
struct Readers {
    _channels: [Channel; 3],
    _consumers: [Consumer; 2],
}

impl Scene {
    async fn play(broker: &Broker) -> anyhow::Result<Self> {
        let publisher = connect(broker, "scene-publisher").await?;
        declare(&publisher).await?;
        let publishing = publish(&publisher).await?;
        let consumer = connect(broker, "scene-consumer").await?;
        let readers = consume(&consumer).await?;
        settle(broker)?;
        Ok(Self {
            _connections: [publisher, consumer],
            _publisher: publishing,
            _readers: readers,
        })
    }
}

async fn connect(broker: &Broker, name: &str) -> anyhow::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Ok(Connection::connect(&broker.url(), properties).await?)
}

async fn declare(connection: &Connection) -> anyhow::Result<()> {
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut limited = FieldTable::default();
    limited.insert("x-max-length".into(), AMQPValue::LongInt(1000));
    limited.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    channel
        .queue_declare("scene.durable".into(), durable, limited)
        .await?;
    channel
        .queue_declare(
            "scene.transient".into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let topic = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let mut alternate = FieldTable::default();
    alternate.insert(
        "alternate-exchange".into(),
        AMQPValue::LongString("amq.fanout".into()),
    );
    channel
        .exchange_declare("scene.topic".into(), lapin::ExchangeKind::Topic, topic, alternate)
        .await?;
    channel
        .queue_bind(
            "scene.durable".into(),
            "scene.topic".into(),
            "order.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    channel
        .exchange_bind(
            "amq.direct".into(),
            "scene.topic".into(),
            "all".into(),
            ExchangeBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok(channel.close(200, "done".into()).await?)
}

/// Ten that arrive, two that vanish, one that comes back.
async fn publish(connection: &Connection) -> anyhow::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let plain = BasicPublishOptions::default();
    let addresses = std::iter::repeat_n(("scene.topic", "order.new", plain), 10)
        .chain([("amq.direct", "nobody", plain); 2])
        .chain([("amq.direct", "nobody", mandatory)])
        .chain([("", "scene.transient", plain); 3]);
    for (exchange, key, options) in addresses {
        let properties = BasicProperties::default().with_delivery_mode(2);
        channel
            .basic_publish(exchange.into(), key.into(), options, b"0123456789", properties)
            .await?
            .await?;
    }
    Ok(channel)
}

/// One consumer that acknowledges two of seven and holds five; one that acknowledges nothing; one message gotten.
async fn consume(connection: &Connection) -> anyhow::Result<Readers> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(5, BasicQosOptions::default()).await?;
    let mut consumer = channel
        .basic_consume(
            "scene.durable".into(),
            "scene-tag".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    for _ in 0..2 {
        let delivery = consumer.next().await.context("the consumer has ended")??;
        delivery.ack(BasicAckOptions::default()).await?;
    }
    let other = connection.create_channel().await?;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut careless = other
        .basic_consume(
            "scene.transient".into(),
            "scene-no-ack".into(),
            no_ack,
            FieldTable::default(),
        )
        .await?;
    for _ in 0..3 {
        careless.next().await.context("the consumer has ended")??;
    }
    let getter = connection.create_channel().await?;
    let gotten = getter
        .basic_get("scene.durable".into(), BasicGetOptions { no_ack: true })
        .await?;
    ensure!(gotten.is_some(), "there is something to get");
    Ok(Readers {
        _channels: [channel, other, getter],
        _consumers: [consumer, careless],
    })
}

/// Waits until the broker's figures have caught up with the scene.
fn settle(broker: &Broker) -> anyhow::Result<()> {
    let deadline = Instant::now() + SETTLED_MAX;
    loop {
        let Err(error) = figures(broker) else {
            return Ok(());
        };
        if Instant::now() > deadline {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn read(broker: &Broker, path: &str) -> anyhow::Result<Value> {
    let answer = http::get(broker.management(), path, GUEST)?;
    ensure!(
        answer.status == 200,
        "{path}: {} {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    answer.json()
}

/// The one of a list whose field has that value.
fn pick(list: Value, field: &str, value: &str) -> anyhow::Result<Value> {
    let list = list.as_array().cloned().unwrap_or_default();
    let found = list.into_iter().find(|entry| entry[field] == value);
    found.with_context(|| format!("nothing has {field} {value}"))
}

/// What the scene looks like, by path and field. The same for every broker.
fn figures(broker: &Broker) -> anyhow::Result<()> {
    let durable = read(broker, "/api/queues/%2f/scene.durable")?;
    same(
        "scene.durable",
        &durable,
        &json!({
            "name": "scene.durable", "vhost": "/", "type": "classic", "state": "running", "durable": true,
            "auto_delete": false, "exclusive": false, "policy": null, "operator_policy": null,
            "arguments": { "x-max-length": 1000, "x-overflow": "reject-publish" },
            "effective_policy_definition": {}, "exclusive_consumer_tag": null,
            "consumers": 1, "messages": 7, "messages_ready": 2, "messages_unacknowledged": 5, "messages_persistent": 7,
            "message_stats": {
                "publish": 10, "deliver": 7, "deliver_get": 8, "get_no_ack": 1, "ack": 2, "redeliver": 0,
            },
        }),
    )?;
    let transient = pick(read(broker, "/api/queues/%2f")?, "name", "scene.transient")?;
    same(
        "scene.transient",
        &transient,
        &json!({
            "durable": false, "messages": 0, "messages_persistent": 0, "consumers": 1, "arguments": {},
            "message_stats": { "publish": 3, "deliver_no_ack": 3, "deliver_get": 3 },
        }),
    )?;
    let consumer = pick(read(broker, "/api/consumers")?, "consumer_tag", "scene-tag")?;
    same(
        "the consumer",
        &consumer,
        &json!({
            "ack_required": true, "exclusive": false, "prefetch_count": 5, "active": true, "activity_status": "up",
            "arguments": {}, "queue": { "name": "scene.durable", "vhost": "/" },
            "channel_details": { "number": 1, "user": "guest", "peer_host": "127.0.0.1" },
        }),
    )?;
    let consumer = pick(
        read(broker, "/api/consumers/%2f")?,
        "consumer_tag",
        "scene-no-ack",
    )?;
    same("the other consumer", &consumer, &json!({ "ack_required": false }))?;
    let channels = read(broker, "/api/channels")?;
    let publishing = channels.as_array().into_iter().flatten();
    let mut publishing = publishing.filter(|channel| channel["confirm"] == true);
    same(
        "the publishing channel",
        publishing.next().context("nobody publishes with confirms")?,
        &json!({
            "transactional": false, "prefetch_count": 0, "global_prefetch_count": 0, "messages_unacknowledged": 0,
            "messages_unconfirmed": 0, "messages_uncommitted": 0, "acks_uncommitted": 0, "consumer_count": 0,
            "user": "guest", "vhost": "/", "state": "running",
            "message_stats": { "publish": 16, "confirm": 16, "drop_unroutable": 2, "return_unroutable": 1 },
        }),
    )?;
    let connection = pick(
        read(broker, "/api/connections")?,
        "user_provided_name",
        "scene-consumer",
    )?;
    same(
        "the consuming connection",
        &connection,
        &json!({
            "user": "guest", "vhost": "/", "protocol": "AMQP 0-9-1", "type": "network", "state": "running",
            "ssl": false, "auth_mechanism": "PLAIN", "channels": 3, "peer_host": "127.0.0.1", "host": "127.0.0.1",
            "port": broker.address().port(),
        }),
    )?;
    let exchange = read(broker, "/api/exchanges/%2f/scene.topic")?;
    same(
        "the exchange",
        &exchange,
        &json!({
            "name": "scene.topic", "type": "topic", "durable": true, "auto_delete": false, "internal": false,
            "arguments": { "alternate-exchange": "amq.fanout" }, "message_stats": { "publish_in": 10, "publish_out": 10 },
        }),
    )?;
    let bindings = read(broker, "/api/queues/%2f/scene.durable/bindings")?;
    let expected = [
        ("", "scene.durable", "scene.durable"),
        ("scene.topic", "order.#", "order.%23"),
    ];
    for (source, key, properties_key) in expected {
        let binding = pick(bindings.clone(), "source", source)?;
        let expected = json!({
            "vhost": "/", "destination": "scene.durable", "destination_type": "queue", "routing_key": key,
            "arguments": {}, "properties_key": properties_key,
        });
        same("a binding", &binding, &expected)?;
    }
    let binding = pick(read(broker, "/api/bindings")?, "destination_type", "exchange")?;
    let expected = json!({ "source": "scene.topic", "destination": "amq.direct", "routing_key": "all" });
    same("the binding of exchanges", &binding, &expected)?;
    same(
        "the overview",
        &read(broker, "/api/overview")?,
        &json!({
            "object_totals": { "connections": 2, "channels": 4, "consumers": 2, "queues": 2 },
            "queue_totals": { "messages": 7, "messages_ready": 2, "messages_unacknowledged": 5 },
            "message_stats": {
                "publish": 16, "confirm": 16, "drop_unroutable": 2, "return_unroutable": 1, "ack": 2, "deliver_get": 11,
            },
        }),
    )?;
    let whoami = json!({ "name": "guest", "tags": ["administrator"] });
    same("whoami", &read(broker, "/api/whoami")?, &whoami)?;
    let health = read(broker, "/api/health/checks/alarms")?;
    same("the health", &health, &json!({ "status": "ok" }))
}

/// What is asked of lists, and what is seen then.
fn views(broker: &Broker) -> anyhow::Result<()> {
    let (durable, transient) = (
        json!({ "name": "scene.durable" }),
        json!({ "name": "scene.transient" }),
    );
    let page = |total: u64, filtered: u64, page: u64, size: u64, pages: u64, items: &[&Value]| {
        json!({
            "total_count": total, "filtered_count": filtered, "item_count": items.len(), "page": page,
            "page_size": size, "page_count": pages, "items": items,
        })
    };
    let expected = [
        ("/api/queues?columns=name", json!([durable, transient])),
        (
            "/api/queues?columns=name&sort=name&sort_reverse=true",
            json!([transient, durable]),
        ),
        (
            "/api/queues/%2f?columns=name&sort=message_stats.publish",
            json!([transient, durable]),
        ),
        (
            "/api/queues?columns=name&sort=messages",
            json!([transient, durable]),
        ),
        (
            "/api/queues?columns=name&sort=messages_ready&sort_reverse=true",
            json!([durable, transient]),
        ),
        (
            "/api/queues/%2f/scene.durable?columns=name,message_stats.publish",
            json!({ "name": "scene.durable", "message_stats": { "publish": 10 } }),
        ),
        (
            "/api/queues?page=1&columns=name&pagination=true",
            page(2, 2, 1, 100, 1, &[&durable, &transient]),
        ),
        (
            "/api/queues?page=2&page_size=1&columns=name",
            page(2, 2, 2, 1, 2, &[&transient]),
        ),
        (
            "/api/queues?page=1&page_size=9&name=TRANS&columns=name",
            page(2, 1, 1, 9, 1, &[&transient]),
        ),
        (
            "/api/queues?page=1&page_size=9&name=%5Escene.d&use_regex=true&columns=name",
            page(2, 1, 1, 9, 1, &[&durable]),
        ),
        (
            "/api/queues?page=1&page_size=9&name=nobody&columns=name",
            page(2, 0, 1, 9, 0, &[]),
        ),
        (
            "/api/vhosts?page=1&columns=name",
            page(1, 1, 1, 100, 1, &[&json!({ "name": "/" })]),
        ),
        ("/api/users?page=1&columns=name", json!([{ "name": "guest" }])),
    ];
    for (path, expected) in expected {
        let seen = read(broker, path)?;
        ensure!(seen == expected, "{path} is {seen}, not {expected}");
    }
    let refused = [
        ("/api/queues?page=0", "Invalid pagination parameters"),
        (
            "/api/queues?page=1&page_size=501",
            "Invalid pagination parameters",
        ),
        (
            "/api/queues?page=3",
            "Page out of range, page: 3 page size: 100, len: 2",
        ),
    ];
    for (path, reason) in refused {
        let answer = http::get(broker.management(), path, GUEST)?;
        let said = answer.json()?;
        let told = said["reason"].as_str().unwrap_or_default();
        ensure!(
            answer.status == 400 && told.contains(reason),
            "{path} is {} {said}, not 400 {reason}",
            answer.status
        );
    }
    Ok(())
}

/// Every field that is expected is there, with that value.
fn same(what: &str, seen: &Value, expected: &Value) -> anyhow::Result<()> {
    if let (Value::Object(seen), Value::Object(expected)) = (seen, expected)
        && !expected.is_empty()
    {
        for (name, expected) in expected {
            let seen = seen.get(name).unwrap_or(&Value::Null);
            // What has not counted yet is left out.
            let seen = if *expected == json!(0) && seen.is_null() {
                expected
            } else {
                seen
            };
            same(&format!("{what}: {name}"), seen, expected)?;
        }
        return Ok(());
    }
    // Some versions give an empty list for an empty object.
    let empty = *expected == json!({}) && *seen == json!([]);
    ensure!(empty || seen == expected, "{what} is {seen}, not {expected}");
    Ok(())
}

/// The answers whose fields are compared.
const SHAPED: &[&str] = &[
    "/api/overview",
    "/api/nodes",
    "/api/connections",
    "/api/channels",
    "/api/consumers",
    "/api/exchanges",
    "/api/exchanges/%2f/scene.topic",
    "/api/queues",
    "/api/queues/%2f/scene.durable",
    "/api/bindings",
    "/api/vhosts",
    "/api/users",
    "/api/permissions",
    "/api/policies",
    "/api/operator-policies",
    "/api/whoami",
    "/api/overview?lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5",
    "/api/overview?disable_stats=true",
    "/api/queues/%2f/scene.durable?lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5",
    "/api/queues?disable_stats=true",
    "/api/queues?disable_stats=true&enable_queue_totals=true",
    "/api/connections?data_rates_age=60&data_rates_incr=5",
    "/api/channels?msg_rates_age=60&msg_rates_incr=5",
    "/api/exchanges/%2f/scene.topic?msg_rates_age=60&msg_rates_incr=5",
    "/api/vhosts?lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5&data_rates_age=60&data_rates_incr=5",
    "/api/nodes?node_stats_age=60&node_stats_incr=5",
];

/// What RabbitMQ has nothing of: `path field`, and whatever lies within it.
const OURS: &[&str] = &[
    "/api/channels [].message_stats.publish_not_mandatory",
    "/api/overview message_stats.publish_not_mandatory",
    "/api/exchanges [].message_stats.drop_unroutable",
    "/api/exchanges [].message_stats.return_unroutable",
    "/api/exchanges/%2f/scene.topic message_stats.drop_unroutable",
    "/api/exchanges/%2f/scene.topic message_stats.return_unroutable",
    "/api/queues [].message_balance",
    "/api/queues [].message_bytes_dlx",
    "/api/queues [].messages_dlx",
    "/api/queues/%2f/scene.durable message_balance",
    "/api/queues/%2f/scene.durable message_bytes_dlx",
    "/api/queues/%2f/scene.durable messages_dlx",
    "/api/vhosts [].unroutable",
    "/api/queues [].messages_delayed",
    "/api/queues [].messages_retained",
    "/api/queues [].message_bytes_retained",
    "/api/queues [].messages_displaced",
    "/api/queues [].no_ack_guard",
    "/api/queues [].consumers_no_ack",
    "/api/queues/%2f/scene.durable messages_retained",
    "/api/queues/%2f/scene.durable message_bytes_retained",
    "/api/queues/%2f/scene.durable messages_displaced",
    "/api/queues/%2f/scene.durable no_ack_guard",
    "/api/queues/%2f/scene.durable consumers_no_ack",
    "/api/overview no_ack",
    "/api/queues [].messages_parked",
    "/api/queues [].message_bytes_parked",
    "/api/queues/%2f/scene.durable messages_delayed",
    "/api/queues/%2f/scene.durable messages_parked",
    "/api/queues/%2f/scene.durable message_bytes_parked",
    "/api/queues [].oldest_unsettled_seconds",
    "/api/queues [].consumer_timeout_seconds",
    "/api/queues/%2f/scene.durable oldest_unsettled_seconds",
    "/api/queues/%2f/scene.durable consumer_timeout_seconds",
    "/api/consumers [].consumer",
    "/api/consumers [].messages_unacknowledged",
    "/api/consumers [].messages_released",
    "/api/consumers [].oldest_unsettled_seconds",
    "/api/consumers [].message_stats",
    "/api/queues/%2f/scene.durable consumer_details[].consumer",
    "/api/queues/%2f/scene.durable consumer_details[].messages_unacknowledged",
    "/api/queues/%2f/scene.durable consumer_details[].messages_released",
    "/api/queues/%2f/scene.durable consumer_details[].oldest_unsettled_seconds",
    "/api/queues/%2f/scene.durable consumer_details[].message_stats",
    // Later versions have it.
    "/api/whoami is_internal_user",
    "/api/vhosts [].metadata.default_queue_type",
];

/// A path with parameters has what the path has without.
fn is_ours(path: &str, field: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let field = format!("{path} {field}");
    OURS.iter().any(|ours| {
        let rest = field.strip_prefix(ours);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// What has the fields of users, not of brokers.
const OPAQUE: &[&str] = &["arguments", "client_properties", "cluster_state"];

/// JSON types by field, by path; several types are told apart by a bar.
type Shapes = BTreeMap<String, BTreeMap<String, String>>;

fn shapes(broker: &Broker) -> anyhow::Result<()> {
    let file = source("management/shapes.json");
    let mut seen = Shapes::new();
    for path in SHAPED {
        flatten(
            "",
            &read(broker, path)?,
            seen.entry((*path).to_owned()).or_default(),
        );
    }
    if is_rabbitmq() && std::env::var_os("COMPAT_RECORD").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&seen)? + "\n")?;
    }
    let text = std::fs::read_to_string(&file).context("compat/management/shapes.json")?;
    let known: Shapes = serde_json::from_str(&text)?;
    let mut wrong = Vec::new();
    for (path, fields) in &seen {
        for (field, types) in fields {
            if is_ours(path, field) {
                continue;
            }
            match known.get(path).and_then(|known| known.get(field)) {
                // A field may be null where the other broker has nothing either.
                Some(known) if types.split('|').all(|name| has(known, name) || name == "null") => {}
                Some(known) => wrong.push(format!("{path} {field}: {types}, not {known}")),
                // What a broker of another version has more is no harm to anybody.
                None if is_rabbitmq() => {}
                None => wrong.push(format!("{path} {field}: RabbitMQ has no such field")),
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("{}", wrong.join("\n"))
    }
}

/// Whether a type is among some.
fn has(types: &str, name: &str) -> bool {
    types.split('|').any(|known| known == name)
}

fn flatten(field: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = into.entry(field.to_owned()).or_default();
    if types.is_empty() {
        name.clone_into(types);
    } else if !has(types, name) {
        let mut all: Vec<&str> = types.split('|').chain([name]).collect();
        all.sort_unstable();
        *types = all.join("|");
    }
    match value {
        Value::Array(values) => values
            .iter()
            .for_each(|value| flatten(&format!("{field}[]"), value, into)),
        Value::Object(fields) if !OPAQUE.iter().any(|opaque| field.ends_with(opaque)) => {
            for (name, value) in fields {
                let dot = if field.is_empty() { "" } else { "." };
                flatten(&format!("{field}{dot}{name}"), value, into);
            }
        }
        _ => {}
    }
}

/// Status and JSON of what is not answered.
fn refusals(broker: &Broker) -> anyhow::Result<()> {
    let not_found = json!({ "error": "Object Not Found", "reason": "Not Found" });
    let wrong = json!({ "error": "not_authorized", "reason": "Login failed" });
    let check = |method: &str, path: &str, login: &str, status: u16, body: Option<&Value>| {
        let answer = http::request(broker.management(), method, path, login)?;
        ensure!(answer.status == status, "{method} {path}: {}", answer.status);
        if let Some(body) = body {
            let seen = answer.json()?;
            ensure!(seen == *body, "{method} {path}: {seen}");
        }
        if status == 401 {
            let head = answer.head.to_ascii_lowercase();
            ensure!(
                head.contains("www-authenticate: basic"),
                "{method} {path}: {head}"
            );
        }
        Ok(())
    };
    check("GET", "/api/nope", GUEST, 404, Some(&not_found))?;
    check("GET", "/api/queues/nope", GUEST, 404, Some(&not_found))?;
    check("GET", "/api/queues/%2f/nope", GUEST, 404, Some(&not_found))?;
    check("GET", "/api/exchanges/%2f/nope", GUEST, 404, Some(&not_found))?;
    check("GET", "/api/connections/nope", GUEST, 404, Some(&not_found))?;
    check("GET", "/api/overview", "guest:wrong", 401, Some(&wrong))?;
    check("GET", "/api/overview", "nobody:guest", 401, Some(&wrong))?;
    check("GET", "/api/overview", "", 401, None)?;
    check("DELETE", "/api/overview", GUEST, 405, None)
}
