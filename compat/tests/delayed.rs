//! Exchanges of type `x-delayed-message`, with pika: the plugin's rules, crashes while messages wait, and what operators see and call off.

use anyhow::{Context as _, ensure};
use everack_compat::broker::{Broker, Settings};
use everack_compat::client::python;
use everack_compat::{http, script};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const GUEST: &str = "guest:guest";
const LATE: &str = "/api/everack/delayed/%2f/late";

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let broker = Arc::new(Broker::start());
    let mut trials = script::trials("pika/delayed.py", &broker);
    let own = Arc::new(Mutex::new(Broker::with(Settings {
        management: true,
        ..Settings::default()
    })));
    let killed = own.clone();
    trials.push(everack_compat::trial(
        "what waits survives SIGKILL, is listed and called off",
        move || survives(&mut killed.lock().unwrap()),
    ));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(own);
    drop(broker);
    conclusion.exit();
}

/// Runs one case of the script on the other side of the crash.
fn run(broker: &Broker, case: &str) -> anyhow::Result<()> {
    let mut command = python("pika/delayed_crash.py");
    let output = command.args(["--url", &broker.url(), "--only", case]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let verdict: Value = serde_json::from_str(text.trim()).with_context(|| text.clone())?;
    ensure!(verdict["ok"] == true, "{case}: {text}");
    Ok(())
}

fn survives(broker: &mut Broker) -> anyhow::Result<()> {
    run(broker, "before")?;
    // Once while all of it waits, and again while some of it goes.
    broker.restart()?;
    std::thread::sleep(Duration::from_millis(2500));
    broker.restart()?;
    run(broker, "after")?;
    let list = || http::get(broker.management(), LATE, GUEST)?.json();
    let listed = list()?;
    ensure!(listed["messages_waiting"] == 1, "{listed}");
    let message = &listed["messages"][0];
    ensure!(message["routing_key"] == "k", "{listed}");
    ensure!(message["payload_bytes"] == "much later".len(), "{listed}");
    let exchange = http::get(broker.management(), "/api/exchanges/%2f/late", GUEST)?.json()?;
    ensure!(exchange["messages_delayed"] == 1, "{exchange}");
    ensure!(exchange["type"] == "x-delayed-message", "{exchange}");
    call_off(broker, &message["number"])?;
    let listed = list()?;
    ensure!(listed["messages_waiting"] == 0, "{listed}");
    broker.restart()?;
    let listed = http::get(broker.management(), LATE, GUEST)?.json()?;
    ensure!(listed["messages_waiting"] == 0, "it came back: {listed}");
    Ok(())
}

fn call_off(broker: &Broker, number: &Value) -> anyhow::Result<()> {
    let delete = |path: &str, login: &str| http::request(broker.management(), "DELETE", path, login);
    let path = format!("{LATE}/{number}");
    let refused = delete(&path, "guest:wrong")?;
    ensure!(refused.status == 401, "{refused:?}");
    let missing = delete(&format!("{LATE}/1"), GUEST)?;
    ensure!(missing.status == 404, "{missing:?}");
    let missing = delete("/api/everack/delayed/%2f/amq.direct/1", GUEST)?;
    ensure!(missing.status == 404, "{missing:?}");
    let began = Instant::now();
    let done = delete(&path, GUEST)?;
    ensure!(done.status == 204, "{done:?} after {:?}", began.elapsed());
    let again = delete(&path, GUEST)?;
    ensure!(again.status == 404, "{again:?}");
    Ok(())
}
