//! `log verify`: whether the log is what was written, and what was signed (`log anchor`).

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::super::failure::{CliError, say};
use super::super::options::Format;
use super::super::table;
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
    /// Check too that all events up to this anchor are those that were signed
    #[arg(long, value_name = "ANCHOR")]
    from: Option<PathBuf>,
    /// Whose signature the anchor must have: 64 hex digits, or the file that has them
    #[arg(long, value_name = "KEY", requires = "from")]
    public_key: Option<String>,
    /// Compare what archiving has left of the log with the backup that has all of it
    #[arg(long, value_name = "TARGET")]
    archive: Option<PathBuf>,
}

/// Reads all of the log and says up to where it is sound.
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
        table::print(&text)?;
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
            "Of the events up to position {} only what archiving has left is here, and no hash \
             vouches for that: --archive TARGET compares it with the backup that has all of them.",
            found.archived
        );
    }
    if anchor.is_some() && args.public_key.is_none() {
        eprintln!(
            "The key is the anchor's own, and anyone can make one: name the one that you know, \
             --public-key KEY."
        );
    }
    reported(&args.data, found.damage.iter())?;
    if problem.is_none() && changed.is_empty() { Ok(()) } else { Err(CliError::Reported(None)) }
}

/// Up to where the log is sound, in words.
fn sound(data: &Data, log: &Path, found: &Verified) -> String {
    let is_sound = found.damage.is_empty();
    let up_to = if is_sound { "" } else { "only " };
    let (log, head, hash) = (log.display(), found.head, to_hex(&found.hash));
    let mut text =
        format!("The log in {log} is sound {up_to}up to position {head}, chain {hash}.\n");
    if found.archived > Position(0) {
        text += &format!(
            "Up to position {} it was archived; what was left of that is there.\n",
            found.archived
        );
    }
    if is_sound && found.unfinished > 0 {
        text += &format!(
            "Behind it are {} bytes of a write that is under way or was cut off. The next \
             start of the server takes them away; if it says that they were durable once: {}\n",
            found.unfinished,
            repair_command(data)
        );
    }
    text
}

/// Reads an anchor, and checks that it is signed, by whom it must be.
fn read_anchor(file: &Path, public_key: Option<&str>) -> Result<Anchor, CliError> {
    let failed = |words: &str| CliError::Failed(format!("{}{words}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| failed(&format!(": {error}")))?;
    let anchor: Anchor = serde_json::from_str(&text).map_err(|error| {
        failed(&format!(" is no anchor that `magnum log anchor` made: {error}"))
    })?;
    if !anchor.is_signed() {
        return Err(failed(
            " is not what was signed: its signature does not fit. It says nothing about the log; \
             take the anchor from where it was kept.",
        ));
    }
    let wanted = public_key.map(named_key).transpose()?;
    match wanted.filter(|wanted| *wanted != anchor.public_key) {
        None => Ok(anchor),
        Some(wanted) => Err(failed(&format!(
            " was signed with the key {}, not with {wanted}. It says nothing about the log.",
            anchor.public_key
        ))),
    }
}

/// A public key as it is, or from its file.
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

/// Why a log does not have what an anchor signed; none where it has.
fn compare(log: &Path, found: &Verified, anchor: &Anchor) -> Result<Option<String>, CliError> {
    let Anchor { position, folder, hash, time, .. } = anchor;
    if found.head < *position {
        let (first, head) = (found.head.next(), found.head);
        let gone = if first == *position {
            format!("Event {position} is")
        } else {
            format!("The events {first} to {position} are")
        };
        let ends = if found.damage.is_empty() { "ends at" } else { "is sound only up to" };
        return Ok(Some(format!(
            "The log {ends} position {head}. {gone} not there any more as they were signed at \
             {time}."
        )));
    }
    let present = hash_at(log, *position)?.map(|hash| to_hex(&hash));
    if present.is_none() && *position < found.archived {
        return Ok(Some(format!(
            "Event {position} was archived, and up to {} nothing here can show what was before it. \
             Restore the backup that has it, and compare that with the anchor.",
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
        format!(" The anchor is of the data folder {folder}, this is {here}: is it the right one?")
    };
    Ok(Some(format!(
        "The events up to position {position} are not those that were signed at {time}: the \
         chain there is {present}, the anchor says {hash}.{other}"
    )))
}
