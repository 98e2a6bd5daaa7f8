//! What one client may make grow, and what it has to give up when memory runs short.
//!
//! The memory alarm stops publishers. It would be of little use against a client that fills memory with something else, so while it
//! stands nothing that takes memory for long is begun: no exchange, queue or binding that is not there yet, no further consumers
//! and channels on a connection that has many. And what a connection holds without being finished with it (messages half
//! sent, transactions, answers that it does not read) is held for [`crate::limits::Limits::patience_ms`] at most: the alarm must not
//! stand because of somebody whose part of the memory nobody else can free. None of it was confirmed.

use everack_amqp::error::{Error, ReplyCode};
use everack_amqp::wire::method::Method;
use everack_amqp::wire::table::{Table, Value};
use everack_broker::catalog::Command;
use everack_broker::ids::Millis;

use super::Session;
use super::topology::Handled;
use crate::alarms::Resource;
use crate::translate::to_amqp;

/// How many commands for the catalog one connection may have under way; the next waits in the socket. Enough to fill a sync.
pub(super) const COMMANDS_MAX: usize = 64;
/// How many values the arguments of one declaration may hold, those within others included. A value of one byte on the wire takes
/// thirty and more in memory, for as long as the queue or binding lives.
const ARGUMENT_VALUES_MAX: usize = 4096;
/// The most that is kept of a client's words only to be shown to operators: arguments of a consumer, properties of a client. Counted as
/// they lie in memory, in bytes. What is larger is not shown; it has its effect all the same.
const SHOWN_BYTES_MAX: usize = 16 << 10;
/// What a value takes in memory beside the bytes of its name and text: two allocations and the enum.
const VALUE_BYTES: usize = 96;
/// What a connection may hold without being finished with it while memory is short, in bytes.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Consumers of a connection, and its channels, beyond which it gets no more while memory is short.
const FEW: usize = 64;

impl Session {
    /// Bytes that this connection keeps in memory and that only itself can free.
    fn held_bytes(&mut self) -> usize {
        let gathered: usize = self.channels.values().map(|state| state.transaction.bytes).sum();
        let unfinished = usize::try_from(self.connection.assembled_bytes()).unwrap_or(usize::MAX);
        unfinished
            .saturating_add(gathered)
            .saturating_add(self.connection.output().len())
    }

    /// Looks whether the connection holds too much while memory is short, and since when.
    pub(super) fn watch_held(&mut self, now: Millis) {
        let short = self.is_memory_short() && self.connection.is_running();
        if !short || self.held_bytes() <= HELD_BYTES_MAX {
            self.give_up_at = None;
        } else if self.give_up_at.is_none() {
            self.give_up_at = Some(Millis(now.0.saturating_add(self.shared.limits.patience_ms())));
        }
    }

    /// Ends a connection whose time to let go of what it holds is over.
    pub(super) fn give_up(&mut self, now: Millis) {
        if self.give_up_at.is_none_or(|at| now < at) {
            return;
        }
        self.give_up_at = None;
        let held = self.held_bytes();
        let text = format!(
            "low on memory, and this connection has held {held} bytes of unfinished messages, transactions or unread \
             answers for {} s",
            self.shared.limits.patience_ms() / 1000
        );
        // Who does not read cannot be told, and what it does not read is what it holds.
        self.cut = self.connection.output().len() > HELD_BYTES_MAX;
        self.fail_channel(0, Error::new(ReplyCode::ResourceError, text));
    }

    fn is_memory_short(&self) -> bool {
        self.shared.alarms.stands(Resource::Memory)
    }

    /// Whether a command that makes the topology grow may do so.
    pub(super) fn may_grow(&self, command: &Command) -> Handled {
        match &self.vhost {
            Some(vhost) => self
                .shared
                .may_grow(&self.snapshot, vhost, command)
                .map_err(to_amqp::error),
            None => Ok(()),
        }
    }

