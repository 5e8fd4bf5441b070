//! Snapshots: cached states, so that an object with many events loads quickly (rule E5).
//!
//! A snapshot that is missing, damaged, or from another log, schema or version of the code is not
//! used. Not here: folding (`aggregate`).

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Entity;
use super::naming::Naming;
use crate::events::codec;
use crate::ids::{EventId, Position, Revision, StreamId};

/// Files of this crate by their path below `src`, with their text: those in brackets, and those of
/// each noun.
macro_rules! sources {
    ([$($path:literal),* $(,)?] $($(#[$doc:meta])* $byte:literal $module:ident $Noun:ident
        $collection:literal $Event:ty, $Entity:ty, $View:ty;)*) => {
        &[
            $(sources!(@file $path),)*
            $(sources!(@file concat!("actors/", stringify!($module), ".rs")),)*
            $(sources!(@file concat!("events/", stringify!($module), ".rs")),)*
        ]
    };
    (@file $path:expr) => { ($path, include_str!(concat!("../", $path))) };
}

/// Events after the last snapshot before the next one is worth its write: loading that many
/// takes about as long as one read.
pub const EVERY: u64 = 100;

/// Where a state was folded to: the last event in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPoint {
    /// Its place in its stream.
    pub revision: Revision,
    /// Its place in the log.
    pub position: Position,
    /// Its id, which a log that was restored from a backup and went another way does not have.
    pub event_id: EventId,
    /// The latest id among all events up to it.
    pub latest_id: EventId,
}

/// Where snapshots are kept; cheap to clone. Without a tree nothing is kept.
#[derive(Clone, Default)]
pub struct Snapshots {
    tree: Option<sled::Tree>,
}

impl Snapshots {
    /// Keeps snapshots in a tree that may be lost at any time.
    pub const fn new(tree: sled::Tree) -> Self {
        Self { tree: Some(tree) }
    }

    /// The last state that was kept, if it has this program's schema and this code folded it.
    pub fn load<E: Entity>(&self, stream: StreamId) -> Option<(E::State, Naming, SnapshotPoint)> {
        let bytes = self.tree.as_ref()?.get(stream.to_bytes()).ok()??;
        let (sum, kept) = bytes.split_at_checked(blake3::OUT_LEN)?;
        if sum != sealed::<E>(kept).as_bytes() {
            return None;
        }
        codec::decode(kept).ok()
    }

    /// The objects that have one.
    pub fn streams(&self) -> Vec<StreamId> {
        let keys = self.tree.iter().flat_map(|tree| tree.iter().keys());
        keys.filter_map(|key| StreamId::from_bytes(key.ok()?.first_chunk()?)).collect()
    }

    /// Keeps a state; failing to do so loses nothing.
    pub fn save<E: Entity>(
        &self,
        stream: StreamId,
        (state, naming): (&E::State, &Naming),
        place: SnapshotPoint,
    ) {
        let Some(tree) = &self.tree else { return };
        let kept = codec::encode(&(state, naming, place));
        let mut bytes = sealed::<E>(&kept).as_bytes().to_vec();
        bytes.extend(kept);
        if let Err(error) = tree.insert(stream.to_bytes(), bytes) {
            tracing::debug!(%stream, %error, "snapshot not saved");
        }
    }
}

/// The checksum of a state, which also covers what it means: see [`form`].
fn sealed<E: Entity>(kept: &[u8]) -> blake3::Hash {
    blake3::keyed_hash(&form::<E>(), kept)
}

/// The code that folds events, and what it uses. A test compares the list with the folders.
const SOURCES: &[(&str, &str)] = crate::noun_table! { sources [
    "actors/aggregate.rs",
    "actors/audit.rs",
    "actors/cascade.rs",
    "actors/comparison.rs",
    "actors/container_run.rs",
    "actors/container_state.rs",
    "actors/container_work.rs",
    "actors/directory.rs",
    "actors/drift.rs",
    "actors/entity.rs",
    "actors/followed.rs",
    "actors/latest.rs",
    "actors/lifecycle/effect.rs",
    "actors/lifecycle/mod.rs",
    "actors/lifecycle/queue.rs",
    "actors/mod.rs",
    "actors/naming.rs",
    "actors/objects.rs",
    "actors/perform.rs",
    "actors/placement.rs",
    "actors/pod_state.rs",
    "actors/reactor.rs",
    "actors/reception.rs",
    "actors/record.rs",
    "actors/recreate.rs",
    "actors/sessions.rs",
    "actors/snapshot.rs",
    "actors/unrecorded.rs",
    "backends/action.rs",
    "backends/observed.rs",
    "backends/work.rs",
    "events/abandoned.rs",
    "events/audit.rs",
    "events/claim.rs",
    "events/cloudevent.rs",
    "events/codec.rs",
    "events/container_change.rs",
    "events/container_spec.rs",
    "events/envelope.rs",
    "events/mark.rs",
    "events/status.rs",
    "events/mod.rs",
    "events/newest.rs",
    "events/run.rs",
    "events/schema.rs",
    "events/signal.rs",
    "events/subscription.rs",
    "events/upcast.rs",
    "events/work.rs",
    "ids.rs",
] };

/// What a state of a noun means: the schema of the state, and the code that folds it. Bytes are
/// positional, so another schema would read other values from them; changed code may fold the same
/// events to another state. Any change of either makes the snapshots worthless.
fn form<E: Entity>() -> [u8; blake3::OUT_LEN] {
    static KNOWN: Mutex<Option<HashMap<TypeId, [u8; blake3::OUT_LEN]>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known.get_or_insert_default().entry(TypeId::of::<E>()).or_insert_with(|| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&schema::<E::State>());
        for (_, text) in SOURCES {
            hasher.update(text.as_bytes());
        }
        *hasher.finalize().as_bytes()
    })
}

/// A hash of what a type and the types in it consist of.
fn schema<T: ToSchema>() -> [u8; blake3::OUT_LEN] {
    let mut named = Vec::new();
    T::schemas(&mut named);
    let all = json!({ "state": T::schema(), "parts": named });
    *blake3::hash(all.to_string().as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A file that is missing here would keep snapshots alive that other code made.
    #[test]
    fn the_sources_are_all_files_that_may_fold_events() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut missing = Vec::new();
        let mut folders = vec![src.join("actors"), src.join("events")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                // The log keeps events as they are.
                if path == src.join("events/log") {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                if !SOURCES.contains(&(&name, &text)) {
                    missing.push(name);
                }
            }
        }
        assert!(missing.is_empty(), "add these to SOURCES: {missing:?}");
    }

    #[test]
    fn the_schema_of_a_state_covers_the_types_in_it() {
        mod first {
            #[derive(utoipa::ToSchema)]
            #[expect(dead_code, reason = "only its schema is looked at")]
            pub struct State {
                tasks: Vec<Task>,
            }
            #[derive(utoipa::ToSchema)]
            #[expect(dead_code, reason = "only its schema is looked at")]
            pub enum Task {
                Stop { grace_s: u32 },
            }
        }
        mod second {
            #[derive(utoipa::ToSchema)]
            #[expect(dead_code, reason = "only its schema is looked at")]
            pub struct State {
                tasks: Vec<Task>,
            }
            #[derive(utoipa::ToSchema)]
            #[expect(dead_code, reason = "only its schema is looked at")]
            pub enum Task {
                Stop { grace_s: u64 },
            }
        }
        assert_eq!(schema::<first::State>(), schema::<first::State>());
        assert_ne!(schema::<first::State>(), schema::<second::State>());
    }
}
