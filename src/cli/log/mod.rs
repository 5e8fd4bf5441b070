//! `log`: inspecting and maintaining the event log of a data directory, without a server.
//!
//! This group and `backup` work on the files of a log; `replay`, `why`, `trace` and `bundle` can
//! read them. Not here: the events themselves (`events`), the formats (`events/log`).

mod anchor;
mod archive;
mod repair;
mod verify;

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::error::{CliError, say};
use super::options::Format;
use super::table;
use super::terminal::printable;
use crate::events::log::OpenError;
use crate::events::log::export::to_hex;
use crate::events::log::segment::{Damage, export, info};
use crate::ids::{Position, Timestamp};

/// Columns of the segments in `log info`.
const SEGMENT_COLUMNS: [&str; 7] =
    ["file", "first", "last", "events_left", "used_bytes", "bytes", "epoch"];

/// Commands for the log.
#[derive(Subcommand)]
pub enum LogCommand {
    /// Verify checksums, positions and hashes of the log; works while a server runs
    Verify(verify::Verify),
    /// Sign the head of the log, so that later changes are detected; works while a server runs
    Anchor(anchor::Sign),
    /// Show the segments of the log; works while a server runs
    Info(Data),
    /// Remove old events that no object needs and a backup has
    Archive(archive::Archive),
    /// Truncate a damaged log at the first damage, keeping a copy of what is cut off
    Repair(repair::Repair),
    /// Print all events as lines of JSON; works while a server runs
    Export(Export),
    /// Create a log from an export
    Import(Import),
}

/// Which log.
#[derive(Args)]
pub struct Data {
    /// Data directory of the server
    #[arg(long, env = "MAGNUM_DATA", value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

/// What to export.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    data: Data,
    /// Export only events after this position
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
}

/// What to import.
#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    data: Data,
    /// File with the export; - reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs a command for the log.
pub fn run(format: Format, command: LogCommand, reason: Option<String>) -> Result<(), CliError> {
    match command {
        LogCommand::Verify(args) => verify::run(format, &args),
        LogCommand::Anchor(args) => anchor::run(format, &args),
        LogCommand::Info(data) => show_info(format, &data),
        LogCommand::Archive(args) => archive::run(format, &args, reason),
        LogCommand::Repair(args) => repair::run(format, &args),
        LogCommand::Export(args) => export_log(&args.data, Position(args.after)),
        LogCommand::Import(args) => import_log(format, &args.data.data, &args.file),
    }
}

impl Data {
    /// The folder of the log.
    fn log(&self) -> Result<PathBuf, CliError> {
        log_of(&self.data)
    }
}

/// The log of a data directory.
///
/// # Errors
/// When there is no log.
pub fn log_of(data: &Path) -> Result<PathBuf, CliError> {
    let is_folder = |path: &Path| match fs::metadata(path) {
        Ok(found) => Ok(found.is_dir()),
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            Ok(false)
        }
        Err(error) => Err(CliError::Failed(format!("{}: {error}", path.display()))),
    };
    let log = data.join("log");
    if is_folder(&log)? {
        return Ok(log);
    }
    let why =
        if is_folder(data)? { "it has no `log` directory" } else { "there is no such directory" };
    Err(CliError::Failed(format!(
        "{} is not a Magnum data directory: {why}. Specify the one that `magnum serve` uses: \
         --data DIR, or MAGNUM_DATA.",
        data.display()
    )))
}

fn damage_value(damage: &Damage) -> Value {
    let Damage { segment, offset, position, what } = damage;
    let position = (*position > 0).then_some(position);
    json!({"segment": segment, "offset": offset, "position": position, "what": what})
}

/// The command that truncates the log of a data directory.
fn repair_command(data: &Data) -> String {
    format!("magnum log repair --truncate --data {}", data.data.display())
}

