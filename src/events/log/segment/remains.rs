//! What remains of a segment that an archive has taken: the events of objects that are still there.
//!
//! The file keeps its name, and each record its place: whoever reads sees the segment as it was,
//! with zeros where records were. So links between records stay right, and the whole segment, put
//! back from a backup, takes its place again. In the file the records lie close together. Its
//! header is that of the segment, of format 2, and goes on:
//!
//! ```text
//!  96   4  CRC-32C of bytes 100 to 204
//! 100   4  records
//! 104   4  extents
//! 108   4  CRC-32C of the table of extents
//! 112   4  end of the segment
//! 116  32  BLAKE3 of everything behind the header
//! 148   8  location of the last record that was there
//! 156   8  its position
//! 164  32  chain up to and including it
//! 196   8  the position up to which events were archived, in this segment and others
//! ```
//!
//! Behind the header lies a table of extents, each a row of records without a gap: the offset of
//! the first one (4 bytes) and how many bytes they are (4 bytes). Then the records themselves.
//!
//! Not here: which records are left (`archive.rs`).

use std::io;
use std::sync::Arc;

use super::super::chain::Hash;
use super::SEGMENT_HEADER_BYTES;
use super::disk::{DiskFile, read_full};
use super::record::Location;
use crate::ids::Position;

/// Bytes of records that are copied or hashed at once.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes of an extent in the table.
const EXTENT_BYTES: usize = 8;

/// What the header of such a segment says besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remains {
    /// How many records are left.
    pub records: u32,
    /// In how many rows they lie.
    pub extents: u32,
    /// CRC-32C of the table of these rows.
    pub table_sum: u32,
    /// Where the segment ended.
    pub end: u32,
    /// BLAKE3 of everything behind the header.
    pub digest: Hash,
    /// The last record that was there.
    pub last: Location,
    /// Its position.
    pub last_position: Position,
    /// The chain up to and including it.
    pub chain: Hash,
    /// Up to where events were archived, in this segment and others: an archiving that was cut off
    /// has not got there.
    pub archived: Position,
}

impl Remains {
    /// As bytes behind the header's own.
    pub fn to_bytes(self) -> Vec<u8> {
        let body = self.body();
        let mut bytes = crc32c::crc32c(&body).to_le_bytes().to_vec();
        bytes.extend_from_slice(&body);
        bytes
    }

    fn body(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(104);
        for number in [self.records, self.extents, self.table_sum, self.end] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.digest);
        bytes.extend_from_slice(&self.last.to_u64().to_le_bytes());
        bytes.extend_from_slice(&self.last_position.get().to_le_bytes());
        bytes.extend_from_slice(&self.chain);
        bytes.extend_from_slice(&self.archived.get().to_le_bytes());
        bytes
    }

    /// The reverse of [`Remains::to_bytes`]; `None` if they are something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk()?;
        let (records, rest) = rest.split_first_chunk()?;
        let (extents, rest) = rest.split_first_chunk()?;
        let (table_sum, rest) = rest.split_first_chunk()?;
        let (end, rest) = rest.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        let (last, rest) = rest.split_first_chunk()?;
        let (last_position, rest) = rest.split_first_chunk()?;
        let (chain, rest) = rest.split_first_chunk()?;
        let (archived, _) = rest.split_first_chunk()?;
        let remains = Self {
            records: u32::from_le_bytes(*records),
            extents: u32::from_le_bytes(*extents),
            table_sum: u32::from_le_bytes(*table_sum),
            end: u32::from_le_bytes(*end),
            digest: *digest,
            last: Location::from_u64(u64::from_le_bytes(*last)),
            last_position: Position(u64::from_le_bytes(*last_position)),
            chain: *chain,
            archived: Position(u64::from_le_bytes(*archived)),
        };
        (crc32c::crc32c(&remains.body()) == u32::from_le_bytes(*sum)).then_some(remains)
    }

    /// Bytes of the file that lie before the records.
    const fn records_at(&self) -> u64 {
        SEGMENT_HEADER_BYTES as u64 + self.extents as u64 * EXTENT_BYTES as u64
    }
}

/// Records that lie in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    /// Where the first one is in the segment as it was.
    offset: u32,
    /// How many bytes they are.
    bytes: u32,
    /// Where the first one is among all bytes of records that are left.
    before: u32,
}

impl Extent {
    const fn end(&self) -> u32 {
        self.offset.saturating_add(self.bytes)
    }
}

/// The rows of records that are left, in order. 12 bytes a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extents(Vec<Extent>);

