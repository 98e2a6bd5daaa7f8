//! Publishers that do not ask for confirms.

use super::Check;
use crate::doctor::finding::{Note, Severity};

pub(super) const CHECK: Check = Check {
    name: "unconfirmed-publishers",
    title: "Publishers without confirms",
    why: "What is under way when the connection or the broker goes is lost, and the publisher never learns of it.",
    look: |snapshot, notes| {
        notes.each(snapshot.list("channels")?, |notes, channel| {
            let published = channel.stat("publish");
            if published == 0 || channel.flag("confirm")? || channel.flag("transactional")? {
                return Ok(());
            }
            let user = channel.text("user").unwrap_or("unknown");
            notes.find(Note {
                severity: Severity::CanLose,
                subject: channel.subject()?,
                seen: format!("{published} messages published by user '{user}', none of them confirmed"),
                fix: "send confirm.select on the channel (confirm_delivery, confirmSelect) and publish again what is not \
                      confirmed in time"
                    .to_owned(),
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
    fn channels_that_publish_without_confirms() {
        let channel = |confirm, transactional, published| {
            json!({
                "name": "c (1)", "vhost": "/", "user": "ann", "confirm": confirm, "transactional": transactional,
                "message_stats": { "publish": published },
            })
        };
        let check = |channel, expected: &[&str]| check(&CHECK, &json!({ "channels": [channel] }), expected);
        check(
            channel(false, false, 7),
            &[
                "can lose: channel 'c (1)' in vhost '/': 7 messages published by user 'ann', none of them confirmed",
            ],
        );
        check(channel(true, false, 7), &[]);
        check(channel(false, true, 7), &[]);
        check(channel(false, false, 0), &[]);
        check(json!({ "name": "c (1)", "confirm": false }), &[]);
        check(
            json!({ "message_stats": { "publish": 1 } }),
            &["unchecked: 'confirm' of a channel x1"],
        );
    }

    #[test]
    fn channels_that_cannot_be_seen() {
        check(
            &CHECK,
            &json!({ "channels": "401 Not monitor user" }),
            &["unchecked: the list of channels (401 Not monitor user) x1"],
        );
    }
}
