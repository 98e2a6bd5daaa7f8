//! What a connection says of itself when somebody looks: for operators, never for the client.

use super::channel::{self, Channel};
use super::{Connection, Phase};

/// A connection at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// RabbitMQ's name of the state: `starting`, `tuning`, `opening`, `running`, `closing`, `closed`.
    pub state: &'static str,
    /// The SASL mechanism of the log-in; empty before it.
    pub mechanism: &'static str,
    /// Largest frame in bytes; 0 means no limit.
    pub frame_max: u32,
    /// Highest channel number; 0 means no limit.
    pub channel_max: u16,
    /// Heartbeat interval in seconds; 0 means none.
    pub heartbeat_s: u16,
}

/// One open channel at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelStatus {
    /// How its publishes are answered.
    pub mode: ChannelMode,
    /// Deliveries that the client has not settled.
    pub unsettled: u64,
    /// Publishes that have been numbered for a confirm, since the channel was opened.
    pub numbered: u64,
    /// Of those, how many wait for their confirm.
    pub unconfirmed: u64,
}

/// How the publishes of a channel are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelMode {
    /// Not at all.
    Plain,
    /// Each with `basic.ack` or `basic.nack`.
    Confirm,
    /// With `tx.commit-ok`.
    Transaction,
}

impl Connection {
    /// How the connection stands.
    pub fn status(&self) -> Status {
        Status {
            state: self.phase.name(),
            mechanism: self.mechanism,
            frame_max: self.frame_max,
            channel_max: self.channel_max,
            heartbeat_s: self.heartbeat_s(),
        }
    }

    /// Publishes whose confirms were sent, over all channels that ever were.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// How a channel stands; `None` if it is not open. Counts what is unsettled, so it is not for the hot path.
    pub fn channel_status(&self, number: u16) -> Option<ChannelStatus> {
        self.channel(number)
            .filter(|_| self.phase == Phase::Running)
            .map(Channel::status)
    }
}

impl Channel {
    fn status(&self) -> ChannelStatus {
        ChannelStatus {
            mode: match self.mode {
                channel::Mode::Plain => ChannelMode::Plain,
                channel::Mode::Confirm => ChannelMode::Confirm,
                channel::Mode::Transaction => ChannelMode::Transaction,
            },
            unsettled: self.deliveries.unsettled(),
            numbered: self.confirms.numbered(),
            unconfirmed: self.confirms.unconfirmed(),
        }
    }
}
