//! The service's own list of tokens, the file `tokens` of a data directory: whose each is, by its
//! hash. `magnum token` writes it, also beside a running server, which reads it when it changes
//! (`tokens`); what only the server knows of a token is in `tokens.state`.
//!
//! Whoever may write here may do everything, so both are for their owner alone. Backups have
//! neither. Not here: what a token allows (`policy`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::identity::{MAX_ID_BYTES, is_id};
use crate::clock;
use crate::files::{self, NotPrivate};
use crate::ids::{ProjectId, Timestamp};

/// What tokens start with, so that one that leaked is recognised for what it is.
const PREFIX: &str = "mgt_";

/// Characters of a token's id: 64 bits of its hash, which tell as many tokens apart as there are
/// and say nothing of the token.
const ID_CHARS: usize = 16;

/// Tokens in the file: 3 MB, and as many as a service without Keystone has users and programs.
const MAX_TOKENS: usize = 10_000;

/// How long tokens that have ended stay in the file, so that a server that was stopped meanwhile
/// still records that they were revoked: a month.
const KEPT_MS: u64 = 30 * 24 * 3600 * 1000;

/// The last time that has a date of four digits, 9999-12-31T23:59:59Z: a later one could be written
/// and not be read again.
pub const LAST_END: Timestamp = Timestamp(253_402_300_799_000_000);

/// Why there is no list, or no change to it.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The system refuses something.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The data directory is another user's, or others could change it.
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// It is not done; the message says why.
    #[error("{0}")]
    Refused(String),
}

/// A token of the list. Itself it is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedToken {
    /// The first characters of its hash.
    pub id: String,
    /// BLAKE3, in hex.
    pub hash: String,
    /// The project that it is for.
    pub project: ProjectId,
    /// Whose it is.
    pub user: String,
    /// Their role in the project.
    pub role: String,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it ends, if that was said.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

impl IssuedToken {
    /// When it ends or ended, if ever.
    pub fn end(&self) -> Option<Timestamp> {
        [self.expires_at, self.revoked_at].into_iter().flatten().min()
    }

    /// Whether it may be used at a time.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.end().is_none_or(|end| now < end)
    }
}

/// What is to be issued.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The project that it is for.
    pub project: String,
    /// Whose it is.
    pub user: String,
    /// Their role in the project.
    pub role: String,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
}

/// What only the server knows of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    /// When it was used last, to the minute.
    pub used_at: Option<Timestamp>,
    /// Whether it is on record that it was issued.
    pub created_recorded: bool,
    /// Whether it is on record that it was revoked.
    pub revoked_recorded: bool,
}

/// The same of all tokens, by id.
pub type TokenUses = BTreeMap<String, TokenUse>;

/// What tells a file from what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u64, u64, i64, i64);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    tokens: Vec<IssuedToken>,
}

/// The list of a data directory.
#[derive(Clone, Debug)]
pub struct TokenFile {
    data: PathBuf,
}

