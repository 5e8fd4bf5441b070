//! Nodes in the REST API. They have no names: uuids only.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::command;
use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::field::{Field, MAX_TEXT_BYTES, Rule};
use super::input::patch::Patchable;
use super::list::MAX_LIMIT;
use super::resource::Resource;
use super::respond::{Link, Shown};
use super::text::{MAX_NAME_BYTES, canonical_uuid, shown};
use crate::actors::node::NodeCommand;
use crate::actors::placement::NodeFacts;
use crate::events::work::FieldChange;
use crate::ids::{Kind, ObjectId, ProjectId, StreamId, Timestamp};
use crate::projections::bay::BayView;
use crate::projections::node::{self, NodeView};
use crate::projections::query::{ListQuery, QueryError};

/// A node.
#[derive(Debug, Serialize, ToSchema)]
pub struct Node {
    uuid: String,
    /// `docker` where a backend registered it.
    r#type: Option<String>,
    image_id: Option<String>,
    ironic_node_id: Option<String>,
    /// Its host name, where a backend registered it.
    host: Option<String>,
    /// `available`, `unavailable`, or `unknown` where no backend registered it.
    status: String,
    status_reason: Option<String>,
    status_since: Option<String>,
    /// The engine and its version.
    engine: Option<String>,
    cpus: Option<u32>,
    memory_bytes: Option<u64>,
    /// What its engine has under this node's label and no object is the record of: left alone.
    unknown_containers: Vec<UnknownContainer>,
    /// Networks that its engine has under this node's label for bays that are not recorded.
    unknown_networks: Vec<UnknownNetwork>,
    created_at: String,
    updated_at: Option<String>,
    links: Vec<Link>,
}

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

/// A node in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeSummary {
    uuid: String,
    r#type: Option<String>,
    image_id: Option<String>,
    ironic_node_id: Option<String>,
    links: Vec<Link>,
}

/// What a node's record is made from.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewNode {
    uuid: Option<String>,
    r#type: Option<String>,
    image_id: Option<String>,
    /// Unique.
    ironic_node_id: Option<String>,
}

const FIELDS: [Field; 4] = [
    Field::optional("uuid", Rule::Uuid),
    Field::optional("type", Rule::Text(MAX_NAME_BYTES)),
    Field::optional("image_id", Rule::Text(MAX_TEXT_BYTES)),
    Field::optional("ironic_node_id", Rule::Text(MAX_NAME_BYTES)),
];

const PATCH: Patchable = Patchable { internal: &[], mandatory: &[], fields: &FIELDS };

impl Shown for NodeView {
    type Full = Node;
    type Summary = NodeSummary;

    fn full(&self, host: &str) -> Node {
        Node {
            uuid: self.head.uuid.to_string(),
            r#type: self.node_type.clone(),
            image_id: self.image_id.clone(),
            ironic_node_id: self.ironic_node_id.clone(),
            host: self.host.clone(),
            status: self.status.clone(),
            status_reason: self.status_reason.clone(),
            status_since: self.status_since.map(Timestamp::rfc3339),
            engine: self.engine.clone(),
            cpus: self.cpus,
            memory_bytes: self.memory_bytes,
            unknown_containers: self.unknown_containers.iter().map(container).collect(),
            unknown_networks: self.unknown_networks.iter().map(network).collect(),
            created_at: self.head.created_at.rfc3339(),
            updated_at: self.head.updated_at.map(Timestamp::rfc3339),
            links: Link::of(host, Kind::Node, self.head.uuid),
        }
    }

    fn summary(&self, host: &str) -> NodeSummary {
        NodeSummary {
            uuid: self.head.uuid.to_string(),
            r#type: self.node_type.clone(),
            image_id: self.image_id.clone(),
            ironic_node_id: self.ironic_node_id.clone(),
            links: Link::of(host, Kind::Node, self.head.uuid),
        }
    }
}

fn container(found: &node::UnknownContainer) -> UnknownContainer {
    UnknownContainer {
        container_uuid: found.container_id.to_string(),
        engine_id: found.engine_id.clone(),
        engine_name: found.engine_name.clone(),
        state: found.state.clone(),
        since: found.since.rfc3339(),
    }
}

