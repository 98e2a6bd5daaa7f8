//! Which queues are moved, and what cannot be: from what both brokers say of themselves. Pure.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

/// A queue whose messages are moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) vhost: String,
    pub(crate) queue: String,
    /// As the management API told it, some seconds ago: for order and progress only.
    pub(crate) messages: u64,
    /// The average size of its messages in bytes, if that is known.
    pub(crate) message_bytes: Option<u64>,
    pub(crate) quorum: bool,
    pub(crate) single_active_consumer: bool,
    /// The target's queue has a limit at which it refuses messages.
    pub(crate) may_refuse: bool,
}

/// A queue whose messages stay where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) vhost: String,
    pub(crate) queue: String,
    pub(crate) messages: u64,
    pub(crate) why: &'static str,
}

/// What is to be done, and what is to be known about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) tasks: Vec<Task>,
    pub(crate) left: Vec<Left>,
    pub(crate) notes: Vec<String>,
}

/// What the management APIs say.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    /// `/api/definitions` of the source.
    pub(crate) definitions: Value,
    /// `/api/queues` of the source.
    pub(crate) queues: Value,
    /// `/api/overview` of the target.
    pub(crate) target: Value,
}

/// Which queues are asked for.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) queues: Option<Regex>,
    pub(crate) vhosts: Vec<String>,
}

/// Policy keys that Everack takes and that change nothing there, and those of plugins that it has not.
const IDLE_POLICY_KEYS: &[&str] = &[
    "ha-",
    "federation-",
    "queue-mode",
    "queue-master-locator",
    "stream-",
    "max-age",
];
/// Parameters of plugins that stay behind.
const PLUGIN_PARAMETERS: &[&str] = &["federation-upstream", "federation-upstream-set", "shovel"];

impl Task {
    /// The name for people.
    pub(crate) fn shown(&self) -> String {
        format!("queue '{}' in vhost '{}'", self.queue, self.vhost)
    }
}

impl Filter {
    pub(crate) fn wants(&self, vhost: &str, queue: &str) -> bool {
        let vhost_fits = self.vhosts.is_empty() || self.vhosts.iter().any(|wanted| wanted == vhost);
        vhost_fits && self.queues.as_ref().is_none_or(|pattern| pattern.is_match(queue))
    }

    pub(crate) fn wants_vhost(&self, vhost: &str) -> bool {
        self.vhosts.is_empty() || self.vhosts.iter().any(|wanted| wanted == vhost)
    }
}

/// What is moved and what is not.
pub(crate) fn plan(scene: &Scene, filter: &Filter) -> Plan {
    let mut plan = Plan::default();
    for queue in list(&scene.queues) {
        if filter.wants(text(queue, "vhost"), text(queue, "name")) {
            plan.add(queue);
        }
    }
    plan.tasks.sort_by_key(|task| std::cmp::Reverse(task.messages));
    plan.note_exchanges(scene);
    plan.note_policies(&scene.definitions);
    plan.note_parameters(&scene.definitions);
    if plan.tasks.iter().any(|task| task.messages > 0) {
        plan.notes.push(
            "a message with an expiration has its full time again in the target: how much of it was left cannot be known".to_owned(),
        );
    }
    plan
}

impl Plan {
    fn add(&mut self, queue: &Value) {
        let (vhost, name) = (text(queue, "vhost").to_owned(), text(queue, "name").to_owned());
        let messages = number(queue, "messages").unwrap_or(0);
        if is_exclusive(queue) {
            let note = format!(
                "queue '{name}' in vhost '{vhost}' belongs to a connection and goes with it: not moved"
            );
            self.notes.push(note);
            return;
        }
        if is_stream(queue) {
            self.left.push(Left {
                vhost,
                queue: name,
                messages,
                why: "it is a stream",
            });
            return;
        }
        self.note_queue(queue, &vhost, &name);
        let bytes = number(queue, "message_bytes");
        self.tasks.push(Task {
            vhost,
            queue: name,
            messages,
            message_bytes: bytes.and_then(|bytes| bytes.checked_div(messages)),
            quorum: text(queue, "type") == "quorum" || argument(queue, "x-queue-type") == "quorum",
            single_active_consumer: queue["arguments"]["x-single-active-consumer"] == true,
            may_refuse: may_refuse(queue),
        });
    }

