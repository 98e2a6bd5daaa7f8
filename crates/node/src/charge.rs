//! What a publisher is charged for longer than its publish takes.

use std::sync::Arc;

use crate::link::Link;

/// Bytes that count against a publisher's window until the last one who needs them lets go, whatever the reason.
#[derive(Debug)]
pub struct Charge {
    link: Arc<Link>,
    bytes: usize,
}

impl Charge {
    /// Charges `bytes` to the publisher behind `link`.
    pub fn new(link: Arc<Link>, bytes: usize) -> Arc<Self> {
        link.publish_begins(bytes);
        Arc::new(Self { link, bytes })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.link.publish_ends(self.bytes) {
            self.link.wake();
        }
    }
}
