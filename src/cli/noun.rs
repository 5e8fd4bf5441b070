//! The verbs that every collection has: list, show, create, update, history. Not here: deleting
//! (`acting`).

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::args::{Target, Update, ident, pair};
use super::client::{Answer, Call, Client};
use super::error::{CliError, say, say_request, warn};
use super::event_line::short_type;
use super::login::Openstack;
use super::moment;
use super::options::{Format, Options};
use super::table;
use super::terminal::printable;
use super::waiting;
use crate::ids::Kind;
use crate::replay::entry::details;

/// What a command needs besides its arguments.
#[derive(Debug)]
pub struct Session {
    /// The server.
    pub client: Client,
    /// How results are printed.
    pub format: Format,
    /// Whether lists have all their columns.
    pub is_wide: bool,
}

impl Session {
    /// A session with the server that the options name.
    ///
    /// # Errors
    /// When the address is invalid.
    pub fn new(options: Options, openstack: Openstack, is_wide: bool) -> Result<Self, CliError> {
        let format = options.output;
        Ok(Self { client: Client::new(options, openstack)?, format, is_wide })
    }

    /// The UUID of an object, given by name or UUID.
    pub async fn uuid(&self, kind: Kind, ident: &str) -> Result<String, CliError> {
        let object = self.client.send(Call::new(Method::GET, kind).segment(ident)).await?.body;
        object
            .get("uuid")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| CliError::Failed(format!("the response for {kind} {ident} has no uuid")))
    }
}

/// The direction of a sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SortDir {
    /// Smallest first
    Asc,
    /// Largest first
    Desc,
}

/// Which part of a list, in which order.
#[derive(Args, Clone, Debug, Default)]
pub struct ListArgs {
    /// The list as of a position of the log, or a time such as 2015-05-21T20:46:13Z, 2015-05-21
    /// (UTC), 1h (ago) or yesterday
    #[arg(long, value_name = "WHEN", value_parser = moment::at)]
    at: Option<String>,
    /// Maximum number of objects [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// List only objects after the one with this UUID
    #[arg(long, value_name = "UUID", value_parser = ident)]
    marker: Option<String>,
    /// Field to sort by
    #[arg(long, value_name = "FIELD")]
    sort_key: Option<String>,
    /// Sort direction
    #[arg(long, value_enum, value_name = "asc|desc", hide_possible_values = true)]
    sort_dir: Option<SortDir>,
    /// List only objects with this value in a field (repeatable)
    #[arg(long, value_name = "FIELD=VALUE", value_parser = pair)]
    filter: Vec<(String, String)>,
}

/// Which object, as of when.
#[derive(Args, Clone, Debug)]
pub struct Show {
    #[command(flatten)]
    pub target: Target,
    /// The object as of a position of the log, a revision such as v:3, or a time such as
    /// 2015-05-21T20:46:13Z, 2015-05-21 (UTC), 1h (ago) or yesterday
    #[arg(long, value_name = "WHEN", value_parser = moment::at)]
    at: Option<String>,
}

/// A collection and how it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Noun {
    /// The collection.
    pub kind: Kind,
    /// The columns of its list that the old client has.
    pub columns: &'static [&'static str],
    /// Those that it does not have.
    pub more: &'static [&'static str],
    /// Those that only a wide list has.
    pub wide: &'static [&'static str],
}

impl Noun {
    /// Prints the collection, or the part of it in one bay.
    pub async fn list(
        &self,
        session: &Session,
        args: &ListArgs,
        bay: Option<&str>,
    ) -> Result<(), CliError> {
        let rows = self.rows(session, args, bay).await?;
        let wide = if session.is_wide { self.wide } else { &[] };
        table::list_with(session.format, self.columns, &[self.more, wide].concat(), &rows)
    }

