//! Baymodels in the REST API. PATCH also takes names, as the clients of 2016 do.

use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::body::Body;
use super::resource::Resource;
use super::shape::Shown;
use crate::actors::baymodel::BaymodelCommand;
use crate::events::work::FieldChange;
use crate::ids::{Kind, ObjectId};
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;

impl Shown for BaymodelView {}

impl Resource for BaymodelView {
    type Command = BaymodelCommand;

    const SAYS: [&'static str; 4] = [
        "What a baymodel is made from. Numbers may be text.",
        "Create a baymodel",
        "Set fields",
        "Delete a baymodel that no bay uses",
    ];

    async fn create(
        _state: &AppState,
        _call: &Call,
        _id: ObjectId,
        new: Body,
    ) -> Result<BaymodelCommand, ApiError> {
        Ok(BaymodelCommand::Create { fields: new.into_view::<Self>().fields })
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
}
