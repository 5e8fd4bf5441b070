//! Carrying out a command: decide, append, evolve; on a conflict load and decide again.
//!
//! Nothing here reads the log on the thread that it runs on: that one may have other objects to
//! serve. Not here: the actor that takes one command at a time (`entity`), what is decided (one
//! file a noun).

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::aggregate::Aggregate;
use super::objects::Objects;
use super::snapshot::SnapshotPoint;
use super::{Entity, Fact, ObjectState as _};
use crate::backends::WorkResult;
use crate::bus::{
    Asked, Authority, CommandError, CommandMessage, CommandReply, Ctx, NounCommand, Origin,
    Refusal, ServiceCommand,
};
use crate::clock;
use crate::events::claim::Claims;
use crate::events::log::{
    Append, AppendError, Appended, CommandKey, CommandSeen, Expected, ReadError,
};
use crate::events::{EventPayload, Meta, NewEvent};
use crate::ids::{EventId, StreamId, Timestamp, WorkId};

/// Decisions again after a conflict: two writers of one object are a fail-over, not a habit.
const MAX_DECISIONS: usize = 5;

impl<E: Entity> Aggregate<E> {
    /// Carries out a command.
    pub(super) async fn perform(
        &mut self,
        objects: &Objects,
        message: &CommandMessage,
        authority: Authority,
    ) -> Result<CommandReply, CommandError> {
        let mut origin = Cow::Borrowed(&message.origin);
        if authority.is_service()
            && let Some(project) = self.state.project()
        {
            origin.to_mut().project = project.clone();
        }
        let key = command_key(&origin);
        if let Some(reply) = self.earlier(objects, message, key.as_ref(), &origin).await? {
            return Ok(reply);
        }
        if let Some(project) = self.state.project()
            && *project != origin.project
        {
            let refusal = if creates::<E>(message) { E::already_exists } else { E::not_found };
            return Err(CommandError::Refused(refusal(self.stream.id)));
        }
        let done = self.decide_and_append(objects, message, authority, &origin, key).await;
        if let Asked::Service(ServiceCommand::Outcome(outcome)) = message.asked()
            && done.is_ok()
            && ends(&outcome.result)
        {
            objects.replies.forget(outcome.work_id);
        }
        done
    }

    async fn decide_and_append(
        &mut self,
        objects: &Objects,
        message: &CommandMessage,
        authority: Authority,
        origin: &Origin,
        key: Option<CommandKey>,
    ) -> Result<CommandReply, CommandError> {
        let text = message.text();
        for _ in 0..MAX_DECISIONS {
            self.check_revision(origin)?;
            let ctx = Ctx { now: clock::now() };
            let events = decide::<E>(&self.state, &text, authority, &ctx)
                .inspect_err(|error| tracing::debug!(%error, "refused"))?;
            let types = || events.iter().map(EventPayload::event_type).collect::<Vec<_>>();
            tracing::debug!(events = ?types(), "decided");
            if events.is_empty() {
                return Ok(self.reply(None));
            }
            let claims = self.naming.claims::<E>(&events, &origin.project, objects.unique_names);
            let new = new_events(&events, (message.id, &text, claims), origin, ctx.now);
            let ids: Vec<EventId> = new.iter().map(|event| event.id).collect();
            // Before the append: who hands the work out may be faster than its answer.
            let reply_to = message.reply_to.zip(ids.first().copied());
            if let Some((reply_to, work)) = reply_to {
                objects.replies.note(work, reply_to);
            }
            let append = Append {
                stream: self.stream,
                expected: self.revision().map_or(Expected::NoStream, Expected::Exact),
                command: key.clone(),
                events: new,
            };
            let error = match objects.log.append(append).await {
                Ok(appended) => return self.evolve(&events, &ids, appended, ctx.now, origin),
                Err(error) => error,
            };
            if let Some((_, work)) = reply_to {
                objects.replies.forget(work);
            }
            match error {
                AppendError::Conflict { .. } => self.reload(objects).await?,
                AppendError::Seen(_) => {}
                error => return Err(refused_append::<E>(error)),
            }
            // Another one may have carried it out meanwhile.
            if let Some(reply) = self.earlier(objects, message, key.as_ref(), origin).await? {
                return Ok(reply);
            }
        }
        Err(CommandError::Contended(self.stream))
    }

