//! The bytes of a journal.
//!
//! ```text
//! file    | "EVERAUDT" | version u32 | 0 u32 | block | block | ...
//!
//! block   | length u32 | crc32 u32 | time u64 | entries, `length` bytes |     one group commit
//!           crc32 is that of time and entries; time is that of the block's first entry
//!
//! entry   | kind u8 | microseconds since the entry before it: v | fields |
//! ```
//!
//! Integers of fixed width are little-endian; `v` is a variable-length integer, seven bits a byte, lowest first. Times are
//! microseconds of one monotonic clock since the journal was begun. Most entries take 6 to 9 bytes; a window of intended
//! messages takes one entry.
//!
//! A block that is cut off or does not match its checksum ends the journal when nothing readable follows it (the audit
//! itself was killed), and is an error otherwise.

use super::entry::{Entry, Range, Route};
use crate::Id;
use crate::faults::Fault;
use crate::workload::Kind;
use anyhow::{Context, bail, ensure};
use std::time::Duration;

/// The head of the file.
pub(super) const MAGIC: [u8; 16] = *b"EVERAUDT\x01\0\0\0\0\0\0\0";
/// Bytes before a block's entries.
pub(super) const BLOCK_HEAD: usize = 16;
/// Longest block: the writer never gathers more, the reader never believes more.
pub(super) const BLOCK_BYTES_MAX: usize = 64 << 20;
/// Longest name of a queue.
const NAME_MAX: u64 = 255;
/// Most queues of a publisher.
const QUEUES_MAX: u64 = 1024;

/// Appends an entry that comes `micros` after the one before it.
pub(super) fn encode(out: &mut Vec<u8>, micros: u64, entry: &Entry) {
    let mut put = |kind: u8, fields: &[u64]| {
        out.push(kind);
        number(out, micros);
        fields.iter().for_each(|field| number(out, *field));
    };
    match entry {
        Entry::Queue {
            queue,
            workload,
            name,
        } => {
            put(1, &[u64::from(*queue), *workload as u64, name.len() as u64]);
            out.extend(name.as_bytes());
        }
        Entry::Publisher {
            publisher,
            workload,
            route,
            queues,
        } => {
            let route = *route as u64;
            put(
                2,
                &[
                    u64::from(*publisher),
                    *workload as u64,
                    route,
                    queues.len() as u64,
                ],
            );
            queues.iter().for_each(|queue| number(out, u64::from(*queue)));
        }
        Entry::Opened {
            consumer,
            queue,
            life,
            transactional,
        } => put(
            3,
            &[
                u64::from(*consumer),
                u64::from(*queue),
                u64::from(*life),
                u64::from(*transactional),
            ],
        ),
        Entry::Closed { consumer } => put(4, &[u64::from(*consumer)]),
        Entry::Intended(range) => put(5, &range_fields(*range)),
        Entry::Confirmed(range) => put(6, &range_fields(*range)),
        Entry::Refused(range) => put(7, &range_fields(*range)),
        Entry::Transaction(range) => put(8, &range_fields(*range)),
        Entry::RolledBack(range) => put(9, &range_fields(*range)),
        Entry::Delivered {
            consumer,
            id,
            redelivered,
        } => put(10 + u8::from(*redelivered), &id_fields(*consumer, *id)),
        Entry::Damaged { consumer, id } => {
            let id = id.unwrap_or(NOBODY);
            put(12, &id_fields(*consumer, id));
        }
        Entry::Acked { consumer, id } => put(13, &id_fields(*consumer, *id)),
        Entry::Returned { consumer, id } => put(14, &id_fields(*consumer, *id)),
        Entry::Rejected { consumer, id } => put(15, &id_fields(*consumer, *id)),
        Entry::Withdrawn { consumer, id } => put(16, &id_fields(*consumer, *id)),
        Entry::Asked { consumer } => put(17, &[u64::from(*consumer)]),
        Entry::Answered { consumer } => put(18, &[u64::from(*consumer)]),
        Entry::Fault(fault) => put(19, &fault_fields(*fault)),
        Entry::Ending { life } => put(20, &[u64::from(*life)]),
        Entry::Ended { life } => put(21, &[u64::from(*life)]),
        Entry::Started { life } => put(22, &[u64::from(*life)]),
        Entry::QueueGone { queue } => put(23, &[u64::from(*queue)]),
        Entry::Draining => put(24, &[]),
        Entry::Drained { left } => put(25, &[*left]),
        Entry::Backlog { messages } => put(26, &[*messages]),
        Entry::Synced { micros } => put(27, &[*micros]),
        Entry::Durable { micros } => put(28, &[*micros]),
    }
}

