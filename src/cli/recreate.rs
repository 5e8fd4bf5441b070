//! `bay-recreate`: one command for all containers of a bay that need it, after a restore, say.

use std::ops::ControlFlow;

use reqwest::Method;
use serde_json::Value;

use super::acting::Acting;
use super::client::Call;
use super::error::CliError;
use super::noun::{ListArgs, Noun, Session};
use super::options::Format;
use super::table;
use super::terminal::printable;

/// The condition of those that need it.
const NEEDS_RECREATE: &str = "NeedsRecreate";

/// Recreates those containers of a bay, one after the other, and reports each. All are tried; if
/// one fails, so does the command.
pub async fn bay(session: &Session, containers: Noun, bay: &str) -> Result<(), CliError> {
    let rows = containers.rows(session, &ListArgs::default(), Some(bay)).await?;
    let needs: Vec<&Value> = rows.iter().filter(|row| needs_recreate(row)).collect();
    let is_table = session.format == Format::Table;
    if needs.is_empty() && is_table {
        let all = rows.len();
        return table::print(&format!("None of {all} containers needs to be recreated.\n"));
    }
    let mut acting = Acting::new(session, containers, "Recreate");
    for row in needs {
        let text = |field: &str| row.get(field).and_then(Value::as_str);
        let Some(uuid) = text("uuid") else { continue };
        let name = printable(text("name").unwrap_or(uuid));
        let call = Call::new(Method::PUT, containers.kind);
        let call = call.segment(uuid).segment("recreate").one_of_many(true);
        match acting.change(uuid, &name, call).await {
            ControlFlow::Break(()) => break,
            ControlFlow::Continue(true) if is_table => {
                table::print(&format!("Recreated container {name}.\n"))?;
            }
            ControlFlow::Continue(_) => {}
        }
    }
    acting.end(true)
}

fn needs_recreate(row: &Value) -> bool {
    let conditions = row.get("conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|condition| condition == NEEDS_RECREATE)
}
