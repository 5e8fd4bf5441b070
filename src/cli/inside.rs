//! What runs inside a container or a pod: its output, and the commands that were started in it.
//!
//! Not here: running a command (`execute`).

use std::io::{IsTerminal, Write};

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::acting::Acting;
use super::args::{Target, ident};
use super::client::{Call, is_json};
use super::error::CliError;
use super::noun::{Noun, Session, taken_array};
use super::options::Format;
use super::{moment, table};
use crate::command_line;
use crate::ids::Kind;

/// Which part of the output.
#[derive(Args)]
pub struct Logs {
    #[command(flatten)]
    target: Target,
    /// Follow the output until the container ends
    #[arg(long)]
    follow: bool,
    /// Print only the last N lines
    #[arg(long, value_name = "N|all", value_parser = lines)]
    tail: Option<String>,
    /// Print only output since a time, such as 2015-05-21T20:46:13Z, or this long ago: 10m
    #[arg(long, value_name = "TIME|AGE", value_parser = moment::since)]
    since: Option<String>,
    /// Print only output before a time, or from longer ago
    #[arg(long, value_name = "TIME|AGE", value_parser = moment::since)]
    until: Option<String>,
    /// Prefix each line with its time
    #[arg(long)]
    timestamps: bool,
}

/// How many lines: `all`, or a number.
fn lines(text: &str) -> Result<String, String> {
    let is_number = text.parse::<u64>().is_ok();
    if is_number || text == "all" {
        Ok(text.to_owned())
    } else {
        Err("not a number, nor all".into())
    }
}

/// Which running command to end.
#[derive(Args)]
pub struct ExecutionEnd {
    /// Name or UUID
    #[arg(value_name = "NAME|UUID", value_parser = ident)]
    object: String,
    /// Id of the command, from container-execution-list or pod-execution-list
    #[arg(value_name = "ID", value_parser = ident)]
    id: String,
}

/// Prints output as it was written; that of one of several containers, if it is said of which.
pub async fn logs(
    session: &Session,
    kind: Kind,
    args: &Logs,
    container: Option<&str>,
) -> Result<(), CliError> {
    let call = Call::new(Method::GET, kind)
        .segment(args.target.ident())
        .segment("logs")
        .query("container", container)
        .query("tail", args.tail.as_ref())
        .query("since", args.since.as_ref())
        .query("until", args.until.as_ref())
        .query("timestamps", args.timestamps.then_some("1"));
    print_logs(session, call, args.follow).await
}

/// A container's output, with some of the options.
pub async fn logs_of(
    session: &Session,
    ident: &str,
    follow: bool,
    tail: Option<u64>,
) -> Result<(), CliError> {
    let call = Call::new(Method::GET, Kind::Container).segment(ident).segment("logs");
    print_logs(session, call.query("tail", tail), follow).await
}

async fn print_logs(session: &Session, call: Call<'_>, follow: bool) -> Result<(), CliError> {
    let call = call.query("follow", follow.then_some("1"));
    if !follow {
        return output(&session.client.send(call).await?.body);
    }
    tokio::select! {
        done = followed(session, call) => done,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Prints output as it arrives until the container ends.
async fn followed(session: &Session, call: Call<'_>) -> Result<(), CliError> {
    let mut response = session.client.open(call).await?;
    if is_json(&response) {
        return output(&session.client.json(&Method::GET, response).await?);
    }
    let mut stdout = std::io::stdout();
    while let Some(piece) =
        response.chunk().await.map_err(|error| session.client.broken(&Method::GET, &error))?
    {
        stdout.write_all(&piece)?;
        stdout.flush()?;
    }
    Ok(())
}

/// Prints the commands that run in an object, the oldest first.
pub async fn list(session: &Session, kind: Kind, target: &Target) -> Result<(), CliError> {
    let call = Call::new(Method::GET, kind);
    let call = call.segment(target.ident()).segment("executions");
    let mut body = session.client.send(call).await?.body;
    let mut rows = taken_array(&mut body, "executions");
    if session.format == Format::Table {
        for command in rows.iter_mut().filter_map(|row| row.get_mut("command")) {
            let words = command.as_array().into_iter().flatten().filter_map(Value::as_str);
            *command = command_line::join(words).into();
        }
    }
    table::list(session.format, &["id", "command", "requested_at", "blocked_on"], &rows)
}

/// Ends a command that runs in an object.
pub async fn end(session: &Session, noun: Noun, args: &ExecutionEnd) -> Result<(), CliError> {
    let call = Call::new(Method::DELETE, noun.kind).segment(&args.object);
    let call = call.segment("executions").segment(&args.id);
    let mut acting = Acting::new(session, noun, "End");
    let _said = acting.change(&args.object, &args.object, call).await;
    acting.end(false)
}

/// Prints the output in an answer unchanged; on a terminal, ends it with a line feed.
fn output(body: &Value) -> Result<(), CliError> {
    let text = body.get("output").and_then(Value::as_str).unwrap_or_default();
    let unfinished = !text.is_empty() && !text.ends_with('\n') && std::io::stdout().is_terminal();
    table::print(text)?;
    if unfinished { table::print("\n") } else { Ok(()) }
}
