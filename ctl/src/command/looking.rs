//! `peek` and `find`: messages wherever they are, without touching them. Paths of Everack's own, which RabbitMQ has not.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use everack_api_client::{Failure, escaped, path};
use serde_json::{Value, json};

use super::exit::Misused;
use super::filter::Filter;
use super::resource::{Column, Resource, column};
use super::{Context, Exit};
use crate::output::cell::Kind;
use crate::output::entries;

/// Where a message of a queue can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Place {
    /// Waiting for a consumer.
    Ready,
    /// With a consumer that has not settled it yet.
    Unsettled,
    /// Come back, and waiting for the next attempt.
    Delayed,
    /// On its way to a dead-letter target.
    Dead,
    /// Set aside, because it failed too often, was rejected, expired or found no room.
    Parked,
    /// Handed to a consumer that does not acknowledge, and kept for a while.
    Retained,
}

/// Which part of a list.
#[derive(Debug, Args)]
pub(super) struct Page {
    /// How many messages.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    count: u64,
    /// The id to begin with, as the list before has said it.
    #[arg(long, value_name = "ID")]
    first: Option<String>,
    /// How many bytes of each body are shown.
    #[arg(long, value_name = "BYTES", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=65_536))]
    truncate: u64,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Debug, Args)]
pub(super) struct Peek {
    /// The queue.
    queue: String,
    /// Where in the queue.
    #[arg(long, value_enum, default_value_t = Place::Ready)]
    state: Place,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(super) struct Find {
    /// The queues to look into [default: all of the virtual host, or of all virtual hosts, and what no queue wanted].
    #[arg(value_name = "QUEUE")]
    queues: Vec<String>,
    /// Where in them; may be given several times [default: everywhere].
    #[arg(long = "state", value_name = "STATE", value_enum)]
    states: Vec<Place>,
    /// To end when so many are found.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    count: u64,
    /// How many bytes of each body are shown.
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u64).range(..=65_536))]
    truncate: u64,
    #[command(flatten)]
    filter: Filter,
}

const MESSAGES: &[Column] = &[
    column("id", "id", Kind::Count),
    column("reason", "reason", Kind::Text),
    column("until", "retained_until", Kind::Time),
    column("failures", "failures", Kind::Count),
    column("exchange", "exchange", Kind::Text),
    column("routing key", "routing_key", Kind::Text),
    column("message id", "properties.message_id", Kind::Text),
    column("size", "payload_bytes", Kind::Bytes),
    column("body", "payload", Kind::Text),
];

/// What somebody holds: who, and for how long.
const HELD: &[Column] = &[
    column("id", "id", Kind::Count),
    column("delivery", "delivery", Kind::Text),
    column("held by", "held_by.consumer_tag", Kind::Text),
    column("for", "held_seconds", Kind::Age),
    column("failures", "failures", Kind::Count),
    column("routing key", "routing_key", Kind::Text),
    column("message id", "properties.message_id", Kind::Text),
    column("size", "payload_bytes", Kind::Bytes),
    column("body", "payload", Kind::Text),
];

const FOUND: &[Column] = &[
    column("vhost", "vhost", Kind::Text),
    column("queue", "queue", Kind::Text),
    column("state", "state", Kind::Text),
    column("id", "id", Kind::Count),
    column("routing key", "routing_key", Kind::Text),
    column("message id", "properties.message_id", Kind::Text),
    column("size", "payload_bytes", Kind::Bytes),
    column("body", "payload", Kind::Text),
];

impl Place {
    /// As the API calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unsettled => "unsettled",
            Self::Delayed => "delayed",
            Self::Dead => "dead",
            Self::Parked => "parked",
            Self::Retained => "retained",
        }
    }
}

impl Peek {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let (vhost, state) = (context.vhost(), self.state.name());
        let path = path(&["everack", "queues", vhost, &self.queue, "messages"]);
        let about = format!(
            "cannot look at what is {state} in queue {} of vhost {vhost}",
            self.queue
        );
        let columns = if self.state == Place::Unsettled {
            HELD
        } else {
            MESSAGES
        };
        let path = format!("{path}?state={state}");
        self.page.show_as(context, columns, &path, &about)
    }
}

impl Page {
    /// Prints a page of a list; `path` goes as far as its first parameter.
    pub(super) fn show(&self, context: &Context, path: &str, about: &str) -> anyhow::Result<Exit> {
        self.show_as(context, MESSAGES, path, about)
    }

    fn show_as(
        &self,
        context: &Context,
        columns: &[Column],
        path: &str,
        about: &str,
    ) -> anyhow::Result<Exit> {
        let path = format!(
            "{path}&count={}&truncate={}{}",
            self.count,
            self.truncate,
            self.filter.query()
        );
        let path = continued(&path, self.first.as_deref());
        let answer = context.api.get(&path).with_context(|| about.to_owned())?;
        let shown = context.show(&answer, entries(&answer["messages"]), columns)?;
        if let Some(next) = cursor(&answer["next"]).filter(|_| !context.json) {
            eprintln!("there may be more: --first {next}");
        }
        Ok(shown)
    }
}

