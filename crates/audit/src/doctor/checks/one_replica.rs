//! Messages of which there is one copy.

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "one-replica",
    title: "One copy of the messages",
    why: "If the disk of that one node dies, everything that only it held is gone.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    let nodes = snapshot.list("nodes")?;
    if let [node] = nodes.as_slice() {
        // LavinMQ's leader lists its followers within itself.
        if node
            .get("followers")
            .and_then(|list| list.as_array())
            .is_some_and(|list| !list.is_empty())
        {
            return Ok(());
        }
        notes.find(Note {
            severity: Severity::LookAtIt,
            subject: node.subject()?,
            seen: "it is the only one".to_owned(),
            fix: "put its data on a mirrored disk; or run a cluster of three nodes with replicated queues"
                .to_owned(),
        });
        return Ok(());
    }
    notes.each(snapshot.list("queues")?, |notes, queue| {
        if !queue.flag("durable")? || queue.flag("exclusive").unwrap_or(false) {
            return Ok(());
        }
        let seen = match queue.queue_type() {
            "quorum" | "stream" => {
                let members = queue.get("members").and_then(|members| members.as_array());
                let members = members.ok_or_else(|| Missing("'members' of a queue".to_owned()))?;
                if members.len() > 1 {
                    return Ok(());
                }
                "it has one member"
            }
            _ => "a classic queue is on one node only",
        };
        notes.find(Note {
            severity: Severity::CanLose,
            subject: queue.subject()?,
            seen: format!("{seen}, of {} nodes", nodes.len()),
            fix: match queue.queue_type() {
                "classic" => "declare it with x-queue-type=quorum".to_owned(),
                _ => "rabbitmq-queues grow NODE all".to_owned(),
            },
        });
        Ok(())
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::checks::check;

    fn queue(kind: &str, members: Option<&[&str]>) -> Value {
        json!({ "name": "q", "vhost": "/", "durable": true, "type": kind, "members": members })
    }

    #[test]
    fn one_node_is_one_copy_of_all() {
        let snapshot = json!({ "nodes": [{ "name": "n@h" }], "queues": [queue("classic", None)] });
        check(&CHECK, &snapshot, &["look at it: node 'n@h': it is the only one"]);
    }

    #[test]
    fn followers_are_copies() {
        check(
            &CHECK,
            &json!({ "nodes": [{ "name": "n", "followers": [{ "id": "2" }] }] }),
            &[],
        );
    }

    #[test]
    fn a_cluster_with_queues_that_are_not_replicated() {
        let check = |queue, expected: &[&str]| {
            let nodes = json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }]);
            check(&CHECK, &json!({ "nodes": nodes, "queues": [queue] }), expected);
        };
        let classic = "can lose: queue 'q' in vhost '/': a classic queue is on one node only, of 3 nodes";
        check(queue("classic", None), &[classic]);
        let single = "can lose: queue 'q' in vhost '/': it has one member, of 3 nodes";
        check(queue("quorum", Some(&["a"])), &[single]);
        check(queue("quorum", Some(&["a", "b", "c"])), &[]);
        check(queue("quorum", None), &["unchecked: 'members' of a queue x1"]);
    }

    #[test]
    fn who_may_not_see_the_nodes_knows_nothing() {
        check(
            &CHECK,
            &json!({ "nodes": "401 Not monitor user" }),
            &["unchecked: the list of nodes (401 Not monitor user) x1"],
        );
    }
}
