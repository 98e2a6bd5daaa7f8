//! Walking through one segment, frame by frame, past damage. Says what is there; does not judge whether an unreadable
//! place is a torn tail or damage: that takes knowledge of the whole log (see `recovery`).

use crate::{
    disk::File,
    record::{END_FRAME_BYTES, End, HEADER_BYTES, Head, Header, Kind, Mask, SECTOR_BYTES, sector_up},
    segment::{GROUPS_START, is_unreadable},
};
use std::{io, ops::Range};

/// Bytes read at once. Large enough that the call costs nothing, small enough to stay in the cache.
const WINDOW_BYTES: usize = 512 * 1024;
/// After a read error, what is read at once to find out which part is unreadable.
const PAGE_BYTES: usize = 4096;

/// What comes next in a segment. Offsets are from the start of the segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A group begins.
    Head { offset: u64, head: Head },
    /// A record.
    Record { offset: u64, payload: &'a [u8] },
    /// No valid frame begins in `from..to`. `record`: the header of a data frame is intact, its payload is not, and
    /// the region is exactly that frame.
    Invalid { from: u64, to: u64, record: bool },
    /// The segment was ended here.
    End { offset: u64, end: End },
    /// The limit is reached without an end.
    Finished { offset: u64 },
}

/// What the walker expects at its offset.
#[derive(Clone, Copy)]
enum Expect {
    /// A group head or an end, at the start of a sector.
    Boundary,
    /// The next frame of a group that ends at this offset.
    Inside(u64),
    /// The next frame of a group whose head is lost, or a boundary.
    Anything,
    Nothing,
}

enum Frame {
    Intact(Header),
    BadPayload(Header),
    None,
}

/// A walk from the start of a segment to `limit`.
pub(crate) struct Walk<'a, F> {
    window: Window<'a, F>,
    mask: Mask,
    offset: u64,
    limit: u64,
    /// Behind this there are only zeros.
    written: u64,
    expect: Expect,
}

impl<'a, F: File> Walk<'a, F> {
    /// `limit`: how far the segment may be read, at most its length.
    pub(crate) fn new(file: &'a F, mask: Mask, limit: u64) -> Walk<'a, F> {
        let window = Window {
            file,
            bytes: Vec::new(),
            start: 0,
            limit,
            unreadable: Vec::new(),
        };
        Walk {
            window,
            mask,
            offset: GROUPS_START,
            limit,
            written: limit,
            expect: Expect::Boundary,
        }
    }

    /// Nothing was ever written behind `written`, so nothing is searched for there.
    pub(crate) fn written_to(self, written: u64) -> Walk<'a, F> {
        Walk { written, ..self }
    }

    /// Places that the medium could not read, as far as the walk has come.
    pub(crate) fn unreadable(&self) -> &[Range<u64>] {
        &self.window.unreadable
    }

