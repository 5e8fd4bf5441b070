//! One segment file: its header and its creation.
//!
//! Not here: writing records (`writer.rs`), reading them in sequence and finding one (`scan.rs`).

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::super::chain::Hash;
use super::SEGMENT_HEADER_BYTES;
use super::disk::{Disk, DiskFile, read_full, write_all};
use super::fault::{Damage, Fault};
use super::names::{name, unfinished};
use super::record::Location;
use super::remains::{Extents, Remains, Sparse};
use crate::ids::Position;

/// The first bytes of every segment.
const MAGIC: [u8; 8] = *b"MAGNUMLG";

/// The format of a whole segment.
const WHOLE: u32 = 1;

/// The format of what remains of one, and the newest that this build reads.
pub const FORMAT: u32 = 2;

/// Bytes of the header that every segment has.
const HEADER_BYTES: usize = 96;

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The data directory that it belongs to.
    pub folder: Uuid,
    /// Its number, from 1.
    pub number: u32,
    /// Which opening of the log made it.
    pub epoch: u32,
    /// The position of its first event.
    pub first: Position,
    /// The chain before its first event.
    pub chain: Hash,
    /// The last record of the segment before it; nowhere in the first one.
    pub last_before: Location,
    /// The end of the segment before it.
    pub end_before: u32,
    /// Bytes of its file, or of what was one.
    pub size: u32,
    /// What an archive has left of it; none of a whole one.
    pub remains: Option<Remains>,
}

/// What the header of a segment is not.
#[derive(Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Of a format that this build knows.
    Newer(u32),
    /// A header.
    Damaged(&'static str),
}

impl Header {
    /// As bytes on disk, [`SEGMENT_HEADER_BYTES`] of them.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        let format = self.remains.map_or(WHOLE, |_| FORMAT);
        bytes.extend_from_slice(&format.to_le_bytes());
        let body = self.body();
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend(self.remains.into_iter().flat_map(Remains::to_bytes));
        bytes.resize(SEGMENT_HEADER_BYTES, 0);
        bytes
    }

    fn body(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(80);
        bytes.extend_from_slice(self.folder.as_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.first.get().to_le_bytes());
        bytes.extend_from_slice(&self.chain);
        bytes.extend_from_slice(&self.last_before.to_u64().to_le_bytes());
        bytes.extend_from_slice(&self.end_before.to_le_bytes());
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeaderError> {
        let split = || {
            let (magic, rest) = bytes.split_first_chunk::<8>()?;
            let (format, rest) = rest.split_first_chunk()?;
            let (sum, rest) = rest.split_first_chunk()?;
            Some((magic, u32::from_le_bytes(*format), u32::from_le_bytes(*sum), rest))
        };
        let Some((&MAGIC, format, sum, rest)) = split() else {
            return Err(HeaderError::Damaged("this is not a segment of a log"));
        };
        if format > FORMAT {
            return Err(HeaderError::Newer(format));
        }
        let header = Self::from_body(rest)
            .filter(|header| crc32c::crc32c(&header.body()) == sum && format >= WHOLE);
        let remains = || Remains::from_bytes(bytes.get(HEADER_BYTES..)?);
        header
            .and_then(|header| match format {
                WHOLE => Some(header),
                _ => Some(Self { remains: Some(remains()?), ..header }),
            })
            .ok_or(HeaderError::Damaged("the checksum of the segment's header is wrong"))
    }

    fn from_body(bytes: &[u8]) -> Option<Self> {
        let (folder, bytes) = bytes.split_first_chunk()?;
        let (number, bytes) = bytes.split_first_chunk()?;
        let (epoch, bytes) = bytes.split_first_chunk()?;
        let (first, bytes) = bytes.split_first_chunk()?;
        let (chain, bytes) = bytes.split_first_chunk()?;
        let (last_before, bytes) = bytes.split_first_chunk()?;
        let (end_before, bytes) = bytes.split_first_chunk()?;
        let (size, _) = bytes.split_first_chunk()?;
        Some(Self {
            folder: Uuid::from_bytes(*folder),
            number: u32::from_le_bytes(*number),
            epoch: u32::from_le_bytes(*epoch),
            first: Position(u64::from_le_bytes(*first)),
            chain: *chain,
            last_before: Location::from_u64(u64::from_le_bytes(*last_before)),
            end_before: u32::from_le_bytes(*end_before),
            size: u32::from_le_bytes(*size),
            remains: None,
        })
    }

    /// What the checksums of this segment's records start from.
    pub fn salt(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(self.folder.as_bytes()), &self.number.to_le_bytes())
    }
}

