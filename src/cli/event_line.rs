//! An event as one line for people: when, which object by name, what happened, where, who
//! requested it.
//!
//! Events identify objects by UUID. Names are looked up as of the event, once for each object, so
//! that deleted objects have theirs too. Not here: which events (`events`).

use std::collections::HashMap;

use reqwest::Method;
use serde_json::Value;

use super::client::{Call, Client};
use super::terminal::{GREEN, RED, YELLOW, paint, printable};
use crate::events::{Mark, codec, run};
use crate::ids::Kind;

/// Objects whose names are cached: a few megabytes.
const MAX_NAMES: usize = 16_384;

/// Characters of `2015-05-21` and of `20:46:13` in a time.
const DATE: std::ops::Range<usize> = 0..10;
const TIME: std::ops::Range<usize> = 11..19;

/// How lines name an object instead of by its UUID.
#[derive(Clone, Debug, Default)]
struct Named {
    name: Option<String>,
    node: Option<String>,
}

/// Writes lines; caches names, and keeps track of the day.
pub struct Lines {
    is_wide: bool,
    colour: bool,
    names: HashMap<String, Named>,
    day: String,
}

impl Lines {
    /// Lines with the time of day, or wide ones with every field.
    pub fn new(is_wide: bool, colour: bool) -> Self {
        Self { is_wide, colour, names: HashMap::new(), day: String::new() }
    }

    /// An event in one line, after a line with the date if the day has changed.
    pub async fn of(&mut self, client: &Client, event: &Value) -> String {
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
            line.push_str(&format!("{}  ", time.get(TIME).unwrap_or(&time)));
        }
        let data = event.get("data").unwrap_or(&Value::Null);
        let audited = data.get("object").and_then(Value::as_str);
        let subject = audited.filter(|_| text("subject").starts_with("audit/"));
        let subject = subject.unwrap_or_else(|| text("subject"));
        let named = self.named(client, subject, event).await;
        line.push_str(&self.what(subject, &named, event));
        line.push_str(&who(event));
        if let Some(reason) = event.get("reason").and_then(Value::as_str) {
            line.push_str(&printable(&format!("  because {reason:?}")));
        }
        line
    }

    /// `container web1  started on node n1`; wide lines have every field of the event.
    fn what(&self, subject: &str, named: &Named, event: &Value) -> String {
        let (kind, uuid) = subject.split_once('/').unwrap_or((subject, ""));
        let name = printable(named.name.as_deref().unwrap_or(uuid));
        let (shown_kind, shown_uuid) = (printable(kind), printable(uuid));
        let event_type = short_type(event);
        let (_, fact) = event_type.split_once('.').unwrap_or(("", event_type));
        let text = |name: &str| {
            let value = event.get("data").and_then(|data| data.get(name));
            printable(value.and_then(Value::as_str).unwrap_or_default())
        };
        let words = match event_type {
            "audit.command_refused" => format!("{} refused: {}", text("command"), text("reason")),
            "container.exited" => {
                format!("exited: {}", printable(&ended(event))) + &details(event, self.is_wide)
            }
            "audit.read" => format!("{} read", text("what").replace('_', " ")),
            _ => {
                format!("{}{}", printable(&fact.replace('_', " ")), details(event, self.is_wide))
            }
        };
        let node = named.node.as_deref().filter(|_| kind == "container");
        let place = node.map(|node| format!(" on node {}", printable(node))).unwrap_or_default();
        let words = painted(self.colour, event_type, &words);
        if self.is_wide && name != shown_uuid {
            format!("{shown_kind} {name} ({shown_uuid})  {words}{place}")
        } else {
            format!("{shown_kind} {name}  {words}{place}")
        }
    }

    /// The names of an object as of an event.
    async fn named(&mut self, client: &Client, subject: &str, event: &Value) -> Named {
        // The update may have changed the name.
        let may_be_new = codec::mark(short_type(event)) == Some(Mark::Changed);
        if let Some(named) = self.names.get(subject).filter(|_| !may_be_new) {
            return named.clone();
        }
        let position = event.get("position").and_then(Value::as_str);
        let position = position.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let named = ask(client, subject, position).await.unwrap_or_default();
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        self.names.insert(subject.to_owned(), named.clone());
        named
    }
}

/// Asks the server for the names of an object as of the event, or just before it if the event
/// deleted the object. `None` if the server does not know; the line then has the UUID.
async fn ask(client: &Client, subject: &str, position: u64) -> Option<Named> {
    let (noun, uuid) = subject.split_once('/')?;
    let kind = Kind::named(noun)?;
    let mut found = None;
    for at in [position, position.saturating_sub(1)] {
        let call = Call::new(Method::GET, kind).segment(uuid).query("at", Some(at));
        found = client.send(call).await.ok();
        if found.is_some() {
            break;
        }
    }
    let body = found?.body;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut named = Named { name: text("name").or_else(|| text("host")), node: None };
    if let Some(uuid) = text("node_uuid").filter(|_| kind == Kind::Container) {
        let call = Call::new(Method::GET, Kind::Node).segment(&uuid);
        let node = client.send(call).await.ok();
        let host = node.and_then(|node| Some(node.body.get("host")?.as_str()?.to_owned()));
        named.node = Some(host.unwrap_or(uuid));
    }
    Some(named)
}

/// How a process ended that nobody here ended.
fn ended(event: &Value) -> String {
    let data = event.get("data");
    let field = |name: &str| data.and_then(|data| data.get(name));
    let exit_code = field("exit_code").and_then(Value::as_i64).unwrap_or_default();
    let oom_killed = field("oom_killed").and_then(Value::as_bool).unwrap_or_default();
    run::ended(exit_code, oom_killed, field("signal").and_then(Value::as_str))
}

/// `container.started` of `magnum.container.started.v1`: prefix and version are for programs.
fn short_type(event: &Value) -> &str {
    let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
    let name = name.strip_prefix("magnum.").unwrap_or(name);
    name.rsplit_once(".v").map_or(name, |(name, _)| name)
}

/// `  by alice (req-…)`
fn who(event: &Value) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let request = text("requestid").map(|id| format!(" ({id})")).unwrap_or_default();
    printable(&format!("  by {}{request}", text("user").unwrap_or("unknown")))
}

/// The other fields of the event. Ids are for programs, which read JSON; nested values fit only
/// into a wide line.
fn details(event: &Value, all: bool) -> String {
    let mut details = String::new();
    let data = event.get("data").and_then(Value::as_object);
    for (name, value) in data.into_iter().flatten() {
        let is_nested = matches!(value, Value::Array(_) | Value::Object(_));
        let is_for_people = !is_nested && !name.ends_with("_id");
        if !value.is_null() && (all || is_for_people) {
            details.push_str(&printable(&format!(" {name}={value}")));
        }
    }
    details
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
