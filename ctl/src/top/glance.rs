//! What one look at the broker has shown. What an API does not tell is left open: RabbitMQ knows less, and a user without the tag
//! `monitoring` is told less.

use everack_api_client::{Api, Failure};
use serde_json::Value;

use super::view::{Question, View};
use crate::output::cell::{plain, safe};
use crate::output::{entries, field};

/// The broker, and the rows that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Glance {
    pub(super) head: Head,
    /// What the rows are.
    pub(super) view: View,
    pub(super) rows: Vec<Value>,
    /// How many there are of them, if not all were sent.
    pub(super) total: usize,
    /// The names of the virtual hosts.
    pub(super) vhosts: Vec<String>,
}

/// The broker as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Head {
    /// Name and version.
    pub(super) product: String,
    /// Rates: what they are of, and events in a second.
    pub(super) rates: Vec<(&'static str, f64)>,
    /// Counts: of what, and how many.
    pub(super) counts: Vec<(&'static str, u64)>,
    /// Bytes in use, and how many may be.
    pub(super) memory: Option<(f64, f64)>,
    /// Bytes that are free, and with how many publishers are stopped.
    pub(super) disk: Option<(f64, f64)>,
    /// Alarms that stand.
    pub(super) alarms: Vec<&'static str>,
    /// What can make messages vanish, as it was seen.
    pub(super) risks: Vec<String>,
}

const RATES: [(&str, &str); 4] = [
    ("in", "message_stats.publish_details.rate"),
    ("out", "message_stats.deliver_get_details.rate"),
    ("ack", "message_stats.ack_details.rate"),
    ("redelivered", "message_stats.redeliver_details.rate"),
];
const COUNTS: [(&str, &str); 6] = [
    ("ready", "queue_totals.messages_ready"),
    ("unsettled", "queue_totals.messages_unacknowledged"),
    ("queues", "object_totals.queues"),
    ("consumers", "object_totals.consumers"),
    ("connections", "object_totals.connections"),
    ("channels", "object_totals.channels"),
];

impl Glance {
    /// Looks.
    pub(super) fn take(api: &Api, question: &Question) -> Result<Self, Failure> {
        let overview = api.get("/api/overview")?;
        let nodes = match api.get("/api/nodes") {
            // Only monitors are told.
            Err(Failure::Refused { .. }) => Value::Null,
            other => other?,
        };
        let vhosts = api.get("/api/vhosts?columns=name")?;
        let rows = match api.get(&question.path()) {
            // The virtual host has gone meanwhile.
            Err(failure) if failure.is_not_found() => Value::Null,
            other => other?,
        };
        Ok(Self::of(&overview, &nodes, &vhosts, rows, question.view))
    }

    /// From answers.
    pub(super) fn of(overview: &Value, nodes: &Value, vhosts: &Value, rows: Value, view: View) -> Self {
        let (rows, total) = page(rows);
        let names = entries(vhosts);
        let names = names.iter().filter_map(|vhost| vhost["name"].as_str());
        Self {
            head: Head::of(overview, nodes),
            view,
            rows,
            total,
            vhosts: names.map(str::to_owned).collect(),
        }
    }
}

/// The rows of a list, or of a page of it, and how many there are.
fn page(answer: Value) -> (Vec<Value>, usize) {
    let (rows, total) = match answer {
        Value::Array(rows) => (rows, None),
        Value::Object(mut page) => {
            let total = page.get("filtered_count").and_then(Value::as_u64);
            match page.remove("items") {
                Some(Value::Array(rows)) => (rows, total),
                _ => (Vec::new(), total),
            }
        }
        _ => (Vec::new(), None),
    };
    let total = total.map_or(rows.len(), |total| total as usize);
    (rows, total)
}

impl Head {
    fn of(overview: &Value, nodes: &Value) -> Self {
        let nodes = entries(nodes);
        let rate = |(name, path): (&'static str, &str)| (name, number(overview, path).unwrap_or(0.0));
        let count = |(name, path): (&'static str, &str)| (name, number(overview, path).unwrap_or(0.0) as u64);
        let both = |used: &str, limit: &str| Some((sum(nodes, used)?, sum(nodes, limit)?));
        let stands = |field: &str| nodes.iter().any(|node| node[field] == true);
        let alarm = |(field, name): (&str, &'static str)| stands(field).then_some(name);
        let alarms = [("mem_alarm", "memory"), ("disk_free_alarm", "disk")];
        Self {
            product: product(overview),
            rates: RATES.map(rate).to_vec(),
            counts: COUNTS.map(count).to_vec(),
            memory: both("mem_used", "mem_limit"),
            disk: both("disk_free", "disk_free_limit"),
            alarms: alarms.into_iter().filter_map(alarm).collect(),
            risks: risks(overview),
        }
    }
}

fn product(overview: &Value) -> String {
    let text = |field: &str| overview.get(field).map(plain).filter(|text| !text.is_empty());
    let name = text("product_name").unwrap_or_else(|| "RabbitMQ".to_owned());
    let version = text("product_version").or_else(|| text("rabbitmq_version"));
    safe(&format!("{name} {}", version.unwrap_or_default()))
        .trim_end()
        .to_owned()
}

/// What the overview knows of ways to lose messages.
fn risks(overview: &Value) -> Vec<String> {
    let mut risks = Vec::new();
    let rate = |path: &str| number(overview, path).unwrap_or(0.0);
    let unroutable = rate("message_stats.drop_unroutable_details.rate")
        + rate("message_stats.return_unroutable_details.rate");
    if unroutable > 0.0 {
        risks.push(format!("{unroutable:.1} unroutable/s"));
    }
    let warned = number(overview, "no_ack.warned").unwrap_or(0.0);
    if warned > 0.0 {
        risks.push(format!(
            "consumers without acknowledgement on durable queues ({warned} warnings)"
        ));
    }
    risks
}

fn number(object: &Value, path: &str) -> Option<f64> {
    field(object, path)?.as_f64()
}

fn sum(nodes: &[Value], field: &str) -> Option<f64> {
    let numbers = nodes.iter().filter_map(|node| node[field].as_f64());
    numbers.reduce(|one, other| one + other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_come_alone_or_in_pages() {
        let check = |answer: Value, rows: usize, total: usize| {
            let (seen, seen_total) = page(answer.clone());
            assert_eq!((seen.len(), seen_total), (rows, total), "{answer}");
        };
        check(json!([{}, {}]), 2, 2);
        check(
            json!({"items": [{}], "filtered_count": 7, "total_count": 9}),
            1,
            7,
        );
        check(json!({"items": 3}), 0, 0);
        check(json!("x"), 0, 0);
        check(Value::Null, 0, 0);
    }

    #[test]
    fn what_is_not_told_is_left_open() {
        let check = |overview: Value, nodes: Value, expected: Head| {
            let head = Head::of(&overview, &nodes);
            assert_eq!(head.product, expected.product);
            assert_eq!((head.memory, head.disk), (expected.memory, expected.disk));
            assert_eq!((head.alarms, head.risks), (expected.alarms, expected.risks));
        };
        check(
            json!({"rabbitmq_version": "3.10.8"}),
            Value::Null,
            Head {
                product: "RabbitMQ 3.10.8".into(),
                ..Head::default()
            },
        );
        check(
            json!({
                "product_name": "Everack", "product_version": "0.1.0", "no_ack": {"warned": 3},
                "message_stats": {"drop_unroutable_details": {"rate": 1.5}},
            }),
            json!([
                {"mem_used": 1, "mem_limit": 4, "mem_alarm": true, "disk_free": 5, "disk_free_limit": 2},
                {"mem_used": 2, "mem_limit": 4, "disk_free_alarm": false},
            ]),
            Head {
                product: "Everack 0.1.0".into(),
                memory: Some((3.0, 8.0)),
                disk: Some((5.0, 2.0)),
                alarms: vec!["memory"],
                risks: vec![
                    "1.5 unroutable/s".into(),
                    "consumers without acknowledgement on durable queues (3 warnings)".into(),
                ],
                ..Head::default()
            },
        );
    }
}
