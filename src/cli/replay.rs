//! `replay`: what was, and why: asked of a server, or of files without one.
//!
//! `place` is where the answer comes from; it is one document either way, and `tell` prints it. Not
//! here: how it is found (`replay`, the library).

mod place;
mod tell;

use clap::{Args, Subcommand};

use super::failure::CliError;
use super::noun::Session;
use crate::replay::{Question, When};
pub use place::{Files, Object};

/// Commands of the debugger. None of them changes or executes anything.
#[derive(Subcommand)]
pub enum ReplayCommand {
    /// Show an object as it was, also one that is gone
    State(State),
    /// Show what happened to an object: who, why, what led to what, how long work took
    Timeline(Timeline),
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

/// Runs a command of the debugger.
pub async fn run(session: &Session, command: ReplayCommand) -> Result<(), CliError> {
    let (about, question) = match command {
        ReplayCommand::State(args) => (args.about, Question::State { at: args.at }),
        ReplayCommand::Timeline(args) => {
            (args.about, Question::Timeline { related: args.related, at: args.at })
        }
    };
    ask(session, &about, &question).await
}

/// Asks a question about an object and prints the answer.
async fn ask(session: &Session, about: &About, question: &Question) -> Result<(), CliError> {
    let answer = about.files.place(session).await?.ask(&about.object, question).await?;
    tell::answer(session.format, question, &answer)
}
