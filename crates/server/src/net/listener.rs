//! Listening and accepting. A listener hands every accepted connection, plain or encrypted, to one
//! function and goes on accepting; it neither reads nor writes what is said there.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::connections::{Connections, Place};
use super::stream::{Peer, Stream};
use super::throttle::Throttle;
use super::tls::Tls;
use crate::shutdown::Closing;

/// An address that is taken, but not yet listened on: who connects now is refused, not kept waiting.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
}

/// Accepts connections on one address.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    connections: Arc<Connections>,
    full: Throttle,
    failed: Throttle,
}

impl Bound {
    /// Takes an address, given as `host:port`; all addresses, if the host is a name that has several, as `localhost` often
    /// does. `key` is for the refusal.
    pub async fn take(address: &str, key: &str) -> anyhow::Result<Vec<Self>> {
        let cannot = |error: io::Error| {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    " (another program listens there, perhaps another everack or RabbitMQ: stop it, or choose another address)"
                }
                io::ErrorKind::AddrNotAvailable => " (this machine has no such address)",
                io::ErrorKind::PermissionDenied => " (ports below 1024 need a privilege)",
                _ => "",
            };
            anyhow::anyhow!("{key}: cannot listen on {address}: {error}{advice}")
        };
        let found: BTreeSet<SocketAddr> = tokio::net::lookup_host(address).await.map_err(cannot)?.collect();
        let (mut bound, mut missing) = (Vec::new(), io::Error::other("the name has no address"));
        for resolved in found {
            match Self::bind(resolved) {
                Ok(taken) => bound.push(taken),
                // A machine without IPv6 still has it in its list of names.
                Err(error) if is_absent(&error) => missing = error,
                Err(error) => return Err(cannot(error)),
            }
        }
        if bound.is_empty() {
            Err(cannot(missing))
        } else {
            Ok(bound)
        }
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // Connections of a former process that linger must not keep a restart from its address.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket })
    }

    /// Begins to listen for somebody who accepts for itself.
    pub fn listen_plainly(self, backlog: u32) -> io::Result<TcpListener> {
        self.socket.listen(backlog)
    }

    /// Begins to listen; `backlog` is how many connections the kernel keeps until they are accepted.
    pub fn listen(
        self,
        backlog: u32,
        tls: Option<Arc<Tls>>,
        connections: Arc<Connections>,
    ) -> io::Result<Listener> {
        let socket = self.socket.listen(backlog)?;
        Ok(Listener {
            socket,
            tls,
            connections,
            full: Throttle::default(),
            failed: Throttle::default(),
        })
    }
}

/// Whether the machine does not have the address, or not even its kind.
fn is_absent(error: &io::Error) -> bool {
    let unsupported = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(unsupported)
}

impl Listener {
    /// How long accepting pauses when the system has no room for another socket.
    const PAUSE: Duration = Duration::from_millis(100);

    /// The address, with the port that the system chose if it was left to it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until the process begins to stop. Each connection is served in a task of its own.
    pub async fn run<F, S>(self, mut closing: Closing, serve: F)
    where
        F: Fn(Stream, Peer) -> S + Clone + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let told = closing.clone();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = closing.requested() => return,
            };
            match accepted {
                Ok((socket, address)) => self.admit(socket, address, told.clone(), serve.clone()),
                Err(error) => self.pause(error).await,
            }
        }
    }

    fn admit<F, S>(&self, socket: TcpStream, address: SocketAddr, closing: Closing, serve: F)
    where
        F: Fn(Stream, Peer) -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let Some(place) = self.connections.enter() else {
            if let Some(times) = self.full.due(Instant::now()) {
                let max = self.connections.max();
                tracing::warn!(peer = %address, max, times, "connection refused: amqp.connections_max is reached");
            }
            return;
        };
        let tls = self.tls.clone();
        tokio::spawn(async move {
            if let Some((stream, peer)) = open(socket, address, tls, closing).await {
                serve(stream, peer).await;
            }
            drop::<Place>(place);
        });
    }

    /// A failed accept. A connection that went before it was accepted is nobody's trouble; a lack
    /// of descriptors or memory is, and asking again at once would only burn a core.
    async fn pause(&self, error: io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        if let Some(times) = self.failed.due(Instant::now()) {
            let open = self.connections.open();
            tracing::error!(%error, open, times, "cannot accept connections; is the limit of open files too low?");
        }
        tokio::time::sleep(Self::PAUSE).await;
    }
}

/// A peer whose machine is gone says nothing, and without heartbeats nobody would ever ask. The kernel does: after five minutes of
/// silence, and two minutes later the connection is over.
fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(300))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(30))?;
    sockopt::set_tcp_keepcnt(socket, 4)?;
    Ok(())
}

/// From an accepted socket to a stream that can be served. `None`, and a log line, if the client did
/// not get through the TLS handshake.
async fn open(
    socket: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    mut closing: Closing,
) -> Option<(Stream, Peer)> {
    // Replies are written in batches already; waiting for more would only add delay.
    let prepared = socket
        .set_nodelay(true)
        .and_then(|()| keep_alive(&socket))
        .and_then(|()| socket.local_addr());
    let local = prepared
        .inspect_err(|error| tracing::debug!(peer = %address, %error, "connection lost at once"))
        .ok()?;
    let Some(tls) = tls else {
        return Some((
            Stream::Plain(socket),
            Peer {
                address,
                local,
                tls: None,
                closing,
            },
        ));
    };
    let accepted = tokio::select! {
        accepted = tls.accept(socket) => accepted,
        () = closing.requested() => return None,
    };
    match accepted {
        Ok((stream, tls)) => Some((
            stream,
            Peer {
                address,
                local,
                tls: Some(tls),
                closing,
            },
        )),
        Err(error) => {
            tracing::info!(peer = %address, %error, "TLS handshake failed");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_asks_for_peers_that_are_gone() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!sockopt::socket_keepalive(&socket).unwrap());
        keep_alive(&socket).unwrap();
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), Duration::from_secs(300));
    }
}
