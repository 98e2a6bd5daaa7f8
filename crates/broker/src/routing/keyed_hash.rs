//! The hash of the maps: fast on short names, and keyed.
//!
//! Clients choose the names, so with a known hash they could make every lookup walk one long chain. The key comes from
//! outside (the process draws it, a simulation fixes it), since this crate knows no randomness. The order of iteration
//! depends on the key; whoever lets it be seen sorts first.

use std::hash::{BuildHasher, Hasher};

/// Builds hashers with the catalog's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keyed(u64);

/// Multiplies to 128 bits and folds the halves, eight bytes at a time.
pub(crate) struct Folding(u64);

impl Keyed {
    pub(crate) fn new(key: u64) -> Self {
        Self(fold(key ^ SALT, MULTIPLIER))
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding(self.0)
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
            self.write_u64(u64::from_le_bytes(*chunk));
            rest = tail;
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = fold(self.0 ^ value, MULTIPLIER);
    }

    fn write_usize(&mut self, value: usize) {
        // Lengths come this way, before the bytes: that is what keeps "a" and "a\0" apart.
        self.0 = self.0.rotate_left(23) ^ value as u64;
    }

    fn finish(&self) -> u64 {
        fold(self.0, SALT)
    }
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const SALT: u64 = 0xd1b5_4a32_d192_ed03;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_names_hardly_collide_in_32_bits() {
        for key in [0, 1, u64::MAX] {
            let keyed = Keyed::new(key);
            let mut hashes: Vec<u32> = (0..100_000)
                .map(|number| keyed.hash_one(format!("orders.{number}").as_bytes()) as u32)
                .collect();
            hashes.sort_unstable();
            hashes.dedup();
            assert!(hashes.len() > 99_980, "{} hashes with key {key}", hashes.len());
        }
    }

    #[test]
    fn the_length_counts() {
        let keyed = Keyed::new(7);
        assert_ne!(keyed.hash_one(b"a".as_slice()), keyed.hash_one(b"a\0".as_slice()));
        assert_ne!(keyed.hash_one(b"".as_slice()), keyed.hash_one(b"\0".as_slice()));
    }
}
