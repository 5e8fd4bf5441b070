//! What every noun has over REST, written once over [`Resource`]: list, detail, show, create,
//! update, delete, history and the questions of the debugger, with their routes.
//!
//! Not here: what is a noun's own (one file a noun), what is done with containers (`verbs`).

use std::future::{self, Future};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::command::{self, Settled};
use super::edge::request::{Call, Ident};
use super::edge::state::AppState;
use super::error::ApiError;
use super::input::body::Body;
use super::input::ignored;
use super::input::patch::changes_of;
use super::list;
use super::route::{self, Register, Route, Schemas, get, post, register};
use super::shape::{self, Rows, Shown};
use super::stream::pages::{self, EventPage};
use super::text::{canonical_uuid, is_derived};
use super::{read, replay};
use crate::actors::Entity;
use crate::bus::{NounCommand, Refusal};
use crate::events::work::FieldChange;
use crate::ids::{ObjectId, Revision, StreamId};
use crate::projections::View;
use crate::replay::bundle::Bundle;
use crate::replay::diff::{Blame, Diff};
use crate::replay::state::StateAt;
use crate::replay::timeline::Timeline;
use crate::replay::what_if::WhatIf;
use crate::replay::why::Why;

/// Arguments of lists, besides the fields that they filter by.
const LIST: &str = "at limit marker sort_key sort_dir min_position";

/// The commands of a noun by its row in the table of nouns.
pub trait Commanded: Shown {
    /// What its actor takes.
    type Command: NounCommand;

    /// The command that sets fields.
    fn update(changes: Vec<FieldChange>) -> Self::Command;
}

/// Implements [`Commanded`] by the table of nouns.
macro_rules! commanded {
    ([] $($(#[$doc:meta])* $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        $(impl Commanded for $View {
            type Command = <$Entity as Entity>::Command;

            fn update(changes: Vec<FieldChange>) -> Self::Command {
                type Command = <$Entity as Entity>::Command;
                Command::Update { changes }
            }
        })*
    };
}
crate::noun_table!(commanded []);

/// A request about one object, and what its command may be looked up in.
#[derive(Clone, Copy)]
pub struct ObjectCall<'a> {
    /// The request.
    pub call: &'a Call,
    /// What the edge has.
    pub state: &'a AppState,
    /// The object.
    pub id: ObjectId,
}

impl ObjectCall<'_> {
    /// How many objects of the project have a value in a field.
    pub fn count<V: View>(&self, field: &str, value: &str) -> Result<u64, ApiError> {
        let counted = self.state.reads.count::<V>(&self.call.ctx.project, field, value);
        counted.map_err(|error| ApiError::query(V::KIND, value, error))
    }
}

/// What is a noun's own over REST.
pub trait Resource: Commanded {
    /// What a POST's body is, and what creating, changing and deleting one means.
    const SAYS: [&'static str; 4];
    /// Arguments that every request takes and most ignore.
    const EXTRA: &'static [&'static str] = &[];
    /// Whether creating, changing and deleting answer once the work has ended; otherwise they
    /// answer as soon as it is recorded.
    const WAITS: bool = false;

    /// Refuses what cannot name one, where none was found.
    fn check_ident(_ident: &str) -> Result<(), ApiError> {
        Ok(())
    }

    /// Filters of a list that follow from [`Resource::EXTRA`].
    fn filters(_state: &AppState, _call: &Call) -> Result<Vec<(String, String)>, ApiError> {
        Ok(Vec::new())
    }

    /// Records one that is there without being recorded, before it is changed.
    fn record(
        _state: &AppState,
        _call: &Call,
        _ident: &str,
    ) -> impl Future<Output = Result<(), ApiError>> + Send {
        future::ready(Ok(()))
    }

    /// The command that makes one.
    fn create(
        on: ObjectCall<'_>,
        new: Body,
    ) -> impl Future<Output = Result<Self::Command, ApiError>> + Send;

    /// Arguments of an update, besides [`Resource::EXTRA`].
    const UPDATE: &'static str = "";

    /// The command that an update is.
    fn updated(_call: &Call, changes: Vec<FieldChange>) -> Result<Self::Command, ApiError> {
        Ok(Self::update(changes))
    }

    /// Arguments of a deletion, besides [`Resource::EXTRA`].
    const DELETE: &'static str = "";

    /// Refuses changes because of other objects.
    fn check_update(
        &self,
        _on: ObjectCall<'_>,
        _changes: &[FieldChange],
    ) -> impl Future<Output = Result<(), ApiError>> + Send {
        future::ready(Ok(()))
    }

    /// The command that deletes it.
    fn delete(
        &self,
        on: ObjectCall<'_>,
    ) -> impl Future<Output = Result<Self::Command, ApiError>> + Send;
}

