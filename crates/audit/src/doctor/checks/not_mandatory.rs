//! Publishes that are not mandatory.

use super::Check;
use crate::doctor::finding::{Note, Severity};
use crate::doctor::snapshot::Missing;

pub(super) const CHECK: Check = Check {
    name: "not-mandatory",
    title: "Publishers that would not be told of a missing queue",
    why: "Without the mandatory flag a publisher's confirm says nothing about whether any queue got the message.",
    look: |snapshot, notes| {
        let mut told = false;
        notes.each(snapshot.list("channels")?, |notes, channel| {
            told |= channel.has_stat("publish_not_mandatory");
            let (published, not) = (channel.stat("publish"), channel.stat("publish_not_mandatory"));
            if not == 0 {
                return Ok(());
            }
            notes.find(Note {
                severity: Severity::LookAtIt,
                subject: channel.subject()?,
                seen: format!("{not} of {published} messages were not published as mandatory"),
                fix: "publish with mandatory=true and handle basic.return".to_owned(),
            });
            Ok(())
        });
        let publishing = snapshot.list("channels")?;
        if !told && publishing.iter().any(|channel| channel.stat("publish") > 0) {
            return Err(Missing("which publishes are mandatory".to_owned()));
        }
        Ok(())
    },
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::checks::check;

    #[test]
    fn counts_if_the_broker_does() {
        let check = |stats, expected: &[&str]| {
            let channel = json!({ "name": "c (1)", "vhost": "/", "message_stats": stats });
            check(&CHECK, &json!({ "channels": [channel] }), expected);
        };
        check(
            json!({ "publish": 5, "publish_not_mandatory": 4 }),
            &["look at it: channel 'c (1)' in vhost '/': 4 of 5 messages were not published as mandatory"],
        );
        check(json!({ "publish": 5, "publish_not_mandatory": 0 }), &[]);
        check(
            json!({ "publish": 5 }),
            &["unchecked: which publishes are mandatory x1"],
        );
        check(json!({}), &[]);
    }
}
