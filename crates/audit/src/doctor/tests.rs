//! Brokers whose API tells less: shapes made after LavinMQ's published description of its API, as it cannot be installed
//! beside us. A field that is not there is said to be unchecked; nothing is passed over in silence.

use serde_json::{Value, json};

use super::{Snapshot, diagnose};

/// A LavinMQ with one of everything. It has no `messages_persistent`, no types of queues, no limit of the disk, and counts what
/// is unroutable by exchange.
fn lavinmq() -> Value {
    json!({
        "overview": {
            "lavinmq_version": "2.9.1", "node": "mq", "uptime": 100,
            "message_stats": { "publish": 20, "ack": 5, "deliver": 9, "get": 0, "redeliver": 0, "reject": 0 },
        },
        "nodes": [{
            "name": "mq", "running": true, "mem_used": 100, "mem_limit": 1_000_000, "disk_free": 50, "disk_total": 100,
            "followers": [],
        }],
        "queues": [{
            "name": "q", "vhost": "/", "durable": true, "exclusive": false, "auto_delete": false, "state": "running",
            "arguments": { "x-max-length": 5, "x-delivery-limit": 3 }, "consumers": 1, "messages": 5, "ready": 2, "unacked": 3,
            "policy": null, "effective_policy_definition": {},
            "message_stats": { "publish": 20, "deliver": 9, "ack": 5 },
        }],
        "exchanges": [{
            "name": "e", "vhost": "/", "type": "direct", "durable": true, "arguments": {}, "policy": null,
            "effective_policy_definition": null, "message_stats": { "publish_in": 4, "publish_out": 0, "unroutable": 4 },
        }],
        "bindings": [],
        "connections": [],
        "channels": [{
            "name": "c[1]", "vhost": "/", "user": "ann", "confirm": false, "transactional": false, "prefetch_count": 0,
            "global_prefetch_count": 0, "messages_unacknowledged": 3, "message_stats": { "publish": 20, "ack": 5 },
        }],
        "consumers": [{
            "consumer_tag": "t", "ack_required": false, "exclusive": false, "prefetch_count": 0,
            "queue": { "name": "q", "vhost": "/" }, "channel_details": { "name": "c[1]" },
        }],
        "users": [{ "name": "ann" }],
        "policies": [],
    })
}

#[test]
fn lavinmq_is_read_as_far_as_it_tells() {
    let diagnosis = diagnose(&Snapshot::of(&lavinmq()));
    assert_eq!(diagnosis.product, "LavinMQ 2.9.1");
    let found: Vec<&str> = diagnosis.findings.iter().map(|finding| finding.check).collect();
    let expected = [
        "unroutable",
        "unbound-exchanges",
        "unconfirmed-publishers",
        "drop-head",
        "delivery-limit",
        "no-ack-consumers",
        "one-replica",
    ];
    assert_eq!(found, expected);
    let unchecked: Vec<String> = diagnosis
        .unchecked
        .iter()
        .map(|unchecked| format!("{}: {}", unchecked.check, unchecked.what))
        .collect();
    let expected = [
        "not-mandatory: which publishes are mandatory",
        "transient-messages: 'messages_persistent' of a queue",
        "alarms: 'disk_free_limit' of a node",
    ];
    assert_eq!(unchecked, expected);
}

#[test]
fn a_user_that_sees_nothing_is_told_so() {
    let mut blind = lavinmq();
    for part in [
        "nodes",
        "queues",
        "exchanges",
        "bindings",
        "connections",
        "channels",
        "consumers",
        "users",
    ] {
        blind[part] = json!("401 not allowed");
    }
    let diagnosis = diagnose(&Snapshot::of(&blind));
    assert!(diagnosis.findings.is_empty(), "{:?}", diagnosis.findings);
    for check in super::checks::ALL {
        // These two look at RabbitMQ only.
        if ["unsynced-confirms", "at-most-once-dead-lettering"].contains(&check.name) {
            continue;
        }
        assert!(
            diagnosis
                .unchecked
                .iter()
                .any(|unchecked| unchecked.check == check.name),
            "{} passed in silence",
            check.name
        );
    }
}
