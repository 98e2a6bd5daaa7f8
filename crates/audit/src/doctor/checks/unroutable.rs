//! Messages that no queue wanted.

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Object, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "unroutable",
    title: "Messages that no queue wanted",
    why: "A message whose exchange finds no queue for it is confirmed and thrown away, unless it was published as mandatory.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    let overview = snapshot.overview()?;
    if !overview.has_stat("drop_unroutable") && by_exchange(snapshot, notes)? {
        return Ok(());
    }
    // A broker that counts has the counters there once anything was published.
    if !overview.has_stat("drop_unroutable") && overview.has_stat("publish") {
        return Err(Missing(
            "'drop_unroutable' of the overview's message_stats".to_owned(),
        ));
    }
    let (dropped, returned) = (
        overview.stat("drop_unroutable"),
        overview.stat("return_unroutable"),
    );
    if dropped > 0 {
        notes.find(Note {
            severity: Severity::LosesNow,
            subject: "the broker".to_owned(),
            seen: format!("{dropped} messages vanished{}", culprits(snapshot, "drop_unroutable")),
            fix: "bind a queue for them, or give the exchange an alternate-exchange with a queue behind it; publish with \
                  mandatory=true to get them back"
                .to_owned(),
        });
    }
    if returned > 0 {
        notes.find(Note {
            severity: Severity::LookAtIt,
            subject: "the broker".to_owned(),
            seen: format!(
                "{returned} messages went back to their publishers{}",
                culprits(snapshot, "return_unroutable")
            ),
            fix: "see to it that the publishers handle basic.return: the broker confirms these messages as well".to_owned(),
        });
    }
    Ok(())
}

/// LavinMQ counts by exchange only, and what went back among it. Whether the broker does it that way.
fn by_exchange(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<bool, Missing> {
    let exchanges = snapshot.list("exchanges").unwrap_or_default();
    let counts = exchanges.iter().any(|exchange| exchange.has_stat("unroutable"));
    notes.each(exchanges, |notes, exchange| {
        let unroutable = exchange.stat("unroutable");
        if unroutable > 0 {
            notes.find(Note {
                severity: Severity::LosesNow,
                subject: exchange.subject()?,
                seen: format!("{unroutable} messages found no queue; those that were not mandatory are gone"),
                fix: "bind a queue for them, or give the exchange an alternate-exchange; publish with mandatory=true".to_owned(),
            });
        }
        Ok(())
    });
    Ok(counts)
}

/// Which exchanges and channels counted it, as far as the broker tells.
fn culprits(snapshot: &Snapshot, counter: &str) -> String {
    let mut told = Vec::new();
    for part in ["exchanges", "channels"] {
        for object in snapshot.list(part).unwrap_or_default() {
            told.extend(culprit(object, counter));
        }
    }
    if told.is_empty() {
        String::new()
    } else {
        format!(": {}", told.join(", "))
    }
}

fn culprit(object: Object<'_>, counter: &str) -> Option<String> {
    let count = object.stat(counter);
    (count > 0).then(|| {
        object
            .subject()
            .map(|subject| format!("{count} at {subject}"))
            .ok()
    })?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::checks::check;

    #[test]
    fn vanished_and_returned() {
        let stats = |dropped: u64, returned: u64| json!({ "overview": { "message_stats": { "drop_unroutable": dropped, "return_unroutable": returned } } });
        check(&CHECK, &stats(0, 0), &[]);
        check(
            &CHECK,
            &stats(3, 0),
            &["loses now: the broker: 3 messages vanished"],
        );
        check(
            &CHECK,
            &stats(0, 2),
            &["look at it: the broker: 2 messages went back to their publishers"],
        );
        check(&CHECK, &json!({ "overview": {} }), &[]);
        check(
            &CHECK,
            &json!({ "overview": { "message_stats": { "publish": 5 } } }),
            &["unchecked: 'drop_unroutable' of the overview's message_stats x1"],
        );
    }

    #[test]
    fn names_who_did_it() {
        let snapshot = json!({
            "overview": { "message_stats": { "drop_unroutable": 3 } },
            "exchanges": [
                { "name": "e", "vhost": "/", "message_stats": { "drop_unroutable": 3 } },
                { "name": "f", "vhost": "/" },
            ],
            "channels": [{ "name": "c (1)", "vhost": "/", "message_stats": { "drop_unroutable": 2 } }],
        });
        let expected = "loses now: the broker: 3 messages vanished: \
                        3 at exchange 'e' in vhost '/', 2 at channel 'c (1)' in vhost '/'";
        check(&CHECK, &snapshot, &[expected]);
    }
}
