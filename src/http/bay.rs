//! Bays in the REST API.

use super::error::ApiError;
use super::input::body::Body;
use super::resource::{ObjectCall, Resource};
use super::shape::Shown;
use super::{command, defaults, node, read};
use crate::actors::bay::BayCommand;
use crate::backends::container_name;
use crate::events::bay::{BayPlan, LeftBehind};
use crate::ids::Kind;
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;
use crate::projections::container::ContainerView;
use crate::projections::query::ListQuery;

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
        let (baymodel_id, coe) = match new.take::<Option<String>>("baymodel_id")? {
            Some(ident) => {
                BaymodelView::record(state, call, &ident).await?;
                let model = read::named::<BaymodelView>(state, call, &ident)?;
                (model.head.uuid, Some(model.fields.coe))
            }
            None => (defaults::baymodel(state, &call.on_the_way()).await?, None),
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
        Ok(BayCommand::Create { plan, nodes: node::facts(state, &call.ctx.project)?, coe })
    }

    const DELETE: &'static str = "force";

    async fn delete(&self, on: ObjectCall<'_>) -> Result<BayCommand, ApiError> {
        if on.call.flag("force")? { abandon(self, on).await } else { Ok(BayCommand::Delete) }
    }
}

/// Gives up a bay with what it has, as of all that is recorded.
async fn abandon(bay: &BayView, on: ObjectCall<'_>) -> Result<BayCommand, ApiError> {
    let ObjectCall { call, state, id } = on;
    let head = *state.log.head().borrow();
    command::is_seen(state, head).await;
    let members = ListQuery {
        filters: vec![("bay_uuid".to_owned(), id.to_string())],
        limit: usize::MAX,
        ..ListQuery::default()
    };
    let members = state.reads.list::<ContainerView>(&call.ctx.project, &members);
    let members = members.map_err(|error| ApiError::query(Kind::Container, "", error))?;
    let (mut containers, mut still_deleted) = (vec![], vec![]);
    for member in members {
        match member.stuck() {
            Some(reason) => containers.push(left_behind(&member, reason)),
            None => still_deleted.push(member.head.uuid),
        }
    }
    Ok(BayCommand::Abandon { network_id: bay.network_id.clone(), containers, still_deleted })
}

fn left_behind(container: &ContainerView, reason: &str) -> LeftBehind {
    LeftBehind {
        kind: Kind::Container.name().to_owned(),
        object_id: container.head.uuid,
        name: container.name.clone(),
        engine_name: container_name(container.head.uuid),
        engine_id: container.engine_id.clone(),
        reason: reason.to_owned(),
    }
}
