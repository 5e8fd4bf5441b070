//! `log repair`: cutting a damaged log at its first damage, once somebody has said yes.

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::failure::CliError;
use super::super::options::Format;
use super::super::terminal::printable;
use super::{Data, confirm, damage_value, told};
use crate::events::log::segment::FolderLock;
use crate::events::log::segment::repair::{self, Cut};

/// Objects that `log repair` names to people; programs get all.
const NAMED_STREAMS: usize = 20;

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

/// Cuts the log at its first damage.
pub fn run(format: Format, args: &Repair) -> Result<(), CliError> {
    let (log, yes) = (args.data.log()?, args.yes);
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
    let streams: Map<String, Value> =
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
