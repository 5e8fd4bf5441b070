//! Baymodels in the REST API. PATCH also takes names, as the clients of 2016 do.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::field::{Field, MAX_COUNT, MAX_TEXT_BYTES, Rule};
use super::input::patch::Patchable;
use super::resource::Resource;
use super::respond::{Link, Shown};
use super::text::MAX_NAME_BYTES;
use crate::actors::baymodel::BaymodelCommand;
use crate::events::baymodel::BaymodelFields;
use crate::events::work::FieldChange;
use crate::ids::{Kind, ObjectId, Timestamp};
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;

/// A baymodel.
#[derive(Debug, Serialize, ToSchema)]
pub struct Baymodel {
    uuid: String,
    name: Option<String>,
    /// Container orchestration engine: `docker`, `kubernetes`, `swarm`.
    coe: String,
    image_id: String,
    keypair_id: Option<String>,
    flavor_id: Option<String>,
    master_flavor_id: Option<String>,
    external_network_id: Option<String>,
    fixed_network: Option<String>,
    dns_nameserver: Option<String>,
    apiserver_port: Option<u16>,
    /// Gigabytes.
    docker_volume_size: Option<u32>,
    ssh_authorized_key: Option<String>,
    cluster_distro: Option<String>,
    created_at: String,
    updated_at: Option<String>,
    links: Vec<Link>,
}

/// A baymodel in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct BaymodelSummary {
    uuid: String,
    name: Option<String>,
    coe: String,
    image_id: String,
    apiserver_port: Option<u16>,
    links: Vec<Link>,
}

/// What a baymodel is made from. Numbers may be text.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewBaymodel {
    uuid: Option<String>,
    name: Option<String>,
    /// Container orchestration engine: `docker`, `kubernetes`, `swarm`.
    coe: String,
    image_id: String,
    keypair_id: String,
    flavor_id: Option<String>,
    master_flavor_id: Option<String>,
    external_network_id: Option<String>,
    fixed_network: Option<String>,
    /// An IPv4 address.
    dns_nameserver: Option<String>,
    #[schema(minimum = 1024)]
    apiserver_port: Option<u16>,
    /// Gigabytes.
    #[schema(minimum = 1)]
    docker_volume_size: Option<u32>,
    ssh_authorized_key: Option<String>,
    cluster_distro: Option<String>,
}

const FIELDS: [Field; 14] = [
    Field::optional("uuid", Rule::Uuid),
    Field::optional("name", Rule::Text(MAX_NAME_BYTES)),
    Field::mandatory("coe", Rule::Text(MAX_NAME_BYTES)),
    Field::mandatory("image_id", Rule::Text(MAX_NAME_BYTES)),
    Field::mandatory("keypair_id", Rule::Text(MAX_NAME_BYTES)),
    Field::optional("flavor_id", Rule::Text(MAX_NAME_BYTES)),
    Field::optional("master_flavor_id", Rule::Text(MAX_NAME_BYTES)),
    Field::optional("external_network_id", Rule::Text(MAX_NAME_BYTES)),
    Field::optional("fixed_network", Rule::Text(MAX_NAME_BYTES)),
    Field::optional("dns_nameserver", Rule::Ipv4),
    Field::optional("apiserver_port", Rule::Integer(1024, 65535)),
    Field::optional("docker_volume_size", Rule::Integer(1, MAX_COUNT)),
    Field::optional("ssh_authorized_key", Rule::Text(MAX_TEXT_BYTES)),
    Field::optional("cluster_distro", Rule::Text(MAX_NAME_BYTES)),
];

const PATCH: Patchable =
    Patchable { internal: &[], mandatory: &["coe", "image_id", "keypair_id"], fields: &FIELDS };

impl Shown for BaymodelView {
    type Full = Baymodel;
    type Summary = BaymodelSummary;

    fn full(&self, host: &str) -> Baymodel {
        let fields = self.fields.clone();
        Baymodel {
            uuid: self.head.uuid.to_string(),
            name: fields.name,
            coe: fields.coe,
            image_id: fields.image_id,
            keypair_id: fields.keypair_id,
            flavor_id: fields.flavor_id,
            master_flavor_id: fields.master_flavor_id,
            external_network_id: fields.external_network_id,
            fixed_network: fields.fixed_network,
            dns_nameserver: fields.dns_nameserver,
            apiserver_port: fields.apiserver_port,
            docker_volume_size: fields.docker_volume_size_gb,
            ssh_authorized_key: fields.ssh_authorized_key,
            cluster_distro: fields.cluster_distro,
            created_at: self.head.created_at.rfc3339(),
            updated_at: self.head.updated_at.map(Timestamp::rfc3339),
            links: Link::of(host, Kind::Baymodel, self.head.uuid),
        }
    }

    fn summary(&self, host: &str) -> BaymodelSummary {
        BaymodelSummary {
            uuid: self.head.uuid.to_string(),
            name: self.fields.name.clone(),
            coe: self.fields.coe.clone(),
            image_id: self.fields.image_id.clone(),
            apiserver_port: self.fields.apiserver_port,
            links: Link::of(host, Kind::Baymodel, self.head.uuid),
        }
    }
}

impl Resource for BaymodelView {
    type New = NewBaymodel;
    type Command = BaymodelCommand;

    const BODY: &'static [Field] = &FIELDS;
    const PATCH: Patchable = PATCH;
    const SAYS: [&'static str; 3] =
        ["Create a baymodel", "Set fields", "Delete a baymodel that no bay uses"];

    fn uuid(new: &NewBaymodel) -> Option<&str> {
        new.uuid.as_deref()
    }

    async fn create(
        _state: &AppState,
        _call: &Call,
        _id: ObjectId,
        new: NewBaymodel,
    ) -> Result<BaymodelCommand, ApiError> {
        let fields = BaymodelFields {
            name: new.name,
            coe: new.coe,
            image_id: new.image_id,
            keypair_id: Some(new.keypair_id),
            flavor_id: new.flavor_id,
            master_flavor_id: new.master_flavor_id,
            external_network_id: new.external_network_id,
            fixed_network: new.fixed_network,
            dns_nameserver: new.dns_nameserver,
            apiserver_port: new.apiserver_port,
            docker_volume_size_gb: new.docker_volume_size,
            ssh_authorized_key: new.ssh_authorized_key,
            cluster_distro: new.cluster_distro,
        };
        Ok(BaymodelCommand::Create { fields })
    }

    fn update(changes: Vec<FieldChange>) -> BaymodelCommand {
        BaymodelCommand::Update { changes }
    }

    async fn delete(&self, state: &AppState, call: &Call) -> Result<BaymodelCommand, ApiError> {
        let id = self.head.uuid.to_string();
        let bays = state.reads.count::<BayView>(&call.ctx.project, "baymodel_id", &id);
        let bays = bays.map_err(|error| ApiError::query(Kind::Baymodel, &id, error))?;
        Ok(BaymodelCommand::Delete { bays })
    }

    /// All fields, those that are not set as null.
    fn attributes(&self) -> Map<String, Value> {
        let full = serde_json::to_value(self.full("")).unwrap_or_default();
        let known = |name: &str| FIELDS.iter().any(|field| field.name == name);
        match full {
            Value::Object(all) => all.into_iter().filter(|(name, _)| known(name)).collect(),
            _ => Map::new(),
        }
    }
}
