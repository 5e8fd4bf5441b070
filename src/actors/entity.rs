//! The one generic actor: loads an object from its events, decides, appends, evolves.
//!
//! One message at a time, also across the await of an append. Not here: what is decided (one
//! file a noun), where the actor lives (`directory`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, Message,
    WrapFuture,
};
use serde::Deserialize;

use super::snapshot::{self, Place, Snapshots};
use super::{Entity, Fact};
use crate::bus::{CommandError, CommandMessage, CommandReply, Ctx, Refusal};
use crate::clock;
use crate::events::log::{
    Append, AppendError, Appended, CommandKey, CommandSeen, EventLog, Expected, ReadError,
};
use crate::events::{EventPayload, EventRef, Meta, NewEvent};
use crate::ids::{EventId, Revision, StreamId};

/// Decisions again after a conflict: two writers of one object are a fail-over, not a habit.
const MAX_DECISIONS: usize = 5;

/// An object without messages for so long goes to sleep.
const IDLE: Duration = Duration::from_secs(60);

/// Events taken in at once: the log finds them back from the end, which takes as long for few.
const LOAD_PAGE: usize = 8192;

/// A command for this actor's object. Shared with its sender, who may have to send it again.
#[derive(Message)]
#[rtype(result = "Result<CommandReply, CommandError>")]
pub struct Perform(pub Arc<CommandMessage>);

/// An object's state with its place in the log. Also used without the actor.
pub struct Aggregate<E: Entity> {
    stream: StreamId,
    /// What its events fold to.
    pub state: E::State,
    /// The last event in it; none before the first.
    place: Option<Place>,
    /// The revision of the last snapshot.
    kept: Revision,
}

impl<E: Entity> Clone for Aggregate<E> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), ..*self }
    }
}

impl<E: Entity> Aggregate<E> {
    /// An object before its first event.
    pub fn new(stream: StreamId) -> Self {
        Self { stream, state: E::State::default(), place: None, kept: Revision(0) }
    }

    /// An object as its last snapshot and the events after it say.
    ///
    /// # Errors
    /// When the log cannot be read, or holds events of a newer program.
    pub fn load(
        stream: StreamId,
        log: &dyn EventLog,
        snapshots: &Snapshots,
    ) -> Result<Self, ReadError> {
        let mut aggregate = Self::new(stream);
        if let Some((state, place)) = snapshots.load::<E>(stream)
            && let Some(last) = log.read_stream(stream, place.revision, 1)?.first()
            && last.id == place.event_id
        {
            (aggregate.state, aggregate.place, aggregate.kept) =
                (state, Some(place), place.revision);
        }
        aggregate.catch_up(log)?;
        aggregate.keep(snapshots);
        Ok(aggregate)
    }

    /// Keeps a snapshot if enough has happened since the last one.
    fn keep(&mut self, snapshots: &Snapshots) {
        let Some(place) = self.place else { return };
        if place.revision.get() > self.kept.get() + snapshot::EVERY {
            snapshots.save::<E>(self.stream, &self.state, place);
            self.kept = place.revision;
        }
    }

    /// Takes in what the log has after the present revision.
    ///
    /// # Errors
    /// When the log cannot be read, or holds events of a newer program.
    pub fn catch_up(&mut self, log: &dyn EventLog) -> Result<(), ReadError> {
        loop {
            let from = self.revision().map_or(Revision(0), Revision::next);
            let stream = self.stream;
            let mut take = |event: &EventRef<'_>| self.take(event);
            if log.scan_stream(stream, from, LOAD_PAGE, &mut take)? < LOAD_PAGE {
                return Ok(());
            }
        }
    }

    /// Takes in one event; one that was taken in before changes nothing.
    ///
    /// # Errors
    /// When this program cannot read the event.
    pub fn take(&mut self, recorded: &EventRef<'_>) -> Result<(), ReadError> {
        if self.revision().is_some_and(|revision| recorded.revision <= revision) {
            return Ok(());
        }
        let event = recorded.decode::<E::Event>().map_err(|error| {
            let (stream, position) = (self.stream, recorded.position);
            ReadError::Unreadable(format!("{stream} stands still at position {position}: {error}"))
        })?;
        let fact = Fact {
            id: recorded.id,
            object: self.stream.id,
            time: recorded.time,
            project: recorded.project,
            request_id: recorded.request_id,
        };
        E::evolve(&mut self.state, &event, fact);
        self.place = Some(Place {
            revision: recorded.revision,
            position: recorded.position,
            event_id: recorded.id,
        });
        Ok(())
    }

