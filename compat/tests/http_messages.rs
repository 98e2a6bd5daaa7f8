//! Messages and checks over HTTP: what is asked is answered with RabbitMQ's codes and texts, by RabbitMQ as by us.

use anyhow::{Context, ensure};
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::http;
use libtest_mimic::Arguments;
use serde_json::{Value, json};
use std::sync::Arc;

const GUEST: &str = "guest:guest";
/// May use the API, and nothing in the virtual host.
const NOBODY: &str = "nobody:nobody";
const DEFAULT: &str = "/api/exchanges/%2f/amq.default/publish";

/// In ours the users are the configuration's.
const CONFIG: &str = r#"
[[users]]
name = "nobody"
password_hash = "HASH"
tags = ["management"]
permissions = [{ vhost = "/", configure = "^$", write = "^$", read = "^$" }]
"#;

fn main() {
    let arguments = Arguments::from_args();
    let broker = Arc::new(Broker::with(Settings {
        management: true,
        // Of "nobody", as RabbitMQ writes it, with a salt of zeros.
        config: CONFIG.replace("HASH", "AAAAAHc48iQLVexqTJvl7XpIDcq1zMQgPbQxTqqWB3aiR9Sl"),
        ..Settings::default()
    }));
    prepare(&broker).unwrap_or_else(|error| panic!("nothing can be tested: {error:#}\n{}", broker.log()));
    let trial = |name: &str, act: fn(&Broker) -> anyhow::Result<()>| {
        let broker = broker.clone();
        everack_compat::trial(name, move || act(&broker))
    };
    let trials = vec![
        trial("what is published is gotten", round),
        trial("what has been gotten goes where it is told", fates),
        trial("publishing is refused in RabbitMQ's words", publish_refusals),
        trial("getting is refused in RabbitMQ's words", get_refusals),
        trial("rights are the caller's", rights),
        trial("health is told in RabbitMQ's words", health),
        trial("what stands is told in RabbitMQ's words", standing),
        trial("what is answered as routed is on the disk", durable),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    conclusion.exit();
}

fn prepare(broker: &Broker) -> anyhow::Result<()> {
    let put = |path: &str, body: Value| {
        let answer = http::send(broker.management(), "PUT", path, GUEST, &body.to_string())?;
        ensure!(matches!(answer.status, 201 | 204), "{path}: {}", answer.status);
        Ok(())
    };
    if is_rabbitmq() {
        put(
            "/api/users/nobody",
            json!({ "password": "nobody", "tags": "management" }),
        )?;
        put(
            "/api/permissions/%2f/nobody",
            json!({ "configure": "^$", "write": "^$", "read": "^$" }),
        )?;
    }
    for queue in ["round", "fates", "plain"] {
        put(&format!("/api/queues/%2f/{queue}"), json!({ "durable": true }))?;
    }
    let full = json!({ "x-max-length": 0, "x-overflow": "reject-publish" });
    put(
        "/api/queues/%2f/full",
        json!({ "durable": true, "arguments": full }),
    )?;
    put(
        "/api/exchanges/%2f/internal",
        json!({ "type": "fanout", "internal": true }),
    )
}

/// Sends a request and compares status and answer.
fn check(
    broker: &Broker,
    (method, path, login): (&str, &str, &str),
    body: &Value,
    status: u16,
    expected: &Value,
) -> anyhow::Result<()> {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = http::send(broker.management(), method, path, login, &text)?;
    let seen = if answer.body.is_empty() {
        Value::Null
    } else {
        answer.json()?
    };
    ensure!(
        answer.status == status && (expected.is_null() || seen == *expected),
        "{method} {path} {body}: {} {seen}, expected {status} {expected}",
        answer.status
    );
    Ok(())
}

fn bad(reason: impl Into<Value>) -> Value {
    json!({ "error": "bad_request", "reason": reason.into() })
}

fn message(key: &str, payload: &str) -> Value {
    json!({ "properties": {}, "routing_key": key, "payload": payload, "payload_encoding": "string" })
}

fn with(mut object: Value, field: &str, value: impl Into<Value>) -> Value {
    object[field] = value.into();
    object
}

fn without(mut object: Value, field: &str) -> Value {
    object
        .as_object_mut()
        .map(|object| object.remove(field))
        .unwrap_or_default();
    object
}

fn publish(broker: &Broker, message: &Value, routed: bool) -> anyhow::Result<()> {
    check(
        broker,
        ("POST", DEFAULT, GUEST),
        message,
        200,
        &json!({ "routed": routed }),
    )
}

fn get(broker: &Broker, queue: &str, terms: Value) -> anyhow::Result<Vec<Value>> {
    let mut terms = terms;
    terms["encoding"] = terms.get("encoding").cloned().unwrap_or(json!("auto"));
    let path = format!("/api/queues/%2f/{queue}/get");
    let answer = http::send(broker.management(), "POST", &path, GUEST, &terms.to_string())?;
    let seen = answer.json()?;
    let messages = seen.as_array().with_context(|| format!("no list: {seen}"))?;
    Ok(messages.clone())
}

fn payloads(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .filter_map(|message| message["payload"].as_str())
        .collect()
}

fn round(broker: &Broker) -> anyhow::Result<()> {
    let properties = json!({
        "headers": { "a": 1, "b": 1.5, "c": true, "d": "x", "e": { "f": [1, "2"] } },
        "delivery_mode": 2, "priority": 3, "correlation_id": "c", "reply_to": "r", "expiration": "60000",
        "message_id": "m", "timestamp": 1234, "type": "t", "user_id": "guest", "app_id": "a",
        "content_type": "text/plain", "content_encoding": "utf-8", "cluster_id": "cl",
    });
    publish(
        broker,
        &with(message("round", "hello"), "properties", properties.clone()),
        true,
    )?;
    let bytes = with(message("round", "/wA="), "payload_encoding", "base64");
    publish(broker, &bytes, true)?;
    publish(broker, &message("nobody", "hello"), false)?;
    let gotten = get(
        broker,
        "round",
        json!({ "count": 5, "ackmode": "ack_requeue_true" }),
    )?;
    let expected = |payload: &str, encoding: &str, bytes: u64, left: u64, properties: &Value| {
        json!({
            "payload_bytes": bytes, "redelivered": false, "exchange": "", "routing_key": "round",
            "message_count": left, "properties": properties, "payload": payload, "payload_encoding": encoding,
        })
    };
    let all = [
        expected("hello", "string", 5, 1, &properties),
        expected("/wA=", "base64", 2, 0, &json!([])),
    ];
    ensure!(gotten == all, "{gotten:?}");
    let terms = json!({ "count": "1", "ackmode": "ack_requeue_true", "encoding": "base64", "truncate": 2 });
    let gotten = get(broker, "round", terms)?;
    ensure!(payloads(&gotten) == ["aGU="], "{gotten:?}");
    ensure!(
        gotten[0]["payload_bytes"] == 5 && gotten[0]["redelivered"] == true,
        "{gotten:?}"
    );
    let none = get(
        broker,
        "round",
        json!({ "count": 0, "ackmode": "ack_requeue_true" }),
    )?;
    ensure!(none.is_empty(), "{none:?}");
    Ok(())
}

fn fates(broker: &Broker) -> anyhow::Result<()> {
    for payload in ["a", "b", "c", "d"] {
        publish(broker, &message("fates", payload), true)?;
    }
    let get = |count: u64, fate: &str, expected: &[&str]| {
        let gotten = get(broker, "fates", json!({ "count": count, "ackmode": fate }))?;
        ensure!(payloads(&gotten) == expected, "{fate}: {gotten:?}");
        Ok(())
    };
    get(9, "reject_requeue_true", &["a", "b", "c", "d"])?;
    get(9, "ack_requeue_true", &["a", "b", "c", "d"])?;
    get(1, "reject_requeue_false", &["a"])?;
    get(2, "ack_requeue_false", &["b", "c"])?;
    get(9, "ack_requeue_true", &["d"])
}

fn publish_refusals(broker: &Broker) -> anyhow::Result<()> {
    let refused =
        |message: Value, reason: Value| check(broker, ("POST", DEFAULT, GUEST), &message, 400, &bad(reason));
    let plain = || message("plain", "x");
    let with_properties = |properties: Value| with(plain(), "properties", properties);
    let not_base64 = with(with(plain(), "payload", "!!"), "payload_encoding", "base64");
    refused(not_base64, json!(["not_base64", "!!"]))?;
    let encoding = with(plain(), "payload_encoding", "utf8");
    refused(encoding, json!(["unsupported_encoding", "utf8"]))?;
    refused(with(plain(), "payload", 1), json!("payload_not_string"))?;
    for (properties, reason) in [
        (json!({ "priority": "x" }), json!(["not_int", "priority"])),
        (
            json!({ "delivery_mode": "2" }),
            json!(["not_int", "delivery_mode"]),
        ),
        (json!({ "message_id": 5 }), json!(["not_string", "message_id"])),
        (json!({ "headers": { "a": null } }), json!("null_not_allowed")),
        (
            json!({ "expiration": "foo" }),
            json!("406 PRECONDITION_FAILED - invalid expiration 'foo': no_integer"),
        ),
        (
            json!({ "user_id": "other" }),
            json!(
                "406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'"
            ),
        ),
    ] {
        refused(with_properties(properties), reason)?;
    }
    for field in ["routing_key", "properties", "payload", "payload_encoding"] {
        refused(
            without(plain(), field),
            json!(format!("[{{key_missing,{field}}}]")),
        )?;
    }
    let full = "rejected Unable to publish message. Check queue limits.";
    refused(message("full", "x"), json!(full))?;
    let long = "x".repeat(9_000_000);
    refused(
        message("plain", &long),
        json!("Exceeded HTTP request body size limit"),
    )?;
    refused(json!([1]), json!("not_json"))?;
    let at = |path: &str, status: u16, expected: Value| {
        check(broker, ("POST", path, GUEST), &plain(), status, &expected)
    };
    at(
        "/api/exchanges/%2f/internal/publish",
        400,
        bad("403 ACCESS_REFUSED - cannot publish to internal exchange 'internal' in vhost '/'"),
    )?;
    at(
        "/api/exchanges/%2f/nope/publish",
        400,
        bad("404 NOT_FOUND - no exchange 'nope' in vhost '/'"),
    )?;
    let refused = json!({ "error": "not_authorised", "reason": "Access refused." });
    at("/api/exchanges/nope/amq.direct/publish", 401, refused)?;
    check(broker, ("GET", DEFAULT, GUEST), &Value::Null, 405, &Value::Null)
}

fn get_refusals(broker: &Broker) -> anyhow::Result<()> {
    let refused = |terms: Value, reason: Value| {
        let path = "/api/queues/%2f/plain/get";
        check(broker, ("POST", path, GUEST), &terms, 400, &bad(reason))
    };
    let terms = || json!({ "count": 1, "ackmode": "ack_requeue_true", "encoding": "auto" });
    refused(with(terms(), "count", "x"), json!(["not_integer", "x"]))?;
    refused(with(terms(), "truncate", "x"), json!(["not_integer", "x"]))?;
    let encoding = "Unsupported encoding. Please use auto or base64.";
    refused(with(terms(), "encoding", "x"), json!(encoding))?;
    for field in ["count", "ackmode", "encoding"] {
        refused(
            without(terms(), field),
            json!(format!("[{{key_missing,{field}}}]")),
        )?;
    }
    let missing = json!({ "error": "not_found", "reason": "NOT_FOUND - no queue 'nope' in vhost '/'" });
    check(
        broker,
        ("POST", "/api/queues/%2f/nope/get", GUEST),
        &terms(),
        404,
        &missing,
    )
}

fn rights(broker: &Broker) -> anyhow::Result<()> {
    let refused = |access: &str, what: &str| {
        // Newer series of RabbitMQ than Debian's say which access.
        let access = if is_rabbitmq() { "" } else { access };
        format!("ACCESS_REFUSED - {access}access to {what} in vhost '/' refused for user 'nobody'")
    };
    let published = bad(format!("403 {}", refused("write ", "exchange 'amq.default'")));
    let unread = json!({ "error": "not_authorised", "reason": refused("read ", "queue 'plain'") });
    let untested = refused("configure ", "queue 'aliveness-test'");
    let untested = json!({ "error": "not_authorised", "reason": untested });
    let terms = json!({ "count": 1, "ackmode": "ack_requeue_true", "encoding": "auto" });
    let path = "/api/queues/%2f/plain/get";
    check(
        broker,
        ("POST", DEFAULT, NOBODY),
        &message("plain", "x"),
        400,
        &published,
    )?;
    check(broker, ("POST", path, NOBODY), &terms, 401, &unread)?;
    let path = "/api/aliveness-test/%2f";
    check(broker, ("GET", path, NOBODY), &Value::Null, 401, &untested)?;
    let admin = json!({ "error": "not_authorised", "reason": "Not administrator user" });
    for (method, path) in [
        ("POST", "/api/queues/%2f/plain/actions"),
        ("POST", "/api/rebalance/queues"),
        ("GET", "/api/feature-flags"),
    ] {
        let body = json!({ "action": "sync" });
        let body = if method == "GET" { &Value::Null } else { &body };
        check(broker, (method, path, NOBODY), body, 401, &admin)?;
    }
    Ok(())
}

fn health(broker: &Broker) -> anyhow::Result<()> {
    let get = |path: &str, status: u16, expected: Value| {
        check(broker, ("GET", path, GUEST), &Value::Null, status, &expected)
    };
    let ok = || json!({ "status": "ok" });
    get("/api/aliveness-test/%2f", 200, ok())?;
    let none = json!({ "error": "Object Not Found", "reason": "Not Found" });
    get("/api/aliveness-test/nope", 404, none)?;
    get("/api/healthchecks/node", 200, ok())?;
    let check = |name: &str, status: u16, expected: Value| {
        get(&format!("/api/health/checks/{name}"), status, expected)
    };
    for name in [
        "alarms",
        "local-alarms",
        "virtual-hosts",
        "certificate-expiration/1/months",
    ] {
        check(name, 200, ok())?;
    }
    for name in ["node-is-mirror-sync-critical", "node-is-quorum-critical"] {
        check(
            name,
            200,
            json!({ "status": "ok", "reason": "single node cluster" }),
        )?;
    }
    let units = "Time unit not recognised. Supported units: days, weeks, months, years.";
    check("certificate-expiration/1/hours", 400, bad(units))?;
    check(
        "certificate-expiration/x/days",
        400,
        bad("Invalid expiration value."),
    )?;
    let port = broker.address().port();
    let found = json!({ "status": "ok", "port": port });
    check(&format!("port-listener/{port}"), 200, found)?;
    check("port-listener/1", 503, Value::Null)?;
    check("port-listener/x", 400, bad("Invalid port"))?;
    let amqp = json!({ "status": "ok", "protocol": "amqp" });
    check("protocol-listener/amqp", 200, amqp.clone())?;
    check("protocol-listener/amqp091", 200, amqp)?;
    check("protocol-listener/mqtt", 503, Value::Null)
}

fn standing(broker: &Broker) -> anyhow::Result<()> {
    let ask = |method: &str, path: &str, body: Value, status: u16, expected: Value| {
        check(broker, (method, path, GUEST), &body, status, &expected)
    };
    let auth = json!({ "enable_uaa": false, "uaa_client_id": "", "uaa_location": "" });
    check(broker, ("GET", "/api/auth", ""), &Value::Null, 200, &auth)?;
    let enable = "/api/feature-flags/quorum_queue/enable";
    ask("PUT", enable, json!({ "name": "quorum_queue" }), 204, Value::Null)?;
    ask(
        "PUT",
        "/api/feature-flags/nope/enable",
        json!({ "name": "nope" }),
        400,
        bad("unsupported"),
    )?;
    let actions = "/api/queues/%2f/plain/actions";
    ask("POST", actions, json!({ "action": "sync" }), 204, Value::Null)?;
    ask(
        "POST",
        actions,
        json!({ "action": "x" }),
        400,
        bad(json!(["unknown", "x"])),
    )?;
    ask("POST", actions, json!({}), 400, bad("[{key_missing,action}]"))?;
    ask("POST", "/api/rebalance/queues", json!({}), 204, Value::Null)?;
    ask(
        "DELETE",
        "/api/connections/username/nobody",
        Value::Null,
        204,
        Value::Null,
    )?;
    ask(
        "GET",
        "/api/connections/username/nobody",
        Value::Null,
        200,
        json!([]),
    )?;
    let overview = http::get(broker.management(), "/api/overview", GUEST)?.json()?;
    let node = overview["node"].as_str().context("the node has a name")?;
    let start = format!("/api/vhosts/%2f/start/{node}");
    ask("POST", &start, json!({}), 204, Value::Null)?;
    let text = format!("Request to node {node} failed with {{no_such_vhost,<<\"nope\">>}}");
    let start = format!("/api/vhosts/nope/start/{node}");
    ask("POST", &start, json!({}), 400, bad(text))?;
    let answer = http::get(broker.management(), &format!("/api/nodes/{node}/memory"), GUEST)?;
    let memory = answer.json()?["memory"].clone();
    let total = memory["total"]["rss"].as_u64().unwrap_or(0);
    ensure!(total > 0 && memory["other_system"].is_u64(), "{memory}");
    Ok(())
}

/// Our promise: an answer comes when the message is durable, so it outlives the power. RabbitMQ promises it for persistent messages.
fn durable(_: &Broker) -> anyhow::Result<()> {
    let mut broker = Broker::with(Settings {
        management: true,
        ..Settings::default()
    });
    let queue = json!({ "durable": true }).to_string();
    http::send(
        broker.management(),
        "PUT",
        "/api/queues/%2f/durable",
        GUEST,
        &queue,
    )?;
    let persistent = with(
        message("durable", "kept"),
        "properties",
        json!({ "delivery_mode": 2 }),
    );
    publish(&broker, &persistent, true)?;
    broker.restart()?;
    let gotten = get(
        &broker,
        "durable",
        json!({ "count": 9, "ackmode": "ack_requeue_false" }),
    )?;
    ensure!(payloads(&gotten) == ["kept"], "{gotten:?}");
    Ok(())
}
