//! The contents of a file of the disk in memory. Zeros at its end are not kept, as most files are allocated long before they are written; and
//! a copy costs nothing until one of the two changes, so that one crash can be given many outcomes.

use std::sync::Arc;

/// See the module documentation.
#[derive(Clone, Default)]
pub(super) struct Contents {
    bytes: Arc<Vec<u8>>,
    length: u64,
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Behind these there are only zeros.
    pub(super) fn written_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn resize(&mut self, length: u64) {
        if (length as usize) < self.bytes.len() {
            Arc::make_mut(&mut self.bytes).truncate(length as usize);
        }
        self.length = length;
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset as usize + bytes.len();
        self.length = self.length.max(end as u64);
        // What is all zeros behind the last byte is there already.
        if offset as usize >= self.bytes.len() && bytes.iter().all(|byte| *byte == 0) {
            return;
        }
        let contents = Arc::make_mut(&mut self.bytes);
        if contents.len() < end {
            contents.resize(end, 0);
        }
        contents[offset as usize..end].copy_from_slice(bytes);
    }

    /// Fills `buffer` from `offset` on; returns the bytes that there were.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let there = self.length.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let kept = self.bytes.get(offset as usize..).unwrap_or_default();
        let kept = &kept[..kept.len().min(there)];
        buffer[..kept.len()].copy_from_slice(kept);
        buffer[kept.len()..there].fill(0);
        there
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = (*self.bytes).clone();
        bytes.resize(self.length as usize, 0);
        bytes
    }

    pub(super) fn from_vec(bytes: Vec<u8>) -> Contents {
        Contents {
            length: bytes.len() as u64,
            bytes: Arc::new(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Contents;

    #[test]
    fn it_reads_like_a_vector() {
        let mut contents = Contents::default();
        contents.resize(10);
        contents.write(12, &[0, 0]);
        assert_eq!(contents.len(), 14);
        contents.write(3, &[1, 2, 3]);
        contents.write(5, &[0, 9]);
        assert_eq!(contents.to_vec(), [0, 0, 0, 1, 2, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        let mut buffer = [7; 6];
        assert_eq!(contents.read(&mut buffer, 4), 6);
        assert_eq!(buffer, [2, 0, 9, 0, 0, 0]);
        assert_eq!(contents.read(&mut buffer, 12), 2);
        assert_eq!(contents.read(&mut buffer, 20), 0);
        contents.resize(5);
        contents.resize(7);
        assert_eq!(contents.to_vec(), [0, 0, 0, 1, 2, 0, 0]);
    }
}
