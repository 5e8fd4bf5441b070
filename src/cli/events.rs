//! `events`: the events of all objects, past and future.
//!
//! Not here: the history of one object (`<noun>-history`).

use std::future::Future;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::{Method, Response};
use serde_json::Value;

use super::args::pair;
use super::client::Call;
use super::error::CliError;
use super::event_line::Lines;
use super::noun::{Session, taken_array};
use super::options::Format;
use super::sse::SseReader;
use super::table;
use super::terminal::{colours, printable, printable_json};

/// The server sends a heartbeat every 15 s; after three missing ones it is considered gone.
const SILENCE: Duration = Duration::from_secs(45);
/// First wait before reconnecting; it doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait before reconnecting: a restarting server is back within it.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Commands for events.
#[derive(Subcommand)]
pub enum EventsCommand {
    /// Follow events as they are recorded, until Ctrl-C
    Tail(Tail),
    /// Print a list of events
    List(List),
    /// Print one event with all its fields
    Show(Show),
}

/// Which events.
#[derive(Args)]
pub struct Choice {
    /// Select events by a field (repeatable): values of one field are alternatives, different
    /// fields must all match. Fields: kind, object, bay, type, user, request_id, outcome, project
    #[arg(long, value_name = "FIELD=VALUE", value_parser = pair)]
    filter: Vec<(String, String)>,
    /// Start at a time, such as 2015-05-21T20:46:13Z, or this long ago: 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", conflicts_with = "after")]
    since: Option<String>,
}

/// What to follow.
#[derive(Args)]
pub struct Tail {
    /// Start after this position; 0: from the first event; latest: only new events
    #[arg(long, value_name = "N|latest", default_value = "latest", value_parser = after)]
    after: String,
    #[command(flatten)]
    choice: Choice,
    /// Stop after N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// What to list.
#[derive(Args)]
pub struct List {
    /// Start after this position [default: the last --limit events]
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    #[command(flatten)]
    choice: Choice,
    /// Maximum number of events
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    /// Continue with new events, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

/// What to show.
#[derive(Args)]
pub struct Show {
    /// Position of the event
    #[arg(value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    position: u64,
}

/// Runs a command for events.
pub async fn run(session: &Session, command: EventsCommand, is_wide: bool) -> Result<(), CliError> {
    let mut printer = Printer { session, lines: Lines::new(is_wide, colours(&std::io::stdout())) };
    match command {
        EventsCommand::Show(args) => show(session, args.position).await,
        EventsCommand::List(args) => {
            let end = list(&mut printer, &args).await?;
            if !args.follow {
                return Ok(());
            }
            let cursor = Cursor { after: end.to_string(), since: None, left: None };
            until_interrupted(tail(&mut printer, &args.choice, cursor)).await
        }
        EventsCommand::Tail(args) => {
            let (after, since) = (args.after, args.choice.since.clone());
            let cursor = Cursor { after, since, left: args.limit };
            until_interrupted(tail(&mut printer, &args.choice, cursor)).await
        }
    }
}

/// Runs until done or Ctrl-C.
async fn until_interrupted(
    work: impl Future<Output = Result<(), CliError>>,
) -> Result<(), CliError> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// A request with filters.
fn get<'a>(filters: &'a [(String, String)]) -> Call<'a> {
    let call = Call::at(Method::GET, "events");
    filters.iter().fold(call, |call, (name, value)| call.query(name, Some(value)))
}

/// A whole number in an answer.
fn number(body: &Value, name: &str) -> Option<u64> {
    body.get(name).and_then(Value::as_u64)
}

/// Prints one event.
async fn show(session: &Session, position: u64) -> Result<(), CliError> {
    let before = position.saturating_sub(1);
    let call = get(&[]).query("after", Some(before)).query("limit", Some(1));
    let mut body = session.client.send(call).await?.body;
    match taken_array(&mut body, "events").pop() {
        Some(event) if event.get("position") == Some(&position.to_string().into()) => {
            table::show(session.format, &event)
        }
        _ => Err(CliError::Failed(format!(
            "There is no event at position {position} in your project. List the last ones with \
             `magnum events list`."
        ))),
    }
}

/// Prints up to a page of events, which a server may answer in several parts if few of them match.
/// Returns the position it has looked up to.
async fn list(printer: &mut Printer<'_>, args: &List) -> Result<u64, CliError> {
    let client = &printer.session.client;
    let filters = &args.choice.filter;
    let mut after = match (args.after, &args.choice.since) {
        (Some(after), _) => after,
        (None, Some(_)) => 0,
        (None, None) => {
            let probe = Call::at(Method::GET, "events").query("limit", Some(1));
            let body = client.send(probe).await?.body;
            let head = number(&body, "head").unwrap_or(0);
            // Events before the first one may be archived; if there are none, print none.
            let first = body.pointer("/events/0/position").and_then(Value::as_str);
            let first: Option<u64> = first.and_then(|first| first.parse().ok());
            let before = first.map_or(head, |first| first.saturating_sub(1));
            head.saturating_sub(args.limit).max(before)
        }
    };
    let mut since = args.choice.since.as_ref();
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let left = args.limit.saturating_sub(rows.len() as u64);
        let place = if since.is_some() { None } else { Some(after) };
        let call = get(filters)
            .query("since", since.take())
            .query("after", place)
            .query("limit", Some(left));
        let mut body = client.send(call).await?.body;
        rows.extend(taken_array(&mut body, "events"));
        let more = body.get("next").is_some_and(Value::is_string);
        let position = number(&body, "position").unwrap_or(after);
        let is_over = !more || position <= after || rows.len() as u64 >= args.limit;
        after = position.max(after);
        if is_over {
            break;
        }
    }
    // A list is one document unless more events follow it.
    if printer.session.format == Format::Table || args.follow {
        for row in &rows {
            printer.print(row).await?;
        }
    } else {
        table::list(printer.session.format, &[], &rows)?;
    }
    Ok(after)
}

