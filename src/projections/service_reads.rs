//! Queries of the service itself, which has work for the objects of all projects.
//!
//! A handle of its own: the REST API has [`ReadModels`] alone, from which nothing leads here, so no
//! request can reach an object without saying whose it is (rule T2). Not here: what a tenant may
//! ask (`read_models`).

use std::ops::Deref;

use super::query::{Parked, QueryError};
use super::read_models::ReadModels;
use super::tables::Tables;
use super::{OfNoun as _, View};
use crate::each_noun;
use crate::events::claim::Name;
use crate::events::codec::decode;
use crate::ids::{Kind, Noun as _, ObjectId, ProjectId, StreamId};

/// The read models as the service sees them. Cheap to clone.
#[derive(Clone)]
pub struct ServiceReads {
    pub(super) reads: ReadModels,
}

impl Deref for ServiceReads {
    type Target = ReadModels;

    fn deref(&self) -> &ReadModels {
        &self.reads
    }
}

impl ServiceReads {
    /// What the REST API gets.
    pub fn for_tenants(&self) -> ReadModels {
        self.reads.clone()
    }

    /// An object by id, whatever its project.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn any<V: View>(&self, id: ObjectId) -> Result<Option<V>, QueryError> {
        let bytes = self.reads.bytes::<V>(id)?;
        bytes.map(|bytes| decode(&bytes).map_err(QueryError::Unreadable)).transpose()
    }

    /// Objects of a noun in a project's bay: at most `limit`, in the order of their ids, after one
    /// of them.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn members(
        &self,
        kind: Kind,
        project: &ProjectId,
        bay: ObjectId,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<ObjectId>, QueryError> {
        let members = |tables: &Tables| {
            tables.table(kind).members(project, bay, after.as_ref()).take(limit).collect()
        };
        self.reads.shared.read(members)
    }

    /// Visits all objects of a noun, whatever their project, in the order of their ids. Blocks for
    /// about a microsecond per object.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn each<V: View>(&self, see: impl FnMut(V)) -> Result<(), QueryError> {
        self.reads.each(see)
    }

    /// Visits the names of all objects that are not being deleted, whatever their project.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn names(&self, mut see: impl FnMut(StreamId, Name)) -> Result<(), QueryError> {
        each_noun!(view V => self.each(|view: V| {
            if let Some(name) = view.field("name").filter(|_| !view.is_deleting()) {
                let head = view.head();
                let name = Name::new(V::KIND, &head.project, view.bay(), &name);
                see(StreamId::new(V::KIND, head.uuid), name);
            }
        })?);
        Ok(())
    }

    /// Objects that wait for work: what has to be resumed after a restart.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn outstanding(&self) -> Result<Vec<StreamId>, QueryError> {
        self.reads.shared.read(|tables| {
            let of = |kind| tables.table(kind).waiting().map(move |id| StreamId::new(kind, id));
            Kind::ALL.into_iter().flat_map(of).collect()
        })
    }

    /// Streams with an event that cannot be applied.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn parked(&self) -> Result<Vec<Parked>, QueryError> {
        self.reads.shared.read(|tables| tables.parked().values().cloned().collect())
    }
}
