//! `bay-delete --force`: a bay whose deletion does not end leaves the record, and what stays behind
//! is listed.
//!
//! The ordinary deletion is asked for first and waited for, so that nothing is given up that can be
//! deleted. Not here: what may be given up, which the server decides.

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};

use super::acting::Acting;
use super::args::Targets;
use super::client::{Answer, Call, REQUEST_ID};
use super::error::CliError;
use super::noun::{Noun, Session, taken_array, text_of};
use super::options::Format;
use super::table;
use super::terminal::{counted, printable};
use super::waiting;

/// What is shown of what stays behind.
const COLUMNS: [&str; 5] = ["kind", "name", "engine_name", "engine_id", "reason"];

/// What stays behind of a bay that is gone, and its containers whose deletion goes on.
#[derive(Default)]
struct Left {
    behind: Vec<Value>,
    still_deleted: Vec<Value>,
}

/// Deletes bays, and gives up those that cannot be deleted. All are tried, and failures are
/// reported as those of other deletions. With `-o json` or `-o yaml` there is a document of each,
/// of the same form as of other deletions, with what stays behind.
///
/// # Errors
/// When one can be neither deleted nor given up.
pub async fn delete(noun: Noun, session: &Session, targets: &Targets) -> Result<(), CliError> {
    let mut acting = Acting::new(session, noun, "Delete");
    for ident in targets.idents() {
        let (client, request_id) = (&session.client, waiting::new_request_id());
        let found = client.send(Call::new(Method::GET, noun.kind).segment(ident)).await;
        let (bay, answered) = match found {
            Ok(Answer { body, .. }) => {
                let call = Call::new(Method::DELETE, noun.kind).one_of_many(targets.many());
                let call = call.header(REQUEST_ID, &request_id);
                let deleted = delete_one(noun, session, ident, &body, call).await;
                (Some(body), deleted)
            }
            Err(error) => (None, Err(error)),
        };
        let (answered, left) = match answered {
            Ok((answer, left)) => {
                (Ok(Answer { request_id: Some(request_id), ..answer }), Some(left))
            }
            Err(error) => (Err(error.of_change(Some(&request_id))), None),
        };
        acting.note(ident, bay, &answered, true).await;
        if let Some(Left { behind, still_deleted }) = left {
            acting.add(Map::from_iter([
                ("left_behind".to_owned(), Value::from(behind)),
                ("still_deleted".to_owned(), Value::from(still_deleted)),
            ]));
        }
        if acting.tell(ident, ident, answered).is_break() {
            break;
        }
    }
    acting.end(targets.many())
}

/// Deletes one, and says what became of it.
async fn delete_one(
    noun: Noun,
    session: &Session,
    ident: &str,
    bay: &Value,
    call: Call<'_>,
) -> Result<(Answer, Left), CliError> {
    let client = &session.client;
    let gone = Answer { in_progress: false, body: Value::Null, position: None, request_id: None };
    // By its UUID: another one may take its name meanwhile.
    let uuid = text_of(bay, "uuid");
    let call = call.segment(uuid);
    if client.waits() && !waiting::is_stuck(client, ident, uuid, call.clone()).await? {
        return Ok((gone, Left::default()));
    }
    let answer = match client.send(call.query("force", Some(1)).part("force")).await {
        // It went meanwhile.
        Err(CliError::Refused { status: StatusCode::NOT_FOUND, .. }) if client.waits() => {
            return Ok((gone, Left::default()));
        }
        answer => answer?,
    };
    let position = answer.position.as_ref().and_then(|it| it.parse::<u64>().ok());
    let end = Call::new(Method::GET, noun.kind)
        .segment(uuid)
        .segment("history")
        .query("after", Some(position.unwrap_or_default().saturating_sub(1)))
        .query("limit", Some(1));
    let mut end = client.send(end).await?.body;
    let mut events = taken_array(&mut end, "events");
    let mut told = events.pop().and_then(|mut event| event.get_mut("data").map(Value::take));
    let told = told.get_or_insert_default();
    let behind = taken_array(told, "left_behind");
    let still_deleted = taken_array(told, "still_deleted");
    say_left(&printable(ident), still_deleted.len());
    if session.format == Format::Table {
        table::list_with(session.format, &[], &COLUMNS, &behind)?;
    }
    let node = text_of(bay, "node_uuid");
    eprintln!("Within a minute the node shows what of it is there: magnum node-show {node}");
    Ok((answer, Left { behind, still_deleted }))
}

/// Says what became of a bay.
fn say_left(bay: &str, deleted: usize) {
    let deleted = match u64::try_from(deleted).unwrap_or(u64::MAX) {
        0 => String::new(),
        many => format!(" ({} still being deleted)", counted(many, "container")),
    };
    eprintln!("Bay {bay} was given up{deleted}. Left behind, if it still exists:");
}
