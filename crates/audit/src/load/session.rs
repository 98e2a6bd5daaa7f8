//! A connection with one channel, in one life of the broker. Dropping it without a goodbye cuts it.

use anyhow::Context;
use lapin::tcp::{AMQPUriTcpExt, TLSConfig};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a client may take to get a connection and a channel.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether a connection is still there.
const LOOK: Duration = Duration::from_millis(50);
/// How long a goodbye may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// A connection with one channel.
pub(crate) struct Session {
    connection: Connection,
    pub(crate) channel: Channel,
    socket: Option<TcpStream>,
}

/// Connects, logs in and opens a channel.
pub(crate) async fn connect(url: &str, name: &str) -> anyhow::Result<Session> {
    let attempt = async {
        let socket = Arc::new(Mutex::new(None));
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = open(url, properties, Arc::clone(&socket)).await?;
        let channel = connection.create_channel().await?;
        let socket = socket.lock().ok().and_then(|mut socket| socket.take());
        anyhow::Ok(Session {
            connection,
            channel,
            socket,
        })
    };
    tokio::time::timeout(CONNECT_MAX, attempt)
        .await
        .with_context(|| format!("no connection within {CONNECT_MAX:?}"))?
}

/// As `Connection::connect` does it, but keeps a second handle of the socket.
async fn open(
    url: &str,
    properties: ConnectionProperties,
    socket: Arc<Mutex<Option<TcpStream>>>,
) -> anyhow::Result<Connection> {
    let uri: AMQPUri = url.parse().map_err(anyhow::Error::msg)?;
    let runtime = lapin::runtime::default_runtime()?;
    let connected = Connection::connector(
        uri,
        runtime,
        async move |uri, runtime| {
            let stream = uri
                .connect_with_config_async(TLSConfig::default(), &runtime)
                .await?;
            let handle: Option<OwnedFd> = match &stream {
                AsyncTcpStream::Plain(stream) => stream.get_ref().as_fd().try_clone_to_owned().ok(),
                AsyncTcpStream::Rustls(stream) => {
                    stream.get_ref().0.get_ref().as_fd().try_clone_to_owned().ok()
                }
                _ => None,
            };
            if let Ok(mut socket) = socket.lock() {
                *socket = handle.map(TcpStream::from);
            }
            Ok(stream)
        },
        properties,
    );
    Ok(connected.await?)
}

/// Without a goodbye before, this is a client's death: the broker gets no close, only the end of the stream. After a goodbye it makes
/// sure that the client library lets go: of an idle connection that the broker closed it would keep the socket open.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            // It may have ended by itself already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Session {
    /// Waits until the connection is gone: whoever waits for something else would not notice.
    pub(crate) async fn lost(&self) {
        while self.connection.status().connected() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Says goodbye, and waits for the answer: acks have no answer of their own, so this one says that they arrived.
    pub(crate) async fn close(self) -> bool {
        let close = self.connection.close(200, "done".into());
        matches!(tokio::time::timeout(CLOSE_MAX, close).await, Ok(Ok(())))
    }

    /// A further channel, for when the broker has closed the first one.
    pub(crate) async fn reopen(&mut self) -> anyhow::Result<()> {
        let open = self.connection.create_channel();
        self.channel = tokio::time::timeout(CONNECT_MAX, open)
            .await
            .context("no channel in time")??;
        Ok(())
    }
}
