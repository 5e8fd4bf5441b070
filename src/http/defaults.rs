//! The built-in `default` baymodel and bay of a project: created by ordinary commands when they
//! are first needed, and again if they were deleted. The baymodel is shown before that too, because
//! the clients of 2015 want one for a bay.

use uuid::Uuid;

use super::command::{self, get};
use super::edge::state::AppState;
use super::error::ApiError;
use super::node;
use super::text::derived_id;
use crate::actors::bay::BayCommand;
use crate::actors::baymodel::BaymodelCommand;
use crate::bus::{CommandError, CommandReply, Origin, Refusal};
use crate::events::bay::BayPlan;
use crate::events::baymodel::BaymodelFields;
use crate::ids::{Kind, ObjectId, Position, ProjectId, StreamId, Timestamp};
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;
use crate::projections::query::QueryError;
use crate::projections::{View, ViewHead};

/// Their name.
const NAME: &str = "default";

/// The orchestration engine of baymodels that name none: what runs here.
pub const COE: &str = "docker";

/// The id of a project's built-in object: the same for everybody who needs it first.
fn id(state: &AppState, project: &ProjectId, kind: Kind) -> ObjectId {
    derived_id(state.installation, [&project.0, kind.name(), NAME])
}

/// The project's default object, where it has one: what it calls so itself, or the built-in one
/// under its id, or under the one that it got as long as clients could choose derived ids. Another
/// project may have that one.
fn find<V: View>(state: &AppState, project: &ProjectId) -> Result<Option<V>, ApiError> {
    let own = state.reads.find::<V>(project, NAME).ok().filter(|own| !own.is_deleting());
    if own.is_some() {
        return Ok(own);
    }
    let text = format!("{project}/{}/{NAME}", V::KIND);
    let former = ObjectId(Uuid::new_v5(&state.installation, text.as_bytes()));
    match get(state, project, id(state, project, V::KIND))? {
        None => get(state, project, former),
        found => Ok(found),
    }
}

/// What the built-in baymodel is made from.
fn fields() -> BaymodelFields {
    BaymodelFields {
        name: Some(NAME.to_owned()),
        coe: COE.to_owned(),
        image_id: NAME.to_owned(),
        ..BaymodelFields::default()
    }
}

/// The built-in baymodel of a project as long as it is not recorded, which its first use does, and
/// no other one has its name. To look at it records nothing.
pub fn unrecorded_baymodel(
    state: &AppState,
    project: &ProjectId,
) -> Result<Option<BaymodelView>, ApiError> {
    match state.reads.find::<BaymodelView>(project, NAME) {
        Err(QueryError::NotFound) if find::<BaymodelView>(state, project)?.is_none() => {}
        Ok(_) | Err(QueryError::NotFound | QueryError::Ambiguous) => return Ok(None),
        Err(error) => return Err(ApiError::query(Kind::Baymodel, NAME, error)),
    }
    // As old as the installation, whose id is that of its first event.
    let since = state.installation.get_timestamp().map_or((0, 0), |time| time.to_unix());
    let created_at = Timestamp((since.0 as i64) * 1_000_000 + i64::from(since.1) / 1000);
    let uuid = id(state, project, Kind::Baymodel);
    let head = ViewHead { uuid, project: project.clone(), created_at, ..ViewHead::default() };
    Ok(Some(BaymodelView { head, fields: fields() }))
}

/// The project's default baymodel.
pub async fn baymodel(state: &AppState, ctx: &Origin) -> Result<ObjectId, ApiError> {
    if let Some(view) = find::<BaymodelView>(state, &ctx.project)? {
        return Ok(view.head.uuid);
    }
    let id = id(state, &ctx.project, Kind::Baymodel);
    let create = BaymodelCommand::Create { fields: fields() };
    let made = command::send(state, ctx, StreamId::new(Kind::Baymodel, id), &create).await;
    let (id, position) = recorded(state, id, made)?;
    command::is_seen(state, position).await;
    Ok(id)
}

/// The project's default bay.
pub async fn bay(state: &AppState, ctx: &Origin) -> Result<BayView, ApiError> {
    if let Some(view) = find::<BayView>(state, &ctx.project)? {
        return Ok(view);
    }
    let id = id(state, &ctx.project, Kind::Bay);
    let baymodel_id = baymodel(state, ctx).await?;
    let name = Some(NAME.to_owned());
    let plan = BayPlan { name, baymodel_id, node_count: 1, ..BayPlan::default() };
    let command = BayCommand::Create { plan, nodes: node::facts(state, &ctx.project)?, coe: None };
    let made = command::send(state, ctx, StreamId::new(Kind::Bay, id), &command).await;
    let (id, position) = recorded(state, id, made)?;
    let view = command::view_at::<BayView>(state, &ctx.project, id, position).await?;
    view.ok_or_else(|| ApiError::Internal("The default bay was made, but is not there.".to_owned()))
}

/// What was made, by us or by another request at the same time, and up to where the log has it. It
/// may be an object that the project made itself under this name.
fn recorded(
    state: &AppState,
    id: ObjectId,
    made: Result<CommandReply, ApiError>,
) -> Result<(ObjectId, Position), ApiError> {
    let head = || *state.log.head().borrow();
    match made {
        Ok(reply) => Ok((id, reply.position)),
        Err(ApiError::Command(CommandError::Refused(refusal))) => match refusal {
            Refusal::AlreadyExists { .. } => Ok((id, head())),
            Refusal::NameTaken { holder, .. } => Ok((holder, head())),
            refusal => Err(ApiError::Command(CommandError::Refused(refusal))),
        },
        Err(error) => Err(error),
    }
}
