//! The command line: what `python-magnumclient` of 2015 had, and what is new.
//!
//! One file a command group. `options` are the global ones, `client` speaks HTTP, `noun` has the
//! verbs that every collection shares, `table` prints, `failure` says what went wrong and what to
//! do next. Not here: anything the server decides; a client checks only what it must to send a
//! request that means what was typed.

mod backup;
mod bay;
mod baymodel;
mod bundle;
mod client;
mod completion;
mod container;
mod container_create;
mod event_line;
mod events;
mod failure;
mod keys;
mod log;
mod login;
mod node;
mod noun;
mod options;
mod replay;
mod serve;
mod serve_auth;
mod sse;
mod table;
mod target;
mod terminal;
mod trace;
mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::CliError;
use noun::Session;
use options::Format;

const ABOUT: &str = "Manages bays, nodes and containers through the Magnum API";

const AFTER_HELP: &str = "\
A server that asks who you are gets a token from what OpenStack clients take: OS_AUTH_URL,
OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME (OS_USER_DOMAIN_NAME, OS_PROJECT_DOMAIN_NAME), or
OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET, or OS_TOKEN. Their options of
python-magnumclient (--os-username, ...) are accepted too, so that old scripts run.

Start with: magnum serve
Then:       magnum container-create --name hello --image busybox --command 'echo hello'";

/// Everything that can be typed.
#[derive(Parser)]
#[command(name = "magnum", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    options: options::Options,
    #[command(flatten)]
    openstack: login::Openstack,
    #[command(subcommand)]
    command: Command,
}

/// Every command.
#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Bay(bay::BayCommand),
    #[command(flatten)]
    Baymodel(baymodel::BaymodelCommand),
    #[command(flatten)]
    Node(node::NodeCommand),
    #[command(flatten)]
    Container(container::ContainerCommand),
    /// Show what happened, or follow what happens
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Look after the event log in a data folder
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Copy the log of a data folder, beside a running server too; again into the same folder only
    /// what is new
    Backup(backup::Backup),
    /// Make a new data folder from a backup, all of it or up to a position or time
    Restore(backup::Restore),
    /// Show what was, and why: on a server, in a data folder, in an export; changes nothing
    #[command(subcommand)]
    Replay(replay::ReplayCommand),
    /// Say why an object is as it is: what it waits for, what was said last, what led here
    Why(why::WhyArgs),
    /// Show what a request led to: commands, events, work and outcomes as a tree with times
    Trace(trace::TraceArgs),
    /// Hand what happened to an object to somebody else, as one file
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Look at the key that secrets are sealed with, and erase it
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Run the service: API, conductor and backend in one process
    Serve(serve::ServeArgs),
    /// Print a script that completes commands and options in a shell
    Completion(completion::CompletionArgs),
    /// Print all commands and options, for the completion script of python-magnumclient
    BashCompletion,
}

/// Runs what was typed. Exit code 0: done; 1: failed, said on stderr; 2: a usage error.
pub fn main() -> ExitCode {
    let cli = Cli::parse_from(options::hyphenated(std::env::args_os()));
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Runs a command: those that need no server here, the others with a session.
fn run(mut cli: Cli) -> Result<(), CliError> {
    // Only events have more to say than fits into a table.
    let is_wide = cli.options.output == Format::Wide;
    if is_wide {
        cli.options.output = Format::Table;
    }
    match cli.command {
        Command::Serve(args) => return serve::run(args),
        Command::Log(command) => return log::run(cli.options.output, command, cli.options.reason),
        Command::Backup(args) => return backup::back_up(cli.options.output, &args),
        Command::Restore(args) => return backup::restore(cli.options.output, &args),
        Command::Completion(args) => return completion::script(&args),
        Command::BashCompletion => return completion::words(),
        _ => {}
    }
    let session = Session::new(cli.options, cli.openstack)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Bay(command) => bay::run(&session, command).await,
            Command::Baymodel(command) => baymodel::run(&session, command).await,
            Command::Node(command) => node::run(&session, command).await,
            Command::Container(command) => container::run(&session, command).await,
            Command::Events(command) => events::run(&session, command, is_wide).await,
            Command::Replay(command) => replay::run(&session, command).await,
            Command::Why(args) => why::run(&session, &args).await,
            Command::Trace(args) => trace::run(&session, &args).await,
            Command::Bundle(command) => bundle::run(&session, command).await,
            Command::Keys(command) => keys::run(&session, command).await,
            Command::Log(_)
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Serve(_)
            | Command::Completion(_)
            | Command::BashCompletion => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_every_command_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
