//! Files that no other user of this machine may read or change: how they are made and opened, and
//! the check of a data directory before it is used.
//!
//! They contain what tenants named, commanded and executed, so their modes do not depend on the
//! umask that the program was started with. Symbolic links are not followed: whoever could once
//! write to a folder could lead us elsewhere. Not here: what is in the files.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{geteuid, umask};

/// The mode of a file: the owner reads and writes.
const FILE_MODE: u32 = 0o600;

/// The mode of a folder: the owner lists and changes it.
const FOLDER_MODE: u32 = 0o700;

/// All that others may be allowed: what is taken from whatever this program makes.
const OTHERS: u32 = 0o077;

/// What lets others change a file, or what is in a folder.
const OTHERS_WRITE: u32 = 0o022;

/// What this program makes in a data directory.
const OURS: [&str; 9] = [
    "log",
    "log.new",
    "keys",
    "cache",
    "tokens",
    "tokens.new",
    "tokens.lock",
    "tokens.state",
    "tokens.state.new",
];

/// Why a data directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum NotPrivate {
    /// Somebody else owns a part of it.
    #[error(
        "{path} belongs to user {owner}, but this program runs as user {user}: run it as user \
         {owner}, or take it over with `chown -R {user} {data}`"
    )]
    Foreign {
        /// What it is about.
        path: String,
        /// Whose it is.
        owner: u32,
        /// Who runs this program.
        user: u32,
        /// The data directory.
        data: String,
    },
    /// Others may have changed it.
    #[error(
        "{path} can be changed by other users (mode {mode:03o}): make sure that nobody did, then \
         run `chmod -R go-rwx {data}`"
    )]
    Writable {
        /// What it is about.
        path: String,
        /// Its mode.
        mode: u32,
        /// The data directory.
        data: String,
    },
    /// A part of it is a link.
    #[error(
        "{0} is a symbolic link, and links in a data directory are not followed: replace it by \
         what it leads to, or mount that here"
    )]
    Link(String),
    /// It cannot be looked at, or its mode cannot be changed.
    #[error("{path}: {source}")]
    Io {
        /// What it is about.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Gives others no right to anything that this process makes from now on; this also holds for files
/// that are made by libraries.
pub fn keep_from_others() {
    umask(Mode::from_raw_mode(OTHERS));
}

/// Makes a folder and those above it that are missing; one that is there stays as it is.
///
/// # Errors
/// What the system says.
pub fn create_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Makes a folder that is not there yet.
///
/// # Errors
/// What the system says, as that it is there.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(FOLDER_MODE).create(path)
}

/// Makes a file that is not there yet.
///
/// # Errors
/// What the system says, as that it is there.
pub fn create_new(path: &Path) -> io::Result<File> {
    options().write(true).create_new(true).open(path)
}

/// Makes an empty file; removes what has its name, a link too.
///
/// # Errors
/// What the system says.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => create_new(path),
    }
}

/// Opens a file that is there, or makes it.
///
/// # Errors
/// What the system says, or that it is a link.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    no_link(options().write(true).create(true).truncate(false).open(path))
}

/// Opens a file that is there.
///
/// # Errors
/// What the system says, or that it is a link.
pub fn open(path: &Path, write: bool) -> io::Result<File> {
    no_link(options().write(write).open(path))
}

/// Writes a text to a file that a user named: the user may well mean what a link leads to.
///
/// # Errors
/// What the system says.
pub fn write_named(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(FILE_MODE);
    let mut file = options.open(path)?;
    // A pipe or a terminal stays as it is; a file that was there has a mode already.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}

/// Lets everybody read a file.
///
/// # Errors
/// What the system says.
pub fn publish(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o644))
}