/// The place of a follower in the log.
struct Cursor {
    /// Everything up to this position was printed or filtered out.
    after: String,
    /// Where to start instead, until the first event arrives.
    since: Option<String>,
    /// How many more events to print.
    left: Option<u64>,
}

/// Follows events; reconnects when the connection ends, exactly after the last event printed.
async fn tail(
    printer: &mut Printer<'_>,
    choice: &Choice,
    mut cursor: Cursor,
) -> Result<(), CliError> {
    let session = printer.session;
    let mut response = open(session, choice, &cursor).await?;
    loop {
        let why = match read(printer, response, &mut cursor).await? {
            StreamEnd::Enough => return Ok(()),
            StreamEnd::Broken(why) => why,
            StreamEnd::ShutOut(why) => {
                let after = cursor.after;
                return Err(CliError::Failed(format!(
                    "{why} after position {after}. Resume with a new token: --after {after}"
                )));
            }
        };
        eprintln!("{} after position {}; reconnecting.", printable(&why), cursor.after);
        response = reopen(session, choice, &cursor).await?;
    }
}

/// Opens the stream at the cursor.
async fn open(session: &Session, choice: &Choice, cursor: &Cursor) -> Result<Response, CliError> {
    let place = if cursor.since.is_some() { None } else { Some(&cursor.after) };
    let mut call = get(&choice.filter)
        .segment("stream")
        .query("since", cursor.since.as_ref())
        .query("after", place)
        .header("accept", "text/event-stream");
    if cursor.after != "latest" {
        call = call.header("last-event-id", cursor.after.clone());
    }
    session.client.open(call).await
}

/// Opens the stream again; waits for a server that is away, but not for one that says no.
async fn reopen(session: &Session, choice: &Choice, cursor: &Cursor) -> Result<Response, CliError> {
    let mut wait = FIRST_WAIT;
    loop {
        tokio::time::sleep(wait).await;
        match open(session, choice, cursor).await {
            Err(CliError::Unreachable(_)) => {}
            Err(CliError::Refused { status, .. }) if status.is_server_error() => {}
            done => return done,
        }
        wait = wait.saturating_mul(2).min(MAX_WAIT);
    }
}

/// Why a stream ended.
enum StreamEnd {
    /// The limit was reached.
    Enough,
    /// The connection ended.
    Broken(String),
    /// The token is no longer valid.
    ShutOut(String),
}

/// Prints events until the connection ends.
async fn read(
    printer: &mut Printer<'_>,
    mut response: Response,
    cursor: &mut Cursor,
) -> Result<StreamEnd, CliError> {
    let mut reader = SseReader::default();
    loop {
        let piece = match tokio::time::timeout(SILENCE, response.chunk()).await {
            Err(_) => return Ok(StreamEnd::Broken("The server stopped sending".to_owned())),
            Ok(Err(_)) => return Ok(StreamEnd::Broken("The connection broke".to_owned())),
            Ok(Ok(None)) => return Ok(StreamEnd::Broken("The server ended the stream".to_owned())),
            Ok(Ok(Some(piece))) => piece,
        };
        let events = reader
            .feed(&piece)
            .map_err(|_| CliError::Failed("the server sent an overlong event".to_owned()))?;
        for event in events {
            // What is no position is neither shown nor sent back.
            if let Some(id) = event.id.filter(|id| id.parse::<u64>().is_ok()) {
                cursor.after = id;
                cursor.since = None;
            }
            let Ok(data) = serde_json::from_str::<Value>(&event.data) else { continue };
            match event.event.as_str() {
                "heartbeat" => continue,
                "end" | "error" => {
                    let why =
                        data.get("reason").and_then(Value::as_str).unwrap_or("no reason given");
                    let why = format!("The server ended the stream ({why})");
                    let code = data.get("code").and_then(Value::as_str);
                    let is_shut_out = code == Some("unauthenticated");
                    return Ok(if is_shut_out {
                        StreamEnd::ShutOut(why)
                    } else {
                        StreamEnd::Broken(why)
                    });
                }
                _ => {}
            }
            printer.print(&data).await?;
            cursor.left = cursor.left.map(|left| left.saturating_sub(1));
            if cursor.left == Some(0) {
                return Ok(StreamEnd::Enough);
            }
        }
    }
}

/// Prints events.
struct Printer<'a> {
    session: &'a Session,
    lines: Lines,
}

impl Printer<'_> {
    /// One event: a line for people, a line of JSON, or a document of YAML.
    async fn print(&mut self, event: &Value) -> Result<(), CliError> {
        match self.session.format {
            Format::Json => table::print(&printable_json(&format!("{event}\n"))),
            Format::Yaml => {
                table::print("---\n")?;
                table::show(Format::Yaml, event)
            }
            Format::Table | Format::Wide => {
                let line = self.lines.of(&self.session.client, event).await;
                table::print(&format!("{line}\n"))
            }
        }
    }
}

/// A position, or `latest`.
fn after(text: &str) -> Result<String, String> {
    if text == "latest" || text.parse::<u64>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("must be a position (a whole number) or latest".to_owned())
    }
}
