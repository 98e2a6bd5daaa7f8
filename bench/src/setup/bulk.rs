//! Many requests at once: what a broker does with thousands of queues, bindings and messages shows only when nobody waits for each.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use super::{Session, queue_declare};
use crate::block::Block;
use crate::wire::{self, CHANNEL, FRAME_HEARTBEAT, FRAME_METHOD, Reader, id};
use crate::workload::QueueKind;

/// Requests are written in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;
const SWALLOWED_BYTES: usize = 256 << 10;
/// How often somebody who reads without end looks whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const NO_WAIT: u8 = 0b1_0000;

impl Session {
    /// Declares queues with `no-wait`, and returns once the last of them is there.
    pub fn declare_queues_without_waiting(
        &mut self,
        names: &[String],
        kind: QueueKind,
    ) -> anyhow::Result<()> {
        let declare = |out: &mut Vec<u8>, name: &String| {
            wire::method(out, CHANNEL, id::QUEUE_DECLARE, |out| {
                queue_declare(out, name, kind, NO_WAIT)
            });
        };
        self.write_all(names.iter(), declare)?;
        if let Some(last) = names.last() {
            self.declare_queue(last, kind, true)?;
        }
        Ok(())
    }

    /// Binds a queue to an exchange by many keys with `no-wait`. An answer to the next request says that all of them are bound.
    pub fn bind_without_waiting(
        &mut self,
        queue: &str,
        exchange: &str,
        routing_keys: impl Iterator<Item = String>,
    ) -> anyhow::Result<()> {
        self.write_all(routing_keys, |out, key| {
            wire::method(out, CHANNEL, id::QUEUE_BIND, |out| {
                out.extend_from_slice(&[0, 0]);
                wire::short_string(out, queue.as_bytes());
                wire::short_string(out, exchange.as_bytes());
                wire::short_string(out, key.as_bytes());
                out.push(1);
                wire::table(out, |_| {});
            });
        })
    }

    /// Declares queues on so many channels at a time; each channel goes on when its answer is there.
    pub fn declare_queues_over_channels(
        &mut self,
        names: &[String],
        kind: QueueKind,
        channels: u16,
    ) -> anyhow::Result<()> {
        for channel in CHANNEL + 1..=CHANNEL + channels {
            self.call(channel, id::CHANNEL_OPEN, id::CHANNEL_OPEN_OK, |out| out.push(0))?;
        }
        let mut waiting = names.iter();
        let mut declare = |session: &mut Self, channel: u16| -> anyhow::Result<bool> {
            let Some(name) = waiting.next() else {
                return Ok(false);
            };
            session.send(channel, id::QUEUE_DECLARE, |out| {
                queue_declare(out, name, kind, 0)
            })?;
            Ok(true)
        };
        let mut busy = 0;
        for channel in CHANNEL + 1..=CHANNEL + channels {
            busy += u16::from(declare(self, channel)?);
        }
        while busy > 0 {
            let channel = self.declared()?;
            busy -= u16::from(!declare(self, channel)?);
        }
        Ok(())
    }

    /// Publishes the messages of a block, again and again, until there were `count`. The broker holds us back if it has to: without
    /// confirms there is nothing to read meanwhile.
    pub fn flood(&mut self, block: &Block, count: u64) -> anyhow::Result<()> {
        let mut left = count;
        while left > 0 {
            let some = left.min(block.len() as u64);
            self.stream
                .write_all(&block.bytes()[..block.start(some as usize)])
                .context("the broker ended the connection")?;
            left -= some;
        }
        Ok(())
    }

    /// Publishes the first message of a block and waits for its confirm; the channel is in confirm mode.
    pub fn publish_and_wait(&mut self, block: &Block) -> anyhow::Result<()> {
        self.stream
            .write_all(&block.bytes()[..block.start(1)])
            .context("the broker ended the connection")?;
        self.expect(CHANNEL, id::BASIC_ACK)?;
        Ok(())
    }

    /// Reads whatever comes, as fast as it comes, and forgets it, until it is over. Answers how many bytes there were.
    pub fn swallow(&mut self, over: &AtomicBool) -> anyhow::Result<u64> {
        let (mut chunk, mut bytes) = (vec![0; SWALLOWED_BYTES], 0);
        self.stream.set_read_timeout(Some(LOOK_EVERY))?;
        while !over.load(Ordering::Relaxed) {
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("the broker ended the connection"),
                Ok(got) => bytes += got as u64,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error).context("the connection broke"),
            }
        }
        Ok(bytes)
    }

    /// Waits for the next `queue.declare-ok`; answers its channel.
    fn declared(&mut self) -> anyhow::Result<u16> {
        loop {
            let (kind, channel, payload) = self.read_frame()?;
            if kind == FRAME_HEARTBEAT {
                continue;
            }
            let mut reader = Reader::new(&payload);
            match (kind, reader.u16().zip(reader.u16())) {
                (FRAME_METHOD, Some(id::QUEUE_DECLARE_OK)) => return Ok(channel),
                (FRAME_METHOD, Some(id::CHANNEL_CLOSE | id::CONNECTION_CLOSE)) => {
                    bail!("the broker refused: {}", wire::close_reason(&payload[4..]))
                }
                other => bail!("the broker sent {other:?} where queue.declare-ok was due"),
            }
        }
    }

    fn write_all<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        encode: impl Fn(&mut Vec<u8>, T),
    ) -> anyhow::Result<()> {
        let mut piece = Vec::with_capacity(2 * PIECE_BYTES);
        for item in items {
            encode(&mut piece, item);
            if piece.len() >= PIECE_BYTES {
                self.stream
                    .write_all(&piece)
                    .context("the broker ended the connection")?;
                piece.clear();
            }
        }
        self.stream
            .write_all(&piece)
            .context("the broker ended the connection")
    }
}
