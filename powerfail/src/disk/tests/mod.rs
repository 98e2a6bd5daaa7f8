//! The disk without the kernel: stories of known steps, and what a power cut leaves of them.
//!
//! A story is text. Contents are letters, one a sector: `write a 1 BC` puts a sector of `B` and one of `C` behind the
//! first. What is found is written the same way: `.` for zeros, a small letter for a part of a sector, `?` for a sector
//! of mixed bytes.

mod modes;
mod random;
mod stories;

use super::*;
use crate::faults::Mode;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use tempfile::TempDir;

const SECTOR: u64 = SECTOR_BYTES;

/// A disk and the folder behind it.
struct Bench {
    disk: Disk,
    backing: TempDir,
}

impl Bench {
    fn new(model: Model) -> Self {
        // Thousands of small files: in memory where there is such a folder.
        let backing = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let settings = Settings {
            model,
            ..Settings::new(backing.path())
        };
        Self {
            disk: Disk::new(settings),
            backing,
        }
    }

    /// A disk on which the story has happened.
    fn after(model: Model, story: &str) -> Self {
        let mut bench = Self::new(model);
        bench.tell(story);
        bench
    }

    fn tell(&mut self, story: &str) {
        for step in story.split(';').map(str::trim).filter(|step| !step.is_empty()) {
            self.step(step).unwrap_or_else(|error| panic!("{step}: {error}"));
        }
    }

    /// One step of a story; paths are `name` or `folder/name`.
    fn step(&mut self, step: &str) -> Result<(), Errno> {
        let words: Vec<&str> = step.split_whitespace().collect();
        match words[..] {
            ["create", path] => {
                let (folder, name) = self.place(path)?;
                let made = self.disk.create(folder, name, attributes(), New::File)?;
                self.disk.close(made.node);
                Ok(())
            }
            ["mkdir", path] => {
                let (folder, name) = self.place(path)?;
                self.disk
                    .create(folder, name, attributes(), New::Folder)
                    .map(|_| ())
            }
            ["write", path, at, letters] => {
                let node = self.node(path)?;
                let bytes = bytes_of(letters);
                let taken = self
                    .disk
                    .write(node, at.parse::<u64>().unwrap() * SECTOR, &bytes, false)?;
                assert_eq!(taken, bytes.len(), "{step}");
                Ok(())
            }
            ["truncate", path, sectors] => {
                let length = Some(sectors.parse::<u64>().unwrap() * SECTOR);
                let changes = AttributeChanges {
                    length,
                    ..AttributeChanges::default()
                };
                self.disk.change(self.node(path)?, changes).map(|_| ())
            }
            ["allocate", path, sectors] => {
                let node = self.node(path)?;
                self.disk
                    .allocate(node, sectors.parse::<u64>().unwrap() * SECTOR, true)
            }
            ["sync", path] => self.disk.sync(self.node(path)?),
            ["syncdir"] => self.disk.sync_folder(Node::ROOT),
            ["syncdir", path] => self.disk.sync_folder(self.node(path)?),
            ["rename", from, to] => {
                let (from, to) = (self.place(from)?, self.place(to)?);
                self.disk.rename(from, to, false)
            }
            ["link", path, new] => {
                let (node, (folder, name)) = (self.node(path)?, self.place(new)?);
                self.disk.link(node, folder, name).map(|_| ())
            }
            ["remove", path] => {
                let (folder, name) = self.place(path)?;
                self.disk.remove(folder, name, false)
            }
            ["rmdir", path] => {
                let (folder, name) = self.place(path)?;
                self.disk.remove(folder, name, true)
            }
            ["set", mode] => {
                self.disk.set(mode.parse::<Mode>().unwrap());
                Ok(())
            }
            _ => panic!("no such step: {step}"),
        }
    }

    fn place<'a>(&self, path: &'a str) -> Result<(Node, &'a OsStr), Errno> {
        match path.split_once('/') {
            None => Ok((Node::ROOT, OsStr::new(path))),
            Some((folder, name)) => Ok((self.node(folder)?, OsStr::new(name))),
        }
    }

    fn node(&self, path: &str) -> Result<Node, Errno> {
        let (folder, name) = self.place(path)?;
        Ok(self.disk.lookup(folder, name)?.node)
    }

    /// All that a reader finds: `a=AB d/ d/x=C`.
    fn found(&mut self) -> String {
        let mut found = Vec::new();
        self.find_in(Node::ROOT, "", &mut found);
        found.join(" ")
    }

    fn find_in(&mut self, folder: Node, prefix: &str, found: &mut Vec<String>) {
        for entry in self.disk.list(folder).unwrap().into_iter().skip(2) {
            let path = format!("{prefix}{}", entry.name.to_string_lossy());
            match entry.kind {
                Kind::Folder => {
                    found.push(format!("{path}/"));
                    self.find_in(entry.node, &format!("{path}/"), found);
                }
                _ => {
                    let bytes = self.disk.read(entry.node, 0, u64::MAX).unwrap();
                    found.push(format!("{path}={}", letters_of(&bytes)));
                }
            }
        }
    }
}

fn attributes() -> Attributes {
    Attributes::new(0o644, 0, 0)
}

fn bytes_of(letters: &str) -> Vec<u8> {
    let sector = |letter: u8| std::iter::repeat_n(letter, SECTOR as usize);
    letters.bytes().flat_map(sector).collect()
}

fn letters_of(bytes: &[u8]) -> String {
    bytes.chunks(SECTOR as usize).map(letter_of).collect()
}

fn letter_of(sector: &[u8]) -> char {
    let first = sector[0];
    if sector.iter().any(|byte| *byte != first) {
        '?'
    } else if first == 0 {
        '.'
    } else if sector.len() < SECTOR as usize {
        char::from(first).to_ascii_lowercase()
    } else {
        char::from(first)
    }
}

/// What a power cut leaves, over many seeds.
fn left_by(model: Model, story: &str, outcome: Outcome) -> BTreeSet<String> {
    let seeds = match outcome {
        Outcome::Nothing | Outcome::Everything => 0..1,
        Outcome::Prefix | Outcome::Sectors => 0..150,
    };
    let left = seeds.map(|seed| {
        let mut bench = Bench::after(model, story);
        bench.disk.cut(outcome, seed).unwrap();
        bench.found()
    });
    left.collect()
}
