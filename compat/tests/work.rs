//! Each foreign client publishes with confirms, consumes with manual ack, is killed in the middle of its work, and
//! another process of the same client sees exactly what was unfinished again: flagged, and in its old order.

use anyhow::{Context, ensure};
use everack_compat::broker::Broker;
use everack_compat::client::Client;
use libtest_mimic::Arguments;
use std::sync::Arc;

const MESSAGES: usize = 30;
const PREFETCH: usize = 10;
const ACKS: usize = 5;

fn main() {
    let arguments = Arguments::from_args();
    let broker = Arc::new(Broker::start());
    let mut trials = Vec::new();
    for client in Client::ALL {
        let broker = Arc::clone(&broker);
        let name = format!(
            "{} dies mid-work and its work is redelivered in order",
            client.name()
        );
        trials.push(everack_compat::trial(name, move || redelivery(&broker, client)));
    }
    for (publisher, consumer) in pairs() {
        let broker = Arc::clone(&broker);
        let name = format!("{} publishes, {} consumes", publisher.name(), consumer.name());
        trials.push(everack_compat::trial(name, move || {
            exchange_of_work(&broker, publisher, consumer)
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(broker);
    conclusion.exit();
}

/// Every client once as publisher for its neighbour.
fn pairs() -> impl Iterator<Item = (Client, Client)> {
    (0..Client::ALL.len()).map(|i| (Client::ALL[i], Client::ALL[(i + 1) % Client::ALL.len()]))
}

fn redelivery(broker: &Broker, client: Client) -> anyhow::Result<()> {
    let queue = format!("work-{}", client.name());
    publish(broker, client, &queue)?;

    // With 5 of 15 acked and a window of 10, the 15th message shows that the broker has seen the acks.
    let held = ACKS + PREFETCH;
    let window = [PREFETCH.to_string(), ACKS.to_string()];
    let mut holder = client.start("hold", &broker.url(), &[&queue, &window[0], &window[1]])?;
    compare("held", &holder.lines(held)?, (0..held).map(|id| got(id, false)))?;
    ensure!(
        holder
            .line_within(std::time::Duration::from_millis(300))
            .is_none(),
        "the prefetch window was overrun"
    );
    holder.kill()?;

    let left = MESSAGES - ACKS;
    let drainer = client.start("drain", &broker.url(), &[&queue, &left.to_string()])?;
    let drained = drainer.finish()?;
    let expected = (ACKS..MESSAGES)
        .map(|id| got(id, id < held))
        .chain(["done".to_owned()]);
    compare("drained", &drained, expected)
}

fn exchange_of_work(broker: &Broker, publisher: Client, consumer: Client) -> anyhow::Result<()> {
    let queue = format!("work-{}-{}", publisher.name(), consumer.name());
    publish(broker, publisher, &queue)?;
    let drained = consumer
        .start("drain", &broker.url(), &[&queue, &MESSAGES.to_string()])?
        .finish()?;
    compare(
        "drained",
        &drained,
        (0..MESSAGES).map(|id| got(id, false)).chain(["done".to_owned()]),
    )
}

fn publish(broker: &Broker, client: Client, queue: &str) -> anyhow::Result<()> {
    let publisher = client.start("publish", &broker.url(), &[queue, "0", &MESSAGES.to_string()])?;
    compare(
        "published",
        &publisher.finish().context("publishing")?,
        [format!("confirmed {MESSAGES}")].into_iter(),
    )
}

fn got(id: usize, redelivered: bool) -> String {
    format!("got {id} {}", if redelivered { "redelivered" } else { "fresh" })
}

fn compare(what: &str, lines: &[String], expected: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let expected: Vec<String> = expected.collect();
    ensure!(lines == expected, "{what}: {lines:?}\nexpected: {expected:?}");
    Ok(())
}
