//! `events`: what happened to everything, and what happens.
//!
//! Not here: what happened to one object (`<noun>-history`).

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::{Method, Response};
use serde_json::Value;

use super::client::Call;
use super::failure::CliError;
use super::noun::{Session, taken_array};
use super::options::Format;
use super::sse::SseReader;
use super::table;
use super::target::filter;
use super::terminal::{GREEN, RED, YELLOW, colours, paint, printable};

/// The server sends something every 15 s; after three of those it is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// First wait before connecting again; it doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait before connecting again: a server that starts again is back within it.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Columns of `events list`.
const COLUMNS: [&str; 6] = ["position", "time", "type", "subject", "user", "reason"];

/// Commands for events.
#[derive(Subcommand)]
pub enum EventsCommand {
    /// Follow events as they are recorded, until Ctrl-C
    Tail(Tail),
    /// Print a list of events
    List(List),
}

/// What to follow.
#[derive(Args)]
pub struct Tail {
    /// Start after this position; 0: from the first; latest: only what is new
    #[arg(long, value_name = "N|latest", default_value = "latest", value_parser = after)]
    after: String,
    /// Only events with this (repeat): kind=container, type=container.started, object=UUID
    #[arg(long, value_name = "FIELD=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// Stop after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// What to list.
#[derive(Args)]
pub struct List {
    /// Start after this position; without it, --limit before the end of the log
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    /// Only events with this (repeat): kind=container, type=container.started, object=UUID
    #[arg(long, value_name = "FIELD=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
}

/// Runs a command for events.
pub async fn run(session: &Session, command: EventsCommand) -> Result<(), CliError> {
    match command {
        EventsCommand::List(args) => list(session, &args).await,
        EventsCommand::Tail(args) => tokio::select! {
            done = tail(session, &args) => done,
            _ = tokio::signal::ctrl_c() => Ok(()),
        },
    }
}

/// A request with filters.
fn get<'a>(filters: &'a [(String, String)]) -> Call<'a> {
    let call = Call::at(Method::GET, "events");
    filters.iter().fold(call, |call, (name, value)| call.query(name, Some(value)))
}

/// Prints events of one page; a server that looks at much for a few answers in several.
async fn list(session: &Session, args: &List) -> Result<(), CliError> {
    let number = |body: &Value, name: &str| body.get(name).and_then(Value::as_u64);
    let mut after = match args.after {
        Some(after) => after,
        None => {
            let probe = Call::at(Method::GET, "events").query("limit", Some(1));
            let head = number(&session.client.send(probe).await?.body, "head").unwrap_or(0);
            head.saturating_sub(args.limit)
        }
    };
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let left = args.limit.saturating_sub(rows.len() as u64);
        let call = get(&args.filter).query("after", Some(after)).query("limit", Some(left));
        let mut body = session.client.send(call).await?.body;
        rows.extend(taken_array(&mut body, "events"));
        let more = body.get("next").is_some_and(Value::is_string);
        match number(&body, "position") {
            Some(position) if more && position > after && (rows.len() as u64) < args.limit => {
                after = position;
            }
            _ => break,
        }
    }
    table::list(session.format, &COLUMNS, &rows)
}

/// Where a follower is.
struct Cursor {
    /// Everything up to this position was seen or filtered out.
    after: String,
    /// How many more events are wanted.
    left: Option<u64>,
}

/// Follows events; connects again when the connection ends, exactly after the last event seen.
async fn tail(session: &Session, args: &Tail) -> Result<(), CliError> {
    let mut cursor = Cursor { after: args.after.clone(), left: args.limit };
    let mut response = open(session, args, &cursor).await?;
    loop {
        let why = match read(session, response, &mut cursor).await? {
            End::Enough => return Ok(()),
            End::Broken(why) => why,
        };
        eprintln!("{} after position {}; connecting again.", printable(&why), cursor.after);
        response = reopen(session, args, &cursor).await?;
    }
}

/// Opens the stream at the cursor.
async fn open(session: &Session, args: &Tail, cursor: &Cursor) -> Result<Response, CliError> {
    let mut call = get(&args.filter)
        .segment("stream")
        .query("after", Some(&cursor.after))
        .header("accept", "text/event-stream");
    if cursor.after != "latest" {
        call = call.header("last-event-id", cursor.after.clone());
    }
    session.client.open(call).await
}

