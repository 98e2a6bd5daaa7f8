//! Messages that consumers sit on.

use super::Check;
use crate::doctor::finding::{Note, Severity};

pub(super) const CHECK: Check = Check {
    name: "unacknowledged",
    title: "Consumers that acknowledge nothing, or hold very much",
    why: "What a consumer holds and never acknowledges is worked on by nobody, and is delivered again when it goes.",
    look: |snapshot, notes| {
        notes.each(snapshot.list("channels")?, |notes, channel| {
            let unsettled = channel.count("messages_unacknowledged")?;
            let acknowledged = channel.stat("ack");
            let seen = match (unsettled, acknowledged) {
                (SOME.., 0) => format!("{unsettled} messages unacknowledged, none ever acknowledged"),
                (MANY.., _) => format!("{unsettled} messages unacknowledged"),
                _ => return Ok(()),
            };
            notes.find(Note {
                severity: Severity::LookAtIt,
                subject: channel.subject()?,
                seen,
                fix:
                    "see whether the consumer is stuck, or forgets to ack; limit what it gets with basic.qos"
                        .to_owned(),
            });
            Ok(())
        });
        Ok(())
    },
};

/// From how many on it is odd that nothing is acknowledged.
const SOME: u64 = 100;
/// From how many on it is much in any case.
const MANY: u64 = 10_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::checks::check;

    #[test]
    fn stuck_or_greedy() {
        let check = |unsettled: u64, acknowledged: u64, expected: &[&str]| {
            let channel = json!({
                "name": "c (1)", "vhost": "/", "messages_unacknowledged": unsettled,
                "message_stats": { "ack": acknowledged },
            });
            check(&CHECK, &json!({ "channels": [channel] }), expected);
        };
        let channel = "look at it: channel 'c (1)' in vhost '/'";
        check(
            100,
            0,
            &[&format!(
                "{channel}: 100 messages unacknowledged, none ever acknowledged"
            )],
        );
        check(99, 0, &[]);
        check(9_999, 1, &[]);
        check(10_000, 1, &[&format!("{channel}: 10000 messages unacknowledged")]);
    }
}
