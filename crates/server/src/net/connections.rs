//! How many connections there are, and how many there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts connections from accept to their last byte. Shared by all listeners.
#[derive(Debug)]
pub struct Connections {
    open: AtomicUsize,
    max: AtomicUsize,
    emptied: Notify,
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Connections>);

impl Connections {
    /// Room for `max`.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            emptied: Notify::new(),
        })
    }

    /// Changes the limit. Those above a lower one stay.
    pub fn limit(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// The limit.
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// A place, if there is one.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let room = |open| (open < self.max()).then_some(open + 1);
        let entered = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, room);
        entered.ok().map(|_| Place(self.clone()))
    }

    /// Returns when there are none left.
    pub async fn emptied(&self) {
        loop {
            let notified = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_as_many_places_as_there_are() {
        let connections = Connections::new(2);
        let (first, second) = (connections.enter().unwrap(), connections.enter());
        assert!(second.is_some());
        assert!(connections.enter().is_none());
        drop(first);
        let third = connections.enter();
        assert!(third.is_some());
        connections.limit(1);
        assert!(connections.enter().is_none());
        let waiting = tokio::spawn({
            let connections = connections.clone();
            async move { connections.emptied().await }
        });
        drop((second, third));
        waiting.await.unwrap();
        assert_eq!(connections.open(), 0);
    }
}
