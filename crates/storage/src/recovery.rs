//! What opening a directory finds, and how a torn tail is told from damage.
//!
//! An unreadable place is **damage** when the log knows that it was synced once: a later group head calls it durable,
//! or a later segment exists (which is begun only after its predecessor was synced to its end), or the file is shorter
//! than it was made. Damage is reported by position and skipped; what lies behind it is read. Anything else is a **torn
//! tail**: it was never durable, so nobody was promised it, and it is cut off, for good and synced, before anything of
//! the log is shown.

use crate::{
    Options, Position, SegmentNumber, checkpoint,
    disk::{Disk, Entry, File},
    manifest::{Manifest, Origin},
    record::{End, EndReason, Mask, SECTOR_BYTES, sector_up},
    segment::{self, FORMAT_VERSION, GROUPS_START, Header, Segment},
    shared::Shared,
    walk::{Step, Walk},
};
use std::{fmt, io, ops::Range, sync::atomic::Ordering};

/// Why a log could not be opened. The texts are meant for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error(
        "{place} is in use by another process; stop that one first, or give this one its own data directory"
    )]
    InUse {
        /// The directory.
        place: String,
    },
    /// Written by a newer version.
    #[error(
        "{place} has format version {found}, this build knows versions up to {known}; start the newer version of \
         everack that wrote it (nothing was changed)"
    )]
    Newer {
        /// The directory.
        place: String,
        /// The version found.
        found: u32,
        /// The newest version this build reads.
        known: u32,
    },
    /// Neither the manifest nor any segment header can be read.
    #[error(
        "{place} holds log segments, but neither MANIFEST nor any segment header can be read, so the segments cannot \
         be told from foreign bytes; restore MANIFEST from a backup (nothing was changed)"
    )]
    NoIdentity {
        /// The directory.
        place: String,
    },
    /// A segment of another log lies in the directory.
    #[error("{place}: {name} belongs to another data directory; move it back there (nothing was changed)")]
    Foreign {
        /// The directory.
        place: String,
        /// The file.
        name: String,
    },
    /// Not even the reserve is left.
    #[error(
        "{place}: the disk is full; the log needs {bytes} bytes to start. Free some space and start again"
    )]
    Full {
        /// The directory.
        place: String,
        /// Bytes needed.
        bytes: u64,
    },
    /// All four billion segment numbers are used.
    #[error("{place}: every segment number has been used; move the contents to a new data directory")]
    Exhausted {
        /// The directory.
        place: String,
    },
    /// The disk gave an error.
    #[error("the log cannot be opened: {0}")]
    Io(#[from] io::Error),
}

/// A place in the log that was durable and cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins. With `Fault::Record` this is the position of the record that was lost.
    pub position: Position,
    /// How far it reaches, in bytes.
    pub bytes: u64,
    /// What is wrong.
    pub fault: Fault,
    /// How we know that it is not a torn write.
    pub proof: Proof,
}

/// What is wrong with a damaged place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Exactly one record: its header is intact, its payload is not.
    Record,
    /// No frame can be recognised; any number of records may have been here.
    Region,
    /// The file ends too early. `bytes` is an upper bound.
    Truncated,
    /// The header of the segment file. No record is lost.
    SegmentHeader,
}

/// How we know that an unreadable place was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The segment was ended, or a later one exists: it was synced to its end.
    Ended,
    /// A later group head says that the log was durable up to here.
    Durable(Position),
    /// The file is shorter than it was made.
    Length,
    /// This process has written it, since it opened the log.
    Written,
    /// The disk cannot read the place at all, which a torn write alone does not explain.
    Unreadable,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::Record => "a damaged record",
            Fault::Region => "an unreadable region",
            Fault::Truncated => "a truncated segment, missing at most",
            Fault::SegmentHeader => "a damaged segment header (no record is lost)",
        };
        write!(
            f,
            "{what} at {}, {} bytes; it was durable: ",
            self.position, self.bytes
        )?;
        match self.proof {
            Proof::Ended => write!(f, "its segment was complete"),
            Proof::Durable(position) => write!(f, "the log was synced up to {position}"),
            Proof::Length => write!(f, "the file was longer when it was made"),
            Proof::Unreadable => write!(f, "it may have been: the disk cannot read it"),
            Proof::Written => write!(f, "this process wrote it"),
        }
    }
}