impl TokenFile {
    /// The list of a data directory, which may not have one yet.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.data.join("tokens")
    }

    /// All tokens, also those that have ended lately.
    ///
    /// # Errors
    /// When it cannot be read, others than its owner may write it, or it is damaged.
    pub fn read(&self) -> Result<Vec<IssuedToken>, TokenFileError> {
        let path = self.path();
        match read_json::<Document>(&path)? {
            None => Ok(Vec::new()),
            Some(Document { version: 1, tokens }) => Ok(tokens),
            Some(Document { version, .. }) => Err(TokenFileError::Damaged(format!(
                "{} has version {version}; use a newer magnum",
                path.display()
            ))),
        }
    }

    /// What the file is now; none where there is no file.
    pub fn version(&self) -> Option<Version> {
        let found = fs::symlink_metadata(self.path()).ok()?;
        // Permissions count as well, which only change this time.
        Some(Version(found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
    }

    /// Issues a token: its text, which is never seen again, and what the list has of it.
    ///
    /// # Errors
    /// When it cannot be, or something about it cannot be.
    pub fn create(&self, new: NewToken) -> Result<(String, IssuedToken), TokenFileError> {
        let now = clock::now();
        check(&new, now).map_err(TokenFileError::Refused)?;
        let secret = clock::secret_text().map_err(|source| self.failed(source))?;
        let text = format!("{PREFIX}{secret}");
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        let issued = IssuedToken {
            id: hash.chars().take(ID_CHARS).collect(),
            hash,
            project: ProjectId(new.project),
            user: new.user,
            role: new.role,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
        };
        let added = issued.clone();
        self.change(move |tokens| {
            tokens.retain(|token| token.end().is_none_or(|end| now.since_ms(end) < KEPT_MS));
            if tokens.len() >= MAX_TOKENS {
                return Err(TokenFileError::Refused(format!(
                    "there are {MAX_TOKENS} tokens already; revoke those that are not needed"
                )));
            }
            tokens.push(added);
            Ok(())
        })?;
        Ok((text, issued))
    }

    /// Revokes a token by its id; what the list has of it.
    ///
    /// # Errors
    /// When it cannot be, or there is no such token.
    pub fn revoke(&self, id: &str) -> Result<IssuedToken, TokenFileError> {
        let now = clock::now();
        self.change(|tokens| {
            let valid = tokens.iter_mut().find(|token| token.id == id && token.is_valid(now));
            let token = valid.ok_or_else(|| {
                TokenFileError::Refused(format!("there is no valid token with the id {id}"))
            })?;
            token.revoked_at = Some(now);
            Ok(token.clone())
        })
    }

    /// What the server knew of tokens when it last wrote that.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn uses(&self) -> Result<TokenUses, TokenFileError> {
        Ok(read_json(&self.data.join("tokens.state"))?.unwrap_or_default())
    }

    /// Writes what the server knows.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_uses(&self, uses: &TokenUses) -> Result<(), TokenFileError> {
        let _alone = self.lock()?;
        self.write("tokens.state", uses)
    }

    /// Changes the list, while nobody else does.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<IssuedToken>) -> Result<T, TokenFileError>,
    ) -> Result<T, TokenFileError> {
        files::create_folders(&self.data).map_err(|source| self.failed(source))?;
        // As the server checks it: what another user writes here, the server could not read.
        files::check_data(&self.data)?;
        let _alone = self.lock()?;
        let mut tokens = self.read()?;
        let changed = change(&mut tokens)?;
        self.write("tokens", &Document { version: 1, tokens })?;
        Ok(changed)
    }

    /// Keeps other writers out, of this process and others, as long as the file is open.
    fn lock(&self) -> Result<File, TokenFileError> {
        let lock = files::open_or_create(&self.data.join("tokens.lock"));
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock));
        lock.map_err(|source| self.failed(source))
    }

    /// Puts a file in the place of another, whole and durable, under the lock.
    fn write(&self, name: &str, content: &impl Serialize) -> Result<(), TokenFileError> {
        let written = || {
            let path = self.data.join(name);
            // After the whole name: each file has an unfinished one of its own.
            let unfinished = self.data.join(format!("{name}.new"));
            let mut file = files::create(&unfinished)?;
            file.write_all(&serde_json::to_vec_pretty(content)?)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            files::sync_names(&self.data)
        };
        written().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> TokenFileError {
        TokenFileError::Io { path: self.path().display().to_string(), source }
    }
}

/// Why a token cannot be issued.
fn check(new: &NewToken, now: Timestamp) -> Result<(), String> {
    for (what, name) in [("project", &new.project), ("user", &new.user)] {
        if !is_id(name) {
            return Err(format!(
                "{name:?} cannot be the name of a {what}: use 1 to {MAX_ID_BYTES} bytes without \
                 slashes and hidden characters"
            ));
        }
    }
    if new.project == ProjectId::default().0 {
        return Err("the project default is the service's own; use another name".to_owned());
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err("the token would have expired already".to_owned());
    }
    if new.expires_at.is_some_and(|end| end > LAST_END) {
        return Err(format!("tokens expire by {LAST_END}; without an end they never do"));
    }
    Ok(())
}

