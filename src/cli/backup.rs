//! `backup` and `restore`: backups of the event log, and data directories made from them.
//!
//! Like `log`, they work on files. Not here: what a backup is (`events/log/segment/manifest`).

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::error::{CliError, say};
use super::log::{Data, confirm, log_of, time, told};
use super::options::Format;
use super::table;
use super::terminal::{counted, printable};
use crate::app::backup_log;
use crate::events::log::segment::backup::verify_backup;
use crate::events::log::segment::manifest::{BackupError, Manifest};
use crate::events::log::segment::restore::{self, Plan, Until};
use crate::ids::{Position, Timestamp};

/// What to back up.
#[derive(Args)]
pub struct Backup {
    #[command(flatten)]
    data: Data,
    /// Only verify the backup
    #[arg(long)]
    verify: bool,
    /// Directory of the backup: new, empty, or an earlier backup of the same log
    #[arg(value_name = "TARGET")]
    target: PathBuf,
}

/// What to restore.
#[derive(Args)]
pub struct Restore {
    /// Directory of the backup
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    /// Data directory to create; new or empty
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Restore up to the last complete append at this position
    #[arg(long, value_name = "N", conflicts_with = "to_time")]
    to_position: Option<u64>,
    /// Restore up to the first event later than this time: 2026-11-24T20:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    to_time: Option<Timestamp>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The fields of the manifest, for programs.
fn manifest_value(target: &Path, manifest: &Manifest) -> Value {
    json!({
        "backup": target, "folder": manifest.folder, "epoch": manifest.epoch,
        "magnum": manifest.magnum, "first": manifest.first, "position": manifest.last,
        "hash": manifest.hash, "last_event_at": manifest.last_event_at,
        "backed_up_at": manifest.backed_up_at, "files": manifest.files.len(),
        "bytes": manifest.files.iter().map(|file| file.bytes).sum::<u64>(),
    })
}

fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut object, more) {
        fields.extend(more);
    }
    object
}

/// Backs up a log, or verifies a backup.
///
/// # Errors
/// When no backup was made, or it is damaged.
pub fn back_up(format: Format, args: &Backup) -> Result<(), CliError> {
    if args.verify {
        return verify(format, &args.target);
    }
    let log = log_of(&args.data.data)?;
    let done = backup_log(&log, &args.target)?;
    let manifest = &done.manifest;
    let words = format!(
        "{} holds the log up to position {}, chain {}, last event at {}.\nSegments copied: {} \
         ({}); already there: {}.\n",
        args.target.display(),
        manifest.last,
        manifest.hash,
        manifest.last_event_at,
        done.copied,
        counted(done.copied_bytes, "byte"),
        done.kept,
    );
    let more = json!({
        "copied": done.copied, "copied_bytes": done.copied_bytes, "kept": done.kept,
    });
    told(format, &words, &with(manifest_value(&args.target, manifest), more))
}

/// Reports whether a backup is sound.
fn verify(format: Format, target: &Path) -> Result<(), CliError> {
    let checked = verify_backup(target)?;
    let is_sound = checked.wrong.is_empty();
    let (manifest, head) = (&checked.manifest, checked.verified.head);
    if format != Format::Table {
        let more = json!({
            "sound": is_sound, "sound_up_to": head, "wrong": checked.wrong,
        });
        table::show(format, &with(manifest_value(target, manifest), more))?;
    } else if is_sound {
        table::print(&format!(
            "The backup in {} is sound up to position {}, chain {}, last event at {}.\n",
            target.display(),
            manifest.last,
            manifest.hash,
            manifest.last_event_at,
        ))?;
    }
    if is_sound {
        return Ok(());
    }
    checked.wrong.iter().for_each(|wrong| say(wrong));
    let target = target.display().to_string();
    eprintln!(
        "Use another backup, or make one: as long as the log is sound, `magnum backup {}` copies \
         the damaged files again.",
        printable(&target)
    );
    let helps = format!("magnum restore {target} --data NEW --to-position {head}");
    Err(CliError::Reported((head > Position(0) && head < manifest.last).then_some(helps)))
}

/// Creates a data directory from a backup.
///
/// # Errors
/// When nothing was restored.
pub fn restore(format: Format, args: &Restore) -> Result<(), CliError> {
    let until = match (args.to_position, args.to_time) {
        (Some(position), _) => Until::Position(Position(position)),
        (None, Some(time)) => Until::Time(time),
        (None, None) => Until::End,
    };
    restore::check_new(&args.data)?;
    let plan = restore::plan(&args.target, until)?;
    if format == Format::Table || !args.yes {
        eprint!("{}", printable(&plan_words(&plan)));
    }
    if !args.yes {
        confirm(&format!("Restore into {}?", args.data.display()), "Nothing was restored")?;
    }
    restore::restore(&plan, &args.data)?;
    let object = json!({
        "data": args.data, "position": plan.position, "hash": plan.hash,
        "last_event_at": plan.time, "folder": plan.manifest.folder,
        "backup_position": plan.manifest.last, "backup_last_event_at": plan.manifest.last_event_at,
        "events_left_out": plan.left_out(),
    });
    let data = args.data.display();
    let words = format!(
        "The log in {data} ends at position {}, chain {}.\nTry: magnum serve --data {data}\n",
        plan.position, plan.hash
    );
    told(format, &words, &object)
}

/// What will be restored, as text.
fn plan_words(plan: &Plan) -> String {
    let Manifest { last, last_event_at, .. } = &plan.manifest;
    let left_out = match plan.left_out() {
        0 => "That is the whole backup.".to_owned(),
        events => format!(
            "Left out: {} after position {}, the last one of {last_event_at}. Positions up to \
             {last} will be assigned to other events.",
            counted(events, "event"),
            plan.position,
        ),
    };
    format!(
        "Restores the log as of position {}, {}.\n{left_out}\nStop the server that uses the \
         original log before you start one on the copy: both would act on the same engine.\n",
        plan.position, plan.time,
    )
}
