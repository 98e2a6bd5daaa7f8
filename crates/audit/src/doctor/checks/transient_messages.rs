//! Transient messages in durable queues.

use super::Check;
use crate::doctor::finding::{Note, Severity};

pub(super) const CHECK: Check = Check {
    name: "transient-messages",
    title: "Transient messages in durable queues",
    why: "The queue survives a restart of the broker, but these messages do not: they were published without delivery_mode 2.",
    look: |snapshot, notes| {
        notes.each(snapshot.list("queues")?, |notes, queue| {
            // What is replicated keeps every message, whatever its delivery mode.
            if !queue.flag("durable")? || queue.queue_type() != "classic" || queue.count("messages")? == 0 {
                return Ok(());
            }
            let messages = queue.count("messages")?;
            let transient = messages.saturating_sub(queue.count("messages_persistent")?);
            if transient == 0 {
                return Ok(());
            }
            notes.find(Note {
                severity: Severity::CanLose,
                subject: queue.subject()?,
                seen: format!("{transient} of {messages} messages are transient"),
                fix: "publish with delivery_mode=2 (persistent)".to_owned(),
            });
            Ok(())
        });
        Ok(())
    },
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::checks::check;

    #[test]
    fn messages_that_would_not_survive() {
        let check = |durable: bool, kind: &str, messages: u64, persistent: Option<u64>, expected: &[&str]| {
            let queue = json!({
                "name": "q", "vhost": "/", "durable": durable, "type": kind, "messages": messages,
                "messages_persistent": persistent,
            });
            check(&CHECK, &json!({ "queues": [queue] }), expected);
        };
        let found = ["can lose: queue 'q' in vhost '/': 4 of 10 messages are transient"];
        check(true, "classic", 10, Some(6), &found);
        check(true, "classic", 10, Some(10), &[]);
        check(false, "classic", 10, Some(0), &[]);
        check(true, "quorum", 10, Some(0), &[]);
        check(true, "classic", 0, None, &[]);
        check(
            true,
            "classic",
            10,
            None,
            &["unchecked: 'messages_persistent' of a queue x1"],
        );
    }
}
