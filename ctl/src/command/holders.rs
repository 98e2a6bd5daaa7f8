//! `holders` and `release`: who holds messages of a queue, how it gets on, and one of them taken from it. Paths of Everack's own, which
//! RabbitMQ has not.

use anyhow::Context as _;
use clap::Args;
use everack_api_client::path;
use serde_json::{Value, json};

use super::resource::{Column, column};
use super::{Context, Exit};
use crate::output::cell::Kind;
use crate::output::{entries, field};

#[derive(Debug, Args)]
pub(super) struct Holders {
    /// The queue.
    queue: String,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    /// The queue.
    queue: String,
    /// The id of the message, as `peek --state unsettled` lists it.
    id: u64,
    /// The delivery that is meant, as lists of messages name it: nothing is done if the message is with somebody else by now.
    #[arg(long, value_name = "DELIVERY")]
    delivery: Option<String>,
    /// Only say who holds it, and do nothing.
    #[arg(long, visible_alias = "dry-run")]
    preview: bool,
}

const HOLDERS: &[Column] = &[
    column("consumer", "consumer_tag", Kind::Text),
    column("kind", "kind", Kind::Text),
    column("connection", "channel_details.connection_name", Kind::Text),
    column("user", "channel_details.user", Kind::Text),
    column("unsettled", "messages_unacknowledged", Kind::Count),
    column("oldest", "oldest_unsettled_seconds", Kind::Age),
    column("out/s", "message_stats.deliver_details.rate", Kind::Rate),
    column("ack/s", "message_stats.ack_details.rate", Kind::Rate),
    column("released", "messages_released", Kind::Count),
];

impl Holders {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let vhost = context.vhost();
        let path = path(&["everack", "queues", vhost, &self.queue, "holders"]);
        let about = || {
            format!(
                "cannot list who holds messages of queue {} in vhost {vhost}",
                self.queue
            )
        };
        let answer = context.api.get(&path).with_context(about)?;
        context.show(&answer, entries(&answer), HOLDERS)
    }
}

impl Release {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self {
            queue,
            id,
            delivery,
            preview,
        } = self;
        let vhost = context.vhost();
        if !preview {
            context.confirm(&format!("take message {id} of queue {queue} from who holds it"))?;
        }
        let path = path(&[
            "everack",
            "queues",
            vhost,
            &queue,
            "messages",
            &id.to_string(),
            "release",
        ]);
        let mut body = json!({ "preview": preview });
        if let Some(delivery) = delivery {
            body["delivery"] = json!(delivery);
        }
        let about = || format!("cannot release message {id} of queue {queue} in vhost {vhost}");
        let answer = context.api.post(&path, &body).with_context(about)?.body;
        context.say(&released(&answer, id), &answer)
    }
}

/// What has become of a delivery, as a sentence.
fn released(answer: &Value, id: u64) -> String {
    let name = |holder: &Value| {
        let text = |path: &str| field(holder, path).and_then(Value::as_str).map(str::to_owned);
        let tag = text("consumer_tag").map(|tag| format!("consumer {tag}"));
        let connection = text("channel_details.connection_name").map(|name| format!("connection {name}"));
        let parts: Vec<String> = tag.into_iter().chain(connection).collect();
        if parts.is_empty() {
            "somebody who has gone".to_owned()
        } else {
            parts.join(" of ")
        }
    };
    let from = name(&answer["from"]);
    if answer["preview"] == true {
        return format!("message {id} is held by {from}");
    }
    match &answer["to"] {
        Value::Null => format!("message {id} is taken from {from}, and ready"),
        to => format!("message {id} is taken from {from}, and with {}", name(to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_delivery() {
        let check = |answer: Value, expected: &str| assert_eq!(released(&answer, 7), expected);
        let holder = json!({"consumer_tag": "a", "channel_details": {"connection_name": "c"}});
        check(
            json!({"preview": true, "from": holder}),
            "message 7 is held by consumer a of connection c",
        );
        check(
            json!({"preview": false, "from": holder, "to": null}),
            "message 7 is taken from consumer a of connection c, and ready",
        );
        check(
            json!({"preview": false, "from": {}, "to": {"consumer_tag": "b"}}),
            "message 7 is taken from somebody who has gone, and with consumer b",
        );
    }
}
