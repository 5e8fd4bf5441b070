//! `replay`: the debugger: past states and their causes, from a server or from files.
//!
//! `place` gets the answer, the same document from either, and `render` prints it. Not here: how
//! answers are found (`replay`, the library).

mod changes;
mod document;
mod place;
pub mod render;
mod screen;
mod step;
mod stepper;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::error::CliError;
use super::moment;
use super::noun::Session;
use super::options::Format;
use super::table;
use crate::ids::{EventId, Position};
use crate::replay::find::How;
use crate::replay::{Question, When, question};
pub use place::{Files, NamedObject};

/// Commands of the debugger. None of them changes or executes anything.
#[derive(Subcommand)]
pub enum ReplayCommand {
    /// Show an object as it was, including deleted ones
    State(StateArgs),
    /// Show the history of an object: who, why, causes, and how long work took
    Timeline(Timeline),
    /// Show what changed in an object, or with --all in the whole system, and who changed it
    Diff(Diff),
    /// Show the last event that set a field, and what led to it up to the request
    Blame(Blame),
    /// Compare read models and snapshots with the log; exits with 1 at the first difference
    Verify(Verify),
    /// Decide every recorded command again with this build; exits with 1 on a difference
    Check(Check),
    /// Find when a condition became true, such as 'status == "Error"'
    Find(Find),
    /// Step through the history of an object, event by event, in the terminal
    Step(About),
    /// Show the state without some events, or after additional commands
    WhatIf(WhatIf),
}

/// Which object, and from where.
#[derive(Args)]
pub struct About {
    /// Object: kind and name or UUID, such as container/web
    #[arg(value_name = "KIND/ID", value_parser = place::object)]
    object: NamedObject,
    #[command(flatten)]
    files: Files,
}

/// What to show the state of.
#[derive(Args)]
pub struct StateArgs {
    #[command(flatten)]
    about: About,
    /// Point in time: 17, v:3, 2015-05-21T20:46:13Z, 2015-05-21 (UTC), 1h (ago), yesterday,
    /// before:EVENT, after:EVENT, or latest
    #[arg(long, value_name = "WHEN", default_value = "latest", value_parser = moment::when)]
    at: When,
}

/// What to show the timeline of.
#[derive(Args)]
pub struct Timeline {
    #[command(flatten)]
    about: About,
    /// Include its bay and node, and the containers in it
    #[arg(long)]
    related: bool,
    /// Show events up to this point
    #[arg(long, value_name = "WHEN", default_value = "latest", value_parser = moment::when)]
    at: When,
}

/// What to compare.
#[derive(Args)]
pub struct Diff {
    /// Object: kind and name or UUID, such as container/web
    #[arg(value_name = "KIND/ID", value_parser = place::object, required_unless_present = "all")]
    object: Option<NamedObject>,
    /// Compare all objects
    #[arg(long, conflicts_with = "object")]
    all: bool,
    /// Start of the comparison [default: before the first event]
    #[arg(long, value_name = "WHEN", value_parser = moment::when)]
    from: Option<When>,
    /// End of the comparison
    #[arg(long, value_name = "WHEN", default_value = "latest", value_parser = moment::when)]
    to: When,
    #[command(flatten)]
    files: Files,
}

/// What to find.
#[derive(Args)]
pub struct Find {
    /// Condition on the fields of an object, in the Common Expression Language
    #[arg(value_name = "CONDITION")]
    condition: String,
    /// Objects to look at: container for all containers, container/web for one [default: all]
    #[arg(value_name = "KIND[/ID]", default_value = "", hide_default_value = true)]
    among: String,
    /// Find only the first time
    #[arg(long)]
    first: bool,
    /// The condition stays true once it is: check few states instead of all
    #[arg(long)]
    monotone: bool,
    #[command(flatten)]
    files: Files,
}

/// Which field.
#[derive(Args)]
pub struct Blame {
    #[command(flatten)]
    about: About,
    /// Field of the state: status, labels.tier, state.status
    #[arg(value_name = "FIELD")]
    field: String,
    /// Look at events up to this point
    #[arg(long, value_name = "WHEN", default_value = "latest", value_parser = moment::when)]
    at: When,
}

/// What to verify.
#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    files: Files,
}

