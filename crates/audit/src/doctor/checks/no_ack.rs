//! Consumers that do not acknowledge.

use std::collections::HashMap;

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "no-ack-consumers",
    title: "Consumers that do not acknowledge, on durable queues",
    why: "A message is gone once it is written to the consumer's socket: a crash of the consumer or a broken connection loses \
          all that it had not finished.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    let mut queues = HashMap::new();
    for queue in snapshot.list("queues")? {
        queues.insert((queue.text("vhost")?, queue.text("name")?), queue);
    }
    notes.each(snapshot.list("consumers")?, |notes, consumer| {
        if consumer.flag("ack_required")? {
            return Ok(());
        }
        let queue = consumer.inner("queue")?;
        let (vhost, name) = (queue.text("vhost")?, queue.text("name")?);
        let Some(queue) = queues.get(&(vhost, name)) else {
            return Err(Missing("the queue of a consumer".to_owned()));
        };
        if !queue.flag("durable")? {
            return Ok(());
        }
        let tag = consumer.text("consumer_tag").unwrap_or("?");
        let channel = consumer
            .inner("channel_details")
            .and_then(|channel| channel.text("name"))
            .unwrap_or("an unknown channel");
        let delivered = match queue.stat("deliver_no_ack") {
            0 => String::new(),
            count => format!(", {count} messages of the queue delivered that way"),
        };
        // Everack can keep what was handed over for a while: somebody has to notice, and bring it back.
        let retains = queue.text("no_ack_guard") == Ok("retain");
        let (severity, kept) = match retains {
            true => (Severity::LookAtIt, "; they are retained for a while"),
            false => (Severity::CanLose, ""),
        };
        notes.find(Note {
            severity,
            subject: queue.subject()?,
            seen: format!("consumer '{tag}' on {channel}{delivered}{kept}"),
            fix: "consume with no_ack=false (auto_ack, autoAck) and ack each message when its work is done"
                .to_owned(),
        });
        Ok(())
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::checks::check;

    #[test]
    fn on_durable_queues_only() {
        let check = |ack_required: bool, durable: bool, delivered: u64, expected: &[&str]| {
            let consumer = json!({
                "consumer_tag": "t", "ack_required": ack_required, "queue": { "name": "q", "vhost": "/" },
                "channel_details": { "name": "c (1)" },
            });
            let queue = json!({
                "name": "q", "vhost": "/", "durable": durable, "message_stats": { "deliver_no_ack": delivered },
            });
            check(
                &CHECK,
                &json!({ "consumers": [consumer], "queues": [queue] }),
                expected,
            );
        };
        check(
            false,
            true,
            0,
            &["can lose: queue 'q' in vhost '/': consumer 't' on c (1)"],
        );
        check(
            false,
            true,
            8,
            &[
                "can lose: queue 'q' in vhost '/': consumer 't' on c (1), 8 messages of the queue delivered that way",
            ],
        );
        check(true, true, 0, &[]);
        check(false, false, 8, &[]);
    }

    #[test]
    fn what_is_retained_can_be_brought_back() {
        let consumer = json!({
            "consumer_tag": "t", "ack_required": false, "queue": { "name": "q", "vhost": "/" },
            "channel_details": { "name": "c (1)" },
        });
        let queue =
            |guard: &str| json!({ "name": "q", "vhost": "/", "durable": true, "no_ack_guard": guard });
        let check = |guard: &str, expected: &str| {
            check(
                &CHECK,
                &json!({ "consumers": [&consumer], "queues": [queue(guard)] }),
                &[expected],
            );
        };
        check(
            "retain",
            "look at it: queue 'q' in vhost '/': consumer 't' on c (1); they are retained for a while",
        );
        check("warn", "can lose: queue 'q' in vhost '/': consumer 't' on c (1)");
    }

    #[test]
    fn what_is_not_told() {
        check(
            &CHECK,
            &json!({ "queues": [], "consumers": [{ "consumer_tag": "t" }] }),
            &["unchecked: 'ack_required' of a consumer x1"],
        );
        check(
            &CHECK,
            &json!({ "queues": [] }),
            &["unchecked: the list of consumers x1"],
        );
    }
}
