//! Pods in the REST API: from a manifest to what is recorded.
//!
//! Not here: what a manifest may have (`manifest`), commands in pods and their output (`verbs`).

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::bay::BAY;
use super::command::blocking;
use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::body::Body;
use super::input::manifest_url::fetch;
use super::resource::{ObjectCall, Resource};
use super::route::{Register, register};
use super::shape::Shown;
use super::text::shown;
use super::verbs::Executes;
use super::{bay, keys};
use crate::actors::pod::PodCommand;
use crate::allowed::Allowed;
use crate::events::pod::{PodContainer, PodSpec, Restarts};
use crate::ids::{EventId, Kind, ObjectId, Timestamp};
use crate::image::Reference;
use crate::manifest::plan::{PlannedContainer, PodPlan, PodRestart, plan};
use crate::manifest::{Invalid, Manifest, tenant, variables};
use crate::projections::container::Execution;
use crate::projections::pod::{PodContainerView, PodView};

/// A container of a pod.
#[derive(Debug, Serialize, ToSchema)]
pub struct PodContainerState {
    /// Its name in the manifest.
    name: String,
    /// Its image.
    image: String,
    /// Whether it initialises the pod.
    init: bool,
    /// `waiting`, `running` or `terminated`.
    state: String,
    /// Why, in Kubernetes' words.
    reason: Option<String>,
    /// Whether it can be used.
    ready: bool,
    /// How often it was started again.
    restart_count: u32,
    /// When its process started, by the engine's clock.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// The exit code of the process that ended last.
    exit_code: Option<i64>,
    /// Whether that was an OOM kill.
    oom_killed: bool,
    /// When that was, by the engine's clock.
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// The engine's id of its image.
    image_digest: Option<String>,
    /// The engine's id of it.
    engine_id: Option<String>,
}

impl From<&PodContainerView> for PodContainerState {
    fn from(PodContainerView { image, now }: &PodContainerView) -> Self {
        let text = |time: Option<Timestamp>| time.map(Timestamp::rfc3339);
        let end = now.last_end.clone().unwrap_or_default();
        Self {
            name: now.name.clone(),
            image: image.clone(),
            init: now.is_init,
            state: now.stage.name().to_owned(),
            reason: now.reason.clone(),
            ready: now.ready,
            restart_count: now.restart_count,
            started_at: text(now.started_at),
            exit_code: end.exit_code,
            oom_killed: end.oom_killed,
            finished_at: text(end.finished_at),
            image_digest: now.image_digest.clone(),
            engine_id: Some(now.engine_id.clone()).filter(|id| !id.is_empty()),
        }
    }
}

/// Whether something holds of a pod, as Kubernetes has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PodCondition {
    /// `PodScheduled`, `Initialized`, `ContainersReady` or `Ready`.
    r#type: String,
    /// `True` or `False`.
    status: String,
}

impl Shown for PodView {
    const PARTS: &'static [Register] = &[register::<PodContainerState>, register::<PodCondition>];

    fn part(&self, name: &str) -> Value {
        match name {
            "containers" => {
                json!(self.containers.iter().map(PodContainerState::from).collect::<Vec<_>>())
            }
            "conditions" => json!(self.conditions().map(|(name, holds)| PodCondition {
                r#type: name.to_owned(),
                status: if holds { "True" } else { "False" }.to_owned(),
            })),
            _ => Value::Null,
        }
    }
}

impl Executes for PodView {
    const ARGUMENTS: &'static [&'static str] = &["container", "bay_ident"];

    fn node_id(&self) -> ObjectId {
        self.node_uuid
    }

    fn executions(&self) -> &[Execution] {
        &self.executions
    }

    /// The first one that does not initialise the pod, unless another one is asked for.
    fn container(&self, call: &Call) -> Result<Option<String>, ApiError> {
        let wanted = call.argument("container");
        let fits = |one: &&PodContainerView| match wanted {
            Some(name) => one.now.name == name,
            None => !one.now.is_init,
        };
        if let Some(found) = self.containers.iter().find(fits) {
            return Ok(Some(found.now.name.clone()));
        }
        let names: Vec<&str> = self.containers.iter().map(|one| one.now.name.as_str()).collect();
        let reason = format!("The pod has the containers {}.", names.join(", "));
        Err(ApiError::field("container", shown(wanted.unwrap_or_default()), reason))
    }

    fn execute(&self, call: &Call, command: Vec<String>) -> Result<PodCommand, ApiError> {
        let container = self.container(call)?.unwrap_or_default();
        Ok(PodCommand::Execute { container, command })
    }

    fn end_execution(execution_id: EventId) -> PodCommand {
        PodCommand::EndExecution { execution_id }
    }
}

