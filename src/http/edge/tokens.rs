//! The service's own tokens as a source of identities: the list (`token_file`) in memory, read
//! again within a second of a change, so that one that was revoked is refused by then.
//!
//! That a token was issued or revoked is recorded by the server, because the log is its alone;
//! after a crash rather twice than never. Not here: what a token allows (`policy`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::audit::Audit;
use super::identity::{Identity, Nobody, Seen, Token};
use super::keystone::locked;
use super::token_file::{IssuedToken, LAST_END, TokenFile, TokenFileError, TokenUses, Version};
use crate::bus::{Audited, CommandError};
use crate::events::audit::{TokenCreatedV1, TokenRevokedV1};
use crate::events::log::export::to_hex;
use crate::ids::ProjectId;
use crate::{blocking, clock};

/// Between two looks at the file: how long a revoked token is still accepted at most.
const LOOK: Duration = Duration::from_secs(1);

/// Between two times that the last uses are written, and between two tries to record something.
const WRITE: Duration = Duration::from_secs(60);

/// The tokens that the service issued itself.
pub struct Tokens {
    file: TokenFile,
    /// The project whose admins are the operators.
    admin_project: String,
    known: Lock<TokenList>,
}

/// The list as it was read last.
struct TokenList {
    version: Option<Version>,
    /// By hash, in hex; `None` as long as it cannot be read: nobody is let in by an older one.
    tokens: Option<HashMap<String, IssuedToken>>,
    uses: TokenUses,
    is_used: bool,
}

impl Tokens {
    /// Reads the list.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(file: TokenFile, admin_project: String) -> Result<Self, TokenFileError> {
        let (version, tokens, uses) = (file.version(), file.read()?, file.uses()?);
        if tokens.is_empty() {
            tracing::warn!("there are no tokens: create one with magnum token create --role admin");
        }
        let tokens = Some(by_hash(tokens));
        let known = Lock::new(TokenList { version, tokens, uses, is_used: false });
        Ok(Self { file, admin_project, known })
    }

    /// Whose a token is.
    pub fn whose(&self, token: &Token) -> Seen {
        let now = clock::now();
        let mut known = locked(&self.known);
        let found = known.tokens.as_ref().map(|tokens| tokens.get(&to_hex(&token.hash())));
        let answer = match found {
            None => Err(Nobody::Away),
            Some(Some(issued)) if issued.is_valid(now) => Ok(issued.clone()),
            Some(_) => Err(Nobody::Refused),
        };
        if let Ok(issued) = &answer {
            known.uses.entry(issued.id.clone()).or_default().used_at = Some(now);
            known.is_used = true;
        }
        drop(known);
        let until = Instant::now() + LOOK;
        Seen { answer: answer.map(|issued| self.identity(issued)), until }
    }

    /// Why no token is accepted, if that is so.
    pub fn problem(&self) -> Option<String> {
        let is_unreadable = locked(&self.known).tokens.is_none();
        is_unreadable.then(|| {
            "no request can be authenticated: the list of tokens cannot be read; the log says why"
                .to_owned()
        })
    }

    fn identity(&self, issued: IssuedToken) -> Identity {
        let ProjectId(project) = &issued.project;
        Identity {
            in_admin_project: *project == self.admin_project,
            user: issued.user,
            project: Some(issued.project),
            roles: vec![issued.role],
            expires_at: issued.expires_at.unwrap_or(LAST_END),
            access_rules: None,
        }
    }

    /// Follows the file, and records what happens to tokens, as long as the service runs. The one
    /// does not wait for the other: a log that takes long keeps no revoked token alive.
    pub async fn follow(self: Arc<Self>, audit: Audit) {
        tokio::join!(self.look(), self.keep_books(&audit));
    }

    async fn look(self: &Arc<Self>) {
        loop {
            sleep(LOOK).await;
            let tokens = Arc::clone(self);
            if let Err(error) = blocking::run(move || tokens.refresh()).await {
                tracing::error!(%error, "the list of tokens was not looked at");
            }
        }
    }

    async fn keep_books(&self, audit: &Audit) {
        let (mut write_at, mut record_at) = (Instant::now() + WRITE, Instant::now());
        loop {
            let at_once = Instant::now() >= record_at;
            if at_once && let Err(error) = self.record(audit).await {
                tracing::error!(%error, "what happened to tokens is not on record yet");
                record_at = Instant::now() + WRITE;
            }
            if Instant::now() >= write_at && std::mem::take(&mut locked(&self.known).is_used) {
                self.write_uses().await;
                write_at = Instant::now() + WRITE;
            }
            sleep(LOOK).await;
        }
    }

    /// Reads the list again if it changed, or could not be read.
    fn refresh(&self) {
        let version = self.file.version();
        if locked(&self.known).version == version {
            return;
        }
        let read = self.file.read();
        let mut known = locked(&self.known);
        match read {
            Ok(tokens) => {
                known.uses.retain(|id, _| tokens.iter().any(|token| token.id == *id));
                (known.version, known.tokens) = (version, Some(by_hash(tokens)));
            }
            Err(error) => {
                // Said once, and tried again until it can be.
                if known.tokens.take().is_some() {
                    tracing::error!(%error, "nobody is let in: the list of tokens cannot be read");
                }
                known.version = None;
            }
        }
    }

    /// Records what is not on record yet of all tokens.
    async fn record(&self, audit: &Audit) -> Result<(), CommandError> {
        let (mut done, mut has_recorded) = (Ok(()), false);
        for (issued, is_revocation) in self.unrecorded() {
            let what = if is_revocation { revoked(&issued) } else { created(&issued) };
            done = audit.token(issued.project.clone(), what).await;
            if done.is_err() {
                break;
            }
            let mut known = locked(&self.known);
            let token = known.uses.entry(issued.id).or_default();
            token.created_recorded = true;
            token.revoked_recorded |= is_revocation;
            has_recorded = true;
        }
        if has_recorded {
            self.write_uses().await;
        }
        done
    }

    /// Tokens of which it is not on record that they were issued, or (true) revoked.
    fn unrecorded(&self) -> Vec<(IssuedToken, bool)> {
        let known = locked(&self.known);
        let mut found = Vec::new();
        for issued in known.tokens.iter().flat_map(HashMap::values) {
            let on_record = known.uses.get(&issued.id).copied().unwrap_or_default();
            if !on_record.created_recorded {
                found.push((issued.clone(), false));
            }
            if issued.revoked_at.is_some() && !on_record.revoked_recorded {
                found.push((issued.clone(), true));
            }
        }
        found
    }

    async fn write_uses(&self) {
        let (file, uses) = (self.file.clone(), locked(&self.known).uses.clone());
        let written = blocking::run(move || file.write_uses(&uses)).await;
        let written = written.and_then(|written| written.map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::error!(%error, "the last uses of tokens were not written");
        }
    }
}

