//! Values that the log keeps forever and that can still be erased: each is sealed
//! (XChaCha20-Poly1305) with a key of its project, which is stored beside the log and not in
//! backups. Without the key the value is unreadable in every copy of the log (crypto-shredding).
//!
//! The API seals values on the way in, so no event, command or read model contains one in the
//! clear; `backends/unsealing.rs` opens them. Digests of requests are keyed as well: a bare hash
//! lets whoever has the log guess the values. Not here: which values are secret.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use form_urlencoded::byte_serialize;
use zeroize::{Zeroize, Zeroizing};

use crate::clock;
use crate::files::{self, sync_names};
use crate::ids::ProjectId;

/// What a sealed value starts with; what does not was recorded before values were sealed.
const SEALED: &str = "sealed:v1:";

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Bytes of a nonce: long enough to be drawn at random for each value.
const NONCE_BYTES: usize = 24;

/// Bytes of a key's id, which is shown in hex.
const ID_BYTES: usize = 8;

/// Bytes of a request's digest, as the log has room for.
const DIGEST_BYTES: usize = 32;

/// What a keyed digest starts with, before the key's id. A bare hash, as earlier versions recorded
/// it, starts so once in four billion.
const KEYED: [u8; 4] = *b"key1";

/// What the key for digests is derived for: no other use of the project's key gives the same.
const DIGEST_CONTEXT: &str = "magnum 2026-11-30 digests of requests";

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

/// What distinguishes one request from another with the same idempotency key.
pub type Digest = [u8; DIGEST_BYTES];

/// A project's key and what it is called. Its bytes are wiped when it is dropped.
struct ProjectKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: [u8; ID_BYTES],
}

impl ProjectKey {
    fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(blake3::hash(&*bytes).as_bytes()).for_each(|(to, from)| *to = *from);
        Self { bytes, id }
    }

    /// What values are sealed with; wipes itself too.
    fn cipher(&self) -> XChaCha20Poly1305 {
        let mut key = Key::from(*self.bytes);
        let cipher = XChaCha20Poly1305::new(&key);
        key.as_mut_slice().zeroize();
        cipher
    }

    fn id(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Starts with [`KEYED`] and the id; the rest, 160 bits, nobody can make without the key.
    fn digest(&self, request: &Digest) -> Digest {
        let key = Zeroizing::new(blake3::derive_key(DIGEST_CONTEXT, &*self.bytes));
        let code = blake3::keyed_hash(&key, request);
        let mut digest = Digest::default();
        let source = KEYED.iter().chain(&self.id).chain(code.as_bytes());
        digest.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
        digest
    }
}

/// The id of the key that a digest was made with; `None` of a bare hash.
pub fn key_of(digest: &Digest) -> Option<&[u8]> {
    digest.strip_prefix(&KEYED)?.get(..ID_BYTES)
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
        let cipher = key.cipher();
        for (name, value) in variables {
            let random = clock::secret().map_err(|source| failed(&path, source))?;
            let mut nonce = XNonce::default();
            nonce.iter_mut().zip(random).for_each(|(to, from)| *to = from);
            // Only what is longer than a body can be does not fit.
            let sealed = cipher
                .encrypt(&nonce, bound(name, value.as_bytes()))
                .map_err(|_| failed(&path, ErrorKind::FileTooLarge.into()))?;
            let text = STANDARD.encode([nonce.as_slice(), &sealed].concat());
            value.zeroize();
            *value = format!("{SEALED}{}:{text}", key.id());
        }
        Ok(())
    }

    /// The digest of a request under the project's key, which is made if there is none: once the
    /// key is erased, nobody can find out by guessing what the request was.
    ///
    /// # Errors
    /// When the key cannot be read or made.
    pub fn digest(&self, project: &ProjectId, request: &Digest) -> Result<Digest, SecretsError> {
        let path = self.path(project);
        let key = self.key_or_new(&path).map_err(|source| failed(&path, source))?;
        Ok(key.digest(request))
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
            let key = key.as_ref().filter(|key| key.id() == id);
            let key = key.ok_or_else(|| SecretsError::Erased {
                variable: name.clone(),
                key: id.to_owned(),
                project: project.clone(),
            })?;
            let bytes = STANDARD.decode(text).map_err(|_| damaged())?;
            let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(damaged)?;
            let nonce = XNonce::try_from(nonce).map_err(|_| damaged())?;
            let opened = key.cipher().decrypt(&nonce, bound(name, sealed));
            *value = String::from_utf8(opened.map_err(|_| damaged())?).map_err(|error| {
                error.into_bytes().zeroize();
                damaged()
            })?;
        }
        Ok(())
    }

    /// The id of the key that a project's values are sealed with now; `None` if it has no key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn key_id(&self, project: &ProjectId) -> Result<Option<String>, SecretsError> {
        Ok(self.read(project)?.map(|key| key.id()))
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
        let removed = remove(&path).and_then(|()| sync_names(&self.folder));
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
        let bytes = Zeroizing::new(clock::secret()?);
        files::create_folders(&self.folder)?;
        if let Some(data) = self.folder.parent() {
            sync_names(data)?;
        }
        let unfinished = path.with_extension("new");
        let mut file = files::create(&unfinished)?;
        file.write_all(&*bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        sync_names(&self.folder)?;
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
    let file = match files::open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // With room for one byte too many, so that reading leaves no copy in memory that was outgrown.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if bytes.len() != key.len() {
        let found = fs::symlink_metadata(path)?.len();
        return Err(io::Error::other(format!("is damaged: {found} bytes, not {KEY_BYTES}")));
    }
    key.copy_from_slice(&bytes);
    // Erasing it was cut off between overwriting and removing.
    Ok((*key != [0; KEY_BYTES]).then(|| ProjectKey::new(key)))
}

