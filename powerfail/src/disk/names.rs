//! Folders and their entries. An entry made, renamed or removed is seen at once, and durable once its folder was synced.

use super::contents::Contents;
use super::inode::{Attributes, Body, Folder, Inode, Number, Place, ROOT, Renaming};
use super::{Disk, Kind, Node, RENAMINGS_MAX, Stat};
use nix::errno::Errno;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Something to make.
#[derive(Clone, Debug)]
pub enum New {
    /// An empty file, left open.
    File,
    /// An empty folder.
    Folder,
    /// A symbolic link to a path.
    Link(OsString),
}

/// An entry of a folder.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What the entry leads to.
    pub node: Node,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: OsString,
}

impl Disk {
    /// What a name in a folder leads to.
    pub fn lookup(&self, folder: Node, name: &OsStr) -> Result<Stat, Errno> {
        let number = self.find(self.resolve(folder)?, name)?;
        Ok(self.stat_of(number.ok_or(Errno::ENOENT)?))
    }

    /// Makes something under a name that is free. A file counts as opened once.
    pub fn create(
        &mut self,
        folder: Node,
        name: &OsStr,
        attributes: Attributes,
        new: New,
    ) -> Result<Stat, Errno> {
        self.figures.creations += 1;
        let folder = self.resolve(folder)?;
        self.require_free(folder, name)?;
        let number = Number(self.next);
        let body = match new {
            New::File => Body::File(Contents::new(self.settings.backing.join(number.0.to_string()))),
            New::Folder => Body::Folder(Folder::new(folder)),
            New::Link(target) => Body::Link(target),
        };
        self.next += 1;
        let mut inode = Inode::new(attributes, body);
        inode.opens = u32::from(inode.file().is_some());
        self.inodes.insert(number, inode);
        self.rename_now(number, None, Some(Place::new(folder, name)));
        Ok(self.stat_of(number))
    }

    /// Gives a file one more name.
    pub fn link(&mut self, node: Node, folder: Node, name: &OsStr) -> Result<Stat, Errno> {
        self.figures.creations += 1;
        let (number, folder) = (self.resolve(node)?, self.resolve(folder)?);
        if self.inode(number)?.folder().is_some() {
            return Err(Errno::EPERM);
        }
        self.require_free(folder, name)?;
        self.rename_now(number, None, Some(Place::new(folder, name)));
        Ok(self.stat_of(number))
    }

