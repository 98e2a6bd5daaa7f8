//! Queues that nobody reads.

use std::collections::HashMap;

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "unattended-queues",
    title: "Queues without consumers that hold messages",
    why: "What nobody reads grows until a limit, a TTL or the disk ends it.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    let mut later = HashMap::new();
    for queue in snapshot.later() {
        later.insert(
            (queue.text("vhost")?, queue.text("name")?),
            queue.count("messages"),
        );
    }
    notes.each(snapshot.list("queues")?, |notes, queue| {
        let messages = queue.count("messages")?;
        if queue.count("consumers")? > 0 || messages == 0 || queue.queue_type() == "stream" {
            return Ok(());
        }
        let then = later.get(&(queue.text("vhost")?, queue.text("name")?));
        let grown = match then {
            Some(Ok(then)) if *then > messages => format!(", {} more a moment later", then - messages),
            _ => String::new(),
        };
        notes.find(Note {
            severity: Severity::LookAtIt,
            subject: queue.subject()?,
            seen: format!("{messages} messages, no consumer{grown}"),
            fix: "start its consumer; or delete the queue, if nobody needs what is in it".to_owned(),
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

    #[test]
    fn backlogs_without_readers() {
        let queue = |messages: u64, consumers: u64| json!({ "name": "q", "vhost": "/", "messages": messages, "consumers": consumers });
        let check = |now: Value, later: Option<Value>, expected: &[&str]| {
            let later = later.map(|queue| json!([queue]));
            check(&CHECK, &json!({ "queues": [now], "later": later }), expected);
        };
        let found = "look at it: queue 'q' in vhost '/': 5 messages, no consumer";
        check(queue(5, 0), None, &[found]);
        check(queue(5, 0), Some(queue(5, 0)), &[found]);
        let grown = format!("{found}, 3 more a moment later");
        check(queue(5, 0), Some(queue(8, 0)), &[&grown]);
        check(queue(5, 1), None, &[]);
        check(queue(0, 0), None, &[]);
        check(
            json!({ "name": "q" }),
            None,
            &["unchecked: 'messages' of a queue x1"],
        );
    }
}
