//! Containers in the REST API: their record. What is done with them: `verbs`; how values of a body
//! are read: `input/container`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::body::Body;
use super::resource::{Commanded as _, ObjectCall, Resource};
use super::route::{Register, register};
use super::shape::Shown;
use super::text::{canonical_uuid, shown};
use super::{command, defaults, keys, read};
use crate::actors::container::ContainerCommand;
use crate::allowed::{Allowed, check_label};
use crate::events::bay::Status;
use crate::events::container::{ContainerSpec, PortMapping, cpu_millis, cpus};
use crate::events::work::{FieldChange, UpdatedV1};
use crate::ids::{Kind, ObjectId, StreamId};
use crate::image::Reference;
use crate::projections::bay::BayView;
use crate::projections::container::ContainerView;

/// Clients of 2016 say which bay they mean beside the container.
pub const BAY: [&str; 1] = ["bay_ident"];

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

    /// The bay that `bay_ident`, a uuid or a name, means.
    fn filters(state: &AppState, call: &Call) -> Result<Vec<(String, String)>, ApiError> {
        let Some(ident) = call.argument("bay_ident") else { return Ok(vec![]) };
        // A bay that was there at an earlier point may be gone now.
        let past = canonical_uuid(ident).filter(|_| call.argument("at").is_some());
        let bay = match past {
            Some(id) => id,
            None => read::find::<BayView>(state, call, ident)?.head.uuid,
        };
        Ok(vec![("bay_uuid".to_owned(), bay.to_string())])
    }

    async fn create(on: ObjectCall<'_>, mut new: Body) -> Result<ContainerCommand, ApiError> {
        let ObjectCall { call, state, .. } = on;
        let mut spec = spec(&mut new)?;
        allow(&state.config.allowed, &mut spec)?;
        // Before the built-in bay is made for what no node could take.
        check_cpus(state, spec.cpu_millis, None)?;
        let bay = match new.take::<Option<String>>("bay_uuid")? {
            Some(uuid) => read::named::<BayView>(state, call, &uuid)?,
            None => defaults::bay(state, &call.on_the_way()).await?,
        };
        check_cpus(state, spec.cpu_millis, Some(bay.node_uuid))?;
        if !bay.status.takes_members() || bay.status == Status::CreateFailed {
            let id = bay.head.uuid;
            let words = match bay.status_reason {
                Some(why) if bay.status == Status::CreateFailed => {
                    format!("Bay {id} is not there ({why}); use another one.")
                }
                _ => format!("Bay {id} is being deleted; use another one."),
            };
            let stream = StreamId::new(Kind::Bay, bay.head.uuid);
            return Err(command::refuse(state, call, stream, "take a container", words).await);
        }
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