/// The torn tail that was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The log ends here now.
    pub position: Position,
    /// Whole records behind the tear. They were never durable, and what lay before them is gone, so they went too.
    pub records_discarded: u64,
}

/// What opening found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// There was no log before.
    pub fresh: bool,
    /// MANIFEST was missing or damaged and has been written again from the segment headers.
    pub manifest_restored: bool,
    /// The process before ended by `Log::close`.
    pub clean: bool,
    /// The torn tail, if there was one.
    pub cut: Option<Cut>,
    /// Damage in the segment written last. It shows up in the replay as well, as does that of older segments.
    pub damage: Vec<Damage>,
    /// Where the log ended: no record lies at or behind it.
    pub end: Position,
    /// Segments there are, oldest first, without the new one.
    pub segments: Vec<SegmentNumber>,
    /// Segments with damage that were set aside when they were retired; a person may look at them and delete them.
    pub set_aside: Vec<String>,
    /// There is no space for the reserve: appends are refused until `Maintenance::prepare` could make it.
    pub reserve_missing: bool,
}

/// Open a directory up to where a new segment can be started: everything but that. Returns the number it must have.
pub(crate) fn recover<D: Disk>(
    disk: D,
    options: Options,
) -> Result<(Shared<D>, SegmentNumber, RecoveryReport), OpenError> {
    let lock = disk
        .lock()?
        .ok_or_else(|| OpenError::InUse { place: disk.place() })?;
    // A killed process may have left names that are not durable yet. What a name says is acted on below, so it must not
    // change its mind at a power failure.
    disk.sync_directory()?;
    let entries = disk.list()?;
    let (manifest, origin) = Manifest::find(&disk, &entries)?;
    let shared = Shared::new(disk, options, manifest.identity, lock);
    let mut report = RecoveryReport {
        fresh: origin == Origin::Fresh,
        manifest_restored: origin == Origin::Restored,
        ..RecoveryReport::default()
    };
    find_segments(&shared, &entries, &mut report)?;
    // Nothing was changed up to here; nobody has refused, so changes may begin.
    if origin != Origin::Read {
        manifest.write(&shared.disk)?;
    }
    if let Some(last) = report.segments.last().copied() {
        recover_last(&shared, last, &mut report)?;
    }
    shared.supply.clear(&entries)?;
    report.reserve_missing = !shared.supply.make_reserve()?;
    let next = next_number(&shared, &entries)?;
    Ok((shared, next, report))
}

/// Fill the table of segments. Refuses what is newer or foreign before anything is changed.
pub(crate) fn find_segments<D: Disk>(
    shared: &Shared<D>,
    entries: &[Entry],
    report: &mut RecoveryReport,
) -> Result<(), OpenError> {
    for entry in entries {
        if segment::parse_damaged_name(&entry.name).is_some() {
            report.set_aside.push(entry.name.clone());
        }
        let Some(number) = segment::parse_name(&entry.name) else {
            continue;
        };
        let file = shared.disk.open(&entry.name)?;
        let place = || shared.disk.place();
        match Header::read(&file)? {
            Some(header) if header.version > FORMAT_VERSION => {
                return Err(OpenError::Newer {
                    place: place(),
                    found: header.version,
                    known: FORMAT_VERSION,
                });
            }
            Some(header) if header.identity != shared.identity || header.number != number => {
                return Err(OpenError::Foreign {
                    place: place(),
                    name: entry.name.clone(),
                });
            }
            _ => {}
        }
        shared.insert(Segment::new(number, entry.length, None));
        report.segments.push(number);
    }
    report.segments.sort();
    Ok(())
}

