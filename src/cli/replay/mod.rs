//! `replay`: what was, and why: asked of a server, or of files without one.
//!
//! `place` is where the answer comes from; it is one document either way, and `tell` prints it. Not
//! here: how it is found (`replay`, the library).

mod changes;
mod place;
mod screen;
mod step;
mod stepper;
pub mod tell;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::failure::CliError;
use super::noun::Session;
use super::options::Format;
use super::table;
use crate::ids::{EventId, Position};
use crate::replay::find::How;
use crate::replay::{Question, When, question};
pub use place::{Files, Object};

/// Commands of the debugger. None of them changes or executes anything.
#[derive(Subcommand)]
pub enum ReplayCommand {
    /// Show an object as it was, also one that is gone
    State(State),
    /// Show what happened to an object: who, why, what led to what, how long work took
    Timeline(Timeline),
    /// Show what changed about an object, or with --all in the whole system, and who did that
    Diff(Diff),
    /// Show the last event that set a field, and what led to it up to the request
    Blame(Blame),
    /// Compare read models and snapshots with the log; the first difference exits 1
    Verify(Verify),
    /// Decide every recorded command again with this build; a difference exits 1
    Check(Check),
    /// Find when a condition became true: 'status == "Error"'
    Find(Find),
    /// Go through what happened to an object, event by event, in the terminal
    Step(About),
    /// Show what would be if an event had not happened, or if something were asked
    WhatIf(WhatIf),
}

/// Which object, and where to look.
#[derive(Args)]
pub struct About {
    /// The noun and the name or UUID: container/web
    #[arg(value_name = "KIND/ID", value_parser = place::object)]
    object: Object,
    #[command(flatten)]
    files: Files,
}

/// What to show the state of.
#[derive(Args)]
pub struct State {
    #[command(flatten)]
    about: About,
    /// When: 17, v:3, 2015-05-21T20:46:13Z, before:EVENT, after:EVENT, or latest
    #[arg(long, value_name = "WHEN", default_value = "latest")]
    at: When,
}

/// What to show the timeline of.
#[derive(Args)]
pub struct Timeline {
    #[command(flatten)]
    about: About,
    /// Take in the bay and the node around it, and the containers on it
    #[arg(long)]
    related: bool,
    /// Up to when
    #[arg(long, value_name = "WHEN", default_value = "latest")]
    at: When,
}

/// What to compare.
#[derive(Args)]
pub struct Diff {
    /// The noun and the name or UUID: container/web
    #[arg(value_name = "KIND/ID", value_parser = place::object, required_unless_present = "all")]
    object: Option<Object>,
    /// All objects
    #[arg(long, conflicts_with = "object")]
    all: bool,
    /// Since when; before everything without it
    #[arg(long, value_name = "WHEN")]
    from: Option<When>,
    /// Until when
    #[arg(long, value_name = "WHEN", default_value = "latest")]
    to: When,
    #[command(flatten)]
    files: Files,
}

/// What to find.
#[derive(Args)]
pub struct Find {
    /// What must be true, in the Common Expression Language over the fields of an object
    #[arg(value_name = "CONDITION")]
    condition: String,
    /// Of which objects: container for all of them, container/web for one; of all without it
    #[arg(value_name = "KIND[/ID]", default_value = "", hide_default_value = true)]
    among: String,
    /// Only the first moment
    #[arg(long)]
    first: bool,
    /// Once it is true it stays true: look at few states instead of all
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
    /// A field as in a state: status, labels.tier, state.status
    #[arg(value_name = "FIELD")]
    field: String,
    /// The last event that set it by then
    #[arg(long, value_name = "WHEN", default_value = "latest")]
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
    /// A data folder, a backup of one, a bundle, or a file that log export printed
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

/// What to try.
#[derive(Args)]
pub struct WhatIf {
    #[command(flatten)]
    about: About,
    /// When: 17, v:3, 2015-05-21T20:46:13Z, before:EVENT, after:EVENT, or latest
    #[arg(long, value_name = "WHEN", default_value = "latest")]
    at: When,
    /// As if this event had not happened (repeat)
    #[arg(long, value_name = "EVENT", value_parser = event)]
    drop: Vec<EventId>,
    /// Ask for what this file holds: a command as JSON, or a list of them; - reads stdin
    #[arg(long, value_name = "FILE")]
    apply: Option<PathBuf>,
}

/// An event's id.
fn event(text: &str) -> Result<EventId, String> {
    let why = |_| "use an event's id; `magnum replay timeline KIND/ID -o json` has them".to_owned();
    text.parse().map(EventId).map_err(why)
}

/// The commands in a file.
fn commands_in(file: &Path) -> Result<Vec<Value>, CliError> {
    let text = read_text(file)?;
    question::commands(&text)
        .map_err(|bad| CliError::Usage(format!("{}: {}", file.display(), bad.why)))
}

/// A file's text, or that of stdin.
pub fn read_text(file: &Path) -> Result<String, CliError> {
    let text = if file == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))
}

/// Runs a command of the debugger.
pub async fn run(session: &Session, command: ReplayCommand) -> Result<(), CliError> {
    match command {
        ReplayCommand::State(args) => {
            ask(session, &args.about, &Question::State { at: args.at }).await
        }
        ReplayCommand::Timeline(args) => {
            let question = Question::Timeline { related: args.related, at: args.at };
            ask(session, &args.about, &question).await
        }
        ReplayCommand::Diff(args) => diff(session, args).await,
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
            let answer = Files::of(args.path).check(session).await?;
            told(session.format, &answer, changes::checked)?;
            failed(tell::number(&answer, "/different") > 0)
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
            tell::found(session.format, &found)
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
    tell::answer(session.format, question, &answer)
}

async fn diff(session: &Session, args: Diff) -> Result<(), CliError> {
    let Diff { object, from, to, .. } = args;
    let place = args.files.place(session).await?;
    match object {
        Some(object) => {
            let from = from.unwrap_or(When::Position(Position(0)));
            let question = Question::Diff { from, to };
            let answer = place.ask(&object, &question).await?;
            tell::answer(session.format, &question, &answer)
        }
        None => told(session.format, &place.system(from, to).await?, changes::system),
    }
}

/// Prints an answer: for people by a function, for programs as it is.
fn told(
    format: Format,
    answer: &Value,
    print: fn(&Value) -> Result<(), CliError>,
) -> Result<(), CliError> {
    if format == Format::Table { print(answer) } else { table::show(format, answer) }
}

/// Exit code 1 where something was found that was told already.
fn failed(found: bool) -> Result<(), CliError> {
    if found { Err(CliError::Reported(None)) } else { Ok(()) }
}
