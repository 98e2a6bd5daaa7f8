//! Queues whose confirms do not wait for the disk.

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Kind, Missing, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "unsynced-confirms",
    title: "Confirms that do not wait for the disk",
    why: "RabbitMQ confirms persistent messages of classic queues and streams before they are synced: a power failure or a \
          crash of the operating system loses what was confirmed last.",
    look,
};

/// As many names as are shown.
const NAMES_MAX: usize = 5;

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    if snapshot.product.kind != Kind::RabbitMq {
        return Ok(());
    }
    let mut names = Vec::new();
    notes.each(snapshot.list("queues")?, |_, queue| {
        if queue.flag("durable")? && queue.queue_type() != "quorum" {
            names.push(queue.subject()?);
        }
        Ok(())
    });
    if names.is_empty() {
        return Ok(());
    }
    let listed = names[..names.len().min(NAMES_MAX)].join(", ");
    let more = match names.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    notes.find(Note {
        severity: Severity::CanLose,
        subject: format!("{} durable queues", names.len()),
        seen: format!("{listed}{more}"),
        fix: "declare them with x-queue-type=quorum, in a cluster of three nodes or more".to_owned(),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::checks::check;

    fn snapshot(product: &str, queues: &[Value]) -> Value {
        json!({ "overview": { "product_name": product }, "queues": queues })
    }

    #[test]
    fn only_where_it_is_so() {
        let queue = |kind: &str, durable: bool| json!({ "name": "q", "vhost": "/", "type": kind, "durable": durable });
        let found = ["can lose: 1 durable queues: queue 'q' in vhost '/'"];
        check(&CHECK, &snapshot("RabbitMQ", &[queue("classic", true)]), &found);
        check(&CHECK, &snapshot("RabbitMQ", &[queue("stream", true)]), &found);
        check(&CHECK, &snapshot("RabbitMQ", &[queue("quorum", true)]), &[]);
        check(&CHECK, &snapshot("RabbitMQ", &[queue("classic", false)]), &[]);
        check(&CHECK, &snapshot("Everack", &[queue("classic", true)]), &[]);
    }

    #[test]
    fn many_are_counted() {
        let queues: Vec<Value> = (0..7)
            .map(|number| json!({ "name": number.to_string(), "type": "classic", "durable": true }))
            .collect();
        let expected =
            "can lose: 7 durable queues: queue '0', queue '1', queue '2', queue '3', queue '4' and 2 more";
        check(&CHECK, &snapshot("RabbitMQ", &queues), &[expected]);
    }
}
