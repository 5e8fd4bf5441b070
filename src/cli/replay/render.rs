//! Prints answers as text for people; programs get the document.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::error::CliError;
use super::super::options::Format;
use super::super::table;
use super::super::terminal::counted;
use super::changes;
use super::document::{by, clock, duration, items, line, number, text, time, title};
use crate::replay::Question;
use crate::replay::entry::details;
use crate::replay::fields::flatten;

/// Prints the answer to a question about an object.
pub fn answer(
    (format, is_wide): (Format, bool),
    question: &Question,
    answer: &Value,
) -> Result<(), CliError> {
    if format != Format::Table {
        return table::show(format, answer);
    }
    match question {
        Question::State { .. } => state(answer),
        Question::Timeline { .. } => timeline(answer, is_wide),
        Question::Diff { .. } => changes::diff(answer, is_wide),
        Question::Blame { .. } => changes::blame(answer),
        Question::Why { .. } => line(text(answer, "/says")),
        Question::WhatIf { .. } => what_if(answer),
        Question::Bundle { .. } => table::show(format, answer),
    }
}

/// Prints when a condition became true.
pub fn found(format: Format, answer: &Value) -> Result<(), CliError> {
    if format != Format::Table {
        return table::show(format, answer);
    }
    let moments = items(answer, "moments");
    let row = |moment: &Value| {
        let event = moment.get("event").unwrap_or(&Value::Null);
        json!({
            "position": event.get("position"), "time": time(text(event, "/time")),
            "object": title(moment), "event": event.get("type"), "by": by(event),
        })
    };
    if moments.is_empty() {
        let position = number(answer, "/position");
        line(&format!("It was never true up to position {position}."))?;
    } else {
        let rows: Vec<Value> = moments.iter().map(row).collect();
        table::list(Format::Table, &["position", "time", "object", "event", "by"], &rows)?;
    }
    match number(answer, "/omitted") {
        0 => {}
        more => line(&format!("Omitted: {}.", counted(more, "later moment")))?,
    }
    match number(answer, "/archived") {
        0 => Ok(()),
        archived => line(&format!(
            "Objects deleted up to position {archived} are archived and were not searched."
        )),
    }
}

fn what_if(answer: &Value) -> Result<(), CliError> {
    line(&format!("{} at {}, hypothetically", title(answer), text(answer, "/at")))?;
    for event in items(answer, "dropped") {
        let (position, name) = (number(event, "/position"), text(event, "/type"));
        line(&format!("without the event at {position}: {name} {}", details(event)))?;
    }
    for asked in items(answer, "asked") {
        let command = asked.get("command").map(ToString::to_string).unwrap_or_default();
        let events = items(asked, "events");
        if let Some(why) = asked.get("refused").and_then(Value::as_str) {
            line(&format!("with {command}: it would be refused: {why}"))?;
        } else if events.is_empty() {
            line(&format!("with {command}: nothing would change"))?;
        }
        for event in events {
            line(&format!("with {command}: {} {}", text(event, "/type"), details(event)))?;
        }
    }
    for work in items(answer, "work") {
        let action = work.get("action").map(ToString::to_string).unwrap_or_default();
        line(&format!("work that would be due: {action}"))?;
    }
    let changes = items(answer, "changes");
    if changes.is_empty() {
        return line("The state would be the same.");
    }
    table::list(Format::Table, &["field", "was", "would_be"], changes)
}

fn state(answer: &Value) -> Result<(), CliError> {
    line(&format!("{} at {}", title(answer), text(answer, "/at")))?;
    line(&format!(
        "position {}, revision v:{}, by {} at {} by {}",
        number(answer, "/position"),
        number(answer, "/revision"),
        text(answer, "/last/type"),
        text(answer, "/last/time"),
        by(answer.get("last").unwrap_or(&Value::Null)),
    ))?;
    match answer.get("view").filter(|view| view.is_object()) {
        Some(view) => {
            line("View:")?;
            table::show(Format::Table, &flatten(view).into())?;
        }
        None => line("It did not exist, so it has no view.")?,
    }
    line("State of its actor:")?;
    let state = answer.get("state").map(flatten).unwrap_or_default();
    table::show(Format::Table, &state.into())
}

/// Columns of a timeline of one object, and of several.
const TIMELINE: [&str; 5] = ["position", "time", "event", "by", "details"];
const RELATED: [&str; 5] = ["position", "time", "event", "object", "details"];

/// Columns of a wide one, without the object if there is only one.
const WIDE_TIMELINE: [&str; 7] = ["position", "time", "event", "object", "by", "took", "details"];