    /// The collection, or the part of it in one bay. It is read page by page and sorted by the
    /// first column unless another order was requested.
    pub async fn rows(
        &self,
        session: &Session,
        args: &ListArgs,
        bay: Option<&str>,
    ) -> Result<Vec<Value>, CliError> {
        let mut rows: Vec<Value> = Vec::new();
        let mut marker = args.marker.clone();
        let mut at = args.at.clone();
        loop {
            let taken = u64::try_from(rows.len()).unwrap_or(u64::MAX);
            let left = args.limit.map(|limit| limit.saturating_sub(taken));
            let dir = args.sort_dir.map(|dir| if dir == SortDir::Asc { "asc" } else { "desc" });
            let call = if session.is_wide {
                Call::at(Method::GET, self.kind.collection()).segment("detail")
            } else {
                Call::new(Method::GET, self.kind)
            };
            let mut call = call
                .query("at", at.as_ref())
                .query("limit", left)
                .query("marker", marker.as_ref())
                .query("sort_key", args.sort_key.as_ref())
                .query("sort_dir", dir)
                .query("bay_ident", bay);
            for (name, value) in &args.filter {
                // What `--bay` and the filters of events are called.
                let is_bay = name == "bay" && matches!(self.kind, Kind::Container | Kind::Pod);
                call = call.query(if is_bay { "bay_ident" } else { name }, Some(value));
            }
            let mut body = session.client.send(call).await?.body;
            let more = body.get("next").is_some_and(Value::is_string);
            at = at.map(|at| pinned(&body).unwrap_or(at));
            let page = taken_array(&mut body, self.kind.collection());
            let last = page.last().and_then(|row| row.get("uuid")).and_then(Value::as_str);
            let next = last.map(str::to_owned).filter(|last| Some(last) != marker.as_ref());
            rows.extend(page);
            let full = args.limit.is_some_and(|limit| rows.len() as u64 >= limit);
            match next {
                Some(next) if more && !full => marker = Some(next),
                _ => break,
            }
        }
        if args.sort_key.is_none() && args.sort_dir.is_none() {
            let key = |row: &Value| self.columns.first().and_then(|c| row.get(c)).map(text);
            rows.sort_by_cached_key(key);
        }
        Ok(rows)
    }

    /// One object, now or as of an earlier point.
    pub async fn look(&self, session: &Session, args: &Show) -> Result<Value, CliError> {
        let call = Call::new(Method::GET, self.kind).segment(args.target.ident());
        Ok(session.client.send(call.query("at", args.at.as_ref())).await?.body)
    }

    /// Prints one object.
    pub async fn show(&self, session: &Session, args: &Show) -> Result<(), CliError> {
        table::show(session.format, &self.look(session, args).await?)
    }

    /// Creates one and prints it.
    pub async fn create(&self, session: &Session, body: Value) -> Result<(), CliError> {
        let call = Call::new(Method::POST, self.kind).body(body);
        let answer = waiting::change(&session.client, self.kind, None, call).await?;
        let warnings = answer.body.get("warnings").and_then(Value::as_array);
        warnings.into_iter().flatten().filter_map(Value::as_str).for_each(warn);
        show_changed(session.format, &answer)?;
        let text = |field| answer.body.get(field).and_then(Value::as_str);
        let uuid = text("uuid").unwrap_or("UUID");
        if text("status").is_some_and(|s| s == "Error" || s.ends_with("_FAILED")) {
            let noun = self.kind;
            let why = text("status_reason").unwrap_or("no reason given");
            say(&format!("{noun} {uuid} was recorded but could not be created: {why}"));
            say_request(answer.request_id.as_deref());
            return Err(CliError::Reported(Some(format!("magnum {noun}-history {uuid}"))));
        }
        self.say_if_in_progress(&answer, uuid);
        Ok(())
    }

    /// Updates one and prints it.
    pub async fn update(&self, session: &Session, update: &Update) -> Result<(), CliError> {
        self.update_by(session, update, Call::new(Method::PATCH, self.kind)).await
    }

