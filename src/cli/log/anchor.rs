//! `log anchor`: signing the head of the log, and creating a key for that.
//!
//! Someone who can change the log must have neither the key nor the only copy of an anchor. Not
//! here: what is signed (`events/log/anchor.rs`), comparing a log with an anchor (`verify`).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::super::error::CliError;
use super::super::options::Format;
use super::super::table;
use super::{Data, reported, told};
use crate::clock;
use crate::events::log::anchor::{Anchor, SecretKey};
use crate::events::log::segment::{info, verify};
use crate::files;

/// What to sign, and with which key.
#[derive(Args)]
pub struct Sign {
    #[command(flatten)]
    data: Data,
    /// File of the signing key
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// Create a key in this new file, and its public key in FILE.pub; signs nothing
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    new_key: Option<PathBuf>,
}

/// Signs, or creates a key.
pub fn run(format: Format, args: &Sign) -> Result<(), CliError> {
    if let Some(file) = &args.new_key {
        return new_key(format, &args.data, file);
    }
    // One of the two is required.
    args.key.as_deref().map_or(Ok(()), |file| sign(&args.data, file))
}

fn named(file: &Path) -> impl Fn(io::Error) -> CliError {
    move |error| CliError::Failed(format!("{}: {error}", file.display()))
}

/// Creates a key that only its owner can read, and the file of its public key.
fn new_key(format: Format, data: &Data, file: &Path) -> Result<(), CliError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::canonicalize(folder.unwrap_or(Path::new("."))).map_err(named(file))?;
    if fs::canonicalize(&data.data).is_ok_and(|data| folder.starts_with(data)) {
        return Err(CliError::Failed(format!(
            "{} is in the data directory: anyone who can change the log there could sign it again. \
             Keep the key elsewhere, preferably on another machine.",
            file.display()
        )));
    }
    let mut public_file = OsString::from(file);
    public_file.push(".pub");
    let public_file = PathBuf::from(public_file);
    if let Some(there) =
        [file, &public_file].into_iter().find(|file| file.symlink_metadata().is_ok())
    {
        let there = there.display();
        return Err(CliError::Failed(format!("{there} already exists; nothing was changed.")));
    }
    let key = SecretKey::new(clock::secret()?);
    let public = key.public();
    write_new(file, &key.to_text())?;
    let public_key = write_new(&public_file, &format!("{public}\n"))?;
    files::publish(&public_key).map_err(named(&public_file))?;
    let words = format!(
        "The key is in {}. Keep it away from the log. The public key, also in {}:\n{public}\n",
        file.display(),
        public_file.display()
    );
    told(format, &words, &json!({"key": file, "public_key": public}))
}

/// Writes a new file and syncs it.
fn write_new(file: &Path, text: &str) -> Result<File, CliError> {
    let written = files::create_new(file).and_then(|mut opened| {
        opened.write_all(text.as_bytes())?;
        opened.sync_all()?;
        Ok(opened)
    });
    written.map_err(named(file))
}

/// Verifies the log, signs its head, and prints the anchor.
fn sign(data: &Data, file: &Path) -> Result<(), CliError> {
    let log = data.log()?;
    let text = fs::read_to_string(file).map_err(named(file))?;
    let key = SecretKey::from_text(&text)
        .map_err(|why| CliError::Failed(format!("{}: {why}", file.display())))?;
    let found = verify(&log)?;
    reported(data, found.damage.iter())?;
    if found.head.get() == 0 {
        let words = format!("The log in {} has no events to sign.", log.display());
        return Err(CliError::Failed(words));
    }
    let about = info(&log)?;
    // While a server runs, the head may be written but not synced yet; what is signed must survive
    // a power cut.
    for segment in &about.segments {
        if segment.last >= found.head {
            let path = log.join(&segment.name);
            File::open(&path).and_then(|file| file.sync_data()).map_err(named(&path))?;
        }
    }
    let head = (found.head, &found.hash);
    let anchor = Anchor::sign(&key, about.folder, head, clock::now());
    let text = serde_json::to_string_pretty(&anchor).map_err(io::Error::from)?;
    table::print(&format!("{text}\n"))
}