/// Whether an error says that there is no room, of the disk or of a quota.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Whether an error says that this process, or the whole system, may open no more files now.
pub fn lacks_files(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].iter().any(|lack| errno == Some(lack.raw_os_error()))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// What the system says.
pub fn sync_names(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Checks that a data directory is this user's alone. What others can only read, as earlier
/// versions made it, is closed to them; what they can change is refused, since they may have.
///
/// The directory itself may be a link, and is left readable where something else is in it too.
///
/// # Errors
/// See [`NotPrivate`].
pub fn check_data(data: &Path) -> Result<(), NotPrivate> {
    let names = names(data)?;
    let is_ours = |name: &PathBuf| OURS.iter().any(|ours| name == Path::new(ours));
    let itself = fs::metadata(data).map_err(failed(data))?;
    let mut closed = Vec::new();
    check(data, data, &itself, names.iter().all(is_ours), &mut closed)?;
    for name in names.iter().filter(|name| is_ours(name)) {
        check_below(data, &data.join(name), &mut closed)?;
    }
    if let Some(first) = closed.first() {
        tracing::warn!(
            data = %data.display(),
            first = %first.display(),
            files = closed.len(),
            "other users of this machine could read this data directory; they no longer can"
        );
    }
    Ok(())
}

/// The same check of a folder in which everything is this program's, as a backup.
///
/// # Errors
/// See [`NotPrivate`].
pub fn check_folder(folder: &Path) -> Result<(), NotPrivate> {
    let (itself, mut closed) = (fs::metadata(folder).map_err(failed(folder))?, Vec::new());
    check(folder, folder, &itself, true, &mut closed)?;
    for name in names(folder)? {
        check_below(folder, &folder.join(name), &mut closed)?;
    }
    Ok(())
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).mode(FILE_MODE).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

fn no_link(opened: io::Result<File>) -> io::Result<File> {
    opened.map_err(|error| {
        if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
            io::Error::new(error.kind(), "this is a symbolic link, which is not followed")
        } else {
            error
        }
    })
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> NotPrivate {
    move |source| NotPrivate::Io { path: path.display().to_string(), source }
}

/// What the system says of something that a running server may just have removed.
fn if_there<T>(path: &Path, found: io::Result<T>) -> Result<Option<T>, NotPrivate> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some).map_err(failed(path)),
    }
}

fn names(folder: &Path) -> Result<Vec<PathBuf>, NotPrivate> {
    let names = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| PathBuf::from(entry.file_name()))).collect()
    });
    Ok(if_there(folder, names)?.unwrap_or_default())
}

/// Checks what is at a path, and all below it.
fn check_below(data: &Path, path: &Path, closed: &mut Vec<PathBuf>) -> Result<(), NotPrivate> {
    let Some(found) = if_there(path, fs::symlink_metadata(path))? else { return Ok(()) };
    if found.is_symlink() {
        return Err(NotPrivate::Link(path.display().to_string()));
    }
    check(data, path, &found, true, closed)?;
    if found.is_dir() {
        for name in names(path)? {
            check_below(data, &path.join(name), closed)?;
        }
    }
    Ok(())
}

