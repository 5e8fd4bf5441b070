//! The command line: the commands of `python-magnumclient` of 2015, and new ones.
//!
//! One file a command group. `options` are the global ones, `client` speaks HTTP (`call`), `noun`
//! does what can be done with every collection, `waiting` waits for it, `acting` tells what became
//! of it, `verbs` has the commands for it, `shortcut` short ones, `table` prints, `error` says what
//! went wrong and what to do next, and `mistyped` what is no command.
//!
//! Not here: anything the server decides; a client checks only what it must to send a request that
//! means what was typed.

mod acting;
mod args;
mod backup;
mod bay;
mod bay_delete;
mod baymodel;
mod bundle;
mod call;
mod client;
mod complete_names;
mod completion;
mod container;
mod container_create;
mod error;
mod event_choice;
mod event_line;
mod events;
mod events_list;
mod execute;
mod force;
mod inside;
mod keys;
mod log;
mod login;
mod mistyped;
mod moment;
mod node;
mod noun;
mod options;
mod pod;
mod recreate;
mod replay;
mod serve;
mod serve_auth;
mod serve_containers;
mod serve_http;
mod serve_log;
mod shortcut;
mod sse;
mod table;
mod terminal;
mod token;
mod trace;
mod variables;
mod verbs;
mod waiting;
mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::CliError;
use noun::Session;
use options::Format;

use crate::files;

const ABOUT: &str = "Manages bays, nodes, pods and containers through the Magnum API";

const AFTER_HELP: &str = "\
For a server with authentication, set the variables of the OpenStack clients: OS_AUTH_URL,
OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME (OS_USER_DOMAIN_NAME, OS_PROJECT_DOMAIN_NAME), or
OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET, or OS_TOKEN; or set
MAGNUM_TOKEN, which goes before these, to a token from magnum token create. The matching
options of python-magnumclient (--os-username, ...) are accepted too, so old scripts work.

Start with: magnum serve
Then:       magnum container-create --name hello --image busybox --command 'echo hello'";

/// The end of the help: first the commands that have a heading of their own.
fn after_help() -> String {
    format!("{}\n\n{AFTER_HELP}", shortcut::HELP)
}

/// Nouns that have the commands of `verbs` and no others, in the order of the help.
const NOUNS: [&verbs::Commands; 3] = [&bay::BAY, &baymodel::BAYMODEL, &node::NODE];

/// The whole command line.
#[derive(Parser)]
#[command(name = "magnum", version, about = ABOUT, after_help = after_help(), max_term_width = 100)]
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
    Noun(verbs::NounCommand),
    #[command(flatten)]
    Container(container::ContainerCommand),
    #[command(flatten)]
    Pod(pod::PodCommand),
    #[command(flatten)]
    Shortcut(shortcut::Shortcut),
    /// List past events, or follow new ones
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Inspect and maintain the event log of a data directory
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Back up the event log, also of a running server; later backups copy only what is new
    Backup(backup::Backup),
    /// Create a data directory from a backup, in full or up to a position or time
    Restore(backup::Restore),
    /// Debug past states, of a server, a data directory or an export; changes nothing
    #[command(subcommand)]
    Replay(replay::ReplayCommand),
    /// Explain the state of an object: what it waits for, the last error, what led here
    Why(why::WhyArgs),
    /// Show everything a request caused, as a tree of events, work and outcomes with times
    Trace(trace::TraceArgs),
    /// Export the history of an object as one file, or check such a file
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// List or erase the key that secrets are sealed with
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Issue, list or revoke tokens for a server with --auth tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Run the server: API, conductor and backend in one process
    Serve(serve::ServeArgs),
    /// Print a completion script for a shell
    Completion(completion::CompletionArgs),
    /// Print the names with which a shell may complete a line
    #[command(hide = true)]
    CompleteNames(complete_names::NamesArgs),
    /// Print all commands and options for the completion script of python-magnumclient
    BashCompletion,
}

/// Runs the command line. Exit code 0: done; 1: failed, with a message on stderr; 2: a usage
/// error; 124: not done within `--wait-timeout`. Those of commands in containers: `execute`.
pub fn main() -> ExitCode {
    files::keep_from_others();
    let cli = match Cli::try_parse_from(options::hyphenated(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return mistyped::report(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Runs a command: without a session if it needs no server.
fn run(cli: Cli) -> Result<(), CliError> {
    let Cli { mut options, openstack, command } = cli;
    // Lists, events and differences have a wide format; everything else is as in a table.
    let is_wide = options.output == Format::Wide;
    if is_wide {
        options.output = Format::Table;
    }
    let (format, reason) = (options.output, options.reason.clone());
    let open = || Session::new(options, openstack, is_wide);
    match command {
        Command::Noun(command) => wait(async { command.run(&open()?).await }),
        Command::Container(command) => wait(async { container::run(&open()?, command).await }),
        Command::Pod(command) => wait(async { pod::run(&open()?, command).await }),
        Command::Shortcut(command) => wait(async { shortcut::run(&open()?, command).await }),
        Command::Events(command) => wait(async { events::run(&open()?, command, is_wide).await }),
        Command::Log(command) => log::run(format, command, reason),
        Command::Backup(args) => backup::back_up(format, &args),
        Command::Restore(args) => backup::restore(format, &args),
        Command::Replay(command) => wait(async { replay::run(&open()?, command, is_wide).await }),
        Command::Why(args) => wait(async { why::run(&open()?, &args).await }),
        Command::Trace(args) => wait(async { trace::run(&open()?, &args).await }),
        Command::Bundle(command) => wait(async { bundle::run(&open()?, command).await }),
        Command::Keys(command) => wait(async { keys::run(&open()?, command).await }),
        Command::Token(command) => token::run(format, command),
        Command::Serve(args) => serve::run(args),
        Command::Completion(args) => completion::script(&args),
        Command::CompleteNames(args) => {
            wait(async { complete_names::print(&open()?, &args).await })
        }
        Command::BashCompletion => completion::words(),
    }
}

/// Runs a command that talks to a server to its end.
fn wait(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_every_command_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
