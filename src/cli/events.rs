//! `events`: the events of all objects, past and future.
//!
//! Not here: the history of one object (`<noun>-history`).

use std::future::Future;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::{Method, Response};
use serde_json::Value;

use super::args::{ident, pair};
use super::client::Call;
use super::error::CliError;
use super::event_line::Lines;
use super::moment;
use super::noun::{Session, taken_array};
use super::options::Format;
use super::sse::SseReader;
use super::table;
use super::terminal::{colours, counted, printable, printable_json};

/// The server sends a heartbeat every 15 s; after three missing ones it is considered gone.
const SILENCE: Duration = Duration::from_secs(45);
/// First wait before reconnecting; it doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait before reconnecting: a restarting server is back within it.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Requests that count the events before those of a list, each some 20,000 positions: within seconds.
const MAX_COUNTS: usize = 50;

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
    /// Select events of this bay and of containers in it (repeatable): as --filter bay=
    #[arg(long, value_name = "NAME|UUID", value_parser = ident)]
    bay: Vec<String>,
    /// Start at a time, such as 2015-05-21T20:46:13Z, 2015-05-21 (UTC) or yesterday, or this long
    /// ago: 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", conflicts_with = "after", value_parser = moment::since)]
    since: Option<String>,
}

impl Choice {
    /// Arguments that select events.
    fn filters(&self) -> impl Iterator<Item = (&str, &str)> {
        let bays = self.bay.iter().map(|bay| ("bay", &**bay));
        self.filter.iter().map(|(name, value)| (&**name, &**value)).chain(bays)
    }

