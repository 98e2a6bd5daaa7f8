//! A data directory to be damaged: its files, the changes that a fuzzer asks for, and our own reading of the frames in it.
//!
//! Frames and blocks are sealed and checked here a second time, from the drawings in `docs/formats`, and not with the code
//! that is being tested: a mistake in that code must not agree with itself.

use std::collections::BTreeSet;

use everack_storage::disk::{Disk, File, Memory};

use crate::script::Script;

/// No file grows beyond this by a change, in bytes: the disk is memory.
const FILE_BYTES_MAX: usize = 1 << 20;
const FRAME_HEADER_BYTES: usize = 12;
const SECTOR_BYTES: usize = 512;
/// Where the groups of a segment begin.
const GROUPS_START: usize = 4096;

/// How much a change may know. What is *rotten* looks damaged; what is *forged* carries good checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// Bytes changed, lost or unreadable.
    Rotten,
    /// Frames or blocks that say something else, with good checksums.
    Forged,
}

/// A directory in memory.
#[derive(Debug)]
pub struct Directory {
    /// The disk.
    pub disk: Memory,
    /// The random number that is part of every frame's check.
    pub identity: u64,
    /// The files of the kind that is being harmed, in the order of their names.
    pub names: Vec<String>,
    /// Those that were.
    pub harmed: BTreeSet<String>,
    /// The worst that was done.
    pub harm: Harm,
}

impl Directory {
    /// A copy of `disk`, whose files with this ending are going to be harmed.
    pub fn copy_of(disk: &Memory, endings: &[&str]) -> Directory {
        let disk = disk.kill();
        let entries = disk.list().expect("the disk lists");
        let names = entries.into_iter().map(|entry| entry.name);
        let names = names.filter(|name| endings.iter().any(|ending| name.ends_with(ending)));
        Directory {
            identity: identity(&disk),
            names: names.collect(),
            disk,
            harmed: BTreeSet::new(),
            harm: Harm::Rotten,
        }
    }

    /// The file that a byte stands for.
    pub fn name(&self, choice: u8) -> String {
        self.names[usize::from(choice) % self.names.len()].clone()
    }

    /// A file as a read shows it.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        self.disk.contents(name).unwrap_or_default()
    }

    /// Changes a file behind everybody's back.
    pub fn change(&mut self, name: &str, harm: Harm, change: impl FnOnce(&mut Vec<u8>)) {
        if self.disk.contents(name).is_some() {
            self.disk.corrupt(name, |bytes| {
                change(bytes);
                bytes.truncate(FILE_BYTES_MAX);
            });
            self.note(name, harm);
        }
    }

    /// Writes over a part of a file; what lies behind its end is zero.
    pub fn put(&mut self, name: &str, harm: Harm, offset: usize, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len());
        if end <= FILE_BYTES_MAX {
            self.change(name, harm, |contents| {
                contents.resize(contents.len().max(end), 0);
                contents[offset..end].copy_from_slice(bytes);
            });
        }
    }

    /// A change that any file may suffer: bytes changed, a file cut short or made longer, a part that cannot be read, a
    /// file gone.
    pub fn rot(&mut self, name: &str, script: &mut Script<'_>) {
        match script.octet() % 6 {
            0 | 1 => {
                let (offset, bytes) = (script.long() as usize, script.block());
                self.put(name, Harm::Rotten, offset, bytes);
            }
            2 => {
                let (offset, mask) = (script.short() as usize, script.octet());
                self.change(name, Harm::Rotten, |bytes| {
                    if let Some(byte) = bytes.get_mut(offset) {
                        *byte ^= mask;
                    }
                });
            }
            3 => {
                let length = script.short() as usize;
                self.change(name, Harm::Rotten, |bytes| bytes.truncate(length));
            }
            4 => {
                let (from, length) = (u64::from(script.short()), u64::from(script.short()));
                if self.disk.contents(name).is_some() {
                    self.disk.make_unreadable(name, from..from + length + 1);
                    self.note(name, Harm::Rotten);
                }
            }
            _ => {
                if self.disk.remove(name).is_ok() {
                    self.note(name, Harm::Forged);
                }
            }
        }
    }

    /// A file of this name and these bytes, in the place of one that may be there.
    pub fn create(&mut self, name: &str, bytes: &[u8]) {
        // That there is none is as good.
        let _ = self.disk.remove(name);
        let file = self.disk.create(name).expect("the name is free");
        file.write_at(bytes, 0).expect("the disk writes");
        file.sync_all().expect("the disk syncs");
        self.disk.sync_directory().expect("the disk syncs");
        self.note(name, Harm::Forged);
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    fn note(&mut self, name: &str, harm: Harm) {
        self.harm = self.harm.max(harm);
        self.harmed.insert(name.to_owned());
    }
}

