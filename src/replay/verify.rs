//! Whether the caches agree with the log: read models and snapshots, compared with a fold of
//! everything by this build.
//!
//! The comparison ends at the first difference. Caches can always be rebuilt from the log.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::fields::{self, FieldChange};
use super::{ReplayError, Source, object, state};
use crate::actors::snapshot::Snapshots;
use crate::each_noun;
use crate::ids::{ObjectId, Position, StreamId};
use crate::projections::View;
use crate::projections::as_of::{self, SystemState};
use crate::projections::offline::OfflineViews;
use crate::projections::service_reads::ServiceReads;
use crate::projections::store;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Verified {
    /// The position that was compared at.
    pub position: u64,
    /// How many objects of the read models were compared.
    pub objects: u64,
    /// How many snapshots were compared.
    pub snapshots: u64,
    /// Objects with an event that this build cannot apply, which the read models leave alone.
    pub parked: Vec<String>,
    /// The first difference; null if all is as the log says.
    pub difference: Option<Difference>,
}

/// Something that is not what the log says.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Difference {
    /// `read model` or `snapshot`.
    pub kept: String,
    /// `container/` and its uuid.
    pub object: String,
    /// The position that it was compared at.
    pub position: u64,
    /// Each field: from what is kept, to what the log says.
    pub fields: Vec<FieldChange>,
}

/// What is kept beside a log. Cheap to clone where a server has it open.
#[derive(Clone)]
pub struct Kept {
    views: KeptViews,
    snapshots: Snapshots,
}

#[derive(Clone)]
enum KeptViews {
    Live(ServiceReads),
    Files(Arc<OfflineViews>),
}

impl Kept {
    /// What a server has open.
    pub const fn live(reads: ServiceReads, snapshots: Snapshots) -> Self {
        Self { views: KeptViews::Live(reads), snapshots }
    }

    /// What is in a data directory that no server uses.
    ///
    /// # Errors
    /// When there is nothing, a server has it, or it cannot be read.
    pub fn folder(data: &Path) -> Result<Self, ReplayError> {
        let cache = data.join("cache");
        let unusable = |error: store::OpenError| {
            ReplayError::Invalid(format!(
                "{error}. Without --data, `magnum replay verify` asks a running server to \
                 compare itself."
            ))
        };
        let Some(views) = OfflineViews::open(&cache.join("views")).map_err(unusable)? else {
            return Err(ReplayError::Invalid(format!(
                "{} contains no read models yet; a server builds them when it starts.",
                cache.display()
            )));
        };
        let snapshots = store::open_existing(&cache.join("log")).map_err(unusable)?;
        let snapshots = snapshots.open_tree("snapshots");
        let snapshots = snapshots.map_err(|error| ReplayError::Internal(error.to_string()))?;
        Ok(Self { views: KeptViews::Files(Arc::new(views)), snapshots: Snapshots::new(snapshots) })
    }

    fn position(&self) -> Position {
        match &self.views {
            KeptViews::Live(reads) => reads.stats().position,
            KeptViews::Files(stored) => stored.position(),
        }
    }

    /// All objects of a noun.
    fn all<V: View>(&self) -> Result<HashMap<ObjectId, V>, ReplayError> {
        let mut rows = HashMap::new();
        let see = |view: V| {
            rows.insert(view.head().uuid, view);
        };
        match &self.views {
            KeptViews::Live(reads) => reads.each(see).map_err(|error| error.to_string()),
            KeptViews::Files(stored) => stored.each(see),
        }
        .map_err(ReplayError::Internal)?;
        Ok(rows)
    }
}

/// Folds everything and compares; the log of a server may go on meanwhile.
///
/// # Errors
/// When the log or what is kept cannot be read.
pub fn verify(source: &Source, kept: &Kept) -> Result<Verified, ReplayError> {
    let position = kept.position();
    if position > source.head() {
        return Err(ReplayError::Invalid(format!(
            "the read models are at position {position}, but the log ends at {}: they belong to \
             another log. A server rebuilds them when it starts.",
            source.head()
        )));
    }
    let system = SystemState::as_of(source.log(), position)?;
    let mut found = Verified { position: position.get(), ..Verified::default() };
    found.parked = system.parked.keys().map(ToString::to_string).collect();
    each_noun!(view V => if found.difference.is_none() {
        found.difference = views::<V>(source, kept, &system, &mut found.objects)?;
    });
    if found.difference.is_none() {
        found.difference = snapshots(source, kept, &mut found.snapshots)?;
    }
    Ok(found)
}

/// The first object of a noun whose row is not what the log says.
fn views<V: View>(
    source: &Source,
    kept: &Kept,
    system: &SystemState,
    compared: &mut u64,
) -> Result<Option<Difference>, ReplayError> {
    let rows = kept.all::<V>()?;
    let folded = system.views.of::<V>();
    *compared += rows.len() as u64;
    let mut ids: Vec<&ObjectId> = rows.keys().chain(folded.keys()).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let (row, view) = (rows.get(id), folded.get(id));
        if row == view || moved_on::<V>(source, kept, system.position, *id, row)? {
            continue;
        }
        let json = |view: Option<&V>| serde_json::to_value(view).unwrap_or_default();
        return Ok(Some(Difference {
            kept: "read model".to_owned(),
            object: StreamId::new(V::KIND, *id).to_string(),
            position: system.position.get(),
            fields: fields::compare(&json(row), &json(view)),
        }));
    }
    Ok(None)
}

/// Whether a row is ahead of the position that was folded to, and what the log says there.
fn moved_on<V: View>(
    source: &Source,
    kept: &Kept,
    at: Position,
    id: ObjectId,
    row: Option<&V>,
) -> Result<bool, ReplayError> {
    let now = row.map_or_else(|| kept.position(), |row| row.head().position);
    if now <= at {
        return Ok(false);
    }
    let told = as_of::any_view::<V>(source.log(), id, now);
    Ok(told.is_ok_and(|told| told.as_ref() == row))
}

/// The first snapshot that is not what the log says.
fn snapshots(
    source: &Source,
    kept: &Kept,
    compared: &mut u64,
) -> Result<Option<Difference>, ReplayError> {
    for stream in kept.snapshots.streams() {
        let Some((kept, place)) = object::new(stream).kept(stream, &kept.snapshots) else {
            continue;
        };
        let (folded, last) = state::fold(source, stream, place.position)?;
        if last.is_none_or(|last| last.id != place.event_id) {
            // Of another log; it is not used.
            continue;
        }
        *compared += 1;
        let told: Value = folded.state();
        if kept != told {
            return Ok(Some(Difference {
                kept: "snapshot".to_owned(),
                object: stream.to_string(),
                position: place.position.get(),
                fields: fields::compare(&kept, &told),
            }));
        }
    }
    Ok(None)
}
