//! Messages that are set aside, and messages that wait for their time: paths of Everack's own, which RabbitMQ has not.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::Misused;
use super::listing::tabulated;
use super::resource::Column;
use super::{Context, Exit};
use crate::api::path;
use crate::output::cell::Kind;
use crate::output::terminal::Terminal;
use crate::output::{print, print_json};

#[derive(Debug, Subcommand)]
pub(super) enum Parked {
    /// List them, without changing anything.
    List(QueueMessages),
    /// Put them back to their places in the queue.
    Redrive(Order),
    /// Take them away for good, counted.
    Discard(Order),
}

#[derive(Debug, Subcommand)]
pub(super) enum Retained {
    /// List them, without changing anything.
    List(QueueMessages),
    /// Deliver them once more.
    Redeliver(Order),
    /// Take them away for good, counted.
    Discard(Order),
}

#[derive(Debug, Subcommand)]
pub(super) enum Unroutable {
    /// List them, without changing anything.
    List(Page),
}

#[derive(Debug, Subcommand)]
pub(super) enum Delayed {
    /// List them, without changing anything.
    List(DelayedMessages),
    /// Call one of them off, or all.
    CallOff(CallOff),
}

/// Which part of a list.
#[derive(Debug, Args)]
pub(super) struct Page {
    /// How many messages.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    count: u64,
    /// The id to begin with.
    #[arg(long, value_name = "ID")]
    first: Option<u64>,
    /// How many bytes of each body are shown.
    #[arg(long, value_name = "BYTES", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=65_536))]
    truncate: u64,
}

#[derive(Debug, Args)]
pub(super) struct QueueMessages {
    /// The queue.
    queue: String,
    #[command(flatten)]
    page: Page,
}

/// Which messages an order is about.
#[derive(Debug, Args)]
pub(super) struct Order {
    /// The queue.
    queue: String,
    /// These, by their ids, with commas between them.
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with_all = ["first", "all"])]
    ids: Vec<u64>,
    /// From this id on.
    #[arg(long, value_name = "ID", requires = "last", conflicts_with = "all")]
    first: Option<u64>,
    /// Up to this id.
    #[arg(long, value_name = "ID", requires = "first")]
    last: Option<u64>,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Only say how many they are.
    #[arg(long)]
    preview: bool,
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

const MESSAGES: &[Column] = &[
    column("id", "id", Kind::Count),
    column("reason", "reason", Kind::Text),
    column("until", "retained_until", Kind::Time),
    column("failures", "failures", Kind::Count),
    column("exchange", "exchange", Kind::Text),
    column("routing key", "routing_key", Kind::Text),
    column("size", "payload_bytes", Kind::Bytes),
    column("body", "payload", Kind::Text),
];

const DELAYED: &[Column] = &[
    column("number", "number", Kind::Count),
    column("due", "due_at", Kind::Time),
    column("exchange", "exchange", Kind::Text),
    column("routing key", "routing_key", Kind::Text),
    column("size", "payload_bytes", Kind::Bytes),
    column("message id", "properties.message_id", Kind::Text),
];

const fn column(heading: &'static str, field: &'static str, kind: Kind) -> Column {
    Column { heading, field, kind }
}

impl Parked {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(context, "parked"),
            Self::Redrive(order) => order.run(context, "parked", "redrive"),
            Self::Discard(order) => order.run(context, "parked", "discard"),
        }
    }
}

impl Retained {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(context, "retained"),
            Self::Redeliver(order) => order.run(context, "retained", "redeliver"),
            Self::Discard(order) => order.run(context, "retained", "discard"),
        }
    }
}

impl Unroutable {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self::List(page) = self;
        let vhost = context.vhost();
        let path = path(&["everack", "vhosts", vhost, "unroutable"]);
        let about = format!("cannot list what no queue wanted in vhost {vhost}");
        page.show(context, &path, &about)
    }
}

impl QueueMessages {
    fn run(self, context: &Context, store: &str) -> anyhow::Result<Exit> {
        let vhost = context.vhost();
        let path = path(&["everack", "queues", vhost, &self.queue, store]);
        let about = format!(
            "cannot list what is {store} in queue {} of vhost {vhost}",
            self.queue
        );
        self.page.show(context, &path, &about)
    }
}

