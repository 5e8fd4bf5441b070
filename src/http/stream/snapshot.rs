//! The current state of the matching objects, as of one position, for a reader to continue from.
//!
//! Listing takes a while, and objects change meanwhile. Objects that did not change after the
//! position are sent as listed; those that changed or were deleted since are folded from the log as
//! of the position. So the state at P and the events after P give the state at any later Q.
//! Not here: the events after it (`reader`).

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use super::filter::Filter;
use super::item::Item;
use crate::http::command::blocking;
use crate::http::edge::places::Place;
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::shape::{Representation, Rows, Shown};
use crate::ids::{Kind, ObjectId, Position, StreamId, StreamKind};
use crate::projections::as_of;
use crate::projections::query::{ListQuery, PAGE_BYTES};
use crate::with_noun;

/// Objects that are sent in one go: what a reader that takes nothing makes the service hold.
const PAGE: usize = 100;

/// Events that are read at once.
const EVENTS: usize = 1000;

/// The state at a position, while it is being sent.
pub struct Snapshot {
    state: AppState,
    filter: Arc<Filter>,
    host: String,
    position: Position,
    /// What is listed next, as long as not all nouns are.
    list: Option<(Kind, Option<ObjectId>)>,
    /// What was sent, or was not there at the position: 16 bytes an object.
    told: HashSet<StreamId>,
    /// Changed since the position and not told: looked for once all is listed.
    left: Option<Vec<StreamId>>,
    is_complete: bool,
    _place: Place,
}

impl Snapshot {
    /// The state as the read models have it now.
    pub fn new(state: &AppState, filter: Arc<Filter>, host: String, place: Place) -> Self {
        Self {
            position: *state.reads.position().borrow(),
            state: state.clone(),
            list: following(None, &filter).map(|kind| (kind, None)),
            filter,
            host,
            told: HashSet::new(),
            left: None,
            is_complete: false,
            _place: place,
        }
    }

    /// Up to where the state is; events go on after it.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Whether all of it was given out.
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The next objects, in the end the mark that it is all. May be dropped while it waits.
    ///
    /// # Errors
    /// When the read models or the log cannot be read.
    pub async fn next(&mut self) -> Result<Vec<Item>, ApiError> {
        if let Some((kind, marker)) = self.list {
            let page = with_noun!(kind, view V => self.page::<V>(marker).await)?;
            self.list = match page.last {
                Some(last) => Some((kind, Some(last))),
                None => following(Some(kind), &self.filter).map(|kind| (kind, None)),
            };
            self.told.extend(page.told);
            return Ok(page.items);
        }
        if self.left.is_none() {
            self.left = Some(self.touched().await?);
        }
        let Some(stream) = self.left.as_ref().and_then(|left| left.last().copied()) else {
            self.is_complete = true;
            return Ok(vec![Item::Control("snapshot", Some(self.position), json!({}))]);
        };
        let item = match stream.kind {
            StreamKind::Object(kind) => {
                with_noun!(kind, view V => self.past::<V>(stream.id).await)?
            }
            StreamKind::Audit => None,
        };
        self.left.as_mut().and_then(Vec::pop);
        Ok(item.into_iter().collect())
    }

    /// A page of a noun's list.
    async fn page<V: Shown>(&self, marker: Option<ObjectId>) -> Result<ListedPage, ApiError> {
        let (state, filter, host) = (self.state.clone(), self.filter.clone(), self.host.clone());
        let position = self.position;
        blocking(move || {
            let query = ListQuery { limit: PAGE, marker, ..ListQuery::default() };
            let listed = state.reads.list_within::<V>(&filter.project(), &query, PAGE_BYTES);
            let listed = listed.map_err(|error| ApiError::query(V::KIND, "", error))?;
            let mut page = ListedPage::default();
            if listed.is_full {
                page.last = listed.views.last().map(|view| view.head().uuid);
            }
            for view in listed.views {
                let stream = StreamId::new(V::KIND, view.head().uuid);
                page.told.push(stream);
                let view = if view.head().position > position {
                    as_of::<V>(&state, &filter, stream.id, position)?
                } else {
                    Some(view)
                };
                page.items.extend(view.and_then(|view| object(&filter, &view, &host)));
            }
            Ok(page)
        })
        .await?
    }

    /// What changed since the position and was in no list.
    async fn touched(&self) -> Result<Vec<StreamId>, ApiError> {
        let (log, position) = (self.state.log.clone(), self.position);
        let touched = blocking(move || {
            let (mut streams, mut cursor) = (HashSet::new(), position);
            // Lists show nothing that is not in the log, so up to its end now is far enough.
            let head = *log.head().borrow();
            while cursor < head {
                let page = log.read(cursor, EVENTS)?;
                let Some(last) = page.last() else { break };
                cursor = last.position;
                streams.extend(page.iter().map(|event| event.stream));
            }
            Ok::<_, ApiError>(streams)
        });
        Ok(touched.await??.into_iter().filter(|stream| !self.told.contains(stream)).collect())
    }

    /// An object as of the position, where it was there and is wanted.
    async fn past<V: Shown>(&self, id: ObjectId) -> Result<Option<Item>, ApiError> {
        let (state, filter, position) = (self.state.clone(), self.filter.clone(), self.position);
        let view = blocking(move || as_of::<V>(&state, &filter, id, position)).await??;
        Ok(view.and_then(|view| object(&self.filter, &view, &self.host)))
    }
}

/// A page of a list, as of the position.
#[derive(Default)]
struct ListedPage {
    items: Vec<Item>,
    told: Vec<StreamId>,
    /// Where the list goes on; `None` if this was its end.
    last: Option<ObjectId>,
}

/// The noun after another, or the first, that is wanted.
fn following(after: Option<Kind>, filter: &Filter) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| Some(*kind) > after && filter.wants_kind(*kind))
}

fn as_of<V: Shown>(
    state: &AppState,
    filter: &Filter,
    id: ObjectId,
    position: Position,
) -> Result<Option<V>, ApiError> {
    Ok(as_of::view::<V>(state.log.as_ref(), &filter.project(), id, position)?)
}

/// An object as the reader gets it, where it is wanted: as `GET` shows it.
fn object<V: Shown>(filter: &Filter, view: &V, host: &str) -> Option<Item> {
    let head = view.head();
    let stream = StreamId::new(V::KIND, head.uuid);
    filter.wants_object(stream, view.bay()).then(|| {
        let shown = serde_json::to_value(Representation { view, host, rows: Rows::Detail })
            .unwrap_or_default();
        let fields = json!({
            "subject": stream.to_string(), "revision": head.revision, "object": shown,
        });
        Item::Control("object", None, fields)
    })
}
