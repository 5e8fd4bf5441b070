//! `complete-names`: the names with which a shell may complete a line, asked from the server. The
//! scripts of `completion` run it.
//!
//! It says nothing where it has nothing to say, and never why: a line is being typed. Not here: the
//! scripts (`completion`).

use std::time::Duration;

use clap::{Args, Command, CommandFactory};
use reqwest::Method;
use serde_json::Value;

use super::client::Call;
use super::error::CliError;
use super::noun::{Session, taken_array};
use super::{Cli, table};
use crate::ids::Kind;

/// Whoever presses Tab waits no longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Names of a collection: more are no help.
const MAX_NAMES: u64 = 500;

/// The line as far as it is typed.
#[derive(Args)]
pub struct NamesArgs {
    /// The words before the one that is being typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
    words: Vec<String>,
}

/// What may come next on a line.
#[derive(Debug, PartialEq, Eq)]
enum Completion {
    /// The name of an object.
    Name(Kind),
    /// An object as `container/web`.
    Object,
}

/// Prints the names that may come next.
pub async fn print(session: &Session, args: &NamesArgs) -> Result<(), CliError> {
    let mut root = Cli::command();
    root.build();
    let mut names = Vec::new();
    let asked = async {
        match next(&root, &args.words) {
            None => {}
            Some(Completion::Name(kind)) => names.extend(names_of(session, kind).await),
            Some(Completion::Object) => {
                for kind in Kind::ALL {
                    let named = names_of(session, kind).await.into_iter();
                    names.extend(named.map(|name| format!("{kind}/{name}")));
                }
            }
        }
    };
    // What is known by then is still a help.
    drop(tokio::time::timeout(PATIENCE, asked).await);
    names.iter().try_for_each(|name| table::print(&format!("{name}\n")))
}

/// What may come next after some words.
fn next(root: &Command, words: &[String]) -> Option<Completion> {
    let (mut command, mut value_of, mut top) = (root, None, None);
    for word in words {
        if value_of.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            value_of = option(command, word);
        } else if let Some(found) = command.find_subcommand(word) {
            command = found;
            top = top.or(Some(found.get_name()));
        }
    }
    if let Some(name) = value_of {
        // `--bay` takes the name of a bay, and most others something else.
        return Kind::named(&name).map(Completion::Name);
    }
    command.get_positionals().next()?;
    let kind = |name: &str| {
        Kind::ALL.into_iter().find(|kind| {
            let verb = name.strip_prefix(kind.name());
            verb.is_some_and(|verb| verb.starts_with('-'))
        })
    };
    match top? {
        "why" | "replay" | "bundle" => Some(Completion::Object),
        name => kind(name).map(Completion::Name),
    }
}

/// The long name of an option whose value comes as the next word.
fn option(command: &Command, word: &str) -> Option<String> {
    let known = command.get_arguments().find(|arg| match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => {
            let mut letters = word.chars().skip(1);
            arg.get_short().is_some() && arg.get_short() == letters.next() && letters.count() == 0
        }
    })?;
    let takes_value = known.get_action().takes_values();
    takes_value.then(|| known.get_long().unwrap_or_default().to_owned())
}

/// The names in a collection that a shell can take as they are.
async fn names_of(session: &Session, kind: Kind) -> Vec<String> {
    let call = Call::new(Method::GET, kind).query("limit", Some(MAX_NAMES));
    let Ok(answer) = session.client.send(call).await else { return Vec::new() };
    let mut body = answer.body;
    let field = if kind == Kind::Node { "host" } else { "name" };
    let rows = taken_array(&mut body, kind.collection());
    let names = rows.iter().filter_map(|row| row.get(field).and_then(Value::as_str));
    names.filter(|name| is_plain(name)).map(str::to_owned).collect()
}

/// Whether a shell takes a word as it is: names are chosen by others.
fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.starts_with('-') && !name.is_empty() && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_command_and_its_options() {
        let mut root = Cli::command();
        root.build();
        let after = |line: &str| {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            next(&root, &words)
        };
        for (line, wanted) in [
            ("container-show", Some(Completion::Name(Kind::Container))),
            ("container-stop web", Some(Completion::Name(Kind::Container))),
            ("container-stop --timeout 3", Some(Completion::Name(Kind::Container))),
            ("-o json bay-show", Some(Completion::Name(Kind::Bay))),
            ("baymodel-show", Some(Completion::Name(Kind::Baymodel))),
            ("container-create --bay", Some(Completion::Name(Kind::Bay))),
            ("bay-create --baymodel", Some(Completion::Name(Kind::Baymodel))),
            ("why", Some(Completion::Object)),
            ("replay timeline", Some(Completion::Object)),
            ("container-stop --timeout", None),
            ("container-list", None),
            ("serve", None),
            ("", None),
            ("no-such-command", None),
        ] {
            assert_eq!(after(line), wanted, "{line}");
        }
    }

    #[test]
    fn what_a_shell_could_take_for_more_than_a_name_is_left_out() {
        for plain in ["web", "a.b-c_1"] {
            assert!(is_plain(plain), "{plain}");
        }
        for odd in ["", "-rf", "$(id)", "a b", "a;b", "`id`", "ö", "a\nb"] {
            assert!(!is_plain(odd), "{odd}");
        }
    }
}
