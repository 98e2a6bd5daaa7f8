//! Names that the broker makes up, of which nobody can compute another one.
//!
//! A name is 128 bits of a keyed function of a number that is used once. The name that direct replies find their way by is a key to
//! somebody's channel, and every client is given names of its own, as many as it likes. So the function has to be one that
//! cannot be run backwards, nor guessed from what it gives: SipHash-2-4 with a random key of 128 bits.

// It is deprecated as a hasher of maps, which it is not used for; the algorithm is part of its documentation, and tested below.
#![expect(deprecated, reason = "the standard library has no other keyed function")]

use std::hash::{Hasher, SipHasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Random, drawn at each start of the process; a simulation fixes it.
#[derive(Clone, Copy)]
pub struct NameKey(pub [u64; 2]);

/// See the module documentation.
pub struct Names {
    key: NameKey,
    next: AtomicU64,
}

/// What the function is used for; each use has a function of its own.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Use {
    High,
    Low,
    Draws,
}

/// Characters of a name behind its prefix: six bits each.
const DIGITS: usize = 22;

impl Names {
    pub(crate) fn new(key: NameKey) -> Self {
        Self {
            key,
            next: AtomicU64::new(1),
        }
    }

    /// A name that was never given out, such as `amq.gen-` and 22 characters, as RabbitMQ makes them.
    pub(crate) fn generate(&self, prefix: &str) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (self.key.of(Use::High, number), self.key.of(Use::Low, number));
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = u128::from(high) << 64 | u128::from(low);
        let mut name = String::with_capacity(prefix.len() + DIGITS);
        name.push_str(prefix);
        name.extend((0..DIGITS).map(|digit| char::from(LETTERS[(bits >> (digit * 6)) as usize & 63])));
        name
    }

    /// A seed for numbers that are shown to clients; it tells nothing of the names.
    pub(crate) fn draw_seed(&self) -> u64 {
        self.key.of(Use::Draws, 0)
    }
}

impl NameKey {
    fn of(self, purpose: Use, number: u64) -> u64 {
        let [first, second] = self.0;
        let mut hasher = SipHasher::new_with_keys(first, second);
        hasher.write(&(purpose as u64).to_le_bytes());
        hasher.write(&number.to_le_bytes());
        hasher.finish()
    }
}

/// The key is not for logs.
impl std::fmt::Debug for NameKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NameKey(..)")
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Names").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_function_is_siphash_2_4() {
        // The example of the paper (https://www.aumasson.jp/siphash/siphash.pdf, appendix A).
        let mut hasher = SipHasher::new_with_keys(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        hasher.write(&(0..15).collect::<Vec<u8>>());
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn names_depend_on_both_halves_of_the_key_and_never_repeat() {
        let named = |key| {
            let names = Names::new(NameKey(key));
            (0..100).map(|_| names.generate("x-")).collect::<Vec<_>>()
        };
        let all: BTreeSet<String> = [[1, 2], [1, 3], [2, 2]].into_iter().flat_map(named).collect();
        assert_eq!(all.len(), 300);
        assert!(all.iter().all(|name| name.len() == 24 && name.starts_with("x-")));
        assert_eq!(named([1, 2]), named([1, 2]), "the same key gives the same names");
    }

    /// What was done until now, and how to undo it: the key came out of any one name.
    fn unscramble(value: u64) -> u64 {
        let unshift = |value: u64, by: u32| value ^ (value >> by) ^ (value >> (2 * by).min(63));
        let mut value = unshift(value, 31).wrapping_mul(0x3196_42b2_d24d_8ec3);
        value = unshift(value, 27).wrapping_mul(0x96de_1b17_3f11_9089);
        unshift(value, 30).wrapping_sub(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn one_name_does_not_tell_the_next() {
        let names = Names::new(NameKey([7, 11]));
        let own = names.generate("");
        let letter = |letter: u8| match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            _ => 63,
        };
        let digits = own.bytes().enumerate();
        let bits = digits.fold(0_u128, |bits, (at, digit)| {
            bits | u128::from(letter(digit)) << (at * 6)
        });
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        let number = unscramble(low).wrapping_sub(high);
        assert!(
            number > 1 << 32,
            "a name told its number, hence the key: {number}"
        );
    }
}
