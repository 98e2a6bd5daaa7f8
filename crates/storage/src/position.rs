//! Where a record is. Positions grow for the whole life of a data directory and are never used twice.

use std::fmt;

/// The number of a segment file: 1 for the first one of a data directory, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SegmentNumber(pub u32);

impl fmt::Display for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {}", self.0)
    }
}

/// A place in the log: segment number in the upper 32 bits, byte offset within the segment in the lower 32.
///
/// `Position::ZERO` lies before every record and may stand for "nowhere". Printed as `segment:offset`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// Before the first record of every log.
    pub const ZERO: Position = Position(0);

    /// The place `offset` bytes into `segment`.
    pub const fn new(segment: SegmentNumber, offset: u32) -> Position {
        Position((segment.0 as u64) << 32 | offset as u64)
    }

    /// The segment this position lies in.
    pub const fn segment(self) -> SegmentNumber {
        SegmentNumber((self.0 >> 32) as u32)
    }

    /// Bytes from the start of the segment.
    pub const fn offset(self) -> u32 {
        self.0 as u32
    }

    /// The position `offset` bytes further on in the same segment: the position of a record is the position that
    /// `append` returned, forward by the offset that `Frames::begin` returned.
    pub const fn forward(self, offset: u32) -> Position {
        Position(self.0 + offset as u64)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment().0, self.offset())
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
