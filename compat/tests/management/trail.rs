//! The trail of administrative acts, in a file of its own.

use crate::http;
use anyhow::{Context, ensure};
use everack_compat::broker::{Broker, Settings};
use serde_json::Value;

/// What is changed, refused and only looked at, and which of it is written down.
pub(crate) fn check(_: &Broker) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("audit.jsonl");
    let broker = Broker::with(Settings {
        management: true,
        config: format!("[audit]\nfile = {file:?}\n"),
        ..Settings::default()
    });
    let at = broker.management();
    let guest = "guest:guest";
    http::send(at, "PUT", "/api/queues/%2f/trail", guest, "{\"durable\": true}")?;
    http::get(at, "/api/overview", guest)?;
    http::get(at, "/api/overview", "guest:secret-word")?;
    http::request(at, "DELETE", "/api/queues/%2f/nope", guest)?;
    let text = std::fs::read_to_string(&file)?;
    ensure!(!text.contains("secret-word"), "a password in {text}");
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let acts: Vec<(String, String)> = lines?
        .iter()
        .map(|line| {
            ensure!(line["who"] == "guest" && line["over"] == "http", "{line}");
            let text = |name: &str| line[name].as_str().map(str::to_owned).context("a text");
            Ok((text("what")?, text("outcome")?))
        })
        .collect::<anyhow::Result<_>>()?;
    let expected = [
        ("PUT /api/queues/%2f/trail", "201"),
        ("log in", "the password is wrong"),
        ("DELETE /api/queues/%2f/nope", "404"),
    ];
    let seen: Vec<(&str, &str)> = acts.iter().map(|(what, outcome)| (&**what, &**outcome)).collect();
    ensure!(seen == expected, "{seen:?}");
    Ok(())
}
