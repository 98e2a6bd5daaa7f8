//! Direct replies: which channels consume from `amq.rabbitmq.reply-to`, and under what name they are answered.
//!
//! There is no queue: a reply goes from the publisher's session straight into the link of the asker's connection, at most
//! once, and is dropped (or returned, if it is mandatory) when nobody is there. The name that a request carries is the key
//! to its channel, so it cannot be guessed, and holds as long as the channel consumes.

use std::sync::Arc;

use everack_broker::name::Name;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::link::Link;
use crate::messages::Messages;

/// The pseudo-queue that askers consume from, and the `reply_to` that their requests carry.
pub const REPLY_TO: &[u8] = b"amq.rabbitmq.reply-to";
/// How the names begin that answers are published to.
pub const REPLY_NAME: &[u8] = b"amq.rabbitmq.reply-to.";

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Replies {
    askers: Mutex<FxHashMap<Name, Asker>>,
}

/// A channel that waits for replies.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Its connection's link.
    pub link: Arc<Link>,
    /// Its number.
    pub channel: u16,
    /// Where it may be answered from.
    pub vhost: Name,
}

/// A reply on its way to the asker's session.
#[derive(Debug)]
pub struct Reply {
    /// The asker's channel.
    pub channel: u16,
    /// The name it was published to: another consumer may have the channel's number by now.
    pub name: Name,
    /// The messages, in memory of their own.
    pub messages: Messages,
    /// What was charged to the link for it.
    pub charged: usize,
}

/// What a reply takes besides its bytes, rounded up.
pub(crate) const REPLY_OVERHEAD_BYTES: usize = 256;

impl Replies {
    /// From here on the asker is found by that name.
    pub fn begin(&self, name: Name, asker: Asker) {
        self.askers.lock().insert(name, asker);
    }

    /// The asker is gone, or has cancelled.
    pub fn end(&self, name: &Name) {
        self.askers.lock().remove(name);
    }

    /// Who is answered by publishing to that name in that virtual host.
    pub fn find(&self, name: &[u8], vhost: &Name) -> Option<Asker> {
        let askers = self.askers.lock();
        askers.get(name).filter(|asker| asker.vhost == *vhost).cloned()
    }
}
