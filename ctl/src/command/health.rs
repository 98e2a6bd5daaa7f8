//! `health`, `status`, `whoami`: how the broker is.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use everack_api_client::{Failure, path};
use serde_json::{Value, json};

use super::{Context, Exit};
use crate::output::cell::{Kind, safe, text};
use crate::output::{entries, field, print, print_json};

#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(subcommand)]
    check: Option<Check>,
}

/// What can be checked; RabbitMQ's checks.
#[derive(Debug, Clone, Subcommand)]
enum Check {
    /// Check that no alarm stands anywhere: memory, disk. What is checked if nothing is said.
    Alarms,
    /// Check that no alarm stands on this node.
    LocalAlarms,
    /// Check that all virtual hosts are up.
    VirtualHosts,
    /// Check that somebody listens on a port.
    PortListener {
        /// The port.
        port: u16,
    },
    /// Check that somebody listens for a protocol, such as `amqp`.
    ProtocolListener {
        /// The protocol.
        protocol: String,
    },
    /// Check that no certificate expires soon.
    CertificateExpiration {
        /// Within how many.
        within: u32,
        /// Of what: `days`, `weeks`, `months`, `years`.
        #[arg(default_value = "days")]
        unit: String,
    },
    /// Check that the queues would survive the end of this node.
    NodeIsQuorumCritical,
}

impl Check {
    fn path(&self) -> String {
        let checks = |rest: &[&str]| path(&[&["health", "checks"], rest].concat());
        match self {
            Self::Alarms => checks(&["alarms"]),
            Self::LocalAlarms => checks(&["local-alarms"]),
            Self::VirtualHosts => checks(&["virtual-hosts"]),
            Self::PortListener { port } => checks(&["port-listener", &port.to_string()]),
            Self::ProtocolListener { protocol } => checks(&["protocol-listener", protocol]),
            Self::CertificateExpiration { within, unit } => {
                checks(&["certificate-expiration", &within.to_string(), unit])
            }
            Self::NodeIsQuorumCritical => checks(&["node-is-quorum-critical"]),
        }
    }
}

impl Health {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let check = self.check.unwrap_or(Check::Alarms);
        match context.api.get(&check.path()) {
            Ok(answer) => context.say("ok", &answer),
            Err(Failure::Refused { status, reason, body }) if status.as_u16() == 503 => {
                let details = unwell(&reason, &body);
                context.say(&details, &body)?;
                Ok(Exit::Unwell)
            }
            Err(failure) => Err(failure).context("cannot check the broker's health"),
        }
    }
}

/// Why a check failed, on one line.
fn unwell(reason: &str, body: &Value) -> String {
    let alarms = entries(&body["alarms"]);
    let alarm = |alarm: &Value| {
        let of = |name: &str| alarm[name].as_str().unwrap_or("?").to_owned();
        format!("{} on {}", of("resource"), of("node"))
    };
    let alarms: Vec<String> = alarms.iter().map(alarm).collect();
    match alarms.is_empty() {
        true => format!("failed: {reason}"),
        false => format!("failed: {reason}: {}", alarms.join(", ")),
    }
}

/// As whom the broker knows us.
pub(super) fn whoami(context: &Context) -> anyhow::Result<Exit> {
    let answer = context.api.get("/api/whoami").context("cannot ask who we are")?;
    let tags = text(field(&answer, "tags"), Kind::Text);
    let name = answer["name"].as_str().unwrap_or_default();
    context.say(
        &format!("{name} [{tags}] at {}", context.api.target().place),
        &answer,
    )
}

/// Who the broker is, and how it stands.
pub(super) fn status(context: &Context) -> anyhow::Result<Exit> {
    let about = || format!("cannot read the status of {}", context.api.target().place);
    let overview = context.api.get("/api/overview").with_context(about)?;
    // Only who may see everything sees the nodes.
    let nodes = context.api.get("/api/nodes").unwrap_or_else(|_| json!([]));
    if context.json {
        print_json(&json!({ "overview": overview, "nodes": nodes }))?;
    } else {
        print(&summary(&overview, &nodes))?;
    }
    Ok(Exit::Done)
}