fn timeline(answer: &Value, is_wide: bool) -> Result<(), CliError> {
    line(&title(answer))?;
    let omitted = number(answer, "/omitted");
    if omitted > 0 {
        let omitted = counted(omitted, "earlier event");
        line(&format!("Omitted: {omitted}. --at shows earlier ones."))?;
    }
    let alone = items(answer, "objects").len() < 2;
    let names = names(answer);
    let events = items(answer, "events").iter();
    let rows: Vec<Value> = events.map(|it| step(it, &names, is_wide)).collect();
    let shown = |column: &&str| !alone || *column != "object";
    let columns: Vec<&str> = match (is_wide, alone) {
        (true, _) => WIDE_TIMELINE.into_iter().filter(shown).collect(),
        (false, true) => TIMELINE.to_vec(),
        (false, false) => RELATED.to_vec(),
    };
    table::list(Format::Table, &columns, &rows)?;
    for work in items(answer, "works") {
        let object = if alone { "" } else { names.get(text(work, "/object")).map_or("", |it| it) };
        line(&work_line(work, object))?;
    }
    Ok(())
}

/// Columns of a trace.
const TRACE: [&str; 5] = ["position", "since", "event", "object", "shown"];
const WIDE_TRACE: [&str; 7] = ["position", "since", "event", "object", "by", "took", "shown"];

/// Prints everything that a request caused.
pub fn trace(answer: &Value, is_wide: bool) -> Result<(), CliError> {
    let reason = text(answer, "/reason");
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    line(&format!(
        "{} by {}{reason} at {}, {} from the first event to the last",
        text(answer, "/request_id"),
        text(answer, "/user"),
        text(answer, "/began"),
        duration(number(answer, "/took_ms")),
    ))?;
    let rows: Vec<Value> = items(answer, "events")
        .iter()
        .map(|traced| {
            let object = text(traced, "/event/object").to_owned();
            let names = HashMap::from([(object.as_str(), object.clone())]);
            let mut row = step(traced, &names, is_wide);
            let since = duration(number(traced, "/since_ms"));
            let shown = changes::in_words(items(traced, "shown"));
            if let Some(fields) = row.as_object_mut() {
                fields.extend([
                    ("since".to_owned(), since.into()),
                    ("shown".to_owned(), shown.into()),
                ]);
            }
            row
        })
        .collect();
    let columns = if is_wide { &WIDE_TRACE[..] } else { &TRACE };
    table::list(Format::Table, columns, &rows)?;
    let omitted = number(answer, "/omitted");
    if omitted > 0 {
        line(&format!("Omitted: {}.", counted(omitted, "later event")))?;
    }
    for work in items(answer, "works") {
        line(&work_line(work, text(work, "/object")))?;
    }
    Ok(())
}

/// An event of a timeline as a row of a table: to the second and without its noun, unless there is
/// room.
fn step(step: &Value, names: &HashMap<&str, String>, is_wide: bool) -> Value {
    let event = step.get("event").unwrap_or(&Value::Null);
    let depth = usize::try_from(number(step, "/depth")).unwrap_or_default();
    let took = step.get("took_ms").and_then(Value::as_u64);
    let name = text(event, "/type");
    let fact = name.split_once('.').map_or(name, |(_, fact)| fact);
    json!({
        "position": event.get("position"),
        "time": if is_wide { time } else { clock }(text(event, "/time")),
        "event": format!("{}{}", "  ".repeat(depth), if is_wide { name } else { fact }),
        "object": names.get(text(event, "/object")),
        "by": text(event, "/user"),
        "took": took.map(duration).unwrap_or_default(),
        "details": details(event),
    })
}

/// A work item in a line.
fn work_line(work: &Value, object: &str) -> String {
    let (action, asked) = (text(work, "/action"), number(work, "/asked"));
    let ended = work.get("ended").and_then(Value::as_u64);
    let took = work.get("took_ms").and_then(Value::as_u64).map(duration).unwrap_or_default();
    let end = match (text(work, "/outcome"), ended) {
        ("waiting", _) => "in progress".to_owned(),
        (outcome, Some(ended)) => format!("{outcome} at {ended} after {took}"),
        (outcome, None) => outcome.to_owned(),
    };
    let attempts = match number(work, "/attempts") {
        0 => String::new(),
        attempts => format!(", after {}", counted(attempts, "failed attempt")),
    };
    let words = text(work, "/words");
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    let of = if object.is_empty() { String::new() } else { format!(" of {object}") };
    format!("work: {action}{of}, requested at {asked}, {end}{attempts}{words}")
}

/// The objects of an answer, by name if they have one.
fn names(answer: &Value) -> HashMap<&str, String> {
    let name = |named: &'_ Value| {
        let (object, name) = (text(named, "/object"), text(named, "/name"));
        let kind = object.split('/').next().unwrap_or_default();
        if name.is_empty() { object.to_owned() } else { format!("{kind}/{name}") }
    };
    items(answer, "objects").iter().map(|named| (text(named, "/object"), name(named))).collect()
}
