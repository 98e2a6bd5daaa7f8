//! What becomes of messages that no queue wants: back to a publisher that has asked for them, or what their virtual host says.

use std::sync::atomic::{AtomicU64, Ordering};

use everack_amqp::content::Batch;
use everack_broker::catalog::{Unroutable, VhostView};

use super::Session;
use super::publish::Routed;
use crate::messages;
use crate::report::Published;

impl Session {
    /// Neighbours `from..to` of a batch are wanted by nobody.
    pub(super) fn unroutable(
        &self,
        routed: &mut Routed,
        batch: &Batch,
        (from, to): (u16, u16),
        mandatory: bool,
        published: &mut Published,
    ) {
        let (messages, counters) = (u64::from(to - from), &self.shared.counters);
        if mandatory {
            count(&counters.unroutable_returned, messages);
            published.returned += messages;
            routed.returned.extend(from..to);
            return;
        }
        let fate = self.vhost.as_ref().map(VhostView::unroutable).unwrap_or_default();
        match fate {
            Unroutable::Keep { bytes_max, .. } => {
                self.keep_unroutable(routed, batch, (from, to), bytes_max, published);
            }
            Unroutable::Nack => self.refuse_unroutable(routed, (from, to), published),
            Unroutable::Drop => {
                count(&counters.unroutable_dropped, messages);
                published.dropped += messages;
            }
        }
    }

    /// What is larger than the whole store would only push everything else out of it, and then go itself: it is refused.
    fn keep_unroutable(
        &self,
        routed: &mut Routed,
        batch: &Batch,
        (from, to): (u16, u16),
        bytes_max: u64,
        published: &mut Published,
    ) {
        let Some(store) = self.vhost.as_ref().and_then(VhostView::route_to_store) else {
            return self.refuse_unroutable(routed, (from, to), published);
        };
        let fits = |index: u16| messages::all_bytes(&batch.entries[usize::from(index)]) <= bytes_max;
        let mut from = from;
        while from < to {
            let fit = fits(from);
            let end = (from + 1..to).find(|&index| fits(index) != fit).unwrap_or(to);
            if fit {
                let messages = u64::from(end - from);
                count(&self.shared.counters.unroutable_kept, messages);
                published.kept += messages;
                routed.push(store.clone(), from, end);
            } else {
                self.refuse_unroutable(routed, (from, end), published);
            }
            from = end;
        }
    }

    fn refuse_unroutable(&self, routed: &mut Routed, (from, to): (u16, u16), published: &mut Published) {
        let messages = u64::from(to - from);
        count(&self.shared.counters.unroutable_refused, messages);
        published.refused += messages;
        routed.refused.push((from, to));
    }
}

fn count(counter: &AtomicU64, messages: u64) {
    counter.fetch_add(messages, Ordering::Relaxed);
}