/// The page for people.
fn summary(overview: &Value, nodes: &Value) -> String {
    let of = |path: &str, kind: Kind| text(field(overview, path), kind);
    let mut lines = Vec::new();
    let product = match of("product_name", Kind::Text) {
        name if name.is_empty() => format!("RabbitMQ {}", of("rabbitmq_version", Kind::Text)),
        name => format!("{name} {}", of("product_version", Kind::Text)),
    };
    lines.push(("broker", product));
    lines.push(("node", of("node", Kind::Text)));
    let message = |what: &str| of(&format!("queue_totals.{what}"), Kind::Count);
    lines.push((
        "messages",
        format!(
            "{} ({} ready, {} unsettled)",
            message("messages"),
            message("messages_ready"),
            message("messages_unacknowledged")
        ),
    ));
    let objects = ["connections", "channels", "consumers", "exchanges", "queues"];
    let objects = objects.map(|what| format!("{} {what}", of(&format!("object_totals.{what}"), Kind::Count)));
    lines.push(("there are", objects.join(", ")));
    let rate = |what: &str| of(&format!("message_stats.{what}_details.rate"), Kind::Rate);
    let rates = [("publish", "in"), ("deliver_get", "out"), ("ack", "settled")];
    let rates = rates.iter().filter(|(field, _)| !rate(field).is_empty());
    let rates: Vec<String> = rates
        .map(|(field, word)| format!("{} {word}", rate(field)))
        .collect();
    if !rates.is_empty() {
        lines.push(("in a second", rates.join(", ")));
    }
    for node in entries(nodes) {
        lines.extend(node_lines(node));
    }
    let line = |(name, value): &(&str, String)| format!("{name:<12} {}\n", safe(value));
    lines.iter().map(line).collect()
}

fn node_lines(node: &Value) -> Vec<(&'static str, String)> {
    let of = |name: &str, kind: Kind| text(node.get(name), kind);
    let alarm = |name: &str| {
        if node[name] == true {
            ", ALARM: publishers are blocked"
        } else {
            ""
        }
    };
    let used = |used: &str, limit: &str| format!("{} of {}", of(used, Kind::Bytes), of(limit, Kind::Bytes));
    vec![
        (
            "memory",
            format!("{}{}", used("mem_used", "mem_limit"), alarm("mem_alarm")),
        ),
        (
            "disk",
            format!(
                "{} free, at least {} wanted{}",
                of("disk_free", Kind::Bytes),
                of("disk_free_limit", Kind::Bytes),
                alarm("disk_free_alarm")
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_for_people() {
        let overview = json!({
            "product_name": "Everack", "product_version": "0.1.0", "rabbitmq_version": "3.13.7", "node": "everack@h",
            "queue_totals": {"messages": 5, "messages_ready": 3, "messages_unacknowledged": 2},
            "object_totals": {"connections": 1, "channels": 2, "consumers": 3, "exchanges": 7, "queues": 4},
            "message_stats": {"publish": 9, "publish_details": {"rate": 1.5}},
        });
        let nodes = json!([{"mem_used": 1024, "mem_limit": 2048, "mem_alarm": true,
                            "disk_free": 4096, "disk_free_limit": 1024, "disk_free_alarm": false}]);
        let expected = "\
broker       Everack 0.1.0
node         everack@h
messages     5 (3 ready, 2 unsettled)
there are    1 connections, 2 channels, 3 consumers, 7 exchanges, 4 queues
in a second  1.5 in
memory       1.00 KiB of 2.00 KiB, ALARM: publishers are blocked
disk         4.00 KiB free, at least 1.00 KiB wanted
";
        assert_eq!(summary(&overview, &nodes), expected);
        assert!(
            summary(&json!({"rabbitmq_version": "3.10.8"}), &json!([]))
                .starts_with("broker       RabbitMQ 3.10.8\n")
        );
    }

    #[test]
    fn why_it_is_not_well() {
        let body = json!({"alarms": [{"resource": "disk", "node": "a@b"}]});
        assert_eq!(
            unwell("There are alarms", &body),
            "failed: There are alarms: disk on a@b"
        );
        assert_eq!(unwell("No listener", &json!({})), "failed: No listener");
    }
}
