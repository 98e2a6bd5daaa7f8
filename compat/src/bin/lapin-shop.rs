//! The shop of `everack_compat::shop` with lapin and its automatic recovery.

use anyhow::{Context, Result, bail};
use everack_compat::shop::terms::{ANSWER_MAX, EXCHANGE, PREFETCH, PRICES, arguments};
use everack_compat::shop::{ASK_EVERY, ORDER_PAUSE, PACK_PAUSE, QUEUE};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const REPLIES: &str = "shop-replies";

#[tokio::main]
async fn main() -> Result<()> {
    let (url, orders) = arguments()?;
    let recovering = || ConnectionProperties::default().enable_auto_recover();
    let warehouse = Connection::connect(&url, recovering()).await?;
    let service = Connection::connect(&url, recovering()).await?;
    let packing = tokio::spawn(pack(warehouse_channel(&warehouse).await?));
    let pricing = tokio::spawn(price(warehouse.create_channel().await?));
    let ordering = tokio::spawn(take_orders(service.create_channel().await?, orders));
    println!("ready");
    ordering.await??;
    packing.await??;
    pricing.await?
}

async fn warehouse_channel(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            EXCHANGE.into(),
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(QUEUE.into(), durable, FieldTable::default())
        .await?;
    let (binding, none) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(QUEUE.into(), EXCHANGE.into(), "order.*".into(), binding, none)
        .await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    Ok(channel)
}

async fn pack(channel: Channel) -> Result<()> {
    let mut consumer = consume(&channel, QUEUE).await?;
    while let Some(delivery) = next(&channel, &mut consumer).await? {
        let order = String::from_utf8(delivery.data.clone())?;
        println!(
            "got {order} {}",
            if delivery.redelivered {
                "redelivered"
            } else {
                "fresh"
            }
        );
        tokio::time::sleep(PACK_PAUSE).await;
        match delivery.ack(BasicAckOptions::default()).await {
            // `false` would mean that the delivery is of an earlier connection.
            Ok(true) => println!("acked {order}"),
            Ok(false) => {}
            Err(error) => channel.wait_for_recovery(error).await?,
        }
    }
    bail!("the warehouse was cancelled")
}

async fn price(channel: Channel) -> Result<()> {
    let transient = QueueDeclareOptions {
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(PRICES.into(), transient, FieldTable::default())
        .await?;
    let mut consumer = consume(&channel, PRICES).await?;
    while let Some(question) = next(&channel, &mut consumer).await? {
        let asker = question
            .properties
            .reply_to()
            .clone()
            .context("a question without an address")?;
        let id = question
            .properties
            .correlation_id()
            .clone()
            .context("a question without an id")?;
        let properties = BasicProperties::default().with_correlation_id(id);
        let options = BasicPublishOptions::default();
        let answered = channel
            .basic_publish("".into(), asker, options, b"9.99", properties)
            .await;
        let settled = match answered {
            Ok(_) => question.ack(BasicAckOptions::default()).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = settled {
            channel.wait_for_recovery(error).await?;
        }
    }
    bail!("the price list was cancelled")
}

async fn take_orders(channel: Channel, orders: usize) -> Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(REPLIES.into(), exclusive, FieldTable::default())
        .await?;
    let mut replies = replies(channel.clone()).await?;
    for order in 0..orders {
        if order % ASK_EVERY == 0 {
            ask(&channel, &mut replies, order).await?;
        }
        loop {
            println!("sending {order}");
            match place(&channel, order).await {
                Ok(Confirmation::Ack(None)) => break println!("confirmed {order}"),
                Ok(other) => bail!("order {order} was not taken: {other:?}"),
                Err(error) => channel.wait_for_recovery(error).await?,
            }
        }
        tokio::time::sleep(ORDER_PAUSE).await;
    }
    Ok(())
}

async fn place(channel: &Channel, order: usize) -> lapin::Result<Confirmation> {
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let body = order.to_string();
    let key = "order.placed".into();
    channel
        .basic_publish(EXCHANGE.into(), key, mandatory, body.as_bytes(), persistent)
        .await?
        .await
}

async fn ask(channel: &Channel, replies: &mut UnboundedReceiver<String>, order: usize) -> Result<()> {
    loop {
        println!("asked {order}");
        let properties = BasicProperties::default()
            .with_reply_to(REPLIES.into())
            .with_correlation_id(order.to_string().into());
        let options = BasicPublishOptions::default();
        let asked = async {
            channel
                .basic_publish("".into(), PRICES.into(), options, b"", properties)
                .await?
                .await
        };
        if let Err(error) = asked.await {
            channel.wait_for_recovery(error).await?;
            continue;
        }
        // An answer to an earlier question may still be on its way.
        let answer = async {
            while replies.recv().await.context("no more replies")? != order.to_string() {}
            Ok(())
        };
        match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(answer) => {
                println!("answered {order}");
                return answer;
            }
            Err(_) => continue,
        }
    }
}

async fn replies(channel: Channel) -> Result<UnboundedReceiver<String>> {
    let (sender, receiver) = unbounded_channel();
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut consumer = channel
        .basic_consume(REPLIES.into(), "".into(), no_ack, FieldTable::default())
        .await?;
    tokio::spawn(async move {
        while let Ok(Some(reply)) = next(&channel, &mut consumer).await {
            let id = reply
                .properties
                .correlation_id()
                .as_ref()
                .map(ToString::to_string);
            if sender.send(id.unwrap_or_default()).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

async fn consume(channel: &Channel, queue: &str) -> Result<Consumer> {
    let options = BasicConsumeOptions::default();
    Ok(channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await?)
}

/// The next delivery, across a recovery of the connection.
async fn next(channel: &Channel, consumer: &mut Consumer) -> Result<Option<Delivery>> {
    loop {
        match consumer.next().await {
            Some(Ok(delivery)) => return Ok(Some(delivery)),
            Some(Err(error)) => channel.wait_for_recovery(error).await?,
            None => return Ok(None),
        }
    }
}
