//! Reading the documents that answer a question, for those who print them.

use serde_json::Value;

use super::super::error::CliError;
use super::super::table;
use super::super::terminal::printable;

/// A text in a document; empty if it is missing.
pub fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number in a document; 0 if it is missing.
pub fn number(document: &Value, pointer: &str) -> u64 {
    document.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// The items of a list in a document.
pub fn items<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The object of an answer, with its name: `container/… (web)`.
pub fn title(answer: &Value) -> String {
    let (object, name) = (text(answer, "/object"), text(answer, "/name"));
    if name.is_empty() { object.to_owned() } else { format!("{object} ({name})") }
}

/// The user of an event, and the request.
pub fn by(event: &Value) -> String {
    let (user, request) = (text(event, "/user"), text(event, "/request_id"));
    if request.is_empty() { user.to_owned() } else { format!("{user} ({request})") }
}

/// Prints a line for people.
pub fn line(words: &str) -> Result<(), CliError> {
    table::print(&format!("{}\n", printable(words)))
}

/// A time to the millisecond.
pub fn time(time: &str) -> &str {
    time.get(..23).unwrap_or(time)
}

/// A time to the second, without its zone, which is UTC.
pub fn clock(time: &str) -> &str {
    time.get(..19).unwrap_or(time)
}

/// A duration as text.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}