    /// Updates one by a request that may have arguments, and prints it.
    pub async fn update_by(
        &self,
        session: &Session,
        update: &Update,
        call: Call<'_>,
    ) -> Result<(), CliError> {
        let name = &update.name;
        let call = call.segment(name).body(update.patch()?);
        let answer = waiting::change(&session.client, self.kind, Some(name), call).await?;
        show_changed(session.format, &answer)?;
        self.say_if_in_progress(&answer, name);
        self.check(&answer, name, "UPDATE_FAILED")
    }

    /// Fails if an object has the status of a failure.
    fn check(&self, answer: &Answer, ident: &str, failed: &str) -> Result<(), CliError> {
        let text = |field| answer.body.get(field).and_then(Value::as_str);
        if text("status") != Some(failed) {
            return Ok(());
        }
        let words = text("status_reason").unwrap_or("no reason given").to_owned();
        let (noun, ident) = (self.kind, printable(ident));
        let error = CliError::Advised(words, format!("magnum {noun}-history {ident}"));
        Err(error.of_change(answer.request_id.as_deref()))
    }

    /// If the work is still in progress, says how to check on it.
    pub fn say_if_in_progress(&self, answer: &Answer, ident: &str) {
        if answer.in_progress {
            let (noun, ident) = (self.kind, printable(ident));
            let look = format!("magnum {noun}-show {ident}");
            eprintln!("Accepted: {noun} {ident} is still in progress. Check with: {look}");
        }
    }

    /// Prints the history of one object.
    pub async fn history(&self, session: &Session, target: &Target) -> Result<(), CliError> {
        let mut rows: Vec<Value> = Vec::new();
        let mut after: Option<u64> = None;
        loop {
            let call = Call::new(Method::GET, self.kind)
                .segment(target.ident())
                .segment("history")
                .query("after", after);
            let mut body = session.client.send(call).await?.body;
            let more = body.get("next").is_some_and(Value::is_string);
            let page = taken_array(&mut body, "events");
            let last = page.last().and_then(|row| row.get("position")).and_then(Value::as_str);
            let last = last.and_then(|last| last.parse::<u64>().ok());
            rows.extend(page);
            match last {
                // A page that leads no further would be followed by itself.
                Some(last) if more && Some(last) > after => after = Some(last),
                _ => break,
            }
        }
        if session.format != Format::Table {
            return table::list(session.format, &[], &rows);
        }
        let rows: Vec<Value> = rows.iter().map(told).collect();
        table::list(Format::Table, &["position", "time", "event", "user", "details"], &rows)
    }
}

/// Prints an object that a request made or changed; for scripts with the id of the request, which
/// the old client's table does not have.
fn show_changed(format: Format, answer: &Answer) -> Result<(), CliError> {
    let mut object = answer.body.clone();
    if let (false, Value::Object(fields)) = (format == Format::Table, &mut object) {
        fields.insert("request_id".to_owned(), answer.request_id.clone().into());
    }
    table::show(format, &object)
}

/// An event of a history as a row: what happened to the object, to the second.
fn told(event: &Value) -> Value {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let time = text("time").get(..19).unwrap_or_default().replace('T', " ");
    let name = short_type(event);
    let name = name.split_once('.').map_or(name, |(_, fact)| fact);
    json!({
        "position": text("position"), "time": time, "event": name, "user": text("user"),
        "details": details(event),
    })
}

/// The position that the next page of a list is as of, however the point was given.
fn pinned(body: &Value) -> Option<String> {
    let next = reqwest::Url::parse(body.get("next")?.as_str()?).ok()?;
    next.query_pairs().find_map(|(name, value)| (name == "at").then(|| value.into_owned()))
}

/// Takes an array out of a body; empty if it is missing, as in the old client.
pub fn taken_array(body: &mut Value, key: &str) -> Vec<Value> {
    match body.get_mut(key).map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// A field of an object that is text; empty if it is not.
pub fn text_of<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The text that a row is sorted by.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