/// `next` of an answer as `first` of the next question: a number, or a text.
pub(super) fn cursor(next: &Value) -> Option<String> {
    match next {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn continued(path: &str, first: Option<&str>) -> String {
    let first = first.map(|first| format!("&first={}", escaped(first)));
    format!("{path}{}", first.unwrap_or_default())
}

/// Somewhere to look: whose messages they are, and where the API lists them.
struct Spot {
    vhost: String,
    queue: String,
    state: &'static str,
    path: String,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    messages: Vec<Value>,
    looked_at: u64,
    /// Whether there may be more.
    more: bool,
}

impl Find {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        if self.filter.is_open() {
            return Err(Misused(
                "say what to find: --text, --message-id, --correlation-id, --routing-key, --exchange or --header; `peek` shows what is there".to_owned(),
            )
            .into());
        }
        let mut found = Found::default();
        for spot in self.spots(context)? {
            if found.messages.len() as u64 >= self.count {
                found.more = true;
                break;
            }
            self.look(context, &spot, &mut found)?;
        }
        let Found {
            messages,
            looked_at,
            more,
        } = found;
        let answer = json!({ "messages": messages, "looked_at": looked_at, "more": more });
        let shown = context.show(&answer, &messages, FOUND)?;
        if !context.json {
            let more = if more {
                "; there may be more: --count says how many to find"
            } else {
                ""
            };
            eprintln!("{} found, {looked_at} messages looked at{more}", messages.len());
        }
        Ok(shown)
    }

    /// Everywhere that it has to look.
    fn spots(&self, context: &Context) -> anyhow::Result<Vec<Spot>> {
        let states = if self.states.is_empty() {
            Place::value_variants()
        } else {
            &self.states
        };
        let mut spots = Vec::new();
        let mut queue = |vhost: &str, queue: &str| {
            let path = path(&["everack", "queues", vhost, queue, "messages"]);
            spots.extend(states.iter().map(|state| Spot {
                vhost: vhost.to_owned(),
                queue: queue.to_owned(),
                state: state.name(),
                path: format!("{path}?state={}", state.name()),
            }));
        };
        for name in &self.queues {
            queue(context.vhost(), name);
        }
        if !self.queues.is_empty() {
            return Ok(spots);
        }
        let vhost = context.vhost.as_deref();
        let queues = context
            .api
            .get(&(Resource::Queues.list(vhost) + "?columns=vhost,name"));
        for row in entries(&queues.context("cannot list queues")?) {
            queue(
                row["vhost"].as_str().unwrap_or_default(),
                row["name"].as_str().unwrap_or_default(),
            );
        }
        if self.states.is_empty() {
            spots.extend(unroutable(context)?);
        }
        Ok(spots)
    }

    /// Goes through one list to its end, or until enough is found.
    fn look(&self, context: &Context, spot: &Spot, found: &mut Found) -> anyhow::Result<()> {
        let mut first = None;
        loop {
            let left = self.count - found.messages.len() as u64;
            let path = format!(
                "{}&count={}&truncate={}{}",
                spot.path,
                left.min(1000),
                self.truncate,
                self.filter.query()
            );
            let answer = match context.api.get(&continued(&path, first.as_deref())) {
                // Unless it was named: what is gone, or not for us to read, is passed over.
                Err(Failure::Refused { status, .. })
                    if self.queues.is_empty() && matches!(status.as_u16(), 401 | 403 | 404) =>
                {
                    return Ok(());
                }
                answer => answer
                    .with_context(|| format!("cannot search queue {} of vhost {}", spot.queue, spot.vhost))?,
            };
            found.looked_at += answer["looked_at"].as_u64().unwrap_or_default();
            let whose = json!({ "vhost": spot.vhost, "queue": spot.queue, "state": spot.state });
            for message in entries(&answer["messages"]) {
                let mut message = message.clone();
                if let (Some(message), Some(whose)) = (message.as_object_mut(), whose.as_object()) {
                    message.extend(whose.clone());
                }
                found.messages.push(message);
            }
            first = cursor(&answer["next"]);
            let enough = found.messages.len() as u64 >= self.count;
            if first.is_none() || enough {
                found.more |= first.is_some();
                return Ok(());
            }
        }
    }
}

/// What no queue wanted, of each virtual host that is meant.
fn unroutable(context: &Context) -> anyhow::Result<Vec<Spot>> {
    let names = match &context.vhost {
        Some(vhost) => vec![vhost.clone()],
        None => {
            let vhosts = context
                .api
                .get("/api/vhosts?columns=name")
                .context("cannot list vhosts")?;
            entries(&vhosts)
                .iter()
                .filter_map(|vhost| Some(vhost["name"].as_str()?.to_owned()))
                .collect()
        }
    };
    let spot = |vhost: String| Spot {
        path: path(&["everack", "vhosts", &vhost, "unroutable"]) + "?",
        vhost,
        queue: String::new(),
        state: "unroutable",
    };
    Ok(names.into_iter().map(spot).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_where_it_ended() {
        let check = |next: Value, expected: &str| {
            assert_eq!(continued("/p?", cursor(&next).as_deref()), expected, "{next}");
        };
        check(json!(7), "/p?&first=7");
        check(json!("65536-9"), "/p?&first=65536-9");
        check(Value::Null, "/p?");
    }
}
