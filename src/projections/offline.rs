//! The read models as they are on the disk, while no server has them: to be compared with the log.
//!
//! Nothing is rebuilt and nothing moved aside. Not here: the comparison (`replay`).

use std::path::Path;

use sled::Tree;

use super::View;
use super::layout::{self, Keys};
use super::query::Parked;
use super::store::{self, OpenError};
use crate::events::codec::decode;
use crate::ids::Position;

/// The generation that queries were answered from last.
pub struct OfflineViews {
    tree: Tree,
    keys: Keys,
    position: Position,
    parked: Vec<Parked>,
}

impl OfflineViews {
    /// Opens the read models in a folder; `None` if there are none yet.
    ///
    /// # Errors
    /// When a server has them, or they cannot be read.
    pub fn open(path: &Path) -> Result<Option<Self>, OpenError> {
        let read = |error: String| OpenError { path: path.display().to_string(), reason: error };
        let db = store::open_existing(path)?;
        let tree = db.open_tree("views").map_err(|error| read(error.to_string()))?;
        let found = layout::live(&tree);
        let found = found.map_err(|_| read("the checkpoint cannot be read".to_owned()))?;
        let Some((keys, at)) = found else { return Ok(None) };
        let parked = tree.scan_prefix(keys.parked()).map(|record| {
            let (_, bytes) = record.map_err(|error| read(error.to_string()))?;
            decode(&bytes).map_err(read)
        });
        let parked = parked.collect::<Result<_, _>>()?;
        Ok(Some(Self { tree, keys, position: at.position, parked }))
    }

    /// Up to where they are.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Streams with an event that cannot be applied.
    pub fn parked(&self) -> &[Parked] {
        &self.parked
    }

    /// Goes through all objects of a noun.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn each<V: View>(&self, mut see: impl FnMut(V)) -> Result<(), String> {
        for entry in self.tree.scan_prefix(self.keys.views(V::KIND)) {
            let (_, bytes) = entry.map_err(|error| error.to_string())?;
            see(decode(&bytes)?);
        }
        Ok(())
    }
}
