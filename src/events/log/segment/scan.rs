//! Reading records: in sequence through a buffer, one at a location and back from there, or one at
//! a position.
//!
//! Not here: which records there should be (`recover.rs`, `mod.rs`).

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use super::SEGMENT_HEADER_BYTES;
use super::fault::Fault;
use super::file::Segment;
use super::record::{self, Location, Record};
use crate::ids::Position;

/// Bytes of the first read of a scan: some 40 events, a small page.
const FIRST_READ_BYTES: usize = 16 << 10;

/// Bytes of the largest read of a scan: what a disk gives in one go.
const LARGEST_READ_BYTES: usize = 256 << 10;

/// Bytes read for one record whose length is not known: most records are shorter.
const ONE_RECORD_BYTES: usize = 1 << 10;

/// Bytes read around a record that lies shortly before the one read last: the way back along a
/// stream that is written often stays within it for a while.
const WINDOW_BYTES: usize = 32 << 10;

/// Bytes between two remembered places in a segment: a look-up hops over some 200 records, and
/// a segment of 64 MiB has 1,024 places, 16 KiB of memory.
const PLACE_BYTES: u64 = 64 << 10;

/// Reads the records of one segment in order.
pub struct Scanner<'a> {
    segment: &'a Segment,
    /// The offset of the next record.
    offset: u64,
    /// The offset of the first byte in the buffer.
    base: u64,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read from the file.
    filled: usize,
    read_bytes: usize,
}

impl<'a> Scanner<'a> {
    /// Starts at the record at an offset, or at the first one that an archive has left behind it.
    pub fn new(segment: &'a Segment, offset: u32) -> Self {
        let offset = u64::from(segment.next_offset(offset));
        let read_bytes = FIRST_READ_BYTES;
        Self { segment, offset, base: offset, buffer: Vec::new(), filled: 0, read_bytes }
    }

    /// The offset of the next record. A segment is at most 4 GiB long.
    pub const fn offset(&self) -> u32 {
        self.offset as u32
    }

    /// The bytes of the next record as its length says; none, staying there, where there is none.
    ///
    /// # Errors
    /// What the disk says.
    pub fn next_bytes(&mut self) -> io::Result<Option<&[u8]>> {
        let room = u64::from(self.segment.header.size).saturating_sub(self.offset);
        let Some(length) = record::length(self.fill(4)?) else { return Ok(None) };
        if length as u64 > room || self.fill(length)?.len() < length {
            return Ok(None);
        }
        let start = (self.offset - self.base) as usize;
        let end = self.offset + (length as u64).next_multiple_of(record::ALIGNMENT);
        self.offset = u64::from(self.segment.next_offset(end as u32));
        Ok(self.buffer.get(start..start + length))
    }

    /// The next record, its checksum verified; none, staying there, where there is none.
    ///
    /// # Errors
    /// What the disk says.
    pub fn next_record(&mut self) -> io::Result<Option<Record<'_>>> {
        let (offset, salt) = (self.offset(), self.segment.salt);
        let intact = self.next_bytes()?.filter(|bytes| record::is_intact(bytes, salt, offset));
        let length = intact.map_or(0, <[u8]>::len);
        let start = (u64::from(offset) - self.base) as usize;
        let record = self.buffer.get(start..start + length).and_then(Record::parse_unchecked);
        if record.is_none() {
            self.offset = u64::from(offset);
        }
        Ok(record)
    }

    /// The bytes that were read from the next record on, at least so many unless the file ends.
    fn fill(&mut self, need: usize) -> io::Result<&[u8]> {
        let start = (self.offset - self.base) as usize;
        if self.filled < start + need {
            let had = self.filled.saturating_sub(start);
            self.buffer.copy_within(start.min(self.filled)..self.filled, 0);
            (self.base, self.filled) = (self.offset, had);
            // It only grows, so that its bytes are set to zero once and not before each read.
            let room = need.max(self.read_bytes).max(self.buffer.len());
            self.buffer.resize(room, 0);
            self.read_bytes = (self.read_bytes * 2).min(LARGEST_READ_BYTES);
            let into = self.buffer.get_mut(had..).unwrap_or_default();
            self.filled += self.segment.file.read_at(into, self.base + had as u64)?;
        }
        let start = (self.offset - self.base) as usize;
        Ok(self.buffer.get(start..self.filled).unwrap_or_default())
    }
}

/// The segments of an open log, in order, without gaps, from number 1.
#[derive(Debug, Default)]
pub struct Segments {
    list: RwLock<Vec<Arc<Segment>>>,
}

impl Segments {
    /// These segments.
    pub const fn new(list: Vec<Arc<Segment>>) -> Self {
        Self { list: RwLock::new(list) }
    }

