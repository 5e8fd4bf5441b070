//! `bay-delete --force`: a bay whose deletion does not end leaves the record, and what stays behind
//! is listed.
//!
//! The ordinary deletion is asked for first and waited for, so that nothing is given up that can be
//! deleted. Not here: what may be given up, which the server decides.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::args::Targets;
use super::client::Call;
use super::error::{CliError, say, say_request};
use super::noun::{Noun, Session, taken_array, text_of};
use super::options::Format;
use super::table;
use super::terminal::{counted, printable};
use super::waiting;

/// What is shown of what stays behind.
const COLUMNS: [&str; 5] = ["kind", "name", "engine_name", "engine_id", "reason"];

/// Deletes bays, and gives up those that cannot be deleted. All are tried, and failures are
/// reported as those of other deletions. With `-o json` or `-o yaml` there is a document of each
/// that is gone, of the same form as of other deletions, with what stays behind.
///
/// # Errors
/// When one can be neither deleted nor given up.
pub async fn delete(noun: Noun, session: &Session, targets: &Targets) -> Result<(), CliError> {
    let (mut documents, mut failed) = (Vec::new(), None);
    for ident in targets.idents() {
        match delete_one(noun, session, ident, targets.many()).await {
            Ok(document) => documents.push(document),
            Err(error) if error.is_of_object() => {
                say(&format!("Delete for {} {ident} failed: {}", noun.kind, error.message()));
                say_request(error.request_id());
                failed.get_or_insert_with(|| error.next().map(str::to_owned));
            }
            Err(error) => return Err(error),
        }
    }
    match documents.first() {
        _ if session.format == Format::Table => {}
        Some(document) if !targets.many() => table::show(session.format, document)?,
        _ => table::list(session.format, &[], &documents)?,
    }
    failed.map_or(Ok(()), |next| Err(CliError::Reported(next)))
}

/// Deletes one, and says what became of it; a document of that.
async fn delete_one(
    noun: Noun,
    session: &Session,
    ident: &str,
    many: bool,
) -> Result<Value, CliError> {
    let client = &session.client;
    let bay = client.send(Call::new(Method::GET, noun.kind).segment(ident)).await?.body;
    // By its UUID: another one may take its name meanwhile.
    let uuid = text_of(&bay, "uuid");
    let gone = |request_id: Option<String>, left: Vec<Value>, deleted: Vec<Value>| {
        json!({
            "kind": noun.kind.name(), "uuid": uuid, "name": bay.get("name"), "action": "delete",
            "result": "done", "status": "DELETED", "error": null, "request_id": request_id,
            "left_behind": left, "still_deleted": deleted,
        })
    };
    let call = Call::new(Method::DELETE, noun.kind).segment(uuid).one_of_many(many);
    if client.waits() && !waiting::is_stuck(client, ident, uuid, call.clone()).await? {
        return Ok(gone(None, vec![], vec![]));
    }
    let answer = match client.send(call.query("force", Some(1)).part("force")).await {
        // It went meanwhile.
        Err(CliError::Refused { status: StatusCode::NOT_FOUND, .. }) if client.waits() => {
            return Ok(gone(None, vec![], vec![]));
        }
        answer => answer?,
    };
    let position = answer.position.and_then(|it| it.parse::<u64>().ok()).unwrap_or_default();
    let end = Call::new(Method::GET, noun.kind)
        .segment(uuid)
        .segment("history")
        .query("after", Some(position.saturating_sub(1)))
        .query("limit", Some(1));
    let mut end = client.send(end).await?.body;
    let mut events = taken_array(&mut end, "events");
    let mut told = events.pop().and_then(|mut event| event.get_mut("data").map(Value::take));
    let told = told.get_or_insert_default();
    let (left, deleted) = (taken_array(told, "left_behind"), taken_array(told, "still_deleted"));
    say_left(&printable(ident), deleted.len());
    if session.format == Format::Table {
        table::list_with(session.format, &[], &COLUMNS, &left)?;
    }
    let node = text_of(&bay, "node_uuid");
    eprintln!("Within a minute the node shows what of it is there: magnum node-show {node}");
    Ok(gone(answer.request_id, left, deleted))
}

/// Says what became of a bay.
fn say_left(bay: &str, deleted: usize) {
    let deleted = match u64::try_from(deleted).unwrap_or(u64::MAX) {
        0 => String::new(),
        many => format!(" ({} still being deleted)", counted(many, "container")),
    };
    eprintln!("Bay {bay} was given up{deleted}. Left behind, if it still exists:");
}
