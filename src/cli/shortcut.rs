//! Short commands with docker's options: `magnum ps`, `run`, `exec` and others. Each is one of the
//! commands for containers, or some of them in a row.
//!
//! Not here: what those do (`container`, `execute`).

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::ident;
use super::client::Call;
use super::container::{self, CONTAINER, act};
use super::error::CliError;
use super::execute::Inside;
use super::noun::{ListArgs, Session, text_of};
use super::table;
use super::variables::{self, Variable, variable};
use super::{execute, inside, waiting};
use crate::command_line;
use crate::ids::Kind;

/// What the help says of them: clap has no headings for commands.
pub const HELP: &str = "\
Shortcuts, with docker's options:
  ps [-a]                                 List running containers; -a: all
  run [-d] [--name NAME] [-e NAME=VALUE] [-p PORT] IMAGE [COMMAND...]
                                          Create and start a container; its output, unless -d
  exec CONTAINER COMMAND...               container-execute
  logs [-f] [-n LINES] CONTAINER          container-logs
  inspect CONTAINER                       container-show --json
  start | pause | unpause CONTAINER...    container-start, -pause, -unpause
  stop | restart [-t SECONDS] CONTAINER...
                                          container-stop, container-reboot
  kill [-s SIGNAL] CONTAINER...           container-kill
  rm [-f] CONTAINER...                    container-delete; -f: also running ones";