    /// The segment with a number.
    pub fn get(&self, number: u32) -> Option<Arc<Segment>> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.get((number as usize).checked_sub(1)?).cloned()
    }

    /// All of them, as of now.
    pub fn all(&self) -> Vec<Arc<Segment>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The segment that is written to.
    pub fn last(&self) -> Option<Arc<Segment>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    /// The segment that a position is in, if it is in the log.
    pub fn holding(&self, position: Position) -> Option<Arc<Segment>> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let after = list.partition_point(|segment| segment.header.first <= position);
        list.get(after.checked_sub(1)?).cloned()
    }

    /// Whether an archive has taken the record at a location.
    pub fn has_archived(&self, at: Location) -> bool {
        self.get(at.segment).is_some_and(|segment| segment.next_offset(at.offset) != at.offset)
    }

    /// The last position that an archive has taken; 0 if there is none. All after it are there.
    pub fn archived(&self) -> Position {
        archived(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the next segment.
    pub fn push(&self, segment: Arc<Segment>) {
        self.list.write().unwrap_or_else(PoisonError::into_inner).push(segment);
    }
}

/// Reads records at locations; cheap where each lies shortly before the last.
pub struct Fetcher<'a> {
    segments: &'a Segments,
    segment: Option<Arc<Segment>>,
    base: usize,
    window: Vec<u8>,
}

impl<'a> Fetcher<'a> {
    /// Of these segments.
    pub const fn new(segments: &'a Segments) -> Self {
        Self { segments, segment: None, base: 0, window: Vec::new() }
    }

    /// The record at a location, taken apart and in its bytes.
    ///
    /// # Errors
    /// When there is none, or the disk does not give it.
    pub fn record(&mut self, at: Location) -> Result<(Record<'_>, &[u8]), Fault> {
        let segment = self.load(at)?;
        let bytes = self.window.get((at.offset as usize) - self.base..).unwrap_or_default();
        Record::parse(bytes, segment.salt, at.offset)
            .zip(record::length(bytes).and_then(|length| bytes.get(..length)))
            .ok_or_else(|| segment.damaged(u64::from(at.offset), 0, "there is no valid record"))
    }

    /// Makes the window hold the whole record, as far as the file has it.
    fn load(&mut self, at: Location) -> Result<Arc<Segment>, Fault> {
        let offset = at.offset as usize;
        let held = self.segment.clone().filter(|it| it.header.number == at.segment);
        let segment = match held {
            Some(segment) => {
                let inside = offset >= self.base && offset < self.base + self.window.len();
                if !inside {
                    let near = offset < self.base && self.base - offset <= WINDOW_BYTES;
                    self.read(&segment, offset, if near { WINDOW_BYTES } else { 0 })?;
                }
                segment
            }
            None => {
                let segment = self.segments.get(at.segment).ok_or_else(|| no_segment(at))?;
                self.read(&segment, offset, 0)?;
                segment
            }
        };
        let have = self.window.get(offset - self.base..).unwrap_or_default();
        let length = record::length(have).unwrap_or(4).min(segment.header.size as usize);
        if have.len() < length {
            let missing = length.max(ONE_RECORD_BYTES);
            self.window.clear();
            self.base = offset;
            self.window.resize(missing, 0);
            let read = segment.file.read_at(&mut self.window, offset as u64)?;
            self.window.truncate(read);
        }
        Ok(segment)
    }

    /// Reads one record's bytes and so many before it.
    fn read(&mut self, segment: &Arc<Segment>, offset: usize, before: usize) -> io::Result<()> {
        self.base = offset.saturating_sub(before).max(SEGMENT_HEADER_BYTES).min(offset);
        self.window.resize(offset - self.base + ONE_RECORD_BYTES, 0);
        let read = segment.file.read_at(&mut self.window, self.base as u64)?;
        self.window.truncate(read);
        self.segment = Some(Arc::clone(segment));
        Ok(())
    }
}

/// The last position that an archive has taken from segments; 0 if there is none.
pub fn archived(segments: &[Arc<Segment>]) -> Position {
    let remains = segments.iter().filter_map(|segment| segment.header.remains);
    remains.map(|remains| remains.archived).max().unwrap_or_default()
}

fn no_segment(at: Location) -> Fault {
    Fault::Damaged(super::fault::Damage {
        segment: at.segment,
        offset: u64::from(at.offset),
        position: 0,
        what: "an index points to this segment, which does not exist".to_owned(),
    })
}

impl Segment {
    /// Where the record of a position lies. It must be in this segment.
    ///
    /// # Errors
    /// When the way there is not readable.
    pub fn seek(&self, position: Position) -> Result<u32, Fault> {
        if self.header.remains.is_some() {
            return self.seek_left(position);
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let known = places.partition_point(|(known, _)| *known <= position.get());
        let is_last = known == places.len();
        let Some((mut at, offset)) = known.checked_sub(1).and_then(|it| places.get(it).copied())
        else {
            return Err(self.damaged(0, position.get(), "the position is not in this segment"));
        };
        let mut scanner = Scanner::new(self, offset);
        let mut place = u64::from(offset);
        while at < position.get() {
            let here = u64::from(scanner.offset());
            if is_last && here >= place + PLACE_BYTES {
                places.push((at, scanner.offset()));
                place = here;
            }
            if scanner.next_bytes()?.is_none() {
                return Err(self.damaged(here, at, "a record is missing here"));
            }
            at += 1;
        }
        Ok(scanner.offset())
    }

    /// Where the first record that is left from a position on lies, or the segment ended.
    fn seek_left(&self, position: Position) -> Result<u32, Fault> {
        let mut scanner = Scanner::new(self, SEGMENT_HEADER_BYTES as u32);
        loop {
            let at = scanner.offset();
            match scanner.next_record()? {
                Some(record) if record.frame.position < position => {}
                _ => return Ok(at),
            }
        }
    }
}
