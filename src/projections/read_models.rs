//! Queries of a tenant on the current views: one object of a project by id or name, pages of a
//! list, and waiting until the views have reached a position.
//!
//! Nothing here names an object of another project (rule T2). Not here: what the service itself
//! asks (`service_reads`); how a page is found (`list`); views as of an earlier position (`as_of`).

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::View;
use super::bay::BayView;
use super::field::ListField;
use super::node::NodeView;
use super::query::{ListPage, ListQuery, Parked, QueryError, Stats};
use super::state::ReadModelState;
use crate::events::codec::decode;
use crate::ids::{Kind, ObjectId, Position, ProjectId, StreamId, WorkId};

/// Which one of the objects with a name is meant by it: the only one that is not being deleted, or
/// the only one.
fn meant<V: View>(named: &mut dyn Iterator<Item = Result<V, QueryError>>) -> Result<V, QueryError> {
    let (mut stays, mut goes) = (None, None);
    let mut go = 0;
    for view in named {
        let view = view?;
        if view.is_deleting() {
            (goes, go) = (Some(view), go + 1);
        } else if stays.replace(view).is_some() {
            return Err(QueryError::Ambiguous);
        }
    }
    match (stays, goes) {
        (Some(one), _) => Ok(one),
        (None, Some(one)) if go == 1 => Ok(one),
        (None, Some(_)) => Err(QueryError::Ambiguous),
        (None, None) => Err(QueryError::NotFound),
    }
}

/// Views copied under one lock while all of them are visited: 50 us.
const EACH: usize = 512;

/// Answers queries from the read models. Cheap to clone.
///
/// Answers come from memory, so calling from async code is fine.
#[derive(Clone)]
pub struct ReadModels {
    pub(super) shared: Arc<ReadModelState>,
}

