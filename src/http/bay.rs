//! Bays in the REST API.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::field::{Field, MAX_COUNT, MAX_TEXT_BYTES, Rule};
use super::input::patch::Patchable;
use super::resource::Resource;
use super::respond::{Link, Shown, Task};
use super::text::MAX_NAME_BYTES;
use super::{defaults, node};
use crate::actors::bay::BayCommand;
use crate::events::bay::BayPlan;
use crate::events::work::FieldChange;
use crate::ids::{Kind, ObjectId, Timestamp};
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;
use crate::projections::query::QueryError;

/// A bay.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bay {
    uuid: String,
    name: Option<String>,
    /// The baymodel's uuid.
    baymodel_id: String,
    node_count: u32,
    /// `CREATE_IN_PROGRESS`, `CREATE_COMPLETE`, ... as OpenStack Heat has them.
    status: String,
    status_reason: Option<String>,
    discovery_url: Option<String>,
    api_address: Option<String>,
    node_addresses: Vec<String>,
    r#type: Option<String>,
    image_id: Option<String>,
    /// The node that holds the bay's network.
    node_uuid: String,
    /// The engine's id of that network.
    network_id: Option<String>,
    /// What it waits for.
    task: Option<Task>,
    created_at: String,
    updated_at: Option<String>,
    links: Vec<Link>,
}

/// A bay in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct BaySummary {
    uuid: String,
    name: Option<String>,
    baymodel_id: String,
    node_count: u32,
    status: String,
    links: Vec<Link>,
}

/// What a bay is made from. Numbers may be text.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewBay {
    uuid: Option<String>,
    /// Not unique.
    name: Option<String>,
    /// A baymodel's uuid or name; the project's `default` one where there is none.
    baymodel_id: Option<String>,
    /// 1 where there is none.
    #[schema(minimum = 1)]
    node_count: Option<u32>,
    /// Minutes until creation counts as failed; 0 never.
    bay_create_timeout: Option<u32>,
    discovery_url: Option<String>,
    r#type: Option<String>,
    image_id: Option<String>,
}

const FIELDS: [Field; 10] = [
    Field::optional("uuid", Rule::Uuid),
    Field::optional("name", Rule::Text(MAX_NAME_BYTES)),
    Field::optional("baymodel_id", Rule::Text(MAX_NAME_BYTES)),
    Field::optional("node_count", Rule::Integer(1, MAX_COUNT)),
    Field::optional("bay_create_timeout", Rule::Integer(0, MAX_COUNT)),
    Field::optional("discovery_url", Rule::Text(MAX_NAME_BYTES)),
    Field::optional("type", Rule::Text(MAX_NAME_BYTES)),
    Field::optional("image_id", Rule::Text(MAX_TEXT_BYTES)),
    Field::optional("api_address", Rule::ReadOnly),
    Field::optional("node_addresses", Rule::ReadOnly),
];

const PATCH: Patchable = Patchable {
    internal: &["api_address", "node_addresses"],
    mandatory: &["baymodel_id", "node_count"],
    fields: &FIELDS,
};

impl Shown for BayView {
    type Full = Bay;
    type Summary = BaySummary;

    fn full(&self, host: &str) -> Bay {
        Bay {
            uuid: self.head.uuid.to_string(),
            name: self.name.clone(),
            baymodel_id: self.baymodel_id.to_string(),
            node_count: self.node_count,
            status: self.status.name().to_owned(),
            status_reason: self.status_reason.clone(),
            discovery_url: self.discovery_url.clone(),
            api_address: None,
            node_addresses: self.network_id.iter().map(|_| self.node_host.clone()).collect(),
            r#type: self.bay_type.clone(),
            image_id: self.image_id.clone(),
            node_uuid: self.node_uuid.to_string(),
            network_id: self.network_id.clone(),
            task: Task::first(&self.tasks),
            created_at: self.head.created_at.rfc3339(),
            updated_at: self.head.updated_at.map(Timestamp::rfc3339),
            links: Link::of(host, Kind::Bay, self.head.uuid),
        }
    }

    fn summary(&self, host: &str) -> BaySummary {
        BaySummary {
            uuid: self.head.uuid.to_string(),
            name: self.name.clone(),
            baymodel_id: self.baymodel_id.to_string(),
            node_count: self.node_count,
            status: self.status.name().to_owned(),
            links: Link::of(host, Kind::Bay, self.head.uuid),
        }
    }
}

impl Resource for BayView {
    type New = NewBay;
    type Command = BayCommand;

    const BODY: &'static [Field] = &FIELDS;
    const PATCH: Patchable = PATCH;
    const SAYS: [&'static str; 3] =
        ["Create a bay", "Set a bay's node_count", "Delete a bay with all in it"];

    fn uuid(new: &NewBay) -> Option<&str> {
        new.uuid.as_deref()
    }

    async fn create(
        state: &AppState,
        call: &Call,
        _id: ObjectId,
        new: NewBay,
    ) -> Result<BayCommand, ApiError> {
        let baymodel_id = match &new.baymodel_id {
            Some(ident) => baymodel(state, call, ident)?,
            None => defaults::baymodel(state, &call.on_the_way()).await?,
        };
        let plan = BayPlan {
            name: new.name,
            baymodel_id,
            node_count: new.node_count.unwrap_or(1),
            discovery_url: new.discovery_url,
            create_timeout_min: new.bay_create_timeout.unwrap_or(0),
            bay_type: new.r#type,
            image_id: new.image_id,
        };
        Ok(BayCommand::Create { plan, nodes: node::facts(state, &call.ctx.project)? })
    }

    fn update(changes: Vec<FieldChange>) -> BayCommand {
        BayCommand::Update { changes }
    }

    async fn delete(&self, _state: &AppState, _call: &Call) -> Result<BayCommand, ApiError> {
        Ok(BayCommand::Delete)
    }

    fn attributes(&self) -> Map<String, Value> {
        [
            ("name", Value::from(self.name.clone())),
            ("baymodel_id", Value::from(self.baymodel_id.to_string())),
            ("node_count", Value::from(self.node_count)),
            ("discovery_url", Value::from(self.discovery_url.clone())),
            ("type", Value::from(self.bay_type.clone())),
            ("image_id", Value::from(self.image_id.clone())),
            ("status", Value::from(self.status.name())),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

/// The baymodel that a body names; an unknown one is the body's fault.
fn baymodel(state: &AppState, call: &Call, ident: &str) -> Result<ObjectId, ApiError> {
    match state.reads.find::<BaymodelView>(&call.ctx.project, ident) {
        Ok(view) => Ok(view.head.uuid),
        Err(QueryError::NotFound) => {
            Err(ApiError::BadRequest(format!("Baymodel {ident} could not be found.")))
        }
        Err(error) => Err(ApiError::query(Kind::Baymodel, ident, error)),
    }
}
