//! `bay-delete --force`: a bay whose deletion does not end leaves the record, and what stays behind
//! is listed.
//!
//! The ordinary deletion is asked for first and waited for, so that nothing is given up that can be
//! deleted. Not here: what may be given up, which the server decides.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::args::Targets;
use super::client::Call;
use super::error::CliError;
use super::noun::{Noun, Session, taken_array, text_of};
use super::table;
use super::terminal::printable;
use super::waiting;

/// What is shown of what stays behind.
const COLUMNS: [&str; 5] = ["kind", "name", "engine_name", "engine_id", "reason"];

/// Deletes bays, and gives up those that cannot be deleted.
///
/// # Errors
/// When one can be neither deleted nor given up.
pub async fn delete(noun: Noun, session: &Session, targets: &Targets) -> Result<(), CliError> {
    let many = targets.many();
    let one = async |ident: &str| delete_one(noun, session, ident, many).await;
    noun.try_each(targets, "Delete", one).await
}

async fn delete_one(
    noun: Noun,
    session: &Session,
    ident: &str,
    many: bool,
) -> Result<(), CliError> {
    let client = &session.client;
    let bay = client.send(Call::new(Method::GET, noun.kind).segment(ident)).await?.body;
    // By its UUID: another one may take its name meanwhile.
    let (uuid, node) = (text_of(&bay, "uuid"), text_of(&bay, "node_uuid"));
    let call = Call::new(Method::DELETE, noun.kind).segment(uuid).one_of_many(many);
    if client.waits() && !waiting::is_stuck(client, ident, uuid, call.clone()).await? {
        return Ok(());
    }
    let position = match client.send(call.query("force", Some(1)).part("force")).await {
        Ok(answer) => answer.position.and_then(|it| it.parse::<u64>().ok()).unwrap_or_default(),
        // It went meanwhile.
        Err(CliError::Refused { status: StatusCode::NOT_FOUND, .. }) if client.waits() => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let end = Call::new(Method::GET, noun.kind)
        .segment(uuid)
        .segment("history")
        .query("after", Some(position.saturating_sub(1)))
        .query("limit", Some(1));
    let mut end = client.send(end).await?.body;
    let mut events = taken_array(&mut end, "events");
    let mut told = events.pop().and_then(|mut event| event.get_mut("data").map(Value::take));
    let told = told.get_or_insert_default();
    let deleted = taken_array(told, "still_deleted").len();
    say(&printable(ident), deleted);
    table::list_with(session.format, &[], &COLUMNS, &taken_array(told, "left_behind"))?;
    eprintln!("Within a minute the node shows what of it is there: magnum node-show {node}");
    Ok(())
}

/// Says what became of a bay.
fn say(bay: &str, deleted: usize) {
    match deleted {
        0 => eprintln!("Bay {bay} was given up. Left behind, if it still exists:"),
        1 => eprintln!(
            "Bay {bay} was given up; 1 container is still being deleted. Left behind, if it still \
             exists:"
        ),
        many => eprintln!(
            "Bay {bay} was given up; {many} containers are still being deleted. Left behind, if it \
             still exists:"
        ),
    }
}