/// A segment's file that says where it cannot be read.
struct Placed {
    number: u32,
    file: Box<dyn DiskFile>,
}

impl DiskFile for Placed {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        read_full(self.file.as_ref(), bytes, offset)
            .map_err(|error| unreadable(self.number, offset, &error))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn links(&self) -> io::Result<u64> {
        self.file.links()
    }
}

/// A read that failed, with its place. It says nothing of what is there.
pub fn unreadable(number: u32, offset: u64, error: &io::Error) -> io::Error {
    let name = name(number);
    let words = format!("segment {number} ({name}), offset {offset} cannot be read: {error}");
    io::Error::new(error.kind(), words)
}

/// A segment that is open for reading, and for writing if it is the last.
pub struct Segment {
    /// Its header.
    pub header: Header,
    /// See [`Header::salt`].
    pub salt: u32,
    /// Its bytes; reads are whole, and one that fails says where.
    pub file: Arc<dyn DiskFile>,
    /// Its file as it lies on the disk, which is something else where an archive has taken events.
    pub stored: Arc<dyn DiskFile>,
    /// Where records are left of it; nowhere in a whole one.
    pub extents: Arc<Extents>,
    /// Known places, in order: position and offset of some records (see `scan.rs`).
    pub places: Mutex<Vec<(u64, u32)>>,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Segment {
    /// A whole segment of an open file whose header was read.
    fn new(header: Header, file: Box<dyn DiskFile>) -> Self {
        let stored: Arc<dyn DiskFile> = Arc::new(Placed { number: header.number, file });
        Self::with(header, Arc::clone(&stored), stored, Arc::default())
    }

    fn with(
        header: Header,
        file: Arc<dyn DiskFile>,
        stored: Arc<dyn DiskFile>,
        extents: Arc<Extents>,
    ) -> Self {
        let places = Mutex::new(vec![(header.first.get(), SEGMENT_HEADER_BYTES as u32)]);
        Self { header, salt: header.salt(), file, stored, extents, places }
    }

    /// The segment in an open file whose header was read; `None` if the file is not all there.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(header: Header, file: Box<dyn DiskFile>) -> io::Result<Option<Self>> {
        let Some(remains) = &header.remains else {
            let is_whole = file.bytes()? >= u64::from(header.size);
            return Ok(is_whole.then(|| Self::new(header, file)));
        };
        let stored: Arc<dyn DiskFile> = Arc::new(Placed { number: header.number, file });
        Ok(Extents::read(remains, stored.as_ref())?.map(|extents| {
            let extents = Arc::new(extents);
            let parts = (Arc::clone(&stored), Arc::clone(&extents));
            let file = Sparse::new(parts, remains, header.size);
            Self::with(header, Arc::new(file), stored, extents)
        }))
    }

    /// Bytes of its file, of which so many were used while it was whole.
    ///
    /// # Errors
    /// What the disk says.
    pub fn stored_bytes(&self, used: u64) -> io::Result<u64> {
        if self.header.remains.is_some() { self.stored.bytes() } else { Ok(used) }
    }

    /// Makes a segment of a prepared file ([`unfinished`], zeros), durable with its name.
    ///
    /// # Errors
    /// What the disk says. The segment may be there after a restart, so it is not tried again.
    pub fn create(disk: &dyn Disk, header: Header, file: Box<dyn DiskFile>) -> io::Result<Self> {
        write_all(file.as_ref(), &header.to_bytes(), 0)?;
        file.sync()?;
        disk.rename(&unfinished(header.epoch), &name(header.number))?;
        disk.sync_names()?;
        Ok(Self::new(header, file))
    }

    /// The first offset from one on where a record can be, though an archive has taken others.
    pub fn next_offset(&self, offset: u32) -> u32 {
        match &self.header.remains {
            None => offset,
            Some(remains) => self.extents.from(offset).unwrap_or(remains.end.max(offset)),
        }
    }

    /// The place behind its last record; `None` if only the next segment or the records tell.
    pub fn end(&self) -> Option<Location> {
        let Remains { end, .. } = self.header.remains?;
        Some(Location { segment: self.header.number, offset: end })
    }

    /// Damage in this segment.
    pub fn damaged(&self, offset: u64, position: u64, what: &str) -> Fault {
        let segment = self.header.number;
        Fault::Damaged(Damage { segment, offset, position, what: what.to_owned() })
    }
}
