//! Sockets: listening and accepting (`listener`), encryption (`tls`), how many at a time
//! (`connections`). What is said on a connection is not decided here.

pub(crate) mod connection_task;
pub mod connections;
pub mod listener;
pub(crate) mod sockets;
mod spare;
pub mod stream;
#[cfg(test)]
mod tests;
mod throttle;
pub mod tls;

pub use connections::Connections;
pub use listener::Listener;
pub use stream::{Peer, Stream, TlsPeer};
pub use tls::Tls;
