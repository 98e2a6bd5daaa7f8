//! What a file shows beyond what is durable: the latest written bytes by offset, each stretch with the change that it
//! came with. It holds no history (see `contents`) and does no input or output.

use bytes::Bytes;
use std::collections::BTreeMap;

/// Stretches of bytes by their offset; they never overlap.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    stretches: BTreeMap<u64, Stretch>,
}

#[derive(Clone, Debug)]
struct Stretch {
    length: u64,
    /// `None` for zeros: what a truncation left behind.
    bytes: Option<Bytes>,
    /// The number of the change that wrote it.
    change: u64,
}

impl Stretch {
    /// The part of it from `skip` to `skip + length`.
    fn part(&self, skip: u64, length: u64) -> Stretch {
        Stretch {
            length,
            bytes: self
                .bytes
                .as_ref()
                .map(|bytes| bytes.slice(skip as usize..(skip + length) as usize)),
            change: self.change,
        }
    }
}

impl Overlay {
    /// Shows `bytes` at `offset`, over whatever was shown there.
    pub(super) fn write(&mut self, offset: u64, bytes: Bytes, change: u64) {
        let length = bytes.len() as u64;
        self.put(offset, length, Some(bytes), change);
    }

    /// Shows zeros from `from` to `to`.
    pub(super) fn zero(&mut self, from: u64, to: u64, change: u64) {
        self.put(from, to.saturating_sub(from), None, change);
    }

    fn put(&mut self, offset: u64, length: u64, bytes: Option<Bytes>, change: u64) {
        if length == 0 {
            return;
        }
        self.clear(offset, offset + length);
        self.stretches.insert(
            offset,
            Stretch {
                length,
                bytes,
                change,
            },
        );
    }

    /// Shows nothing of its own from `from` to `to`.
    pub(super) fn clear(&mut self, from: u64, to: u64) {
        let before = self.stretches.range(..from).next_back();
        let before = before.map(|(&start, stretch)| (start, stretch.clone()));
        if let Some((start, stretch)) = before
            && start + stretch.length > from
        {
            self.stretches.insert(start, stretch.part(0, from - start));
            self.put_back_behind(to, start, &stretch);
        }
        while let Some((&start, _)) = self.stretches.range(from..to).next() {
            if let Some(stretch) = self.stretches.remove(&start) {
                self.put_back_behind(to, start, &stretch);
            }
        }
    }

    /// Of a stretch that began at `start`, what lies behind `to` stays.
    fn put_back_behind(&mut self, to: u64, start: u64, stretch: &Stretch) {
        let end = start + stretch.length;
        if end > to {
            self.stretches.insert(to, stretch.part(to - start, end - to));
        }
    }

    /// Puts what it shows into `buffer`, which holds the durable bytes from `offset` on.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) {
        let end = offset + buffer.len() as u64;
        let first = self.stretches.range(..=offset).next_back();
        let first = first.map_or(offset, |(&start, _)| start);
        for (&start, stretch) in self.stretches.range(first..end) {
            let (from, to) = (start.max(offset), (start + stretch.length).min(end));
            if from >= to {
                continue;
            }
            let target = &mut buffer[(from - offset) as usize..(to - offset) as usize];
            match &stretch.bytes {
                Some(bytes) => {
                    target.copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
                }
                None => target.fill(0),
            }
        }
    }

    /// Drops what came with changes that `is_gone` names.
    pub(super) fn forget(&mut self, is_gone: impl Fn(u64) -> bool) {
        self.stretches.retain(|_, stretch| !is_gone(stretch.change));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random writes, zeros and clearings show the same as in an array that is simply written over.
    #[test]
    fn it_shows_what_an_array_would() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut overlay = Overlay::default();
            let (below, mut expected) = ([7u8; 256], [7u8; 256]);
            for change in 0..30 {
                let from = random.usize(0..256);
                let to = random.usize(from..=256);
                match random.u8(0..4) {
                    0 => {
                        overlay.zero(from as u64, to as u64, change);
                        expected[from..to].fill(0);
                    }
                    1 => {
                        overlay.clear(from as u64, to as u64);
                        expected[from..to].fill(7);
                    }
                    _ => {
                        let bytes: Vec<u8> = (from..to).map(|_| random.u8(..)).collect();
                        overlay.write(from as u64, bytes.clone().into(), change);
                        expected[from..to].copy_from_slice(&bytes);
                    }
                }
                let at = random.usize(0..256);
                let mut shown = below[at..].to_vec();
                overlay.read(at as u64, &mut shown);
                assert_eq!(shown, expected[at..], "seed {seed}, change {change}");
            }
        }
    }
}
