//! The key that seals a project's secret values, and erasing it.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::command::blocking;
use super::edge::request::{Call, Ident};
use super::edge::state::AppState;
use super::error::ApiError;
use super::{read, respond};
use crate::bus::OutputErasure;
use crate::events::log::{EventLog, ReadError};
use crate::ids::ProjectId;
use crate::secrets::{Secrets, SecretsError, key_of};

/// How many requests of the project left a hash that an erased key does not make useless.
const UNKEYED: HeaderName = HeaderName::from_static("x-magnum-unkeyed-digests");

/// Events that are read at once where such hashes are counted.
const PAGE: usize = 1000;

/// The keys of a project.
#[derive(Debug, Serialize, ToSchema)]
pub struct Keys {
    /// At most one: values are sealed with it from now on too.
    keys: Vec<SealingKey>,
}

/// A key, by what it is called; the key itself is shown to nobody.
#[derive(Debug, Serialize, ToSchema)]
pub struct SealingKey {
    /// `0d4bb5a3c1f0e6d7`; sealed values say it.
    id: String,
}

/// Values as they may be recorded.
pub async fn sealed(
    state: &AppState,
    call: &Call,
    mut values: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ApiError> {
    // Most have none, and need no other thread.
    if values.is_empty() {
        return Ok(values);
    }
    asked(state, call, move |secrets, project| secrets.seal(project, &mut values).map(|()| values))
        .await
}

/// `GET /v1/keys`
pub async fn list(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    call.only(&[])?;
    let id = asked(&state, &call, |secrets, project| secrets.key_id(project)).await?;
    let keys = Keys { keys: id.into_iter().map(|id| SealingKey { id }).collect() };
    Ok(respond::json(StatusCode::OK, &keys))
}

/// `DELETE /v1/keys/{ident}`
///
/// It is erased first and recorded then: an erasure that is on record has happened. The answer says
/// how many digests of requests earlier versions recorded without a key; they stay what they are.
/// The place for counting them comes first: what was erased is not refused any more.
pub async fn erase(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&[])?;
    let place = state.own().places.take_scan(&call.ctx.project).await?;
    let id = ident.clone();
    if !asked(&state, &call, move |secrets, project| secrets.erase(project, &id)).await? {
        return Err(ApiError::NotFound("Key", ident));
    }
    erase_outputs(&state, &call.ctx.project).await;
    state.audit.key_erased(&call.ctx, ident).await?;
    let project = call.ctx.project.clone();
    let counted = read::scan_at(place, &state, move |log| unkeyed(log, &project)).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    match counted {
        Ok(found) => {
            response.headers_mut().insert(UNKEYED, HeaderValue::from(found));
        }
        Err(error) => tracing::warn!(%error, "digests without a key could not be counted"),
    }
    let position = *state.log.head().borrow();
    Ok(respond::at(response, position))
}

/// Has all nodes forget what the commands of a project wrote: it may show what the key sealed. One
/// that cannot be asked keeps it for an hour at most.
async fn erase_outputs(state: &AppState, project: &ProjectId) {
    let nodes = match state.reads.nodes() {
        Ok(nodes) => nodes,
        Err(error) => return tracing::warn!(%error, "the outputs of commands were not erased"),
    };
    for node_id in nodes.into_iter().map(|node| node.head.uuid) {
        let erasure = OutputErasure { node_id, project: project.clone() };
        if let Err(error) = state.bus.erase_output(erasure).await {
            tracing::warn!(%node_id, %error, "the outputs of commands were not erased");
        }
    }
}

/// Requests of a project whose digest was recorded without a key. The first digest with one ends
/// the search: the version that made it makes no others.
fn unkeyed(log: &dyn EventLog, project: &ProjectId) -> Result<u64, ReadError> {
    let (mut after, mut found) = (log.archived(), 0);
    loop {
        let page = log.read(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.position;
        for meta in page.iter().map(|event| &event.meta) {
            // Only the first event of a command has the command.
            let named = meta.command_id.as_ref().filter(|_| meta.command.is_some());
            let Some(seen) = named.map(|id| log.command(id)).transpose()?.flatten() else {
                continue;
            };
            if key_of(&seen.digest).is_some() {
                return Ok(found);
            }
            found += u64::from(meta.project == *project);
        }
    }
}

/// Asks something of the keys, which are files, for the project of a request.
async fn asked<T: Send + 'static>(
    state: &AppState,
    call: &Call,
    ask: impl FnOnce(&Secrets, &ProjectId) -> Result<T, SecretsError> + Send + 'static,
) -> Result<T, ApiError> {
    let (secrets, project) = (state.secrets.clone(), call.ctx.project.clone());
    Ok(blocking(move || ask(&secrets, &project)).await??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Origin;
    use crate::clock;
    use crate::events::audit::{AuditEvent, ReadV1};
    use crate::events::log::memory::MemoryLog;
    use crate::events::log::{Append, CommandKey, Expected};
    use crate::events::{Meta, NewEvent};
    use crate::ids::{CommandId, StreamId, StreamKind};

    async fn record(log: &MemoryLog, project: &str, id: &str, digest: [u8; 32]) {
        let id = CommandId(id.to_owned());
        let origin = Origin {
            project: ProjectId(project.to_owned()),
            command_id: Some(id.clone()),
            digest: Some(digest),
            ..Origin::default()
        };
        let meta = Meta { command: Some("\"start\"".to_owned()), ..origin.meta() };
        let read = ReadV1 { object: String::new(), what: String::new() };
        let event = AuditEvent::Read(read);
        let event = NewEvent::new(clock::new_event_id(), clock::now(), meta, &event);
        let append = Append {
            stream: StreamId { kind: StreamKind::Audit, id: clock::new_object_id() },
            expected: Expected::NoStream,
            command: Some(CommandKey { id, digest }),
            events: vec![event],
        };
        log.append(append).await.unwrap();
    }

    #[tokio::test]
    async fn digests_of_earlier_versions_are_counted_by_project() {
        let home = tempfile::tempdir().unwrap();
        let (log, mine) = (MemoryLog::new(), ProjectId("p".to_owned()));
        let keyed = Secrets::new(home.path().to_owned()).digest(&mine, &[1; 32]).unwrap();
        for (project, id, digest) in [("p", "a", [1; 32]), ("q", "b", [1; 32]), ("p", "c", [2; 32])]
        {
            record(&log, project, id, digest).await;
        }
        assert_eq!(unkeyed(&log, &mine).unwrap(), 2);
        record(&log, "p", "e", keyed).await;
        assert_eq!(unkeyed(&log, &mine).unwrap(), 2);
    }
}
