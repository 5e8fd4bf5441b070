//! `container-*`: single containers, their actions, output and commands run in them.

use std::io::{IsTerminal, Write};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::acting::Acting;
use super::args::{Target, Targets, Update, ident};
use super::client::{Call, is_json};
use super::container_create::ContainerCreate;
use super::error::CliError;
use super::execute::{self, Execute, Output};
use super::noun::{ListArgs, Noun, Session, Show, taken_array};
use super::options::Format;
use super::terminal::printable_json;
use super::{moment, recreate, table};
use crate::command_line;
use crate::ids::Kind;

/// Containers, with the columns of 2015.
pub const CONTAINER: Noun = Noun {
    kind: Kind::Container,
    columns: &["uuid", "name", "status"],
    more: &[],
    wide: &["image_id", "command", "exit_code", "bay_uuid", "node_uuid", "created_at"],
};

/// Commands for containers.
#[derive(Subcommand)]
pub enum ContainerCommand {
    /// Print a list of available containers
    #[command(name = "container-list")]
    List(ContainerList),
    /// Create a container
    #[command(name = "container-create")]
    Create(Box<ContainerCreate>),
    /// Show details of a container
    #[command(name = "container-show")]
    Show(ContainerShow),
    /// Update information about the given container; what it was made from, such as image_id, stays
    /// as it is until the container is recreated
    #[command(name = "container-update")]
    Update(ContainerUpdate),
    /// Make containers anew from their record, with what is desired; also those that are gone
    #[command(name = "container-recreate")]
    Recreate(Targets),
    /// Recreate those containers of a bay that need it: they are gone, in error, or not made from
    /// what is wanted
    #[command(name = "bay-recreate")]
    RecreateBay(Target),
    /// Delete containers, running or not
    #[command(name = "container-delete")]
    Delete(Targets),
    /// Start containers
    #[command(name = "container-start")]
    Start(Targets),
    /// Stop containers
    #[command(name = "container-stop")]
    Stop(Stop),
    /// Stop and start containers
    #[command(name = "container-reboot")]
    Reboot(Stop),
    /// Pause all processes in containers
    #[command(name = "container-pause")]
    Pause(Targets),
    /// Resume paused containers
    #[command(name = "container-unpause")]
    Unpause(Targets),
    /// Send a signal to containers
    #[command(name = "container-kill")]
    Kill(Kill),
    /// Get logs of a container
    #[command(name = "container-logs")]
    Logs(Logs),
    /// Execute a command in a container; exits as the command does
    #[command(name = "container-execute")]
    Execute(Execute),
    /// List the commands running in a container
    #[command(name = "container-execution-list")]
    ExecutionList(Target),
    /// Print what a command wrote and still writes, for an hour after its end; exits as it does
    #[command(name = "container-output")]
    Output(Output),
    /// End a command running in a container
    #[command(name = "container-execution-end")]
    ExecutionEnd(ExecutionEnd),
    /// Show everything that happened to a container
    #[command(name = "container-history")]
    History(Target),
}

/// Which containers to list.
#[derive(Args)]
pub struct ContainerList {
    #[command(flatten)]
    list: ListArgs,
    /// List only containers in this bay
    #[arg(long, alias = "bay-id", value_name = "NAME|UUID", value_parser = ident)]
    bay: Option<String>,
}

/// What to update.
#[derive(Args)]
pub struct ContainerUpdate {
    #[command(flatten)]
    update: Update,
    /// Recreate the container with the changes: pull, stop, make anew, and start if it was running
    #[arg(long)]
    recreate: bool,
}

/// How to show a container.
#[derive(Args)]
pub struct ContainerShow {
    #[command(flatten)]
    show: Show,
    /// Print the container as JSON
    #[arg(long)]
    json: bool,
}

/// How to stop.
#[derive(Args)]
pub struct Stop {
    #[command(flatten)]
    targets: Targets,
    /// Seconds between the stop signal and the kill; -1: no kill
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
}

/// How to kill.
#[derive(Args)]
pub struct Kill {
    #[command(flatten)]
    targets: Targets,
    /// Signal to send [default: SIGKILL]
    #[arg(long)]
    signal: Option<String>,
}

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
    /// Name or UUID of the container
    #[arg(value_name = "NAME|UUID", value_parser = ident)]
    container: String,
    /// Id of the command, from container-execution-list
    #[arg(value_name = "ID", value_parser = ident)]
    id: String,
}

