//! Queues that drop their oldest message when they are full.

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Object, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "drop-head",
    title: "Length limits that drop the oldest message",
    why: "A queue that is full makes room by throwing away what waits longest; publishers see a confirm all the same.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    notes.each(snapshot.list("queues")?, |notes, queue| {
        if queue.queue_type() == "stream" {
            return Ok(());
        }
        let limits = [
            ("x-max-length", "messages", "messages_ready"),
            ("x-max-length-bytes", "bytes", "message_bytes_ready"),
        ];
        for (argument, unit, field) in limits {
            if let Some((limit, from)) = queue.setting(argument)?
                && drops(queue)?
            {
                let most = limit.as_u64();
                let held = queue.count(field).ok();
                let full = most.is_some() && held >= most;
                let held = held.map_or(String::new(), |held| format!(", {held} there now"));
                notes.find(Note {
                    severity: if full {
                        Severity::LosesNow
                    } else {
                        Severity::CanLose
                    },
                    subject: queue.subject()?,
                    seen: format!(
                        "at most {limit} {unit} ({from}){held}, overflow drop-head, no dead-letter exchange"
                    ),
                    fix: "set x-overflow=reject-publish (policy key: overflow), or a dead-letter exchange"
                        .to_owned(),
                });
            }
        }
        Ok(())
    });
    Ok(())
}

/// Whether what does not fit is gone.
fn drops(queue: Object<'_>) -> Result<bool, Missing> {
    let overflow = queue.setting("x-overflow")?;
    let drops_head = overflow.is_none_or(|(overflow, _)| overflow == "drop-head");
    Ok(drops_head && queue.setting("x-dead-letter-exchange")?.is_none())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::checks::check;

    fn look(arguments: Value, policy: Value, ready: u64, expected: &[&str]) {
        let queue = json!({
            "name": "q", "vhost": "/", "arguments": arguments, "effective_policy_definition": policy,
            "messages_ready": ready, "message_bytes_ready": ready * 100,
        });
        check(&CHECK, &json!({ "queues": [queue] }), expected);
    }

    #[test]
    fn limits_by_argument_and_policy() {
        let found = |severity: &str, limit: &str, held: &str| {
            format!(
                "{severity}: queue 'q' in vhost '/': at most {limit}, {held} there now, overflow drop-head, no dead-letter exchange"
            )
        };
        let limit = json!({ "x-max-length": 10 });
        look(
            limit.clone(),
            json!({}),
            3,
            &[&found("can lose", "10 messages (argument)", "3")],
        );
        look(
            limit.clone(),
            json!({}),
            10,
            &[&found("loses now", "10 messages (argument)", "10")],
        );
        let policy = json!({ "max-length-bytes": 1000 });
        look(
            json!({}),
            policy,
            3,
            &[&found("can lose", "1000 bytes (policy)", "300")],
        );
        look(json!({}), json!({}), 3, &[]);
    }

    #[test]
    fn what_refuses_or_passes_on_is_fine() {
        let limited = |name: &str, value: &str| json!({ "x-max-length": 10, name: value });
        look(limited("x-overflow", "reject-publish"), json!({}), 10, &[]);
        look(limited("x-dead-letter-exchange", "dlx"), json!({}), 10, &[]);
        look(
            json!({ "x-max-length": 10 }),
            json!({ "overflow": "reject-publish" }),
            10,
            &[],
        );
        look(
            json!({ "x-max-length": 10 }),
            json!({ "dead-letter-exchange": "dlx" }),
            10,
            &[],
        );
    }

    #[test]
    fn without_arguments_nobody_knows() {
        check(
            &CHECK,
            &json!({ "queues": [{ "name": "q" }, { "name": "r" }] }),
            &["unchecked: 'arguments' of a queue x2"],
        );
    }
}
