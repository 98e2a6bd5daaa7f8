//! `publish` and `get`: one message in, a few out. For looks and tests; a service uses AMQP.

use std::io::Read as _;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use clap::{Args, ValueEnum};
use everack_api_client::path;
use serde_json::{Value, json};

use super::amend::{self, Pair};
use super::resource::{Column, column};
use super::{Context, Exit};
use crate::output::cell::Kind;
use crate::output::entries;

/// Most bytes of a message that is published: what the API takes, and more.
const BODY_BYTES_MAX: u64 = 128 << 20;

#[derive(Debug, Args)]
pub(super) struct Publish {
    /// The routing key; for the default exchange the queue's name.
    routing_key: String,
    /// The body; `-` for standard input.
    #[arg(default_value = "")]
    body: String,
    /// The exchange; the default exchange if nothing is said.
    #[arg(long, value_name = "NAME", default_value = "")]
    exchange: String,
    /// A property, as `content_type=text/plain`; may be given several times.
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = Pair::parse)]
    properties: Vec<Pair>,
    /// A header, as `attempt=1`; may be given several times.
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = Pair::parse)]
    headers: Vec<Pair>,
    /// Do not mark it as persistent.
    #[arg(long)]
    transient: bool,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The queue.
    queue: String,
    /// At most how many messages.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    count: u64,
    /// What becomes of them.
    #[arg(long, value_enum, default_value_t = After::Requeue)]
    then: After,
    /// How many bytes of each body are shown.
    #[arg(long, value_name = "BYTES")]
    truncate: Option<u64>,
}

/// What becomes of messages that were gotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum After {
    /// They go back to the queue, flagged redelivered.
    Requeue,
    /// They are taken from the queue.
    Ack,
    /// They are rejected, and put back.
    RejectRequeue,
    /// They are rejected: dead-lettered, or gone.
    Reject,
}

impl After {
    /// RabbitMQ's word for it.
    fn ack_mode(self) -> &'static str {
        match self {
            Self::Requeue => "ack_requeue_true",
            Self::Ack => "ack_requeue_false",
            Self::RejectRequeue => "reject_requeue_true",
            Self::Reject => "reject_requeue_false",
        }
    }

    fn takes_away(self) -> bool {
        matches!(self, Self::Ack | Self::Reject)
    }
}

const MESSAGES: &[Column] = &[
    column("exchange", "exchange", Kind::Text),
    column("routing key", "routing_key", Kind::Text),
    column("redelivered", "redelivered", Kind::Text),
    column("properties", "properties", Kind::Text),
    column("size", "payload_bytes", Kind::Bytes),
    column("body", "payload", Kind::Text),
];

impl Publish {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let bytes = if self.body == "-" {
            read_input()?
        } else {
            self.body.clone().into_bytes()
        };
        let exchange = if self.exchange.is_empty() {
            "amq.default"
        } else {
            &self.exchange
        };
        let path = path(&["exchanges", context.vhost(), exchange, "publish"]);
        let about = format!("cannot publish to exchange {exchange}");
        let answer = context
            .api
            .post(&path, &self.message(&bytes))
            .context(about)?
            .body;
        let routed = answer["routed"].as_bool().unwrap_or(false);
        let sentence = if routed {
            "published"
        } else {
            "published, but no queue wanted it"
        };
        context.say(sentence, &answer)?;
        Ok(if routed { Exit::Done } else { Exit::NotFound })
    }

    fn message(self, bytes: &[u8]) -> Value {
        let mut properties = amend::object(self.properties);
        if !self.headers.is_empty() {
            properties.insert("headers".to_owned(), Value::Object(amend::object(self.headers)));
        }
        let mode = if self.transient { 1 } else { 2 };
        properties.entry("delivery_mode").or_insert(json!(mode));
        let (payload, encoding) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), "string"),
            Err(_) => (base64::engine::general_purpose::STANDARD.encode(bytes), "base64"),
        };
        json!({
            "routing_key": self.routing_key,
            "properties": properties,
            "payload": payload,
            "payload_encoding": encoding,
        })
    }
}

fn read_input() -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut input = std::io::stdin().lock().take(BODY_BYTES_MAX + 1);
    input
        .read_to_end(&mut bytes)
        .context("cannot read the body from standard input")?;
    ensure!(
        bytes.len() as u64 <= BODY_BYTES_MAX,
        "the body has more than {BODY_BYTES_MAX} bytes"
    );
    Ok(bytes)
}

impl Get {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let vhost = context.vhost();
        let what = format!("queue {} in vhost {vhost}", self.queue);
        if self.then.takes_away() {
            context.confirm(&format!("take up to {} messages out of {what}", self.count))?;
        }
        let mut body = json!({ "count": self.count, "ackmode": self.then.ack_mode(), "encoding": "auto" });
        if let Some(bytes) = self.truncate {
            body["truncate"] = json!(bytes);
        }
        let path = path(&["queues", vhost, &self.queue, "get"]);
        let answer = context
            .api
            .post(&path, &body)
            .with_context(|| format!("cannot get from {what}"))?
            .body;
        context.show(&answer, entries(&answer), MESSAGES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_as_the_api_takes_it() {
        let publish = |properties: &[&str], headers: &[&str], transient| Publish {
            routing_key: "k".into(),
            body: String::new(),
            exchange: String::new(),
            properties: properties.iter().map(|pair| Pair::parse(pair).unwrap()).collect(),
            headers: headers.iter().map(|pair| Pair::parse(pair).unwrap()).collect(),
            transient,
        };
        let check = |publish: Publish, bytes: &[u8], expected: Value| {
            assert_eq!(publish.message(bytes), expected);
        };
        check(
            publish(&["message_id=7a"], &["n=1"], false),
            b"hi",
            json!({"routing_key": "k", "payload": "hi", "payload_encoding": "string",
                   "properties": {"message_id": "7a", "headers": {"n": 1}, "delivery_mode": 2}}),
        );
        check(
            publish(&[], &[], true),
            b"\xff",
            json!({"routing_key": "k", "payload": "/w==", "payload_encoding": "base64",
                   "properties": {"delivery_mode": 1}}),
        );
    }
}
