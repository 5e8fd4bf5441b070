//! Bays in the REST API.

use super::error::ApiError;
use super::input::body::Body;
use super::resource::{ObjectCall, Resource};
use super::shape::Shown;
use super::{defaults, node, read};
use crate::actors::bay::BayCommand;
use crate::events::bay::BayPlan;
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;

impl Shown for BayView {}

impl Resource for BayView {
    const SAYS: [&'static str; 4] = [
        "What a bay is made from. Numbers may be text.",
        "Create a bay",
        "Set a bay's node_count",
        "Delete a bay and the containers in it",
    ];

    async fn create(on: ObjectCall<'_>, mut new: Body) -> Result<BayCommand, ApiError> {
        let ObjectCall { call, state, .. } = on;
        let baymodel_id = match new.take::<Option<String>>("baymodel_id")? {
            Some(ident) => {
                BaymodelView::record(state, call, &ident).await?;
                read::named::<BaymodelView>(state, call, &ident)?.head.uuid
            }
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

    async fn delete(&self, _on: ObjectCall<'_>) -> Result<BayCommand, ApiError> {
        Ok(BayCommand::Delete)
    }
}
