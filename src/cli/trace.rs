//! `trace`: what one request led to, as a tree with times.

use clap::Args;

use super::failure::CliError;
use super::noun::Session;
use super::options::Format;
use super::replay::{Files, tell};
use super::table;

/// Which request.
#[derive(Args)]
pub struct TraceArgs {
    /// What X-Openstack-Request-Id says in an answer: req-UUID
    #[arg(value_name = "REQUEST-ID")]
    request_id: String,
    #[command(flatten)]
    files: Files,
}

/// Shows what a request led to.
pub async fn run(session: &Session, args: &TraceArgs) -> Result<(), CliError> {
    let answer = args.files.place(session).await?.trace(&args.request_id).await?;
    if session.format == Format::Table {
        tell::trace(&answer)
    } else {
        table::show(session.format, &answer)
    }
}