    /// Whether the channel may have one more consumer.
    pub(super) fn may_consume(&self, consumers: usize) -> Handled {
        let max = self.shared.limits.consumers();
        if consumers as u64 >= max {
            let text = format!("reached maximum ({max}) of consumers per channel");
            return Err(Error::new(ReplyCode::NotAllowed, text));
        }
        if self.is_memory_short() && self.consumers.len() >= FEW {
            let text =
                format!("low on memory: no more than {FEW} consumers on a connection until there is room");
            return Err(Error::new(ReplyCode::PreconditionFailed, text));
        }
        Ok(())
    }

    /// Ends a connection whose user has more channels than it may.
    pub(super) fn count_channel(&mut self, channel: u16) {
        let snapshot = self.shared.snapshot();
        if let Err(text) = self.shared.tenants.channel_opens(&snapshot, &self.user) {
            self.fail_channel(channel, Error::new(ReplyCode::NotAllowed, text));
        }
    }

    /// Ends a connection that opens one channel after another while memory is short.
    pub(super) fn look_at_channels(&mut self, channel: u16) {
        if self.is_memory_short() && self.channels.len() > FEW {
            let text =
                format!("low on memory: no more than {FEW} channels on a connection until there is room");
            self.fail_channel(channel, Error::new(ReplyCode::ResourceError, text));
        }
    }
}

/// Refuses arguments that would take far more memory than they took on the wire.
pub(super) fn check_arguments(method: &Method) -> Handled {
    let arguments = match method {
        Method::ExchangeDeclare(declare) => &declare.arguments,
        Method::ExchangeBind(bind) => &bind.arguments,
        Method::ExchangeUnbind(unbind) => &unbind.arguments,
        Method::QueueDeclare(declare) => &declare.arguments,
        Method::QueueBind(bind) => &bind.arguments,
        Method::QueueUnbind(unbind) => &unbind.arguments,
        Method::BasicConsume(consume) => &consume.arguments,
        _ => return Ok(()),
    };
    let count = values_in(arguments);
    if count <= ARGUMENT_VALUES_MAX {
        return Ok(());
    }
    let text = format!("the arguments hold {count} values, more than {ARGUMENT_VALUES_MAX}");
    Err(Error::new(ReplyCode::PreconditionFailed, text))
}

/// The table, if it is small enough to be kept for nothing but to be looked at.
pub(super) fn to_be_shown(table: Table) -> Table {
    if bytes_in(&table) <= SHOWN_BYTES_MAX {
        table
    } else {
        Table::new()
    }
}

fn bytes_in(table: &Table) -> usize {
    table
        .iter()
        .map(|(name, value)| name.as_bytes().len() + bytes_of(value))
        .sum()
}

fn bytes_of(value: &Value) -> usize {
    VALUE_BYTES
        + match value {
            Value::String(bytes) | Value::Bytes(bytes) => bytes.len(),
            Value::Table(table) => bytes_in(table),
            Value::Array(values) => values.iter().map(bytes_of).sum(),
            _ => 0,
        }
}

fn values_in(table: &Table) -> usize {
    table.iter().map(|(_, value)| 1 + values_within(value)).sum()
}

fn values_within(value: &Value) -> usize {
    match value {
        Value::Table(table) => values_in(table),
        Value::Array(values) => values.iter().map(|value| 1 + values_within(value)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of `count` strings of `bytes` bytes each, the last within a table and an array.
    fn table(count: usize, bytes: usize) -> Table {
        let mut table = Table::new();
        let text = || Value::String(vec![b'x'; bytes]);
        for _ in 1..count {
            table = table.with("n", text());
        }
        let mut inner = Table::new();
        inner = inner.with("n", Value::Array(vec![text()]));
        table.with("n", Value::Table(inner))
    }

    #[test]
    fn small_tables_are_kept_and_large_ones_are_not() {
        let check = |count, bytes, kept| {
            let shown = to_be_shown(table(count, bytes));
            assert_eq!(shown.iter().next().is_some(), kept, "{count} of {bytes} bytes");
        };
        check(1, 20, true);
        check(20, 300, true);
        check(1, 20_000, false);
        check(20, 1_000, false);
        check(400, 0, false);
    }
}
