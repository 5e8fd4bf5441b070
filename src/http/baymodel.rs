//! Baymodels in the REST API. PATCH also takes names, as the clients of 2016 do.

use super::error::ApiError;
use super::input::body::Body;
use super::resource::{ObjectCall, Resource};
use super::shape::Shown;
use crate::actors::baymodel::BaymodelCommand;
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;

impl Shown for BaymodelView {}

impl Resource for BaymodelView {
    const SAYS: [&'static str; 4] = [
        "What a baymodel is made from. Numbers may be text.",
        "Create a baymodel",
        "Set fields",
        "Delete a baymodel that no bay uses",
    ];

    async fn create(_on: ObjectCall<'_>, new: Body) -> Result<BaymodelCommand, ApiError> {
        Ok(BaymodelCommand::Create { fields: new.into_view::<Self>().fields })
    }

    async fn delete(&self, on: ObjectCall<'_>) -> Result<BaymodelCommand, ApiError> {
        let bays = on.count::<BayView>("baymodel_id", &on.id.to_string())?;
        Ok(BaymodelCommand::Delete { bays })
    }
}