/// Short commands.
#[derive(Subcommand)]
pub enum Shortcut {
    /// List running containers
    #[command(hide = true)]
    Ps {
        /// List all containers
        #[arg(short, long)]
        all: bool,
    },
    /// Create and start a container, and print its output until it ends
    #[command(hide = true)]
    Run(RunArgs),
    /// Execute a command in a container; exits as the command does
    #[command(hide = true)]
    Exec {
        /// Name or UUID of the container
        #[arg(value_name = "CONTAINER", value_parser = ident)]
        container: String,
        /// The command and its arguments
        #[arg(value_name = "COMMAND", required = true)]
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Get logs of a container
    #[command(hide = true)]
    Logs {
        /// Name or UUID of the container
        #[arg(value_name = "CONTAINER", value_parser = ident)]
        container: String,
        /// Follow the output until the container ends
        #[arg(short, long)]
        follow: bool,
        /// Print only the last lines
        #[arg(short = 'n', long, value_name = "LINES")]
        tail: Option<u64>,
    },
    /// Show a container as JSON
    #[command(hide = true)]
    Inspect {
        /// Name or UUID of the container
        #[arg(value_name = "CONTAINER", value_parser = ident)]
        container: String,
    },
    /// Start containers
    #[command(hide = true)]
    Start(Containers),
    /// Pause all processes in containers
    #[command(hide = true)]
    Pause(Containers),
    /// Resume paused containers
    #[command(hide = true)]
    Unpause(Containers),
    /// Stop containers
    #[command(hide = true)]
    Stop(Grace),
    /// Stop and start containers
    #[command(hide = true)]
    Restart(Grace),
    /// Send a signal to containers
    #[command(hide = true)]
    Kill {
        #[command(flatten)]
        containers: Containers,
        /// Signal to send [default: SIGKILL]
        #[arg(short, long)]
        signal: Option<String>,
    },
    /// Delete containers
    #[command(hide = true)]
    Rm {
        #[command(flatten)]
        containers: Containers,
        /// Delete running containers too
        #[arg(short, long)]
        force: bool,
    },
}

/// Which containers.
#[derive(Args)]
pub struct Containers {
    /// Names or UUIDs of containers
    #[arg(value_name = "CONTAINER", required = true, value_parser = ident)]
    names: Vec<String>,
}

/// Which containers are to end, and how long they have for it.
#[derive(Args)]
pub struct Grace {
    #[command(flatten)]
    containers: Containers,
    /// Seconds between the stop signal and the kill
    #[arg(short, long, alias = "time", value_name = "SECONDS")]
    timeout: Option<u32>,
}

/// What to run.
#[derive(Args)]
pub struct RunArgs {
    /// Print the container's UUID and leave it running
    #[arg(short, long)]
    detach: bool,
    /// Name of the container
    #[arg(long)]
    name: Option<String>,
    /// Environment variable; NAME alone has the value of this command's own environment
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<Variable>,
    /// Port to publish: [[IP:]HOST:]CONTAINER[/PROTOCOL]
    #[arg(short, long = "publish", value_name = "8080:80/tcp")]
    port: Vec<String>,
    /// Image to create the container from
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The command and its arguments [default: the image's own]
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs one of them.
pub async fn run(session: &Session, shortcut: Shortcut) -> Result<(), CliError> {
    use Shortcut as S;
    match shortcut {
        S::Ps { all } => ps(session, all).await,
        S::Run(args) => started(session, &args).await,
        S::Exec { container, command } => {
            let place = Inside::container(&container);
            execute::line(session, place, None, &command_line::join(command)).await
        }
        S::Logs { container, follow, tail } => {
            inside::logs_of(session, &container, follow, tail).await
        }
        S::Inspect { container } => {
            let call = Call::new(Method::GET, Kind::Container).segment(&container);
            container::print_json(&session.client.send(call).await?.body)
        }
        S::Start(containers) => {
            act(session, &containers.targets(), "Start", container::put()).await
        }
        S::Pause(containers) => {
            act(session, &containers.targets(), "Pause", container::put()).await
        }
        S::Unpause(containers) => {
            act(session, &containers.targets(), "Unpause", container::put()).await
        }
        S::Stop(args) => act(session, &args.containers.targets(), "Stop", args.call()).await,
        S::Restart(args) => act(session, &args.containers.targets(), "Reboot", args.call()).await,
        S::Kill { containers, signal } => {
            act(session, &containers.targets(), "Kill", container::put().query("signal", signal))
                .await
        }
        S::Rm { containers, force } => {
            if !force {
                stopped(session, &containers).await?;
            }
            let delete = Call::new(Method::DELETE, Kind::Container);
            CONTAINER.each(session, &containers.targets(), "Delete", delete, None).await
        }
    }
}

impl Containers {
    fn targets(&self) -> super::args::Targets {
        super::args::Targets::of(&self.names)
    }
}

impl Grace {
    fn call<'a>(&self) -> Call<'a> {
        container::put().query("timeout", self.timeout)
    }
}

/// Lists containers; only those with a process unless all are asked for.
async fn ps(session: &Session, all: bool) -> Result<(), CliError> {
    let mut rows = CONTAINER.rows(session, &ListArgs::default(), None).await?;
    let runs = |row: &Value| matches!(text_of(row, "status"), "Running" | "Paused" | "Restarting");
    rows.retain(|row| all || runs(row));
    table::list(session.format, &["uuid", "name", "image_id", "status"], &rows)
}

/// Refuses to delete containers that run.
async fn stopped(session: &Session, containers: &Containers) -> Result<(), CliError> {
    for name in &containers.names {
        let call = Call::new(Method::GET, Kind::Container).segment(name);
        let found = session.client.send(call).await?.body;
        if matches!(text_of(&found, "status"), "Running" | "Paused" | "Restarting") {
            let words = format!("container {name} is running; stop it first, or use -f");
            return Err(CliError::Failed(words));
        }
    }
    Ok(())
}

/// Creates and starts a container. Unless it is left alone then, prints its output until it ends,
/// and exits as it does.
async fn started(session: &Session, args: &RunArgs) -> Result<(), CliError> {
    let mut body = Map::from_iter([("image_id".to_owned(), json!(args.image))]);
    body.extend(args.name.as_ref().map(|name| ("name".to_owned(), json!(name))));
    for (key, list) in [("command", &args.command), ("ports", &args.port)] {
        if !list.is_empty() {
            body.insert(key.to_owned(), json!(list));
        }
    }
    let environment: Map<String, Value> = variables::resolve(&[], &args.env)?
        .into_iter()
        .map(|(name, value)| (name, json!(value)))
        .collect();
    if !environment.is_empty() {
        body.insert("environment".to_owned(), Value::Object(environment));
    }
    let create = Call::new(Method::POST, Kind::Container).body(Value::Object(body));
    let name = args.name.as_deref();
    let answer = waiting::change(&session.client, Kind::Container, name, create).await?;
    let made = &answer.body;
    let uuid = text_of(made, "uuid").to_owned();
    if text_of(made, "status") == "Error" {
        let words = text_of(made, "status_reason").to_owned();
        let error = CliError::Advised(words, format!("magnum container-history {uuid}"));
        return Err(error.of_change(answer.request_id.as_deref()));
    }
    let start = container::put().segment(&uuid).segment("start");
    waiting::change(&session.client, Kind::Container, name.or(Some(&uuid)), start).await?;
    if args.detach {
        return table::print(&format!("{uuid}\n"));
    }
    let to_its_end = async {
        inside::logs_of(session, &uuid, true, None).await?;
        ended(session, &uuid).await
    };
    // The container goes on.
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Err(CliError::Exit(execute::INTERRUPTED)),
        done = to_its_end => done,
    }
}

/// The end of a container whose output has ended.
async fn ended(session: &Session, uuid: &str) -> Result<(), CliError> {
    loop {
        let call = Call::new(Method::GET, Kind::Container).segment(uuid);
        let found = session.client.exchange(call).await?.body;
        if text_of(&found, "status") == "Running" {
            tokio::time::sleep(execute::POLL).await;
            continue;
        }
        return match found.get("exit_code").and_then(Value::as_i64) {
            Some(0) | None => Ok(()),
            Some(code) => Err(CliError::Exit(execute::exit_code(code))),
        };
    }
}
