//! `log`: looking after the event log in a data folder, without a server.
//!
//! Alone of all groups it works on files, so alone it sees `events`. Not here: what the events say
//! (`events`), the formats (`events/log`).

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
use crate::events::log::segment::repair::{self, Cut};
use crate::events::log::segment::{Damage, FolderLock, export, info, verify};
use crate::ids::Position;

/// Columns of the segments in `log info`.
const SEGMENT_COLUMNS: [&str; 6] = ["file", "first", "last", "used_bytes", "bytes", "epoch"];

/// Objects that `log repair` names to people; programs get all.
const NAMED_STREAMS: usize = 20;

/// Commands for the log.
#[derive(Subcommand)]
pub enum LogCommand {
    /// Check that the log is what was written; beside a running server too
    Verify(Data),
    /// Show what the log consists of; beside a running server too
    Info(Data),
    /// Cut a damaged log at its first damage, and keep a copy of what goes
    Repair(Repair),
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

/// What to repair.
#[derive(Args)]
pub struct Repair {
    #[command(flatten)]
    data: Data,
    /// Cut the log: the damaged event and all after it go
    #[arg(long, required = true)]
    truncate: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
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
pub fn run(format: Format, command: LogCommand) -> Result<(), CliError> {
    match command {
        LogCommand::Verify(data) => verify_log(format, &data.data),
        LogCommand::Info(data) => show_info(format, &data.data),
        LogCommand::Repair(args) => repair_log(format, &args.data.data, args.yes),
        LogCommand::Export(args) => export_log(&args.data.data, Position(args.after)),
        LogCommand::Import(args) => import_log(format, &args.data.data, &args.file),
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
fn repair_command(data: &Path) -> String {
    format!("magnum log repair --truncate --data {}", data.display())
}

/// Reads all of the log and says up to where it is sound.
fn verify_log(format: Format, data: &Path) -> Result<(), CliError> {
    let log = log_of(data)?;
    let found = verify(&log)?;
    let (head, hash) = (found.head.get(), to_hex(&found.hash));
    let is_sound = found.damage.is_empty();
    if format == Format::Table {
        let up_to = if is_sound { "" } else { "only " };
        let mut text = format!(
            "The log in {} is sound {up_to}up to position {head}, chain {hash}.\n",
            log.display()
        );
        if is_sound && found.unfinished > 0 {
            text += &format!(
                "Behind it are {} bytes of a write that is under way or was cut off. The next \
                 start of the server takes them away; if it says that they were durable once: {}\n",
                found.unfinished,
                repair_command(data)
            );
        }
        table::print(&text)?;
    } else {
        let damage: Vec<Value> = found.damage.iter().map(damage_value).collect();
        let object = json!({
            "log": log, "sound": is_sound, "position": head, "hash": hash,
            "unfinished_bytes": found.unfinished, "damage": damage,
        });
        table::show(format, &object)?;
    }
    reported(data, found.damage.iter())
}

/// Fails with what is damaged, and what helps.
fn reported<'a>(data: &Path, damage: impl Iterator<Item = &'a Damage>) -> Result<(), CliError> {
    let places: Vec<String> = damage.map(Damage::place).collect();
    if places.is_empty() {
        return Ok(());
    }
    places.iter().for_each(|place| say(place));
    eprintln!(
        "Look for a failing disk first, copy {} elsewhere, and put a backup back if there is one.",
        printable(&data.join("log").display().to_string())
    );
    Err(CliError::Reported(Some(repair_command(data))))
}

/// Shows what the log consists of.
fn show_info(format: Format, data: &Path) -> Result<(), CliError> {
    let log = log_of(data)?;
    let found = info(&log)?;
    let segments: Vec<Value> = found
        .segments
        .iter()
        .map(|segment| {
            json!({
                "file": segment.name, "first": segment.first.get(), "last": segment.last.get(),
                "used_bytes": segment.used, "bytes": segment.size, "epoch": segment.epoch,
                "chain_before": to_hex(&segment.chain),
            })
        })
        .collect();
    let mut object = json!({
        "log": log, "folder": found.folder, "copied": found.copied, "epoch": found.epoch,
        "position": found.head.get(), "hash": to_hex(&found.hash),
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

/// Cuts the log at its first damage.
fn repair_log(format: Format, data: &Path, yes: bool) -> Result<(), CliError> {
    let log = log_of(data)?;
    let lock = FolderLock::take(&log)?;
    let Some(cut) = repair::plan(&lock)? else {
        return told(format, "Nothing is wrong with the log; nothing is cut.\n", &Value::Null);
    };
    if format == Format::Table || !yes {
        eprint!("{}", printable(&plan_words(&cut)));
    }
    if !yes {
        confirm("Cut the log, and keep a copy of what goes?", "Nothing was cut")?;
    }
    let kept = repair::truncate(&lock, &cut)?;
    let streams: serde_json::Map<String, Value> =
        cut.lost.streams.iter().map(|(stream, n)| (stream.to_string(), (*n).into())).collect();
    let object = json!({
        "position": cut.head.get(), "damage": cut.damage.as_ref().map(damage_value),
        "last": cut.last(), "bytes": cut.bytes, "files": cut.files,
        "events_lost": cut.lost.events(), "streams": streams, "copy": kept,
    });
    let words =
        format!("The log ends at position {} now. What went is in {}.\n", cut.head, kept.display());
    told(format, &words, &object)
}

/// Says to people in words, to programs in fields, what was done.
///
/// # Errors
/// When stdout takes no more.
pub fn told(format: Format, words: &str, object: &Value) -> Result<(), CliError> {
    if format == Format::Table { table::print(words) } else { table::show(format, object) }
}

/// Prints events as lines of JSON.
fn export_log(data: &Path, after: Position) -> Result<(), CliError> {
    let log = log_of(data)?;
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

/// What a cut takes away, in words.
fn plan_words(cut: &Cut) -> String {
    let mut text = match &cut.damage {
        Some(damage) => format!("{}.\n", damage.place()),
        None => "The log ends with an append that is not whole.\n".to_owned(),
    };
    let (next, last) = (cut.head.next(), cut.last());
    let range = if last > next { format!("{next} to {last}") } else { format!("{next}") };
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(match cut.head.get() {
        0 => "Nothing stays.".to_owned(),
        head => format!("What stays: all events up to position {head}."),
    });
    let events = cut.lost.events();
    line(format!("What goes: position {range}. Events in it that can be read: {events}."));
    if cut.bytes > 0 {
        line(format!("  {} bytes at the end of the segment that stays", cut.bytes));
    }
    for name in &cut.files {
        line(format!("  the segment {name}"));
    }
    for (stream, events) in cut.lost.streams.iter().take(NAMED_STREAMS) {
        line(format!("  {events} of {stream}"));
    }
    let unnamed = cut.lost.streams.len().saturating_sub(NAMED_STREAMS);
    if unnamed > 0 {
        line(format!("  and those of {unnamed} other objects"));
    }
    text
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
