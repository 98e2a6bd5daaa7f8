//! Rates and history: the same details, in the same order, as RabbitMQ's.

use super::{SETTLED_MAX, read};
use anyhow::{Context, ensure};
use everack_compat::broker::Broker;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Log-ins are counted, by protocol.
pub(crate) fn attempts(broker: &Broker) -> anyhow::Result<()> {
    let node = read(broker, "/api/overview")?["node"].clone();
    let path = format!("/api/auth/attempts/{}", node.as_str().context("a node")?);
    let before = read(broker, &path)?;
    let after = read(broker, &path)?;
    let http = |attempts: &Value| {
        let mut all = attempts.as_array().into_iter().flatten();
        let http = all.find(|attempts| attempts["protocol"] == "http")?;
        let number = |name: &str| http[name].as_u64();
        Some((
            number("auth_attempts")?,
            number("auth_attempts_succeeded")?,
            number("auth_attempts_failed")?,
        ))
    };
    let (before, after) = (http(&before).context("none")?, http(&after).context("none")?);
    ensure!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
    ensure!(after.0 == after.1 + after.2, "{after:?}");
    let sources = read(broker, &format!("{path}/source"))?;
    ensure!(sources.is_array(), "{sources}");
    Ok(())
}

/// What is sampled, by path and by the object that holds the details; with the figures that have to be there.
fn sampled() -> [(&'static str, &'static str, &'static str, &'static [&'static str]); 7] {
    const LENGTHS: &[&str] = &["messages", "messages_ready", "messages_unacknowledged"];
    const QUEUE: &[&str] = &[
        "publish",
        "deliver",
        "deliver_no_ack",
        "deliver_get",
        "get_no_ack",
        "ack",
        "redeliver",
    ];
    const CHANNEL: &[&str] = &["publish", "confirm", "return_unroutable", "drop_unroutable"];
    const DATA: &[&str] = &["recv_oct", "send_oct"];
    [
        ("/api/overview", "/queue_totals", "lengths", LENGTHS),
        ("/api/overview", "/message_stats", "msg_rates", CHANNEL),
        (
            "/api/overview",
            "/churn_rates",
            "lengths",
            &["connection_created", "channel_created", "queue_created"],
        ),
        ("/api/queues/%2f/scene.durable", "", "lengths", LENGTHS),
        (
            "/api/queues/%2f/scene.durable",
            "/message_stats",
            "msg_rates",
            QUEUE,
        ),
        (
            "/api/exchanges/%2f/scene.topic",
            "/message_stats",
            "msg_rates",
            &["publish_in", "publish_out"],
        ),
        ("/api/connections", "/0", "data_rates", DATA),
    ]
}

/// Each figure has its rate; and samples, the newest in front, if they are asked for.
pub(crate) fn check(broker: &Broker) -> anyhow::Result<()> {
    sampled_in_the_end(broker)?;
    for (path, object, kind, names) in sampled() {
        let plain = read(broker, path)?;
        let range = |kind: &str| format!("{kind}_age=10&{kind}_incr=5");
        // RabbitMQ counts its churn among both.
        let range = match kind {
            "lengths" | "msg_rates" => range("lengths") + "&" + &range("msg_rates"),
            kind => range(kind),
        };
        let asked = read(broker, &format!("{path}?{range}"))?;
        for name in names {
            let details = |answer: &Value| answer.pointer(&format!("{object}/{name}_details")).cloned();
            let rate = details(&plain).with_context(|| format!("{path}: no {name}_details"))?;
            ensure!(
                rate["rate"].is_number() && rate.get("samples").is_none(),
                "{path} {name}: {rate}"
            );
            let history = details(&asked).unwrap_or_default();
            check_history(&history).with_context(|| format!("{path} {name}: {history}"))?;
        }
    }
    let both = read(broker, "/api/queues?lengths_age=10")?;
    let one = &both[0]["messages_details"];
    ensure!(
        one.get("samples").is_none(),
        "an age without steps is nothing: {one}"
    );
    Ok(())
}

fn check_history(history: &Value) -> anyhow::Result<()> {
    let samples = history["samples"].as_array().context("no samples")?;
    ensure!((1..=3).contains(&samples.len()), "ten seconds are three samples");
    let times: Vec<u64> = samples
        .iter()
        .filter_map(|sample| sample["timestamp"].as_u64())
        .collect();
    ensure!(times.len() == samples.len(), "every sample has its time");
    ensure!(times.iter().all(|time| time % 5_000 == 0), "whole steps");
    ensure!(
        times.windows(2).all(|pair| pair[0] == pair[1] + 5_000),
        "the newest in front"
    );
    let numbers = ["rate", "avg_rate", "avg"];
    ensure!(numbers.iter().all(|name| history[*name].is_number()), "averages");
    Ok(())
}

/// Sooner or later the newest sample is what was counted.
fn sampled_in_the_end(broker: &Broker) -> anyhow::Result<()> {
    let deadline = Instant::now() + SETTLED_MAX;
    loop {
        let overview = read(broker, "/api/overview?msg_rates_age=60&msg_rates_incr=5")?;
        let publish = &overview["message_stats"]["publish_details"];
        let newest = publish["samples"][0]["sample"].as_u64();
        if newest == Some(16) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "16 were published, but sampled: {publish}"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}
