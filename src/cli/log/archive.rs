//! `log archive`: removing old events that no object needs and a backup has.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::error::CliError;
use super::super::options::Format;
use super::super::terminal::{counted, printable};
use super::{Data, confirm, time, told};
use crate::app::{Archiving, UpTo};
use crate::ids::{Position, Timestamp};

/// What to archive.
#[derive(Args)]
#[group(id = "up_to", required = true, multiple = false, args = ["to_position", "to_time"])]
pub struct Archive {
    #[command(flatten)]
    data: Data,
    /// Archive events up to this position, in whole segments
    #[arg(long, value_name = "N")]
    to_position: Option<u64>,
    /// Archive events up to this time, in whole segments: 2026-11-24T20:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    to_time: Option<Timestamp>,
    /// Backup that has these events, made by `magnum backup`
    #[arg(long, value_name = "TARGET")]
    backup: PathBuf,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// Archives old events.
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
                "This removes the events up to position {position} of objects that were deleted by \
                 then, and audit events up to there, from the log.\nAfter that only {backup} has \
                 them, and events can be read only after position {position}.\n"
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
        "Removed from the log: {}, {}. Events kept up to position {}: {}.\n",
        counted(done.taken, "event"),
        counted(done.freed, "byte"),
        done.archived,
        done.left
    );
    told(format, &words, &object)
}
