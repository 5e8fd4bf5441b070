//! `completion`: scripts for shells; `bash-completion`: words for the script of the old client.

use std::collections::BTreeSet;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::error::CliError;
use super::{Cli, table};

/// The shells there are scripts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// `source <(magnum completion bash)`
    Bash,
    /// `magnum completion zsh > "${fpath[1]}/_magnum"`
    Zsh,
    /// `magnum completion fish | source`
    Fish,
}

/// Which shell.
#[derive(Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum, value_name = "bash|zsh|fish", hide_possible_values = true)]
    shell: Name,
}

/// Prints a completion script.
pub fn script(args: &CompletionArgs) -> Result<(), CliError> {
    let shell = match args.shell {
        Name::Bash => Shell::Bash,
        Name::Zsh => Shell::Zsh,
        Name::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "magnum", &mut script);
    table::print(&String::from_utf8_lossy(&script))
}

/// Prints all commands and options in one line.
pub fn words() -> Result<(), CliError> {
    let mut root = Cli::command();
    root.build();
    let commands = || root.get_subcommands().filter(|command| !command.is_hide_set());
    let names = commands().map(|command| command.get_name().to_owned());
    let options = commands()
        .flat_map(clap::Command::get_arguments)
        .filter_map(|arg| arg.get_long())
        .map(|long| format!("--{long}"));
    let mut words: BTreeSet<String> = names.chain(options).collect();
    words.remove("bash-completion");
    let words: Vec<String> = words.into_iter().collect();
    table::print(&format!("{}\n", words.join(" ")))
}