/// What makes the frames of one segment recognisable: `check` in the drawing of `docs/formats/log.md`.
#[derive(Debug, Clone, Copy)]
pub struct Seal {
    /// Of the log.
    pub identity: u64,
    /// Of the segment.
    pub segment: u32,
}

impl Seal {
    fn check(self, word: u32, crc: u32, offset: u64) -> u32 {
        let content = mix(u64::from(word) << 32 | u64::from(crc)) as u32;
        let place = mix(self.identity ^ offset.wrapping_mul(0x9E37_79B9_7F4A_7C15)) as u32;
        content ^ place ^ self.segment
    }

    /// A frame of this kind (1 data, 2 head, 3 end) at this offset, with good checksums.
    pub fn frame(self, kind: u32, payload: &[u8], offset: u64) -> Vec<u8> {
        let word = kind << 29 | payload.len() as u32;
        let crc = crc32fast::hash(payload);
        let mut frame = word.to_le_bytes().to_vec();
        frame.extend(self.check(word, crc, offset).to_le_bytes());
        frame.extend(crc.to_le_bytes());
        frame.extend(payload);
        frame.resize(frame.len().next_multiple_of(8), 0);
        frame
    }

    /// Whether an intact data frame with this payload lies at this offset of the segment.
    pub fn holds(self, segment: &[u8], offset: usize, payload: &[u8]) -> bool {
        let Some(frame) = segment.get(offset..offset + FRAME_HEADER_BYTES + payload.len()) else {
            return false;
        };
        let field = |at: usize| u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        let (word, check, crc) = (field(0), field(4), field(8));
        word == 1 << 29 | payload.len() as u32
            && check == self.check(word, crc, offset as u64)
            && crc == crc32fast::hash(payload)
            && &frame[FRAME_HEADER_BYTES..] == payload
    }
}

/// The start of the sector that a number stands for, behind the segment's header.
pub fn sector(choice: u16) -> usize {
    GROUPS_START + usize::from(choice % 64) * SECTOR_BYTES
}

/// The header of a segment file, with a good checksum.
pub fn segment_header(identity: u64, version: u32, number: u32, durable: u64, length: u64) -> Vec<u8> {
    let mut bytes = b"EVERACK\x01".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(identity.to_le_bytes());
    bytes.extend(durable.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// The header of a checkpoint file, with a good checksum.
pub fn checkpoint_header(identity: u64, version: u32, number: u32, covers: u64) -> Vec<u8> {
    let mut bytes = b"EVERCKP\x01".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(identity.to_le_bytes());
    bytes.extend(covers.to_le_bytes());
    bytes.extend([0; 4]);
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// A block of a checkpoint file, with a good checksum.
pub fn checkpoint_block(count: u32, contents: &[u8]) -> Vec<u8> {
    let mut bytes = (contents.len() as u32).to_le_bytes().to_vec();
    bytes.extend(count.to_le_bytes());
    let crc = crc32fast::hash(&[&bytes[..], contents].concat());
    bytes.extend(crc.to_le_bytes());
    bytes.extend(contents);
    bytes
}

/// The identity in the directory's manifest.
fn identity(disk: &Memory) -> u64 {
    let manifest = disk.contents("MANIFEST").expect("a directory has a manifest");
    let text = String::from_utf8(manifest).expect("the manifest is text");
    let digits = text
        .lines()
        .find_map(|line| line.strip_prefix("identity = "))
        .expect("the manifest names the identity");
    u64::from_str_radix(digits, 16).expect("the identity is a number")
}

/// The finaliser of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
