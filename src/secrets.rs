//! Values that the log keeps forever and that can still be erased: each is sealed
//! (XChaCha20-Poly1305) with a key of its project, which is stored beside the log and not in
//! backups. Without the key the value is unreadable in every copy of the log (crypto-shredding).
//!
//! The API seals values on the way in, so no event, command or read model contains one in the
//! clear; `backends/unsealing.rs` opens them. Not here: which values are secret.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use form_urlencoded::byte_serialize;

use crate::clock;
use crate::ids::ProjectId;

/// What a sealed value starts with; what does not was recorded before values were sealed.
const SEALED: &str = "sealed:v1:";

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Bytes of a nonce: long enough to be drawn at random for each value.
const NONCE_BYTES: usize = 24;

/// Characters of a key's id.
const ID_CHARS: usize = 16;

/// Why a value cannot be had, or a key not be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The key that it was sealed with is no longer there.
    #[error(
        "the value of the environment variable {variable} can no longer be read: the key {key} \
         of project {project} is missing; it was erased, or the log was restored without it"
    )]
    Erased {
        /// Whose value it is.
        variable: String,
        /// The id of the key.
        key: String,
        /// Whose key it was.
        project: ProjectId,
    },
    /// It is not what was sealed.
    #[error("the sealed value of the environment variable {0} is damaged")]
    Damaged(String),
    /// The file of a key cannot be read, made or erased.
    #[error("the key {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

/// A project's key and what it is called.
struct ProjectKey {
    cipher: XChaCha20Poly1305,
    id: String,
}

impl ProjectKey {
    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let id = blake3::hash(&bytes).to_hex().chars().take(ID_CHARS).collect();
        Self { cipher: XChaCha20Poly1305::new(&Key::from(bytes)), id }
    }
}

/// The keys of all projects, a file each. Cheap to clone.
///
/// Nothing is kept in memory: a key that was erased is gone at once.
#[derive(Clone, Debug)]
pub struct Secrets {
    folder: PathBuf,
    /// Held while a key is made or erased.
    changing: Arc<Mutex<()>>,
}

impl Secrets {
    /// Keys in a folder, which is made with the first of them.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, changing: Arc::default() }
    }

    /// Seals values in place. The project's key is made, and on the disk, before the first one.
    ///
    /// # Errors
    /// When the key cannot be read or made.
    pub fn seal(
        &self,
        project: &ProjectId,
        variables: &mut BTreeMap<String, String>,
    ) -> Result<(), SecretsError> {
        let path = self.path(project);
        let key = self.key_or_new(&path).map_err(|source| failed(&path, source))?;
        for (name, value) in variables {
            let random = clock::secret().map_err(|source| failed(&path, source))?;
            let mut nonce = XNonce::default();
            nonce.iter_mut().zip(random).for_each(|(to, from)| *to = from);
            // Only what is longer than a body can be does not fit.
            let sealed = key
                .cipher
                .encrypt(&nonce, bound(name, value.as_bytes()))
                .map_err(|_| failed(&path, ErrorKind::FileTooLarge.into()))?;
            let text = STANDARD.encode([nonce.as_slice(), &sealed].concat());
            *value = format!("{SEALED}{}:{text}", key.id);
        }
        Ok(())
    }

    /// Opens sealed values in place; the others stay as they are.
    ///
    /// # Errors
    /// When the key is not there or cannot be read, or a value is not what was sealed.
    pub fn open(
        &self,
        project: &ProjectId,
        variables: &mut BTreeMap<String, String>,
    ) -> Result<(), SecretsError> {
        if !variables.values().any(|value| value.starts_with(SEALED)) {
            return Ok(());
        }
        let key = self.read(project)?;
        for (name, value) in variables {
            let Some(rest) = value.strip_prefix(SEALED) else { continue };
            let damaged = || SecretsError::Damaged(name.clone());
            let (id, text) = rest.split_once(':').ok_or_else(damaged)?;
            let key = key.as_ref().filter(|key| key.id == id);
            let key = key.ok_or_else(|| SecretsError::Erased {
                variable: name.clone(),
                key: id.to_owned(),
                project: project.clone(),
            })?;
            let bytes = STANDARD.decode(text).map_err(|_| damaged())?;
            let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(damaged)?;
            let nonce = XNonce::try_from(nonce).map_err(|_| damaged())?;
            let opened = key.cipher.decrypt(&nonce, bound(name, sealed)).map_err(|_| damaged())?;
            *value = String::from_utf8(opened).map_err(|_| damaged())?;
        }
        Ok(())
    }

    /// The id of the key that a project's values are sealed with now; `None` if it has no key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn key_id(&self, project: &ProjectId) -> Result<Option<String>, SecretsError> {
        Ok(self.read(project)?.map(|key| key.id))
    }

    /// Erases a project's key by its id: whatever was sealed with it is lost. False where the
    /// project has no such key.
    ///
    /// # Errors
    /// When the system does not let it go.
    pub fn erase(&self, project: &ProjectId, key_id: &str) -> Result<bool, SecretsError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.key_id(project)?.is_none_or(|id| id != key_id) {
            return Ok(false);
        }
        let path = self.path(project);
        let removed = remove(&path).and_then(|()| sync_folder(&self.folder));
        removed.map_err(|source| failed(&path, source))?;
        Ok(true)
    }

    fn read(&self, project: &ProjectId) -> Result<Option<ProjectKey>, SecretsError> {
        let path = self.path(project);
        read(&path).map_err(|source| failed(&path, source))
    }

    fn key_or_new(&self, path: &Path) -> io::Result<ProjectKey> {
        if let Some(key) = read(path)? {
            return Ok(key);
        }
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = read(path)? {
            return Ok(key);
        }
        let bytes = clock::secret()?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        if let Some(data) = self.folder.parent() {
            sync_folder(data)?;
        }
        let unfinished = path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        sync_folder(&self.folder)?;
        Ok(ProjectKey::new(bytes))
    }

    /// The file of a project's key; any name is a project's.
    fn path(&self, project: &ProjectId) -> PathBuf {
        let name: String = byte_serialize(project.0.as_bytes()).collect();
        self.folder.join(format!("{name}.key"))
    }
}

