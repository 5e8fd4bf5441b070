//! The digest of a request with an `Idempotency-Key`, as it is recorded and compared.
//!
//! It is keyed with the project's key, so that a log without that key does not confirm guesses of
//! what was in the body (`secrets`). Not here: what is hashed (`request`), the comparison itself
//! (`actors/perform`).

use super::state::AppState;
use crate::blocking;
use crate::events::log::export::to_hex;
use crate::http::error::ApiError;
use crate::ids::{CommandId, ProjectId};
use crate::secrets::{Digest, key_of};

/// The digest of a request that is `bare` without a key; the recorded one where the request is the
/// same, or where nobody can tell any more.
///
/// # Errors
/// When the project's key cannot be read or made, or the log cannot be read.
pub async fn of(
    state: &AppState,
    project: &ProjectId,
    id: &CommandId,
    bare: Digest,
) -> Result<Digest, ApiError> {
    let (secrets, log) = (state.secrets.clone(), state.log.clone());
    let (project, id) = (project.clone(), id.clone());
    let found = blocking::run(move || {
        let keyed = secrets.digest(&project, &bare)?;
        let seen = log.command(&id)?;
        Ok(seen.map_or(keyed, |seen| comparable(seen.digest, bare, keyed)))
    });
    found.await.map_err(ApiError::Internal)?
}

/// What is to be compared with a recorded digest: that one itself if the request counts as the
/// same.
fn comparable(seen: Digest, bare: Digest, keyed: Digest) -> Digest {
    let is_same = match key_of(&seen) {
        None => seen == earlier(bare),
        // The key was erased, or the log was restored without it. A retry must have one effect, so
        // it gets the first answer; only the check for a key that was used twice is lost.
        Some(key) => key_of(&keyed) != Some(key),
    };
    if is_same { seen } else { keyed }
}

/// What earlier versions recorded.
fn earlier(bare: Digest) -> Digest {
    *blake3::hash(to_hex(&bare).as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Secrets;

    #[test]
    fn requests_are_compared_with_what_any_version_recorded() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(home.path().to_owned());
        let project = ProjectId::default();
        let keyed = |bare: &Digest| secrets.digest(&project, bare).unwrap();
        let (one, two) = ([1; 32], [2; 32]);
        assert_eq!(comparable(keyed(&one), one, keyed(&one)), keyed(&one));
        assert_ne!(comparable(keyed(&one), two, keyed(&two)), keyed(&one), "another body");
        assert_eq!(comparable(earlier(one), one, keyed(&one)), earlier(one), "from before");
        assert_ne!(comparable(earlier(one), two, keyed(&two)), earlier(one), "another body");
        let before = keyed(&one);
        let id = secrets.key_id(&project).unwrap().unwrap();
        assert!(secrets.erase(&project, &id).unwrap());
        assert_eq!(comparable(before, two, keyed(&two)), before, "nobody can tell");
    }
}
