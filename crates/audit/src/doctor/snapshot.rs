//! What was read of a broker, and words for what is not there.
//!
//! The JSON stays as it came: brokers differ in what they tell, and a check asks for a field when it needs it. A field that is
//! absent is [`Missing`]; it is never taken for zero, but for counters of `message_stats`, which RabbitMQ leaves out until
//! they have counted something.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use everack_api_client::{Api, Failure};
use serde_json::{Map, Value};

/// The paths that are read, by the name that checks use.
const PARTS: &[(&str, &str)] = &[
    ("overview", "/api/overview"),
    ("nodes", "/api/nodes"),
    ("queues", "/api/queues"),
    ("exchanges", "/api/exchanges"),
    ("bindings", "/api/bindings"),
    ("connections", "/api/connections"),
    ("channels", "/api/channels"),
    ("consumers", "/api/consumers"),
    ("users", "/api/users"),
    ("policies", "/api/policies"),
    ("whoami", "/api/whoami"),
];

/// See the module documentation.
#[derive(Debug)]
pub struct Snapshot {
    /// Where it was read.
    pub(super) url: String,
    /// Who was asked.
    pub(super) product: Product,
    /// The user that asked.
    pub(super) user: String,
    /// Whether the broker is on this machine.
    pub(super) loopback: bool,
    /// What was read, by name; or why it was not.
    parts: BTreeMap<&'static str, Result<Value, String>>,
    /// The queues a moment later.
    later: Option<Value>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) kind: Kind,
    pub(super) version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Everack,
    RabbitMq,
    LavinMq,
    Other,
}

/// What the broker does not tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing(pub(super) String);

/// One JSON object, asked for fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a> {
    /// Such as `queue`.
    kind: &'static str,
    fields: &'a Map<String, Value>,
}

impl Snapshot {
    /// Reads everything. `watch` is how long to wait before the queues are read again.
    ///
    /// # Errors
    /// The broker does not answer, or lets this user see nothing at all.
    pub(super) fn read(api: &Api, watch: Duration) -> anyhow::Result<Self> {
        let mut parts = BTreeMap::new();
        for &(name, path) in PARTS {
            let part = match api.get(path) {
                Ok(value) => Ok(value),
                Err(refused @ Failure::Refused { .. }) if name != "overview" => Err(refused.to_string()),
                Err(failure) => return Err(failure).context(format!("{}: {path}", api.target().place)),
            };
            parts.insert(name, part);
        }
        let mut later = None;
        if !watch.is_zero() {
            std::thread::sleep(watch);
            match api.get("/api/queues") {
                Ok(value) => later = Some(value),
                Err(Failure::Refused { .. }) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        let target = api.target();
        // Over a socket it is who operates the machine.
        let user = target
            .login
            .as_ref()
            .map_or_else(|| "operator".to_owned(), |login| login.user.clone());
        Ok(Self {
            url: target.place.to_string(),
            product: Product::of(&parts),
            user,
            loopback: target.place.is_loopback(),
            parts,
            later,
        })
    }

    /// One object per entry of a list.
    pub(super) fn list(&self, part: &'static str) -> Result<Vec<Object<'_>>, Missing> {
        let value = self.part(part)?;
        objects(singular(part), value).ok_or_else(|| Missing(format!("the list of {part}")))
    }

    /// The overview.
    pub(super) fn overview(&self) -> Result<Object<'_>, Missing> {
        let value = self.part("overview")?;
        let fields = value
            .as_object()
            .ok_or_else(|| Missing("the overview".to_owned()))?;
        Ok(Object {
            kind: "overview",
            fields,
        })
    }

    /// The queues a moment later; none if nobody looked twice.
    pub(super) fn later(&self) -> Vec<Object<'_>> {
        self.later
            .as_ref()
            .and_then(|value| objects("queue", value))
            .unwrap_or_default()
    }

    /// What no check can see, whatever it looks at: lists that are shorter than they should be look like lists in which all is
    /// well.
    pub(super) fn blind_spots(&self) -> Vec<String> {
        let mut spots = Vec::new();
        if !self.is_monitor().unwrap_or(true) {
            let user = &self.user;
            spots.push(format!(
                "what other users do: the user '{user}' has neither the tag monitoring nor administrator"
            ));
        }
        let Ok(overview) = self.overview() else {
            return spots;
        };
        let off = overview.text("rates_mode") == Ok("none") || overview.flag("disable_stats") == Ok(true);
        if off && self.product.kind != Kind::Everack {
            spots.push("everything that is counted: the broker keeps no statistics".to_owned());
        }
        spots
    }

    /// Whether the user sees the whole broker; none if the broker does not say.
    fn is_monitor(&self) -> Option<bool> {
        let tags = self.part("whoami").ok()?.get("tags")?;
        let opens = |tag: &str| matches!(tag.trim(), "monitoring" | "administrator");
        Some(match tags {
            Value::Array(tags) => tags.iter().filter_map(Value::as_str).any(opens),
            // Older versions give one text.
            Value::String(tags) => tags.split(',').any(opens),
            _ => return None,
        })
    }

    fn part(&self, part: &'static str) -> Result<&Value, Missing> {
        match self.parts.get(part) {
            Some(Ok(value)) => Ok(value),
            Some(Err(reason)) => Err(Missing(format!("the list of {part} ({reason})"))),
            None => Err(Missing(format!("the list of {part}"))),
        }
    }
}

/// Brokers that page their lists put them into `items`.
fn objects<'a>(kind: &'static str, value: &'a Value) -> Option<Vec<Object<'a>>> {
    let list = value.as_array().or_else(|| value.get("items")?.as_array())?;
    let objects = list.iter().filter_map(Value::as_object);
    Some(objects.map(|fields| Object { kind, fields }).collect())
}

fn singular(part: &'static str) -> &'static str {
    match part {
        "policies" => "policy",
        other => other.strip_suffix('s').unwrap_or(other),
    }
}

impl Product {
    fn of(parts: &BTreeMap<&'static str, Result<Value, String>>) -> Self {
        let overview = parts.get("overview").and_then(|part| part.as_ref().ok());
        let text = |name: &str| {
            let value = overview.and_then(|overview| overview.get(name)?.as_str());
            value.map(str::to_owned)
        };
        let name = text("product_name").unwrap_or_default();
        let (kind, version) = if let Some(version) = text("lavinmq_version") {
            (Kind::LavinMq, Some(version))
        } else if name == "Everack" {
            (Kind::Everack, text("product_version"))
        } else if name == "RabbitMQ" || name.is_empty() && text("rabbitmq_version").is_some() {
            (Kind::RabbitMq, text("rabbitmq_version"))
        } else {
            (Kind::Other, text("product_version"))
        };
        Self {
            kind,
            version: version.unwrap_or_default(),
        }
    }

    /// The first number of the version.
    pub(super) fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }
}

impl fmt::Display for Product {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::Everack => "Everack",
            Kind::RabbitMq => "RabbitMQ",
            Kind::LavinMq => "LavinMQ",
            Kind::Other => "a broker that gives no name",
        };
        write!(formatter, "{name} {}", self.version)
    }
}

