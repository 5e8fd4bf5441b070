//! What the actors may ask of the read models.
//!
//! Not here: what they ask it for (`actors/cascade`, `actors/comparison`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::actors::cascade::{Members, Orphan};
use crate::actors::comparison::Records;
use crate::blocking;
use crate::events::EventType;
use crate::events::container::Status;
use crate::events::log::EventLog;
use crate::ids::{Kind, ObjectId, ProjectId, Revision, StreamId};
use crate::projections::View;
use crate::projections::bay::BayView;
use crate::projections::container::ContainerView;
use crate::projections::pod::PodView;
use crate::projections::service_reads::ServiceReads;
use crate::with_noun;

/// What the actors may ask of the read models, brought up to the log's head first.
#[derive(Clone)]
pub struct Views {
    /// What they are brought up to.
    pub log: Arc<dyn EventLog>,
    /// The read models.
    pub reads: ServiceReads,
}

impl Views {
    async fn fresh(&self) -> Result<(), String> {
        let head = *self.log.head().borrow();
        let wait = Duration::from_secs(5);
        self.reads.wait_for(head, wait).await.map(drop).map_err(|error| error.to_string())
    }

    /// What `pick` takes of all objects of a noun.
    async fn picked<V: View, T: Send + 'static>(
        &self,
        pick: impl Fn(V) -> Option<T> + Send + 'static,
    ) -> Result<Vec<T>, String> {
        self.fresh().await?;
        let reads = self.reads.clone();
        let scan = move || {
            let mut found = vec![];
            reads.each(|view: V| found.extend(pick(view))).map(|()| found)
        };
        blocking::run(scan).await?.map_err(|error| error.to_string())
    }

    /// A member that is there and was certainly made in a bay of its own project, which is gone
    /// or going. Whose a bay was that is gone only the log says, until its events are archived.
    fn orphan(&self, member: StreamId, bay_id: ObjectId) -> Result<Option<Orphan>, String> {
        let Some(own_project) = self.project_of(member)? else { return Ok(None) };
        let bay = StreamId::new(Kind::Bay, bay_id);
        let event = |revision| {
            let found = self.log.read_stream(bay, revision, 1).map_err(|error| error.to_string());
            found.map(|mut found| found.pop())
        };
        let project = event(Revision(0))?.map(|event| event.meta.project);
        if project != Some(own_project) {
            return Ok(None);
        }
        let last = self.log.stream_head(bay).map_err(|error| error.to_string())?;
        let last = last.map(event).transpose()?.flatten();
        let abandoned = EventType::known("bay.abandoned");
        let is_abandoned = last.is_some_and(|event| event.event_type == abandoned);
        Ok(Some(Orphan { member, bay_id, is_abandoned }))
    }

    /// Whose an object is that is there.
    fn project_of(&self, member: StreamId) -> Result<Option<ProjectId>, String> {
        let Some(kind) = member.kind.noun() else { return Ok(None) };
        let found = with_noun!(kind, view V => {
            self.reads.any::<V>(member.id).map(|view| view.map(|view: V| view.head.project))
        });
        found.map_err(|error| error.to_string())
    }
}

/// The nouns whose objects are in bays.
const MEMBERS: [Kind; 2] = [Kind::Container, Kind::Pod];

/// Members of a bay that are asked for at once.
const MEMBERS_PAGE: usize = 1_000;

/// An object with the bay that it is in.
fn in_bay<V: View>(view: V) -> Option<(StreamId, ObjectId)> {
    let stream = StreamId::new(V::KIND, view.head().uuid);
    view.bay().map(|bay_id| (stream, bay_id))
}

#[async_trait]
impl Members for Views {
    async fn of(&self, project: &ProjectId, bay_id: ObjectId) -> Result<Vec<StreamId>, String> {
        self.fresh().await?;
        let mut all = vec![];
        for kind in MEMBERS {
            let mut last = None;
            loop {
                let page = self.reads.members(kind, project, bay_id, last, MEMBERS_PAGE);
                let page = page.map_err(|error| error.to_string())?;
                all.extend(page.iter().map(|id| StreamId::new(kind, *id)));
                last = page.last().copied();
                if page.len() < MEMBERS_PAGE {
                    break;
                }
            }
        }
        Ok(all)
    }

    async fn has_bay(&self, project: &ProjectId, bay_id: ObjectId) -> Result<bool, String> {
        self.fresh().await?;
        let bay = self.reads.get::<BayView>(project, bay_id).map_err(|error| error.to_string())?;
        Ok(bay.is_some_and(|bay| bay.status.takes_members()))
    }

    async fn orphans(&self) -> Result<Vec<Orphan>, String> {
        // The members before the bays: a bay is recorded before what is in it.
        let mut orphans = self.picked(in_bay::<ContainerView>).await?;
        orphans.extend(self.picked(in_bay::<PodView>).await?);
        // One whose bay is going may have been accepted after that was emptied.
        let bay = |bay: BayView| (!bay.status.is_deleting()).then_some(bay.head.uuid);
        let bays: HashSet<ObjectId> = self.picked(bay).await?.into_iter().collect();
        orphans.retain(|(_, bay_id)| !bays.contains(bay_id));
        let views = self.clone();
        blocking::run(move || {
            let found = orphans.into_iter().map(|(member, bay_id)| views.orphan(member, bay_id));
            found.filter_map(Result::transpose).collect()
        })
        .await?
    }
}

#[async_trait]
impl Records for Views {
    async fn on_node(&self, node_id: ObjectId) -> Result<Vec<(StreamId, Status)>, String> {
        let on_node = move |container: ContainerView| {
            let stream = StreamId::new(Kind::Container, container.head.uuid);
            (container.node_uuid == node_id).then_some((stream, container.status))
        };
        self.picked(on_node).await
    }

    async fn pods_on(&self, node_id: ObjectId) -> Result<Vec<StreamId>, String> {
        let on_node = move |pod: PodView| {
            let stream = StreamId::new(Kind::Pod, pod.head.uuid);
            (pod.node_uuid == node_id).then_some(stream)
        };
        self.picked(on_node).await
    }

    async fn bays_on(&self, node_id: ObjectId) -> Result<HashSet<ObjectId>, String> {
        let on_node = move |bay: BayView| (bay.node_uuid == node_id).then_some(bay.head.uuid);
        Ok(self.picked(on_node).await?.into_iter().collect())
    }
}