/// The routes of a noun.
pub fn routes<R: Resource>() -> Vec<Route> {
    let (one, all) = (R::KIND.name(), R::KIND.collection());
    let (collection, object) = (format!("/v1/{all}"), format!("/v1/{all}/{{ident}}"));
    let [_, made, changed, deleted] = R::SAYS;
    let mut create =
        post(&collection, create::<R>, made).takes(body::<R>).answers_as(shape::object::<R>);
    let mut update = route::patch(&object, update::<R>, changed)
        .query(R::UPDATE)
        .takes(shape::patch::<R>)
        .answers_as(shape::object::<R>);
    let mut delete = route::delete(&object, delete::<R>, deleted).query(R::DELETE);
    if R::WAITS {
        create = create.waits_as(shape::object::<R>);
        update = update.waits_as(shape::object::<R>);
        delete = delete.waits_as(shape::object::<R>);
    }
    let full = format!("List {all} with all fields");
    let history = "Show its history, also after its deletion";
    let mut routes = vec![
        list::<R>(&collection, Rows::Summary, &format!("List {all}"))
            .answers_as(shape::summaries::<R>),
        list::<R>(&format!("{collection}/detail"), Rows::Detail, &full)
            .answers_as(shape::details::<R>),
        get(&object, show::<R>, &format!("Show a {one}"))
            .query("at min_position")
            .answers_as(shape::object::<R>),
        create,
        update,
        delete,
        get(&format!("{object}/history"), pages::history::<R>, history)
            .query("after limit")
            .answers::<EventPage>(),
    ];
    routes.extend(QUESTIONS.into_iter().map(|question| ask::<R>(&object, question)));
    routes
}

/// Pushes the schema of what a POST may have; its name.
fn body<R: Resource>(schemas: &mut Schemas) -> String {
    let [meaning, ..] = R::SAYS;
    shape::new::<R>(meaning, schemas)
}

/// A question about an object: its verb, what it asks, its arguments and its answer.
type ObjectQuestion = (&'static str, &'static str, &'static str, Register);

/// The questions of the debugger.
const QUESTIONS: [ObjectQuestion; 7] = [
    ("state", "Show its state at a point in time", "at", register::<StateAt>),
    (
        "timeline",
        "Show its history with causes, work and outcomes",
        "related at",
        register::<Timeline>,
    ),
    ("diff", "Show what changed between two points, field by field", "from to", register::<Diff>),
    (
        "blame",
        "Show the last event that set a field, and its causes",
        "field at",
        register::<Blame>,
    ),
    ("why", "Explain its state: what it waits for, and its causes", "at", register::<Why>),
    (
        "what-if",
        "Show its state without some events, or after other commands",
        "at drop apply",
        register::<WhatIf>,
    ),
    ("bundle", "Export its history as a file", "related redact", register::<Bundle>),
];

fn ask<R: Resource>(object: &str, (verb, summary, arguments, answer): ObjectQuestion) -> Route {
    let handler = move |State(state): State<AppState>, ident: Ident, call: Call| async move {
        let known: Vec<&str> = arguments.split_whitespace().collect();
        replay::about::<R>(state, ident, call, verb, &known).await
    };
    get(&format!("{object}/{verb}"), handler, summary).query(arguments).answers_as(answer)
}

/// `GET /v1/{collection}` and `GET /v1/{collection}/detail`
fn list<R: Resource>(path: &str, rows: Rows, summary: &str) -> Route {
    let handler = move |State(state): State<AppState>, call: Call| async move {
        let filters = R::filters(&state, &call)?;
        list::page::<R>(&state, &call, rows, R::EXTRA, filters).await
    };
    get(path, handler, summary).query(LIST).filters(shape::filters::<R>())
}

/// `GET /v1/{collection}/{ident}`
async fn show<R: Resource>(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    let answer = read::one::<R>(&state, &call, &ident, R::EXTRA).await;
    answer.map_err(|error| nameless::<R>(&ident, error))
}

/// `POST /v1/{collection}`
///
/// The same request with the same `Idempotency-Key` gets its first answer, before anything is
/// looked at that depends on how things are now (rule L6).
async fn create<R: Resource>(
    State(state): State<AppState>,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(R::EXTRA)?;
    let (reply, warnings) = match command::earlier(&state, &call).await? {
        Some(reply) => (reply, ignored::warnings::<R>(&call.object()?)),
        None => {
            let body = call.object()?;
            let mut new = Body::checked::<R>(&body)?;
            let wanted = canonical_uuid(&new.take::<String>("uuid")?);
            if let Some(id) = wanted {
                check_wanted::<R>(&state, &call, id).await?;
            }
            let id = call.new_id(R::KIND, wanted);
            let on = ObjectCall { call: &call, state: &state, id };
            let command = R::create(on, new).await?;
            let stream = StreamId::new(R::KIND, id);
            let reply = command::send(&state, &call.ctx, stream, &command).await?;
            (reply, ignored::warnings::<R>(&body))
        }
    };
    // A refusal of the engine shows in the object's status, as in the 2015 API.
    let outcome = if R::WAITS {
        command::settle::<R>(&state, &call, &reply).await?
    } else {
        Settled::Done(None)
    };
    command::created::<R>(&state, &call, &reply, &outcome, &warnings).await
}

/// Refuses a uuid that the client may not choose, before anything is made for the new object: one
/// of the kind that the service derives, unless the project has had it, and one that is taken. The
/// answer does not depend on who has it (rule T2).
async fn check_wanted<R: Resource>(
    state: &AppState,
    call: &Call,
    id: ObjectId,
) -> Result<(), ApiError> {
    let (project, stream) = (&call.ctx.project, StreamId::new(R::KIND, id));
    let log = state.log.clone();
    let first = move || log.read_stream(stream, Revision(0), 1);
    let first = command::blocking(first).await??.pop();
    let is_own = first.as_ref().is_some_and(|event| event.meta.project == *project);
    if is_derived(id) && !is_own {
        let reason = "The service assigns uuids of version 5 itself; use a random one (version 4 \
            or 7), or none.";
        return Err(ApiError::field("uuid", id.to_string(), reason));
    }
    // One that is gone decides itself whether its id can be used again.
    let is_there = is_own && command::get::<R>(state, project, id)?.is_some();
    if is_there || (first.is_some() && !is_own) {
        let refusal = Refusal::AlreadyExists { kind: R::KIND.name().to_owned(), id };
        return Err(command::refuse_as(state, call, stream, "create", refusal).await);
    }
    Ok(())
}

/// `PATCH /v1/{collection}/{ident}`
async fn update<R: Resource>(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&arguments::<R>(R::UPDATE))?;
    record::<R>(&state, &call, &ident).await?;
    let find = || find::<R>(&state, &call, &ident);
    let (call, state) = (&call, &state);
    let reply = command::ask(state, call, find, |view: R| async move {
        let changes = changes_of(&call.json()?, &view)?;
        let on = ObjectCall { call, state, id: view.head().uuid };
        view.check_update(on, &changes).await?;
        R::updated(call, changes)
    })
    .await?;
    match command::settle::<R>(state, call, &reply).await? {
        Settled::Done(_) => command::shown::<R>(state, call, &reply, StatusCode::OK).await,
        outcome => command::not_done::<R>(state, call, &reply, outcome).await,
    }
}

