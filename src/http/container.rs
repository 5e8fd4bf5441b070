//! Containers in the REST API: their record. What is done with them: `verbs`; how a body is
//! read: `input/container`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::command;
use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::container::{self as spec, NewContainer, PATCH};
use super::input::field::Field;
use super::input::patch::Patchable;
use super::resource::Resource;
use super::respond::{Link, Shown, Task};
use super::{defaults, keys, read};
use crate::actors::container::ContainerCommand;
use crate::events::cloudevent::REDACTED;
use crate::events::container::PortMapping;
use crate::events::work::FieldChange;
use crate::ids::{Kind, ObjectId, StreamId, Timestamp};
use crate::projections::bay::BayView;
use crate::projections::container::ContainerView;
use crate::projections::query::QueryError;

/// Clients of 2016 say which bay they mean beside the container.
pub const BAY: [&str; 1] = ["bay_ident"];

/// A container.
#[derive(Debug, Serialize, ToSchema)]
pub struct Container {
    uuid: String,
    name: Option<String>,
    desc: Option<String>,
    image_id: Option<String>,
    /// One line, quoted as a shell needs it.
    command: Option<String>,
    bay_uuid: Option<String>,
    /// The node that it runs on.
    node_uuid: String,
    /// `Creating`, `Stopped`, `Running`, `Paused`, `Error`, `Deleting`.
    status: String,
    status_reason: Option<String>,
    /// Names, with `***` for every value.
    environment: BTreeMap<String, String>,
    ports: Vec<Port>,
    labels: BTreeMap<String, String>,
    /// The memory limit in bytes.
    memory: Option<u64>,
    /// The limit in CPUs.
    cpu: Option<f64>,
    workdir: Option<String>,
    user: Option<String>,
    /// `no`, `always`, `on-failure:3` or `unless-stopped`.
    restart_policy: String,
    /// The last exit code of its process.
    exit_code: Option<i64>,
    /// Whether it ended for want of memory.
    oom_killed: bool,
    /// The last difference between the engine and the record, in words.
    drift: Option<String>,
    /// The engine's id of it.
    engine_id: Option<String>,
    /// What it waits for.
    task: Option<Task>,
    created_at: String,
    updated_at: Option<String>,
    links: Vec<Link>,
}

/// A published port.
#[derive(Debug, Serialize, ToSchema)]
pub struct Port {
    container_port: u16,
    host_port: Option<u16>,
    host_ip: Option<String>,
    protocol: String,
}

/// A container in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContainerSummary {
    uuid: String,
    name: Option<String>,
    image_id: Option<String>,
    command: Option<String>,
    bay_uuid: Option<String>,
    status: String,
    links: Vec<Link>,
}

impl From<&PortMapping> for Port {
    fn from(port: &PortMapping) -> Self {
        Self {
            container_port: port.container_port,
            host_port: port.host_port,
            host_ip: port.host_ip.clone(),
            protocol: port.protocol.clone(),
        }
    }
}

impl Shown for ContainerView {
    type Full = Container;
    type Summary = ContainerSummary;

    fn full(&self, host: &str) -> Container {
        let hidden = |name: &String| (name.clone(), REDACTED.to_owned());
        Container {
            uuid: self.head.uuid.to_string(),
            name: self.name.clone(),
            desc: self.desc.clone(),
            image_id: self.image_id.clone(),
            command: self.command.clone(),
            bay_uuid: self.bay_uuid.map(|id| id.to_string()),
            node_uuid: self.node_uuid.to_string(),
            status: self.status.name().to_owned(),
            status_reason: self.status_reason.clone(),
            environment: self.environment.iter().map(hidden).collect(),
            ports: self.ports.iter().map(Port::from).collect(),
            labels: self.labels.clone(),
            memory: self.memory_bytes,
            cpu: self.cpu_millis.map(|millis| f64::from(millis) / 1000.0),
            workdir: self.working_dir.clone(),
            user: self.user.clone(),
            restart_policy: self.restart_policy.clone(),
            exit_code: self.exit_code,
            oom_killed: self.oom_killed,
            drift: self.drift.clone(),
            engine_id: self.engine_id.clone(),
            task: Task::first(&self.tasks),
            created_at: self.head.created_at.rfc3339(),
            updated_at: self.head.updated_at.map(Timestamp::rfc3339),
            links: Link::of(host, Kind::Container, self.head.uuid),
        }
    }

