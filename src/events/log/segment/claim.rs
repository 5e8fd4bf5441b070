//! The epoch: which start of a writer a log has seen, and whether the folder is a copy.
//!
//! The file `writer` stores it; records repeat the epoch, so losing the file loses nothing. Not
//! here: the lock (`lock.rs`), which excludes other living processes.

use std::io;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::disk::{Disk, read_full, write_all};

const NAME: &str = "writer";
const UNFINISHED: &str = "writer.new";

/// Most bytes of the file: three numbers and a uuid in JSON take about 120.
const MOST_BYTES: usize = 4096;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The data directory.
    pub folder: Uuid,
    /// Which opening of the log this is, from 1.
    pub epoch: u32,
    /// The inode of the folder: a copy has another one.
    pub inode: u64,
}

impl Claim {
    /// What the folder says; `None` if it says nothing that can be read.
    pub fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let file = match disk.open(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; MOST_BYTES];
        let read = read_full(file.as_ref(), &mut bytes, 0)
            .map_err(|error| io::Error::new(error.kind(), format!("{NAME}: {error}")))?;
        bytes.truncate(read);
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Says it, durably.
    pub fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let bytes = serde_json::to_vec(self)?;
        let file = disk.create(UNFINISHED)?;
        write_all(file.as_ref(), &bytes, 0)?;
        file.sync()?;
        disk.rename(UNFINISHED, NAME)?;
        disk.sync_names()
    }
}
