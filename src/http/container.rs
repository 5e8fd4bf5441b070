//! Containers in the REST API: their record. What is done with them: `verbs`; how values of a body
//! are read: `input/container`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::bay::BAY;
use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::body::Body;
use super::resource::{Commanded as _, ObjectCall, Resource};
use super::route::{Register, register};
use super::shape::Shown;
use super::text::shown;
use super::verbs::Executes;
use super::{bay, keys};
use crate::actors::container::ContainerCommand;
use crate::allowed::{Allowed, check_label};
use crate::events::container::{ContainerSpec, PortMapping, cpu_millis, cpus};
use crate::events::work::{FieldChange, UpdatedV1};
use crate::ids::{EventId, Kind, ObjectId};
use crate::image::Reference;
use crate::projections::container::{ContainerView, Execution};

/// A published port.
#[derive(Debug, Serialize, ToSchema)]
pub struct Port {
    container_port: u16,
    host_port: Option<u16>,
    host_ip: Option<String>,
    protocol: String,
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
    const PARTS: &'static [Register] = &[register::<Port>];

    fn part(&self, name: &str) -> Value {
        match name {
            "ports" => json!(self.ports_now().iter().map(Port::from).collect::<Vec<_>>()),
            _ => Value::Null,
        }
    }
}

impl Executes for ContainerView {
    const ARGUMENTS: &'static [&'static str] = &BAY;

    fn node_id(&self) -> ObjectId {
        self.node_uuid
    }

    fn executions(&self) -> &[Execution] {
        &self.executions
    }

    fn container(&self, _call: &Call) -> Result<Option<String>, ApiError> {
        Ok(None)
    }

    fn execute(&self, _call: &Call, command: Vec<String>) -> Result<ContainerCommand, ApiError> {
        Ok(ContainerCommand::Execute { command })
    }

    fn end_execution(execution_id: EventId) -> ContainerCommand {
        ContainerCommand::EndExecution { execution_id }
    }
}

impl Resource for ContainerView {
    const SAYS: [&'static str; 4] = [
        "What a container is made from.",
        "Create a container without starting it",
        "Update a container's fields; what it was made from stays until it is recreated",
        "Delete a container, running or not",
    ];
    const EXTRA: &'static [&'static str] = &BAY;
    const WAITS: bool = true;
    const UPDATE: &'static str = "recreate";

    fn updated(call: &Call, changes: Vec<FieldChange>) -> Result<ContainerCommand, ApiError> {
        if call.flag("recreate")? {
            return Ok(ContainerCommand::Recreate { changes });
        }
        Ok(Self::update(changes))
    }

    /// Refuses what the operator does not allow: it could never be recreated from it.
    async fn check_update(
        &self,
        on: ObjectCall<'_>,
        changes: &[FieldChange],
    ) -> Result<(), ApiError> {
        let changed = UpdatedV1 { changes: changes.to_vec() };
        let allowed = &on.state.config.allowed;
        let labels: BTreeMap<String, String> = changed.value("labels").unwrap_or_default();
        check_labels(allowed, labels.keys())?;
        let millis = changed.value("cpu").map(cpu_millis);
        check_cpus(on.state, millis, Some(self.node_uuid))?;
        match changed.text("image_id") {
            Some(Some(image)) => check_image(allowed, &image),
            _ => Ok(()),
        }
    }

    fn filters(state: &AppState, call: &Call) -> Result<Vec<(String, String)>, ApiError> {
        bay::filter(state, call)
    }

    async fn create(on: ObjectCall<'_>, mut new: Body) -> Result<ContainerCommand, ApiError> {
        let ObjectCall { call, state, .. } = on;
        let mut spec = spec(&mut new)?;
        allow(&state.config.allowed, &mut spec)?;
        // Before the built-in bay is made for what no node could take.
        check_cpus(state, spec.cpu_millis, None)?;
        let bay = bay::of_member(on, Kind::Container, &mut new).await?;
        check_cpus(state, spec.cpu_millis, Some(bay.node_uuid))?;
        spec.environment = keys::sealed(state, call, spec.environment).await?;
        Ok(ContainerCommand::Create {
            name: new.take("name")?,
            desc: new.take("desc")?,
            spec,
            bay_id: bay.head.uuid,
            node_id: bay.node_uuid,
            host: bay.node_host,
        })
    }

    async fn delete(&self, _on: ObjectCall<'_>) -> Result<ContainerCommand, ApiError> {
        Ok(ContainerCommand::Delete)
    }
}

/// What it is to be made from, with the environment as it came.
fn spec(new: &mut Body) -> Result<ContainerSpec, ApiError> {
    Ok(ContainerSpec {
        image: new.take("image_id")?,
        command: new.take("command")?,
        environment: new.take("environment")?,
        ports: new.take("ports")?,
        labels: new.take("labels")?,
        memory_bytes: new.take("memory")?,
        cpu_millis: new.take("cpu")?,
        working_dir: new.take("workdir")?,
        user: new.take("user")?,
        restart_policy: new.take("restart_policy")?,
    })
}

/// Refuses labels that mean something to others.
fn check_labels<'a>(
    allowed: &Allowed,
    mut labels: impl Iterator<Item = &'a String>,
) -> Result<(), ApiError> {
    labels.try_for_each(|label| {
        check_label(label, &allowed.reserved_labels)
            .map_err(|why| ApiError::field("labels", shown(label), why))
    })
}

/// Refuses an image that the operator does not allow.
fn check_image(allowed: &Allowed, image: &str) -> Result<(), ApiError> {
    let refused = |why| ApiError::field("image_id", shown(image), why);
    let wanted = Reference::parse(image).map_err(refused)?;
    allowed.images.check(&wanted).map_err(refused)
}

/// Refuses more CPUs than the node has, or than any node has: its engine would refuse them later.
fn check_cpus(
    state: &AppState,
    millis: Option<u32>,
    node_id: Option<ObjectId>,
) -> Result<(), ApiError> {
    let Some(millis) = millis else { return Ok(()) };
    let nodes = state.reads.nodes().map_err(|error| ApiError::query(Kind::Node, "", error))?;
    let meant = nodes.iter().filter(|node| node_id.is_none_or(|id| id == node.head.uuid));
    match meant.filter_map(|node| node.cpus).max() {
        Some(most) if millis > most.saturating_mul(1000) => {
            let asked = cpus(millis).to_string();
            Err(ApiError::field("cpu", asked, format!("The node has {most} CPUs.")))
        }
        _ => Ok(()),
    }
}

/// Refuses what the operator does not allow, and fills in what he has chosen for containers that
/// do not ask for it: the record says what runs (rule E7).
fn allow(allowed: &Allowed, spec: &mut ContainerSpec) -> Result<(), ApiError> {
    check_image(allowed, &spec.image)?;
    for port in &mut spec.ports {
        port.host_ip = port.host_ip.take().or_else(|| allowed.ports.address());
        let (address, number) = (port.host_ip.as_deref(), port.host_port);
        allowed.ports.check(address, number).map_err(|why| {
            let number = number.map_or_else(String::new, |number| number.to_string());
            ApiError::field("ports", format!("{}:{number}", address.unwrap_or_default()), why)
        })?;
    }
    check_labels(allowed, spec.labels.keys())?;
    spec.memory_bytes = spec.memory_bytes.or(allowed.bounds.memory_bytes);
    spec.cpu_millis = spec.cpu_millis.or(allowed.bounds.cpu_millis);
    Ok(())
}
