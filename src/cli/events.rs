//! `events`: the events of all objects, past and future.
//!
//! Not here: the history of one object (`<noun>-history`).

use std::future::Future;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::{Method, Response};
use serde_json::Value;

use super::client::Call;
use super::error::CliError;
use super::event_choice::Choice;
use super::event_line::{Lines, Printer};
use super::events_list::{List, list, say};
use super::noun::{Session, taken_array};
use super::sse::SseReader;
use super::table;
use super::terminal::{colours, printable};

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

/// What to show.
#[derive(Args)]
pub struct Show {
    /// Position of the event
    #[arg(value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    position: u64,
}

/// Runs a command for events.
pub async fn run(session: &Session, command: EventsCommand, is_wide: bool) -> Result<(), CliError> {
    let printer = |choice: &Choice| {
        let colour = colours(&std::io::stdout());
        let lines = Lines::new(is_wide, colour, choice.is_of_all_projects());
        Printer::new(session.format, lines)
    };
    match command {
        EventsCommand::Show(args) => show(session, args.position).await,
        EventsCommand::List(args) => {
            let mut printer = printer(&args.choice);
            let end = list(session, &mut printer, &args).await?;
            if !args.follow {
                return Ok(());
            }
            let cursor = Cursor { after: end.to_string(), since: None, left: None };
            until_interrupted(tail(session, &mut printer, &args.choice, cursor)).await
        }
        EventsCommand::Tail(args) => {
            let mut printer = printer(&args.choice);
            let (after, since) = (args.after, args.choice.since.clone());
            let cursor = Cursor { after, since, left: args.limit };
            until_interrupted(tail(session, &mut printer, &args.choice, cursor)).await
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

/// Prints one event.
async fn show(session: &Session, position: u64) -> Result<(), CliError> {
    let before = position.saturating_sub(1);
    let call = Call::at(Method::GET, "events").query("after", Some(before)).query("limit", Some(1));
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
    session: &Session,
    printer: &mut Printer,
    choice: &Choice,
    mut cursor: Cursor,
) -> Result<(), CliError> {
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
    let mut call = choice
        .get()
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
    printer: &mut Printer,
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
                "heartbeat" => {
                    if let Some(archived) = data.get("archived").and_then(Value::as_u64) {
                        say(&format!(
                            "Events up to position {archived} were archived; later ones follow."
                        ));
                    }
                    continue;
                }
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
            printer.print(&data)?;
            cursor.left = cursor.left.map(|left| left.saturating_sub(1));
            if cursor.left == Some(0) {
                return Ok(StreamEnd::Enough);
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
