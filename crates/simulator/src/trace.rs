//! What happened, as one number and, if asked for, as lines: every call to the disk and every byte to a client goes in.

use std::cell::RefCell;

/// A running hash of everything that is put in, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold(u64);

impl Default for Fold {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fold {
    /// Takes a number in.
    pub fn number(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 29);
    }

    /// Takes bytes in, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words
            .iter()
            .for_each(|word| self.number(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.number(u64::from(*byte)));
    }

    /// The hash of all so far.
    pub fn value(&self) -> u64 {
        self.0
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Trace {
    fold: RefCell<Fold>,
    lines: Option<RefCell<Vec<String>>>,
}

/// Lines that are kept at most; a history has some tens of thousands.
const LINES_MAX: usize = 1 << 20;

impl Trace {
    /// A trace that only hashes, or one that keeps lines too.
    pub fn new(with_lines: bool) -> Self {
        Self {
            fold: RefCell::default(),
            lines: with_lines.then(RefCell::default),
        }
    }

    /// Takes a number in.
    pub fn number(&self, number: u64) {
        self.fold.borrow_mut().number(number);
    }

    /// Takes bytes in.
    pub fn bytes(&self, bytes: &[u8]) {
        self.fold.borrow_mut().bytes(bytes);
    }

    /// Writes a line down, if lines are wanted.
    pub fn line(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let mut lines = lines.borrow_mut();
            if lines.len() < LINES_MAX {
                lines.push(line());
            }
        }
    }

    /// The hash of all so far.
    pub fn hash(&self) -> u64 {
        self.fold.borrow().value()
    }

    /// The lines since this was last asked.
    pub fn take_lines(&self) -> Vec<String> {
        let lines = self.lines.as_ref();
        lines
            .map(|lines| std::mem::take(&mut *lines.borrow_mut()))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_their_order_count() {
        let hash = |pieces: &[&[u8]]| {
            let trace = Trace::new(false);
            pieces.iter().for_each(|piece| trace.bytes(piece));
            trace.hash()
        };
        assert_ne!(hash(&[b"0123456789"]), hash(&[b"0123456788"]));
        assert_ne!(hash(&[b"ab", b"cd"]), hash(&[b"cd", b"ab"]));
        assert_ne!(hash(&[b"abc"]), hash(&[b"ab", b"c"]));
    }

    #[test]
    fn lines_are_kept_only_if_wanted() {
        let (with, without) = (Trace::new(true), Trace::new(false));
        for trace in [&with, &without] {
            trace.line(|| "one".to_owned());
        }
        assert_eq!(with.take_lines(), ["one"]);
        assert!(without.take_lines().is_empty());
    }
}
