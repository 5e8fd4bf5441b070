//! The built-in `default` baymodel and bay of a project: created by ordinary commands when they
//! are first needed, and again if they were deleted.

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
use crate::ids::{Kind, ObjectId, Position, ProjectId, StreamId};
use crate::projections::View;
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;

/// Their name.
const NAME: &str = "default";

/// The id of a project's built-in object: the same for everybody who needs it first.
fn id(state: &AppState, project: &ProjectId, kind: Kind) -> ObjectId {
    derived_id(state.installation, [&project.0, kind.name(), NAME])
}

/// The project's built-in object, where it has one: under its id, or under the one that it got as
/// long as clients could choose derived ids. Another project may have that one. What the project
/// itself made under this name takes its place.
fn find<V: View>(state: &AppState, project: &ProjectId) -> Result<Option<V>, ApiError> {
    let text = format!("{project}/{}/{NAME}", V::KIND);
    let former = ObjectId(Uuid::new_v5(&state.installation, text.as_bytes()));
    match get(state, project, id(state, project, V::KIND))? {
        None => {}
        found => return Ok(found),
    }
    let own = || state.reads.find::<V>(project, NAME).ok().filter(|own| !own.is_deleting());
    Ok(get(state, project, former)?.or_else(own))
}

/// The project's default baymodel.
pub async fn baymodel(state: &AppState, ctx: &Origin) -> Result<ObjectId, ApiError> {
    if let Some(view) = find::<BaymodelView>(state, &ctx.project)? {
        return Ok(view.head.uuid);
    }
    let id = id(state, &ctx.project, Kind::Baymodel);
    let fields = BaymodelFields {
        name: Some(NAME.to_owned()),
        coe: "docker".to_owned(),
        image_id: NAME.to_owned(),
        ..BaymodelFields::default()
    };
    let stream = StreamId::new(Kind::Baymodel, id);
    let made = command::send(state, ctx, stream, &BaymodelCommand::Create { fields }).await;
    recorded(state, id, made).map(|(id, _)| id)
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
    let command = BayCommand::Create { plan, nodes: node::facts(state, &ctx.project)? };
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