/// What to decide again.
#[derive(Args)]
pub struct Check {
    /// A data directory, a backup, a bundle, or a log export
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

/// What to try.
#[derive(Args)]
pub struct WhatIf {
    #[command(flatten)]
    about: About,
    /// Point in time: 17, v:3, 2015-05-21T20:46:13Z, 2015-05-21 (UTC), 1h (ago), yesterday,
    /// before:EVENT, after:EVENT, or latest
    #[arg(long, value_name = "WHEN", default_value = "latest", value_parser = moment::when)]
    at: When,
    /// Leave out this event (repeatable)
    #[arg(long, value_name = "EVENT", value_parser = event)]
    drop: Vec<EventId>,
    /// Apply the command in this file, JSON, or a list of them; - reads stdin
    #[arg(long, value_name = "FILE")]
    apply: Option<PathBuf>,
}

/// An event's id.
fn event(text: &str) -> Result<EventId, String> {
    let why = |_| {
        "must be the id of an event; list them with `magnum replay timeline KIND/ID -o json`"
            .to_owned()
    };
    text.parse().map(EventId).map_err(why)
}

/// The commands in a file.
fn commands_in(file: &Path) -> Result<Vec<Value>, CliError> {
    let text = read_text(file)?;
    question::commands(&text)
        .map_err(|bad| CliError::Usage(format!("{}: {}", file.display(), bad.why)))
}

/// The text of a file or of stdin.
pub fn read_text(file: &Path) -> Result<String, CliError> {
    let text = if file == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))
}

/// Runs a command of the debugger.
pub async fn run(session: &Session, command: ReplayCommand, is_wide: bool) -> Result<(), CliError> {
    match command {
        ReplayCommand::State(args) => {
            ask(session, &args.about, &Question::State { at: args.at }).await
        }
        ReplayCommand::Timeline(args) => {
            let question = Question::Timeline { related: args.related, at: args.at };
            ask(session, &args.about, &question).await
        }
        ReplayCommand::Diff(args) => diff(session, args, is_wide).await,
        ReplayCommand::Blame(args) => {
            let question = Question::Blame { field: args.field, at: args.at };
            ask(session, &args.about, &question).await
        }
        ReplayCommand::Verify(args) => {
            let answer = args.files.verify(session).await?;
            told(session.format, &answer, changes::verified)?;
            failed(answer.get("difference").is_some_and(Value::is_object))
        }
        ReplayCommand::Check(args) => {
            let answer = place::check_files(&args.path).await?;
            told(session.format, &answer, changes::checked)?;
            failed(document::number(&answer, "/different") > 0)
        }
        ReplayCommand::WhatIf(args) => {
            let apply = args.apply.as_deref().map_or(Ok(Vec::new()), commands_in)?;
            let question = Question::WhatIf { at: args.at, drop: args.drop, apply };
            ask(session, &args.about, &question).await
        }
        ReplayCommand::Step(about) => step::run(session, &about).await,
        ReplayCommand::Find(args) => {
            let how = How { first: args.first, monotone: args.monotone };
            let place = args.files.place(session).await?;
            let found = place.find(&args.condition, &args.among, how).await?;
            render::found(session.format, &found)
        }
    }
}

impl About {
    /// The answer to a question about the object.
    pub async fn ask(&self, session: &Session, question: &Question) -> Result<Value, CliError> {
        self.files.place(session).await?.ask(&self.object, question).await
    }
}

/// Asks a question about an object and prints the answer.
pub async fn ask(session: &Session, about: &About, question: &Question) -> Result<(), CliError> {
    let answer = about.ask(session, question).await?;
    render::answer((session.format, session.is_wide), question, &answer)
}

async fn diff(session: &Session, args: Diff, is_wide: bool) -> Result<(), CliError> {
    let Diff { object, from, to, .. } = args;
    let place = args.files.place(session).await?;
    match object {
        Some(object) => {
            let from = from.unwrap_or(When::Position(Position(0)));
            let question = Question::Diff { from, to };
            let answer = place.ask(&object, &question).await?;
            render::answer((session.format, is_wide), &question, &answer)
        }
        None => {
            let print = |answer: &Value| changes::system(answer, is_wide);
            told(session.format, &place.system(from, to).await?, print)
        }
    }
}

/// Prints an answer: for people by a function, for programs unchanged.
fn told(
    format: Format,
    answer: &Value,
    print: impl FnOnce(&Value) -> Result<(), CliError>,
) -> Result<(), CliError> {
    if format == Format::Table { print(answer) } else { table::show(format, answer) }
}

/// Exits with 1 if something was found; it was reported already.
fn failed(found: bool) -> Result<(), CliError> {
    if found { Err(CliError::Reported(None)) } else { Ok(()) }
}
