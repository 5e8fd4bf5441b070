//! Changes as text for people: of an object, of the whole system, and the results of verifying
//! and checking.

use serde_json::{Value, json};

use super::super::error::CliError;
use super::super::options::Format;
use super::super::table;
use super::super::terminal::counted;
use super::document::{by, clock, items, line, number, text, time, title};
use crate::replay::entry::{details, plain};
use crate::replay::fields::is_bookkeeping;

/// Longest value in a table, in characters: two of them fit into a line.
const MAX_SHOWN: usize = 40;

/// Prints what changed about an object; with `is_wide` also how the service kept track of it.
pub fn diff(answer: &Value, is_wide: bool) -> Result<(), CliError> {
    let (from, to) = (number(answer, "/from"), number(answer, "/to"));
    line(&format!("{} from position {from} to {to}", title(answer)))?;
    let changed = items(answer, "fields");
    let shown = if is_wide { changed.to_vec() } else { shown_only(changed, false) };
    if shown.is_empty() && !changed.is_empty() {
        line("No field of it changed; -o wide shows how the service kept track of it.")?;
    } else {
        fields(&shown)?;
    }
    line("Step by step:")?;
    let rows: Vec<Value> = items(answer, "steps")
        .iter()
        .map(|step| {
            let event = step.get("event").unwrap_or(&Value::Null);
            json!({
                "position": event.get("position"),
                "time": if is_wide { time } else { clock }(text(event, "/time")),
                "event": text(event, "/type"),
                "by": if is_wide { by(event) } else { text(event, "/user").to_owned() },
                "changed": in_words(&shown_only(items(step, "fields"), is_wide)),
            })
        })
        .collect();
    table::list(Format::Table, &["position", "time", "event", "by", "changed"], &rows)
}

/// Prints who set a field.
pub fn blame(answer: &Value) -> Result<(), CliError> {
    let (field, value) = (text(answer, "/field"), answer.get("value").unwrap_or(&Value::Null));
    line(&format!("{field} of {} is {}", title(answer), short(value)))?;
    line(&in_words(items(answer, "changed")))?;
    let rows: Vec<Value> = items(answer, "chain")
        .iter()
        .map(|event| {
            json!({
                "position": event.get("position"),
                "time": time(text(event, "/time")),
                "event": text(event, "/type"),
                "object": text(event, "/object"),
                "by": by(event),
                "details": details(event),
            })
        })
        .collect();
    let columns = ["position", "time", "event", "object", "by", "details"];
    table::list(Format::Table, &columns, &rows)
}

/// Prints what changed in the whole system.
pub fn system(answer: &Value, is_wide: bool) -> Result<(), CliError> {
    let (from, to) = (number(answer, "/from"), number(answer, "/to"));
    let counts = answer.get("counts").and_then(Value::as_object).into_iter().flatten();
    let counts: Vec<String> = counts.map(|(name, count)| format!("{count} {name}")).collect();
    let counts = if counts.is_empty() { "nothing changed".to_owned() } else { counts.join(", ") };
    line(&format!("from position {from} to {to}: {counts}"))?;
    let omitted = number(answer, "/omitted");
    if omitted > 0 {
        line(&format!("Omitted: {}.", counted(omitted, "earlier object")))?;
    }
    let rows: Vec<Value> = items(answer, "objects")
        .iter()
        .map(|object| {
            json!({
                "object": text(object, "/object"),
                "name": text(object, "/name"),
                "change": text(object, "/change"),
                "last": format!("{} at {}", text(object, "/type"), number(object, "/last")),
                "by": if is_wide { by(object) } else { text(object, "/user").to_owned() },
                "changed": in_words(&shown_only(items(object, "fields"), is_wide)),
            })
        })
        .collect();
    let columns = ["object", "name", "change", "last", "by", "changed"];
    table::list(Format::Table, &columns, &rows)
}

/// Prints the result of a comparison with the log.
pub fn verified(answer: &Value) -> Result<(), CliError> {
    let (objects, snapshots) = (number(answer, "/objects"), number(answer, "/snapshots"));
    let at = number(answer, "/position");
    for parked in items(answer, "parked") {
        let object = plain(parked);
        line(&format!("{object} has an event that this build cannot apply; it was skipped."))?;
    }
    let Some(difference) = answer.get("difference").filter(|found| found.is_object()) else {
        let (objects, snapshots) = (counted(objects, "object"), counted(snapshots, "snapshot"));
        return line(&format!("{objects} and {snapshots} agree with the log at position {at}."));
    };
    line(&format!(
        "The {} of {} differs from the log at position {}:",
        text(difference, "/kept"),
        text(difference, "/object"),
        number(difference, "/position"),
    ))?;
    fields(items(difference, "fields"))?;
    line(
        "`from` is the stored value, `to` is the one from the log. The directory `cache` may be \
         deleted while the server is stopped; it is rebuilt from the log.",
    )
}

/// Prints the result of deciding commands again.
pub fn checked(answer: &Value) -> Result<(), CliError> {
    let (commands, different) = (number(answer, "/commands"), number(answer, "/different"));
    for difference in items(answer, "differences") {
        line(&format!("{}: {}", text(difference, "/object"), text(difference, "/says")))?;
    }
    let told = counted(commands, "command");
    line(&match (different, commands) {
        (0, 1) => "This build decides the command as it was decided.".to_owned(),
        (0, _) => format!("This build decides all {told} as they were decided."),
        _ => format!("This build decides {different} of {told} differently."),
    })
}

/// Prints fields with their old and new values.
fn fields(changes: &[Value]) -> Result<(), CliError> {
    let value = |change: &Value, name: &str| short(change.get(name).unwrap_or(&Value::Null));
    let rows: Vec<Value> = changes
        .iter()
        .map(|change| {
            let (from, to) = (value(change, "from"), value(change, "to"));
            json!({"field": text(change, "/field"), "from": from, "to": to})
        })
        .collect();
    table::list(Format::Table, &["field", "from", "to"], &rows)
}

/// Changes of what a user means, or with `is_wide` of the whole view; those of the actor's state go
/// with them.
fn shown_only(changes: &[Value], is_wide: bool) -> Vec<Value> {
    let is_shown = |change: &&Value| {
        let field = text(change, "/field");
        if is_wide { !field.starts_with("state.") } else { !is_bookkeeping(field) }
    };
    changes.iter().filter(is_shown).cloned().collect()
}

/// Changes in a line: `status: Stopped -> Running`. An old value of null is left out.
pub fn in_words(changes: &[Value]) -> String {
    let value = |change: &Value, name: &str| change.get(name).cloned().unwrap_or_default();
    let words = changes.iter().map(|change| {
        let (from, to) = (value(change, "from"), value(change, "to"));
        let field = text(change, "/field");
        if from.is_null() {
            format!("{field}: {}", short(&to))
        } else {
            format!("{field}: {} -> {}", short(&from), short(&to))
        }
    });
    words.collect::<Vec<_>>().join("; ")
}

/// A short form of a value; of work items only the action.
fn short(value: &Value) -> String {
    let actions = value.as_array().map(|items| {
        items.iter().filter_map(|item| item.get("action")).map(plain).collect::<Vec<_>>()
    });
    let whole = match (value, actions) {
        (Value::Null, _) => "none".to_owned(),
        (_, Some(actions)) if !actions.is_empty() => format!("[{}]", actions.join(", ")),
        (value, _) => plain(value),
    };
    if whole.chars().count() <= MAX_SHOWN {
        return whole;
    }
    whole.chars().take(MAX_SHOWN).chain(['…']).collect()
}
