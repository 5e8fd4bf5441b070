//! Bays in the REST API.

use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::body::Body;
use super::resource::{ObjectCall, Resource};
use super::shape::Shown;
use super::text::canonical_uuid;
use super::{command, defaults, node, read};
use crate::actors::bay::BayCommand;
use crate::backends::container_name;
use crate::events::bay::{BayPlan, LeftBehind, Status};
use crate::ids::{Kind, StreamId};
use crate::projections::View;
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;
use crate::projections::container::ContainerView;
use crate::projections::pod::PodView;
use crate::projections::query::ListQuery;

/// Clients of 2016 say which bay they mean beside what is in it.
pub const BAY: [&str; 1] = ["bay_ident"];

/// The filter for what is in the bay that `bay_ident`, a uuid or a name, means.
pub fn filter(state: &AppState, call: &Call) -> Result<Vec<(String, String)>, ApiError> {
    let Some(ident) = call.argument("bay_ident") else { return Ok(vec![]) };
    // A bay that was there at an earlier point may be gone now.
    let past = canonical_uuid(ident).filter(|_| call.argument("at").is_some());
    let bay = match past {
        Some(id) => id,
        None => read::find::<BayView>(state, call, ident)?.head.uuid,
    };
    Ok(vec![("bay_uuid".to_owned(), bay.to_string())])
}

/// The bay of a new member: the one that its body names, or the project's default. One that is not
/// there any more, or never was, is refused.
pub async fn of_member(
    on: ObjectCall<'_>,
    kind: Kind,
    new: &mut Body,
) -> Result<BayView, ApiError> {
    let ObjectCall { call, state, .. } = on;
    let bay = match new.take::<Option<String>>("bay_uuid")? {
        Some(uuid) => read::named::<BayView>(state, call, &uuid)?,
        None => defaults::bay(state, &call.on_the_way()).await?,
    };
    if bay.status.takes_members() && bay.status != Status::CreateFailed {
        return Ok(bay);
    }
    let id = bay.head.uuid;
    let words = match &bay.status_reason {
        Some(why) if bay.status == Status::CreateFailed => {
            format!("Bay {id} is not there ({why}); use another one.")
        }
        _ => format!("Bay {id} is being deleted; use another one."),
    };
    let (stream, verb) = (StreamId::new(Kind::Bay, id), format!("take a {}", kind.name()));
    Err(command::refuse(state, call, stream, &verb, words).await)
}

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
    let state = on.state;
    let head = *state.log.head().borrow();
    command::is_seen(state, head).await;
    let (mut left, mut still_deleted) = (vec![], vec![]);
    for member in members::<ContainerView>(on)? {
        match member.stuck() {
            Some(reason) => {
                left.push(left_behind(&member, member.engine_id.clone(), reason));
            }
            None => still_deleted.push(member.head.uuid),
        }
    }
    for member in members::<PodView>(on)? {
        match member.stuck() {
            Some(reason) => {
                left.push(left_behind(&member, member.engine_id.clone(), reason));
            }
            None => still_deleted.push(member.head.uuid),
        }
    }
    let (network_id, containers) = (bay.network_id.clone(), left);
    Ok(BayCommand::Abandon { network_id, containers, still_deleted })
}

/// What a bay has of a noun.
fn members<V: View>(on: ObjectCall<'_>) -> Result<Vec<V>, ApiError> {
    let members = ListQuery {
        filters: vec![("bay_uuid".to_owned(), on.id.to_string())],
        limit: usize::MAX,
        ..ListQuery::default()
    };
    let members = on.state.reads.list::<V>(&on.call.ctx.project, &members);
    members.map_err(|error| ApiError::query(V::KIND, "", error))
}

fn left_behind<V: View>(member: &V, engine_id: Option<String>, reason: &str) -> LeftBehind {
    let uuid = member.head().uuid;
    LeftBehind {
        kind: V::KIND.name().to_owned(),
        object_id: uuid,
        name: member.field("name"),
        engine_name: container_name(uuid),
        engine_id,
        reason: reason.to_owned(),
    }
}
