//! `log`: looking after the event log in a data folder, without a server.
//!
//! Alone of all groups it works on files, so alone it sees `events`. Not here: what the events say
//! (`events`), the formats (`events/log`).

mod anchor;
mod archive;
mod repair;
mod verify;

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::failure::{CliError, say};
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
    /// Check that the log is what was written; beside a running server too
    Verify(verify::Verify),
    /// Sign the end of the log, so that later changes show; beside a running server too
    Anchor(anchor::Sign),
    /// Show what the log consists of; beside a running server too
    Info(Data),
    /// Take old events from the log that no object needs and a backup has
    Archive(archive::Archive),
    /// Cut a damaged log at its first damage, and keep a copy of what goes
    Repair(repair::Repair),
    /// Print all events as lines of JSON; beside a running server too
    Export(Export),
    /// Make a log from what export printed
    Import(Import),
}

/// Which log.
#[derive(Args)]
pub struct Data {
    /// The data folder of the server
    #[arg(long, env = "MAGNUM_DATA", value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

/// What to export.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    data: Data,
    /// Start after this position
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
}

/// What to import.
#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    data: Data,
    /// The file that export printed; - reads stdin
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
    /// The folder of its log.
    fn log(&self) -> Result<PathBuf, CliError> {
        log_of(&self.data)
    }
}

/// The log of a data folder.
///
/// # Errors
/// When there is none.
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
    let why = if is_folder(data)? { "it has no folder log" } else { "there is no such folder" };
    Err(CliError::Failed(format!(
        "{} is no data folder of a server: {why}. Name the one that `magnum serve` was started \
         with: --data DIR, or MAGNUM_DATA.",
        data.display()
    )))
}

fn damage_value(damage: &Damage) -> Value {
    let Damage { segment, offset, position, what } = damage;
    let position = (*position > 0).then_some(position);
    json!({"segment": segment, "offset": offset, "position": position, "what": what})
}

/// The command that cuts the log of a data folder.
fn repair_command(data: &Data) -> String {
    format!("magnum log repair --truncate --data {}", data.data.display())
}

/// Fails with what is damaged, and what helps.
fn reported<'a>(data: &Data, damage: impl Iterator<Item = &'a Damage>) -> Result<(), CliError> {
    let places: Vec<String> = damage.map(Damage::place).collect();
    if places.is_empty() {
        return Ok(());
    }
    places.iter().for_each(|place| say(place));
    eprintln!(
        "Look for a failing disk first, copy {} elsewhere, and put a backup back if there is one.",
        printable(&data.data.join("log").display().to_string())
    );
    Err(CliError::Reported(Some(repair_command(data))))
}

/// Shows what the log consists of.
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

/// A time as it is written in RFC 3339.
///
/// # Errors
/// What is wrong with it.
pub fn time(text: &str) -> Result<Timestamp, String> {
    serde_json::from_value(text.into())
        .map_err(|error| format!("{error}; it must be like 2026-11-24T20:00:00Z"))
}

/// Says to people in words, to programs in fields, what was done.
///
/// # Errors
/// When stdout takes no more.
pub fn told(format: Format, words: &str, object: &Value) -> Result<(), CliError> {
    if format == Format::Table { table::print(words) } else { table::show(format, object) }
}

/// Prints events as lines of JSON.
fn export_log(data: &Data, after: Position) -> Result<(), CliError> {
    let log = data.log()?;
    let archived = info(&log)?.archived;
    if after < archived {
        return Err(CliError::Failed(format!(
            "The events up to position {archived} were archived. Say --after {archived} for those \
             after them; the backup that has the others can be restored and exported.",
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

/// Makes a log from lines of JSON.
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

/// Asks whether it is meant; only a person at a terminal can answer. `not_done` says what a no
/// comes to.
///
/// # Errors
/// When it is not, or nobody is there.
pub fn confirm(question: &str, not_done: &str) -> Result<(), CliError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(CliError::Failed(format!(
            "{not_done}: there is nobody to ask. Say --yes if this is what you want."
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
