//! Metrics for Prometheus: RabbitMQ's by name, type and help text, and ours.
//!
//! `compat/management/metrics.json` says what RabbitMQ 3.10.8 has, with the labels of its samples. Against RabbitMQ the tests check that
//! the names are there (`COMPAT_AGAINST=rabbitmq`); against ours they check us by it.

use anyhow::{Context, bail, ensure};
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::{client, http, source};
use lapin::options::*;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use libtest_mimic::Arguments;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A name that takes escaping.
const STRANGE: &str = "a \"queue\" \\ with, é";

fn main() {
    let arguments = Arguments::from_args();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let broker = Arc::new(Broker::with(Settings {
        metrics: true,
        ..Settings::default()
    }));
    let scene = runtime.block_on(scene(&broker));
    let scene =
        scene.unwrap_or_else(|error| panic!("the scene cannot be played: {error:#}\n{}", broker.log()));
    let trial = |name: &str, act: fn(&Broker) -> anyhow::Result<()>| {
        let broker = broker.clone();
        everack_compat::trial(name, move || act(&broker))
    };
    let mut trials = vec![
        trial("metrics are RabbitMQ's by name, type and help", facts),
        trial("what RabbitMQ's overview dashboard queries is there", overview),
    ];
    if !is_rabbitmq() {
        trials.extend([
            trial("what our dashboard queries is there", dashboard),
            trial("figures add up", figures),
            trial("Prometheus' own parsers read every page", parsers),
            trial("families and vhosts narrow the detailed page", detailed),
        ]);
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(scene);
    drop(broker);
    conclusion.exit();
}

/// Ten messages with confirms, one unroutable, a consumer that has acknowledged two of five.
async fn scene(broker: &Broker) -> anyhow::Result<(Connection, Channel, lapin::Consumer)> {
    use futures_util::StreamExt as _;
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(5, BasicQosOptions::default()).await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(STRANGE.into(), durable, FieldTable::default())
        .await?;
    for key in [STRANGE; 10].into_iter().chain(["nobody"]) {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), key.into(), options, b"0123456789", properties)
            .await?
            .await?;
    }
    let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = channel
        .basic_consume(STRANGE.into(), "".into(), options, table)
        .await?;
    for _ in 0..2 {
        let delivery = consumer.next().await.context("the consumer has ended")??;
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok((connection, channel, consumer))
}

fn page(broker: &Broker, path: &str) -> anyhow::Result<Page> {
    let answer = http::get(broker.metrics(), path, "")?;
    let text = String::from_utf8(answer.body)?;
    ensure!(answer.status == 200, "{path}: {} {text}", answer.status);
    Page::read(&text)
}

/// A page, read by its lines.
#[derive(Default)]
struct Page {
    families: BTreeMap<String, Family>,
    /// The sums of their samples' values, by name.
    values: BTreeMap<String, f64>,
}

/// As a page introduces it, and as the file of facts has it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

impl Family {
    fn known(fact: &Value) -> Self {
        let text = |field: &str| fact[field].as_str().unwrap_or_default().to_owned();
        let labels = fact["labels"].as_array().into_iter().flatten();
        Self {
            kind: text("type"),
            help: text("help"),
            labels: labels
                .filter_map(|label| Some(label.as_str()?.to_owned()))
                .collect(),
        }
    }
}

impl Page {
    fn read(text: &str) -> anyhow::Result<Self> {
        let mut page = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').context("a type without a name")?;
                kind.clone_into(&mut page.families.entry(name.to_owned()).or_default().kind);
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').context("help without a name")?;
                help.clone_into(&mut page.families.entry(name.to_owned()).or_default().help);
            } else if !line.is_empty() {
                page.sample(line).with_context(|| line.to_owned())?;
            }
        }
        Ok(page)
    }

    fn sample(&mut self, line: &str) -> anyhow::Result<()> {
        let (series, value) = line.rsplit_once(' ').context("no value")?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels),
            None => (series, ""),
        };
        *self.values.entry(name.to_owned()).or_default() += value.parse::<f64>()?;
        let family = name
            .trim_end_matches("_bucket")
            .trim_end_matches("_sum")
            .trim_end_matches("_count");
        let family = if self.families.contains_key(name) {
            name
        } else {
            family
        };
        let family = self.families.get_mut(family).context("not introduced")?;
        // What is quoted may hold anything; what stands before `="` is a label's name.
        for part in labels.split("=\"").filter(|part| !part.is_empty()) {
            let name = part.rsplit([',', '{']).next().unwrap_or_default();
            if !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                family.labels.insert(name.to_owned());
            }
        }
        Ok(())
    }

    fn value(&self, name: &str) -> anyhow::Result<f64> {
        self.values
            .get(name)
            .copied()
            .with_context(|| format!("no {name}"))
    }
}

