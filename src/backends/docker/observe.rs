//! Which of our objects the engine has.
//!
//! A container is looked up by its name, and by its labels if the name is missing or used by
//! another container: people rename things.

use std::collections::HashMap;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status, ContainerSummary,
    RestartPolicyNameEnum as Policy,
};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::super::labels::{self, PodPlace};
use super::super::{BackendError, Observed, RunState};
use super::DockerBackend;
use super::clock::time;
use super::ends::{self, Forged, LastRun};
use super::run::run;
use crate::events::run::{Run, RunEnd};
use crate::ids::{EventId, Kind, ObjectId, StreamId, Timestamp};
use crate::text;

/// Inspections at once when everything is looked at: enough to hide the engine's latency, few
/// enough to leave it room for others.
const INSPECTIONS_AT_ONCE: usize = 8;

/// A container that the engine has.
pub(super) struct Found {
    /// What is told of it.
    pub(super) observed: Observed,
    /// The node of its labels.
    pub(super) node_id: Option<ObjectId>,
    /// The object of its labels.
    pub(super) stream: Option<StreamId>,
    /// Which container of a pod it is, by its labels.
    pub(super) place: Option<PodPlace>,
    /// The bay of its labels.
    pub(super) bay_id: Option<ObjectId>,
    /// The work of its labels.
    pub(super) work_id: Option<EventId>,
    /// When its process last started.
    pub(super) started_at: Option<Timestamp>,
    /// When it last ended, even if it runs again.
    ended_at: Option<Timestamp>,
    /// Which of the engine's notices about it say what its labels say.
    forged: Forged,
    /// Its last process, whether that has ended or not.
    pub(super) run: Run,
    /// The exit code that the engine has for it: of its last process, or of the last start that was
    /// refused.
    pub(super) exit_code: Option<i64>,
    /// Whether the engine starts it again when its process has failed.
    pub(super) is_retried: bool,
}

impl Found {
    /// The same two times together.
    const fn last_run(&self) -> LastRun {
        LastRun { started_at: self.started_at, ended_at: self.ended_at }
    }

    /// How its process ended, where it has none any more.
    pub(super) fn end(&self) -> Option<RunEnd> {
        let Observed { exit_code, oom_killed, finished_at, .. } = self.observed;
        finished_at.is_some().then_some(RunEnd { exit_code, oom_killed, finished_at })
    }
}

impl DockerBackend {
    /// Our container for an object, and how it ended so far.
    pub(super) async fn observe(&self, stream: StreamId) -> Result<Option<Observed>, BackendError> {
        let found = self.find(stream).await?.into_iter().collect();
        Ok(self.with_ends(found).await?.pop().map(|found| found.observed))
    }

    /// Adds how these ended. The engine is asked for notices that have not come, or not to us: what
    /// it has no notice of then is lost.
    pub(super) async fn with_ends(
        &self,
        mut found: Vec<Found>,
    ) -> Result<Vec<Found>, BackendError> {
        if !found.iter().all(|one| self.ends.knows(&one.observed.engine_id, one.last_run())) {
            self.hear_past().await?;
        }
        for one in &mut found {
            self.ends.suppose(&one.observed, one.last_run());
            self.ends.complete(&mut one.observed, one.ended_at, one.forged);
        }
        Ok(found)
    }

    /// Our container for an object.
    pub(super) async fn find(&self, stream: StreamId) -> Result<Option<Found>, BackendError> {
        match self.look(&labels::container_name(stream.id)).await? {
            Some(found) if self.owns(&found, stream) => Ok(Some(found)),
            _ => self.find_by_label(stream).await,
        }
    }

    /// Whether a container is ours, for an object.
    pub(super) fn owns(&self, found: &Found, stream: StreamId) -> bool {
        found.node_id == Some(self.node_id) && found.stream == Some(stream)
    }

    /// Our container for an object, whatever its name is now.
    pub(super) async fn find_by_label(
        &self,
        stream: StreamId,
    ) -> Result<Option<Found>, BackendError> {
        match self.ids_of(stream).await?.first() {
            Some(id) => self.look(id).await,
            None => Ok(None),
        }
    }

    /// The engine's ids of all our containers for an object: one, unless somebody meddled.
    pub(super) async fn ids_of(&self, stream: StreamId) -> Result<Vec<String>, BackendError> {
        let containers = self.summaries(&[(labels::CONTAINER, stream.id.to_string())]).await?;
        Ok(containers.into_iter().filter_map(|container| container.id).collect())
    }