/// Opens the stream again; waits for a server that is away, but not for one that says no.
async fn reopen(session: &Session, args: &Tail, cursor: &Cursor) -> Result<Response, CliError> {
    let mut wait = FIRST_WAIT;
    loop {
        tokio::time::sleep(wait).await;
        match open(session, args, cursor).await {
            Err(CliError::Unreachable(_)) => {}
            Err(CliError::Refused { status, .. }) if status.is_server_error() => {}
            done => return done,
        }
        wait = wait.saturating_mul(2).min(MAX_WAIT);
    }
}

/// Why reading ended.
enum End {
    /// As many as were wanted.
    Enough,
    /// The connection ended.
    Broken(String),
}

/// Prints events until the connection ends.
async fn read(
    session: &Session,
    mut response: Response,
    cursor: &mut Cursor,
) -> Result<End, CliError> {
    let mut reader = SseReader::default();
    loop {
        let piece = match tokio::time::timeout(SILENCE, response.chunk()).await {
            Err(_) => return Ok(End::Broken("The server fell silent".to_owned())),
            Ok(Err(_)) => return Ok(End::Broken("The connection broke".to_owned())),
            Ok(Ok(None)) => return Ok(End::Broken("The server ended the stream".to_owned())),
            Ok(Ok(Some(piece))) => piece,
        };
        let events = reader
            .feed(&piece)
            .map_err(|_| CliError::Failed("the server sends a line without end".to_owned()))?;
        for event in events {
            if let Some(id) = event.id.filter(|id| !id.is_empty()) {
                cursor.after = id;
            }
            let Ok(data) = serde_json::from_str::<Value>(&event.data) else { continue };
            match event.event.as_str() {
                "heartbeat" => continue,
                "end" | "error" => {
                    let why = data.get("reason").and_then(Value::as_str).unwrap_or("no reason");
                    return Ok(End::Broken(format!("The server ended the stream ({why})")));
                }
                _ => {}
            }
            print_event(session.format, &data)?;
            cursor.left = cursor.left.map(|left| left.saturating_sub(1));
            if cursor.left == Some(0) {
                return Ok(End::Enough);
            }
        }
    }
}

/// One event: a line for people, a line of JSON, or a document of YAML.
fn print_event(format: Format, event: &Value) -> Result<(), CliError> {
    match format {
        Format::Table => {
            let colour = colours(&std::io::stdout());
            table::print(&format!("{}\n", line(event, colour)))
        }
        Format::Json => table::print(&format!("{event}\n")),
        Format::Yaml => {
            table::print("---\n")?;
            table::show(format, event)
        }
    }
}

/// An event in one line: where, when, what, to what, by whom, details, why.
fn line(event: &Value, colour: bool) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("-");
    // `magnum.container.started.v1`: whose it is and in which version is for programs.
    let name = text("type");
    let name = name.strip_prefix("magnum.").unwrap_or(name);
    let name = name.rsplit_once(".v").map_or(name, |(name, _)| name);
    let mut line = format!(
        "{:>6} {} {} {} by {}",
        text("position"),
        text("time"),
        painted(colour, name),
        text("subject"),
        text("user")
    );
    for (name, value) in event.get("data").and_then(Value::as_object).into_iter().flatten() {
        // Ids are for programs, which read JSON; what is nested would not fit.
        let scalar = !matches!(value, Value::Null | Value::Array(_) | Value::Object(_));
        if scalar && !name.ends_with("_id") {
            line.push_str(&format!(" {name}={value}"));
        }
    }
    if let Some(reason) = event.get("reason").and_then(Value::as_str) {
        line.push_str(&format!(" reason={reason:?}"));
    }
    // The colours are ours; all else is made harmless.
    if colour { line } else { printable(&line) }
}

/// An event's type: red what failed, yellow what waits or ended, green what was done.
fn painted(colour: bool, event_type: &str) -> String {
    let (_, fact) = event_type.split_once('.').unwrap_or(("", event_type));
    let shade = match fact {
        "work_failed" | "work_unknown" | "drifted" | "went_down" => RED,
        "work_blocked" | "exited" => YELLOW,
        _ if fact.ends_with("_requested") || fact == "pull_progressed" => return event_type.into(),
        _ => GREEN,
    };
    paint(colour, shade, event_type)
}

/// A position, or `latest`.
fn after(text: &str) -> Result<String, String> {
    if text == "latest" || text.parse::<u64>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("a position is a whole number; or say latest".to_owned())
    }
}