/// What is sealed is bound to the variable's name: moved to another one it does not open.
fn bound<'a>(name: &'a str, bytes: &'a [u8]) -> Payload<'a, 'a> {
    Payload { msg: bytes, aad: name.as_bytes() }
}

fn failed(path: &Path, source: io::Error) -> SecretsError {
    SecretsError::Io { path: path.display().to_string(), source }
}

fn read(path: &Path) -> io::Result<Option<ProjectKey>> {
    match fs::read(path) {
        // Erasing it was cut off between overwriting and removing.
        Ok(bytes) if bytes == [0; KEY_BYTES] => Ok(None),
        Ok(bytes) => {
            let key = bytes.try_into().map_err(|bytes: Vec<u8>| {
                io::Error::other(format!("is damaged: {} bytes, not {KEY_BYTES}", bytes.len()))
            })?;
            Ok(Some(ProjectKey::new(key)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Overwrites a file before removing it. Copies that the disk keeps below the file system cannot be
/// reached.
fn remove(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(&[0; KEY_BYTES])?;
    file.sync_all()?;
    fs::remove_file(path)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("A", "hunter2"), ("B", "hunter2"), ("EMPTY", ""), ("LONG", &"ü".repeat(9_000))]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn sealed(secrets: &Secrets, project: &ProjectId) -> BTreeMap<String, String> {
        let mut sealed = variables();
        secrets.seal(project, &mut sealed).unwrap();
        sealed
    }

    #[test]
    fn what_is_sealed_opens_with_the_projects_key_alone() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(home.path().join("keys"));
        let (mine, other) = (ProjectId("../Ä b".to_owned()), ProjectId::default());
        let sealed = sealed(&secrets, &mine);
        assert!(sealed.values().all(|value| value.starts_with(SEALED)));
        assert_ne!(sealed["A"].rsplit(':').next(), sealed["B"].rsplit(':').next());
        let open = |project: &ProjectId, mut values: BTreeMap<String, String>| {
            Secrets::new(home.path().join("keys")).open(project, &mut values).map(|()| values)
        };
        assert_eq!(open(&mine, sealed.clone()).unwrap(), variables());
        assert!(matches!(open(&other, sealed.clone()), Err(SecretsError::Erased { .. })));
        let swapped = [("A", "B"), ("B", "A")].map(|(to, from)| (to.into(), sealed[from].clone()));
        assert!(matches!(open(&mine, swapped.into()), Err(SecretsError::Damaged(_))));
        for bad in ["", "x", "::", "x:y", "x:eA=="] {
            let value = [("A".to_owned(), format!("{SEALED}{bad}"))].into();
            assert!(open(&mine, value).is_err(), "{bad}");
        }
        let plain = variables();
        assert_eq!(open(&other, plain.clone()).unwrap(), plain, "from before values were sealed");
        let key = fs::read_dir(home.path().join("keys")).unwrap().next().unwrap().unwrap();
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn f53_what_was_sealed_with_an_erased_key_is_lost_and_new_values_are_not() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(home.path().join("keys"));
        let (mine, other) = (ProjectId("p".to_owned()), ProjectId("q".to_owned()));
        assert_eq!(secrets.key_id(&mine).unwrap(), None);
        let (mut old, mut others) = (sealed(&secrets, &mine), sealed(&secrets, &other));
        let id = secrets.key_id(&mine).unwrap().unwrap();
        assert!(old["A"].contains(&id));
        assert!(!secrets.erase(&other, &id).unwrap(), "it is not theirs");
        assert!(secrets.erase(&mine, &id).unwrap());
        assert!(!secrets.erase(&mine, &id).unwrap(), "it is gone");
        let mut new = sealed(&secrets, &mine);
        let words = secrets.open(&mine, &mut old).unwrap_err().to_string();
        assert!(words.contains("variable A can no longer be read: the key"), "{words}");
        secrets.open(&mine, &mut new).unwrap();
        secrets.open(&other, &mut others).unwrap();
        assert_eq!((new, others), (variables(), variables()));
    }

    #[test]
    fn a_key_whose_erasing_was_cut_off_is_none() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(home.path().to_owned());
        let project = ProjectId::default();
        let mut old = sealed(&secrets, &project);
        fs::write(home.path().join("default.key"), [0; KEY_BYTES]).unwrap();
        assert_eq!(secrets.key_id(&project).unwrap(), None);
        let mut new = sealed(&secrets, &project);
        assert!(secrets.open(&project, &mut old).is_err());
        secrets.open(&project, &mut new).unwrap();
        assert_ne!(fs::read(home.path().join("default.key")).unwrap(), [0; KEY_BYTES]);
    }

    #[test]
    fn a_key_that_is_damaged_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(home.path().to_owned());
        let project = ProjectId::default();
        drop(sealed(&secrets, &project));
        fs::write(home.path().join("default.key"), "short").unwrap();
        let words = secrets.seal(&project, &mut variables()).unwrap_err().to_string();
        assert!(words.ends_with("default.key: is damaged: 5 bytes, not 32"), "{words}");
        assert_eq!(fs::read(home.path().join("default.key")).unwrap(), b"short");
    }
}
