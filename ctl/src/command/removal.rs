//! `delete` and `purge`: takes away. On a terminal it asks first.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use everack_api_client::path;
use serde_json::{Value, json};

use super::declaration::Destination;
use super::exit::Misused;
use super::{Context, Exit};
use crate::output::entries;

#[derive(Debug, Subcommand)]
pub(super) enum Delete {
    /// Delete a virtual host, with all that is in it.
    Vhost(Name),
    /// Delete a user.
    User(Name),
    /// Take away all that a user may do in the virtual host.
    Permission(Name),
    /// Take away all that a user may do with topic exchanges of the virtual host.
    TopicPermission(Name),
    /// Delete a policy.
    Policy(Name),
    /// Delete an operator policy.
    OperatorPolicy(Name),
    /// Delete a runtime parameter.
    Parameter(Parameter),
    /// Delete a runtime parameter of the whole broker.
    GlobalParameter(Name),
    /// Take away a limit of the virtual host.
    VhostLimit(Name),
    /// Take away a limit of a user.
    UserLimit(UserLimit),
    /// Delete an exchange, with its bindings.
    Exchange(Exchange),
    /// Delete a queue, with its messages.
    Queue(Queue),
    /// Delete a binding.
    Binding(Binding),
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// Its name; for permissions the user's.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Parameter {
    /// Its component.
    component: String,
    /// Its name.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct UserLimit {
    /// The user.
    user: String,
    /// Which limit.
    limit: String,
}

#[derive(Debug, Args)]
pub(super) struct Exchange {
    /// Its name.
    name: String,
    /// Only if nothing is bound to it.
    #[arg(long)]
    if_unused: bool,
}

#[derive(Debug, Args)]
pub(super) struct Queue {
    /// Its name.
    name: String,
    /// Only if nobody consumes from it.
    #[arg(long)]
    if_unused: bool,
    /// Only if there is no message in it.
    #[arg(long)]
    if_empty: bool,
}

#[derive(Debug, Args)]
pub(super) struct Binding {
    /// The exchange that messages come from.
    source: String,
    /// Where they go.
    destination: String,
    /// What the destination is.
    #[arg(long, value_enum, default_value_t = Destination::Queue)]
    to: Destination,
    /// The routing key.
    #[arg(long, value_name = "KEY", default_value = "")]
    key: String,
    /// The binding's `properties_key` as the list shows it, where several have the same routing key.
    #[arg(long, value_name = "KEY", conflicts_with = "key")]
    properties_key: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Purge {
    /// The queue.
    queue: String,
}

impl Delete {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let vhost = context.vhost();
        let (what, path) = self.unwanted(context, vhost)?;
        context.confirm(&format!("delete {what}"))?;
        context
            .api
            .delete(&path)
            .with_context(|| format!("cannot delete {what}"))?;
        context.say(&format!("{what} is deleted"), &json!({ "deleted": what }))
    }

    /// What it is, and where.
    fn unwanted(self, context: &Context, vhost: &str) -> anyhow::Result<(String, String)> {
        let in_vhost = |what: &str, segment: &str, name: &str| {
            (
                format!("{what} {name} in vhost {vhost}"),
                path(&[segment, vhost, name]),
            )
        };
        let named =
            |what: &str, segment: &str, name: &str| (format!("{what} {name}"), path(&[segment, name]));
        Ok(match self {
            Self::Vhost(Name { name }) => (
                format!("vhost {name} with all its exchanges, queues and messages"),
                path(&["vhosts", &name]),
            ),
            Self::User(Name { name }) => named("user", "users", &name),
            Self::Permission(Name { name }) => in_vhost("permissions of user", "permissions", &name),
            Self::TopicPermission(Name { name }) => {
                in_vhost("topic permissions of user", "topic-permissions", &name)
            }
            Self::Policy(Name { name }) => in_vhost("policy", "policies", &name),
            Self::OperatorPolicy(Name { name }) => in_vhost("operator policy", "operator-policies", &name),
            Self::Parameter(Parameter { component, name }) => (
                format!("parameter {name} of {component} in vhost {vhost}"),
                path(&["parameters", &component, vhost, &name]),
            ),
            Self::GlobalParameter(Name { name }) => named("global parameter", "global-parameters", &name),
            Self::VhostLimit(Name { name }) => (
                format!("the limit {name} of vhost {vhost}"),
                path(&["vhost-limits", vhost, &name]),
            ),
            Self::UserLimit(UserLimit { user, limit }) => (
                format!("the limit {limit} of user {user}"),
                path(&["user-limits", &user, &limit]),
            ),
            Self::Exchange(Exchange { name, if_unused }) => {
                let (what, path) = in_vhost("exchange", "exchanges", &name);
                (what, path + condition(&[("if-unused", if_unused)]).as_str())
            }
            Self::Queue(queue) => {
                let (what, path) = in_vhost("queue", "queues", &queue.name);
                let conditions = [("if-unused", queue.if_unused), ("if-empty", queue.if_empty)];
                (
                    format!("{what} with its messages"),
                    path + condition(&conditions).as_str(),
                )
            }
            Self::Binding(binding) => binding.unwanted(context, vhost)?,
        })
    }
}