/// Find the end of the segment written last, and make it final.
fn recover_last<D: Disk>(
    shared: &Shared<D>,
    number: SegmentNumber,
    report: &mut RecoveryReport,
) -> Result<(), OpenError> {
    let file = shared.disk.open(&segment::file_name(number))?;
    // What a killed process wrote may be in the page cache only. It must not be shown before it is durable; and after a
    // failed sync the cache may show what the medium does not have, so that must be forgotten before it is read.
    file.sync_all()?;
    file.forget_cached()?;
    let tail = Tail::examine(&file, shared.mask(number), number)?;
    report.damage = tail.damage();
    report.clean = tail.is_closed();
    report.cut = tail.cut();
    let cut = tail.cut_offset();
    report.end = Position::new(number, cut as u32);
    let end_offset = match tail.ended() {
        Some(offset) => offset,
        None => write_end(&file, shared.mask(number), cut, report.end, EndReason::Cut)?,
    };
    // Also completes the truncation of an earlier recovery that did not get to it.
    let length = end_offset + SECTOR_BYTES;
    if !tail.is_rolled() && file.length()? > length {
        file.truncate(length)?;
        file.sync_all()?;
    }
    let segment = Segment::new(number, file.length()?, None);
    segment
        .damaged
        .store(!report.damage.is_empty(), Ordering::Relaxed);
    shared.insert(segment);
    Ok(())
}

/// Write an end behind the data that ends at `data_end` and make it durable; returns its offset.
pub(crate) fn write_end(
    file: &impl File,
    mask: Mask,
    data_end: u64,
    durable: Position,
    reason: EndReason,
) -> io::Result<u64> {
    let offset = sector_up(data_end);
    let mut sector = [0; SECTOR_BYTES as usize];
    let end = End {
        durable,
        data_end: data_end as u32,
        reason,
    }
    .encode();
    sector[..end.len()].copy_from_slice(&end);
    mask.seal(&mut sector, offset);
    file.write_at(&sector, offset)?;
    file.sync_all()?;
    Ok(offset)
}

/// Above every number ever used. A segment is retired only while a later one exists, so the names tell; and should
/// somebody have removed segment files, the checkpoints do.
fn next_number<D: Disk>(shared: &Shared<D>, entries: &[Entry]) -> Result<SegmentNumber, OpenError> {
    let names = entries.iter().map(|entry| entry.name.as_str());
    let numbers = names.filter_map(|name| segment::parse_name(name).or(segment::parse_damaged_name(name)));
    let covered = checkpoint::newest_covered(&shared.disk, entries)?;
    let used = numbers.max().unwrap_or_default().max(covered.segment());
    match used.0.checked_add(1) {
        Some(next) => Ok(SegmentNumber(next)),
        None => Err(OpenError::Exhausted {
            place: shared.disk.place(),
        }),
    }
}

/// A place where no frame could be read.
#[derive(Debug, Clone, Copy)]
struct Region {
    from: u64,
    to: u64,
    record: bool,
    /// Whole records found before this region.
    records_before: u64,
}

/// What the segment written last looks like.
#[derive(Debug)]
pub(crate) struct Tail {
    number: SegmentNumber,
    length: u64,
    header: Option<Header>,
    regions: Vec<Region>,
    /// The highest position that a head or end in this segment calls durable.
    durable: Position,
    records: u64,
    finished: u64,
    /// Places that the medium could not read.
    unreadable: Vec<Range<u64>>,
    end: Option<(u64, End)>,
}

