//! Baymodels in the REST API. PATCH also takes names, as the clients of 2016 do.

use super::defaults;
use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::body::Body;
use super::resource::{ObjectCall, Resource};
use super::shape::Shown;
use crate::actors::baymodel::BaymodelCommand;
use crate::ids::ProjectId;
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;

impl Shown for BaymodelView {
    fn unrecorded(state: &AppState, project: &ProjectId) -> Result<Option<Self>, ApiError> {
        defaults::unrecorded_baymodel(state, project)
    }
}

impl Resource for BaymodelView {
    const SAYS: [&'static str; 4] = [
        "What a baymodel is made from. Numbers may be text.",
        "Create a baymodel",
        "Set fields",
        "Delete a baymodel that no bay uses",
    ];

    async fn record(state: &AppState, call: &Call, ident: &str) -> Result<(), ApiError> {
        let built_in = Self::unrecorded(state, &call.ctx.project)?;
        if built_in.is_some_and(|it| it.is_called(ident)) {
            defaults::baymodel(state, &call.on_the_way()).await?;
        }
        Ok(())
    }

    async fn create(_on: ObjectCall<'_>, new: Body) -> Result<BaymodelCommand, ApiError> {
        let mut fields = new.into_view::<Self>().fields;
        if fields.coe.is_empty() {
            // The clients before May 2015 have no option for it.
            defaults::COE.clone_into(&mut fields.coe);
        }
        Ok(BaymodelCommand::Create { fields })
    }

    async fn delete(&self, on: ObjectCall<'_>) -> Result<BaymodelCommand, ApiError> {
        let bays = on.count::<BayView>("baymodel_id", &on.id.to_string())?;
        Ok(BaymodelCommand::Delete { bays })
    }
}
