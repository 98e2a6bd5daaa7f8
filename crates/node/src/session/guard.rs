//! Who does not acknowledge, on a durable queue that is not exclusive, is told of or refused, as the queue's no-ack guard says.

use std::sync::atomic::Ordering;

use everack_amqp::error::{Error, ReplyCode};
use everack_amqp::wire::primitive::ShortString;
use everack_broker::catalog::{Guard, Queue};

use super::Session;

/// How somebody wants to read without acknowledging.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading<'a> {
    /// A consumer of this tag.
    Consumer(&'a ShortString),
    /// With `basic.get`.
    Get,
}

impl Session {
    /// Somebody is about to read a queue without acknowledging.
    ///
    /// # Errors
    /// The queue refuses that: 403, as for other uses of a queue that are not allowed.
    pub(super) fn may_read_no_ack(&self, queue: &Queue) -> Result<(), Error> {
        if queue.no_ack_guard() != Guard::Deny {
            return Ok(());
        }
        self.shared
            .counters
            .no_ack_refused
            .fetch_add(1, Ordering::Relaxed);
        let text = format!(
            "reading durable queue '{}' in vhost '{}' without acknowledgements refused by its no-ack guard: use no-ack=false \
             (manual acknowledgements), or change policy key 'no-ack-guard'",
            queue.name, queue.vhost
        );
        Err(Error::new(ReplyCode::AccessRefused, text))
    }

    /// Somebody has begun to read a queue without acknowledging: once for each consumer, and once for each channel and queue that is
    /// polled.
    pub(super) fn warn_of_no_ack(&self, channel: u16, queue: &Queue, reading: Reading<'_>) {
        if queue.no_ack_guard() != Guard::Warn {
            return;
        }
        self.shared.counters.no_ack_warned.fetch_add(1, Ordering::Relaxed);
        let by = match reading {
            Reading::Consumer(tag) => format!("consumer '{tag}'"),
            Reading::Get => "basic.get".to_owned(),
        };
        tracing::warn!(
            peer = %self.peer,
            channel,
            by,
            queue = %queue.name,
            vhost = %queue.vhost,
            "a durable queue is read without acknowledgements: what is on its way to the client is lost if that fails"
        );
    }
}
