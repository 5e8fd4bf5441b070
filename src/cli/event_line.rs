//! An event as one line for people: its position, when, which object by name, what happened, who
//! requested it.
//!
//! Not here: which events (`events`), what is said of an event's data (`replay::entry`).

use serde_json::Value;

use super::error::CliError;
use super::options::Format;
use super::table;
use super::terminal::{GREEN, RED, YELLOW, paint, printable, printable_json};
use crate::events::{Mark, codec};
use crate::replay::entry::facts;

/// Characters of `2015-05-21` and of `20:46:13` in a time.
const DATE: std::ops::Range<usize> = 0..10;
const TIME: std::ops::Range<usize> = 11..19;

/// Writes lines, and keeps track of the day.
pub struct Lines {
    is_wide: bool,
    colour: bool,
    shows_project: bool,
    day: String,
}

impl Lines {
    /// Lines with the time of day, or wide ones with every field; with the project where events are
    /// of several.
    pub const fn new(is_wide: bool, colour: bool, shows_project: bool) -> Self {
        Self { is_wide, colour, shows_project, day: String::new() }
    }

    /// An event in one line, after a line with the date if the day has changed.
    pub fn of(&mut self, event: &Value) -> String {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        // The colours are ours; everything else is escaped.
        let (time, position) = (printable(text("time")), printable(text("position")));
        let mut line = String::new();
        if self.is_wide {
            line.push_str(&format!("{position:>8}  {time}  "));
        } else {
            let day = time.get(DATE).unwrap_or_default();
            if day != self.day {
                day.clone_into(&mut self.day);
                line.push_str(&format!("{day}\n"));
            }
            line.push_str(&format!("{position:>6}  {}  ", time.get(TIME).unwrap_or(&time)));
        }
        let data = event.get("data").unwrap_or(&Value::Null);
        let audited = data.get("object").and_then(Value::as_str);
        let subject = audited.filter(|_| text("subject").starts_with("audit/"));
        let subject = subject.unwrap_or_else(|| text("subject"));
        line.push_str(&self.what(subject, event));
        if self.shows_project {
            line.push_str(&printable(&format!("  in {}", text("project"))));
        }
        line.push_str(&self.who(event));
        if let Some(reason) = event.get("reason").and_then(Value::as_str) {
            line.push_str(&printable(&format!("  because {reason:?}")));
        }
        line
    }

    /// `container web1  exited exit_code=137`; wide lines have every field of the event.
    fn what(&self, subject: &str, event: &Value) -> String {
        let (kind, uuid) = subject.split_once('/').unwrap_or((subject, ""));
        let text = |name: &str| event.get(name).and_then(Value::as_str).map(printable);
        let (shown_kind, shown_uuid) = (printable(kind), printable(uuid));
        let name = text("objectname").unwrap_or_else(|| shown_uuid.clone());
        let event_type = short_type(event);
        let (_, fact) = event_type.split_once('.').unwrap_or(("", event_type));
        let told = |name: &str| {
            let value = event.get("data").and_then(|data| data.get(name));
            printable(value.and_then(Value::as_str).unwrap_or_default())
        };
        let words = match event_type {
            "audit.command_refused" => format!("{} refused: {}", told("command"), told("reason")),
            "audit.read" => format!("{} read", told("what").replace('_', " ")),
            _ => format!("{}{}", printable(&fact.replace('_', " ")), self.details(event)),
        };
        let words = painted(self.colour, event_type, &words);
        if !self.is_wide {
            return format!("{shown_kind} {name}  {words}");
        }
        let bay = text("bayname").map(|bay| format!(" in bay {bay}")).unwrap_or_default();
        let uuid = if name == shown_uuid { String::new() } else { format!(" ({shown_uuid})") };
        format!("{shown_kind} {name}{uuid}{bay}  {words}")
    }

    /// The other fields of the event: what is for people, or in a wide line all.
    fn details(&self, event: &Value) -> String {
        if !self.is_wide {
            let facts = facts(event);
            return if facts.is_empty() { facts } else { format!(" {}", printable(&facts)) };
        }
        let data = event.get("data").and_then(Value::as_object).into_iter().flatten();
        let all = data.filter(|(_, value)| !value.is_null());
        all.map(|(name, value)| printable(&format!(" {name}={value}"))).collect()
    }

    /// `  by alice`; wide lines have the request.
    fn who(&self, event: &Value) -> String {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let request = text("requestid").filter(|_| self.is_wide);
        let request = request.map(|id| format!(" ({id})")).unwrap_or_default();
        printable(&format!("  by {}{request}", text("user").unwrap_or("unknown")))
    }
}

/// Prints events.
pub struct Printer {
    /// How.
    pub format: Format,
    lines: Lines,
}

impl Printer {
    /// In a format; tables are lines.
    pub const fn new(format: Format, lines: Lines) -> Self {
        Self { format, lines }
    }

    /// One event: a line for people, a line of JSON, or a document of YAML.
    pub fn print(&mut self, event: &Value) -> Result<(), CliError> {
        match self.format {
            Format::Json => table::print(&printable_json(&format!("{event}\n"))),
            Format::Yaml => {
                table::print("---\n")?;
                table::show(Format::Yaml, event)
            }
            Format::Table | Format::Wide => table::print(&format!("{}\n", self.lines.of(event))),
        }
    }
}

/// `container.started` of `magnum.container.started.v1`: prefix and version are for programs.
pub fn short_type(event: &Value) -> &str {
    let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
    let name = name.strip_prefix("magnum.").unwrap_or(name);
    name.rsplit_once(".v").map_or(name, |(name, _)| name)
}

/// What happened: failures in red, blocked work and observations in yellow, successes in green.
fn painted(colour: bool, event_type: &str, words: &str) -> String {
    let shade = match codec::mark(event_type) {
        Some(Mark::Failed | Mark::Unknown | Mark::Refused) => RED,
        Some(Mark::Blocked | Mark::Observed) => YELLOW,
        Some(Mark::Done(_) | Mark::Step | Mark::Changed) => GREEN,
        Some(Mark::Asks(_) | Mark::Progress) | None => return words.to_owned(),
    };
    paint(colour, shade, words)
}