    fn summary(&self, host: &str) -> ContainerSummary {
        ContainerSummary {
            uuid: self.head.uuid.to_string(),
            name: self.name.clone(),
            image_id: self.image_id.clone(),
            command: self.command.clone(),
            bay_uuid: self.bay_uuid.map(|id| id.to_string()),
            status: self.status.name().to_owned(),
            links: Link::of(host, Kind::Container, self.head.uuid),
        }
    }
}

impl Resource for ContainerView {
    type New = NewContainer;
    type Command = ContainerCommand;

    const BODY: &'static [Field] = &spec::FIELDS;
    const PATCH: Patchable = PATCH;
    const SAYS: [&'static str; 3] = [
        "Create a container, not running",
        "Change a container's record",
        "Remove a container, running or not",
    ];
    const EXTRA: &'static [&'static str] = &BAY;
    const WAITS: bool = true;

    /// The bay that `bay_ident`, a uuid or a name, means.
    fn filters(state: &AppState, call: &Call) -> Result<Vec<(String, String)>, ApiError> {
        let Some(ident) = call.argument("bay_ident") else { return Ok(vec![]) };
        let bay = read::find::<BayView>(state, call, ident)?;
        Ok(vec![("bay_uuid".to_owned(), bay.head.uuid.to_string())])
    }

    fn uuid(new: &NewContainer) -> Option<&str> {
        new.uuid.as_deref()
    }

    async fn create(
        state: &AppState,
        call: &Call,
        _id: ObjectId,
        new: NewContainer,
    ) -> Result<ContainerCommand, ApiError> {
        let bay = match new.bay_uuid.as_deref() {
            Some(uuid) => bay(state, call, uuid)?,
            None => defaults::bay(state, &call.on_the_way()).await?,
        };
        if !bay.status.takes_members() {
            let words = format!("Bay {} is being deleted; use another one.", bay.head.uuid);
            let stream = StreamId::new(Kind::Bay, bay.head.uuid);
            return Err(command::refuse(state, call, stream, "take a container", words).await);
        }
        let (name, desc, mut spec) = (new.name.clone(), new.desc.clone(), new.into_spec());
        spec.environment = keys::sealed(state, call, spec.environment).await?;
        Ok(ContainerCommand::Create {
            name,
            desc,
            spec,
            bay_id: bay.head.uuid,
            node_id: bay.node_uuid,
            host: bay.node_host,
        })
    }

    fn update(changes: Vec<FieldChange>) -> ContainerCommand {
        ContainerCommand::Update { changes }
    }

    async fn delete(&self, _state: &AppState, _call: &Call) -> Result<ContainerCommand, ApiError> {
        Ok(ContainerCommand::Delete)
    }

    fn attributes(&self) -> Map<String, Value> {
        [
            ("name", Value::from(self.name.clone())),
            ("desc", Value::from(self.desc.clone())),
            ("image_id", Value::from(self.image_id.clone())),
            ("command", Value::from(self.command.clone())),
            ("bay_uuid", Value::from(self.bay_uuid.map(|id| id.to_string()))),
            ("status", Value::from(self.status.name())),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

/// The bay that a body names; an unknown one is the body's fault.
fn bay(state: &AppState, call: &Call, uuid: &str) -> Result<BayView, ApiError> {
    match state.reads.find::<BayView>(&call.ctx.project, uuid) {
        Err(QueryError::NotFound) => {
            Err(ApiError::BadRequest(format!("Bay {uuid} could not be found.")))
        }
        found => found.map_err(|error| ApiError::query(Kind::Bay, uuid, error)),
    }
}