    /// One container by the engine's name or id.
    pub(super) async fn look(&self, name: &str) -> Result<Option<Found>, BackendError> {
        let docker = self.connection.client()?;
        let call = docker.inspect_container(name, None::<InspectContainerOptions>);
        match self.connection.quick(call).await {
            Ok(container) => Ok(Some(found(container))),
            Err(BackendError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every container of ours, those of pods included, and how they ended.
    pub(super) async fn observe_all(&self) -> Result<Vec<Found>, BackendError> {
        let found = self.look_at_all(&[]).await?;
        self.with_ends(found).await
    }

    /// Our containers with these labels besides the node's. One that vanishes meanwhile is left
    /// out.
    pub(super) async fn look_at_all(
        &self,
        wanted: &[(&str, String)],
    ) -> Result<Vec<Found>, BackendError> {
        let found: Vec<_> = stream::iter(self.summaries(wanted).await?)
            .filter_map(|container| async move { container.id })
            .map(|id| async move { self.look(&id).await })
            .buffer_unordered(INSPECTIONS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Our containers with these labels besides the node's, running or not.
    async fn summaries(
        &self,
        wanted: &[(&str, String)],
    ) -> Result<Vec<ContainerSummary>, BackendError> {
        let mut wanted = wanted.to_vec();
        wanted.push((labels::NODE, self.node_id.to_string()));
        let options =
            ListContainersOptionsBuilder::new().all(true).filters(&labels::filter(&wanted)).build();
        let docker = self.connection.client()?;
        self.connection.quick(docker.list_containers(Some(options))).await
    }
}

/// The containers of containers, without those of pods; of several for one object the one with our
/// name counts.
pub(super) fn containers(found: &[Found]) -> Vec<(StreamId, Observed)> {
    let mut all: HashMap<StreamId, &Observed> = HashMap::new();
    for container in found {
        let Some(stream) = container.stream.filter(|it| it.kind == Kind::Container) else {
            continue;
        };
        if container.observed.name_is_ours || !all.contains_key(&stream) {
            all.insert(stream, &container.observed);
        }
    }
    all.into_iter().map(|(stream, observed)| (stream, observed.clone())).collect()
}

/// What is needed of the engine's long answer.
fn found(container: ContainerInspectResponse) -> Found {
    let restarts =
        container.restart_count.and_then(|it| u32::try_from(it).ok()).unwrap_or_default();
    let labels = container.config.and_then(|config| config.labels).unwrap_or_default();
    let stream = labels::object_of(Some(&labels));
    let place = labels::place_of(&labels);
    let name = container.name.unwrap_or_default().trim_start_matches('/').to_owned();
    let state = container.state.unwrap_or_default();
    let run_state = run_state(&state);
    let ended = matches!(run_state, RunState::Exited | RunState::Dead | RunState::Restarting);
    let ended_at = time(state.finished_at.as_deref());
    let finished_at = ended_at.filter(|_| ended);
    let bay_id = labels::bay_of(Some(&labels));
    let networks = container.network_settings;
    let run = run(&state, restarts, networks, bay_id, container.image.as_deref());
    let runs = matches!(run_state, RunState::Running | RunState::Paused);
    let policy = container.host_config.and_then(|config| config.restart_policy?.name);
    let ours = stream.map(|stream| labels::engine_name(stream.id, place.as_ref()));
    Found {
        observed: Observed {
            engine_id: text::words(&container.id.unwrap_or_default()),
            name_is_ours: ours.is_some_and(|ours| ours == name),
            engine_name: text::words(&name),
            state: run_state,
            exit_code: state.exit_code.filter(|_| ended && finished_at.is_some()),
            oom_killed: ended && state.oom_killed.unwrap_or(false),
            finished_at,
            ends: Vec::new(),
            restarts,
            run: runs.then(|| run.clone()),
        },
        node_id: labels.get(labels::NODE).and_then(|id| id.parse().ok()),
        stream,
        place,
        bay_id: labels::bay_of(Some(&labels)),
        work_id: labels.get(labels::WORK).and_then(|id| id.parse().ok()).map(EventId),
        started_at: time(state.started_at.as_deref()),
        ended_at,
        forged: ends::forge(&labels),
        run,
        exit_code: state.exit_code,
        is_retried: policy.is_some_and(|it| !matches!(it, Policy::EMPTY | Policy::NO)),
    }
}

/// Whether it runs; the flags decide where the engine gives no word for it.
fn run_state(state: &ContainerState) -> RunState {
    match state.status {
        Some(Status::CREATED) => RunState::Created,
        Some(Status::RUNNING | Status::STOPPING) => RunState::Running,
        Some(Status::PAUSED) => RunState::Paused,
        Some(Status::RESTARTING) => RunState::Restarting,
        Some(Status::REMOVING | Status::DEAD) => RunState::Dead,
        Some(Status::EXITED) => RunState::Exited,
        Some(Status::EMPTY) | None if state.running == Some(true) => RunState::Running,
        Some(Status::EMPTY) | None => RunState::Exited,
    }
}
