//! What a name stands for: a file, a folder or a symbolic link, with its attributes and with who still needs it.

use super::contents::Contents;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

/// A file's or folder's number. Given once; never changes, not even by a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Number(pub(super) u64);

/// The folder that everything lies in.
pub(super) const ROOT: Number = Number(1);

/// Permissions, owner and times. They are taken to be durable at once: no power cut changes them.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    /// Permission bits, without the kind.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// Last access, as far as somebody set it.
    pub accessed: SystemTime,
    /// Last change of the bytes.
    pub modified: SystemTime,
    /// Last change of anything.
    pub changed: SystemTime,
}

impl Attributes {
    /// Those of something new.
    pub fn new(mode: u32, uid: u32, gid: u32) -> Self {
        let now = SystemTime::now();
        Self {
            mode: (mode & 0o7777) as u16,
            uid,
            gid,
            accessed: now,
            modified: now,
            changed: now,
        }
    }

    pub(super) fn touch(&mut self) {
        self.modified = SystemTime::now();
        self.changed = self.modified;
    }
}

/// A file, a folder or a link.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) attributes: Attributes,
    pub(super) body: Body,
    /// Names that lead here, as a reader sees it.
    pub(super) links: u32,
    /// Names that lead here and are durable.
    pub(super) links_durable: u32,
    /// Changes of names that are pending and may yet lead here.
    pub(super) mentions: u32,
    /// Open handles.
    pub(super) opens: u32,
}

#[derive(Debug)]
pub(super) enum Body {
    File(Contents),
    Folder(Folder),
    Link(OsString),
}

/// Names, as seen and as durable.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) parent: Number,
    pub(super) names: BTreeMap<OsString, Number>,
    pub(super) durable: BTreeMap<OsString, Number>,
}

impl Folder {
    pub(super) fn new(parent: Number) -> Self {
        Self {
            parent,
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
        }
    }
}

impl Inode {
    pub(super) fn new(attributes: Attributes, body: Body) -> Self {
        Self {
            attributes,
            body,
            links: 0,
            links_durable: 0,
            mentions: 0,
            opens: 0,
        }
    }

    /// Nobody has it open, no name leads to it, and none that a power cut may bring back.
    pub(super) fn is_needed(&self) -> bool {
        self.links > 0 || self.links_durable > 0 || self.mentions > 0 || self.opens > 0
    }

    /// Whether it takes room: a file without a name does while it is open.
    pub(super) fn takes_room(&self) -> bool {
        self.links > 0 || self.opens > 0
    }

    pub(super) fn file(&self) -> Option<&Contents> {
        match &self.body {
            Body::File(contents) => Some(contents),
            _ => None,
        }
    }

    pub(super) fn file_mut(&mut self) -> Option<&mut Contents> {
        match &mut self.body {
            Body::File(contents) => Some(contents),
            _ => None,
        }
    }

    pub(super) fn folder(&self) -> Option<&Folder> {
        match &self.body {
            Body::Folder(folder) => Some(folder),
            _ => None,
        }
    }

    pub(super) fn folder_mut(&mut self) -> Option<&mut Folder> {
        match &mut self.body {
            Body::Folder(folder) => Some(folder),
            _ => None,
        }
    }
}

/// A change of names that a power cut may still take back. A rename is one change of both folders: it happens whole.
#[derive(Clone, Debug)]
pub(super) struct Renaming {
    /// Its place in the order of all changes of the file system.
    pub(super) number: u64,
    /// What the names lead to.
    pub(super) inode: Number,
    /// The name that goes.
    pub(super) from: Option<Place>,
    /// The name that comes, in the place of whatever was there.
    pub(super) to: Option<Place>,
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: Number,
    pub(super) name: OsString,
}

impl Place {
    pub(super) fn new(folder: Number, name: &OsStr) -> Self {
        Self {
            folder,
            name: name.to_os_string(),
        }
    }
}

impl Renaming {
    pub(super) fn folders(&self) -> impl Iterator<Item = Number> + '_ {
        let places = self.from.iter().chain(&self.to);
        places.map(|place| place.folder)
    }
}
