//! Transient queues that hold messages.

use super::Check;
use crate::doctor::finding::{Note, Severity};

pub(super) const CHECK: Check = Check {
    name: "transient-queues",
    title: "Transient queues with a backlog",
    why: "The queue goes with the next restart of the broker, and with it all that waits in it.",
    look: |snapshot, notes| {
        notes.each(snapshot.list("queues")?, |notes, queue| {
            // A connection's own queue, for replies and the like, is meant to go with it.
            if queue.flag("durable")? || queue.flag("exclusive").unwrap_or(false) {
                return Ok(());
            }
            let messages = queue.count("messages")?;
            if messages > 0 {
                notes.find(Note {
                    severity: Severity::CanLose,
                    subject: queue.subject()?,
                    seen: format!("{messages} messages"),
                    fix: "delete the queue once it is empty, and declare it with durable=true".to_owned(),
                });
            }
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
    fn backlogs_that_would_not_survive() {
        let check = |durable: bool, exclusive: bool, messages: u64, expected: &[&str]| {
            let queue = json!({
                "name": "q", "vhost": "/", "durable": durable, "exclusive": exclusive, "messages": messages,
            });
            check(&CHECK, &json!({ "queues": [queue] }), expected);
        };
        check(false, false, 3, &["can lose: queue 'q' in vhost '/': 3 messages"]);
        check(false, false, 0, &[]);
        check(false, true, 3, &[]);
        check(true, false, 3, &[]);
    }
}