impl Extents {
    /// Adds a record that lies behind all others.
    pub fn add(&mut self, offset: u32, bytes: u32) {
        match self.0.last_mut().filter(|last| last.end() == offset) {
            Some(last) => last.bytes += bytes,
            None => {
                let before = self.0.last().map_or(0, |last| last.before + last.bytes);
                self.0.push(Extent { offset, bytes, before });
            }
        }
    }

    /// Hands over the bytes of all rows of a segment, a piece at a time.
    ///
    /// # Errors
    /// What the disk says, and what `each` says.
    pub fn each(
        &self,
        segment: &dyn DiskFile,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        for row in &self.0 {
            let mut at = row.offset;
            while at < row.end() {
                let bytes = ((row.end() - at) as usize).min(PIECE_BYTES);
                let into = piece.get_mut(..bytes).unwrap_or_default();
                if read_full(segment, into, u64::from(at))? < bytes {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                each(into)?;
                at += bytes as u32;
            }
        }
        Ok(())
    }

    /// How many rows there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// As a table in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = self.0.iter().flat_map(|it| [it.offset, it.bytes]);
        numbers.flat_map(u32::to_le_bytes).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let mut extents = Self::default();
        for row in bytes.chunks_exact(EXTENT_BYTES) {
            let (offset, bytes) = row.split_at(EXTENT_BYTES / 2);
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
            extents.add(number(offset), number(bytes));
        }
        extents
    }

    /// Reads the table of a file; `None` if it is not what was written.
    ///
    /// # Errors
    /// What the disk says.
    pub fn read(remains: &Remains, file: &dyn DiskFile) -> io::Result<Option<Self>> {
        let at = SEGMENT_HEADER_BYTES as u64;
        // Before so much room is taken as damage could ask for.
        if file.bytes()? < remains.records_at() {
            return Ok(None);
        }
        let mut table = vec![0; (remains.records_at() - at) as usize];
        let read = read_full(file, &mut table, at)?;
        let is_intact = read == table.len() && crc32c::crc32c(&table) == remains.table_sum;
        Ok(is_intact.then(|| Self::from_bytes(&table)))
    }

    /// The first place from an offset on where a record is left.
    pub fn from(&self, offset: u32) -> Option<u32> {
        let next = self.0.partition_point(|extent| extent.end() <= offset);
        self.0.get(next).map(|extent| extent.offset.max(offset))
    }
}

/// The file of such a segment, read as if it was whole.
pub struct Sparse {
    /// The file as it is.
    file: Arc<dyn DiskFile>,
    /// What it holds of the segment.
    extents: Arc<Extents>,
    /// Where in the file the records begin.
    records_at: u64,
    /// Bytes of the segment.
    size: u64,
}

impl Sparse {
    /// The segment in a file.
    pub fn new(
        (file, extents): (Arc<dyn DiskFile>, Arc<Extents>),
        remains: &Remains,
        size: u32,
    ) -> Self {
        Self { file, extents, records_at: remains.records_at(), size: u64::from(size) }
    }
}

impl DiskFile for Sparse {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let room = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let asked = bytes.len().min(room);
        let bytes = bytes.get_mut(..asked).unwrap_or_default();
        bytes.fill(0);
        let end = offset + asked as u64;
        let first = self.extents.0.partition_point(|it| u64::from(it.end()) <= offset);
        let rows = self.extents.0.get(first..).unwrap_or_default();
        let rows = rows.get(..rows.partition_point(|it| u64::from(it.offset) < end));
        let Some(([first, ..], last)) = rows.and_then(|rows| Some((rows, rows.last()?))) else {
            return Ok(asked);
        };
        // One read for all of them: in the file they lie close together.
        let from = u64::from(first.before) + offset.saturating_sub(u64::from(first.offset));
        let to = u64::from(last.before) + end.min(u64::from(last.end())) - u64::from(last.offset);
        let mut packed = vec![0; (to - from) as usize];
        if read_full(self.file.as_ref(), &mut packed, self.records_at + from)? < packed.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut packed = packed.as_slice();
        for row in rows.unwrap_or_default() {
            let start = u64::from(row.offset).max(offset);
            let stop = u64::from(row.end()).min(end);
            let here = (start - offset) as usize..(stop - offset) as usize;
            let (part, rest) = packed.split_at_checked(here.len()).unwrap_or_default();
            let into = bytes.get_mut(here).unwrap_or_default();
            into.iter_mut().zip(part).for_each(|(byte, value)| *byte = *value);
            packed = rest;
        }
        Ok(asked)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}
