//! `why`: an explanation of the state of an object.

use clap::Args;

use super::error::CliError;
use super::moment;
use super::noun::Session;
use super::replay::{About, ask};
use crate::replay::{Question, When};

/// Which object.
#[derive(Args)]
pub struct WhyArgs {
    #[command(flatten)]
    about: About,
    /// Explain the state as of this point
    #[arg(long, value_name = "WHEN", default_value = "latest", value_parser = moment::when)]
    at: When,
}

/// Prints the explanation.
pub async fn run(session: &Session, args: &WhyArgs) -> Result<(), CliError> {
    ask(session, &args.about, &Question::Why { at: args.at }).await
}
