//! The shop of `everack_compat::shop` with amqprs. The library does not recover by itself: each side opens a new connection when
//! its old one has ended, as its users do.

use amqprs::callbacks::{ChannelCallback, DefaultChannelCallback, DefaultConnectionCallback};
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConfirmSelectArguments, ConsumerMessage, ExchangeDeclareArguments, QueueBindArguments,
    QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, DELIVERY_MODE_PERSISTENT, Nack, Return};
use anyhow::{Context, Result, bail};
use everack_compat::shop::terms::{ANSWER_MAX, EXCHANGE, PREFETCH, PRICES, arguments};
use everack_compat::shop::{ASK_EVERY, ORDER_PAUSE, PACK_PAUSE, QUEUE};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

const CONNECT_PAUSE: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> Result<()> {
    let (url, orders) = arguments()?;
    let address = Address::parse(&url)?;
    let warehouse = tokio::spawn(keep_packing(address.clone()));
    tokio::spawn(keep_taking_orders(address, orders)).await?;
    warehouse.await?
}

/// Where the broker is, and as whom to log in; without the library's feature for URLs.
#[derive(Clone)]
struct Address(OpenConnectionArguments);

impl Address {
    fn parse(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("amqp://").context("not an AMQP URL")?;
        let (login, rest) = rest.split_once('@').context("a URL without a user")?;
        let (user, password) = login.split_once(':').context("a user without a password")?;
        let (host, rest) = rest.split_once(':').context("a host without a port")?;
        let port = rest.split('/').next().unwrap_or(rest).parse()?;
        Ok(Self(OpenConnectionArguments::new(host, port, user, password)))
    }

    async fn connect(&self) -> Result<(Connection, Channel), Error> {
        let connection = Connection::open(&self.0).await?;
        connection.register_callback(DefaultConnectionCallback).await?;
        let channel = connection.open_channel(None).await?;
        Ok((connection, channel))
    }
}

async fn keep_packing(address: Address) -> Result<()> {
    loop {
        if let Err(error) = pack(&address).await {
            eprintln!("the warehouse connects again: {error}");
        }
        sleep(CONNECT_PAUSE).await;
    }
}

async fn pack(address: &Address) -> Result<(), Error> {
    let (connection, channel) = address.connect().await?;
    channel.register_callback(DefaultChannelCallback).await?;
    let exchange = ExchangeDeclareArguments::new(EXCHANGE, "topic")
        .durable(true)
        .finish();
    channel.exchange_declare(exchange).await?;
    channel
        .queue_declare(QueueDeclareArguments::durable_client_named(QUEUE))
        .await?;
    channel
        .queue_bind(QueueBindArguments::new(QUEUE, EXCHANGE, "order.*"))
        .await?;
    channel
        .queue_declare(QueueDeclareArguments::transient_autodelete(PRICES))
        .await?;
    channel
        .basic_qos(BasicQosArguments::new(0, PREFETCH, false))
        .await?;
    let (_, mut orders) = channel
        .basic_consume_rx(BasicConsumeArguments::new(QUEUE, ""))
        .await?;
    let (_, mut questions) = channel
        .basic_consume_rx(BasicConsumeArguments::new(PRICES, ""))
        .await?;
    println!("ready");
    loop {
        tokio::select! {
            Some(order) = orders.recv() => pack_one(&channel, order).await?,
            Some(question) = questions.recv() => answer(&channel, question).await?,
            _ = connection.listen_network_io_failure() => return Ok(()),
            else => return Ok(()),
        }
    }
}

async fn pack_one(channel: &Channel, message: ConsumerMessage) -> Result<(), Error> {
    let deliver = message.deliver.expect("a consumer's message was delivered");
    let body = message.content.unwrap_or_default();
    let order = String::from_utf8_lossy(&body);
    println!(
        "got {order} {}",
        if deliver.redelivered() {
            "redelivered"
        } else {
            "fresh"
        }
    );
    sleep(PACK_PAUSE).await;
    channel
        .basic_ack(BasicAckArguments::new(deliver.delivery_tag(), false))
        .await?;
    println!("acked {order}");
    Ok(())
}

