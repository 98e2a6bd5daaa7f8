//! What a server tells its clients about itself, and the limits it holds them to.

use crate::wire::table::Table;

/// Settings of a connection, shared by all connections of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sent in `connection.start`; see [`server_properties`].
    pub server_properties: Table,
    /// Largest frame in bytes, both ways, proposed to clients; 0 means no limit. At least 4096 otherwise.
    pub frame_bytes_max: u32,
    /// Highest channel number proposed to clients; 0 means no limit.
    pub channel_max: u16,
    /// Heartbeat proposed to clients, in seconds; 0 switches it off.
    pub heartbeat_s: u16,
    /// Largest body of a message in bytes.
    pub body_bytes_max: u64,
    /// Largest body that is taken out of the read buffer without a copy. A publish that is not complete
    /// waits there for the rest when its body is no larger; so the reader's buffer must be able to hold
    /// this much and two frames.
    pub inline_body_bytes_max: u32,
    /// Batches up to this size in bytes are copied out of the read buffer after all: the copy costs less
    /// than a new buffer, and a few small messages do not hold on to a large one.
    pub copied_bytes_max: u32,
    /// How many bytes of unfinished messages a connection may hold, over all its channels.
    pub assembly_bytes_max: u64,
    /// Most messages in one batch; at most 4096.
    pub batch_messages_max: u16,
    /// How many bytes a client may send before it has logged in and opened a virtual host. (RabbitMQ 4.1 takes frames of
    /// 8 KiB at that time.)
    pub handshake_bytes_max: u32,
    /// How long that may take, in milliseconds.
    pub handshake_ms_max: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            server_properties: server_properties(env!("CARGO_PKG_VERSION"), "everack"),
            frame_bytes_max: 131_072,
            channel_max: 2047,
            heartbeat_s: 60,
            body_bytes_max: 128 << 20,
            inline_body_bytes_max: 64 << 10,
            copied_bytes_max: 4 << 10,
            assembly_bytes_max: 256 << 20,
            batch_messages_max: 4096,
            handshake_bytes_max: 16 << 10,
            handshake_ms_max: 10_000,
        }
    }
}

/// The version of RabbitMQ whose behaviour clients may expect; some of them compare it.
pub const RABBITMQ_VERSION: &str = "3.13.7";

/// Server properties that RabbitMQ's clients test on, with our own version beside them.
pub fn server_properties(everack_version: &str, cluster_name: &str) -> Table {
    let capabilities = Table::new()
        .with("publisher_confirms", true)
        .with("exchange_exchange_bindings", true)
        .with("basic.nack", true)
        .with("consumer_cancel_notify", true)
        .with("connection.blocked", true)
        .with("consumer_priorities", true)
        .with("authentication_failure_close", true)
        .with("per_consumer_qos", true)
        .with("direct_reply_to", true);
    Table::new()
        .with("capabilities", capabilities)
        .with("cluster_name", cluster_name)
        .with("copyright", "Copyright (c) the Everack authors")
        .with("information", "Everack, licensed under the Apache License 2.0")
        .with("platform", "Rust")
        .with("product", "RabbitMQ")
        .with("version", RABBITMQ_VERSION)
        .with("everack_version", everack_version)
}