/// All families of RabbitMQ's that may be asked for one by one.
const FAMILIES: &[&str] = &[
    "connection_churn_metrics",
    "node_coarse_metrics",
    "node_metrics",
    "node_persister_metrics",
    "auth_attempt_metrics",
    "queue_coarse_metrics",
    "queue_consumer_count",
    "queue_metrics",
    "channel_metrics",
    "channel_exchange_metrics",
    "channel_queue_metrics",
    "channel_queue_exchange_metrics",
    "connection_coarse_metrics",
    "connection_metrics",
    "exchange_names",
    "exchange_bindings",
    "vhost_status",
];

fn facts(broker: &Broker) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(source("management/metrics.json"))?;
    let known: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&text)?;
    let all = FAMILIES.map_join("family=", "&");
    let mut wrong = Vec::new();
    for (path, known) in &known {
        let seen = page(broker, &format!("{path}?{all}"))?;
        let theirs = seen
            .families
            .iter()
            .filter(|(name, _)| name.starts_with("rabbitmq_"));
        for (name, family) in theirs {
            let Some(known) = known.get(name).map(Family::known) else {
                wrong.push(format!("{path}: RabbitMQ has no {name}"));
                continue;
            };
            if (&known.kind, &known.help) != (&family.kind, &family.help) {
                wrong.push(format!("{path} {name}: {family:?}, not {known:?}"));
            }
            let more = family
                .labels
                .iter()
                .filter(|label| !is_known(name, &known, label));
            wrong.extend(more.map(|label| format!("{path} {name}: RabbitMQ has no label {label}")));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("{}", wrong.join("\n"))
    }
}

/// Later versions tell by a label of who they are which page it was.
fn is_known(name: &str, known: &Family, label: &str) -> bool {
    let later = name == "rabbitmq_identity_info" && label == "rabbitmq_endpoint";
    later || known.labels.contains(label)
}

trait MapJoin {
    fn map_join(&self, before: &str, between: &str) -> String;
}

impl MapJoin for [&str] {
    fn map_join(&self, before: &str, between: &str) -> String {
        let all: Vec<String> = self.iter().map(|part| format!("{before}{part}")).collect();
        all.join(between)
    }
}

/// What the dashboard RabbitMQ-Overview of RabbitMQ 4.2 queries; but the sizes of messages, which came with 4.1 and which Everack
/// does not count.
const OVERVIEW: &[&str] = &[
    "rabbitmq_build_info",
    "rabbitmq_channels",
    "rabbitmq_channels_closed_total",
    "rabbitmq_channels_opened_total",
    "rabbitmq_connections",
    "rabbitmq_connections_closed_total",
    "rabbitmq_connections_opened_total",
    "rabbitmq_disk_space_available_bytes",
    "rabbitmq_disk_space_available_limit_bytes",
    "rabbitmq_erlang_uptime_seconds",
    "rabbitmq_global_consumers",
    "rabbitmq_global_messages_acknowledged_total",
    "rabbitmq_global_messages_confirmed_total",
    "rabbitmq_global_messages_delivered_consume_auto_ack_total",
    "rabbitmq_global_messages_delivered_consume_manual_ack_total",
    "rabbitmq_global_messages_delivered_get_auto_ack_total",
    "rabbitmq_global_messages_delivered_get_manual_ack_total",
    "rabbitmq_global_messages_delivered_total",
    "rabbitmq_global_messages_get_empty_total",
    "rabbitmq_global_messages_received_confirm_total",
    "rabbitmq_global_messages_received_total",
    "rabbitmq_global_messages_redelivered_total",
    "rabbitmq_global_messages_routed_total",
    "rabbitmq_global_messages_unroutable_dropped_total",
    "rabbitmq_global_messages_unroutable_returned_total",
    "rabbitmq_global_publishers",
    "rabbitmq_identity_info",
    "rabbitmq_process_max_fds",
    "rabbitmq_process_open_fds",
    "rabbitmq_process_resident_memory_bytes",
    "rabbitmq_queue_messages_ready",
    "rabbitmq_queue_messages_unacked",
    "rabbitmq_queues",
    "rabbitmq_queues_created_total",
    "rabbitmq_queues_declared_total",
    "rabbitmq_queues_deleted_total",
    "rabbitmq_resident_memory_limit_bytes",
];

