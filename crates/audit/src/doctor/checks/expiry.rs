//! Messages and queues that expire.

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "expiry",
    title: "Messages that expire without a trace",
    why: "A message that is older than the queue's TTL is thrown away where there is no dead-letter exchange; a queue that \
          expires takes all its messages along, dead-letter exchange or not.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    notes.each(snapshot.list("queues")?, |notes, queue| {
        let dead_letters = queue.setting("x-dead-letter-exchange")?.is_some();
        if let Some((ttl, from)) = queue.setting("x-message-ttl")?
            && !dead_letters
        {
            notes.find(Note {
                severity: Severity::CanLose,
                subject: queue.subject()?,
                seen: format!("messages expire after {ttl} ms ({from}), no dead-letter exchange"),
                fix: "set x-dead-letter-exchange (policy key: dead-letter-exchange) to an exchange with a queue behind it"
                    .to_owned(),
            });
        }
        // Queues that live no longer than the broker or a connection are meant to go.
        if let Some((idle, from)) = queue.setting("x-expires")?
            && queue.flag("durable")?
        {
            notes.find(Note {
                severity: Severity::CanLose,
                subject: queue.subject()?,
                seen: format!("the queue goes when it was not used for {idle} ms ({from})"),
                fix: "declare the queue without x-expires, and remove queues by hand once they are empty".to_owned(),
            });
        }
        Ok(())
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::checks::check;

    fn look(durable: bool, arguments: Value, policy: Value, expected: &[&str]) {
        let queue = json!({
            "name": "q", "vhost": "/", "durable": durable, "arguments": arguments,
            "effective_policy_definition": policy,
        });
        check(&CHECK, &json!({ "queues": [queue] }), expected);
    }

    #[test]
    fn messages() {
        let found = "can lose: queue 'q' in vhost '/': messages expire after 1000 ms (argument), no dead-letter exchange";
        look(true, json!({ "x-message-ttl": 1000 }), json!({}), &[found]);
        let found =
            "can lose: queue 'q' in vhost '/': messages expire after 5 ms (policy), no dead-letter exchange";
        look(true, json!({}), json!({ "message-ttl": 5 }), &[found]);
        let safe = json!({ "x-message-ttl": 1000, "x-dead-letter-exchange": "dlx" });
        look(true, safe, json!({}), &[]);
        look(true, json!({}), json!({}), &[]);
    }

    #[test]
    fn queues() {
        let found =
            "can lose: queue 'q' in vhost '/': the queue goes when it was not used for 60 ms (argument)";
        let arguments = json!({ "x-expires": 60, "x-dead-letter-exchange": "dlx" });
        look(true, arguments.clone(), json!({}), &[found]);
        look(false, arguments, json!({}), &[]);
    }
}
