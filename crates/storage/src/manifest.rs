//! The identity of a data directory: one small text file, `MANIFEST`.
//!
//! ```text
//!  everack data directory\n
//!  format = 1\n
//!  identity = 0123456789abcdef\n        64 random bits; part of every frame's check
//!  crc = 89abcdef\n                     CRC-32 of the lines above
//! ```
//!
//! Every segment header repeats version and identity, so a lost manifest is written again from them.

use crate::{
    disk::{Disk, Entry, File},
    recovery::OpenError,
    segment::{self, FORMAT_VERSION, Header},
};
use std::io;

/// The file's name.
pub const NAME: &str = "MANIFEST";
const NAME_NEW: &str = "MANIFEST.new";
const TITLE: &str = "everack data directory";

/// What the manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    pub(crate) identity: u64,
}

/// How the manifest came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Read,
    Fresh,
    Restored,
}

impl Manifest {
    pub(crate) fn encode(&self) -> String {
        let lines = format!(
            "{TITLE}\nformat = {}\nidentity = {:016x}\n",
            self.version, self.identity
        );
        format!("{lines}crc = {:08x}\n", crc32fast::hash(lines.as_bytes()))
    }

    /// `None` when the text is not a whole manifest.
    pub(crate) fn decode(text: &[u8]) -> Option<Manifest> {
        let text = std::str::from_utf8(text).ok()?;
        let (lines, crc) = text.split_at(text.find("crc = ")?);
        let crc = u32::from_str_radix(crc.strip_prefix("crc = ")?.trim_end(), 16).ok()?;
        if crc != crc32fast::hash(lines.as_bytes()) {
            return None;
        }
        let mut lines = lines.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let version = lines.next()?.strip_prefix("format = ")?.parse().ok()?;
        // A newer format may say other things below; its version is all that matters then.
        let identity = lines.next().and_then(|line| line.strip_prefix("identity = "));
        let identity = identity.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        match identity {
            Some(identity) => Some(Manifest { version, identity }),
            None if version > FORMAT_VERSION => Some(Manifest { version, identity: 0 }),
            None => None,
        }
    }

    /// Read the manifest; make one up for an empty directory; restore a lost one from the segments. Writes nothing.
    pub(crate) fn find<D: Disk>(disk: &D, entries: &[Entry]) -> Result<(Manifest, Origin), OpenError> {
        let present = entries.iter().any(|entry| entry.name == NAME);
        let read = if present { Manifest::read(disk)? } else { None };
        let has_segments = entries
            .iter()
            .any(|entry| segment::parse_name(&entry.name).is_some());
        let found = match read {
            Some(manifest) => (manifest, Origin::Read),
            None if has_segments => (Manifest::from_segments(disk, entries)?, Origin::Restored),
            None => (
                Manifest {
                    version: FORMAT_VERSION,
                    identity: disk.random()?,
                },
                Origin::Fresh,
            ),
        };
        if found.0.version > FORMAT_VERSION {
            return Err(OpenError::Newer {
                place: disk.place(),
                found: found.0.version,
                known: FORMAT_VERSION,
            });
        }
        Ok(found)
    }

    fn read<D: Disk>(disk: &D) -> io::Result<Option<Manifest>> {
        let mut text = [0; 1024];
        match disk.open(NAME)?.read_at(&mut text, 0) {
            Ok(filled) => Ok(Manifest::decode(&text[..filled])),
            Err(error) if segment::is_unreadable(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn from_segments<D: Disk>(disk: &D, entries: &[Entry]) -> Result<Manifest, OpenError> {
        for entry in entries
            .iter()
            .filter(|entry| segment::parse_name(&entry.name).is_some())
        {
            if let Some(header) = Header::read(&disk.open(&entry.name)?)? {
                return Ok(Manifest {
                    version: header.version,
                    identity: header.identity,
                });
            }
        }
        Err(OpenError::NoIdentity { place: disk.place() })
    }

    /// Make it durable.
    pub(crate) fn write<D: Disk>(&self, disk: &D) -> io::Result<()> {
        // Left over from a start that did not get far.
        match disk.remove(NAME_NEW) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(NAME_NEW)?;
        file.write_at(self.encode().as_bytes(), 0)?;
        file.sync_all()?;
        disk.rename(NAME_NEW, NAME)?;
        disk.sync_directory()
    }
}