impl Resource for PodView {
    const SAYS: [&'static str; 4] = [
        "What a pod is made from.",
        "Create a pod and start its containers",
        "Update a pod's description",
        "Delete a pod; its containers are stopped first",
    ];
    const EXTRA: &'static [&'static str] = &BAY;
    const WAITS: bool = true;

    fn filters(state: &AppState, call: &Call) -> Result<Vec<(String, String)>, ApiError> {
        bay::filter(state, call)
    }

    async fn create(on: ObjectCall<'_>, mut new: Body) -> Result<PodCommand, ApiError> {
        let ObjectCall { call, state, .. } = on;
        let Source { text, url, digest } = source(on, &mut new).await?;
        // The largest ones take up to a second.
        let (mut manifest, plan) = blocking(move || planned(&text)).await??;
        check_images(&state.config.allowed, &plan)?;
        let bay = bay::of_member(on, Kind::Pod, &mut new).await?;
        let environment = variables::taken(&mut manifest.document);
        let environment = keys::sealed(state, call, environment).await?;
        let spec = PodSpec {
            manifest: manifest.text(),
            environment,
            manifest_url: url,
            manifest_digest: digest,
            containers: containers(&plan),
            labels: manifest.labels(),
            restarts: restarts(&plan),
            grace_s: plan.grace_s,
        };
        Ok(PodCommand::Create {
            name: plan.name,
            desc: new.take("desc")?,
            spec,
            bay_id: bay.head.uuid,
            node_id: bay.node_uuid,
            host: bay.node_host,
        })
    }

    async fn delete(&self, _on: ObjectCall<'_>) -> Result<PodCommand, ApiError> {
        Ok(PodCommand::Delete)
    }
}

/// A manifest that this project may have, and what a Docker bay makes of it.
fn planned(text: &str) -> Result<(Manifest, PodPlan), Invalid> {
    let manifest = Manifest::pod(text)?;
    tenant::check(&manifest.document)?;
    let plan = plan(&manifest.document)?;
    Ok((manifest, plan))
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::BadRequest(invalid.to_string())
    }
}

/// The text of a manifest, and where it was fetched from.
struct Source {
    text: String,
    url: Option<String>,
    digest: Option<String>,
}

/// The manifest of a request; what it says where goes only if it has none.
async fn source(on: ObjectCall<'_>, new: &mut Body) -> Result<Source, ApiError> {
    let text: Option<String> = new.take("manifest")?;
    let url: Option<String> = new.take("manifest_url")?;
    match (text, url) {
        (Some(text), _) => Ok(Source { text, url: None, digest: None }),
        (None, Some(url)) => {
            let _place = on.state.own().places.take_fetch(&on.call.ctx.project)?;
            let fetched = fetch(&url, on.state.config.allowed.images.is_operator).await?;
            Ok(Source { text: fetched.text, url: Some(url), digest: Some(fetched.digest) })
        }
        (None, None) => Err(ApiError::BadRequest("'manifest' can't be empty".to_owned())),
    }
}

/// Refuses images that the operator does not allow.
fn check_images(allowed: &Allowed, plan: &PodPlan) -> Result<(), ApiError> {
    plan.init.iter().chain(&plan.containers).try_for_each(|container| {
        let image = &container.image;
        let wanted = Reference::parse(image).and_then(|wanted| allowed.images.check(&wanted));
        wanted.map_err(|why| ApiError::field("image", shown(image), why))
    })
}

fn containers(plan: &PodPlan) -> Vec<PodContainer> {
    let of = |is_init| {
        move |container: &PlannedContainer| PodContainer {
            name: container.name.clone(),
            image: container.image.clone(),
            is_init,
        }
    };
    plan.init.iter().map(of(true)).chain(plan.containers.iter().map(of(false))).collect()
}

const fn restarts(plan: &PodPlan) -> Restarts {
    match plan.restart {
        PodRestart::Always => Restarts::Always,
        PodRestart::OnFailure => Restarts::OnFailure,
        PodRestart::Never => Restarts::Never,
    }
}
