//! AMQP 0-9-1, bytes in, bytes out. Knows nothing of queues, sockets or clocks.
//!
//! The server side of one connection is [`connection::Connection`], a machine: bytes and times go in,
//! [`event::Event`]s come out, and what is to be sent gathers in its output buffer. A run of publishes is one
//! event with one [`content::Batch`], whose bytes are the publisher's own; deliveries are written from the
//! same bytes.
//!
//! Rooms, in the order to read them: [`event`] what a client did, [`connection`] the machine, [`content`]
//! messages, [`confirms`] and [`deliveries`] the numbers on both sides of a channel, [`encoding`] deliveries
//! on their way out, [`error`] codes and texts, [`settings`] limits, [`short_list`] what batches are made of, [`wire`] the bytes themselves. [`wire`]
//! serves the client side too.

pub mod confirms;
pub mod connection;
pub mod content;
pub mod credentials;
pub mod deliveries;
pub mod encoding;
pub mod error;
pub mod event;
pub mod settings;
pub mod short_list;
pub mod wire;

/// Milliseconds since some moment that stays the same while the process lives. Times are always passed in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// A moment `ms` later.
    pub fn plus(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here, 0 when it is not earlier.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