impl Page {
    fn show(&self, context: &Context, path: &str, about: &str) -> anyhow::Result<Exit> {
        let first = self
            .first
            .map(|first| format!("&first={first}"))
            .unwrap_or_default();
        let path = format!("{path}?count={}&truncate={}{first}", self.count, self.truncate);
        let answer = context.api.get(&path).with_context(|| about.to_owned())?;
        show(context, &answer, MESSAGES)?;
        if let Some(next) = answer["next"].as_u64().filter(|_| !context.json) {
            eprintln!("there are more: --first {next}");
        }
        Ok(Exit::Done)
    }
}

fn show(context: &Context, answer: &Value, columns: &[Column]) -> anyhow::Result<()> {
    if context.json {
        return print_json(answer);
    }
    let messages = answer["messages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    print(&tabulated(messages, columns).render(Terminal::of_output()))
}

impl Order {
    fn run(self, context: &Context, store: &str, act: &str) -> anyhow::Result<Exit> {
        let vhost = context.vhost();
        let body = self.body()?;
        let what = format!("{store} messages of queue {} in vhost {vhost}", self.queue);
        if act == "discard" && !self.preview {
            context.confirm(&format!("discard {what}"))?;
        }
        let path = path(&["everack", "queues", vhost, &self.queue, store, act]);
        let answer = context
            .api
            .post(&path, &body)
            .with_context(|| format!("cannot {act} {what}"))?;
        context.say(&carried_out(&answer.body, act, self.preview), &answer.body)
    }

    fn body(&self) -> Result<Value, Misused> {
        let mut body = match (self.ids.as_slice(), self.first, self.last, self.all) {
            ([], Some(first), Some(last), false) => json!({ "first": first, "last": last }),
            ([], None, None, true) => json!({ "all": true }),
            (ids, None, None, false) if !ids.is_empty() => json!({ "ids": ids }),
            _ => {
                return Err(Misused(
                    "say which: --ids, --first and --last, or --all".to_owned(),
                ));
            }
        };
        body["preview"] = json!(self.preview);
        Ok(body)
    }
}

/// What became of an order, as a sentence.
fn carried_out(answer: &Value, act: &str, preview: bool) -> String {
    let number = |field: &str| answer[field].as_u64().unwrap_or_default();
    let (messages, bytes, no_room) = (number("messages"), number("bytes"), number("no_room"));
    let would = if preview { "would be " } else { "" };
    let done = match act {
        "redrive" => "redriven",
        "redeliver" => "delivered again",
        _ => "discarded",
    };
    let stayed = if no_room == 0 {
        String::new()
    } else {
        format!("; {no_room} stayed, as there is no room in the queue")
    };
    format!("{messages} messages ({bytes} bytes) {would}{done}{stayed}")
}

impl Delayed {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::List(DelayedMessages { exchange }) => {
                let path = path(&["everack", "delayed", context.vhost(), &exchange]);
                let about = || format!("cannot list what waits in exchange {exchange}");
                let answer = context.api.get(&path).with_context(about)?;
                show(context, &answer, DELAYED)?;
                Ok(Exit::Done)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn order(ids: &[u64], range: Option<(u64, u64)>, all: bool) -> Order {
        Order {
            queue: "q".into(),
            ids: ids.to_vec(),
            first: range.map(|range| range.0),
            last: range.map(|range| range.1),
            all,
            preview: false,
        }
    }

    #[test]
    fn an_order_says_which() {
        let check = |order: Order, expected: Option<Value>| assert_eq!(order.body().ok(), expected);
        check(
            order(&[1, 2], None, false),
            Some(json!({"ids": [1, 2], "preview": false})),
        );
        check(
            order(&[], Some((1, 9)), false),
            Some(json!({"first": 1, "last": 9, "preview": false})),
        );
        check(
            order(&[], None, true),
            Some(json!({"all": true, "preview": false})),
        );
        check(order(&[], None, false), None);
    }

    #[test]
    fn what_became_of_an_order() {
        let check = |answer: Value, act: &str, preview: bool, expected: &str| {
            assert_eq!(carried_out(&answer, act, preview), expected);
        };
        check(
            json!({"messages": 3, "bytes": 30, "no_room": 0}),
            "redrive",
            false,
            "3 messages (30 bytes) redriven",
        );
        check(
            json!({"messages": 3, "bytes": 30, "no_room": 1}),
            "redeliver",
            false,
            "3 messages (30 bytes) delivered again; 1 stayed, as there is no room in the queue",
        );
        check(
            json!({"messages": 3, "bytes": 30}),
            "discard",
            true,
            "3 messages (30 bytes) would be discarded",
        );
    }
}
