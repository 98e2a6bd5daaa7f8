//! Somebody who publishes as fast as the broker lets him, without confirms, to a queue that is consumed as fast as it can be, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::anyhow;

use crate::block::Block;
use crate::setup::{Options, Session};
use crate::url::Url;
use crate::workload::QueueKind;

const BODY_BYTES: u32 = 100;

/// A publisher and a consumer, until this is ended.
pub struct Greedy {
    publisher: Hand,
    /// Ends last: as long as he takes, the publisher is not held back for ever.
    consumer: Hand,
    published: Arc<AtomicU64>,
}

/// A thread that goes on until it is told that it is over.
struct Hand {
    over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Hand {
    fn begin(work: impl FnOnce(&AtomicBool) -> anyhow::Result<()> + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let theirs = over.clone();
        let thread = thread::spawn(move || work(&theirs));
        Self { over, thread }
    }

    fn end(self) -> anyhow::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("a thread of the bench failed"))?
    }
}

/// Messages of a kind for one queue.
pub fn block(queue: &str, kind: QueueKind, frame_max: u32) -> Block {
    Block::to_queue(queue, BODY_BYTES, kind != QueueKind::Transient, frame_max)
}

impl Greedy {
    /// Begins to publish to a queue that is there.
    pub fn begin(url: &Url, queue: &str, kind: QueueKind) -> anyhow::Result<Self> {
        let mut consumer = Session::open(url, Options::PLAIN)?;
        consumer.consume(queue, "greedy", true)?;
        let mut publisher = Session::open(url, Options::PLAIN)?;
        let block = block(queue, kind, publisher.frame_max());
        let published = Arc::new(AtomicU64::new(0));
        let count = published.clone();
        let messages = block.len() as u64;
        Ok(Self {
            publisher: Hand::begin(move |over| {
                while !over.load(Ordering::Relaxed) {
                    publisher.flood(&block, messages)?;
                    count.fetch_add(messages, Ordering::Relaxed);
                }
                Ok(())
            }),
            consumer: Hand::begin(move |over| consumer.swallow(over).map(drop)),
            published,
        })
    }

    /// Messages handed to the broker so far.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Ends it; an error that it met comes out here.
    pub fn end(self) -> anyhow::Result<()> {
        self.publisher.end()?;
        self.consumer.end()
    }
}