    /// Takes in what others have recorded.
    async fn reload(&mut self, objects: &Objects) -> Result<(), CommandError> {
        let mut newer = self.clone();
        let caught_up = objects.read(move |objects| {
            newer.catch_up(objects.log.as_ref())?;
            Ok(newer)
        });
        *self = caught_up.await.map_err(|error| unreadable(self.stream, error))?;
        Ok(())
    }

    /// The first answer again to what was asked before, in this message (rule B4) or in another one
    /// with the same name (rule L6).
    async fn earlier(
        &self,
        objects: &Objects,
        message: &CommandMessage,
        key: Option<&CommandKey>,
        origin: &Origin,
    ) -> Result<Option<CommandReply>, CommandError> {
        let Some(key) = key else {
            let is_there = self.has_led_to_events(objects, message.id).await?;
            let reply = || CommandReply { repeated: true, ..self.reply(Some(message.id)) };
            return Ok(is_there.then(reply));
        };
        let id = key.id.clone();
        let found = objects.read(move |objects| {
            let Some(seen) = objects.log.command(&id)? else { return Ok(None) };
            let first = objects.log.read(seen.appended.first.before(), 1)?;
            Ok(Some((seen, first.into_iter().next())))
        });
        let found = found.await.map_err(|error| unreadable(self.stream, error))?;
        let Some((seen, first)) = found else { return Ok(None) };
        // A client's key is its project's (rule T2), whatever it spells.
        let is_foreign = first.as_ref().is_some_and(|it| it.meta.project != origin.project);
        if origin.digest.is_some() && is_foreign {
            return Err(CommandError::CommandIdReused);
        }
        repeated(key, seen, first.map(|event| event.id)).map(Some)
    }

    /// Whether this message was carried out before.
    async fn has_led_to_events(
        &self,
        objects: &Objects,
        id: EventId,
    ) -> Result<bool, CommandError> {
        if let Some(is_there) = self.latest.has(id) {
            return Ok(is_there);
        }
        let stream = self.stream;
        let found = objects.read(move |objects| Self::has(stream, id, objects.log.as_ref()));
        found.await.map_err(|error| unreadable(stream, error))
    }