impl<'a> Object<'a> {
    /// A field, if it is there and not null.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(self, name: &str) -> Result<&'a str, Missing> {
        self.get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| self.lacks(name))
    }

    /// A count.
    pub(super) fn count(self, name: &str) -> Result<u64, Missing> {
        self.get(name)
            .and_then(Value::as_u64)
            .ok_or_else(|| self.lacks(name))
    }

    /// Yes or no.
    pub(super) fn flag(self, name: &str) -> Result<bool, Missing> {
        self.get(name)
            .and_then(Value::as_bool)
            .ok_or_else(|| self.lacks(name))
    }

    /// An object within.
    pub(super) fn inner(self, name: &str) -> Result<Object<'a>, Missing> {
        let fields = self.get(name).and_then(Value::as_object);
        let fields = fields.ok_or_else(|| self.lacks(name))?;
        Ok(Object {
            kind: self.kind,
            fields,
        })
    }

    /// A counter of `message_stats`; nought if there is none, as brokers leave out what has not counted yet.
    pub(super) fn stat(self, name: &str) -> u64 {
        let stats = self.inner("message_stats");
        stats.and_then(|stats| stats.count(name)).unwrap_or(0)
    }

    /// Whether `message_stats` has that counter.
    pub(super) fn has_stat(self, name: &str) -> bool {
        let stats = self.inner("message_stats");
        stats.is_ok_and(|stats| stats.get(name).is_some())
    }

    /// What an argument says, or the policy in effect where there is no argument, and which of them it is.
    pub(super) fn setting(self, argument: &str) -> Result<Option<(&'a Value, &'static str)>, Missing> {
        let arguments = self.inner("arguments")?;
        if let Some(value) = arguments.get(argument) {
            return Ok(Some((value, "argument")));
        }
        // A queue without a policy has an empty list for a definition in some versions.
        let Some(Value::Object(policy)) = self.get("effective_policy_definition") else {
            let hidden = self.get("effective_policy_definition").is_none() && self.get("policy").is_some();
            return if hidden {
                Err(self.lacks("effective_policy_definition"))
            } else {
                Ok(None)
            };
        };
        let name = argument.strip_prefix("x-").unwrap_or(argument);
        Ok(policy.get(name).map(|value| (value, "policy")))
    }

    /// Such as `queue 'orders' in vhost '/'`.
    pub(super) fn subject(self) -> Result<String, Missing> {
        let kind = self.kind;
        match (self.text("name")?, self.text("vhost")) {
            (name, Ok(vhost)) => Ok(format!("{kind} '{name}' in vhost '{vhost}'")),
            (name, Err(_)) => Ok(format!("{kind} '{name}'")),
        }
    }

    /// A queue's type; what gives none has one kind of queue.
    pub(super) fn queue_type(self) -> &'a str {
        self.text("type").unwrap_or("classic")
    }

    fn lacks(self, name: &str) -> Missing {
        Missing(format!("'{name}' of a {}", self.kind))
    }
}

