//! What the engine has of a pod: its sandbox and its containers, found by their labels each time.
//!
//! Not here: what is done with them (`pod_create`, `pod_start`, `pod_remove`).

use std::collections::HashMap;

use super::super::labels;
use super::super::pods::no_member;
use super::super::{BackendError, ObservedMember, ObservedPod, RunState};
use super::DockerBackend;
use super::lifecycle::missing;
use super::observe::Found;
use crate::ids::{Kind, StreamId};

/// What the engine has of one pod.
#[derive(Default)]
pub(super) struct PodParts {
    /// What holds the namespaces.
    pub(super) sandbox: Option<Found>,
    /// Its containers in the order of the manifest.
    pub(super) members: Vec<Found>,
}

impl PodParts {
    /// Of several for one place the one with our name counts: somebody may have copied labels.
    fn add(&mut self, found: Found) {
        let place = |one: &Found| one.place.as_ref().map(|place| (place.order, place.name.clone()));
        let Some(key) = place(&found) else {
            if found.observed.name_is_ours || self.sandbox.is_none() {
                self.sandbox = Some(found);
            }
            return;
        };
        match self.members.binary_search_by_key(&Some(key), place) {
            Err(at) => self.members.insert(at, found),
            Ok(at) => {
                if let Some(known) =
                    self.members.get_mut(at).filter(|_| found.observed.name_is_ours)
                {
                    *known = found;
                }
            }
        }
    }

    /// The container of this name.
    pub(super) fn member(&self, name: &str) -> Option<&Found> {
        self.members.iter().find(|one| one.place.as_ref().is_some_and(|it| it.name == name))
    }

    /// What is told of it; nothing if there is nothing.
    pub(super) fn observed(self) -> Option<ObservedPod> {
        let first = self.sandbox.as_ref().or(self.members.first())?;
        let (work_id, engine_name) = (first.work_id, first.observed.engine_name.clone());
        let is_up = self.sandbox.as_ref().is_some_and(is_up);
        let sandbox = self.sandbox.map(|sandbox| (sandbox.observed.engine_id, sandbox.run.address));
        // Without a sandbox the containers are still there to be removed.
        let (engine_id, address) = sandbox.unwrap_or_default();
        let containers = self.members.into_iter().filter_map(|found| {
            let place = found.place?;
            let (name, is_init) = (place.name, place.is_init);
            Some(ObservedMember { name, is_init, observed: found.observed })
        });
        let address = address.filter(|_| is_up);
        let containers = containers.collect();
        Some(ObservedPod { engine_id, engine_name, work_id, is_up, address, containers })
    }
}

/// Whether a sandbox holds its namespaces: those of a frozen process are there.
pub(super) fn is_up(sandbox: &Found) -> bool {
    matches!(sandbox.observed.state, RunState::Running | RunState::Paused)
}

/// The pods of these, without other containers.
pub(super) fn pods(found: Vec<Found>) -> Vec<(StreamId, ObservedPod)> {
    let mut pods: HashMap<StreamId, PodParts> = HashMap::new();
    for one in found {
        if let Some(stream) = one.stream.filter(|stream| stream.kind == Kind::Pod) {
            pods.entry(stream).or_default().add(one);
        }
    }
    pods.into_iter().filter_map(|(stream, parts)| Some((stream, parts.observed()?))).collect()
}

impl DockerBackend {
    /// What the engine has of a pod, and how its containers ended so far.
    pub(super) async fn observe_pod(
        &self,
        stream: StreamId,
    ) -> Result<Option<ObservedPod>, BackendError> {
        let found = self.with_ends(self.all_of_pod(stream).await?).await?;
        Ok(parts(found).observed())
    }

    /// What the engine has of a pod.
    pub(super) async fn pod(&self, stream: StreamId) -> Result<PodParts, BackendError> {
        self.all_of_pod(stream).await.map(parts)
    }

    /// Every container with a pod's labels: its sandbox too.
    pub(super) async fn all_of_pod(&self, stream: StreamId) -> Result<Vec<Found>, BackendError> {
        self.look_at_all(&[(labels::POD, stream.id.to_string())]).await
    }

    /// The container of an object; of a pod that of this name in the manifest, without one the
    /// first that does not initialise it.
    pub(super) async fn find_one(
        &self,
        stream: StreamId,
        name: Option<&str>,
    ) -> Result<Found, BackendError> {
        if stream.kind != Kind::Pod {
            return self.find(stream).await?.ok_or_else(|| missing(stream));
        }
        let mut members = self.pod(stream).await?.members;
        if members.is_empty() {
            return Err(missing(stream));
        }
        let is_wanted = |found: &Found| {
            let place = found.place.as_ref();
            place.is_some_and(|place| name.map_or(!place.is_init, |name| place.name == name))
        };
        match members.iter().position(is_wanted) {
            Some(at) => Ok(members.swap_remove(at)),
            None => Err(no_member(name, members.iter().filter_map(|one| one.place.as_ref()))),
        }
    }
}

fn parts(found: Vec<Found>) -> PodParts {
    found.into_iter().fold(PodParts::default(), |mut parts, found| {
        parts.add(found);
        parts
    })
}
