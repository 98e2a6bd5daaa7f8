//! Exchanges that choose one of their bindings: by a hash, or by chance.
//!
//! `x-consistent-hash` draws a number for each binding from what is hashed and the destination, and the lowest in
//! proportion to its weight wins (weighted rendezvous). Nothing but the set of bindings decides, so the choice is the same
//! after a restart and on every node, and a binding that comes or goes moves only what it wins or had won. Of two bindings
//! to one destination the heavier counts. The arithmetic is in integers, as two machines must not differ in a last digit.
//!
//! `x-modulus-hash` takes the hash modulo the number of bindings, in the order of their destinations. `x-random` and
//! `x-local-random` take what the message draws. The hash is known to everybody: who chooses colliding keys unbalances
//! nothing but the own messages.

use std::sync::Arc;

use imbl::Vector;

use super::bucket::Bucket;
use super::headers::{HeaderValue, Headers, Property};
use crate::catalog::{Bound, Destination};
use crate::name::Name;

/// The bindings of one such exchange, in their order.
#[derive(Clone, Debug)]
pub(crate) struct OneOf {
    choice: Choice,
    by: HashedBy,
    bindings: Vector<Candidate>,
}

/// How one of the bindings is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By hash, each binding in proportion to the number that is its key.
    Weighted,
    /// By hash, all alike.
    Modulus,
    /// By chance, all alike.
    Random,
}

/// What of a message is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HashedBy {
    RoutingKey,
    Header(Name),
    Property(Property),
}

#[derive(Clone, Debug)]
struct Candidate {
    binding: Arc<Bound>,
    weight: u32,
    /// The hash of the destination.
    point: u64,
    /// The binding alone.
    bucket: Bucket,
}

impl OneOf {
    pub(crate) fn new(choice: Choice, by: HashedBy) -> Self {
        let bindings = Vector::new();
        Self { choice, by, bindings }
    }

    /// The chosen binding; none if there are none.
    pub(crate) fn find(&self, routing_key: &[u8], message: &dyn Headers) -> Option<&Bucket> {
        let count = self.bindings.len() as u64;
        let chosen = match self.choice {
            _ if count == 0 => None,
            Choice::Weighted => self.lightest(self.hash(routing_key, message)),
            Choice::Modulus => self
                .bindings
                .get((self.hash(routing_key, message) % count) as usize),
            Choice::Random => self.bindings.get((message.draw() % count) as usize),
        };
        chosen.map(|candidate| &candidate.bucket)
    }

    /// Whether the message has a part in the choice beside its routing key.
    pub(crate) fn is_by_message(&self) -> bool {
        self.choice == Choice::Random || self.by != HashedBy::RoutingKey
    }

    pub(crate) fn add(&mut self, binding: Arc<Bound>) {
        let at = self.position(&binding).unwrap_or_else(|at| at);
        let candidate = Candidate {
            weight: weight(&binding.routing_key).unwrap_or(1),
            point: point(binding.destination()),
            bucket: Bucket::One(binding.clone()),
            binding,
        };
        self.bindings.insert(at, candidate);
    }

    pub(crate) fn remove(&mut self, binding: &Bound) {
        let at = self.position(binding).expect("a binding is in its table");
        self.bindings.remove(at);
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.bindings.iter().map(|candidate| &candidate.bucket)
    }

    fn position(&self, binding: &Bound) -> Result<usize, usize> {
        self.bindings
            .binary_search_by(|candidate| candidate.binding.as_ref().cmp(binding))
    }

    fn hash(&self, routing_key: &[u8], message: &dyn Headers) -> u64 {
        match &self.by {
            HashedBy::RoutingKey => stable_hash(&[b"k", routing_key]),
            HashedBy::Property(property) => hash_of(message.property(*property).as_ref()),
            HashedBy::Header(name) => {
                let mut hash = hash_of(None);
                message.visit(&mut |candidate, value| {
                    if candidate == name.as_bytes() {
                        hash = hash_of(Some(&value));
                    }
                });
                hash
            }
        }
    }

    /// Of all bindings the one whose number is the lowest for its weight; of equals the first.
    fn lightest(&self, hash: u64) -> Option<&Candidate> {
        let mut best: Option<(&Candidate, u64)> = None;
        for candidate in &self.bindings {
            let cost = cost(finish(hash ^ candidate.point));
            let better = best.is_none_or(|(other, least)| {
                u128::from(cost) * u128::from(other.weight) < u128::from(least) * u128::from(candidate.weight)
            });
            if better {
                best = Some((candidate, cost));
            }
        }
        best.map(|(candidate, _)| candidate)
    }
}

