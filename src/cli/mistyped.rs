//! Command lines that are not valid: what clap says of them, and what is said of commands that
//! Magnum does not have yet.

use std::process::ExitCode;

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::error::CliError;

/// Objects of the old clients that this server does not have, as their commands begin.
const NOT_THERE: [(&str, &str); 3] =
    [("rc-", "replication controllers"), ("service-", "services"), ("mservice-", "services")];

/// Says what is wrong with a command line, or what it asked for: the help, the version.
pub fn report(error: &Error) -> ExitCode {
    match not_there(error) {
        Some(words) => CliError::Usage(words).report(),
        None => error.exit(),
    }
}

/// What is said of a command for objects that are not there yet. The most similar command is that
/// of another object, and would mislead.
fn not_there(error: &Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let (_, objects) = NOT_THERE.iter().find(|(prefix, _)| typed.starts_with(prefix))?;
    Some(format!("there are no {objects} yet; 'magnum help' lists what there is"))
}
