//! The three roles of `everack_compat::client` with lapin.

use anyhow::{Context, bail, ensure};
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

/// Drained with a window, as a real worker would.
const PREFETCH: u16 = 50;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [role, url, queue, rest @ ..] = words.as_slice() else {
        bail!("ROLE URL QUEUE ...")
    };
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    match (*role, rest) {
        ("publish", [first, count]) => publish(&channel, queue, first.parse()?, count.parse()?).await?,
        ("hold", [prefetch, acks]) => hold(&channel, queue, prefetch.parse()?, acks.parse()?).await?,
        ("drain", [count]) => drain(&channel, queue, count.parse()?).await?,
        _ => bail!("unknown role or arguments: {words:?}"),
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

async fn declare(channel: &Channel, queue: &str) -> anyhow::Result<()> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), durable, FieldTable::default())
        .await?;
    Ok(())
}

async fn publish(channel: &Channel, queue: &str, first: usize, count: usize) -> anyhow::Result<()> {
    declare(channel, queue).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let mut confirms = Vec::new();
    for id in first..first + count {
        let body = id.to_string();
        let sent = channel.basic_publish(
            "".into(),
            queue.into(),
            mandatory,
            body.as_bytes(),
            persistent.clone(),
        );
        confirms.push(sent.await?);
    }
    for confirm in confirms {
        let confirmation = confirm.await?;
        ensure!(
            matches!(confirmation, Confirmation::Ack(None)),
            "not confirmed: {confirmation:?}"
        );
    }
    println!("confirmed {count}");
    Ok(())
}

async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> anyhow::Result<Consumer> {
    declare(channel, queue).await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let consumer = channel.basic_consume(
        queue.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    Ok(consumer.await?)
}

async fn hold(channel: &Channel, queue: &str, prefetch: u16, acks: usize) -> anyhow::Result<()> {
    let mut consumer = consume(channel, queue, prefetch).await?;
    // What is not acked must stay referenced, or lapin would answer for it.
    let mut held = Vec::new();
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        print(&delivery);
        if held.len() < acks {
            delivery.ack(BasicAckOptions::default()).await?;
        }
        held.push(delivery);
    }
    bail!("the consumer was cancelled")
}

async fn drain(channel: &Channel, queue: &str, count: usize) -> anyhow::Result<()> {
    let mut consumer = consume(channel, queue, PREFETCH).await?;
    for _ in 0..count {
        let delivery = consumer.next().await.context("the consumer was cancelled")??;
        print(&delivery);
        delivery.ack(BasicAckOptions::default()).await?;
    }
    channel.close(200, "done".into()).await?;
    println!("done");
    Ok(())
}

fn print(delivery: &lapin::message::Delivery) {
    let mark = if delivery.redelivered {
        "redelivered"
    } else {
        "fresh"
    };
    println!("got {} {mark}", String::from_utf8_lossy(&delivery.data));
}
