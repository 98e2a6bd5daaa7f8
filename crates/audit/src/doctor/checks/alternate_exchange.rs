//! Alternate exchanges that do not exist.

use std::collections::HashSet;

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "alternate-exchange-missing",
    title: "Alternate exchanges that do not exist",
    why: "What finds no queue should go to the alternate exchange; as there is none of that name, it is thrown away.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    let exchanges = snapshot.list("exchanges")?;
    let mut there = HashSet::new();
    for exchange in &exchanges {
        there.insert((exchange.text("vhost")?, exchange.text("name")?));
    }
    notes.each(exchanges, |notes, exchange| {
        let Some((alternate, from)) = exchange.setting("alternate-exchange")? else {
            return Ok(());
        };
        let alternate = alternate.as_str().unwrap_or_default();
        if there.contains(&(exchange.text("vhost")?, alternate)) {
            return Ok(());
        }
        notes.find(Note {
            severity: Severity::CanLose,
            subject: exchange.subject()?,
            seen: format!("its alternate exchange '{alternate}' ({from}) does not exist"),
            fix: format!("declare the exchange '{alternate}', with a queue bound to it"),
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
    fn alternates_that_are_not_there() {
        let exchange = |name: &str, vhost: &str, arguments| json!({ "name": name, "vhost": vhost, "arguments": arguments });
        let check = |other: &str, expected: &[&str]| {
            let exchanges = [
                exchange("e", "/", json!({ "alternate-exchange": "a" })),
                exchange("a", other, json!({})),
            ];
            check(&CHECK, &json!({ "exchanges": exchanges }), expected);
        };
        check("/", &[]);
        check(
            "other",
            &["can lose: exchange 'e' in vhost '/': its alternate exchange 'a' (argument) does not exist"],
        );
    }

    #[test]
    fn a_policy_counts_as_well() {
        let exchange = json!({
            "name": "e", "vhost": "/", "arguments": {}, "policy": "p",
            "effective_policy_definition": { "alternate-exchange": "a" },
        });
        check(
            &CHECK,
            &json!({ "exchanges": [exchange] }),
            &["can lose: exchange 'e' in vhost '/': its alternate exchange 'a' (policy) does not exist"],
        );
    }
}
