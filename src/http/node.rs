//! Nodes in the REST API. They are identified by UUID, or by the host name that events call them
//! by; they have no names.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::edge::state::AppState;
use super::error::ApiError;
use super::input::body::Body;
use super::resource::{ObjectCall, Resource};
use super::route::{Register, register};
use super::shape::Shown;
use super::text::{canonical_uuid, shown};
use super::{command, read};

use crate::actors::node::NodeCommand;
use crate::actors::placement::NodeFacts;
use crate::events::node::Status;
use crate::events::work::FieldChange;
use crate::ids::{Kind, ObjectId, ProjectId, StreamId};
use crate::projections::bay::BayView;
use crate::projections::node::{self, NodeView};
use crate::projections::query::QueryError;

/// A container on a node's engine that no object is the record of.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnknownContainer {
    /// The object that its labels name; there is none.
    container_uuid: String,
    engine_id: String,
    engine_name: String,
    /// How it was when found: `created`, `running`, `paused`, `restarting`, `exited`, `dead`.
    state: String,
    /// When it was found.
    since: String,
}

/// A network on a node's engine whose bay is not recorded.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnknownNetwork {
    /// The bay that its labels name; there is none.
    bay_uuid: String,
    engine_id: String,
    engine_name: String,
    /// When it was found.
    since: String,
}

impl Shown for NodeView {
    const PARTS: &'static [Register] = &[register::<UnknownContainer>, register::<UnknownNetwork>];

    fn part(&self, name: &str) -> Value {
        match name {
            "unknown_containers" => self.unknown_containers.iter().map(container).collect(),
            "unknown_networks" => self.unknown_networks.iter().map(network).collect(),
            _ => Value::Null,
        }
    }
}

fn container(found: &node::UnknownContainer) -> Value {
    json!(UnknownContainer {
        container_uuid: found.container_id.to_string(),
        engine_id: found.engine_id.clone(),
        engine_name: found.engine_name.clone(),
        state: found.state.clone(),
        since: found.since.rfc3339(),
    })
}

fn network(found: &node::UnknownNetwork) -> Value {
    json!(UnknownNetwork {
        bay_uuid: found.bay_id.to_string(),
        engine_id: found.engine_id.clone(),
        engine_name: found.engine_name.clone(),
        since: found.since.rfc3339(),
    })
}

/// What placement needs to know: all nodes of the project `default`, which is the service's own,
/// and how many bays of this project each holds.
pub fn facts(state: &AppState, project: &ProjectId) -> Result<Vec<NodeFacts>, ApiError> {
    let failed = |error: QueryError| ApiError::query(Kind::Node, "", error);
    let facts = state.reads.nodes().map_err(failed)?.into_iter().map(|node| {
        let id = node.head.uuid;
        let bays = state.reads.count::<BayView>(project, "node_uuid", &id.to_string());
        Ok(NodeFacts {
            node_id: id,
            registered: node.host.is_some(),
            unavailable: (node.status == Status::Unavailable)
                .then(|| node.status_reason.unwrap_or_else(|| "no reason given".to_owned())),
            host: node.host.unwrap_or_default(),
            bays: bays.map_err(failed)?,
        })
    });
    facts.collect()
}

/// Why a node cannot do anything now, if that is known.
pub fn unavailable(state: &AppState, id: ObjectId) -> Result<Option<String>, ApiError> {
    let nodes = state.reads.nodes().map_err(|error| ApiError::query(Kind::Node, "", error))?;
    let node = nodes.into_iter().find(|node| node.head.uuid == id);
    let node = node.filter(|node| node.status == Status::Unavailable);
    Ok(node.map(|node| node.status_reason.unwrap_or_else(|| "the node is away".to_owned())))
}

impl Resource for NodeView {
    const SAYS: [&'static str; 4] = [
        "What a node's record is made from.",
        "Register a node",
        "Update a node's fields",
        "Delete a node",
    ];

    fn check_ident(ident: &str) -> Result<(), ApiError> {
        match canonical_uuid(ident) {
            Some(_) => Ok(()),
            None => {
                let words = format!("Expected a uuid but received {}.", shown(ident));
                Err(ApiError::BadRequest(words))
            }
        }
    }

    async fn create(on: ObjectCall<'_>, mut new: Body) -> Result<NodeCommand, ApiError> {
        let ironic_node_id: Option<String> = new.take("ironic_node_id")?;
        if let Some(ironic) = &ironic_node_id {
            check_ironic(on, ironic, "create").await?;
        }
        Ok(NodeCommand::Create {
            node_type: new.take("type")?,
            image_id: new.take("image_id")?,
            ironic_node_id,
            host: None,
        })
    }

    async fn check_update(
        &self,
        on: ObjectCall<'_>,
        changes: &[FieldChange],
    ) -> Result<(), ApiError> {
        // The field of this node itself differs, or it would not be changed.
        let ironic = changes.iter().find(|change| change.field == "ironic_node_id");
        match ironic.and_then(|change| serde_json::from_str::<String>(&change.value).ok()) {
            Some(ironic) => check_ironic(on, &ironic, "update").await,
            None => Ok(()),
        }
    }

    async fn delete(&self, on: ObjectCall<'_>) -> Result<NodeCommand, ApiError> {
        Ok(NodeCommand::Delete { bays: bays_on(on).await? })
    }
}

/// Refuses an Ironic node that belongs to another node.
async fn check_ironic(on: ObjectCall<'_>, ironic: &str, asked: &str) -> Result<(), ApiError> {
    if on.count::<NodeView>("ironic_node_id", ironic)? == 0 {
        return Ok(());
    }
    let words = format!("Ironic node {} belongs to another node already.", shown(ironic));
    let ObjectCall { call, state, id } = on;
    let stream = StreamId::new(Kind::Node, id);
    Err(command::refuse(state, call, stream, asked, words).await)
}

/// How many bays a node holds, of all projects.
async fn bays_on(on: ObjectCall<'_>) -> Result<u64, ApiError> {
    let (reads, node) = (on.state.reads.clone(), on.id);
    let counted = read::scan(on.state, on.call, move |_| reads.bays_on(node)).await?;
    counted.map_err(|error| ApiError::query(Kind::Node, "", error))
}
