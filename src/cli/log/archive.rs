//! `log archive`: taking old events from the log that no object needs and a backup has.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::failure::CliError;
use super::super::options::Format;
use super::super::terminal::printable;
use super::{Data, confirm, time, told};
use crate::app::{Archiving, UpTo};
use crate::ids::{Position, Timestamp};

/// What to archive.
#[derive(Args)]
#[group(id = "up_to", required = true, multiple = false, args = ["to_position", "to_time"])]
pub struct Archive {
    #[command(flatten)]
    data: Data,
    /// Archive events up to this position, as far as whole segments go
    #[arg(long, value_name = "N")]
    to_position: Option<u64>,
    /// Archive events up to this time, as far as whole segments go, as in 2026-11-24T20:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    to_time: Option<Timestamp>,
    /// The backup that has them, which `magnum backup` made
    #[arg(long, value_name = "TARGET")]
    backup: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Archives what is old.
pub fn run(format: Format, args: &Archive, reason: Option<String>) -> Result<(), CliError> {
    let log = args.data.log()?;
    let up_to = match (args.to_position, args.to_time) {
        (_, Some(time)) => UpTo::Time(time),
        (position, None) => UpTo::Position(Position(position.unwrap_or_default())),
    };
    let archiving = Archiving::plan(&log, up_to, &args.backup)?;
    let (position, backup) = (archiving.position(), args.backup.display());
    if format == Format::Table || !args.yes {
        eprint!(
            "{}",
            printable(&format!(
                "Events up to position {position} of objects that were deleted by then, and what \
                 was audited by then, go from the log.\n{backup} has them: from now on it alone. \
                 Who reads events starts after position {position}.\n"
            ))
        );
    }
    if !args.yes {
        confirm("Archive them?", "Nothing was archived")?;
    }
    let done = archiving.run(reason).map_err(|error| CliError::Failed(error.to_string()))?;
    let object = json!({
        "archived": done.archived, "oldest": done.archived.next(), "backup": args.backup,
        "events_taken": done.taken, "events_left": done.left, "bytes_freed": done.freed,
    });
    let words = format!(
        "Taken from the log: {} events, {} bytes. Left of those up to position {}: {}.\n",
        done.taken, done.freed, done.archived, done.left
    );
    told(format, &words, &object)
}
