//! The views that servers save, and what a crash leaves of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use magnum::projections::store::Store;

use crate::world::World;

/// All keys and values of a tree.
type Image = BTreeMap<sled::IVec, sled::IVec>;

/// Says which generation of the views is read, as in `projections/layout`.
const ROOT: &[u8] = &[0];

/// The tag of a view, after the first byte and the number of its generation.
const VIEW: (usize, u8) = (5, b'v');

/// What one server saves.
pub struct Saved {
    pub store: Arc<Store>,
    /// What was there when it started.
    before: Image,
}

fn image(tree: &sled::Tree) -> Image {
    tree.iter().map(|entry| entry.expect("an entry")).collect()
}

impl Saved {
    /// For a server that starts.
    pub fn new(world: &World) -> Self {
        let (db, views) = (world.trees.db.clone(), world.trees.views.clone());
        let before = image(&views);
        Self { store: Arc::new(Store::over(db, views)), before }
    }

    /// The server is dead. Sled keeps what was written up to some moment: all of it, nothing since
    /// the start, or some views without the checkpoint that comes after them.
    pub fn end(self, world: &World) {
        self.store.close();
        let tree = &world.trees.views;
        let after = image(tree);
        let is_same_generation = self.before.get(ROOT) == after.get(ROOT);
        let left = match world.below(5) {
            0 => Image::new(),
            1 => self.before,
            2 if is_same_generation => {
                let mut left = self.before;
                let (at, tag) = VIEW;
                let views = after.into_iter().filter(|(key, _)| key.get(at) == Some(&tag));
                left.extend(views.filter(|_| world.one_in(2)));
                left
            }
            _ => return,
        };
        tree.clear().expect("cleared");
        for (key, value) in left {
            tree.insert(key, value).expect("inserted");
        }
    }
}