#[cfg(test)]
impl Snapshot {
    /// A snapshot of JSON as the API gives it, with one key for each path. `product` and `user` may be given; a part that is a
    /// string was refused with that reason, and `later` is the second look at the queues.
    pub(super) fn of(json: &Value) -> Self {
        let mut parts = BTreeMap::new();
        for &(name, _) in PARTS {
            if let Some(value) = json.get(name) {
                let refused = value.as_str().map(str::to_owned);
                parts.insert(name, refused.map_or_else(|| Ok(value.clone()), Err));
            }
        }
        let text = |name: &str, default: &str| {
            let given = json.get(name).and_then(Value::as_str);
            given.unwrap_or(default).to_owned()
        };
        Self {
            url: text("url", "http://127.0.0.1:15672"),
            product: Product::of(&parts),
            user: text("user", "operator"),
            loopback: json.get("remote").is_none(),
            parts,
            later: json.get("later").cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn products() {
        let check = |overview: Value, kind, version: &str| {
            let product = Snapshot::of(&json!({ "overview": overview })).product;
            assert_eq!((product.kind, product.version.as_str()), (kind, version));
        };
        check(
            json!({ "product_name": "Everack", "product_version": "0.1.0", "rabbitmq_version": "3.13.7" }),
            Kind::Everack,
            "0.1.0",
        );
        check(
            json!({ "product_name": "RabbitMQ", "rabbitmq_version": "4.1.0" }),
            Kind::RabbitMq,
            "4.1.0",
        );
        check(json!({ "rabbitmq_version": "3.6.5" }), Kind::RabbitMq, "3.6.5");
        check(json!({ "lavinmq_version": "2.9.1" }), Kind::LavinMq, "2.9.1");
        check(json!({}), Kind::Other, "");
    }

    #[test]
    fn what_nobody_can_see_is_said() {
        let check = |json: Value, expected: &[&str]| assert_eq!(Snapshot::of(&json).blind_spots(), expected);
        let other =
            "what other users do: the user 'operator' has neither the tag monitoring nor administrator";
        check(json!({ "whoami": { "tags": ["management"] } }), &[other]);
        check(
            json!({ "whoami": { "tags": "management,policymaker" } }),
            &[other],
        );
        check(json!({ "whoami": { "tags": "management, monitoring" } }), &[]);
        check(json!({ "whoami": { "tags": ["administrator"] } }), &[]);
        check(json!({}), &[]);
        let counted = "everything that is counted: the broker keeps no statistics";
        let overview =
            |product: &str| json!({ "overview": { "product_name": product, "rates_mode": "none" } });
        check(overview("RabbitMQ"), &[counted]);
        check(overview("Everack"), &[]);
        let disabled = json!({ "overview": { "product_name": "RabbitMQ", "disable_stats": true } });
        check(disabled, &[counted]);
    }

    #[test]
    fn settings_come_from_arguments_before_policies() {
        let check = |queue: Value, expected: Result<Option<(Value, &str)>, ()>| {
            let json = json!({ "queues": [queue] });
            let snapshot = Snapshot::of(&json);
            let queue = snapshot.list("queues").unwrap()[0];
            let seen = queue
                .setting("x-max-length")
                .map(|found| found.map(|(value, from)| (value.clone(), from)));
            assert_eq!(seen.map_err(drop), expected);
        };
        let policy = json!({ "max-length": 5 });
        check(
            json!({ "arguments": { "x-max-length": 3 }, "effective_policy_definition": policy }),
            Ok(Some((json!(3), "argument"))),
        );
        check(
            json!({ "arguments": {}, "effective_policy_definition": policy }),
            Ok(Some((json!(5), "policy"))),
        );
        check(
            json!({ "arguments": {}, "effective_policy_definition": [] }),
            Ok(None),
        );
        check(json!({ "arguments": {}, "policy": null }), Ok(None));
        check(json!({ "arguments": {}, "policy": "p" }), Err(()));
        check(json!({}), Err(()));
    }
}