/// `DELETE /v1/{collection}/{ident}`
async fn delete<R: Resource>(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&arguments::<R>(R::DELETE))?;
    record::<R>(&state, &call, &ident).await?;
    let find = || find::<R>(&state, &call, &ident);
    let (call, state) = (&call, &state);
    let reply = command::ask(state, call, find, |view: R| async move {
        view.delete(ObjectCall { call, state, id: view.head().uuid }).await
    })
    .await?;
    if !R::WAITS {
        // It goes in its own time; until then its status says that it is being deleted.
        command::is_seen(state, reply.position).await;
        return Ok(command::no_content(&reply));
    }
    let reply = command::joined::<R>(state, call, reply, "delete").await?;
    match command::settle::<R>(state, call, &reply).await? {
        Settled::Done(_) | Settled::Gone => Ok(command::no_content(&reply)),
        outcome => command::not_done::<R>(state, call, &reply, outcome).await,
    }
}

/// The arguments of a request that has these besides [`Resource::EXTRA`].
fn arguments<R: Resource>(own: &'static str) -> Vec<&'static str> {
    R::EXTRA.iter().copied().chain(own.split_whitespace()).collect()
}

/// Records what is about to be changed, if that is not done yet; not for a repetition.
async fn record<R: Resource>(state: &AppState, call: &Call, ident: &str) -> Result<(), ApiError> {
    let known = call.ctx.command_id.as_ref().map(|id| state.log.command(id)).transpose()?;
    if known.flatten().is_none() { R::record(state, call, ident).await } else { Ok(()) }
}

fn find<R: Resource>(state: &AppState, call: &Call, ident: &str) -> Result<R, ApiError> {
    read::find::<R>(state, call, ident).map_err(|error| nameless::<R>(ident, error))
}

/// The refusal where nothing is found: that of what cannot name one goes before.
fn nameless<R: Resource>(ident: &str, error: ApiError) -> ApiError {
    match error {
        ApiError::NotFound(..) => R::check_ident(ident).err().unwrap_or(error),
        error => error,
    }
}
