//! Asks whoever listens at an address who he is: the protocol header, and `connection.start` with the server's properties.
//!
//! The client library keeps these properties to itself; the few bytes are read here. An address with TLS is not asked.

use anyhow::{Context, bail, ensure};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::{AMQPScheme, AMQPUri};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Largest frame that is believed.
const FRAME_MAX: u32 = 1 << 20;

/// Who a broker says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) product: String,
    pub(crate) version: String,
}

/// Asks. An error means that nobody answers there, or not as a broker does.
pub(crate) async fn hello(url: &str) -> anyhow::Result<Greeting> {
    let uri: AMQPUri = url.parse().map_err(anyhow::Error::msg)?;
    if uri.scheme == AMQPScheme::AMQPS {
        return Ok(Greeting::default());
    }
    let address = (uri.authority.host.as_str(), uri.authority.port);
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        let mut head = [0; 7];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        ensure!(head[0] == 1 && length <= FRAME_MAX, "not a method frame");
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        greeting(&payload)
    };
    tokio::time::timeout(ANSWER_MAX, attempt)
        .await
        .context("no answer")?
}

/// Reads `connection.start`: class 10, method 10, version 0-9, the table.
fn greeting(payload: &[u8]) -> anyhow::Result<Greeting> {
    let Some(table) = payload.strip_prefix(&[0, 10, 0, 10, 0, 9]) else {
        bail!("not connection.start of AMQP 0-9-1");
    };
    let (_, properties) =
        lapin::types::parsing::parse_field_table(table).map_err(|_| anyhow::anyhow!("not a table"))?;
    // Everack says that it is RabbitMQ, as its clients expect, and its own version beside it.
    let own = text(&properties, "everack_version");
    if !own.is_empty() {
        return Ok(Greeting {
            product: "Everack".into(),
            version: own,
        });
    }
    Ok(Greeting {
        product: text(&properties, "product"),
        version: text(&properties, "version"),
    })
}

fn text(properties: &FieldTable, key: &str) -> String {
    match properties.inner().get(key) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => String::new(),
    }
}
