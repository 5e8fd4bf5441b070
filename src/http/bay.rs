//! Bays in the REST API.

use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::body::Body;
use super::resource::Resource;
use super::respond::Task;
use super::route::{Register, register};
use super::shape::Shown;
use super::{defaults, node};
use crate::actors::bay::BayCommand;
use crate::events::bay::BayPlan;
use crate::events::work::FieldChange;
use crate::ids::{Kind, ObjectId};
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;
use crate::projections::query::QueryError;

impl Shown for BayView {
    const PARTS: &'static [Register] = &[register::<Task>];
}

impl Resource for BayView {
    type Command = BayCommand;

    const SAYS: [&'static str; 4] = [
        "What a bay is made from. Numbers may be text.",
        "Create a bay",
        "Set a bay's node_count",
        "Delete a bay and the containers in it",
    ];

    async fn create(
        state: &AppState,
        call: &Call,
        _id: ObjectId,
        mut new: Body,
    ) -> Result<BayCommand, ApiError> {
        let baymodel_id = match new.take::<Option<String>>("baymodel_id")? {
            Some(ident) => baymodel(state, call, &ident)?,
            None => defaults::baymodel(state, &call.on_the_way()).await?,
        };
        let plan = BayPlan {
            name: new.take("name")?,
            baymodel_id,
            node_count: new.take::<Option<u32>>("node_count")?.unwrap_or(1),
            discovery_url: new.take("discovery_url")?,
            create_timeout_min: new.take("bay_create_timeout")?,
            bay_type: new.take("type")?,
            image_id: new.take("image_id")?,
        };
        Ok(BayCommand::Create { plan, nodes: node::facts(state, &call.ctx.project)? })
    }

    fn update(changes: Vec<FieldChange>) -> BayCommand {
        BayCommand::Update { changes }
    }

    async fn delete(&self, _state: &AppState, _call: &Call) -> Result<BayCommand, ApiError> {
        Ok(BayCommand::Delete)
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
