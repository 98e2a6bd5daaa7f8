//! Memory and disk that run short.

use super::Check;
use crate::doctor::finding::{Note, Notes, Severity};
use crate::doctor::snapshot::{Missing, Object, Snapshot};

pub(super) const CHECK: Check = Check {
    name: "alarms",
    title: "Memory or disk runs short",
    why: "While an alarm stands, publishers are blocked: what they cannot hand over waits in their memory, and goes with them.",
    look,
};

fn look(snapshot: &Snapshot, notes: &mut Notes<'_>) -> Result<(), Missing> {
    let nodes = snapshot.list("nodes")?;
    notes.each(nodes.iter().copied(), memory);
    notes.each(nodes, disk);
    Ok(())
}

fn memory(notes: &mut Notes<'_>, node: Object<'_>) -> Result<(), Missing> {
    let (used, limit) = (node.count("mem_used")?, node.count("mem_limit")?);
    let alarm = node.flag("mem_alarm").unwrap_or(used >= limit);
    // More than four fifths of the limit.
    if alarm || used / 4 > limit / 5 {
        let fix = "add memory or raise the limit (memory.process_max, vm_memory_high_watermark), and let consumers catch up";
        notes.find(note(
            node,
            alarm,
            format!("{used} bytes of memory used, {limit} is the limit"),
            fix,
        )?);
    }
    Ok(())
}

fn disk(notes: &mut Notes<'_>, node: Object<'_>) -> Result<(), Missing> {
    let (free, limit) = (node.count("disk_free")?, node.count("disk_free_limit")?);
    let alarm = node.flag("disk_free_alarm").unwrap_or(free < limit);
    // The limit is more than four fifths of what is free.
    if alarm || limit / 4 > free / 5 {
        let fix =
            "make room on the disk; a limit (data.free_min, disk_free_limit) is no reserve to live from";
        notes.find(note(
            node,
            alarm,
            format!("{free} bytes of disk free, {limit} is the limit"),
            fix,
        )?);
    }
    Ok(())
}

fn note(node: Object<'_>, alarm: bool, seen: String, fix: &str) -> Result<Note, Missing> {
    Ok(Note {
        severity: if alarm {
            Severity::CanLose
        } else {
            Severity::LookAtIt
        },
        subject: node.subject()?,
        seen: if alarm {
            format!("{seen}: publishers are blocked")
        } else {
            seen
        },
        fix: fix.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::checks::check;

    fn node(used: u64, mem_alarm: bool, free: u64, disk_alarm: bool) -> Value {
        json!({
            "name": "n", "mem_used": used, "mem_limit": 1000, "mem_alarm": mem_alarm,
            "disk_free": free, "disk_free_limit": 1000, "disk_free_alarm": disk_alarm,
        })
    }

    #[test]
    fn near_and_reached() {
        let check = |node: Value, expected: &[&str]| check(&CHECK, &json!({ "nodes": [node] }), expected);
        check(node(800, false, 1250, false), &[]);
        check(
            node(810, false, 5000, false),
            &["look at it: node 'n': 810 bytes of memory used, 1000 is the limit"],
        );
        check(
            node(1100, true, 5000, false),
            &["can lose: node 'n': 1100 bytes of memory used, 1000 is the limit: publishers are blocked"],
        );
        check(
            node(100, false, 1200, false),
            &["look at it: node 'n': 1200 bytes of disk free, 1000 is the limit"],
        );
        check(
            node(100, false, 900, true),
            &["can lose: node 'n': 900 bytes of disk free, 1000 is the limit: publishers are blocked"],
        );
    }

    #[test]
    fn a_broker_without_a_disk_limit_in_its_api() {
        check(
            &CHECK,
            &json!({ "nodes": [{ "name": "n", "mem_used": 1, "mem_limit": 10, "disk_free": 5 }] }),
            &["unchecked: 'disk_free_limit' of a node x1"],
        );
    }
}
