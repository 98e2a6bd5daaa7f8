//! Definitions: what one broker exports the other imports, all of it or nothing.
//!
//! `management/definitions-rabbitmq.json` is an export of RabbitMQ 3.10.8, `definitions-everack.json` one of ours; each is imported into the broker under
//! test, whichever that is, and its own export afterwards has to say the same.

use anyhow::{Context, ensure};
use everack_compat::broker::{Broker, Settings, is_rabbitmq};
use everack_compat::{http, source};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;

const GUEST: &str = "guest:guest";
/// The sections that have to agree. RabbitMQ 3.10 says nothing of vhosts but their names.
const SECTIONS: [&str; 9] = [
    "users",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

fn main() {
    let arguments = Arguments::from_args();
    let trial = |name: &str, act: fn(&Broker) -> anyhow::Result<()>| {
        Trial::test(name, move || {
            let broker = Arc::new(Broker::with(Settings {
                management: true,
                ..Settings::default()
            }));
            Ok(act(&broker).map_err(|error| format!("{error:#}\n{}", broker.log()))?)
        })
    };
    let mut trials = vec![
        trial("an export of RabbitMQ is imported", |broker| {
            exchange(broker, "definitions-rabbitmq.json")
        }),
        trial("an export of Everack is imported", |broker| {
            exchange(broker, "definitions-everack.json")
        }),
    ];
    if !is_rabbitmq() {
        trials.push(trial("an import is all or nothing", all_or_nothing));
        trials.push(trial("a dry run tells the difference", dry_run));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn import(broker: &Broker, path: &str, document: &str) -> anyhow::Result<http::Answer> {
    http::send(broker.management(), "POST", path, GUEST, document)
}

fn export(broker: &Broker) -> anyhow::Result<Value> {
    http::get(broker.management(), "/api/definitions", GUEST)?.json()
}

fn exchange(broker: &Broker, file: &str) -> anyhow::Result<()> {
    let file = source("management").join(file);
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let given: Value = serde_json::from_str(&text)?;
    for again in [false, true] {
        let answer = import(broker, "/api/definitions", &text)?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 204, "again: {again}: {} {said}", answer.status);
        let held = export(broker)?;
        for section in SECTIONS {
            let missing = missing(&given[section], &held[section]);
            ensure!(
                missing.is_empty(),
                "{section}: not there: {missing:?}\n{}",
                held[section]
            );
        }
    }
    Ok(())
}

/// What is in one list and not in the other.
fn missing<'a>(wanted: &'a Value, held: &Value) -> Vec<&'a Value> {
    let empty = Vec::new();
    let held = held.as_array().unwrap_or(&empty);
    let wanted = wanted.as_array().map(Vec::as_slice).unwrap_or_default();
    wanted.iter().filter(|item| !held.contains(item)).collect()
}

/// The last item of each is wrong, and says so; what stands before it has not happened.
fn all_or_nothing(broker: &Broker) -> anyhow::Result<()> {
    let queue =
        json!({ "name": "never", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {} });
    let wrong = [
        (
            "queues",
            json!({ "name": "q", "vhost": "nowhere", "durable": true }),
            "queue 'q' in vhost 'nowhere': no_such_vhost",
        ),
        (
            "queues",
            json!({ "name": "q", "vhost": "/", "durable": true, "arguments": { "x-max-length": "x" } }),
            "queue 'q' in vhost '/': invalid arg 'x-max-length'",
        ),
        (
            "queues",
            json!({ "vhost": "/" }),
            "queue number 2 in vhost '/': [{key_missing,name}",
        ),
        ("queues", json!(5), "queue number 2: it is not an object"),
        (
            "exchanges",
            json!({ "name": "e", "vhost": "/", "type": "nonsense", "durable": true }),
            "exchange 'e' in vhost '/': unknown exchange type 'nonsense'",
        ),
        (
            "bindings",
            json!({ "source": "amq.topic", "vhost": "/", "destination": "never", "destination_type": "x" }),
            "binding 'amq.topic' to 'never' in vhost '/': destination_type 'x'",
        ),
    ];
    let before = export(broker)?;
    for (section, item, reason) in wrong {
        let mut document = json!({ "queues": [queue] });
        match &mut document[section] {
            Value::Array(items) => items.push(item),
            other => *other = json!([item]),
        }
        let answer = import(broker, "/api/definitions", &document.to_string())?;
        let told = answer.json()?["reason"].as_str().unwrap_or_default().to_owned();
        ensure!(
            answer.status == 400 && told.starts_with(reason),
            "{document}: {} {told}",
            answer.status
        );
        ensure!(export(broker)? == before, "{document}: something has happened");
    }
    let users = [
        (
            json!({ "users": [{ "name": "u", "tags": "", "password_hash": "???" }] }),
            "user 'u': not_base64",
        ),
        (
            json!({ "permissions": [{ "user": "nobody", "vhost": "/" }] }),
            "permission of user 'nobody' in vhost '/': no_such_user",
        ),
        (
            json!({ "policies": [{ "name": "p", "vhost": "/", "pattern": "[", "definition": { "max-length": 1 } }] }),
            "policy 'p' in vhost '/': pattern should be regular expression",
        ),
        (
            json!({ "parameters": [{ "name": "p", "vhost": "/", "component": "shovel", "value": {} }] }),
            "parameter 'p' in vhost '/': Validation failed\n\ncomponent shovel not found",
        ),
        (json!({ "queues": {} }), "queues is not a list"),
    ];
    for (document, reason) in users {
        let answer = import(broker, "/api/definitions", &document.to_string())?;
        let told = answer.json()?["reason"].as_str().unwrap_or_default().to_owned();
        ensure!(
            answer.status == 400 && told.starts_with(reason),
            "{document}: {} {told}",
            answer.status
        );
    }
    let deep = format!("{{\"queues\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
    for broken in ["nonsense", "[]", "{", &deep] {
        let answer = import(broker, "/api/definitions", broken)?;
        let told = answer.json()?["reason"].as_str().unwrap_or_default().to_owned();
        ensure!(
            answer.status == 400 && told.starts_with("failed_to_parse_json"),
            "{broken}: {told}"
        );
    }
    ensure!(export(broker)? == before, "something has happened");
    Ok(())
}

fn dry_run(broker: &Broker) -> anyhow::Result<()> {
    let before = export(broker)?;
    let queue = json!({ "name": "q", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {} });
    let document = json!({ "queues": [queue], "more": 1 }).to_string();
    let tried = || import(broker, "/api/definitions?dry_run=true", &document)?.json();
    let told = tried()?;
    ensure!(told["created"] == json!(["queue 'q' in vhost '/'"]), "{told}");
    ensure!(told["ignored"] == json!(["more: unknown"]), "{told}");
    ensure!(export(broker)? == before, "something has happened");
    ensure!(
        import(broker, "/api/definitions", &document)?.status == 204,
        "it is imported"
    );
    let told = tried()?;
    ensure!(
        told["created"] == json!([]) && told["kept"] == json!([]),
        "{told}"
    );
    // What is there otherwise stays, as in RabbitMQ.
    let other = json!({ "queues": [{ "name": "q", "vhost": "/", "durable": false }] }).to_string();
    let told = import(broker, "/api/definitions?dry_run=true", &other)?.json()?;
    ensure!(told["kept"] == json!(["queue 'q' in vhost '/'"]), "{told}");
    ensure!(
        import(broker, "/api/definitions", &other)?.status == 204,
        "it is passed over"
    );
    Ok(())
}