/// Checks one file or folder, and closes it to others.
fn check(
    data: &Path,
    path: &Path,
    found: &Metadata,
    close: bool,
    closed: &mut Vec<PathBuf>,
) -> Result<(), NotPrivate> {
    let (owner, user) = (found.uid(), geteuid().as_raw());
    let (named, data) = (|| path.display().to_string(), data.display().to_string());
    if owner != user {
        return Err(NotPrivate::Foreign { path: named(), owner, user, data });
    }
    let mode = found.mode() & 0o777;
    if mode & OTHERS_WRITE != 0 {
        return Err(NotPrivate::Writable { path: named(), mode, data });
    }
    if close && mode & OTHERS != 0 {
        let private = Permissions::from_mode(mode & !OTHERS);
        let changed = if_there(path, fs::set_permissions(path, private))?;
        closed.extend(changed.map(|()| path.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let (a, b) = (home.path().join("a"), home.path().join("a/b"));
        create_folders(&b).unwrap();
        create_folder(&b.join("c")).unwrap();
        for folder in [&a, &b, &b.join("c")] {
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
        }
        assert!(create_folder(&b).is_err());
        create_new(&a.join("new")).unwrap();
        create(&a.join("over")).unwrap();
        open_or_create(&a.join("lock")).unwrap();
        write_named(&a.join("named"), "x").unwrap();
        fs::write(a.join("before"), "more than is written").unwrap();
        with_mode(&a.join("before"), 0o644);
        write_named(&a.join("before"), "x").unwrap();
        assert_eq!(fs::read(a.join("before")).unwrap(), b"x");
        for name in ["new", "over", "lock", "named", "before"] {
            assert_eq!(mode(&a.join(name)), 0o600, "{name}");
        }
        assert_eq!(create_new(&a.join("new")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }

    #[test]
    fn links_are_replaced_or_refused_and_never_followed() {
        let home = tempfile::tempdir().unwrap();
        let (target, link) = (home.path().join("target"), home.path().join("link"));
        fs::write(&target, "precious").unwrap();
        symlink(&target, &link).unwrap();
        for opened in [open(&link, true), open(&link, false), open_or_create(&link)] {
            let words = opened.unwrap_err().to_string();
            assert!(words.contains("a symbolic link, which is not followed"), "{words}");
        }
        assert_eq!(create_new(&link).unwrap_err().kind(), ErrorKind::AlreadyExists);
        // Not even if it leads nowhere yet.
        let nowhere = home.path().join("nowhere");
        symlink(home.path().join("made"), &nowhere).unwrap();
        assert!(open_or_create(&nowhere).is_err());
        assert!(!home.path().join("made").exists());
        create(&link).unwrap().write_all(b"ours").unwrap();
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"precious");
    }

    /// A data directory as earlier versions made it.
    fn earlier(home: &Path) -> PathBuf {
        let data = home.join("data");
        for folder in ["", "log", "keys", "cache", "cache/views"] {
            fs::create_dir(data.join(folder)).unwrap();
            with_mode(&data.join(folder), 0o755);
        }
        for file in ["log/0000000001.seg", "keys/default.key", "cache/views/db"] {
            fs::write(data.join(file), "x").unwrap();
            with_mode(&data.join(file), 0o644);
        }
        data
    }

    #[test]
    fn what_others_could_read_is_closed_to_them() {
        let home = tempfile::tempdir().unwrap();
        let data = earlier(home.path());
        check_data(&data).unwrap();
        for folder in ["", "log", "keys", "cache", "cache/views"] {
            assert_eq!(mode(&data.join(folder)), 0o700, "{folder}");
        }
        for file in ["log/0000000001.seg", "keys/default.key", "cache/views/db"] {
            assert_eq!(mode(&data.join(file)), 0o600, "{file}");
        }
        // A folder that is used for something else as well stays open to those others.
        fs::write(data.join("notes"), "x").unwrap();
        with_mode(&data, 0o755);
        with_mode(&data.join("notes"), 0o666);
        check_data(&data).unwrap();
        assert_eq!((mode(&data), mode(&data.join("notes"))), (0o755, 0o666));
        let link = home.path().join("link");
        symlink(&data, &link).unwrap();
        check_data(&link).unwrap();
    }

    #[test]
    fn what_others_can_change_is_refused() {
        let places =
            ["", "log", "log/0000000001.seg", "keys", "keys/default.key", "cache/views/db"];
        for place in places {
            for bit in [0o020, 0o002] {
                let home = tempfile::tempdir().unwrap();
                let data = earlier(home.path());
                let path = data.join(place);
                with_mode(&path, mode(&path) | bit);
                let words = check_data(&data).unwrap_err().to_string();
                let helps = format!("run `chmod -R go-rwx {}`", data.display());
                assert!(words.ends_with(&helps), "{place}: {words}");
            }
        }
    }

    #[test]
    fn links_within_are_refused() {
        for place in ["log", "keys", "cache", "log/0000000002.seg", "keys/other.key"] {
            let home = tempfile::tempdir().unwrap();
            let data = earlier(home.path());
            let path = data.join(place);
            if path.exists() {
                fs::rename(&path, home.path().join("elsewhere")).unwrap();
            }
            symlink(home.path().join("elsewhere"), &path).unwrap();
            let refused = check_data(&data).unwrap_err();
            assert!(matches!(refused, NotPrivate::Link(_)), "{place}: {refused}");
        }
    }
}
