//! Pods of the model: a sandbox, its containers and its volumes.
//!
//! Each container knows in which life of the sandbox it was last started. Not here: in which order
//! they are made, started and removed (`pod_work`), processes (`run`), what people do to a pod
//! outside Magnum (`knobs`).

use std::sync::Arc;
use std::time::Duration;

use super::super::labels::{self, PodPlace};
use super::super::pods::no_member;
use super::super::{BackendError, ObservedMember, ObservedPod, Work, name_taken};
use super::container::FakeContainer;
use super::engine::{FakeEngine, missing};
use crate::events::container::ContainerSpec;
use crate::ids::{Kind, ObjectId, StreamId};
use crate::text;

/// What the model has of one pod.
pub(super) struct PodParts {
    /// What holds the namespaces.
    pub(super) sandbox: Option<FakeContainer>,
    /// Its containers in the order of the manifest.
    pub(super) members: Vec<FakeContainer>,
}

impl PodParts {
    /// The sandbox, if it holds its namespaces.
    pub(super) fn up(&self) -> Option<&FakeContainer> {
        self.sandbox.as_ref().filter(|sandbox| sandbox.has_process())
    }

    /// What a backend tells of it; nothing if there is nothing.
    fn observed(self) -> Option<ObservedPod> {
        let first = self.sandbox.as_ref().or(self.members.first())?;
        let members = self.members.iter().filter_map(|one| {
            let place = one.place.as_ref()?;
            let (name, is_init) = (place.name.clone(), place.is_init);
            Some(ObservedMember { name, is_init, observed: one.observed() })
        });
        Some(ObservedPod {
            engine_id: self.sandbox.as_ref().map_or_else(String::new, |it| it.engine_id.clone()),
            engine_name: text::words(&first.name),
            work_id: first.work_id,
            is_up: self.up().is_some(),
            address: self.up().map(FakeContainer::address),
            containers: members.collect(),
        })
    }
}

impl FakeEngine {
    /// Every container of pods that it has, the sandboxes included.
    pub fn pods(&self) -> Vec<FakeContainer> {
        let (pods, _) = self.apart();
        pods
    }

    /// The containers of pods, and all others.
    pub(super) fn apart(&self) -> (Vec<FakeContainer>, Vec<FakeContainer>) {
        let is_of_pod = |one: &FakeContainer| one.stream.is_some_and(|it| it.kind == Kind::Pod);
        self.all().into_iter().partition(is_of_pod)
    }

    /// The volumes that it has, by their names.
    pub fn volumes(&self) -> Vec<String> {
        self.lock().volumes.keys().cloned().collect()
    }

    /// What it has of a node's pod.
    pub(super) fn pod(&self, node_id: ObjectId, stream: StreamId) -> PodParts {
        let all = self.all_of(node_id, stream);
        let (mut members, sandboxes): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|one| one.place.is_some());
        members.sort_by_key(|one| one.place.as_ref().map(|place| place.order));
        PodParts { sandbox: sandboxes.into_iter().next(), members }
    }

    /// What is told of a node's pod.
    pub(super) fn observe_pod(&self, node_id: ObjectId, stream: StreamId) -> Option<ObservedPod> {
        self.pod(node_id, stream).observed()
    }

    /// A node's container for an object; of a pod that of this name in the manifest, without one
    /// the first that does not initialise it.
    pub(super) fn find_one(
        &self,
        node_id: ObjectId,
        stream: StreamId,
        name: Option<&str>,
    ) -> Result<FakeContainer, BackendError> {
        if stream.kind != Kind::Pod {
            return self.find(node_id, stream).ok_or_else(|| missing(stream));
        }
        let mut members = self.pod(node_id, stream).members;
        if members.is_empty() {
            return Err(missing(stream));
        }
        let is_wanted = |place: &PodPlace| name.map_or(!place.is_init, |name| place.name == name);
        match members.iter().position(|one| one.place.as_ref().is_some_and(is_wanted)) {
            Some(at) => Ok(members.swap_remove(at)),
            None => Err(no_member(name, members.iter().filter_map(|one| one.place.as_ref()))),
        }
    }

    /// Refuses what an engine refuses to start: a container of a pod whose sandbox does not run.
    pub(super) fn require_sandbox(&self, one: &FakeContainer) -> Result<(), BackendError> {
        let whose = one.node_id.zip(one.stream).filter(|_| one.place.is_some());
        match whose.filter(|(node_id, stream)| self.pod(*node_id, *stream).up().is_none()) {
            Some(_) => {
                let words = "cannot join network of a non running container".to_owned();
                Err(BackendError::Refused(words))
            }
            None => Ok(()),
        }
    }

    /// Makes the sandbox of a pod, or the container in a place of it, unless this work has.
    pub(super) fn make_part(
        &self,
        work: &Work,
        name: &str,
        bay_id: ObjectId,
        place: Option<&PodPlace>,
        spec: ContainerSpec,
    ) -> Result<String, BackendError> {
        let engine_name = labels::engine_name(work.stream.id, place);
        if let Some(there) = self.all().into_iter().find(|one| one.name == engine_name) {
            let is_of_work = there.stream == Some(work.stream) && there.work_id == Some(work.id);
            return match is_of_work {
                true => Ok(there.engine_id),
                false => Err(name_taken(&engine_name, &there.engine_id)),
            };
        }
        let labels = labels::of_pod(work, name, bay_id);
        let labels = match place {
            Some(place) => labels::of_member(labels, place),
            None => labels,
        };
        let mut state = self.lock();
        let id = state.new_id();
        let mut part = FakeContainer::new(id.clone(), work, bay_id, labels, spec);
        (part.name, part.place) = (engine_name, place.cloned());
        match place {
            // It has the network of the sandbox, and none of its own.
            Some(_) => part.bay_id = None,
            None => part.aliases = labels::aliases(Some(name), work.stream.id),
        }
        state.containers.insert(id.clone(), part);
        Ok(id)
    }

    /// Starts a container of a pod in this life of its sandbox.
    pub(super) fn start_member(
        self: &Arc<Self>,
        one: &FakeContainer,
        sandbox: &FakeContainer,
    ) -> Result<(), BackendError> {
        if one.life == sandbox.runs {
            return Ok(());
        }
        self.require_sandbox(one)?;
        let started = self.begin(&one.engine_id, |it| {
            it.started();
            it.life = sandbox.runs;
        });
        started.map_err(|error| {
            let name = one.place.as_ref().map_or(one.name.as_str(), |place| &place.name);
            BackendError::Refused(format!("container {name}: {error}"))
        })
    }

    /// Waits as long as the stop of a pod does.
    pub(super) async fn pod_grace(&self, node_id: ObjectId, stream: StreamId, grace: Duration) {
        let mut changes = self.changes.subscribe();
        let ended = async {
            while self.pod(node_id, stream).members.iter().any(FakeContainer::ignores_term) {
                drop(changes.changed().await);
            }
        };
        drop(tokio::time::timeout(grace, ended).await);
    }
}
