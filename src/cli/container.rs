//! `container-*`: single containers, their actions, output and commands run in them.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::args::{Target, Targets, Update, ident};
use super::client::Call;
use super::container_create::ContainerCreate;
use super::error::CliError;
use super::execute::{self, Execute, Inside, Output};
use super::inside::{self, ExecutionEnd, Logs};
use super::noun::{ListArgs, Noun, Session, Show};
use super::terminal::printable_json;
use super::{recreate, table};
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
        C::Logs(args) => inside::logs(session, Kind::Container, &args, None).await,
        C::Execute(args) => {
            let place = Inside::container(args.target.ident());
            execute::line(session, place, None, &args.command).await
        }
        C::Output(args) => execute::output(session, Kind::Container, &args).await,
        C::ExecutionList(target) => inside::list(session, Kind::Container, &target).await,
        C::ExecutionEnd(args) => inside::end(session, CONTAINER, &args).await,
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
