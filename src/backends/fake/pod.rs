//! Pods of the model: a sandbox, its containers and its volumes, each made by one step before which
//! a test can make it fail.
//!
//! Each container knows in which life of the sandbox it was last started. Not here: processes
//! (`run`), what people do to a pod outside Magnum (`knobs`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::super::labels::{self, Place};
use super::super::pods::{Addresses, Wanted, init_failed, no_member};
use super::super::{
    BackendError, Done, ObservedMember, ObservedPod, Reporter, RunState, Work, name_taken,
    no_network, unless_cancelled,
};
use super::FakeBackend;
use super::container::FakeContainer;
use super::engine::{FakeEngine, missing};
use crate::events::container::{ContainerSpec, RestartPolicy};
use crate::events::pod::PodSpec;
use crate::ids::{Kind, ObjectId, StreamId};
use crate::manifest::plan::{PlannedContainer, PullPolicy};
use crate::text;

/// The image of sandboxes, and the address of the engine's machine in each network.
const PAUSE: &str = "magnum.invalid/pause:1";
const HOST: &str = "10.192.0.1";

/// What the model has of one pod.
pub(super) struct PodParts {
    sandbox: Option<FakeContainer>,
    /// In the order of the manifest.
    members: Vec<FakeContainer>,
}

impl PodParts {
    /// The sandbox, if it holds its namespaces.
    fn up(&self) -> Option<&FakeContainer> {
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

    /// What is told of every pod, whatever its node.
    pub fn observed_pods(&self) -> Vec<(StreamId, ObservedPod)> {
        let whose = self.pods().into_iter().filter_map(|one| Some((one.node_id?, one.stream?)));
        let whose: BTreeSet<(ObjectId, StreamId)> = whose.collect();
        let observed = |(node_id, stream)| Some((stream, self.observe_pod(node_id, stream)?));
        whose.into_iter().filter_map(observed).collect()
    }

    /// A node's container for an object; of a pod that of this name in the manifest, without one the
    /// first that does not initialise it.
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
        let is_wanted = |place: &Place| name.map_or(!place.is_init, |name| place.name == name);
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
    fn make_part(
        &self,
        work: &Work,
        name: &str,
        bay_id: ObjectId,
        place: Option<&Place>,
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
    fn start_member(
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
    async fn pod_grace(&self, node_id: ObjectId, stream: StreamId, grace: Duration) {
        let mut changes = self.changes.subscribe();
        let ended = async {
            while self.pod(node_id, stream).members.iter().any(FakeContainer::ignores_term) {
                drop(changes.changed().await);
            }
        };
        drop(tokio::time::timeout(grace, ended).await);
    }
}

impl FakeBackend {
    /// Makes a pod, or what is missing of it.
    pub(super) async fn create_pod(
        &self,
        work: &Work,
        name: &str,
        bay_id: ObjectId,
        spec: &PodSpec,
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        let wanted = Wanted::read(spec)?;
        let places = wanted.places();
        let earlier = self.engine.pod(self.node_id, work.stream);
        let has = |name: &str| {
            let is = |one: &&FakeContainer| one.place.as_ref().is_some_and(|it| it.name == name);
            earlier.members.iter().find(is).is_some_and(|one| one.work_id == Some(work.id))
        };
        if let Some(sandbox) = earlier.up().filter(|sandbox| sandbox.work_id == Some(work.id))
            && places.iter().all(|(place, _)| has(&place.name))
        {
            return Ok(Done { engine_id: Some(sandbox.engine_id.clone()), ..Done::default() });
        }
        for (_, container) in &places {
            let pull = self.pull_by(container.pull, &container.image, reporter);
            unless_cancelled(reporter, pull).await?;
        }
        let _whole = self.engine.whole();
        let sandbox = self.make_up(work, name, bay_id, &wanted, &earlier)?;
        let addresses = Addresses { pod: sandbox.address(), host: HOST.to_owned() };
        for (place, container) in &places {
            self.step()?;
            let spec = spec_of(&wanted, work, place, container, &addresses)?;
            self.engine.make_part(work, name, bay_id, Some(place), spec)?;
        }
        self.engine.note_once(work);
        Ok(Done { engine_id: Some(sandbox.engine_id), ..Done::default() })
    }

    /// Makes the volumes and the sandbox of a pod, and starts that.
    fn make_up(
        &self,
        work: &Work,
        name: &str,
        bay_id: ObjectId,
        wanted: &Wanted,
        earlier: &PodParts,
    ) -> Result<FakeContainer, BackendError> {
        self.step()?;
        if !self.engine.networks().contains(&(self.node_id, bay_id)) {
            return Err(no_network(bay_id));
        }
        let image = PAUSE.to_owned();
        let spec = ContainerSpec { image, ..ContainerSpec::default() };
        let id = self.engine.make_part(work, name, bay_id, None, spec)?;
        self.step()?;
        let volume = |volume: &str| labels::volume_name(work.stream.id, volume);
        let volumes = wanted.plan.volumes.iter().map(|it| (volume(&it.name), work.stream.id));
        self.engine.lock().volumes.extend(volumes);
        self.step()?;
        if earlier.up().is_none() {
            earlier.members.iter().for_each(|one| self.engine.discard(&one.engine_id));
            self.engine.start(&id)?;
        }
        let made = self.engine.pod(self.node_id, work.stream).sandbox;
        made.ok_or_else(|| missing(work.stream))
    }

    /// Pulls an image as a policy says.
    async fn pull_by(
        &self,
        policy: PullPolicy,
        image: &str,
        reporter: &dyn Reporter,
    ) -> Result<(), BackendError> {
        match policy {
            PullPolicy::Never if !self.engine.has_image(image) => {
                let words = format!("the engine has no image {image}, which is never to be pulled");
                Err(BackendError::Refused(words))
            }
            PullPolicy::Never | PullPolicy::IfNotPresent => self.pull(image, reporter).await,
            PullPolicy::Always => self.pull_again(image, reporter).await,
        }
    }

    /// Starts what is to run of a pod and does not yet.
    pub(super) async fn start_pod(
        &self,
        work: &Work,
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        let sandbox = self.bring_up(work)?;
        let members = self.engine.pod(self.node_id, work.stream).members;
        let is_init = |one: &FakeContainer| one.place.as_ref().is_some_and(|place| place.is_init);
        let (inits, others): (Vec<_>, Vec<_>) = members.into_iter().partition(is_init);
        for init in inits {
            self.step()?;
            self.initialise(work.stream, &sandbox, &init, reporter).await?;
        }
        self.step()?;
        let _whole = self.engine.whole();
        let starts_any = others.iter().any(|one| one.life != sandbox.runs);
        let started: Vec<_> =
            others.iter().map(|one| self.engine.start_member(one, &sandbox)).collect();
        if starts_any {
            self.engine.note_once(work);
        }
        started.into_iter().collect::<Result<(), _>>().map(|()| Done::default())
    }

    /// The sandbox of a pod, which runs; without it, what is left of its last life ends.
    fn bring_up(&self, work: &Work) -> Result<FakeContainer, BackendError> {
        self.step()?;
        let _whole = self.engine.whole();
        let parts = self.engine.pod(self.node_id, work.stream);
        let sandbox = parts.sandbox.as_ref().ok_or_else(|| missing(work.stream))?;
        let life = parts.up().map(|sandbox| sandbox.runs);
        let left = parts.members.iter().filter(|one| one.is_alive() && Some(one.life) != life);
        left.for_each(|one| self.engine.kill(&one.engine_id));
        if life.is_none() {
            self.engine.start(&sandbox.engine_id)?;
        }
        let sandbox = self.engine.pod(self.node_id, work.stream).sandbox;
        sandbox.ok_or_else(|| missing(work.stream))
    }

    /// Has one container do its part of initialising a pod, and waits until it has succeeded.
    async fn initialise(
        &self,
        pod: StreamId,
        sandbox: &FakeContainer,
        init: &FakeContainer,
        reporter: &dyn Reporter,
    ) -> Result<(), BackendError> {
        let mut changes = self.engine.changes.subscribe();
        let mut is_started = false;
        loop {
            changes.mark_unchanged();
            let life = self.engine.pod(self.node_id, pod).up().map(|sandbox| sandbox.runs);
            if life != Some(sandbox.runs) {
                let words = "the pod's sandbox ended while the pod was initialised";
                return Err(BackendError::Failed(words.to_owned()));
            }
            let name = init.place.as_ref().map(|place| place.name.as_str());
            let now = self.engine.find_one(self.node_id, pod, name)?;
            let code = now.end().and_then(|end| end.exit_code);
            let never_again = now.spec.restart_policy == RestartPolicy::No;
            match now.state {
                RunState::Exited if now.life == sandbox.runs && code == Some(0) => return Ok(()),
                RunState::Exited if now.life == sandbox.runs && (is_started || never_again) => {
                    return Err(init_failed(name.unwrap_or_default(), code));
                }
                RunState::Created | RunState::Exited | RunState::Dead => {
                    is_started = true;
                    let mut anew = now;
                    anew.life = 0;
                    self.engine.start_member(&anew, sandbox)?;
                }
                RunState::Running | RunState::Paused | RunState::Restarting => {
                    let changed = changes.changed().map(|_| Ok(()));
                    unless_cancelled(reporter, changed).await?;
                }
            }
        }
    }

    /// Stops a pod's containers, all at once, and removes all that is of it.
    pub(super) async fn delete_pod(
        &self,
        work: &Work,
        grace_s: u32,
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        let grace = Duration::from_secs(u64::from(grace_s));
        let over = self.engine.pod_grace(self.node_id, work.stream, grace);
        unless_cancelled(reporter, over.map(Ok)).await?;
        let _whole = self.engine.whole();
        let parts = self.engine.pod(self.node_id, work.stream);
        let is_there = parts.sandbox.is_some() || !parts.members.is_empty();
        for one in parts.members.iter().chain(&parts.sandbox) {
            self.step()?;
            self.engine.kill(&one.engine_id);
            self.engine.discard(&one.engine_id);
        }
        self.step()?;
        self.engine.lock().volumes.retain(|_, pod| *pod != work.stream.id);
        if is_there {
            self.engine.note_once(work);
        }
        Ok(Done::default())
    }
}

/// What a container of a pod is made from, in the words of the model.
fn spec_of(
    wanted: &Wanted,
    work: &Work,
    place: &Place,
    container: &PlannedContainer,
    addresses: &Addresses,
) -> Result<ContainerSpec, BackendError> {
    let expanded = wanted.expanded(work, container, addresses)?;
    Ok(ContainerSpec {
        image: container.image.clone(),
        command: expanded.entrypoint.into_iter().chain(expanded.args).collect(),
        environment: expanded.environment.into_iter().collect(),
        restart_policy: wanted.restart_policy(place),
        memory_bytes: container.memory_bytes,
        cpu_millis: container.cpu_millis,
        ..ContainerSpec::default()
    })
}