    /// A request for the selected events.
    fn get(&self) -> Call<'_> {
        let call = Call::at(Method::GET, "events");
        self.filters().fold(call, |call, (name, value)| call.query(name, Some(value)))
    }

    /// Whether events of several projects may be among them.
    fn is_of_all_projects(&self) -> bool {
        self.filters().any(|filter| filter == ("project", "all"))
    }
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
    /// Start after this position [default: the last --limit events that match]
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    /// List the last events before this position
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(conflicts_with_all = ["after", "since", "follow"])]
    before: Option<u64>,
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
    let printer = |choice: &Choice| {
        let colour = colours(&std::io::stdout());
        Printer { session, lines: Lines::new(is_wide, colour, choice.is_of_all_projects()) }
    };
    match command {
        EventsCommand::Show(args) => show(session, args.position).await,
        EventsCommand::List(args) => {
            let mut printer = printer(&args.choice);
            let end = list(&mut printer, &args).await?;
            if !args.follow {
                return Ok(());
            }
            let cursor = Cursor { after: end.to_string(), since: None, left: None };
            until_interrupted(tail(&mut printer, &args.choice, cursor)).await
        }
        EventsCommand::Tail(args) => {
            let mut printer = printer(&args.choice);
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

/// A whole number in an answer.
fn number(body: &Value, name: &str) -> Option<u64> {
    body.get(name).and_then(Value::as_u64)
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

/// Prints a list of events. Returns the position that it has looked up to.
async fn list(printer: &mut Printer<'_>, args: &List) -> Result<u64, CliError> {
    let is_from_a_place = args.after.is_some() || args.choice.since.is_some();
    let (rows, end) = if is_from_a_place {
        first(printer.session, args).await?
    } else {
        last(printer.session, args).await?
    };
    // A list is one document unless more events follow it.
    if matches!(printer.session.format, Format::Table | Format::Wide) || args.follow {
        rows.iter().try_for_each(|row| printer.print(row))?;
    } else {
        table::list(printer.session.format, &[], &rows)?;
    }
    Ok(end)
}

/// The first events after a place, which a server may answer in several parts if few of them match.
async fn first(session: &Session, args: &List) -> Result<(Vec<Value>, u64), CliError> {
    let mut after = args.after.unwrap_or(0);
    let mut since = args.choice.since.as_ref();
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let left = args.limit.saturating_sub(rows.len() as u64);
        let place = if since.is_some() { None } else { Some(after) };
        let call = args.choice.get();
        let call = call.query("since", since.take()).query("after", place);
        let mut body = session.client.send(call.query("limit", Some(left))).await?.body;
        say_archived(&body);
        rows.extend(taken_array(&mut body, "events"));
        let more = body.get("next").is_some_and(Value::is_string);
        let position = number(&body, "position").unwrap_or(after);
        let is_full = rows.len() as u64 >= args.limit;
        let is_over = !more || position <= after || is_full;
        after = position.max(after);
        if is_over {
            if more && is_full && !args.follow {
                say(&format!(
                    "More may match after position {after}: continue with --after {after}."
                ));
            }
            return Ok((rows, after));
        }
    }
}

/// The last events, read backwards until there are as many as wanted or none is left, and on stderr
/// how many there are before them.
async fn last(session: &Session, args: &List) -> Result<(Vec<Value>, u64), CliError> {
    let mut parts: Vec<Vec<Value>> = Vec::new();
    let mut before = args.before.map_or_else(|| "latest".to_owned(), |before| before.to_string());
    let (mut count, mut end) = (0, None);
    loop {
        let left = args.limit.saturating_sub(count);
        let call = args.choice.get().query("before", Some(&before)).query("limit", Some(left));
        let mut body = session.client.send(call).await?.body;
        let part = taken_array(&mut body, "events");
        count += part.len() as u64;
        parts.push(part);
        end = end.or_else(|| number(&body, "position"));
        let from = number(&body, "from").unwrap_or(0);
        let more = body.get("previous").is_some_and(Value::is_string);
        let is_further = before.parse::<u64>().map_or(true, |before| from < before);
        if count >= args.limit || !more || !is_further {
            if count < args.limit {
                say_archived(&body);
            } else if args.choice.filters().next().is_some() {
                say_earlier(session, args, from, &body).await?;
            }
            break;
        }
        before = from.to_string();
    }
    let rows = parts.into_iter().rev().flatten().collect();
    Ok((rows, end.unwrap_or(0)))
}

/// Says how many events match before those that are listed: all of them, or as far as was counted.
async fn say_earlier(
    session: &Session,
    args: &List,
    from: u64,
    body: &Value,
) -> Result<(), CliError> {
    let counted_in = |body: &Value| {
        let earlier = body.get("earlier")?;
        let is_all = earlier.get("is_all").and_then(Value::as_bool)?;
        Some((number(earlier, "matches")?, number(earlier, "from")?, is_all))
    };
    let Some((mut matches, mut back_to, mut is_all)) = counted_in(body) else { return Ok(()) };
    for _ in 0..MAX_COUNTS {
        if is_all {
            break;
        }
        let call = args.choice.get().query("before", Some(back_to)).query("limit", Some(0));
        let body = session.client.send(call).await?.body;
        let Some((more, further, is_rest)) = counted_in(&body) else { break };
        (matches, back_to, is_all) = (matches.saturating_add(more), further, is_rest);
    }
    let events = counted(matches, "earlier event");
    match (matches, is_all) {
        (0, true) => {}
        (_, true) => say(&format!("Before these: {events}. --before {from} lists them.")),
        (_, false) => say(&format!(
            "Before these: at least {events}, counted back to position {back_to} only. --before \
             {from} lists them."
        )),
    }
    Ok(())
}

/// Says that events are missing because they were archived, if so.
fn say_archived(body: &Value) {
    let Some(archived) = body.get("archived") else { return };
    let Some(position) = number(archived, "position") else { return };
    let oldest = archived.get("oldest").and_then(Value::as_str);
    let since = oldest.map(|time| format!(", of {time}")).unwrap_or_default();
    let oldest = position.saturating_add(1);
    say(&format!(
        "Events up to position {position} were archived: the oldest one here is at position \
         {oldest}{since}."
    ));
}

/// Tells people something besides the result.
fn say(words: &str) {
    eprintln!("{}", printable(words));
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
                "heartbeat" => {
                    if let Some(archived) = data.get("archived").and_then(Value::as_u64) {
                        say(&format!(
                            "Events up to position {archived} were archived; events after it follow."
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

/// Prints events.
struct Printer<'a> {
    session: &'a Session,
    lines: Lines,
}

impl Printer<'_> {
    /// One event: a line for people, a line of JSON, or a document of YAML.
    fn print(&mut self, event: &Value) -> Result<(), CliError> {
        match self.session.format {
            Format::Json => table::print(&printable_json(&format!("{event}\n"))),
            Format::Yaml => {
                table::print("---\n")?;
                table::show(Format::Yaml, event)
            }
            Format::Table | Format::Wide => {
                let line = self.lines.of(event);
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