/// Overwrites a file before removing it. Copies that the disk keeps below the file system cannot be
/// reached.
fn remove(path: &Path) -> io::Result<()> {
    let mut file = files::open(path, true)?;
    file.write_all(&[0; KEY_BYTES])?;
    file.sync_all()?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

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

    #[test]
    fn a_digest_is_the_same_again_and_another_for_anything_else() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(home.path().to_owned());
        let (mine, other) = (ProjectId("p".to_owned()), ProjectId("q".to_owned()));
        let first = secrets.digest(&mine, &[1; 32]).unwrap();
        // As after a restart.
        let again = Secrets::new(home.path().to_owned());
        assert_eq!(again.digest(&mine, &[1; 32]).unwrap(), first);
        for (project, request) in [(&mine, [2; 32]), (&other, [1; 32])] {
            assert_ne!(secrets.digest(project, &request).unwrap(), first);
        }
        let id = secrets.key_id(&mine).unwrap().unwrap();
        let named: String = key_of(&first).unwrap().iter().map(|it| format!("{it:02x}")).collect();
        assert_eq!(named, id);
        assert_eq!(key_of(blake3::hash(&[1; 32]).as_bytes()), None);
        // It does not come from the values' key as it is, and nothing of it is the bare hash.
        let bytes: [u8; 32] = fs::read(home.path().join("p.key")).unwrap().try_into().unwrap();
        for guess in [blake3::hash(&[1; 32]), blake3::keyed_hash(&bytes, &[1; 32])] {
            assert!(!guess.as_bytes().starts_with(&first[12..]), "it can be guessed");
        }
    }

    #[test]
    fn a_digest_can_not_be_made_again_once_the_key_is_erased() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(home.path().to_owned());
        let project = ProjectId::default();
        let first = secrets.digest(&project, &[1; 32]).unwrap();
        let id = secrets.key_id(&project).unwrap().unwrap();
        assert!(secrets.erase(&project, &id).unwrap());
        let second = secrets.digest(&project, &[1; 32]).unwrap();
        assert_ne!(key_of(&first), key_of(&second));
        assert_ne!(first[12..], second[12..]);
    }

    #[test]
    fn links_to_elsewhere_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (folder, outside) = (home.path().join("keys"), home.path().join("outside"));
        files::create_folder(&folder).unwrap();
        fs::write(&outside, [7; KEY_BYTES]).unwrap();
        let (secrets, project) = (Secrets::new(folder.clone()), ProjectId::default());
        symlink(&outside, folder.join("default.new")).unwrap();
        drop(sealed(&secrets, &project));
        assert_eq!(fs::read(&outside).unwrap(), [7; KEY_BYTES], "the key is not written there");
        symlink(&outside, folder.join("q.key")).unwrap();
        let other = ProjectId("q".to_owned());
        let words = secrets.key_id(&other).unwrap_err().to_string();
        assert!(words.ends_with("a symbolic link, which is not followed"), "{words}");
        assert!(secrets.erase(&other, "x").is_err());
    }
}
