//! Why an object is in its state: what it waits for, the last message, and the chain of events that
//! led here. As fields for programs, and as a paragraph for people.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::entry::{Entry, facts};
use super::object::{self, Object};
use super::{ReplayError, Source, When, diff, state};
use crate::events::{Mark, codec};
use crate::ids::{Position, StreamId, Timestamp};
use crate::projections::TaskView;

/// Most events before the cause that are told: a container that crashes in a loop has many.
const MAX_BEFORE: usize = 3;

/// Why an object is as it is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Why {
    /// `container/` and its uuid.
    pub object: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The position that this is as of.
    pub position: u64,
    /// Whether it is there: asked for, and not gone.
    pub exists: bool,
    /// Its status; null if its noun has none, or it is gone.
    pub status: Option<String>,
    /// Why, as it is shown.
    pub status_reason: Option<String>,
    /// Since when it is so.
    pub since: Option<String>,
    /// All of it in a paragraph.
    pub says: String,
    /// What it waits for; the first is in progress or tried next.
    pub waits_for: Vec<Waiting>,
    /// What the backend said last: about what waits, else about what failed last.
    pub last_words: Option<String>,
    /// What a recreate would change, as `field value`: what it was made from differs from that.
    pub desired: Vec<String>,
    /// When it counts as failed if nothing has come of it by then, where there is a limit.
    pub deadline: Option<String>,
    /// The event that made it so, then the one that led to that, up to the request.
    pub chain: Vec<Entry>,
    /// Where nobody asked for that: what went wrong or was observed before it, oldest first, the
    /// last few.
    pub before: Vec<Entry>,
}

/// Work that an object waits for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Waiting {
    /// The work's id: that of the event that asked for it.
    pub id: String,
    /// `start`.
    pub action: String,
    /// Since when.
    pub since: String,
    /// Who asked for it.
    pub user: String,
    /// In which request.
    pub request_id: String,
    /// The reason that was given for it.
    pub reason: Option<String>,
    /// How many attempts ended so far.
    pub attempts: u32,
    /// What it is blocked on, if it is.
    pub blocked_on: Option<String>,
    /// Since when it is blocked.
    pub blocked_since: Option<String>,
    /// When it is tried next at the latest.
    pub retry_at: Option<String>,
    /// When the attempt in progress, or else the next one, is given up, if it began as soon as it
    /// was due; later where it could not. Null if it may take forever, or waits behind other work.
    pub attempt_deadline: Option<String>,
    /// The backend's words.
    pub words: Option<String>,
    /// How far it is.
    pub progress: Option<String>,
}

/// Why an object is, or was, as it is.
///
/// # Errors
/// When there is no such object or moment, or the log cannot be read.
pub fn why(source: &Source, stream: StreamId, at: When) -> Result<Why, ReplayError> {
    let position = at.of(source, stream)?;
    let (folded, last) = state::fold(source, stream, position)?;
    let Some(last) = last else {
        return Err(ReplayError::NotFound(format!("{stream} has no event up to {position}.")));
    };
    let at = When::Position(position);
    let field = if folded.field("status").is_some() { "status" } else { "exists" };
    let chain = match diff::blame(source, stream, field, at) {
        Ok(blame) => blame.chain,
        // Nothing but its creation ever happened to what has no status.
        Err(ReplayError::Invalid(_)) => vec![Entry::from(&last)],
        Err(error) => return Err(error),
    };
    // A reboot starts another process and leaves the status as it was.
    let chain = match diff::blame(source, stream, "started_at", at) {
        Ok(process) if is_asked_for_after(&process.chain, &chain) => process.chain,
        Ok(_) | Err(ReplayError::Invalid(_)) => chain,
        Err(error) => return Err(error),
    };
    // What it is the turn of goes first: a signal that passed a stop was asked for after work that
    // waits for it.
    let due = folded.due();
    let is_due = |task: &&TaskView| {
        let id = task.id.to_string();
        due.iter().any(|work| work.get("id").and_then(Value::as_str) == Some(id.as_str()))
    };
    let (first, behind): (Vec<_>, Vec<_>) = folded.tasks().iter().partition(is_due);
    let waits = first.into_iter().chain(behind);
    let waits = waits.map(|task| waiting(source, folded.as_ref(), task));
    let waits_for: Vec<Waiting> = waits.collect::<Result<_, _>>()?;
    let said = waits_for.iter().find_map(|waiting| waiting.words.clone());
    let failed = || folded.outcomes().last().and_then(|last| last.failure.clone());
    let mut why = Why {
        object: stream.to_string(),
        name: state::name(folded.as_ref()),
        position: position.get(),
        exists: folded.head().is_some(),
        status: folded.field("status"),
        status_reason: shown(folded.as_ref(), "status_reason"),
        since: chain.first().map(|event| event.time.clone()),
        says: String::new(),
        waits_for,
        last_words: said.or_else(failed),
        desired: desired(folded.as_ref()),
        deadline: deadline(folded.as_ref()),
        before: before(source, stream, &chain)?,
        chain,
    };
    why.says = paragraph(stream, &why);
    Ok(why)
}

