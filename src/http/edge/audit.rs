//! What no change of an object shows, recorded before it is answered: refused commands and reads
//! of what may hold secrets.
//!
//! A command counts as refused if it reached an object, reused an idempotency key, or is one that
//! its user may not give. A malformed request reaches no object and is not recorded; `/metrics`
//! counts it. Not here: how refusals are recorded (`actors/audit`), and accepted commands, which
//! are events of their objects.

use std::sync::Arc;

use serde_json::Value;

use crate::bus::{AuditRecord, Audited, Bus, CommandError, Origin, delivery};
use crate::clock;
use crate::config::AuditConfig;
use crate::events::Meta;
use crate::events::audit::{CommandRefusedV1, KeyErasedV1, ReadV1};
use crate::events::cloudevent::redacted;
use crate::http::error::{FORBIDDEN, command_code};
use crate::ids::{ProjectId, StreamId};
use crate::text;

/// Records what happened. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    wanted: AuditConfig,
    bus: Arc<dyn Bus>,
}

impl Audit {
    /// Records by way of a bus.
    pub const fn new(bus: Arc<dyn Bus>, wanted: AuditConfig) -> Self {
        Self { wanted, bus }
    }

    /// Records that a command was refused, if it was. The answer is the same either way.
    pub async fn refused(
        &self,
        ctx: &Origin,
        stream: StreamId,
        command: &Value,
        error: &CommandError,
    ) {
        let is_refusal = matches!(error, CommandError::Refused(_) | CommandError::CommandIdReused);
        if !self.wanted.refusals || !is_refusal {
            return;
        }
        let event = Audited::CommandRefused(CommandRefusedV1 {
            object: stream.to_string(),
            command: name_of(command),
            code: command_code(error).to_owned(),
            reason: text::words(&error.to_string()),
        });
        let command = Some(redacted(command.clone()).to_string()).filter(|_| !command.is_null());
        if let Err(error) = self.record(Meta { command, ..ctx.meta() }, event).await {
            tracing::error!(%error, %stream, "a refusal was not recorded");
        }
    }

    /// Records that somebody asked for what they may not. The answer is the same either way.
    pub async fn forbidden(&self, meta: Meta, object: String, command: String, words: String) {
        if !self.wanted.refusals {
            return;
        }
        let code = FORBIDDEN.to_owned();
        let reason = text::words(&words);
        let refused = CommandRefusedV1 { object, command, code, reason };
        if let Err(error) = self.record(meta, Audited::CommandRefused(refused)).await {
            tracing::error!(%error, "a refusal was not recorded");
        }
    }

    /// Records that a container's log is read, if that is wanted.
    ///
    /// # Errors
    /// When it cannot be recorded: then it is not to be read.
    pub async fn logs(&self, ctx: &Origin, stream: StreamId) -> Result<(), CommandError> {
        self.read(self.wanted.logs, ctx, stream, "logs").await
    }

    /// Records that the output of a command is read, if that is wanted.
    ///
    /// # Errors
    /// When it cannot be recorded: then it is not to be read.
    pub async fn execute_output(&self, ctx: &Origin, stream: StreamId) -> Result<(), CommandError> {
        self.read(self.wanted.executes, ctx, stream, "execute_output").await
    }

    /// Records that a key was erased, always.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub async fn key_erased(&self, ctx: &Origin, key: String) -> Result<(), CommandError> {
        let recorded = self.record(ctx.meta(), Audited::KeyErased(KeyErasedV1 { key })).await;
        recorded.map_err(|error| {
            CommandError::Unavailable(format!(
                "the key was erased, but the audit event was not \
                recorded: {error}"
            ))
        })
    }

    /// Records what happened to a token of the service's own, always.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub async fn token(&self, project: ProjectId, what: Audited) -> Result<(), CommandError> {
        let user = "magnum:operator".to_owned();
        self.record(Meta { project, user, ..Meta::default() }, what).await
    }

    async fn read(
        &self,
        is_wanted: bool,
        ctx: &Origin,
        stream: StreamId,
        what: &str,
    ) -> Result<(), CommandError> {
        if !is_wanted {
            return Ok(());
        }
        let (object, what) = (stream.to_string(), what.to_owned());
        let recorded = self.record(ctx.meta(), Audited::Read(ReadV1 { object, what })).await;
        recorded.map_err(|error| match error {
            CommandError::NoSpace(reason) => CommandError::NoSpace(reason),
            error => CommandError::Unavailable(format!("the read cannot be recorded: {error}")),
        })
    }

    async fn record(&self, meta: Meta, what: Audited) -> Result<(), CommandError> {
        let record = AuditRecord { id: clock::new_event_id(), meta, what };
        delivery::audit(self.bus.as_ref(), record).await
    }
}

/// What a command asks for: `start` of `"start"` and of `{"start": {…}}`.
fn name_of(command: &Value) -> String {
    let name = match command {
        Value::String(name) => Some(name),
        Value::Object(fields) => fields.keys().next(),
        _ => None,
    };
    name.map_or_else(|| "repeat".to_owned(), Clone::clone)
}