    fn note_queue(&mut self, queue: &Value, vhost: &str, name: &str) {
        let shown = format!("queue '{name}' in vhost '{vhost}'");
        let consumers = number(queue, "consumers").unwrap_or(0);
        if consumers > 0 {
            self.notes.push(format!(
                "{shown} has {consumers} consumers: stop them, it is not moved before"
            ));
        }
        let unsettled = number(queue, "messages_unacknowledged").unwrap_or(0);
        if unsettled > 0 {
            self.notes.push(format!(
                "{shown} has {unsettled} messages that somebody has not acknowledged: they are moved only after they are given back"
            ));
        }
        if queue["durable"] == false {
            self.notes.push(format!(
                "{shown} is not durable: a restart of the target takes it away"
            ));
        }
    }

    fn note_exchanges(&mut self, scene: &Scene) {
        let known = exchange_types(&scene.target);
        if known.is_empty() {
            return;
        }
        for exchange in list(&scene.definitions["exchanges"]) {
            let kind = text(exchange, "type");
            if !known.contains(kind) {
                let (name, vhost) = (text(exchange, "name"), text(exchange, "vhost"));
                let note = format!(
                    "exchange '{name}' in vhost '{vhost}' is of type {kind}, which the target does not have: left out"
                );
                self.notes.push(note);
            }
        }
    }

    fn note_policies(&mut self, definitions: &Value) {
        for policy in list(&definitions["policies"]) {
            let keys = policy["definition"]
                .as_object()
                .into_iter()
                .flat_map(|settings| settings.keys());
            let idle: Vec<&str> = keys
                .map(String::as_str)
                .filter(|key| IDLE_POLICY_KEYS.iter().any(|idle| key.starts_with(idle)))
                .collect();
            if !idle.is_empty() {
                let (name, vhost) = (text(policy, "name"), text(policy, "vhost"));
                let idle = idle.join(", ");
                self.notes.push(format!(
                    "policy '{name}' in vhost '{vhost}': {idle} means nothing on one node"
                ));
            }
        }
    }

    fn note_parameters(&mut self, definitions: &Value) {
        for parameter in list(&definitions["parameters"]) {
            let component = text(parameter, "component");
            if PLUGIN_PARAMETERS.contains(&component) {
                let (name, vhost) = (text(parameter, "name"), text(parameter, "vhost"));
                self.notes.push(format!(
                    "{component} '{name}' in vhost '{vhost}': it belongs to a plugin, and is left out"
                ));
            }
        }
    }

    /// Takes over what the target says of its queues: whether they may refuse messages.
    pub(crate) fn heed(&mut self, target_queues: &Value) {
        let strict: BTreeSet<(&str, &str)> = list(target_queues)
            .filter(|queue| may_refuse(queue))
            .map(|queue| (text(queue, "vhost"), text(queue, "name")))
            .collect();
        for task in &mut self.tasks {
            task.may_refuse |= strict.contains(&(task.vhost.as_str(), task.queue.as_str()));
        }
    }
}

/// The definitions without what the target could not take: streams, exchanges of types that it does not have, and the bindings of both;
/// what belongs to plugins that it does not have.
pub(crate) fn importable(scene: &Scene) -> Value {
    let mut definitions = scene.definitions.clone();
    let known = exchange_types(&scene.target);
    let is_kept = |exchange: &Value| known.is_empty() || known.contains(text(exchange, "type"));
    keep(&mut definitions, "parameters", |parameter| {
        !PLUGIN_PARAMETERS.contains(&text(parameter, "component"))
    });
    keep(&mut definitions, "exchanges", is_kept);
    keep(&mut definitions, "queues", |queue| !is_stream(queue));
    let gone = |kind: &str, is_gone: &dyn Fn(&Value) -> bool| -> BTreeSet<(String, String)> {
        let gone = list(&scene.definitions[kind]).filter(|value| is_gone(value));
        gone.map(|value| (text(value, "vhost").to_owned(), text(value, "name").to_owned()))
            .collect()
    };
    let (exchanges, queues) = (
        gone("exchanges", &|exchange| !is_kept(exchange)),
        gone("queues", &is_stream),
    );
    keep(&mut definitions, "bindings", |binding| {
        let end = |key| (text(binding, "vhost").to_owned(), text(binding, key).to_owned());
        let destinations = if text(binding, "destination_type") == "exchange" {
            &exchanges
        } else {
            &queues
        };
        !exchanges.contains(&end("source")) && !destinations.contains(&end("destination"))
    });
    definitions
}