/// What went wrong or was observed before something that nobody asked for: it may have led there.
fn before(source: &Source, stream: StreamId, chain: &[Entry]) -> Result<Vec<Entry>, ReplayError> {
    let Some(last) = chain.first() else { return Ok(Vec::new()) };
    if codec::mark(&last.r#type) != Some(Mark::Observed) {
        return Ok(Vec::new());
    }
    let mut found = VecDeque::with_capacity(MAX_BEFORE);
    source.each_of(stream, Position(last.position).before(), |event| {
        let mark = codec::mark(event.event_type.as_str());
        if matches!(mark, Some(Mark::Observed | Mark::Failed | Mark::Unknown)) {
            if found.len() == MAX_BEFORE {
                found.pop_front();
            }
            found.push_back(Entry::from(event));
        }
        Ok(())
    })?;
    Ok(found.into())
}

/// Whether a chain begins with work that was done after what another one begins with.
fn is_asked_for_after(chain: &[Entry], other: &[Entry]) -> bool {
    let is_done = |event: &&Entry| matches!(codec::mark(&event.r#type), Some(Mark::Done(_)));
    let position = |chain: &[Entry]| chain.first().map(|event| event.position);
    chain.first().filter(is_done).is_some() && position(chain) > position(other)
}

/// Who asked for work, and how it is.
fn waiting(source: &Source, folded: &dyn Object, task: &TaskView) -> Result<Waiting, ReplayError> {
    let asked = source.find(task.id)?;
    let meta = asked.map(|event| event.meta).unwrap_or_default();
    Ok(Waiting {
        id: task.id.to_string(),
        action: task.action.clone(),
        since: task.requested_at.rfc3339(),
        user: meta.user,
        request_id: meta.request_id,
        reason: meta.reason,
        attempts: task.attempts,
        blocked_on: task.blocked_on.clone(),
        blocked_since: task.blocked_since.map(Timestamp::rfc3339),
        retry_at: task.retry_at.map(Timestamp::rfc3339),
        attempt_deadline: folded.deadline(task.id).map(Timestamp::rfc3339),
        words: task.reason.clone(),
        progress: task.progress.clone(),
    })
}

/// A text that is shown of an object.
fn shown(folded: &dyn Object, field: &str) -> Option<String> {
    folded.view()?.get(field).and_then(Value::as_str).map(str::to_owned)
}

/// What it is wanted to be, beside what it was made from.
fn desired(folded: &dyn Object) -> Vec<String> {
    let view = folded.view().unwrap_or_default();
    let wanted = view.get("desired").and_then(Value::as_object).into_iter().flatten();
    wanted.map(|(field, new)| format!("{field} {}", new.as_str().unwrap_or_default())).collect()
}

/// When an object counts as failed: only while it is being made.
fn deadline(folded: &dyn Object) -> Option<String> {
    let limit = folded.state().get("create_deadline").and_then(Value::as_str).map(str::to_owned);
    limit.filter(|_| folded.tasks().first().is_some_and(|task| task.action == "create"))
}

/// Whether it is gone without having been deleted.
fn was_given_up(why: &Why) -> bool {
    let last = why.chain.first().map(|event| event.r#type.as_str());
    matches!(last, Some("bay.abandoned" | "container.abandoned"))
}

/// All of it in a paragraph.
fn paragraph(stream: StreamId, why: &Why) -> String {
    let (kind, id) = (stream.kind.title(), stream.id.to_string());
    let name = why.name.as_ref().unwrap_or(&id);
    let (what, at) = match (&why.status, why.exists) {
        (Some(status), _) => (format!("has been {status}"), "since"),
        (None, true) => ("has existed".to_owned(), "since"),
        (None, false) if was_given_up(why) => ("was given up".to_owned(), "at"),
        (None, false) => ("was deleted".to_owned(), "at"),
    };
    let mut said = vec![format!("{kind} {name} {what}")];
    if let Some(since) = &why.since {
        said.push(format!(" {at} {since}"));
    }
    said.push(match &why.status_reason {
        Some(reason) => format!(": {reason}."),
        None => ".".to_owned(),
    });
    if let Some(first) = why.waits_for.first() {
        said.push(waits(first, why.waits_for.len()));
    } else {
        said.push(" It is not waiting for anything.".to_owned());
    }
    if !why.desired.is_empty() {
        let wanted = why.desired.join(", ");
        said.push(format!(" What runs is not what is wanted: a recreate would set {wanted}."));
    }
    if let Some(deadline) = &why.deadline {
        said.push(format!(" Without an outcome it fails at {deadline}."));
    }
    said.push(led_here(&why.chain));
    said.push(happened(&why.before));
    said.concat()
}

/// What it waits for, in sentences.
fn waits(first: &Waiting, count: usize) -> String {
    let mut said = format!(" It is waiting for {}", first.action);
    said += &format!(", requested by {} at {}", by(&first.user, &first.request_id), first.since);
    if let Some(reason) = &first.reason {
        said += &format!(" ({reason})");
    }
    said.push('.');
    match (&first.blocked_on, &first.progress) {
        (Some(on), _) => {
            said += &format!(" It is blocked on {on}");
            said +=
                &first.blocked_since.iter().map(|at| format!(" since {at}")).collect::<String>();
            said += &match first.attempts {
                0 => ", before its first attempt".to_owned(),
                1 => ", after 1 attempt".to_owned(),
                many => format!(", after {many} attempts"),
            };
            said += &first.words.iter().map(|it| format!(": {it}")).collect::<String>();
            said.push('.');
            if first.retry_at == first.blocked_since {
                said += " It begins as soon as it can.";
            } else if let Some(retry) = &first.retry_at {
                said += &format!(" It is retried at {retry} at the latest.");
            }
        }
        (None, Some(progress)) => said += &format!(" It is {progress}."),
        (None, None) => said += " Its node is working on it.",
    }
    if let Some(deadline) = &first.attempt_deadline {
        said += &format!(" The attempt times out at {deadline}, or later if it started late.");
    }
    match count {
        0 | 1 => {}
        2 => said += " One more is queued behind it.",
        _ => said += &format!(" {} more are queued behind it.", count - 1),
    }
    said
}

/// The chain of events, the latest first.
fn led_here(chain: &[Entry]) -> String {
    let Some((last, before)) = chain.split_first() else { return String::new() };
    let told = |event: &Entry| {
        let reason = event.reason.iter().map(|reason| format!(" ({reason})")).collect::<String>();
        let who = by(&event.user, &event.request_id);
        format!("{} at position {} by {who}{reason}", event.r#type, event.position)
    };
    let mut said = format!(" The cause is {}", told(last));
    for event in before {
        said += &format!(", caused by {}", told(event));
    }
    said + "."
}

/// What happened before, oldest first.
fn happened(before: &[Entry]) -> String {
    let told = |event: &Entry| {
        let facts = facts(&object::json(event));
        let facts = if facts.is_empty() { facts } else { format!(" ({facts})") };
        format!("{}{facts} at position {}, {}", event.r#type, event.position, event.time)
    };
    let told: Vec<String> = before.iter().map(told).collect();
    if told.is_empty() { String::new() } else { format!(" Before that: {}.", told.join("; ")) }
}

/// Who, and in which request.
fn by(user: &str, request_id: &str) -> String {
    if request_id.is_empty() { user.to_owned() } else { format!("{user} in {request_id}") }
}