/// The part of a path behind the question mark.
fn condition(conditions: &[(&str, bool)]) -> String {
    let wanted = conditions.iter().filter(|(_, wanted)| *wanted);
    let words: Vec<String> = wanted.map(|(name, _)| format!("{name}=true")).collect();
    if words.is_empty() {
        String::new()
    } else {
        format!("?{}", words.join("&"))
    }
}

impl Binding {
    fn unwanted(self, context: &Context, vhost: &str) -> anyhow::Result<(String, String)> {
        let (from, to, letter) = (&self.source, &self.destination, self.to.letter());
        let what = format!("binding of {to} to {from} in vhost {vhost}");
        let key = match self.properties_key {
            Some(key) => key,
            None => {
                let all = context
                    .api
                    .get(&path(&["bindings", vhost, "e", from, letter, to]));
                only_key(
                    &all.with_context(|| format!("cannot find the {what}"))?,
                    &self.key,
                )?
            }
        };
        Ok((what, path(&["bindings", vhost, "e", from, letter, to, &key])))
    }
}

/// The `properties_key` of the one binding with that routing key.
fn only_key(bindings: &Value, routing_key: &str) -> Result<String, Misused> {
    let bindings = entries(bindings);
    let mine = bindings
        .iter()
        .filter(|binding| binding["routing_key"] == routing_key);
    let keys: Vec<&str> = mine
        .filter_map(|binding| binding["properties_key"].as_str())
        .collect();
    match keys.as_slice() {
        [] => Err(Misused(format!(
            "there is no binding with the routing key {routing_key:?}"
        ))),
        [key] => Ok((*key).to_owned()),
        several => Err(Misused(format!(
            "several bindings have the routing key {routing_key:?}: give --properties-key, one of {}",
            several.join(", ")
        ))),
    }
}

impl Purge {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let vhost = context.vhost();
        let what = format!("queue {} in vhost {vhost}", self.queue);
        context.confirm(&format!("discard all ready messages of {what}"))?;
        let contents = path(&["queues", vhost, &self.queue, "contents"]);
        context
            .api
            .delete(&contents)
            .with_context(|| format!("cannot purge {what}"))?;
        context.say(
            &format!("{what} is purged"),
            &json!({ "purged": self.queue, "vhost": vhost }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_binding_is_found_by_its_routing_key() {
        let check = |key: &str, expected: Result<&str, &str>| {
            let bindings = json!([
                {"routing_key": "a", "properties_key": "a"},
                {"routing_key": "b", "properties_key": "b"},
                {"routing_key": "b", "properties_key": "b~x"},
            ]);
            let seen = only_key(&bindings, key).map_err(|error| error.to_string());
            match expected {
                Ok(expected) => assert_eq!(seen.unwrap(), expected),
                Err(part) => assert!(seen.as_ref().unwrap_err().contains(part), "{seen:?}"),
            }
        };
        check("a", Ok("a"));
        check("b", Err("one of b, b~x"));
        check("c", Err("there is no binding"));
    }

    #[test]
    fn conditions() {
        assert_eq!(condition(&[("if-unused", false)]), "");
        assert_eq!(
            condition(&[("if-unused", true), ("if-empty", true)]),
            "?if-unused=true&if-empty=true"
        );
    }
}