    fn revision(&self) -> Option<Revision> {
        self.place.map(|place| place.revision)
    }

    fn reply(&self, work: Option<crate::ids::WorkId>) -> CommandReply {
        let Place { position, revision, .. } = self.place.unwrap_or_default();
        CommandReply { stream: self.stream, position, revision, work, repeated: false }
    }

    /// Decides, appends and evolves; on a conflict loads and decides again.
    async fn perform(
        &mut self,
        log: &Arc<dyn EventLog>,
        mut message: Arc<CommandMessage>,
    ) -> Result<CommandReply, CommandError> {
        if message.ctx.service
            && let Some(project) = E::project(&self.state)
        {
            Arc::make_mut(&mut message).ctx.project = project.clone();
        }
        let ctx = &message.ctx;
        let key = command_key(ctx);
        if let Some(key) = &key
            && let Some(seen) =
                log.command(&key.id).map_err(|error| unreadable(self.stream, error))?
        {
            return repeated(log.as_ref(), key, seen);
        }
        if let Some(project) = E::project(&self.state)
            && *project != ctx.project
        {
            let kind = self.stream.kind.name().to_owned();
            return Err(CommandError::Refused(Refusal::NotFound { kind, id: self.stream.id }));
        }
        for _ in 0..MAX_DECISIONS {
            self.check_revision(ctx)?;
            let events = decide::<E>(&self.state, &message)?;
            if events.is_empty() {
                return Ok(self.reply(None));
            }
            let new = new_events(&events, &message);
            let ids: Vec<EventId> = new.iter().map(|event| event.id).collect();
            let append = Append {
                stream: self.stream,
                expected: self.revision().map_or(Expected::NoStream, Expected::Exact),
                command: key.clone(),
                events: new,
            };
            match log.append(append).await {
                Ok(appended) => return self.evolve(&events, &ids, appended, ctx),
                Err(AppendError::Conflict { .. }) => {
                    let caught_up = self.catch_up(log.as_ref());
                    caught_up.map_err(|error| unreadable(self.stream, error))?;
                }
                Err(AppendError::Seen(seen)) => {
                    let Some(key) = key else { return Err(CommandError::CommandIdReused) };
                    return repeated(log.as_ref(), &key, seen);
                }
                Err(error) => return Err(refused_append(error)),
            }
        }
        Err(CommandError::Contended(self.stream))
    }

    fn check_revision(&self, ctx: &Ctx) -> Result<(), CommandError> {
        match (ctx.if_match, self.revision()) {
            (Some(expected), Some(actual)) if expected != actual => {
                Err(CommandError::Refused(Refusal::RevisionMismatch { expected, actual }))
            }
            _ => Ok(()),
        }
    }

    /// Takes in what was acknowledged. A panic here leaves an actor that is not to be trusted.
    fn evolve(
        &mut self,
        events: &[E::Event],
        ids: &[EventId],
        appended: Appended,
        ctx: &Ctx,
    ) -> Result<CommandReply, CommandError> {
        let evolved = catch_unwind(AssertUnwindSafe(|| {
            for (event, id) in events.iter().zip(ids) {
                let fact = Fact {
                    id: *id,
                    object: self.stream.id,
                    time: ctx.now,
                    project: &ctx.project.0,
                    request_id: &ctx.request_id,
                };
                E::evolve(&mut self.state, event, fact);
            }
        }));
        evolved.map_err(|_| CommandError::Internal("an event could not be applied".to_owned()))?;
        self.place = Some(Place {
            revision: appended.revision,
            position: appended.last,
            event_id: ids.last().copied().unwrap_or_default(),
        });
        let first = ids.first().copied();
        Ok(self.reply(first.filter(|id| E::awaits(&self.state, *id))))
    }
}

/// What was decided, as it is recorded.
fn new_events<P: EventPayload>(events: &[P], message: &CommandMessage) -> Vec<NewEvent> {
    let ctx = &message.ctx;
    let mut command = Some(message.command.to_string());
    let new = |event| {
        let meta = Meta { command: command.take(), ..ctx.meta() };
        NewEvent::new(clock::new_event_id(), ctx.now, meta, event)
    };
    events.iter().map(new).collect()
}