    /// The next thing. After `End` or `Finished` there is only `Finished`.
    pub(crate) fn next(&mut self) -> io::Result<Step<'_>> {
        let offset = self.offset;
        if offset + HEADER_BYTES as u64 > self.limit || matches!(self.expect, Expect::Nothing) {
            return self.finish();
        }
        match self.frame(offset)? {
            Frame::Intact(header) => match (header.kind, self.expect) {
                (Kind::Data, Expect::Inside(_) | Expect::Anything) => self.record(header),
                (Kind::Head, Expect::Boundary | Expect::Anything) => self.head(header),
                (Kind::End, Expect::Boundary | Expect::Anything) => self.end(offset),
                // Intact and yet out of place: only reached behind damage.
                _ => self.invalid(),
            },
            Frame::BadPayload(header) if header.kind == Kind::Data => self.bad_record(header),
            _ => self.invalid(),
        }
    }

    fn finish(&mut self) -> io::Result<Step<'_>> {
        let offset = self.offset;
        let unfinished_group = matches!(self.expect, Expect::Inside(_));
        self.expect = Expect::Nothing;
        if unfinished_group && offset < self.limit {
            self.offset = self.limit;
            return Ok(Step::Invalid {
                from: offset,
                to: self.limit,
                record: false,
            });
        }
        Ok(Step::Finished { offset })
    }

    fn record(&mut self, header: Header) -> io::Result<Step<'_>> {
        let offset = self.offset;
        self.advance(offset + header.frame_bytes() as u64);
        let frame = self.window.get(offset, HEADER_BYTES + header.payload_bytes)?;
        Ok(Step::Record {
            offset,
            payload: &frame[HEADER_BYTES..],
        })
    }

    /// A frame whose header is intact and whose payload is not: the region is known, unless the log was cut here.
    fn bad_record(&mut self, header: Header) -> io::Result<Step<'_>> {
        let from = self.offset;
        if let Some(end_offset) = self.cut_at(from)? {
            return self.end(end_offset);
        }
        let to = from + header.frame_bytes() as u64;
        if matches!(self.expect, Expect::Boundary) {
            self.expect = Expect::Anything;
        }
        self.advance(to);
        Ok(Step::Invalid {
            from,
            to,
            record: true,
        })
    }

    fn head(&mut self, header: Header) -> io::Result<Step<'_>> {
        let offset = self.offset;
        let frame = self.window.get(offset, HEADER_BYTES + header.payload_bytes)?;
        let head = Head::decode(&frame[HEADER_BYTES..]);
        self.expect = Expect::Inside(offset + head.group_bytes as u64);
        self.advance(offset + header.frame_bytes() as u64);
        Ok(Step::Head { offset, head })
    }

    fn end(&mut self, offset: u64) -> io::Result<Step<'_>> {
        let frame = self.window.get(offset, END_FRAME_BYTES)?;
        let end = End::decode(&frame[HEADER_BYTES..]);
        self.expect = Expect::Nothing;
        Ok(Step::End { offset, end })
    }

    /// Go to `next`, or, when the group is complete, to the sector behind it.
    fn advance(&mut self, next: u64) {
        self.offset = next;
        if let Expect::Inside(group_end) = self.expect
            && next >= group_end
        {
            self.offset = sector_up(next);
            self.expect = Expect::Boundary;
        }
    }

    /// Nothing valid at the offset: a cut, padding behind a group without head, or a region to search through.
    fn invalid(&mut self) -> io::Result<Step<'_>> {
        let from = self.offset;
        if let Some(end_offset) = self.cut_at(from)? {
            return self.end(end_offset);
        }
        let boundary = sector_up(from);
        let to = self.search(from)?;
        let padding = matches!(self.expect, Expect::Anything) && to == boundary && self.is_zero(from, to)?;
        self.offset = to;
        self.expect = match self.expect {
            _ if to == self.limit => Expect::Nothing,
            Expect::Inside(group_end) if to < group_end => Expect::Inside(group_end),
            _ => Expect::Anything,
        };
        if padding {
            self.next()
        } else {
            Ok(Step::Invalid {
                from,
                to,
                record: false,
            })
        }
    }

    /// The next offset behind `from` where a frame may begin: its header is intact.
    fn search(&mut self, from: u64) -> io::Result<u64> {
        let mut offset = (from + 8) & !7;
        while offset < self.written && offset + HEADER_BYTES as u64 <= self.limit {
            let bytes = self.window.get(offset, HEADER_BYTES)?;
            match self.mask.open(bytes, offset) {
                Some(header) if offset + header.frame_bytes() as u64 <= self.limit => return Ok(offset),
                // A segment is zeros as far as it was prepared and not filled, and nothing begins with them.
                _ => offset = self.window.behind_zeros(offset + 8),
            }
        }
        Ok(self.limit)
    }

    /// Where the end lies that says that the data ended at `offset`, if recovery cut the log there.
    fn cut_at(&mut self, offset: u64) -> io::Result<Option<u64>> {
        let boundary = sector_up(offset);
        if boundary + END_FRAME_BYTES as u64 > self.limit {
            return Ok(None);
        }
        let Frame::Intact(Header { kind: Kind::End, .. }) = self.frame(boundary)? else {
            return Ok(None);
        };
        let frame = self.window.get(boundary, END_FRAME_BYTES)?;
        let end = End::decode(&frame[HEADER_BYTES..]);
        Ok((u64::from(end.data_end) == offset).then_some(boundary))
    }

    fn frame(&mut self, offset: u64) -> io::Result<Frame> {
        let bytes = self.window.get(offset, HEADER_BYTES)?;
        let Some(header) = self.mask.open(bytes, offset) else {
            return Ok(Frame::None);
        };
        let whole = HEADER_BYTES + header.payload_bytes;
        let frame = self.window.get(offset, whole)?;
        Ok(
            match frame.len() == whole && header.payload_is_intact(&frame[HEADER_BYTES..]) {
                true => Frame::Intact(header),
                // A frame that would reach beyond the limit has lost its rest.
                false if frame.len() < whole => Frame::None,
                false => Frame::BadPayload(header),
            },
        )
    }

    fn is_zero(&mut self, from: u64, to: u64) -> io::Result<bool> {
        debug_assert!(to - from <= SECTOR_BYTES);
        Ok(self
            .window
            .get(from, (to - from) as usize)?
            .iter()
            .all(|byte| *byte == 0))
    }
}

