//! `why`: why an object is in the state that it is in.

use clap::Args;

use super::failure::CliError;
use super::noun::Session;
use super::replay::{About, ask};
use crate::replay::{Question, When};

/// Which object.
#[derive(Args)]
pub struct WhyArgs {
    #[command(flatten)]
    about: About,
    /// Why it was so then
    #[arg(long, value_name = "WHEN", default_value = "latest")]
    at: When,
}

/// Says why.
pub async fn run(session: &Session, args: &WhyArgs) -> Result<(), CliError> {
    ask(session, &args.about, &Question::Why { at: args.at }).await
}
