//! Sockets: listening and accepting (`listener`), encryption (`tls`), how many at a time
//! (`connections`). What is said on a connection is not decided here.

pub mod connections;
pub mod listener;
pub mod stream;
mod throttle;
#[cfg(test)]
mod tests;
pub mod tls;

pub use connections::Connections;
pub use listener::Listener;
pub use stream::{Peer, Stream, TlsPeer};
pub use tls::Tls;
