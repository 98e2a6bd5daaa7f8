//! What a client did: everything a [`crate::connection::Connection`] can say to whoever drives it.

use crate::content::Batch;
use crate::credentials::Credentials;
use crate::deliveries::DeliveryRange;
use crate::error::Error;
use crate::wire::method::Method;
use crate::wire::primitive::ShortString;
use crate::wire::table::Table;

/// One thing that happened on a connection. Each variant says what the driver owes in return.
#[derive(Debug)]
pub enum Event {
    /// The client wants to log in. Owed: `authenticated`, `refuse_authentication` or `fail`; nothing else is
    /// read until then.
    Authenticate {
        /// User and password.
        credentials: Credentials,
        /// What the client says about itself.
        client_properties: Table,
        /// Always `en_US` in practice.
        locale: ShortString,
    },
    /// The client wants to enter a virtual host. Owed: `opened`, `refuse_vhost` or `fail`; nothing else is
    /// read until then.
    Open {
        /// Its name.
        vhost: ShortString,
    },
    /// A channel was opened and its opening already answered. Owed: nothing.
    ChannelOpen {
        /// Its number.
        channel: u16,
    },
    /// The client closes a channel. Owed: `channel_closed` once what the channel held has been given back.
    ChannelCloseRequested {
        /// Its number.
        channel: u16,
        /// The code the client gave, usually 200.
        code: u16,
        /// The text the client gave.
        text: ShortString,
    },
    /// The client broke a rule, and `channel.close` is in the output. Owed: nothing; what the channel held
    /// must be given back, and nothing sent on it any more.
    ChannelFailed {
        /// Its number.
        channel: u16,
        /// What the client was told.
        error: Error,
    },
    /// One or more publishes that came one after the other on one channel.
    Publish {
        /// On which channel.
        channel: u16,
        /// The messages.
        batch: Batch,
        /// Publish number of the first message, the others follow; 0 when the channel does not confirm. Owed
        /// unless 0: one `expect_confirm`, then `confirm` or `confirm_failed`.
        first_number: u64,
        /// The messages belong to the channel's transaction: keep them until [`Event::TxCommit`].
        transactional: bool,
    },
    /// Deliveries were settled; their tags are already resolved, and forgotten.
    Settle {
        /// On which channel.
        channel: u16,
        /// How.
        outcome: Outcome,
        /// Which, in the order of their tags.
        settled: Vec<DeliveryRange>,
        /// The settlements belong to the channel's transaction: keep them until [`Event::TxCommit`], and put
        /// them back with `unsettle` at [`Event::TxRollback`].
        transactional: bool,
    },
    /// The client wants everything unsettled on a channel delivered again; already answered where an answer
    /// is due.
    Recover {
        /// On which channel.
        channel: u16,
        /// What was unsettled; its tags are no longer valid.
        unsettled: Vec<DeliveryRange>,
    },
    /// Carry out the transaction. Owed: `reply` with `tx.commit-ok`.
    TxCommit {
        /// On which channel.
        channel: u16,
    },
    /// Forget the transaction. Owed: `unsettle` for what was settled in it, and `reply` with
    /// `tx.rollback-ok`.
    TxRollback {
        /// On which channel.
        channel: u16,
    },
    /// Any other request, as it came: exchange.*, queue.*, `basic.qos`, `basic.consume`, `basic.cancel`,
    /// `basic.get` on a channel, `connection.update-secret` on channel 0. Owed: `reply` with its answer
    /// unless it says `nowait`, or `fail`.
    Method {
        /// On which channel; 0 is the connection.
        channel: u16,
        /// The request.
        method: Method,
    },
    /// The client closes the connection. Owed: `closed` once everything has been given back.
    CloseRequested {
        /// The code the client gave, usually 200.
        code: u16,
        /// The text the client gave.
        text: ShortString,
    },
    /// The connection is over for everyone but the socket: the client broke a rule or fell silent. What is to
    /// be said about it is in the output. Owed: give back everything; write what is in the output; close
    /// the socket when `is_finished` says so.
    Failed {
        /// Why.
        reason: Failure,
    },
}

/// How deliveries were settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// `basic.ack`: done.
    Ack,
    /// `basic.nack`.
    Nack {
        /// Back to the queue, or discarded.
        requeue: bool,
    },
    /// `basic.reject`.
    Reject {
        /// Back to the queue, or discarded.
        requeue: bool,
    },
}

/// Why a connection failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The client broke a rule and was told so.
    #[error("{0}")]
    Protocol(Error),
    /// It did not begin with a protocol header that we serve; it was told which one we do.
    #[error("client did not start with an AMQP 0-9-1 protocol header: {0:?}")]
    ProtocolHeader([u8; 8]),
    /// It sent more bytes before login than anyone needs.
    #[error("more than {0} bytes before login")]
    HandshakeBytes(u32),
    /// It took too long to log in.
    #[error("no login within {0} ms")]
    HandshakeTimeout(u64),
    /// Nothing came for two heartbeat intervals.
    #[error("missed heartbeats from client, timeout: {0}s")]
    HeartbeatTimeout(u16),
}