/// Keeps only some elements of a list.
fn keep(definitions: &mut Value, kind: &str, is_kept: impl Fn(&Value) -> bool) {
    if let Some(values) = definitions[kind].as_array_mut() {
        values.retain(is_kept);
    }
}

/// The names of the exchange types that a broker has; none if it does not say.
fn exchange_types(overview: &Value) -> BTreeSet<&str> {
    list(&overview["exchange_types"])
        .map(|kind| text(kind, "name"))
        .collect()
}

fn is_stream(queue: &Value) -> bool {
    text(queue, "type") == "stream" || argument(queue, "x-queue-type") == "stream"
}

/// Whether a queue has a limit at which it refuses messages, by its arguments or policies.
fn may_refuse(queue: &Value) -> bool {
    let settings = [
        (&queue["arguments"], "x-overflow"),
        (&queue["effective_policy_definition"], "overflow"),
    ];
    settings.iter().any(|(settings, key)| {
        settings[key]
            .as_str()
            .is_some_and(|overflow| overflow.starts_with("reject"))
    })
}

fn is_exclusive(queue: &Value) -> bool {
    queue["exclusive"] == true || queue["owner_pid_details"].is_object()
}

/// The elements of a list; none if it is not one.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text of an object; empty if it has none.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn number(value: &Value, key: &str) -> Option<u64> {
    value[key].as_u64()
}

