//! The commands that every noun has: list, create, show, update, delete, history. What a noun adds
//! to them is one [`Commands`] in its own file.
//!
//! Not here: what they do (`noun`); containers, whose commands have more options.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, Subcommand};
use serde_json::{Map, Value};

use super::args::{Target, Targets, Update};
use super::bay_delete;
use super::error::CliError;
use super::force;
use super::noun::{ListArgs, Noun, Session, Show};
use crate::ids::Kind;

/// What is a noun's own about these commands.
pub struct Commands {
    /// The collection.
    pub noun: Noun,
    /// What the help says of its list.
    pub lists: &'static str,
    /// What the help says of deleting some.
    pub deletes: &'static str,
    /// What the help says of deleting by force, where that is possible.
    pub forces: Option<&'static str>,
    /// The options of create, in the order of the help: see [`option`].
    pub options: fn() -> Vec<Arg>,
}

/// An option of create, which sets the field that its id names. Its value goes into the body as it
/// was typed: numbers stay text, and the server says what is wrong with them. Without it the field
/// is `null`, as in the requests of the client of 2015.
///
/// A hidden one is of 2014, and one called as a noun is the name or UUID of such an object, whose
/// UUID is sent: these are left out of the body unless they are given.
pub fn option(long: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    Arg::new(long).long(long).value_name(value_name).help(help)
}

/// The option of a deletion by force.
const FORCE: &str = "force";

/// One of these commands, of one noun.
pub struct NounCommand {
    of: &'static Commands,
    verb: Verb,
}

enum Verb {
    List(ListArgs),
    Create(Vec<(Arg, Option<String>)>),
    Show(Show),
    Update(Update),
    Delete { targets: Targets, asks: bool, is_forced: bool },
    History(Target),
}

/// Names the commands of each noun.
macro_rules! names {
    ([] $($(#[$doc:meta])* $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        /// The names of a noun's commands, in the order of the help.
        const fn names(kind: Kind) -> [&'static str; 6] {
            match kind {
                $(Kind::$Noun => [
                    concat!(stringify!($module), "-list"),
                    concat!(stringify!($module), "-create"),
                    concat!(stringify!($module), "-show"),
                    concat!(stringify!($module), "-update"),
                    concat!(stringify!($module), "-delete"),
                    concat!(stringify!($module), "-history"),
                ],)*
            }
        }
    };
}
crate::for_each_noun!(names []);

impl Commands {
    fn add_to(&self, command: Command) -> Command {
        let kind = self.noun.kind;
        let forced = self
            .forces
            .map(|help| Arg::new(FORCE).long(FORCE).action(ArgAction::SetTrue).help(help));
        let [list, create, show, update, delete, history] = names(kind).map(Command::new);
        let delete = if kind == Kind::Bay { delete.arg(bay_delete::yes()) } else { delete };
        command.subcommands([
            ListArgs::augment_args(list).about(self.lists),
            create.args((self.options)()).about(format!("Create a {kind}")),
            Show::augment_args(show).about(format!("Show details about the given {kind}")),
            Update::augment_args(update)
                .about(format!("Update information about the given {kind}")),
            Targets::augment_args(delete).about(self.deletes).args(forced),
            Target::augment_args(history).about(format!("Show the history of a {kind}")),
        ])
    }

    /// A command by its name, with its arguments; `None` if the noun has no such command.
    fn verb(&self, name: &str, matches: &ArgMatches) -> Result<Option<Verb>, Error> {
        let verb = name.strip_prefix(self.noun.kind.name()).and_then(|it| it.strip_prefix('-'));
        Ok(Some(match verb {
            Some("list") => Verb::List(ListArgs::from_arg_matches(matches)?),
            Some("create") => Verb::Create(self.given(matches)),
            Some("show") => Verb::Show(Show::from_arg_matches(matches)?),
            Some("update") => Verb::Update(Update::from_arg_matches(matches)?),
            Some("delete") => Verb::Delete {
                targets: Targets::from_arg_matches(matches)?,
                asks: self.noun.kind == Kind::Bay && !matches.get_flag(bay_delete::YES),
                is_forced: self.forces.is_some() && matches.get_flag(FORCE),
            },
            Some("history") => Verb::History(Target::from_arg_matches(matches)?),
            _ => return Ok(None),
        }))
    }

    fn given(&self, matches: &ArgMatches) -> Vec<(Arg, Option<String>)> {
        let given = |option: Arg| {
            let text = matches.get_one::<String>(option.get_id().as_str()).cloned();
            (option, text)
        };
        (self.options)().into_iter().map(given).collect()
    }
}

impl Subcommand for NounCommand {
    fn augment_subcommands(command: Command) -> Command {
        super::NOUNS.iter().fold(command, |command, noun| noun.add_to(command))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        super::NOUNS.iter().any(|noun| names(noun.noun.kind).contains(&name))
    }
}

impl FromArgMatches for NounCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        if let Some((name, matches)) = matches.subcommand() {
            for of in super::NOUNS {
                if let Some(verb) = of.verb(name, matches)? {
                    return Ok(Self { of, verb });
                }
            }
        }
        Err(Error::new(ErrorKind::InvalidSubcommand))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl NounCommand {
    /// Runs it.
    pub async fn run(&self, session: &Session) -> Result<(), CliError> {
        let noun = self.of.noun;
        match &self.verb {
            Verb::List(args) => noun.list(session, args, None).await,
            Verb::Create(given) => noun.create(session, body(session, given).await?).await,
            Verb::Show(args) => noun.show(session, args).await,
            Verb::Update(update) => noun.update(session, update).await,
            Verb::Delete { targets, asks, is_forced } => {
                if *asks {
                    bay_delete::confirmed(session, targets).await?;
                }
                if *is_forced {
                    return force::delete(noun, session, targets).await;
                }
                noun.delete(session, targets).await
            }
            Verb::History(target) => noun.history(session, target).await,
        }
    }
}

/// The body of a request to create one.
async fn body(session: &Session, given: &[(Arg, Option<String>)]) -> Result<Value, CliError> {
    let mut body = Map::new();
    for (option, text) in given {
        let named = option.get_long().and_then(Kind::named);
        let value = match (text, named) {
            (Some(ident), Some(kind)) => Value::from(session.uuid(kind, ident).await?),
            (Some(text), None) => Value::from(text.as_str()),
            (None, None) if !option.is_hide_set() => Value::Null,
            (None, _) => continue,
        };
        body.insert(option.get_id().as_str().replace('-', "_"), value);
    }
    Ok(Value::Object(body))
}
