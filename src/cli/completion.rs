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
    let script = String::from_utf8_lossy(&script);
    table::print(&match args.shell {
        Name::Bash => format!("{script}\n{BASH_NAMES}"),
        // What the generator has no words for.
        Name::Zsh => {
            let script = script.replace(":_default' \\", ":_magnum_names' \\");
            // Its last line calls what must be there by then.
            script.replacen('\n', ZSH_NAMES, 1)
        }
        Name::Fish => format!("{script}\n{FISH_NAMES}"),
    })
}

/// Adds names of objects to the words of the generated function.
const BASH_NAMES: &str = r#"_magnum_and_names() {
    _magnum "$@"
    local word=${COMP_WORDS[COMP_CWORD]} name
    [[ $word == -* || $COMP_CWORD -lt 2 ]] && return
    while IFS= read -r name; do
        [[ $name == "$word"* ]] && COMPREPLY+=("$name")
    done < <("${COMP_WORDS[0]}" complete-names -- "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)
}
complete -F _magnum_and_names -o nosort -o bashdefault -o default magnum
"#;

/// Names of objects where the generated function would complete names of files.
const ZSH_NAMES: &str = r#"
_magnum_names() {
    local -a names
    names=(${(f)"$(magnum complete-names -- ${(Q)words[2,CURRENT-1]} 2>/dev/null)"})
    if (( $#names )); then compadd -a names; else _default; fi
}
"#;

const FISH_NAMES: &str = "complete -c magnum -a \
    '(magnum complete-names -- (commandline -opc)[2..-1] 2>/dev/null)'\n";

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