/// The weight that a binding key says: a whole number, with or without a sign. What is below zero is none at all, and what is
/// beyond measure as much as can be counted. `None` if it is no number.
pub(crate) fn weight(key: &[u8]) -> Option<u32> {
    let (negative, digits) = match key {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if negative {
        return Some(0);
    }
    Some(digits.iter().fold(0_u32, |number, digit| {
        number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    }))
}

fn point(destination: &Destination) -> u64 {
    match destination {
        Destination::Queue(name) => stable_hash(&[b"q", name]),
        Destination::Exchange(name) => stable_hash(&[b"x", name]),
    }
}

/// The hash of a value; numbers of all widths are one type, as everywhere.
fn hash_of(value: Option<&HeaderValue<'_>>) -> u64 {
    match value {
        None => stable_hash(&[b"-"]),
        Some(HeaderValue::Void) => stable_hash(&[b"v"]),
        Some(HeaderValue::Bool(value)) => stable_hash(&[b"b", &[u8::from(*value)]]),
        Some(HeaderValue::Integer(value)) => stable_hash(&[b"i", &value.to_be_bytes()]),
        Some(HeaderValue::Float(value)) => stable_hash(&[b"f", &value.to_bits().to_be_bytes()]),
        Some(HeaderValue::Bytes(bytes)) => stable_hash(&[b"k", bytes]),
        Some(HeaderValue::Timestamp(seconds)) => stable_hash(&[b"t", &seconds.to_be_bytes()]),
        Some(HeaderValue::Compound(value)) => stable_hash(&[b"c", format!("{value:?}").as_bytes()]),
    }
}

/// FNV-1a over all bytes, and its bits mixed.
fn stable_hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    finish(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
fn finish(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The binary logarithm of `hash / 2^64`, without its sign, in units of `2^-24`: evenly spread hashes make exponentially
/// spread costs, of which the lowest in proportion to weights wins as often as the weights say.
fn cost(hash: u64) -> u64 {
    const BITS: u32 = 24;
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    let mut mantissa = hash << zeros;
    let mut logarithm = u64::from(63 - zeros);
    for _ in 0..BITS {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let beyond = (square >> 64) as u64;
        mantissa = (square >> beyond) as u64;
        logarithm = logarithm << 1 | beyond;
    }
    (64 << BITS) - logarithm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::bucket::tests::bound;
    use crate::routing::headers::NoHeaders;

    fn table(weights: &[(u64, &str)]) -> OneOf {
        let mut table = OneOf::new(Choice::Weighted, HashedBy::RoutingKey);
        for (number, weight) in weights {
            table.add(bound(weight, *number));
        }
        table
    }

    fn chosen(table: &OneOf, key: u64) -> u64 {
        let bucket = table
            .find(format!("key.{key}").as_bytes(), &NoHeaders)
            .expect("some binding");
        bucket.route().expect("a queue").targets[0].queue.0
    }

    #[test]
    fn weights_are_numbers() {
        let check = |key: &str, expected| assert_eq!(weight(key.as_bytes()), expected, "{key}");
        check("1", Some(1));
        check("+12", Some(12));
        check("007", Some(7));
        check("0", Some(0));
        check("-5", Some(0));
        check("99999999999999999999", Some(u32::MAX));
        for none in ["", "a", "1a", "1.5", "+", "-", "+-1", "-+1", " 1"] {
            check(none, None);
        }
    }

    #[test]
    fn each_gets_as_much_as_its_weight_says() {
        let table = table(&[(1, "1"), (2, "2"), (3, "5")]);
        let mut counts = [0_u32; 4];
        (0..80_000).for_each(|key| counts[chosen(&table, key) as usize] += 1);
        for (number, expected) in [(1, 10_000_u32), (2, 20_000), (3, 50_000)] {
            let got = counts[number];
            assert!(
                got.abs_diff(expected) < expected / 25,
                "queue {number} got {got} instead of {expected}"
            );
        }
    }

    #[test]
    fn only_what_a_newcomer_wins_moves() {
        let before = table(&[(1, "1"), (2, "2")]);
        let after = table(&[(3, "1"), (2, "2"), (1, "1")]);
        let mut moved = 0;
        for key in 0..10_000 {
            let (was, is) = (chosen(&before, key), chosen(&after, key));
            assert!(was == is || is == 3, "key {key} went from {was} to {is}");
            moved += u32::from(was != is);
        }
        assert!(moved.abs_diff(2_500) < 200, "{moved} moved");
    }

    #[test]
    fn removing_brings_the_choice_back() {
        let mut changed = table(&[(1, "1"), (2, "2"), (3, "1")]);
        changed.remove(&bound("1", 3));
        let plain = table(&[(1, "1"), (2, "2")]);
        (0..1_000).for_each(|key| assert_eq!(chosen(&changed, key), chosen(&plain, key)));
        changed.remove(&bound("1", 1));
        changed.remove(&bound("2", 2));
        assert!(changed.find(b"k", &NoHeaders).is_none());
    }

    #[test]
    fn costs_fall_as_hashes_rise() {
        let unit = 1 << 24;
        assert_eq!(cost(1 << 63 | 1), unit, "half is one bit");
        assert_eq!(cost(1 << 62 | 1), 2 * unit);
        assert_eq!(cost(0), 64 * unit);
        assert!(cost(u64::MAX) <= 1);
    }
}
