//! Whether this build decides as earlier ones did: every command stored in the log is decided
//! again, in the state that it met, and compared with what was recorded.

use std::collections::HashMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::entry::Entry;
use super::object::{self, Decided, Object, Undecided};
use super::{ReplayError, Source};
use crate::bus::Ctx;
use crate::events::Recorded;
use crate::ids::{Position, StreamId, StreamKind};

/// Most differences that are told one by one.
const MAX_TOLD: usize = 100;

/// What deciding again came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct CheckReport {
    /// The last position that was looked at.
    pub position: u64,
    /// How many commands were decided again.
    pub commands: u64,
    /// How many of them would be decided otherwise.
    pub different: u64,
    /// The first of those.
    pub differences: Vec<Redecided>,
}

/// A command that this build decides otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Redecided {
    /// The position of the first event that was recorded for it.
    pub position: u64,
    /// `container/` and its uuid.
    pub object: String,
    /// The command: `start`.
    pub command: String,
    /// What was recorded.
    pub recorded: Vec<String>,
    /// What this build decides.
    pub decided: Vec<String>,
    /// Why it decides nothing, where it says no.
    pub refusal: Option<String>,
    /// All of it in a sentence.
    pub says: String,
}

/// A decision that is compared once all that was recorded for it is known.
struct Pending {
    first: Recorded,
    recorded: Vec<(String, u16, Bytes)>,
    decided: Result<Vec<Decided>, Undecided>,
}

/// Decides every recorded command again. Nothing is recorded or done.
///
/// # Errors
/// When the log or an event cannot be read.
pub fn check(source: &Source) -> Result<CheckReport, ReplayError> {
    let mut checked = CheckReport { position: source.head().get(), ..CheckReport::default() };
    let mut objects: HashMap<StreamId, (Box<dyn Object>, Option<Pending>)> = HashMap::new();
    source.each(Position(0), source.head(), |event| {
        // What is audited was refused: it was decided, but not recorded as a decision.
        if event.stream.kind == StreamKind::Audit {
            return Ok(ControlFlow::Continue(()));
        }
        let fresh = || (object::new(event.stream), None);
        let (folded, pending) = objects.entry(event.stream).or_insert_with(fresh);
        if let Some(command) = &event.meta.command {
            if let Some(before) = pending.take() {
                checked.take(&before);
            }
            let decided = folded.decide(command, &Ctx { now: event.time });
            *pending = Some(Pending { first: event.clone(), recorded: Vec::new(), decided });
        }
        if let Some(pending) = pending {
            let name = event.event_type.as_str().to_owned();
            pending.recorded.push((name, event.version, event.payload.clone()));
        }
        folded.take(event)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let mut last: Vec<Pending> = objects.into_values().filter_map(|(_, last)| last).collect();
    last.sort_by_key(|pending| pending.first.position);
    last.iter().for_each(|pending| checked.take(pending));
    checked.differences.sort_by_key(|difference| difference.position);
    Ok(checked)
}

impl CheckReport {
    fn take(&mut self, pending: &Pending) {
        self.commands += 1;
        let Some(difference) = pending.difference() else { return };
        self.different += 1;
        if self.differences.len() < MAX_TOLD {
            self.differences.push(difference);
        }
    }
}

impl Pending {
    /// What is decided otherwise, if anything is.
    fn difference(&self) -> Option<Redecided> {
        let decided = self.decided.as_deref().unwrap_or_default();
        let is_same = |(recorded, decided): (&(String, u16, Bytes), &Decided)| {
            let (name, version, payload) = recorded;
            // A payload of an older version is another struct; what counts is that it happened.
            name == decided.event_type
                && (*version != decided.version || *payload == decided.payload)
        };
        if decided.len() == self.recorded.len() && self.recorded.iter().zip(decided).all(is_same) {
            return None;
        }
        let recorded: Vec<String> = self.recorded.iter().map(|(name, _, _)| name.clone()).collect();
        let names: Vec<String> = decided.iter().map(|it| it.event_type.to_owned()).collect();
        let refusal = self.decided.as_ref().err().map(ToString::to_string);
        let now = match &refusal {
            Some(words) => format!("this build refuses: {words}"),
            None if names.is_empty() => "this build decides that nothing changes".to_owned(),
            None if names == recorded => {
                "this build emits the same events with other details".to_owned()
            }
            None => format!("this build emits {}", names.join(", ")),
        };
        let position = self.first.position.get();
        let command = Entry::from(&self.first).verb().unwrap_or_default().to_owned();
        let says =
            format!("{} was emitted at {position} for {command}; {now}", recorded.join(", "));
        let object = self.first.stream.to_string();
        Some(Redecided { position, object, command, recorded, decided: names, refusal, says })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock;
    use crate::events::audit::{
        ArchivedV1, AuditEvent, CommandRefusedV1, CountedV1, KeyErasedV1, ReadV1, TokenCreatedV1,
        TokenRevokedV1,
    };
    use crate::events::log::memory::MemoryLog;
    use crate::events::log::{Append, EventLog, Expected};
    use crate::events::{EventPayload, Meta, NewEvent};

    /// An audit event of each kind.
    fn audits() -> Vec<AuditEvent> {
        let text = || "x".to_owned();
        let (object, reason) = (text(), text());
        let refused = CommandRefusedV1 { object, command: text(), code: text(), reason };
        let created =
            TokenCreatedV1 { token: text(), user: text(), role: text(), expires_at: None };
        let counted = CountedV1 { since: Default::default(), commands_refused: 1, reads: 1 };
        vec![
            AuditEvent::CommandRefused(refused),
            AuditEvent::Read(ReadV1 { object: text(), what: text() }),
            AuditEvent::Counted(counted),
            AuditEvent::KeyErased(KeyErasedV1 { key: text() }),
            AuditEvent::Archived(ArchivedV1 { position: Position(1), events: 1 }),
            AuditEvent::TokenCreated(created),
            AuditEvent::TokenRevoked(TokenRevokedV1 { token: text(), user: text(), role: text() }),
        ]
    }

    #[tokio::test]
    async fn audit_events_of_each_kind_are_no_decisions() {
        let audits = audits();
        let mut kinds: Vec<&str> = audits.iter().map(AuditEvent::event_type).collect();
        kinds.sort_unstable();
        let mut all: Vec<&str> = AuditEvent::TYPES.iter().map(|(name, _)| *name).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(kinds, all, "one of each");
        let log = Arc::new(MemoryLog::new());
        let stream = StreamId { kind: StreamKind::Audit, id: clock::new_object_id() };
        // A refused command is recorded with the command, the others may come with one.
        let meta = Meta { command: Some("\"start\"".to_owned()), ..Meta::default() };
        let new = |event| NewEvent::new(clock::new_event_id(), clock::now(), meta.clone(), event);
        let events: Vec<NewEvent> = audits.iter().map(new).collect();
        let append = Append { stream, expected: Expected::NoStream, command: None, events };
        log.append(append).await.unwrap();
        let checked = check(&Source::new(log)).unwrap();
        let wanted = CheckReport { position: kinds.len() as u64, ..CheckReport::default() };
        assert_eq!(checked, wanted);
    }
}
