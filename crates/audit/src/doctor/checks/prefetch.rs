//! Consumers that take all they can get.

use std::collections::HashMap;

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "unlimited-prefetch",
    title: "Consumers without a prefetch limit that hold many messages",
    why: "One consumer holds what others could work on; when it dies, all of it comes back at once, is delivered again, and \
          counts towards delivery limits.",
    look,
};

/// From how many unsettled messages on it is worth saying.
const MANY: u64 = 1_000;

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    let mut channels = HashMap::new();
    for channel in snapshot.list("channels")? {
        channels.insert(channel.text("name")?, channel);
    }
    notes.each(snapshot.list("consumers")?, |notes, consumer| {
        if !consumer.flag("ack_required")? || consumer.count("prefetch_count")? > 0 {
            return Ok(());
        }
        let name = consumer.inner("channel_details")?.text("name")?;
        let Some(channel) = channels.get(name) else {
            return Err(Missing("the channel of a consumer".to_owned()));
        };
        let unsettled = channel.count("messages_unacknowledged")?;
        if unsettled < MANY || channel.count("global_prefetch_count").unwrap_or(0) > 0 {
            return Ok(());
        }
        let tag = consumer.text("consumer_tag").unwrap_or("?");
        notes.find(Note {
            severity: Severity::LookAtIt,
            subject: channel.subject()?,
            seen: format!("consumer '{tag}' has prefetch 0 (unlimited), {unsettled} messages unacknowledged"),
            fix: "basic.qos(prefetch_count=100) or so, before basic.consume".to_owned(),
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
    fn many_without_a_limit() {
        let check = |prefetch: u64, global: u64, unsettled: u64, expected: &[&str]| {
            let consumer = json!({
                "consumer_tag": "t", "ack_required": true, "prefetch_count": prefetch,
                "channel_details": { "name": "c (1)" },
            });
            let channel = json!({
                "name": "c (1)", "vhost": "/", "messages_unacknowledged": unsettled, "global_prefetch_count": global,
            });
            check(
                &CHECK,
                &json!({ "consumers": [consumer], "channels": [channel] }),
                expected,
            );
        };
        let found = "look at it: channel 'c (1)' in vhost '/': consumer 't' has prefetch 0 (unlimited), \
                     5000 messages unacknowledged";
        check(0, 0, 5_000, &[found]);
        check(0, 0, 999, &[]);
        check(10, 0, 5_000, &[]);
        check(0, 10, 5_000, &[]);
    }
}