/// A part of the file in memory, moved forward as the walk goes on.
struct Window<'a, F> {
    file: &'a F,
    bytes: Vec<u8>,
    start: u64,
    limit: u64,
    /// Pages that the medium could not read.
    unreadable: Vec<Range<u64>>,
}

impl<F: File> Window<'_, F> {
    /// `length` bytes at `offset`; fewer only at the limit.
    fn get(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let length = length.min(self.limit.saturating_sub(offset) as usize);
        let end = offset + length as u64;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            self.fill(offset, length)?;
        }
        let at = (offset - self.start) as usize;
        let available = self.bytes.len().saturating_sub(at).min(length);
        Ok(&self.bytes[at..at + available])
    }

    /// Passes over the words of zeros at `offset` that are in memory.
    fn behind_zeros(&self, offset: u64) -> u64 {
        let at = offset.checked_sub(self.start).map(|at| at as usize);
        let known = at.and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        offset + zeros(known) as u64
    }

    fn fill(&mut self, offset: u64, length: usize) -> io::Result<()> {
        let kept = self.keep_from(offset);
        let wanted = length.max(WINDOW_BYTES).min((self.limit - offset) as usize);
        self.bytes.resize(wanted.max(kept), 0);
        let filled = match self.file.read_at(&mut self.bytes[kept..], offset + kept as u64) {
            Ok(filled) => filled,
            Err(error) if is_unreadable(&error) => self.fill_by_page(kept)?,
            Err(error) => return Err(error),
        };
        self.bytes.truncate(kept + filled);
        Ok(())
    }

    /// Move what is known from `offset` on to the front; returns its length.
    fn keep_from(&mut self, offset: u64) -> usize {
        let known = self.start..self.start + self.bytes.len() as u64;
        let kept = if known.contains(&offset) {
            (known.end - offset) as usize
        } else {
            0
        };
        let length = self.bytes.len();
        self.bytes.copy_within(length - kept.., 0);
        self.bytes.truncate(kept);
        self.start = offset;
        kept
    }

    /// What the medium has lost reads as zeros, which no frame passes as, so that it is reported and the rest is read.
    fn fill_by_page(&mut self, kept: usize) -> io::Result<usize> {
        let mut filled = 0;
        for page in self.bytes[kept..].chunks_mut(PAGE_BYTES) {
            match self.file.read_at(page, self.start + (kept + filled) as u64) {
                Ok(bytes) if bytes < page.len() => return Ok(filled + bytes),
                Ok(_) => {}
                Err(error) if is_unreadable(&error) => {
                    page.fill(0);
                    let from = self.start + (kept + filled) as u64;
                    self.unreadable.push(from..from + page.len() as u64);
                }
                Err(error) => return Err(error),
            }
            filled += page.len();
        }
        Ok(filled)
    }
}

/// Bytes of the words of eight zeros at the front. A page at once first, which takes a tenth of the time.
fn zeros(bytes: &[u8]) -> usize {
    let is_zero = |bytes: &&[u8]| {
        let words = bytes.as_chunks::<8>().0.iter();
        words.fold(0, |all, word| all | u64::from_ne_bytes(*word)) == 0
    };
    let pages = bytes.chunks_exact(PAGE_BYTES).take_while(is_zero).count() * PAGE_BYTES;
    pages + bytes[pages..].chunks_exact(8).take_while(is_zero).count() * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_counted_in_words() {
        let check = |length: usize, other: Option<usize>, expected: usize| {
            let mut bytes = vec![0; length];
            if let Some(at) = other {
                bytes[at] = 1;
            }
            assert_eq!(zeros(&bytes), expected, "{length} bytes, another at {other:?}");
        };
        check(0, None, 0);
        check(7, None, 0);
        check(23, None, 16);
        check(3 * PAGE_BYTES + 9, None, 3 * PAGE_BYTES + 8);
        for at in [0, 7, 8, 4095, 4096, 9000] {
            check(3 * PAGE_BYTES, Some(at), at / 8 * 8);
        }
    }
}