    /// Where a symbolic link points.
    pub fn target(&self, node: Node) -> Result<OsString, Errno> {
        match &self.inode(self.resolve(node)?)?.body {
            Body::Link(target) => Ok(target.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Removes a name: of an empty folder if `folder_wanted` says so, else of anything but a folder.
    pub fn remove(&mut self, folder: Node, name: &OsStr, folder_wanted: bool) -> Result<(), Errno> {
        self.figures.removals += 1;
        let folder = self.resolve(folder)?;
        let number = self.find(folder, name)?.ok_or(Errno::ENOENT)?;
        match (self.inode(number)?.folder(), folder_wanted) {
            (Some(_), false) => return Err(Errno::EISDIR),
            (None, true) => return Err(Errno::ENOTDIR),
            (Some(removed), true) if !removed.names.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.rename_now(number, Some(Place::new(folder, name)), None);
        Ok(())
    }

    /// Changes a name, in the place of what the new one led to unless `keep` forbids that.
    pub fn rename(&mut self, from: (Node, &OsStr), to: (Node, &OsStr), keep: bool) -> Result<(), Errno> {
        self.figures.renames += 1;
        let from = Place::new(self.resolve(from.0)?, from.1);
        let to = Place::new(self.resolve(to.0)?, to.1);
        let number = self.find(from.folder, &from.name)?.ok_or(Errno::ENOENT)?;
        match self.find(to.folder, &to.name)? {
            Some(_) if keep => return Err(Errno::EEXIST),
            // Two names of one file: POSIX has nothing happen.
            Some(other) if other == number => return Ok(()),
            Some(other) => self.require_replaceable(number, other)?,
            None => require_short(&to.name)?,
        }
        self.rename_now(number, Some(from), Some(to));
        Ok(())
    }

    fn require_replaceable(&self, number: Number, other: Number) -> Result<(), Errno> {
        match (self.inode(number)?.folder(), self.inode(other)?.folder()) {
            (None, Some(_)) => Err(Errno::EISDIR),
            (Some(_), None) => Err(Errno::ENOTDIR),
            (Some(_), Some(there)) if !there.names.is_empty() => Err(Errno::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Everything in a folder, with itself and its parent first.
    pub fn list(&self, node: Node) -> Result<Vec<Listed>, Errno> {
        let number = self.resolve(node)?;
        let folder = self.inode(number)?.folder().ok_or(Errno::ENOTDIR)?;
        let listed = |number: Number, name: &OsStr| Listed {
            node: self.node(number),
            kind: self.stat_of(number).kind,
            name: name.to_os_string(),
        };
        let mut entries = vec![
            listed(number, OsStr::new(".")),
            listed(folder.parent, OsStr::new("..")),
        ];
        entries.extend(folder.names.iter().map(|(name, number)| listed(*number, name)));
        Ok(entries)
    }

    fn find(&self, folder: Number, name: &OsStr) -> Result<Option<Number>, Errno> {
        let folder = self.inode(folder)?.folder().ok_or(Errno::ENOTDIR)?;
        Ok(folder.names.get(name).copied())
    }

    fn require_free(&self, folder: Number, name: &OsStr) -> Result<(), Errno> {
        require_short(name)?;
        match self.find(folder, name)? {
            Some(_) => Err(Errno::EEXIST),
            None if folder != ROOT && self.inode(folder)?.links == 0 => Err(Errno::ENOENT),
            None => Ok(()),
        }
    }

    /// Everybody sees it from now on; durable it is not.
    fn rename_now(&mut self, inode: Number, from: Option<Place>, to: Option<Place>) {
        let renaming = Renaming {
            number: self.next_change(),
            inode,
            from,
            to,
        };
        let mut touched = Vec::new();
        if let Some(from) = &renaming.from {
            self.unname(from);
        }
        if let Some(to) = &renaming.to {
            touched.extend(self.unname(to));
            self.name(inode, to);
        }
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.mentions += 1;
        }
        self.renamings.push(renaming);
        touched
            .into_iter()
            .for_each(|number| self.free_if_unneeded(number));
        if self.renamings.len() > RENAMINGS_MAX {
            self.figures.written_back += 1;
            self.commit_names(|at, _| at < RENAMINGS_MAX / 2);
        }
    }

    fn unname(&mut self, place: &Place) -> Option<Number> {
        let inode = self.inodes.get_mut(&place.folder)?;
        inode.attributes.touch();
        let number = inode.folder_mut()?.names.remove(&place.name)?;
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.links = inode.links.saturating_sub(1);
        }
        Some(number)
    }

    fn name(&mut self, number: Number, place: &Place) {
        if let Some(inode) = self.inodes.get_mut(&place.folder) {
            inode.attributes.touch();
            if let Some(folder) = inode.folder_mut() {
                folder.names.insert(place.name.clone(), number);
            }
        }
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.links += 1;
            if let Some(folder) = inode.folder_mut() {
                folder.parent = place.folder;
            }
        }
    }

    /// Entries of a folder become durable, and with them all earlier ones of a folder that something was moved from
    /// or to: a rename happens whole.
    pub(super) fn commit_names_of(&mut self, folder: Number) {
        let mut folders = HashSet::from([folder]);
        let mut committed = HashSet::new();
        for renaming in self.renamings.iter().rev() {
            if renaming.folders().any(|folder| folders.contains(&folder)) {
                folders.extend(renaming.folders());
                committed.insert(renaming.number);
            }
        }
        self.commit_names(|_, renaming| committed.contains(&renaming.number));
    }

    pub(super) fn commit_all_names(&mut self) {
        self.commit_names(|_, _| true);
    }

    /// Changes that `is_meant` names by place and contents become durable, in their order.
    fn commit_names(&mut self, is_meant: impl Fn(usize, &Renaming) -> bool) {
        let mut committed = Vec::new();
        let mut kept = Vec::new();
        for (at, renaming) in std::mem::take(&mut self.renamings).into_iter().enumerate() {
            if is_meant(at, &renaming) {
                committed.push(renaming);
            } else {
                kept.push(renaming);
            }
        }
        self.renamings = kept;
        let mut touched = Vec::new();
        for renaming in committed {
            touched.extend(self.make_name_durable(&renaming));
            touched.push(renaming.inode);
            if let Some(inode) = self.inodes.get_mut(&renaming.inode) {
                inode.mentions = inode.mentions.saturating_sub(1);
            }
        }
        touched
            .into_iter()
            .for_each(|number| self.free_if_unneeded(number));
    }

    /// What the durable entry led to before, if anything.
    pub(super) fn make_name_durable(&mut self, renaming: &Renaming) -> Option<Number> {
        if let Some(from) = &renaming.from {
            self.unname_durable(from, Some(renaming.inode));
        }
        let to = renaming.to.as_ref()?;
        self.unname_durable_folder(renaming.inode);
        let replaced = self.unname_durable(to, None);
        let folder = self.inodes.get_mut(&to.folder).and_then(Inode::folder_mut);
        if let Some(folder) = folder {
            folder.durable.insert(to.name.clone(), renaming.inode);
            if let Some(inode) = self.inodes.get_mut(&renaming.inode) {
                inode.links_durable += 1;
            }
        }
        replaced
    }

    fn unname_durable(&mut self, place: &Place, only: Option<Number>) -> Option<Number> {
        let folder = self.inodes.get_mut(&place.folder)?.folder_mut()?;
        let number = *folder.durable.get(&place.name)?;
        if only.is_some_and(|only| only != number) {
            return None;
        }
        folder.durable.remove(&place.name);
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.links_durable = inode.links_durable.saturating_sub(1);
        }
        Some(number)
    }

    /// A folder has one name: when an earlier rename of it was lost and a later one survives, the first name goes too.
    fn unname_durable_folder(&mut self, number: Number) {
        let is_named = |inode: &Inode| inode.folder().is_some() && inode.links_durable > 0;
        if !self.inodes.get(&number).is_some_and(is_named) {
            return;
        }
        for inode in self.inodes.values_mut() {
            if let Some(folder) = inode.folder_mut() {
                folder.durable.retain(|_, leads_to| *leads_to != number);
            }
        }
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.links_durable = 0;
        }
    }

    /// Forgets what nothing leads to, and what only it led to.
    pub(super) fn free_if_unneeded(&mut self, number: Number) {
        let mut candidates = vec![number];
        while let Some(number) = candidates.pop() {
            if number == ROOT || self.inodes.get(&number).is_none_or(Inode::is_needed) {
                continue;
            }
            let Some(inode) = self.inodes.remove(&number) else {
                continue;
            };
            match inode.body {
                Body::File(contents) => self.unsynced_bytes -= contents.pending_bytes(),
                Body::Folder(folder) => candidates.extend(self.free_folder(number, folder)),
                Body::Link(_) => {}
            }
        }
    }

    /// A folder is gone for good: its durable entries, and what is pending in it alone, concern nobody any more.
    fn free_folder(&mut self, number: Number, folder: Folder) -> Vec<Number> {
        let mut touched: Vec<Number> = folder.durable.into_values().collect();
        for child in &touched {
            if let Some(inode) = self.inodes.get_mut(child) {
                inode.links_durable = inode.links_durable.saturating_sub(1);
            }
        }
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.renamings)
            .into_iter()
            .partition(|renaming| renaming.folders().all(|folder| folder == number));
        self.renamings = kept;
        for renaming in gone {
            if let Some(inode) = self.inodes.get_mut(&renaming.inode) {
                inode.mentions = inode.mentions.saturating_sub(1);
            }
            touched.push(renaming.inode);
        }
        touched
    }
}

fn require_short(name: &OsStr) -> Result<(), Errno> {
    if name.len() > NAME_BYTES_MAX {
        Err(Errno::ENAMETOOLONG)
    } else {
        Ok(())
    }
}
