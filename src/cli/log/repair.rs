//! `log repair`: truncating a damaged log at the first damage, after confirmation.

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::error::CliError;
use super::super::options::Format;
use super::super::terminal::{counted, printable};
use super::{Data, confirm, damage_value, told};
use crate::events::log::segment::FolderLock;
use crate::events::log::segment::repair::{self, Cut};
use crate::files;

/// Objects that `log repair` lists for people; programs get all.
const NAMED_STREAMS: usize = 20;

/// What to repair.
#[derive(Args)]
pub struct Repair {
    #[command(flatten)]
    data: Data,
    /// Truncate the log: remove the damaged event and everything after it
    #[arg(long, required = true)]
    truncate: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// Truncates the log at the first damage.
pub fn run(format: Format, args: &Repair) -> Result<(), CliError> {
    let (log, yes) = (args.data.log()?, args.yes);
    files::check_data(&args.data.data).map_err(|error| CliError::Failed(error.to_string()))?;
    let lock = FolderLock::take(&log)?;
    let Some(cut) = repair::plan(&lock)? else {
        return told(format, "The log is not damaged; nothing was changed.\n", &Value::Null);
    };
    if format == Format::Table || !yes {
        eprint!("{}", printable(&plan_words(&cut)));
    }
    if !yes {
        confirm("Truncate the log, keeping a copy of what is cut off?", "Nothing was changed")?;
    }
    let kept = repair::truncate(&lock, &cut)?;
    let streams: Map<String, Value> =
        cut.lost.streams.iter().map(|(stream, n)| (stream.to_string(), (*n).into())).collect();
    let object = json!({
        "position": cut.head.get(), "damage": cut.damage.as_ref().map(damage_value),
        "last": cut.last(), "bytes": cut.bytes, "files": cut.files,
        "events_lost": cut.lost.events(), "streams": streams, "copy": kept,
    });
    let words = format!(
        "The log now ends at position {}. What was cut off is in {}.\n",
        cut.head,
        kept.display()
    );
    told(format, &words, &object)
}

/// What will be cut off, as text.
fn plan_words(cut: &Cut) -> String {
    let mut text = match &cut.damage {
        Some(damage) => format!("{}.\n", damage.place()),
        None => "The log ends with an incomplete append.\n".to_owned(),
    };
    let (next, last) = (cut.head.next(), cut.last());
    let range = if last > next { format!("{next} to {last}") } else { format!("{next}") };
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(match cut.head.get() {
        0 => "Kept: nothing.".to_owned(),
        head => format!("Kept: all events up to position {head}."),
    });
    let events = counted(cut.lost.events(), "readable event");
    line(format!("Cut off: position {range}, with {events}."));
    if cut.bytes > 0 {
        let bytes = counted(cut.bytes, "byte");
        line(format!("  {bytes} at the end of the last segment that is kept"));
    }
    for name in &cut.files {
        line(format!("  the segment {name}"));
    }
    for (stream, events) in cut.lost.streams.iter().take(NAMED_STREAMS) {
        line(format!("  {} of {stream}", counted(*events, "event")));
    }
    let unnamed = cut.lost.streams.len().saturating_sub(NAMED_STREAMS);
    if unnamed > 0 {
        line(format!("  and events of {}", counted(unnamed as u64, "other object")));
    }
    text
}