/// Decides without letting a panic out: it fails this command only.
fn decide<E: Entity>(
    state: &E::State,
    message: &CommandMessage,
) -> Result<Vec<E::Event>, CommandError> {
    let command = E::Command::deserialize(&message.command)
        .map_err(|error| CommandError::Internal(format!("unreadable command: {error}")))?;
    catch_unwind(AssertUnwindSafe(|| E::decide(state, command, &message.ctx)))
        .map_err(|_| CommandError::Internal("a decision failed".to_owned()))?
        .map_err(CommandError::Refused)
}

fn command_key(ctx: &Ctx) -> Option<CommandKey> {
    let id = ctx.command_id.clone()?;
    let digest = blake3::hash(ctx.digest.as_deref().unwrap_or_default().as_bytes());
    Some(CommandKey { id, digest: *digest.as_bytes() })
}

/// The first answer once more (rule L6).
fn repeated(
    log: &dyn EventLog,
    key: &CommandKey,
    seen: CommandSeen,
) -> Result<CommandReply, CommandError> {
    if seen.digest != key.digest {
        return Err(CommandError::CommandIdReused);
    }
    let before = seen.appended.first.before();
    let first = log.read(before, 1).map_err(|error| unreadable(seen.stream, error))?;
    Ok(CommandReply {
        stream: seen.stream,
        position: seen.appended.last,
        revision: seen.appended.revision,
        work: first.first().map(|event| event.id),
        repeated: true,
    })
}

/// What the sender of a command is told where the log cannot be read.
pub fn unreadable(stream: StreamId, error: ReadError) -> CommandError {
    tracing::error!(%stream, %error, "the events of an object cannot be read");
    match error {
        ReadError::Unreadable(words) => CommandError::Unreadable(words),
        ReadError::Damaged(_) | ReadError::Io(_) => {
            CommandError::Unavailable("the log cannot be read; see the service's log".to_owned())
        }
    }
}

fn refused_append(error: AppendError) -> CommandError {
    match error {
        AppendError::NoSpace(reason) => CommandError::NoSpace(reason),
        AppendError::OutcomeUnknown(reason) => CommandError::OutcomeUnknown(reason),
        AppendError::Closed(reason) => CommandError::Unavailable(reason),
        AppendError::Invalid(reason) => CommandError::Internal(reason),
        AppendError::Conflict { stream, .. } => CommandError::Contended(stream),
        AppendError::Seen(_) => CommandError::CommandIdReused,
    }
}

/// The actor of one object.
pub struct EntityActor<E: Entity> {
    log: Arc<dyn EventLog>,
    snapshots: Snapshots,
    /// None only while a message is being handled, and after one that failed half-way.
    aggregate: Option<Aggregate<E>>,
    last_message: tokio::time::Instant,
}

impl<E: Entity> EntityActor<E> {
    /// An actor over an object that was loaded.
    pub fn new(log: Arc<dyn EventLog>, snapshots: Snapshots, aggregate: Aggregate<E>) -> Self {
        let last_message = tokio::time::Instant::now();
        Self { log, snapshots, aggregate: Some(aggregate), last_message }
    }
}

impl<E: Entity> Actor for EntityActor<E> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(IDLE, |actor, ctx| {
            if actor.last_message.elapsed() >= IDLE {
                ctx.stop();
            }
        });
    }
}

impl<E: Entity> Handler<Perform> for EntityActor<E> {
    type Result = AtomicResponse<Self, Result<CommandReply, CommandError>>;

    fn handle(&mut self, Perform(message): Perform, _ctx: &mut Self::Context) -> Self::Result {
        self.last_message = tokio::time::Instant::now();
        let (log, taken) = (self.log.clone(), self.aggregate.take());
        let snapshots = self.snapshots.clone();
        let performed = async move {
            let Some(mut aggregate) = taken else {
                return (None, Err(CommandError::Overloaded));
            };
            let result = aggregate.perform(&log, message).await;
            aggregate.keep(&snapshots);
            (Some(aggregate), result)
        };
        let settled = |(aggregate, result), actor: &mut Self, ctx: &mut Self::Context| {
            actor.aggregate = aggregate;
            // What may or may not be in the log is known again once it is loaded anew.
            if matches!(result, Err(CommandError::Internal(_) | CommandError::OutcomeUnknown(_))) {
                ctx.stop();
            }
            result
        };
        AtomicResponse::new(Box::pin(performed.into_actor(self).map(settled)))
    }
}
