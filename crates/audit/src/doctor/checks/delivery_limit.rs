//! Messages that are given up after too many deliveries.

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Kind, Missing, Object, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "delivery-limit",
    title: "Delivery limits without a dead-letter exchange",
    why: "A message that comes back once too often, as when its consumer crashes, is thrown away.",
    look,
};

/// What quorum queues of RabbitMQ have by default, from this version on.
const RABBITMQ_DEFAULT: u64 = 20;
const RABBITMQ_DEFAULT_SINCE: u32 = 4;

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    // Everack parks what has been delivered too often.
    if snapshot.product.kind == Kind::Everack {
        return Ok(());
    }
    notes.each(snapshot.list("queues")?, |notes, queue| {
        let Some((limit, from)) = limit(snapshot, queue)? else {
            return Ok(());
        };
        if queue.setting("x-dead-letter-exchange")?.is_some() {
            return Ok(());
        }
        notes.find(Note {
            severity: Severity::CanLose,
            subject: queue.subject()?,
            seen: format!("{limit} deliveries at most ({from}), no dead-letter exchange"),
            fix: "set x-dead-letter-exchange (policy key: dead-letter-exchange) to an exchange with a queue behind it, or \
                  x-delivery-limit=-1"
                .to_owned(),
        });
        Ok(())
    });
    Ok(())
}

fn limit(snapshot: &Snapshot, queue: Object<'_>) -> Result<Option<(u64, &'static str)>, Missing> {
    if let Some((limit, from)) = queue.setting("x-delivery-limit")? {
        // Below zero is no limit.
        return Ok(limit.as_u64().map(|limit| (limit, from)));
    }
    let product = &snapshot.product;
    let by_default = product.kind == Kind::RabbitMq && product.major() >= Some(RABBITMQ_DEFAULT_SINCE);
    Ok((by_default && queue.queue_type() == "quorum").then_some((RABBITMQ_DEFAULT, "the default")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::checks::check;

    fn look(version: &str, kind: &str, arguments: Value, expected: &[&str]) {
        let overview = json!({ "product_name": "RabbitMQ", "rabbitmq_version": version });
        look_at(&overview, kind, arguments, expected);
    }

    fn look_at(overview: &Value, kind: &str, arguments: Value, expected: &[&str]) {
        let queue = json!({ "name": "q", "vhost": "/", "type": kind, "arguments": arguments });
        check(
            &CHECK,
            &json!({ "overview": overview, "queues": [queue] }),
            expected,
        );
    }

    #[test]
    fn given_and_by_default() {
        let given =
            "can lose: queue 'q' in vhost '/': 5 deliveries at most (argument), no dead-letter exchange";
        look("3.10.8", "quorum", json!({ "x-delivery-limit": 5 }), &[given]);
        let default =
            "can lose: queue 'q' in vhost '/': 20 deliveries at most (the default), no dead-letter exchange";
        look("4.1.0", "quorum", json!({}), &[default]);
        look("3.10.8", "quorum", json!({}), &[]);
        look("4.1.0", "classic", json!({}), &[]);
        look("4.1.0", "quorum", json!({ "x-delivery-limit": -1 }), &[]);
        look("4.1.0", "quorum", json!({ "x-dead-letter-exchange": "dlx" }), &[]);
    }

    #[test]
    fn everack_parks() {
        let overview = json!({ "product_name": "Everack", "product_version": "0.1.0" });
        look_at(&overview, "quorum", json!({ "x-delivery-limit": 5 }), &[]);
    }
}