async fn answer(channel: &Channel, question: ConsumerMessage) -> Result<(), Error> {
    let deliver = question.deliver.expect("a consumer's message was delivered");
    let asked = question.basic_properties.unwrap_or_default();
    if let (Some(asker), Some(id)) = (asked.reply_to(), asked.correlation_id()) {
        let properties = BasicProperties::default().with_correlation_id(id).finish();
        channel
            .basic_publish(
                properties,
                b"9.99".to_vec(),
                BasicPublishArguments::new("", asker),
            )
            .await?;
    }
    channel
        .basic_ack(BasicAckArguments::new(deliver.delivery_tag(), false))
        .await
}

async fn keep_taking_orders(address: Address, orders: usize) {
    let mut next = 0;
    while next < orders {
        if let Err(error) = take_orders(&address, &mut next, orders).await {
            eprintln!("the order service connects again: {error:#}");
        }
        sleep(CONNECT_PAUSE).await;
    }
    // The connection stays as long as the warehouse works.
}

async fn take_orders(address: &Address, next: &mut usize, orders: usize) -> Result<()> {
    let (connection, channel) = address.connect().await?;
    let (sender, mut confirms) = unbounded_channel();
    channel.register_callback(Confirms(sender)).await?;
    channel.confirm_select(ConfirmSelectArguments::default()).await?;
    let declared = channel
        .queue_declare(QueueDeclareArguments::exclusive_server_named())
        .await?;
    let (reply_queue, ..) = declared.context("a declare-ok is due")?;
    let no_ack = BasicConsumeArguments::new(&reply_queue, "")
        .manual_ack(false)
        .finish();
    let (_, mut replies) = channel.basic_consume_rx(no_ack).await?;
    while *next < orders {
        let order = *next;
        let placed = async {
            if order.is_multiple_of(ASK_EVERY) {
                ask(&channel, &reply_queue, &mut replies, &mut confirms, order).await?;
            }
            println!("sending {order}");
            let address = BasicPublishArguments::new(EXCHANGE, "order.placed")
                .mandatory(true)
                .finish();
            let persistent = BasicProperties::default()
                .with_delivery_mode(DELIVERY_MODE_PERSISTENT)
                .finish();
            channel
                .basic_publish(persistent, order.to_string().into_bytes(), address)
                .await?;
            confirmed(&mut confirms).await
        };
        tokio::select! {
            placed = placed => placed?,
            _ = connection.listen_network_io_failure() => bail!("the connection is lost"),
        }
        println!("confirmed {order}");
        *next += 1;
        sleep(ORDER_PAUSE).await;
    }
    Ok(())
}

async fn ask(
    channel: &Channel,
    reply_queue: &str,
    replies: &mut UnboundedReceiver<ConsumerMessage>,
    confirms: &mut UnboundedReceiver<Told>,
    order: usize,
) -> Result<()> {
    let id = order.to_string();
    loop {
        println!("asked {order}");
        let mut properties = BasicProperties::default();
        properties.with_reply_to(reply_queue).with_correlation_id(&id);
        channel
            .basic_publish(properties, Vec::new(), BasicPublishArguments::new("", PRICES))
            .await?;
        confirmed(confirms).await?;
        let answer = async {
            while let Some(reply) = replies.recv().await {
                if reply
                    .basic_properties
                    .is_some_and(|properties| properties.correlation_id() == Some(&id))
                {
                    return true;
                }
            }
            false
        };
        match timeout(ANSWER_MAX, answer).await {
            Ok(true) => {
                println!("answered {order}");
                return Ok(());
            }
            Ok(false) => bail!("no more replies"),
            Err(_) => {}
        }
    }
}

/// What the broker says of a message.
enum Told {
    Confirmed,
    Refused,
}

async fn confirmed(confirms: &mut UnboundedReceiver<Told>) -> Result<()> {
    match confirms.recv().await.context("the channel is closed")? {
        Told::Confirmed => Ok(()),
        Told::Refused => bail!("the broker refused a message"),
    }
}

/// One message is open at a time, so that each confirm is for the last one.
struct Confirms(UnboundedSender<Told>);

impl Confirms {
    fn tell(&self, told: Told) {
        // Nobody listens any more when the connection is being left.
        let _ = self.0.send(told);
    }
}

#[async_trait::async_trait]
impl ChannelCallback for Confirms {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> Result<(), Error> {
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &Channel, _: Ack) {
        self.tell(Told::Confirmed);
    }
    async fn publish_nack(&mut self, _: &Channel, _: Nack) {
        self.tell(Told::Refused);
    }
    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {
        self.tell(Told::Refused);
    }
}
