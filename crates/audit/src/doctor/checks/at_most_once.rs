//! Dead-lettering that can lose what it moves.

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Kind, Missing, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "at-most-once-dead-lettering",
    title: "Dead-lettering that is at most once",
    why: "The message leaves its queue before the queue behind the dead-letter exchange has it: a crash in between, or a full \
          or missing target, loses it.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    // Others move a message in one step, or do not say how they do it.
    if snapshot.product.kind != Kind::RabbitMq {
        return Ok(());
    }
    notes.each(snapshot.list("queues")?, |notes, queue| {
        if queue.setting("x-dead-letter-exchange")?.is_none() {
            return Ok(());
        }
        let is = |argument: &str, wanted: &str| -> Result<bool, Missing> {
            Ok(queue.setting(argument)?.is_some_and(|(value, _)| value == wanted))
        };
        let (seen, fix) = if queue.queue_type() != "quorum" {
            (
                "a classic queue",
                "use a quorum queue with dead-letter-strategy at-least-once",
            )
        } else if !is("x-dead-letter-strategy", "at-least-once")? {
            (
                "no x-dead-letter-strategy=at-least-once",
                "set it, and overflow reject-publish",
            )
        } else if !is("x-overflow", "reject-publish")? {
            (
                "at-least-once has no effect without overflow reject-publish",
                "set overflow reject-publish",
            )
        } else {
            return Ok(());
        };
        notes.find(Note {
            severity: Severity::CanLose,
            subject: queue.subject()?,
            seen: seen.to_owned(),
            fix: fix.to_owned(),
        });
        Ok(())
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::checks::check;

    fn look(product: &str, kind: &str, arguments: &[(&str, &str)], expected: &[&str]) {
        let arguments: Value = arguments
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let queue = json!({ "name": "q", "vhost": "/", "type": kind, "arguments": arguments });
        let snapshot = json!({ "overview": { "product_name": product }, "queues": [queue] });
        check(&CHECK, &snapshot, expected);
    }

    #[test]
    fn what_is_at_least_once() {
        let dlx = ("x-dead-letter-exchange", "dlx");
        let strategy = ("x-dead-letter-strategy", "at-least-once");
        let overflow = ("x-overflow", "reject-publish");
        let q = "can lose: queue 'q' in vhost '/'";
        look("RabbitMQ", "classic", &[dlx], &[&format!("{q}: a classic queue")]);
        look(
            "RabbitMQ",
            "quorum",
            &[dlx],
            &[&format!("{q}: no x-dead-letter-strategy=at-least-once")],
        );
        look(
            "RabbitMQ",
            "quorum",
            &[dlx, strategy],
            &[&format!(
                "{q}: at-least-once has no effect without overflow reject-publish"
            )],
        );
        look("RabbitMQ", "quorum", &[dlx, strategy, overflow], &[]);
        look("RabbitMQ", "classic", &[], &[]);
        look("Everack", "classic", &[dlx], &[]);
    }
}