/// What a file contains; none where there is no file.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TokenFileError> {
    let named = path.display();
    let failed = |source| TokenFileError::Io { path: named.to_string(), source };
    let mut file = match files::open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.mode() & 0o022 != 0 {
        return Err(TokenFileError::Damaged(format!(
            "{named}: others than its owner may write it, so nothing in it can be trusted; check \
             it, then chmod 600"
        )));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(failed)?;
    let read = serde_json::from_slice(&text);
    read.map(Some).map_err(|error| TokenFileError::Damaged(format!("{named} is damaged: {error}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn new(user: &str, expires_at: Option<Timestamp>) -> NewToken {
        let [project, user, role] = ["shop", user, "member"].map(str::to_owned);
        NewToken { project, user, role, expires_at }
    }

    #[test]
    fn a_token_is_shown_once_and_kept_as_a_hash_for_its_owner_alone() {
        let data = tempfile::tempdir().unwrap();
        let file = TokenFile::new(&data.path().join("data"));
        let (text, issued) = file.create(new("ann", None)).unwrap();
        assert!(text.starts_with("mgt_") && text.len() == 47, "{text}");
        assert!(issued.hash.starts_with(&issued.id) && issued.id.len() == ID_CHARS);
        let written = fs::read_to_string(file.path()).unwrap();
        assert!(!written.contains(&text) && !written.contains(text.trim_start_matches("mgt_")));
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let (other, _) = file.create(new("bob", None)).unwrap();
        assert_ne!(other, text);
        assert_eq!(file.read().unwrap().len(), 2);
    }

    #[test]
    fn the_list_stays_whole_beside_a_server_that_writes_the_last_uses() {
        const ROUNDS: u64 = 40;
        let data = tempfile::tempdir().unwrap();
        let file = TokenFile::new(data.path());
        let (_, kept) = file.create(new("kept", None)).unwrap();
        let uses = TokenUses::from([(kept.id.clone(), TokenUse::default())]);
        std::thread::scope(|scope| {
            let issuers = ["ann", "bob"].map(|user| {
                let file = &file;
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let (_, issued) = file.create(new(user, None)).unwrap();
                        file.revoke(&issued.id).unwrap();
                    }
                })
            });
            while issuers.iter().any(|issuer| !issuer.is_finished()) {
                file.write_uses(&uses).unwrap();
                assert!(file.read().unwrap().contains(&kept));
                assert_eq!(file.uses().unwrap(), uses);
            }
        });
        assert_eq!(file.read().unwrap().len() as u64, 1 + 2 * ROUNDS);
        for name in ["tokens.new", "tokens.state.new"] {
            assert!(!data.path().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_revoked_token_has_ended_and_is_revoked_once() {
        let data = tempfile::tempdir().unwrap();
        let file = TokenFile::new(data.path());
        let (_, issued) = file.create(new("ann", None)).unwrap();
        let before = file.version();
        let revoked = file.revoke(&issued.id).unwrap();
        assert_ne!(file.version(), before, "a server sees that it changed");
        assert!(issued.is_valid(clock::now()) && !revoked.is_valid(clock::now()));
        assert!(file.revoke(&issued.id).is_err() && file.revoke("none").is_err());
        assert_eq!(file.read().unwrap(), [revoked]);
    }

    #[test]
    fn what_cannot_be_is_not_issued() {
        let data = tempfile::tempdir().unwrap();
        let file = TokenFile::new(data.path());
        for user in ["", "a/b", "a\nb", &"x".repeat(MAX_ID_BYTES + 1)] {
            assert!(file.create(new(user, None)).is_err(), "{user:?}");
        }
        let past = Timestamp(clock::now().0 - 1);
        assert!(file.create(new("ann", Some(past))).is_err());
        for late in [Timestamp(LAST_END.0 + 1), Timestamp(i64::MAX)] {
            let refused = file.create(new("ann", Some(late))).unwrap_err().to_string();
            assert!(refused.contains("9999-12-31"), "{refused}");
        }
        let own = NewToken { project: "default".to_owned(), ..new("ann", None) };
        assert!(file.create(own).is_err());
        assert!(file.version().is_none(), "nothing was written");
    }

    #[test]
    fn links_are_not_followed() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [file, other] = [&data, &elsewhere].map(|folder| TokenFile::new(folder.path()));
        other.create(new("ann", None)).unwrap();
        other.write_uses(&TokenUses::new()).unwrap();
        for name in ["tokens", "tokens.state"] {
            symlink(elsewhere.path().join(name), data.path().join(name)).unwrap();
        }
        let [read, uses] = [file.read().map(drop), file.uses().map(drop)];
        for refused in [read, uses, file.create(new("bob", None)).map(drop)] {
            let words = refused.unwrap_err().to_string();
            assert!(words.contains("symbolic link"), "{words}");
        }
    }

    #[test]
    fn the_last_end_can_be_read_again() {
        let data = tempfile::tempdir().unwrap();
        let file = TokenFile::new(data.path());
        let (_, issued) = file.create(new("ann", Some(LAST_END))).unwrap();
        assert_eq!(file.read().unwrap(), [issued]);
    }

    #[test]
    fn a_file_that_others_may_write_or_that_is_damaged_is_not_trusted() {
        let data = tempfile::tempdir().unwrap();
        let file = TokenFile::new(data.path());
        file.create(new("ann", None)).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o620)).unwrap();
        assert!(file.read().unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        file.read().unwrap();
        for bad in ["", "{", "[]", "{\"version\": 2, \"tokens\": []}"] {
            fs::write(file.path(), bad).unwrap();
            assert!(file.read().is_err(), "{bad}");
            assert!(file.create(new("bob", None)).is_err(), "it is not overwritten: {bad}");
        }
    }
}