fn network(found: &node::UnknownNetwork) -> UnknownNetwork {
    UnknownNetwork {
        bay_uuid: found.bay_id.to_string(),
        engine_id: found.engine_id.clone(),
        engine_name: found.engine_name.clone(),
        since: found.since.rfc3339(),
    }
}

/// What placement needs to know: every node that a backend registered, whoever it belongs to, and
/// how many bays of this project it holds.
pub fn facts(state: &AppState, project: &ProjectId) -> Result<Vec<NodeFacts>, ApiError> {
    let failed = |error: QueryError| ApiError::query(Kind::Node, "", error);
    let query = ListQuery { limit: MAX_LIMIT, ..ListQuery::default() };
    let nodes = state.reads.list::<NodeView>(&ProjectId::default(), &query).map_err(failed)?;
    let facts = nodes.into_iter().map(|node| {
        let id = node.head.uuid;
        let bays = state.reads.count::<BayView>(project, "node_uuid", &id.to_string());
        Ok(NodeFacts {
            node_id: id,
            registered: node.host.is_some(),
            unavailable: (node.status == "unavailable")
                .then(|| node.status_reason.unwrap_or_else(|| "no reason given".to_owned())),
            host: node.host.unwrap_or_default(),
            bays: bays.map_err(failed)?,
        })
    });
    facts.collect()
}

impl Resource for NodeView {
    type New = NewNode;
    type Command = NodeCommand;

    const BODY: &'static [Field] = &FIELDS;
    const PATCH: Patchable = PATCH;
    const SAYS: [&'static str; 3] =
        ["Make a node known", "Change a node's record", "Forget a node"];

    fn check_ident(ident: &str) -> Result<(), ApiError> {
        match canonical_uuid(ident) {
            Some(_) => Ok(()),
            None => {
                let words = format!("Expected a uuid but received {}.", shown(ident));
                Err(ApiError::BadRequest(words))
            }
        }
    }

    fn uuid(new: &NewNode) -> Option<&str> {
        new.uuid.as_deref()
    }

    async fn create(
        state: &AppState,
        call: &Call,
        id: ObjectId,
        new: NewNode,
    ) -> Result<NodeCommand, ApiError> {
        if let Some(ironic) = &new.ironic_node_id {
            let project = &call.ctx.project;
            let holders = state.reads.count::<Self>(project, "ironic_node_id", ironic);
            if holders.map_err(|error| ApiError::query(Kind::Node, ironic, error))? > 0 {
                let words =
                    format!("Ironic node {} belongs to another node already.", shown(ironic));
                let stream = StreamId::new(Kind::Node, id);
                return Err(command::refuse(state, call, stream, "create", words).await);
            }
        }
        Ok(NodeCommand::Create {
            node_type: new.r#type,
            image_id: new.image_id,
            ironic_node_id: new.ironic_node_id,
            host: None,
        })
    }

    fn update(changes: Vec<FieldChange>) -> NodeCommand {
        NodeCommand::Update { changes }
    }

    async fn delete(&self, state: &AppState, _call: &Call) -> Result<NodeCommand, ApiError> {
        Ok(NodeCommand::Delete { bays: bays_on(state, self.head.uuid).await? })
    }

    fn attributes(&self) -> Map<String, Value> {
        [
            ("type", &self.node_type),
            ("image_id", &self.image_id),
            ("ironic_node_id", &self.ironic_node_id),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value.clone())))
        .collect()
    }
}

/// How many bays a node holds, of all projects.
async fn bays_on(state: &AppState, node: ObjectId) -> Result<u64, ApiError> {
    let reads = state.reads.clone();
    let counted = command::blocking(move || {
        let mut bays = 0;
        reads.each(|bay: BayView| bays += u64::from(bay.node_uuid == node)).map(|()| bays)
    });
    counted.await?.map_err(|error| ApiError::query(Kind::Node, "", error))
}