    fn check_revision(&self, origin: &Origin) -> Result<(), CommandError> {
        match (origin.if_match, self.revision()) {
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
        now: Timestamp,
        origin: &Origin,
    ) -> Result<CommandReply, CommandError> {
        let mut latest_id = self.place.unwrap_or_default().latest_id;
        for id in ids {
            self.latest.note(*id);
            latest_id = latest_id.max(*id);
        }
        let evolved = catch_unwind(AssertUnwindSafe(|| {
            for (event, id) in events.iter().zip(ids) {
                let fact = Fact {
                    id: *id,
                    object: self.stream.id,
                    time: now,
                    project: &origin.project.0,
                    request_id: &origin.request_id,
                };
                E::evolve(&mut self.state, event, fact);
                self.naming.apply::<E>(event);
            }
        }));
        evolved.map_err(|_| CommandError::Internal("an event could not be applied".to_owned()))?;
        self.place = Some(SnapshotPoint {
            revision: appended.revision,
            position: appended.last,
            event_id: ids.last().copied().unwrap_or_default(),
            latest_id,
        });
        let first = ids.first().copied();
        Ok(self.reply(first.filter(|id| self.state.awaits(*id))))
    }
}

/// Whether work is over with this result.
const fn ends(result: &WorkResult) -> bool {
    matches!(
        result,
        WorkResult::Done(_)
            | WorkResult::Failed { .. }
            | WorkResult::NotStarted { .. }
            | WorkResult::Unknown { .. }
    )
}

/// What was decided, as it is recorded; the first event has the message's id, text and claims.
fn new_events<P: EventPayload>(
    events: &[P],
    (id, text, claims): (EventId, &str, Claims),
    origin: &Origin,
    now: Timestamp,
) -> Vec<NewEvent> {
    let mut first = Some((id, Some(text.to_owned()), claims));
    let later = || (clock::new_event_id(), None, Claims::default());
    let new = |event| {
        let (id, command, claims) = first.take().unwrap_or_else(later);
        NewEvent::new(id, now, Meta { command, claims, ..origin.meta() }, event)
    };
    events.iter().map(new).collect()
}

/// Decides without letting a panic out: it fails this command only.
fn decide<E: Entity>(
    state: &E::State,
    text: &str,
    authority: Authority,
    ctx: &Ctx,
) -> Result<Vec<E::Event>, CommandError> {
    let command: E::Command = serde_json::from_str(text)
        .map_err(|error| CommandError::Internal(format!("unreadable command: {error}")))?;
    if command.is_internal() && !authority.is_service() {
        return Err(CommandError::Forbidden(format!("{authority:?} may not send {text}")));
    }
    catch_unwind(AssertUnwindSafe(|| E::decide(state, command, ctx)))
        .map_err(|_| CommandError::Internal("a decision failed".to_owned()))?
        .map_err(CommandError::Refused)
}

/// Whether a command makes an object. Of one whose id another project has it is told what it would
/// be told of its own; any other command is told that there is none.
fn creates<E: Entity>(message: &CommandMessage) -> bool {
    let command = serde_json::from_str::<E::Command>(&message.text());
    command.is_ok_and(|command| command.is_create())
}

fn command_key(origin: &Origin) -> Option<CommandKey> {
    let id = origin.command_id.clone()?;
    // The service's own commands are known by their ids alone.
    let digest = origin.digest.unwrap_or_else(|| *blake3::hash(b"").as_bytes());
    Some(CommandKey { id, digest })
}

fn repeated(
    key: &CommandKey,
    seen: CommandSeen,
    work: Option<WorkId>,
) -> Result<CommandReply, CommandError> {
    if seen.digest != key.digest {
        return Err(CommandError::CommandIdReused);
    }
    Ok(CommandReply {
        stream: seen.stream,
        position: seen.appended.last,
        revision: seen.appended.revision,
        work,
        repeated: true,
    })
}

/// What the sender of a command is told if the log cannot be read.
pub(super) fn unreadable(stream: StreamId, error: ReadError) -> CommandError {
    tracing::error!(%stream, %error, "the events of an object cannot be read");
    match error {
        ReadError::Unreadable(words) => CommandError::Unreadable(words),
        ReadError::Damaged(_) | ReadError::Io(_) | ReadError::Abandoned => {
            CommandError::Unavailable("the log cannot be read; see the service's log".to_owned())
        }
    }
}

fn refused_append<E: Entity>(error: AppendError) -> CommandError {
    match error {
        AppendError::NoSpace(reason) => CommandError::NoSpace(reason),
        AppendError::OutcomeUnknown(reason) => CommandError::OutcomeUnknown(reason),
        AppendError::NoFiles(_) => CommandError::Unavailable(error.to_string()),
        AppendError::Closed(reason) => CommandError::Unavailable(reason),
        AppendError::Invalid(reason) => CommandError::Internal(reason),
        AppendError::Conflict { stream, .. } => CommandError::Contended(stream),
        AppendError::Seen(_) => CommandError::CommandIdReused,
        AppendError::Claimed { name, holder } => {
            CommandError::Refused(E::name_taken(name.text, holder.id))
        }
    }
}
