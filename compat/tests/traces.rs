//! Traces of messages on their way, with pika, its OpenTelemetry instrumentation, and a collector that decodes with OpenTelemetry's own.

use std::fs;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use everack_compat::broker::{Broker, Settings, free_port};
use everack_compat::certificates::Certificates;
use everack_compat::script;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let port = free_port();
    let broker = Arc::new(Broker::everack(Settings {
        config: format!(
            "[traces]\nendpoint = \"http://127.0.0.1:{port}\"\nsample = 1.0\nservice = \"shop's broker\"\n\
             headers = [\"X-Key: secret\"]\ndelay = \"20 ms\"\n"
        ),
        ..Settings::default()
    }));
    // Nobody listens there; room for less than what is published.
    let deaf = Arc::new(Broker::everack(Settings {
        metrics: true,
        config: format!(
            "[traces]\nendpoint = \"http://127.0.0.1:{}\"\nfollowed_max = 200\nwaiting_max = 50\nbatch_max = 40\n\
             delay = \"20 ms\"\nretry_for = \"600 ms\"\n",
            free_port()
        ),
        ..Settings::default()
    }));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let certificates = Certificates::make(folder.path()).expect("openssl makes certificates");
    let secure_port = free_port();
    let secure = Arc::new(Broker::everack(Settings {
        config: format!(
            "[traces]\nendpoint = \"https://localhost:{secure_port}/own/path\"\nca = {:?}\ndelay = \"20 ms\"\n",
            certificates.ca()
        ),
        ..Settings::default()
    }));
    let environment = vec![
        ("COLLECTOR", port.to_string()),
        ("SECURE", secure.url()),
        ("SECURE_COLLECTOR", secure_port.to_string()),
        ("CERTIFICATE", certificates.server().display().to_string()),
        ("KEY", certificates.server_key().display().to_string()),
        ("DEAF", deaf.url()),
        ("DEAF_METRICS", deaf.metrics().to_string()),
    ];
    let mut trials = script::trials_with("pika/traces.py", &broker, environment);
    let sender = broker.clone();
    trials.push(everack_compat::trial(
        "without an endpoint there is nothing that sends",
        move || only_with_an_endpoint(&sender),
    ));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop((broker, deaf, secure));
    conclusion.exit();
}

fn only_with_an_endpoint(sender: &Broker) -> anyhow::Result<()> {
    ensure!(sends(sender)?, "a broker with an endpoint has the thread");
    ensure!(!sends(&Broker::everack(Settings::default()))?);
    Ok(())
}

/// Whether the process has the thread that sends spans, and so can have a connection to a collector.
fn sends(broker: &Broker) -> anyhow::Result<bool> {
    let process = broker.process_id().context("it is ours")?;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        if fs::read_to_string(thread?.path().join("comm"))?.trim() == "traces" {
            return Ok(true);
        }
    }
    Ok(false)
}