/// Stands for a damaged message that does not say who it is: publishers count from 1.
const NOBODY: Id = Id {
    publisher: 0,
    number: 0,
};

fn range_fields(range: Range) -> [u64; 3] {
    [u64::from(range.publisher), range.first, u64::from(range.count)]
}

fn id_fields(consumer: u32, id: Id) -> [u64; 3] {
    [u64::from(consumer), u64::from(id.publisher), id.number]
}

fn fault_fields(fault: Fault) -> [u64; 2] {
    match fault {
        Fault::Kill => [0, 0],
        Fault::Pause(pause) => [1, pause.as_micros() as u64],
        Fault::Between => [2, 0],
        Fault::Terminate => [3, 0],
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes entries from a block's bytes.
pub(super) struct Decoder<'a>(pub(super) &'a [u8]);

impl Decoder<'_> {
    /// The next entry and how many microseconds it comes after the one before it; `None` at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<(u64, Entry)>> {
        let Some((&kind, rest)) = self.0.split_first() else {
            return Ok(None);
        };
        self.0 = rest;
        let micros = self.number()?;
        let entry = self
            .fields(kind)
            .with_context(|| format!("an entry of kind {kind} cannot be read"))?;
        Ok(Some((micros, entry)))
    }

    fn fields(&mut self, kind: u8) -> anyhow::Result<Entry> {
        Ok(match kind {
            1 => Entry::Queue {
                queue: self.small()?,
                workload: self.kind()?,
                name: self.name()?,
            },
            2 => Entry::Publisher {
                publisher: self.small()?,
                workload: self.kind()?,
                route: self.route()?,
                queues: self.queues()?,
            },
            3 => Entry::Opened {
                consumer: self.small()?,
                queue: self.small()?,
                life: self.small()?,
                transactional: self.number()? != 0,
            },
            4 => Entry::Closed {
                consumer: self.small()?,
            },
            5 => Entry::Intended(self.range()?),
            6 => Entry::Confirmed(self.range()?),
            7 => Entry::Refused(self.range()?),
            8 => Entry::Transaction(self.range()?),
            9 => Entry::RolledBack(self.range()?),
            10 | 11 => Entry::Delivered {
                consumer: self.small()?,
                id: self.id()?,
                redelivered: kind == 11,
            },
            12 => Entry::Damaged {
                consumer: self.small()?,
                id: Some(self.id()?).filter(|id| *id != NOBODY),
            },
            13 => Entry::Acked {
                consumer: self.small()?,
                id: self.id()?,
            },
            14 => Entry::Returned {
                consumer: self.small()?,
                id: self.id()?,
            },
            15 => Entry::Rejected {
                consumer: self.small()?,
                id: self.id()?,
            },
            16 => Entry::Withdrawn {
                consumer: self.small()?,
                id: self.id()?,
            },
            _ => return self.rare(kind),
        })
    }

    /// What comes once in a while.
    fn rare(&mut self, kind: u8) -> anyhow::Result<Entry> {
        Ok(match kind {
            17 => Entry::Asked {
                consumer: self.small()?,
            },
            18 => Entry::Answered {
                consumer: self.small()?,
            },
            19 => Entry::Fault(self.fault()?),
            20 => Entry::Ending { life: self.small()? },
            21 => Entry::Ended { life: self.small()? },
            22 => Entry::Started { life: self.small()? },
            23 => Entry::QueueGone { queue: self.small()? },
            24 => Entry::Draining,
            25 => Entry::Drained { left: self.number()? },
            26 => Entry::Backlog {
                messages: self.number()?,
            },
            27 => Entry::Synced {
                micros: self.number()?,
            },
            28 => Entry::Durable {
                micros: self.number()?,
            },
            _ => bail!("there is no such kind"),
        })
    }

    fn number(&mut self) -> anyhow::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().context("it is cut off")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        bail!("a number is too long")
    }

    fn small<T: TryFrom<u64>>(&mut self) -> anyhow::Result<T> {
        T::try_from(self.number()?).ok().context("a number is too large")
    }

    fn id(&mut self) -> anyhow::Result<Id> {
        Ok(Id {
            publisher: self.small()?,
            number: self.number()?,
        })
    }

    fn range(&mut self) -> anyhow::Result<Range> {
        let (publisher, first, count) = (self.small()?, self.number()?, self.small::<u32>()?);
        ensure!(
            first.checked_add(u64::from(count)).is_some(),
            "a range is too long"
        );
        Ok(Range {
            publisher,
            first,
            count,
        })
    }

    fn kind(&mut self) -> anyhow::Result<Kind> {
        let number = self.number()? as usize;
        Kind::ALL
            .get(number)
            .copied()
            .context("there is no such workload")
    }

    fn route(&mut self) -> anyhow::Result<Route> {
        match self.number()? {
            0 => Ok(Route::Every),
            1 => Ok(Route::Turns),
            2 => Ok(Route::Chain),
            _ => bail!("there is no such route"),
        }
    }

    fn queues(&mut self) -> anyhow::Result<Vec<u16>> {
        let count = self.number()?;
        ensure!((1..=QUEUES_MAX).contains(&count), "{count} queues");
        (0..count).map(|_| self.small()).collect()
    }

    fn name(&mut self) -> anyhow::Result<String> {
        let length = self.number()?;
        ensure!(length <= NAME_MAX, "a name of {length} bytes");
        let (name, rest) = self
            .0
            .split_at_checked(length as usize)
            .context("it is cut off")?;
        self.0 = rest;
        Ok(String::from_utf8(name.to_vec())?)
    }

    fn fault(&mut self) -> anyhow::Result<Fault> {
        let (kind, micros) = (self.number()?, self.number()?);
        Ok(match kind {
            0 => Fault::Kill,
            1 => Fault::Pause(Duration::from_micros(micros)),
            2 => Fault::Between,
            3 => Fault::Terminate,
            _ => bail!("there is no such fault"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = Id {
        publisher: 2,
        number: 1 << 40,
    };
    const RANGE: Range = Range {
        publisher: 9,
        first: 300,
        count: 40,
    };

    fn every_entry() -> Vec<Entry> {
        vec![
            Entry::Queue {
                queue: 3,
                workload: Kind::Fanout,
                name: "q".into(),
            },
            Entry::Publisher {
                publisher: 2,
                workload: Kind::Tx,
                route: Route::Turns,
                queues: vec![1, 700],
            },
            Entry::Opened {
                consumer: 70_000,
                queue: 3,
                life: 2,
                transactional: true,
            },
            Entry::Closed { consumer: 1 },
            Entry::Intended(RANGE),
            Entry::Confirmed(RANGE),
            Entry::Refused(RANGE),
            Entry::Transaction(RANGE),
            Entry::RolledBack(RANGE),
            Entry::Delivered {
                consumer: 1,
                id: ID,
                redelivered: true,
            },
            Entry::Delivered {
                consumer: 1,
                id: ID,
                redelivered: false,
            },
            Entry::Damaged {
                consumer: 1,
                id: Some(ID),
            },
            Entry::Damaged {
                consumer: 1,
                id: None,
            },
            Entry::Acked { consumer: 1, id: ID },
            Entry::Returned { consumer: 1, id: ID },
            Entry::Rejected { consumer: 1, id: ID },
            Entry::Withdrawn { consumer: 1, id: ID },
            Entry::Asked { consumer: 1 },
            Entry::Answered { consumer: 1 },
            Entry::Fault(Fault::Kill),
            Entry::Fault(Fault::Pause(Duration::from_millis(2500))),
            Entry::Fault(Fault::Between),
            Entry::Fault(Fault::Terminate),
            Entry::Ending { life: 1 },
            Entry::Ended { life: 1 },
            Entry::Started { life: 2 },
            Entry::QueueGone { queue: 4 },
            Entry::Draining,
            Entry::Drained { left: 5 },
            Entry::Backlog { messages: u64::MAX },
            Entry::Synced { micros: 128 },
            Entry::Durable { micros: 129 },
        ]
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut bytes = Vec::new();
        for (at, entry) in every_entry().iter().enumerate() {
            encode(&mut bytes, at as u64 * 100, entry);
        }
        let mut decoder = Decoder(&bytes);
        for (at, entry) in every_entry().into_iter().enumerate() {
            assert_eq!(decoder.next().unwrap(), Some((at as u64 * 100, entry)));
        }
        assert_eq!(decoder.next().unwrap(), None);
    }

    #[test]
    fn a_cut_is_an_error_and_never_a_panic() {
        for entry in every_entry() {
            let mut bytes = Vec::new();
            encode(&mut bytes, 0, &entry);
            for end in 1..bytes.len() {
                assert!(Decoder(&bytes[..end]).next().is_err(), "{entry:?} at {end}");
            }
        }
        for bytes in [
            &[0xFF, 0][..],
            &[29, 0],
            &[26, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ] {
            assert!(Decoder(bytes).next().is_err(), "{bytes:?}");
        }
    }
}
