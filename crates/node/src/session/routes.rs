//! The routes that a channel used last, so that publishing looks into the topology once an address, not once a message.

use std::mem;
use std::sync::Arc;

use everack_broker::routing::Route;

/// How many addresses besides the last one are remembered: a publisher that goes round ten routing keys finds them all.
const OTHERS: usize = 32;

/// Where messages of one address go.
#[derive(Clone, Debug, Default)]
pub(super) enum LastRoute {
    /// All alike.
    Fixed(Arc<Route>),
    /// Each by its own headers.
    #[default]
    ByHeaders,
    /// Past all queues, to a channel that has asked, if it is still there.
    Reply,
}

/// Routes by address (exchange and routing key as the batch keeps them). Good for one epoch of the topology.
#[derive(Debug, Default)]
pub(super) struct Routes {
    epoch: Option<u64>,
    last: Known,
    /// One place for each address, by its hash; what comes to a place that is taken drives out what was there. Empty until there is
    /// a second address, as most channels have but one.
    others: Vec<Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// Empty: nothing is known. An address is never empty, it begins with a length.
    address: Vec<u8>,
    route: LastRoute,
}

impl Routes {
    /// The route of the address that was used last.
    #[inline]
    pub(super) fn last(&self, epoch: u64, address: &[u8]) -> Option<&LastRoute> {
        (self.epoch == Some(epoch) && self.last.address == address).then_some(&self.last.route)
    }

    /// The route of an address that was used before, which becomes the last one.
    pub(super) fn earlier(&mut self, epoch: u64, address: &[u8]) -> Option<&LastRoute> {
        if self.epoch != Some(epoch) {
            return None;
        }
        let place = self.others.get_mut(place(address))?;
        if place.address != address {
            return None;
        }
        let found = mem::take(place);
        self.put_aside_last();
        self.last = found;
        Some(&self.last.route)
    }

    /// Remembers where an address leads that was looked up in this epoch.
    pub(super) fn keep(&mut self, epoch: u64, address: &[u8], route: LastRoute) {
        if self.epoch != Some(epoch) {
            self.others.clear();
            self.last.address.clear();
            self.epoch = Some(epoch);
        }
        let mut buffer = self.put_aside_last().address;
        buffer.clear();
        buffer.extend_from_slice(address);
        self.last = Known {
            address: buffer,
            route,
        };
    }

    /// Takes the last route to its place among the others. Returns what it drove out, for the room it has.
    fn put_aside_last(&mut self) -> Known {
        let last = mem::take(&mut self.last);
        if last.address.is_empty() {
            return last;
        }
        if self.others.is_empty() {
            self.others = vec![Known::default(); OTHERS];
        }
        let place = place(&last.address);
        mem::replace(&mut self.others[place], last)
    }
}

/// Where an address has its place. Addresses of one publisher mostly differ at their ends.
fn place(address: &[u8]) -> usize {
    let end = address.last_chunk::<8>().map_or_else(
        || {
            let mut bytes = [0; 8];
            bytes[..address.len()].copy_from_slice(address);
            bytes
        },
        |end| *end,
    );
    // Fibonacci hashing: the upper bits of the product depend on all of the lower ones.
    let product = u64::from_le_bytes(end).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (product >> (u64::BITS - OTHERS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `routes` says of an address: the number of targets that its route was kept with, in the order of asking.
    fn known(routes: &mut Routes, epoch: u64, address: &[u8]) -> bool {
        routes.last(epoch, address).is_some() || routes.earlier(epoch, address).is_some()
    }

    #[track_caller]
    fn check(kept: &[(u64, &str)], asked: (u64, &str), expected: bool) {
        let mut routes = Routes::default();
        for (epoch, address) in kept {
            routes.keep(*epoch, address.as_bytes(), LastRoute::Reply);
        }
        let (epoch, address) = asked;
        let found = known(&mut routes, epoch, address.as_bytes());
        assert_eq!(found, expected, "{asked:?} after {kept:?}");
    }

    #[test]
    fn finds_what_was_kept_in_the_same_epoch() {
        check(&[], (0, "a"), false);
        check(&[], (0, ""), false);
        check(&[(0, "a")], (0, "a"), true);
        check(&[(0, "a")], (1, "a"), false);
        check(&[(0, "a"), (0, "b")], (0, "a"), true);
        check(&[(0, "a"), (0, "b")], (0, "b"), true);
        check(&[(0, "a"), (0, "b")], (0, "c"), false);
        check(&[(0, "a"), (1, "b")], (1, "a"), false);
        check(&[(0, "a"), (1, "b"), (1, "c")], (1, "b"), true);
        check(
            &[(0, "a long address"), (0, "another long address")],
            (0, "a long address"),
            true,
        );
    }

    #[test]
    fn a_publisher_that_goes_round_ten_keys_finds_most_of_them() {
        let mut routes = Routes::default();
        let keys: Vec<String> = (0..10).map(|key| format!("orders.key-{key}")).collect();
        let mut looked_up = 0;
        for key in keys.iter().cycle().take(1000) {
            if !known(&mut routes, 7, key.as_bytes()) {
                looked_up += 1;
                routes.keep(7, key.as_bytes(), LastRoute::ByHeaders);
            }
        }
        assert!(looked_up <= 210, "{looked_up} of 1000");
    }

    #[test]
    fn thousands_of_addresses_take_the_room_of_a_few() {
        let mut routes = Routes::default();
        for number in 0..5000 {
            routes.keep(0, format!("address {number}").as_bytes(), LastRoute::Reply);
        }
        assert_eq!(routes.others.len(), OTHERS);
        assert!(known(&mut routes, 0, b"address 4999"));
        assert!(!known(&mut routes, 0, b"address 0"));
    }
}
