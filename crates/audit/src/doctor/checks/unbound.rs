//! Exchanges that lead nowhere, though messages come.

use std::collections::HashSet;

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "unbound-exchanges",
    title: "Exchanges without bindings that are published to",
    why: "Nothing leads on from such an exchange, so every message that comes to it is thrown away or goes back.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    let mut bound = HashSet::new();
    for binding in snapshot.list("bindings")? {
        bound.insert((binding.text("vhost")?, binding.text("source")?));
    }
    notes.each(snapshot.list("exchanges")?, |notes, exchange| {
        let name = exchange.text("name")?;
        let published = exchange.stat("publish_in");
        // The default exchange leads to every queue by its name.
        if published == 0 || name.is_empty() || bound.contains(&(exchange.text("vhost")?, name)) {
            return Ok(());
        }
        if exchange.setting("alternate-exchange")?.is_some() {
            return Ok(());
        }
        notes.find(Note {
            severity: Severity::LosesNow,
            subject: exchange.subject()?,
            seen: format!("{published} messages published to it, and no binding"),
            fix: "bind the queue that should have them, or declare the exchange with an alternate-exchange"
                .to_owned(),
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
    fn messages_that_lead_nowhere() {
        let check = |name: &str, published: u64, arguments, bindings, expected: &[&str]| {
            let exchange = json!({
                "name": name, "vhost": "/", "arguments": arguments, "message_stats": { "publish_in": published },
            });
            check(
                &CHECK,
                &json!({ "exchanges": [exchange], "bindings": bindings }),
                expected,
            );
        };
        let from = |vhost: &str| json!([{ "source": "e", "vhost": vhost, "destination": "q" }]);
        let lost = ["loses now: exchange 'e' in vhost '/': 4 messages published to it, and no binding"];
        check("e", 4, json!({}), json!([]), &lost);
        check("e", 4, json!({}), from("other"), &lost);
        check("e", 4, json!({}), from("/"), &[]);
        check("e", 0, json!({}), json!([]), &[]);
        check("", 4, json!({}), json!([]), &[]);
        check("e", 4, json!({ "alternate-exchange": "a" }), json!([]), &[]);
    }
}