fn overview(broker: &Broker) -> anyhow::Result<()> {
    let page = page(broker, "/metrics")?;
    OVERVIEW.iter().try_for_each(|name| page.value(name).map(drop))
}

/// Every name in a query of docs/grafana/everack.json.
fn dashboard(broker: &Broker) -> anyhow::Result<()> {
    let page = page(broker, "/metrics")?;
    let text = std::fs::read_to_string(source("../docs/grafana/everack.json"))?;
    let board: Value = serde_json::from_str(&text)?;
    let panels = board["panels"].as_array().context("no panels")?;
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let mut queries = 0;
    for target in targets {
        let query = target["expr"].as_str().context("a target without a query")?;
        let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let ours = words.filter(|word| word.starts_with("everack_") || word.starts_with("rabbitmq_"));
        for name in ours {
            page.value(name).with_context(|| query.to_owned())?;
            queries += 1;
        }
    }
    ensure!(queries > 20, "only {queries} names were found in the dashboard");
    let risks = panels.iter().any(|panel| panel["title"] == "Loss risks");
    ensure!(risks, "the dashboard has no row of loss risks");
    Ok(())
}

fn figures(broker: &Broker) -> anyhow::Result<()> {
    let page = page(broker, "/metrics")?;
    let expected = [
        ("rabbitmq_queue_messages_unacked", 5.0),
        ("rabbitmq_queue_messages_ready", 3.0),
        ("rabbitmq_queue_messages", 8.0),
        ("rabbitmq_global_messages_received_total", 11.0),
        ("rabbitmq_global_messages_confirmed_total", 11.0),
        ("rabbitmq_global_messages_acknowledged_total", 2.0),
        ("rabbitmq_global_publishers", 1.0),
        ("rabbitmq_connections", 1.0),
        ("rabbitmq_channels", 1.0),
        ("rabbitmq_queues_created_total", 1.0),
        ("rabbitmq_auth_attempts_succeeded_total", 1.0),
        ("everack_unroutable_messages", 1.0),
        ("everack_unroutable_total", 1.0),
        ("everack_publishers_unconfirmed", 0.0),
        ("everack_no_ack_consumers", 0.0),
        ("everack_messages_settled_total", 2.0),
    ];
    for (name, value) in expected {
        let seen = page.value(name)?;
        ensure!(seen == value, "{name} is {seen}, not {value}");
    }
    let sum: anyhow::Result<f64> = [
        "live",
        "settled_total",
        "dead_lettered_total",
        "moved_total",
        "discarded_total",
    ]
    .iter()
    .map(|name| page.value(&format!("everack_messages_{name}")))
    .sum();
    ensure!(
        page.value("everack_messages_accepted_total")? == sum?,
        "the balance does not add up"
    );
    ensure!(
        page.value("everack_log_sync_duration_seconds_count")? > 0.0,
        "nothing was synced"
    );
    ensure!(
        page.value("everack_log_group_jobs_sum")? > 0.0,
        "nothing was written"
    );
    Ok(())
}

fn detailed(broker: &Broker) -> anyhow::Result<()> {
    let read = |query: &str| page(broker, &format!("/metrics/detailed?{query}"));
    let one = read("family=queue_coarse_metrics")?;
    ensure!(
        one.value("rabbitmq_detailed_queue_messages")? == 8.0,
        "eight messages"
    );
    ensure!(
        !one.families.contains_key("rabbitmq_detailed_channel_consumers"),
        "not asked for"
    );
    let elsewhere = read("family=queue_coarse_metrics&vhost=elsewhere")?;
    ensure!(
        elsewhere.value("rabbitmq_detailed_queue_messages").is_err(),
        "not in that vhost"
    );
    let here = read("family=queue_coarse_metrics&vhost=%2F&vhost=elsewhere")?;
    ensure!(
        here.value("rabbitmq_detailed_queue_messages")? == 8.0,
        "eight messages"
    );
    let nothing = read("")?;
    ensure!(
        nothing.families.len() == 2,
        "who we are: {:?}",
        nothing.families.keys()
    );
    Ok(())
}

fn parsers(broker: &Broker) -> anyhow::Result<()> {
    let url = format!("http://{}", broker.metrics());
    let output = client::python("prometheus/parse.py")
        .arg(url)
        .arg(serde_json::to_string(STRANGE)?)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}
