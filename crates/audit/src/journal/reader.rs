//! Streams a journal back: entries with their times, a block in memory at a time.

use super::encoding::{BLOCK_BYTES_MAX, BLOCK_HEAD, Decoder, MAGIC};
use super::entry::Entry;
use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

/// A journal that is being read.
pub struct Reader {
    file: BufReader<File>,
    block: Vec<u8>,
    at: usize,
    time: u64,
    position: u64,
    cut: bool,
}

impl Reader {
    /// Opens a journal.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut magic = [0; MAGIC.len()];
        let whole = file.read_exact(&mut magic).is_ok();
        ensure!(
            whole && magic == MAGIC,
            "{} is not a journal of this version",
            path.display()
        );
        Ok(Self {
            file,
            block: Vec::new(),
            at: 0,
            time: 0,
            position: MAGIC.len() as u64,
            cut: false,
        })
    }

    /// The next entry and its time in microseconds; `None` at the end.
    pub fn entry(&mut self) -> anyhow::Result<Option<(u64, Entry)>> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(None);
            }
        }
        let mut decoder = Decoder(&self.block[self.at..]);
        let next = decoder
            .next()
            .with_context(|| format!("in the block before byte {} of the journal", self.position))?;
        self.at = self.block.len() - decoder.0.len();
        let (micros, entry) = next.context("a block holds entries")?;
        self.time += micros;
        Ok(Some((self.time, entry)))
    }

    /// Whether the journal ended in the middle of a block: whoever wrote it was killed.
    pub fn was_cut(&self) -> bool {
        self.cut
    }

    fn next_block(&mut self) -> anyhow::Result<bool> {
        let mut head = [0; BLOCK_HEAD];
        match self.fill(&mut head)? {
            0 => return Ok(false),
            BLOCK_HEAD => {}
            _ => return self.end_here(),
        }
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = word(0) as usize;
        if length == 0 || length > BLOCK_BYTES_MAX {
            return self.end_here();
        }
        let mut block = std::mem::take(&mut self.block);
        block.resize(length, 0);
        let read = self.fill(&mut block)?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&head[8..]);
        checksum.update(&block);
        self.block = block;
        if read < length || checksum.finalize() != word(4) {
            return self.end_here();
        }
        self.position += (BLOCK_HEAD + length) as u64;
        self.at = 0;
        self.time = u64::from_le_bytes(head[8..].try_into().expect("eight bytes"));
        Ok(true)
    }

    /// An unreadable block may be the last thing that a killed audit wrote; with anything behind it, it is damage.
    fn end_here(&mut self) -> anyhow::Result<bool> {
        self.block.clear();
        self.at = 0;
        self.cut = true;
        let mut byte = [0];
        if self.fill(&mut byte)? > 0 {
            bail!("the journal is damaged behind byte {}", self.position);
        }
        Ok(false)
    }

    /// Reads until the buffer is full or the file ends.
    fn fill(&mut self, buffer: &mut [u8]) -> anyhow::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read the journal"),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use std::fs;

    fn written(blocks: u64) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::create(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for life in 0..blocks as u32 {
            runtime
                .block_on(journal.synced(&[Entry::Started { life }, Entry::Ended { life }]))
                .unwrap();
        }
        journal.close().unwrap();
        (folder, path)
    }

    /// Entries that tell of lives, and whether the journal was cut; `None` when it is damaged.
    fn read(path: &Path) -> Option<(usize, bool)> {
        let mut reader = Reader::open(path).ok()?;
        let (mut count, mut time) = (0, 0);
        while let Some((micros, entry)) = reader.entry().ok()? {
            assert!(micros >= time, "time goes back");
            time = micros;
            count += usize::from(!matches!(entry, Entry::Synced { .. } | Entry::Durable { .. }));
        }
        Some((count, reader.was_cut()))
    }

    #[test]
    fn what_is_written_is_read() {
        let (_folder, path) = written(5);
        assert_eq!(read(&path), Some((10, false)));
        assert!(Journal::create(&path).is_err(), "a journal is never written over");
    }

    #[test]
    fn a_cut_ends_it_and_damage_inside_is_an_error() {
        let (_folder, path) = written(5);
        let whole = fs::read(&path).unwrap();
        for end in MAGIC.len()..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let (count, _) = read(&path).expect("a journal that is cut can be read");
            assert!(count < 11);
        }
        let mut damaged = whole.clone();
        damaged[MAGIC.len() + BLOCK_HEAD] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(read(&path), None);
        fs::write(&path, b"something else").unwrap();
        assert_eq!(read(&path), None);
    }
}
