//! Orders about messages that are set aside, that nobody wanted, that are ready, and messages that wait for their time: paths of
//! Everack's own, which RabbitMQ has not.

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use everack_api_client::path;
use serde_json::{Value, json};

use super::looking::Page;
use super::orders::{Order, Which};
use super::resource::{Column, column};
use super::{Context, Exit};
use crate::output::cell::Kind;
use crate::output::entries;

#[derive(Debug, Subcommand)]
pub(super) enum Parked {
    /// List or search the parked messages of a queue, without changing anything.
    List(QueueMessages),
    /// Put parked messages back to their places in the queue.
    Redrive(OfQueue),
    /// Take parked messages away for good, counted.
    Discard(OfQueue),
}

#[derive(Debug, Subcommand)]
pub(super) enum Retained {
    /// List or search the retained messages of a queue, without changing anything.
    List(QueueMessages),
    /// Deliver retained messages once more.
    Redeliver(OfQueue),
    /// Take retained messages away for good, counted.
    Discard(OfQueue),
}

#[derive(Debug, Subcommand)]
pub(super) enum Unroutable {
    /// List or search what no queue wanted, without changing anything.
    List(Page),
    /// Send unroutable messages once more to where they were published; what still finds no queue stays.
    Redrive(Which),
    /// Take unroutable messages away for good, counted.
    Discard(Which),
}

#[derive(Debug, Subcommand)]
pub(super) enum Delayed {
    /// List what waits in a delayed exchange, without changing anything.
    List(DelayedMessages),
    /// Call one of the waiting messages off, or all.
    CallOff(CallOff),
}

#[derive(Debug, Args)]
pub(super) struct QueueMessages {
    /// The queue.
    queue: String,
    #[command(flatten)]
    page: Page,
}

/// Messages of a queue.
#[derive(Debug, Args)]
pub(super) struct OfQueue {
    /// The queue.
    queue: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
pub(super) struct Move {
    /// The queue that they are in.
    from: String,
    /// The queue of the same virtual host that they go to.
    to: String,
    /// Which of them.
    #[arg(long, value_enum, default_value_t = Movable::Ready)]
    state: Movable,
    #[command(flatten)]
    which: Which,
}

/// What can be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Movable {
    /// What waits for a consumer.
    Ready,
    /// What is set aside.
    Parked,
}

#[derive(Debug, Args)]
pub(super) struct DelayedMessages {
    /// The exchange.
    exchange: String,
}

#[derive(Debug, Args)]
pub(super) struct CallOff {
    /// The exchange.
    exchange: String,
    /// The number of one message, as the list shows it.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    number: Option<u64>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

const DELAYED: &[Column] = &[
    column("number", "number", Kind::Count),
    column("due", "due_at", Kind::Time),
    column("exchange", "exchange", Kind::Text),
    column("routing key", "routing_key", Kind::Text),
    column("size", "payload_bytes", Kind::Bytes),
    column("message id", "properties.message_id", Kind::Text),
];

impl Parked {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(context, "parked"),
            Self::Redrive(of) => of.run(context, "parked", "redrive", "redriven"),
            Self::Discard(of) => of.run(context, "parked", "discard", "discarded"),
        }
    }
}

impl Retained {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(context, "retained"),
            Self::Redeliver(of) => of.run(context, "retained", "redeliver", "delivered again"),
            Self::Discard(of) => of.run(context, "retained", "discard", "discarded"),
        }
    }
}

impl Unroutable {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let vhost = context.vhost();
        let what = format!("what no queue wanted in vhost {vhost}");
        let (act, done, which) = match &self {
            Self::List(page) => {
                let path = path(&["everack", "vhosts", vhost, "unroutable"]) + "?";
                return page.show(context, &path, &format!("cannot list {what}"));
            }
            Self::Redrive(which) => ("redrive", "sent once more", which),
            Self::Discard(which) => ("discard", "discarded", which),
        };
        let order = Order {
            path: path(&["everack", "vhosts", vhost, "unroutable", act]),
            more: Value::Null,
            act,
            done,
            what,
        };
        order.run(context, which)
    }
}

impl QueueMessages {
    fn run(self, context: &Context, store: &str) -> anyhow::Result<Exit> {
        let vhost = context.vhost();
        let path = path(&["everack", "queues", vhost, &self.queue, store]) + "?";
        let about = format!(
            "cannot list what is {store} in queue {} of vhost {vhost}",
            self.queue
        );
        self.page.show(context, &path, &about)
    }
}

impl OfQueue {
    fn run(self, context: &Context, state: &str, act: &str, done: &str) -> anyhow::Result<Exit> {
        let vhost = context.vhost();
        // What is ready is in no store.
        let place = if state == "ready" { "messages" } else { state };
        let order = Order {
            path: path(&["everack", "queues", vhost, &self.queue, place, act]),
            more: Value::Null,
            act,
            done,
            what: format!("{state} messages of queue {} in vhost {vhost}", self.queue),
        };
        order.run(context, &self.which)
    }

    /// `discard`: what is ready.
    pub(super) fn discard(self, context: &Context) -> anyhow::Result<Exit> {
        self.run(context, "ready", "discard", "discarded")
    }
}

impl Move {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self {
            from,
            to,
            state,
            which,
        } = self;
        let vhost = context.vhost();
        let state = match state {
            Movable::Ready => "ready",
            Movable::Parked => "parked",
        };
        let order = Order {
            path: path(&["everack", "queues", vhost, &from, "messages", "move"]),
            more: json!({ "to": to, "state": state }),
            act: "move",
            done: &format!("moved to {to}"),
            what: format!("{state} messages of queue {from} in vhost {vhost}"),
        };
        order.run(context, &which)
    }
}

impl Delayed {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::List(DelayedMessages { exchange }) => {
                let path = path(&["everack", "delayed", context.vhost(), &exchange]);
                let about = || format!("cannot list what waits in exchange {exchange}");
                let answer = context.api.get(&path).with_context(about)?;
                context.show(&answer, entries(&answer["messages"]), DELAYED)
            }
            Self::CallOff(call_off) => call_off.run(context),
        }
    }
}

impl CallOff {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self { exchange, number, .. } = self;
        let vhost = context.vhost();
        let (what, path) = match number {
            Some(number) => (
                format!("message {number} of exchange {exchange}"),
                path(&["everack", "delayed", vhost, &exchange, &number.to_string()]),
            ),
            None => (
                format!("all messages that wait in exchange {exchange}"),
                path(&["everack", "delayed", vhost, &exchange]),
            ),
        };
        context.confirm(&format!("call off {what}"))?;
        let answer = context
            .api
            .delete(&path)
            .with_context(|| format!("cannot call off {what}"))?;
        let count = answer.body["messages_called_off"].as_u64().unwrap_or(1);
        context.say(
            &format!("{count} messages called off"),
            &json!({ "messages_called_off": count }),
        )
    }
}