impl Tail {
    pub(crate) fn examine(file: &impl File, mask: Mask, number: SegmentNumber) -> io::Result<Tail> {
        let length = file.length()?;
        // Asked before anything is read: what the cache holds passes for written.
        let written = file.written_bytes()?;
        let mut tail = Tail {
            number,
            length,
            header: Header::read(file)?,
            regions: Vec::new(),
            durable: Position::new(number, GROUPS_START as u32),
            records: 0,
            finished: GROUPS_START,
            unreadable: Vec::new(),
            end: None,
        };
        let mut walk = Walk::new(file, mask, length).written_to(written);
        loop {
            match walk.next()? {
                Step::Head { head, .. } => tail.durable = tail.durable.max(head.durable),
                Step::Record { .. } => tail.records += 1,
                Step::Invalid { from, to, record } => {
                    tail.regions.push(Region {
                        from,
                        to,
                        record,
                        records_before: tail.records,
                    });
                }
                Step::End { offset, end } => {
                    tail.durable = tail.durable.max(end.durable);
                    tail.finished = u64::from(end.data_end);
                    tail.end = Some((offset, end));
                    break;
                }
                Step::Finished { offset } => {
                    tail.finished = offset;
                    break;
                }
            }
        }
        tail.unreadable = walk.unreadable().to_vec();
        Ok(tail)
    }

    /// What lies before this offset was durable, as far as the segment itself can prove it.
    fn proven(&self) -> u64 {
        u64::from(self.durable.offset())
    }

    /// The first unreadable place that nobody can prove to have been durable.
    fn tear(&self) -> Option<&Region> {
        self.regions.iter().find(|region| region.to > self.proven())
    }

    /// Where the end lies that closes this segment for good. An end behind a tear was itself never durable.
    pub(crate) fn ended(&self) -> Option<u64> {
        match self.end {
            Some((offset, _)) if self.tear().is_none() => Some(offset),
            _ => None,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ended().is_some() && self.end.is_some_and(|(_, end)| end.reason == EndReason::Closed)
    }

    /// Full, and the next segment about to begin.
    fn is_rolled(&self) -> bool {
        self.ended().is_some() && self.end.is_some_and(|(_, end)| end.reason == EndReason::Rolled)
    }

    /// Where the records end: at the first unproven unreadable place, if there is one.
    pub(crate) fn cut_offset(&self) -> u64 {
        match self.tear() {
            Some(region) => region.from.max(self.proven()),
            None => self.finished,
        }
    }

    /// The cut, if anything was lost by it: the space behind the last group is no tail.
    pub(crate) fn cut(&self) -> Option<Cut> {
        let region = self.tear()?;
        let records_discarded = self.records - region.records_before;
        let cut = self.cut_offset();
        let torn = records_discarded > 0 || region.record || !cut.is_multiple_of(SECTOR_BYTES);
        torn.then_some(Cut {
            position: Position::new(self.number, cut as u32),
            records_discarded,
        })
    }

    pub(crate) fn damage(&self) -> Vec<Damage> {
        let mut damage = Vec::new();
        let position = |offset: u64| Position::new(self.number, offset as u32);
        if self.header.is_none() {
            damage.push(header_damage(self.number));
        }
        let proven = self.proven();
        let proof = Proof::Durable(self.durable);
        for region in self.regions.iter().filter(|region| region.from < proven) {
            let fault = if region.record {
                Fault::Record
            } else {
                Fault::Region
            };
            let bytes = region.to.min(proven) - region.from;
            damage.push(Damage {
                position: position(region.from),
                bytes,
                fault,
                proof,
            });
        }
        let cut = self.cut_offset();
        for place in self.unreadable.iter().filter(|place| place.end > cut) {
            let from = place.start.max(cut);
            let (fault, proof) = (Fault::Region, Proof::Unreadable);
            damage.push(Damage {
                position: position(from),
                bytes: place.end - from,
                fault,
                proof,
            });
        }
        let made = self.header.map_or(0, |header| header.length);
        if self.end.is_none() && self.length < made {
            let bytes = made - cut.min(made);
            let (fault, proof) = (Fault::Truncated, Proof::Length);
            damage.push(Damage {
                position: position(cut),
                bytes,
                fault,
                proof,
            });
        }
        damage
    }
}

pub(crate) fn header_damage(number: SegmentNumber) -> Damage {
    let position = Position::new(number, 0);
    Damage {
        position,
        bytes: GROUPS_START,
        fault: Fault::SegmentHeader,
        proof: Proof::Ended,
    }
}