fn by_hash(tokens: Vec<IssuedToken>) -> HashMap<String, IssuedToken> {
    tokens.into_iter().map(|token| (token.hash.clone(), token)).collect()
}

fn created(issued: &IssuedToken) -> Audited {
    let IssuedToken { id, user, role, expires_at, .. } = issued.clone();
    Audited::TokenCreated(TokenCreatedV1 { token: id, user, role, expires_at })
}

fn revoked(issued: &IssuedToken) -> Audited {
    let IssuedToken { id, user, role, .. } = issued.clone();
    Audited::TokenRevoked(TokenRevokedV1 { token: id, user, role })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use axum::http::HeaderValue;

    use super::*;
    use crate::http::edge::token_file::NewToken;

    #[tokio::test]
    async fn the_list_is_followed_and_nobody_is_let_in_by_one_that_cannot_be_read() {
        let data = tempfile::tempdir().unwrap();
        let file = TokenFile::new(data.path());
        let tokens = Tokens::open(file.clone(), "admin".to_owned()).unwrap();
        let issue = |project: &str| {
            let [project, user, role] = [project, "ann", "admin"].map(str::to_owned);
            file.create(NewToken { project, user, role, expires_at: None }).unwrap()
        };
        let whose = |text: &str| {
            tokens.refresh();
            tokens.whose(&Token::new(&HeaderValue::from_str(text).unwrap()).unwrap()).answer
        };
        let ((shop, issued), (admin, _)) = (issue("shop"), issue("admin"));
        let identity = whose(&shop).unwrap();
        assert_eq!((&*identity.user, identity.in_admin_project), ("ann", false));
        assert!(whose(&admin).unwrap().in_admin_project);
        assert_eq!(whose("mgt_other"), Err(Nobody::Refused));
        let text = fs::read(file.path()).unwrap();
        fs::write(file.path(), "{").unwrap();
        assert_eq!(whose(&admin), Err(Nobody::Away));
        assert_eq!(whose(&admin), Err(Nobody::Away), "still");
        assert!(tokens.problem().is_some());
        fs::write(file.path(), text).unwrap();
        whose(&admin).unwrap();
        assert_eq!(tokens.problem(), None);
        file.revoke(&issued.id).unwrap();
        assert_eq!(whose(&shop), Err(Nobody::Refused));
        whose(&admin).unwrap();
        let unrecorded = tokens.unrecorded();
        assert_eq!(unrecorded.len(), 3, "two were issued, and one of them was revoked");
        fs::remove_file(file.path()).unwrap();
        assert_eq!(whose(&admin), Err(Nobody::Refused));
    }
}
