//! Dead-letter exchanges that lead nowhere.

use std::collections::HashSet;

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Object, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "dead-letter-target",
    title: "Dead-letter exchanges that lead nowhere",
    why: "A message that is dead-lettered to an exchange that does not exist, or has no queue behind it, is thrown away.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    let topology = Topology::of(snapshot)?;
    notes.each(snapshot.list("queues")?, |notes, queue| {
        let Some((exchange, from)) = queue.setting("x-dead-letter-exchange")? else {
            return Ok(());
        };
        let exchange = exchange.as_str().unwrap_or_default();
        let Some((seen, fix)) = topology.trouble(queue, exchange)? else {
            return Ok(());
        };
        notes.find(Note {
            severity: Severity::CanLose,
            subject: queue.subject()?,
            seen: format!("its dead-letter exchange '{exchange}' ({from}) {seen}"),
            fix,
        });
        Ok(())
    });
    Ok(())
}

/// What is there, by virtual host and name.
struct Topology<'a> {
    exchanges: HashSet<(&'a str, &'a str)>,
    queues: HashSet<(&'a str, &'a str)>,
    /// Exchanges that something is bound to.
    bound: HashSet<(&'a str, &'a str)>,
}

impl<'a> Topology<'a> {
    fn of(snapshot: &'a Snapshot) -> Result<Self, Missing> {
        let names = |part, name| -> Result<HashSet<_>, Missing> {
            let objects = snapshot.list(part)?.into_iter();
            let named = |object: Object<'a>| Ok((object.text("vhost")?, object.text(name)?));
            objects.map(named).collect()
        };
        Ok(Self {
            exchanges: names("exchanges", "name")?,
            queues: names("queues", "name")?,
            bound: names("bindings", "source")?,
        })
    }

    /// What is wrong with a dead-letter exchange, and what to do.
    fn trouble(&self, queue: Object<'_>, exchange: &str) -> Result<Option<(String, String)>, Missing> {
        let vhost = queue.text("vhost")?;
        if exchange.is_empty() {
            // The default exchange leads to the queue that the routing key names.
            let Some((key, _)) = queue.setting("x-dead-letter-routing-key")? else {
                return Ok(None);
            };
            let key = key.as_str().unwrap_or_default();
            let missing = !self.queues.contains(&(vhost, key));
            return Ok(missing.then(|| {
                let seen = format!("leads to the queue '{key}', which does not exist");
                (seen, format!("declare the queue '{key}'"))
            }));
        }
        if !self.exchanges.contains(&(vhost, exchange)) {
            let fix = format!("declare the exchange '{exchange}', with a queue bound to it");
            return Ok(Some(("does not exist".to_owned(), fix)));
        }
        let unbound = !self.bound.contains(&(vhost, exchange));
        Ok(unbound.then(|| {
            (
                "has no bindings".to_owned(),
                format!("bind a queue to the exchange '{exchange}'"),
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::checks::check;

    fn look(arguments: Value, exchanges: Value, bindings: Value, expected: &[&str]) {
        let queues = json!([
            { "name": "q", "vhost": "/", "arguments": arguments },
            { "name": "dead", "vhost": "/", "arguments": {} },
        ]);
        let snapshot = json!({ "queues": queues, "exchanges": exchanges, "bindings": bindings });
        check(&CHECK, &snapshot, expected);
    }

    #[test]
    fn exchanges() {
        let dlx = || json!({ "x-dead-letter-exchange": "dlx" });
        let there = || json!([{ "name": "dlx", "vhost": "/" }]);
        let bound = || json!([{ "source": "dlx", "vhost": "/", "destination": "dead" }]);
        let missing =
            "can lose: queue 'q' in vhost '/': its dead-letter exchange 'dlx' (argument) does not exist";
        look(dlx(), json!([]), json!([]), &[missing]);
        look(
            dlx(),
            json!([{ "name": "dlx", "vhost": "other" }]),
            json!([]),
            &[missing],
        );
        let unbound =
            "can lose: queue 'q' in vhost '/': its dead-letter exchange 'dlx' (argument) has no bindings";
        look(dlx(), there(), json!([]), &[unbound]);
        look(dlx(), there(), bound(), &[]);
        look(json!({}), json!([]), json!([]), &[]);
    }

    #[test]
    fn the_default_exchange_leads_by_name() {
        let to = |key: &str| json!({ "x-dead-letter-exchange": "", "x-dead-letter-routing-key": key });
        look(to("dead"), json!([]), json!([]), &[]);
        let found = "can lose: queue 'q' in vhost '/': its dead-letter exchange '' (argument) leads to the queue 'gone', \
                     which does not exist";
        look(to("gone"), json!([]), json!([]), &[found]);
    }
}
