//! `log verify`: whether the log is intact, and is what was signed (`log anchor`).

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::super::error::{CliError, say};
use super::super::options::Format;
use super::super::table;
use super::super::terminal::{counted, printable};
use super::{Data, damage_value, repair_command, reported};
use crate::events::log::anchor::{Anchor, PublicKey};
use crate::events::log::export::to_hex;
use crate::events::log::segment::archive;
use crate::events::log::segment::{Verified, hash_at, info, verify};
use crate::ids::Position;

/// What to verify.
#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    data: Data,
    /// Also check that all events up to this anchor are those that were signed
    #[arg(long, value_name = "ANCHOR")]
    from: Option<PathBuf>,
    /// Public key that must have signed the anchor: 64 hex digits, or a file with them
    #[arg(long, value_name = "KEY", requires = "from")]
    public_key: Option<String>,
    /// Compare what archiving left in the log with the backup that has all of it
    #[arg(long, value_name = "TARGET")]
    archive: Option<PathBuf>,
}

/// Reads the whole log and reports up to which position it is sound.
pub fn run(format: Format, args: &Verify) -> Result<(), CliError> {
    let log = args.data.log()?;
    let anchor = args.from.as_deref().map(|file| read_anchor(file, args.public_key.as_deref()));
    let anchor = anchor.transpose()?;
    let found = verify(&log)?;
    let problem = anchor.as_ref().map(|anchor| compare(&log, &found, anchor)).transpose()?;
    let problem = problem.flatten();
    let changed = args.archive.as_ref().map(|backup| archive::compare(&log, backup)).transpose()?;
    let changed = changed.unwrap_or_default();
    if format == Format::Table {
        let mut text = sound(&args.data, &log, &found);
        if let (Some(Anchor { position, time, public_key, .. }), None) = (&anchor, &problem) {
            text += &format!(
                "All events up to position {position} are those that were signed at {time} with \
                 the key {public_key}.\n"
            );
        }
        table::print(&printable(&text))?;
    } else {
        let damage: Vec<Value> = found.damage.iter().map(damage_value).collect();
        let mut object = json!({
            "log": log, "sound": found.damage.is_empty(), "position": found.head.get(),
            "hash": to_hex(&found.hash), "archived": found.archived,
            "unfinished_bytes": found.unfinished, "damage": damage,
        });
        if let (Some(anchor), Some(fields)) = (&anchor, object.as_object_mut()) {
            let checked = json!({
                "position": anchor.position, "time": anchor.time,
                "public_key": anchor.public_key, "holds": problem.is_none(), "problem": problem,
            });
            fields.insert("anchor".to_owned(), checked);
        }
        table::show(format, &object)?;
    }
    if let Some(problem) = &problem {
        say(problem);
    }
    changed.iter().for_each(|changed| say(changed));
    if anchor.is_some() && found.archived > Position(0) && args.archive.is_none() {
        eprintln!(
            "Archiving removed events up to position {}, so the hash chain does not cover what is \
             left of them: compare it with the backup by --archive TARGET.",
            found.archived
        );
    }
    if anchor.is_some() && args.public_key.is_none() {
        eprintln!(
            "The key was taken from the anchor itself, which proves little: specify the one you \
             trust with --public-key KEY."
        );
    }
    reported(&args.data, found.damage.iter())?;
    if problem.is_none() && changed.is_empty() { Ok(()) } else { Err(CliError::Reported(None)) }
}

/// Up to which position the log is sound, as text.
fn sound(data: &Data, log: &Path, found: &Verified) -> String {
    let is_sound = found.damage.is_empty();
    let up_to = if is_sound { "" } else { "only " };
    let (log, head, hash) = (log.display(), found.head, to_hex(&found.hash));
    let mut text =
        format!("The log in {log} is sound {up_to}up to position {head}, chain {hash}.\n");
    if found.archived > Position(0) {
        text += &format!(
            "It was archived up to position {}; the events kept from before are all there.\n",
            found.archived
        );
    }
    if is_sound && found.unfinished > 0 {
        text += &format!(
            "It is followed by {} of an append that is in progress or was interrupted. The next \
             start of the server removes that; if it reports that it was durable: {}\n",
            counted(found.unfinished, "byte"),
            repair_command(data)
        );
    }
    text
}

/// Reads an anchor and checks its signature and its key.
fn read_anchor(file: &Path, public_key: Option<&str>) -> Result<Anchor, CliError> {
    let failed = |words: &str| CliError::Failed(format!("{}{words}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| failed(&format!(": {error}")))?;
    let anchor: Anchor = serde_json::from_str(&text).map_err(|error| {
        failed(&format!(" is not an anchor made by `magnum log anchor`: {error}"))
    })?;
    if !anchor.is_signed() {
        return Err(failed(
            " was changed: its signature is invalid, so it says nothing about the log. Use the \
             copy of the anchor that was kept elsewhere.",
        ));
    }
    let wanted = public_key.map(named_key).transpose()?;
    match wanted.filter(|wanted| *wanted != anchor.public_key) {
        None => Ok(anchor),
        Some(wanted) => Err(failed(&format!(
            " was signed with the key {}, not with {wanted}, so it says nothing about the log.",
            anchor.public_key
        ))),
    }
}

/// A public key, given as such or by its file.
fn named_key(named: &str) -> Result<PublicKey, CliError> {
    if let Ok(key) = PublicKey::try_from(named.to_owned()) {
        return Ok(key);
    }
    let failed = |words: &dyn std::fmt::Display| {
        CliError::Failed(format!("{named} is neither 64 hex digits nor a file with them: {words}"))
    };
    let text = fs::read_to_string(named).map_err(|error| failed(&error))?;
    PublicKey::try_from(text).map_err(|why| failed(&why))
}

/// How a log differs from what an anchor signed; `None` if it does not.
fn compare(log: &Path, found: &Verified, anchor: &Anchor) -> Result<Option<String>, CliError> {
    let Anchor { position, folder, hash, time, .. } = anchor;
    if found.head < *position {
        let (first, head) = (found.head.next(), found.head);
        let gone = if first == *position {
            format!("Event {position} is missing")
        } else {
            format!("The events {first} to {position} are missing")
        };
        let ends = if found.damage.is_empty() { "ends at" } else { "is sound only up to" };
        return Ok(Some(format!(
            "The log {ends} position {head}. {gone} although the anchor of {time} covers them."
        )));
    }
    let present = hash_at(log, *position)?.map(|hash| to_hex(&hash));
    if present.is_none() && *position < found.archived {
        return Ok(Some(format!(
            "Event {position} was archived, and the log can prove nothing about events up to {}. \
             Restore the backup that has them, and compare that with the anchor.",
            found.archived
        )));
    }
    let present = present.unwrap_or_else(|| "none".to_owned());
    if present == *hash {
        return Ok(None);
    }
    let here = info(log)?.folder;
    let other = if here == *folder {
        String::new()
    } else {
        format!(
            " The anchor is of the data directory {folder}, this one is {here}: is it the right \
             one?"
        )
    };
    Ok(Some(format!(
        "The events up to position {position} are not those that were signed at {time}: the \
         chain is {present} there, and {hash} in the anchor.{other}"
    )))
}
