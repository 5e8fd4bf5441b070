//! `trace`: everything that one request caused, as a tree with times.

use clap::Args;

use super::error::CliError;
use super::noun::Session;
use super::options::Format;
use super::replay::{Files, render};
use super::table;

/// Which request.
#[derive(Args)]
pub struct TraceArgs {
    /// Request id, from X-Openstack-Request-Id of a response: req-UUID
    #[arg(value_name = "REQUEST-ID")]
    request_id: String,
    #[command(flatten)]
    files: Files,
}

/// Shows everything that a request caused.
pub async fn run(session: &Session, args: &TraceArgs) -> Result<(), CliError> {
    let answer = args.files.place(session).await?.trace(&args.request_id).await?;
    if session.format == Format::Table {
        render::trace(&answer, session.is_wide)
    } else {
        table::show(session.format, &answer)
    }
}
