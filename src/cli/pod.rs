//! `pod-*`: containers that are placed together, from Kubernetes' manifests.

use std::io::Read;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::{Target, Targets, Update, ident};
use super::error::CliError;
use super::execute::{self, Execute, Inside, Output};
use super::inside::{self, ExecutionEnd, Logs};
use super::noun::{ListArgs, Noun, Session, Show};
use crate::ids::Kind;

/// Pods, with the columns of 2015.
const POD: Noun = Noun {
    kind: Kind::Pod,
    columns: &["uuid", "name"],
    more: &["status"],
    wide: &["address", "status_reason", "bay_uuid", "node_uuid", "created_at"],
};

/// Commands for pods.
#[derive(Subcommand)]
pub enum PodCommand {
    /// Print a list of available pods
    #[command(name = "pod-list")]
    List(PodList),
    /// Create a pod from a manifest and start its containers
    #[command(name = "pod-create")]
    Create(PodCreate),
    /// Show details of a pod
    #[command(name = "pod-show")]
    Show(Show),
    /// Update the description of a pod
    #[command(name = "pod-update")]
    Update(Update),
    /// Delete pods; their containers are stopped first
    #[command(name = "pod-delete")]
    Delete(Targets),
    /// Get the logs of a container of a pod
    #[command(name = "pod-logs")]
    Logs(PodLogs),
    /// Execute a command in a container of a pod; exits as the command does
    #[command(name = "pod-execute")]
    Execute(PodExecute),
    /// List the commands running in a pod
    #[command(name = "pod-execution-list")]
    ExecutionList(Target),
    /// Print what a command wrote and still writes, for an hour after its end; exits as it does
    #[command(name = "pod-output")]
    Output(Output),
    /// End a command running in a pod
    #[command(name = "pod-execution-end")]
    ExecutionEnd(ExecutionEnd),
    /// Show everything that happened to a pod
    #[command(name = "pod-history")]
    History(Target),
}

/// Which pods to list.
#[derive(Args)]
pub struct PodList {
    #[command(flatten)]
    list: ListArgs,
    /// List only pods in this bay
    #[arg(long, alias = "bay-id", value_name = "NAME|UUID", value_parser = ident)]
    bay: Option<String>,
}

/// What a pod is made from.
#[derive(Args)]
#[group(id = "source", required = true, multiple = true, args = ["manifest", "manifest_url"])]
pub struct PodCreate {
    /// File with a Kubernetes manifest (v1 Pod, JSON or YAML); - for stdin
    #[arg(long, value_name = "FILE|-")]
    manifest: Option<String>,
    /// Address of such a manifest, which the server fetches: http or https
    #[arg(long, value_name = "URL")]
    manifest_url: Option<String>,
    /// Name or UUID of the bay
    #[arg(long, alias = "bay-id", value_name = "NAME|UUID", value_parser = ident)]
    bay: String,
    /// A description
    #[arg(long, value_name = "TEXT")]
    desc: Option<String>,
}

/// Which output of which container.
#[derive(Args)]
pub struct PodLogs {
    #[command(flatten)]
    logs: Logs,
    /// The container [default: the first one]
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
}

/// Which command in which container.
#[derive(Args)]
pub struct PodExecute {
    #[command(flatten)]
    execute: Execute,
    /// The container [default: the first one]
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
}

/// Runs a command for pods.
pub async fn run(session: &Session, command: PodCommand) -> Result<(), CliError> {
    use PodCommand as C;
    match command {
        C::List(args) => POD.list(session, &args.list, args.bay.as_deref()).await,
        C::Create(args) => POD.create(session, body(session, args).await?).await,
        C::Show(show) => POD.show(session, &show).await,
        C::Update(update) => POD.update(session, &update).await,
        C::Delete(targets) => POD.delete(session, &targets).await,
        C::Logs(args) => {
            inside::logs(session, Kind::Pod, &args.logs, args.container.as_deref()).await
        }
        C::Execute(PodExecute { execute: args, container }) => {
            let place = Inside { kind: Kind::Pod, ident: args.target.ident() };
            execute::line(session, place, container.as_deref(), &args.command).await
        }
        C::ExecutionList(target) => inside::list(session, Kind::Pod, &target).await,
        C::Output(args) => execute::output(session, Kind::Pod, &args).await,
        C::ExecutionEnd(args) => inside::end(session, POD, &args).await,
        C::History(target) => POD.history(session, &target).await,
    }
}

/// The body of a request for a pod.
async fn body(session: &Session, args: PodCreate) -> Result<Value, CliError> {
    let manifest = args.manifest.as_deref().map(text_of).transpose()?;
    let bay_uuid = session.uuid(Kind::Bay, &args.bay).await?;
    Ok(json!({
        "bay_uuid": bay_uuid,
        "manifest": manifest,
        "manifest_url": args.manifest_url,
        "desc": args.desc,
    }))
}

/// The text of a file, or of stdin.
fn text_of(path: &str) -> Result<String, CliError> {
    let unread = |error| CliError::Failed(format!("cannot read {path}: {error}"));
    let mut text = String::new();
    match path {
        "-" => std::io::stdin().read_to_string(&mut text).map_err(unread)?,
        _ => {
            text = std::fs::read_to_string(path).map_err(unread)?;
            text.len()
        }
    };
    Ok(text)
}