/// Fails if there is damage, listing it and what helps.
fn reported<'a>(data: &Data, damage: impl Iterator<Item = &'a Damage>) -> Result<(), CliError> {
    let places: Vec<String> = damage.map(Damage::place).collect();
    if places.is_empty() {
        return Ok(());
    }
    places.iter().for_each(|place| say(place));
    eprintln!(
        "Look for a failing disk first, copy {} elsewhere, and restore a backup if there is one.",
        printable(&data.data.join("log").display().to_string())
    );
    Err(CliError::Reported(Some(repair_command(data))))
}

/// Shows the segments of the log.
fn show_info(format: Format, data: &Data) -> Result<(), CliError> {
    let log = data.log()?;
    let found = info(&log)?;
    let segments: Vec<Value> = found
        .segments
        .iter()
        .map(|segment| {
            let left = match segment.left {
                None if format == Format::Table => "all".into(),
                left => json!(left),
            };
            json!({
                "file": segment.name, "first": segment.first.get(), "last": segment.last.get(),
                "used_bytes": segment.used, "bytes": segment.size, "epoch": segment.epoch,
                "chain_before": to_hex(&segment.chain), "events_left": left,
            })
        })
        .collect();
    let mut object = json!({
        "log": log, "folder": found.folder, "copied": found.copied, "epoch": found.epoch,
        "archived": found.archived, "position": found.head.get(), "hash": to_hex(&found.hash),
        "used_bytes": found.segments.iter().map(|segment| segment.used).sum::<u64>(),
        "bytes": found.segments.iter().map(|segment| segment.size).sum::<u64>(),
    });
    if format == Format::Table {
        table::show(format, &object)?;
        table::list(format, &SEGMENT_COLUMNS, &segments)?;
    } else if let Some(fields) = object.as_object_mut() {
        fields.insert("segments".to_owned(), segments.into());
        fields.insert("damage".to_owned(), found.damage.as_ref().map(damage_value).into());
        table::show(format, &object)?;
    }
    reported(data, found.damage.iter())
}

/// A time in the form of RFC 3339.
///
/// # Errors
/// What is wrong with it.
pub fn time(text: &str) -> Result<Timestamp, String> {
    serde_json::from_value(text.into())
        .map_err(|error| format!("{error}; use a form like 2026-11-24T20:00:00Z"))
}

/// Reports what was done: to people as text, to programs as fields.
///
/// # Errors
/// When writing to stdout fails.
pub fn told(format: Format, words: &str, object: &Value) -> Result<(), CliError> {
    if format == Format::Table {
        table::print(&printable(words))
    } else {
        table::show(format, object)
    }
}

/// Prints events as lines of JSON.
fn export_log(data: &Data, after: Position) -> Result<(), CliError> {
    let log = data.log()?;
    let archived = info(&log)?.archived;
    if after < archived {
        return Err(CliError::Failed(format!(
            "The events up to position {archived} were archived. Use --after {archived} for later \
             ones; restore the backup to export the others.",
        )));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let exported = export(&log, after, |line| {
        serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
        out.write_all(b"\n").map_err(CliError::from)
    });
    out.flush()?;
    exported
}

/// Creates a log from lines of JSON.
fn import_log(format: Format, data: &Path, file: &Path) -> Result<(), CliError> {
    let lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let opened = fs::File::open(file);
        let named = |error| CliError::Failed(format!("{}: {error}", file.display()));
        Box::new(BufReader::new(opened.map_err(named)?))
    };
    let head = crate::app::import_log(data, lines);
    let head = head.map_err(|error| CliError::Failed(error.to_string()))?;
    let words = format!("The log in {} ends at position {head}.\n", data.join("log").display());
    told(format, &words, &json!({"position": head}))
}

/// Asks for confirmation, which needs a terminal. `not_done` is the message if it is refused.
///
/// # Errors
/// When it is refused, or stdin is not a terminal.
pub fn confirm(question: &str, not_done: &str) -> Result<(), CliError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(CliError::Failed(format!(
            "{not_done}: stdin is not a terminal. Use --yes to go ahead without confirmation."
        )));
    }
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        Ok(())
    } else {
        Err(CliError::Failed(format!("{not_done}.")))
    }
}
