//! `bay-recreate`: one command for all containers of a bay that need it, after a restore, say.

use reqwest::Method;
use serde_json::Value;

use super::client::Call;
use super::error::{CliError, say};
use super::noun::{ListArgs, Noun, Session};
use super::terminal::printable;
use super::{table, waiting};

/// The condition of those that need it.
const NEEDS_RECREATE: &str = "NeedsRecreate";

/// Recreates those containers of a bay, one after the other, and reports each. All are tried; if
/// one fails, so does the command.
pub async fn bay(session: &Session, containers: Noun, bay: &str) -> Result<(), CliError> {
    let rows = containers.rows(session, &ListArgs::default(), Some(bay)).await?;
    let needs: Vec<&Value> = rows.iter().filter(|row| needs_recreate(row)).collect();
    if needs.is_empty() {
        let all = rows.len();
        return table::print(&format!("None of {all} containers needs to be recreated.\n"));
    }
    let mut failed = None;
    for row in needs {
        let text = |field: &str| row.get(field).and_then(Value::as_str);
        let Some(uuid) = text("uuid") else { continue };
        let name = printable(text("name").unwrap_or(uuid));
        let call = Call::new(Method::PUT, containers.kind);
        let call = call.segment(uuid).segment("recreate").one_of_many(true);
        match waiting::change(&session.client, containers.kind, Some(uuid), call).await {
            Ok(answer) if answer.in_progress => containers.say_if_in_progress(&answer, uuid),
            Ok(_) => table::print(&format!("Recreated container {name}.\n"))?,
            Err(error @ (CliError::Refused { .. } | CliError::Advised(..))) => {
                say(&format!("Recreate for container {name} failed: {}", error.message()));
                failed = failed.or(Some(error.next().map(str::to_owned)));
            }
            Err(error) => return Err(error),
        }
    }
    failed.map_or(Ok(()), |next| Err(CliError::Reported(next)))
}

fn needs_recreate(row: &Value) -> bool {
    let conditions = row.get("conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|condition| condition == NEEDS_RECREATE)
}
