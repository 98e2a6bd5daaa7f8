//! Topology, users and policies from one broker to the other, through their management APIs.

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use everack_api_client::{Api, Method, path};

use crate::api::read;
use crate::plan::{Filter, Task, list, text};

/// Imports everything in one request, which the target takes as a whole or not at all.
pub(crate) fn import(target: &Api, definitions: &Value) -> anyhow::Result<()> {
    match target.post("/api/definitions", definitions) {
        Ok(_) => Ok(()),
        Err(refusal) if matches!(refusal.status(), Some(404 | 405)) => bail!(
            "{} does not import definitions; `--definitions topology` declares vhosts, exchanges, queues and bindings one by one",
            target.target().place
        ),
        Err(failure) => bail!("the target does not take the definitions, and nothing is moved: {failure}"),
    }
}

/// Declares virtual hosts, exchanges, queues and bindings one by one. What is there already and the same stays.
pub(crate) fn declare(target: &Api, definitions: &Value, filter: &Filter) -> anyhow::Result<()> {
    let wanted = |value: &&Value| filter.wants_vhost(text(value, "vhost"));
    for vhost in list(&definitions["vhosts"]).filter(|vhost| filter.wants_vhost(text(vhost, "name"))) {
        order(
            target,
            Method::PUT,
            &path(&["vhosts", text(vhost, "name")]),
            &json!({}),
        )?;
    }
    for exchange in list(&definitions["exchanges"]).filter(wanted) {
        order(target, Method::PUT, &path_of("exchanges", exchange), exchange)?;
    }
    for queue in list(&definitions["queues"]).filter(wanted) {
        order(target, Method::PUT, &path_of("queues", queue), queue)?;
    }
    for binding in list(&definitions["bindings"]).filter(wanted) {
        let kind = if text(binding, "destination_type") == "exchange" {
            "e"
        } else {
            "q"
        };
        let ends = [
            text(binding, "vhost"),
            "e",
            text(binding, "source"),
            kind,
            text(binding, "destination"),
        ];
        let path = path(&[&["bindings"], &ends[..]].concat());
        let body = json!({ "routing_key": binding["routing_key"], "arguments": binding["arguments"] });
        order(target, Method::POST, &path, &body)?;
    }
    Ok(())
}

/// Declares the queues that are moved and that no definitions name: transient ones.
pub(crate) fn declare_missing(target: &Api, source_queues: &Value, tasks: &[Task]) -> anyhow::Result<()> {
    let there = read(target, "/api/queues")?;
    let is_there = |task: &Task| list(&there).any(|queue| is(queue, task));
    for task in tasks.iter().filter(|task| !is_there(task)) {
        let queue = list(source_queues).find(|queue| is(queue, task));
        let queue = queue.with_context(|| format!("{} is not in the source's list", task.shown()))?;
        order(target, Method::PUT, &path_of("queues", queue), queue)?;
    }
    Ok(())
}

fn is(queue: &Value, task: &Task) -> bool {
    text(queue, "vhost") == task.vhost && text(queue, "name") == task.queue
}

fn path_of(kind: &str, value: &Value) -> String {
    path(&[kind, text(value, "vhost"), text(value, "name")])
}

/// What a declaration says of itself, without what the path says and what statistics add.
fn declared(value: &Value) -> Value {
    const KEYS: &[&str] = &[
        "type",
        "durable",
        "auto_delete",
        "internal",
        "arguments",
        "routing_key",
    ];
    let given = value.as_object().into_iter().flatten();
    given
        .filter(|(key, value)| KEYS.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn order(target: &Api, method: Method, path: &str, what: &Value) -> anyhow::Result<()> {
    let mut body = declared(what);
    if path.starts_with("/api/queues/")
        && let Some(body) = body.as_object_mut()
    {
        // A list of queues has the queue's kind under the name that an exchange's type has.
        body.remove("type");
    }
    match target.send(method.clone(), path, Some(&body)) {
        Ok(_) => Ok(()),
        Err(failure) => bail!("the target does not take {method} {path}, and no message is moved: {failure}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_has_no_statistics() {
        let seen = declared(
            &json!({ "name": "q", "vhost": "/", "durable": true, "messages": 7, "arguments": { "x-max-length": 3 },
            "auto_delete": null }),
        );
        assert_eq!(
            seen,
            json!({ "durable": true, "arguments": { "x-max-length": 3 } })
        );
    }
}