impl ReadModels {
    /// An object of a project by id; `None` where it has no such object.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn get<V: View>(&self, project: &ProjectId, id: ObjectId) -> Result<Option<V>, QueryError> {
        let bytes = self.bytes::<V>(id)?;
        let view = bytes.map(|bytes| decode::<V>(&bytes).map_err(QueryError::Unreadable));
        Ok(view.transpose()?.filter(|view| view.head().project == *project))
    }

    pub(super) fn bytes<V: View>(&self, id: ObjectId) -> Result<Option<Arc<[u8]>>, QueryError> {
        self.shared.read(|tables| tables.table(V::KIND).get(id).cloned())
    }

    /// An object of a project by uuid or name; a node by its host's.
    ///
    /// # Errors
    /// [`QueryError::NotFound`], [`QueryError::Ambiguous`], or nothing can be read.
    pub fn find<V: View>(&self, project: &ProjectId, ident: &str) -> Result<V, QueryError> {
        // Only the canonical form is a uuid; anything else is a name.
        let uuid = ident.parse::<ObjectId>().ok().filter(|id| id.to_string() == ident);
        if let Some(id) = uuid
            && let Some(view) = self.get::<V>(project, id)?
        {
            return Ok(view);
        }
        let name = ListField::named::<V>("name")
            .or_else(|| ListField::named::<V>("host"))
            .ok_or(QueryError::NotFound)?;
        let value = name.value::<V>(ident).ok_or(QueryError::NotFound)?;
        self.shared.read(|tables| {
            let table = tables.table(V::KIND);
            let named = table.order(project, name).of(&value, None);
            let views = named.filter_map(|created| table.row(created));
            let mut views = views.map(|bytes| decode(bytes).map_err(QueryError::Unreadable));
            meant(&mut views)
        })?
    }

    /// A page of a project's objects, whatever their size.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn list<V: View>(
        &self,
        project: &ProjectId,
        query: &ListQuery,
    ) -> Result<Vec<V>, QueryError> {
        self.list_within(project, query, usize::MAX).map(|page| page.views)
    }

    /// A page of a project's objects that ends with the one that reaches so many bytes.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn list_within<V: View>(
        &self,
        project: &ProjectId,
        query: &ListQuery,
        bytes: usize,
    ) -> Result<ListPage<V>, QueryError> {
        super::list::page(&self.shared, project, query, bytes)
    }

    /// How many objects of a project have a value in a field.
    ///
    /// # Errors
    /// [`QueryError::UnknownFilter`], or nothing can be read.
    pub fn count<V: View>(
        &self,
        project: &ProjectId,
        field: &str,
        value: &str,
    ) -> Result<u64, QueryError> {
        let known = ListField::named::<V>(field)
            .ok_or_else(|| QueryError::UnknownFilter(field.to_owned()))?;
        let Some(value) = known.value::<V>(value) else { return Ok(0) };
        self.shared.read(|tables| tables.table(V::KIND).order(project, known).count(&value))
    }

    /// All nodes of the service's own project, in the order of their ids: every tenant's work is
    /// placed on them.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn nodes(&self) -> Result<Vec<NodeView>, QueryError> {
        let mut nodes = Vec::new();
        self.each(|node: NodeView| nodes.push(node))?;
        nodes.retain(|node| node.head.project == ProjectId::default());
        Ok(nodes)
    }

    /// How many bays a node holds, of all projects.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn bays_on(&self, node_id: ObjectId) -> Result<u64, QueryError> {
        let mut bays = 0;
        self.each(|bay: BayView| bays += u64::from(bay.node_uuid == node_id))?;
        Ok(bays)
    }

    /// Visits all objects of a noun, whatever their project, in the order of their ids.
    pub(super) fn each<V: View>(&self, mut see: impl FnMut(V)) -> Result<(), QueryError> {
        let mut last = None;
        loop {
            let piece = self.shared.read(|tables| -> Vec<(ObjectId, Arc<[u8]>)> {
                let views = tables.table(V::KIND).after(last).take(EACH);
                views.map(|(id, bytes)| (id, Arc::clone(bytes))).collect()
            })?;
            let Some((id, _)) = piece.last() else { return Ok(()) };
            last = Some(*id);
            piece.iter().filter_map(|(_, bytes)| decode(bytes).ok()).for_each(&mut see);
        }
    }

    /// Where and why an object that was found is parked; `None` if it is not.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn parked_at<V: View>(&self, found: &V) -> Result<Option<Parked>, QueryError> {
        let stream = StreamId::new(V::KIND, found.head().uuid);
        self.shared.read(|tables| tables.parked().get(&stream).cloned())
    }

    /// How the read models are.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let health = shared.health.read().unwrap_or_else(PoisonError::into_inner).clone();
        let position = *shared.position.borrow();
        let counted = shared.read(|tables| {
            let objects = Kind::ALL.into_iter().map(|kind| (kind, tables.table(kind).len()));
            let waiting = Kind::ALL.into_iter().map(|kind| tables.table(kind).waiting_len()).sum();
            (objects.collect(), tables.parked().len() as u64, waiting)
        });
        let (objects, parked, waiting) = counted.unwrap_or_default();
        Stats {
            position,
            caught_up: shared.is_caught_up(position),
            objects,
            parked,
            waiting,
            rebuilding: health.rebuilding,
            broken_rows: shared.broken_rows.load(Ordering::Relaxed),
            keys_read: shared.keys_read.load(Ordering::Relaxed),
            unhealthy: health.unhealthy,
            saved: Position(shared.saved.load(Ordering::Relaxed)),
            unsaved: health.unsaved,
        }
    }

    /// The position that the views are at, now and whenever it moves.
    pub fn position(&self) -> watch::Receiver<Position> {
        self.shared.position.subscribe()
    }

    /// Waits until the views have reached the log's head of the start. Before that lists are
    /// incomplete, so no query may be answered. [`Stats::unhealthy`] says what prevents it.
    pub async fn caught_up(&self) {
        // The sender lives in `shared`, so this cannot end early.
        let _ = self.position().wait_for(|position| self.shared.is_caught_up(*position)).await;
    }

    /// Where damage of the log keeps the views from being updated until it is repaired, if it does.
    pub fn damage(&self) -> Option<String> {
        self.shared.health.read().unwrap_or_else(PoisonError::into_inner).damage.clone()
    }

    /// Waits until the views are at a position (rule P5).
    ///
    /// # Errors
    /// [`QueryError::Behind`] when they are not there in time.
    pub async fn wait_for(
        &self,
        position: Position,
        timeout: Duration,
    ) -> Result<Position, QueryError> {
        let mut at = self.position();
        let is_there = |at: &Position| *at >= position && self.shared.is_open();
        let reached = tokio::time::timeout(timeout, at.wait_for(is_there)).await;
        match reached {
            Ok(Ok(at)) => Ok(*at),
            _ => Err(QueryError::Behind { at: *self.shared.position.borrow(), wanted: position }),
        }
    }

    /// Waits until an object of a project no longer waits for a piece of work, which was asked for
    /// by the event at `asked`.
    ///
    /// Some: the object, with the outcome of the work in its outcomes; **after the timeout the
    /// object as it is, with the work still among its tasks**. None: the object is gone.
    ///
    /// # Errors
    /// [`QueryError::Behind`] when the views are not even at `asked` in time.
    pub async fn wait_for_work<V: View>(
        &self,
        project: &ProjectId,
        id: ObjectId,
        work: WorkId,
        asked: Position,
        timeout: Duration,
    ) -> Result<Option<V>, QueryError> {
        let until = Instant::now() + timeout;
        let mut position = self.position();
        self.wait_for(asked, timeout).await?;
        let mut seen = None;
        loop {
            position.mark_unchanged();
            let Some(bytes) = self.bytes::<V>(id)? else { return Ok(None) };
            // Most events meanwhile are about other objects.
            if seen.as_ref() != Some(&bytes) {
                let view: V = decode(&bytes).map_err(QueryError::Unreadable)?;
                if view.head().project != *project {
                    return Ok(None);
                }
                if !view.tasks().iter().any(|task| task.id == work) {
                    return Ok(Some(view));
                }
                seen = Some(bytes);
            }
            if timeout_at(until, position.changed()).await.is_err() {
                return self.get(project, id);
            }
        }
    }
}