/// Runs a command for containers.
pub async fn run(session: &Session, command: ContainerCommand) -> Result<(), CliError> {
    use ContainerCommand as C;
    match command {
        C::List(args) => CONTAINER.list(session, &args.list, args.bay.as_deref()).await,
        C::Create(args) => CONTAINER.create(session, args.body(session).await?).await,
        C::Show(args) if args.json => print_json(&CONTAINER.look(session, &args.show).await?),
        C::Show(args) => CONTAINER.show(session, &args.show).await,
        C::Update(args) => {
            let call = Call::new(Method::PATCH, Kind::Container);
            let call = call.query("recreate", args.recreate.then_some("1"));
            CONTAINER.update_by(session, &args.update, call).await
        }
        C::Recreate(targets) => act(session, &targets, "Recreate", put()).await,
        C::RecreateBay(bay) => recreate::bay(session, CONTAINER, bay.ident()).await,
        C::Delete(targets) => CONTAINER.delete(session, &targets).await,
        C::Start(targets) => act(session, &targets, "Start", put()).await,
        C::Stop(args) => {
            act(session, &args.targets, "Stop", put().query("timeout", args.timeout)).await
        }
        C::Reboot(args) => {
            act(session, &args.targets, "Reboot", put().query("timeout", args.timeout)).await
        }
        C::Pause(targets) => act(session, &targets, "Pause", put()).await,
        C::Unpause(targets) => act(session, &targets, "Unpause", put()).await,
        C::Kill(args) => {
            act(session, &args.targets, "Kill", put().query("signal", args.signal)).await
        }
        C::Logs(args) => logs(session, &args).await,
        C::Execute(args) => execute::execute(session, &args).await,
        C::Output(args) => execute::output(session, &args).await,
        C::ExecutionList(target) => executions(session, &target).await,
        C::ExecutionEnd(args) => end_execution(session, &args).await,
        C::History(target) => CONTAINER.history(session, &target).await,
    }
}

/// Prints a container as JSON.
pub fn print_json(container: &Value) -> Result<(), CliError> {
    table::print(&printable_json(&format!("{container}\n")))
}

/// A request for an action.
pub fn put<'a>() -> Call<'a> {
    Call::new(Method::PUT, Kind::Container)
}

/// Requests an action for each target; the verb is its path.
pub async fn act(
    session: &Session,
    targets: &Targets,
    verb: &str,
    call: Call<'_>,
) -> Result<(), CliError> {
    CONTAINER.each(session, targets, verb, call, Some(&verb.to_ascii_lowercase())).await
}

/// Prints output as the container wrote it.
async fn logs(session: &Session, args: &Logs) -> Result<(), CliError> {
    let call = Call::new(Method::GET, Kind::Container)
        .segment(args.target.ident())
        .segment("logs")
        .query("tail", args.tail.as_ref())
        .query("since", args.since.as_ref())
        .query("until", args.until.as_ref())
        .query("timestamps", args.timestamps.then_some("1"));
    print_logs(session, call, args.follow).await
}

/// The same for some of the options.
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

/// Prints the commands running in a container, the oldest first.
async fn executions(session: &Session, target: &Target) -> Result<(), CliError> {
    let call = Call::new(Method::GET, Kind::Container);
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

/// Ends a command running in a container.
async fn end_execution(session: &Session, args: &ExecutionEnd) -> Result<(), CliError> {
    let call = Call::new(Method::DELETE, Kind::Container);
    let call = call.segment(&args.container).segment("executions").segment(&args.id);
    let mut acting = Acting::new(session, CONTAINER, "End");
    let _said = acting.change(&args.container, &args.container, call).await;
    acting.end(false)
}

/// Prints the output in an answer unchanged; on a terminal, ends it with a line feed.
fn output(body: &Value) -> Result<(), CliError> {
    let text = body.get("output").and_then(Value::as_str).unwrap_or_default();
    let unfinished = !text.is_empty() && !text.ends_with('\n') && std::io::stdout().is_terminal();
    table::print(text)?;
    if unfinished { table::print("\n") } else { Ok(()) }
}