fn argument<'a>(queue: &'a Value, name: &str) -> &'a str {
    queue["arguments"][name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of_queue(queue: &Value) -> Plan {
        let scene = Scene {
            queues: json!([queue]),
            ..Scene::default()
        };
        plan(&scene, &Filter::default())
    }

    #[test]
    fn an_ordinary_queue_moves() {
        let plan = of_queue(
            &json!({ "vhost": "/", "name": "q", "messages": 10, "message_bytes": 1000, "durable": true }),
        );
        let expected = Task {
            vhost: "/".into(),
            queue: "q".into(),
            messages: 10,
            message_bytes: Some(100),
            ..Task::default()
        };
        assert_eq!(plan.tasks, [expected]);
        assert!(plan.left.is_empty());
    }

    #[test]
    fn a_queue_without_statistics_moves() {
        let plan = of_queue(&json!({ "vhost": "/", "name": "q" }));
        assert_eq!(plan.tasks[0].message_bytes, None);
        assert_eq!(plan.tasks[0].messages, 0);
    }

    #[test]
    fn kinds_of_queues_are_told_apart() {
        let check = |more: Value, expected: (bool, bool, bool)| {
            let mut queue = json!({ "vhost": "/", "name": "q", "durable": true });
            for (key, value) in more.as_object().unwrap() {
                queue[key] = value.clone();
            }
            let task = &of_queue(&queue).tasks[0];
            assert_eq!(
                (task.quorum, task.single_active_consumer, task.may_refuse),
                expected,
                "{queue}"
            );
        };
        check(json!({ "type": "quorum" }), (true, false, false));
        check(
            json!({ "arguments": { "x-queue-type": "quorum" } }),
            (true, false, false),
        );
        check(
            json!({ "arguments": { "x-single-active-consumer": true } }),
            (false, true, false),
        );
        check(
            json!({ "arguments": { "x-overflow": "reject-publish" } }),
            (false, false, true),
        );
        check(
            json!({ "arguments": { "x-overflow": "drop-head" } }),
            (false, false, false),
        );
        check(
            json!({ "effective_policy_definition": { "overflow": "reject-publish-dlx" } }),
            (false, false, true),
        );
    }

    #[test]
    fn what_cannot_move_is_told() {
        let check = |queue: Value, tasks: usize, left: usize, note: &str| {
            let plan = of_queue(&queue);
            assert_eq!((plan.tasks.len(), plan.left.len()), (tasks, left), "{queue}");
            let noted = plan.notes.iter().any(|line| line.contains(note));
            assert!(noted || note.is_empty(), "{note}: {:?}", plan.notes);
        };
        check(json!({ "name": "q", "type": "stream" }), 0, 1, "");
        check(
            json!({ "name": "q", "exclusive": true }),
            0,
            0,
            "belongs to a connection",
        );
        check(
            json!({ "name": "q", "owner_pid_details": { "name": "c" } }),
            0,
            0,
            "belongs to a connection",
        );
        check(json!({ "name": "q", "consumers": 2 }), 1, 0, "2 consumers");
        check(
            json!({ "name": "q", "messages_unacknowledged": 3 }),
            1,
            0,
            "3 messages",
        );
        check(json!({ "name": "q", "durable": false }), 1, 0, "not durable");
        check(json!({ "name": "q", "messages": 1 }), 1, 0, "full time again");
    }

    #[test]
    fn definitions_that_mean_nothing_are_told() {
        let scene = Scene {
            definitions: json!({
                "exchanges": [{ "name": "x", "vhost": "/", "type": "x-recent-history" }, { "name": "y", "vhost": "/", "type": "topic" }],
                "policies": [{ "name": "p", "vhost": "/", "definition": { "ha-mode": "all", "max-length": 3 } }],
                "parameters": [{ "name": "s", "vhost": "/", "component": "shovel" }, { "component": "vhost-limits" }],
            }),
            target: json!({ "exchange_types": [{ "name": "topic" }] }),
            queues: Value::Null,
        };
        let notes = plan(&scene, &Filter::default()).notes;
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes[0].contains("x-recent-history"));
        assert!(notes[1].contains("ha-mode"));
        assert!(notes[2].contains("shovel 's'"));
    }

    #[test]
    fn what_the_target_cannot_take_is_left_out() {
        let in_root = |value: Value| {
            let mut value = value;
            value["vhost"] = "/".into();
            value
        };
        let binding = |source: &str, kind: &str, destination: &str| {
            in_root(json!({ "source": source, "destination_type": kind, "destination": destination }))
        };
        let scene = Scene {
            definitions: json!({
                "exchanges": [in_root(json!({ "name": "odd", "type": "x-odd" })), in_root(json!({ "name": "plain", "type": "topic" }))],
                "queues": [in_root(json!({ "name": "s", "arguments": { "x-queue-type": "stream" } })), in_root(json!({ "name": "odd" }))],
                "bindings": [binding("odd", "queue", "odd"), binding("plain", "queue", "s"), binding("plain", "exchange", "odd"),
                    binding("plain", "queue", "odd")],
                "parameters": [{ "component": "shovel" }, { "component": "other" }],
            }),
            target: json!({ "exchange_types": [{ "name": "topic" }] }),
            queues: Value::Null,
        };
        let kept = importable(&scene);
        assert_eq!(
            kept["exchanges"],
            json!([in_root(json!({ "name": "plain", "type": "topic" }))])
        );
        assert_eq!(kept["queues"], json!([in_root(json!({ "name": "odd" }))]));
        assert_eq!(kept["bindings"], json!([binding("plain", "queue", "odd")]));
        assert_eq!(kept["parameters"], json!([{ "component": "other" }]));
    }

    #[test]
    fn filters() {
        let filter = Filter {
            queues: Some(Regex::new("^ord").unwrap()),
            vhosts: vec!["shop".into()],
        };
        assert!(filter.wants("shop", "orders"));
        assert!(!filter.wants("/", "orders"));
        assert!(!filter.wants("shop", "reorders"));
        assert!(Filter::default().wants("/", "any"));
    }

    #[test]
    fn the_targets_limits_are_heeded() {
        let mut plan = of_queue(&json!({ "vhost": "/", "name": "q" }));
        let policy = json!({ "overflow": "reject-publish", "max-length": 5 });
        plan.heed(&json!([{ "vhost": "/", "name": "q", "effective_policy_definition": policy }]));
        assert!(plan.tasks[0].may_refuse);
    }
}
