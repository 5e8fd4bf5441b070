//! Work on pods of the model: each call is one step, before which a test can make it fail.
//!
//! Not here: what a pod is (`pod`).

use std::time::Duration;

use futures_util::FutureExt;

use super::super::labels::{self, PodPlace};
use super::super::pods::{Addresses, WantedPod, init_failed};
use super::super::{BackendError, Done, Reporter, RunState, Work, no_network, unless_cancelled};
use super::FakeBackend;
use super::container::FakeContainer;
use super::engine::missing;
use super::pod::PodParts;
use crate::events::container::{ContainerSpec, RestartPolicy};
use crate::events::pod::PodSpec;
use crate::ids::{ObjectId, StreamId};
use crate::manifest::plan::{PlannedContainer, PullPolicy};

/// The image of sandboxes, and the address of the engine's machine in each network.
const PAUSE: &str = "magnum.invalid/pause:1";
const HOST: &str = "10.192.0.1";

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
        let wanted = WantedPod::read(spec)?;
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
        wanted: &WantedPod,
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
        let whose = (self.node_id, work.stream);
        let volumes = wanted.plan.volumes.iter().map(|it| (volume(&it.name), whose));
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
        let whose = (self.node_id, work.stream);
        let mut state = self.engine.lock();
        let volumes = state.volumes.len();
        state.volumes.retain(|_, of| *of != whose);
        let is_there = is_there || state.volumes.len() < volumes;
        drop(state);
        if is_there {
            self.engine.note_once(work);
        }
        Ok(Done::default())
    }
}

/// What a container of a pod is made from, in the words of the model.
fn spec_of(
    wanted: &WantedPod,
    work: &Work,
    place: &PodPlace,
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
