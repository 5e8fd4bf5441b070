//! Token validation by Keystone: asked once for all requests with the same token, and cached for
//! seconds.
//!
//! Keystone decides; its answer is used for at most [`FRESH`], never beyond the token's expiry.
//! Without an answer nobody is admitted. Not here: permissions (`auth`).

use std::collections::HashMap;
use std::fmt;
use std::mem::discriminant;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use reqwest::{Client, Response};
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use crate::clock;
use crate::config::KeystoneConfig;
use crate::credentials::{TIMEOUT, TokenError, cause, client};
use crate::ids::{ProjectId, Timestamp};

/// How old an answer may be. With the asking, what Keystone revokes is noticed within 5 s.
const FRESH: Duration = Duration::from_secs(4);

/// How long nobody asks again after Keystone gave no answer: what `Retry-After` says.
const PAUSE: Duration = Duration::from_secs(1);

/// Tokens that are remembered: about 1 MB. With more at once, some are asked for more often.
const MAX_TOKENS: usize = 4096;

/// Questions at once: more would only wait at Keystone, and take places there from others.
const MAX_QUESTIONS: usize = 16;

/// Longest token, in bytes: several times what Keystone has issued since its tokens are Fernet's.
const MAX_TOKEN_BYTES: usize = 2048;

/// A token as it came. Known by its hash; itself it is sent to Keystone and shown to nobody.
#[derive(Clone, Debug)]
pub struct Token {
    text: HeaderValue,
    hash: [u8; 32],
}

impl Token {
    /// A token that may be one.
    pub fn new(text: &HeaderValue) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_plain = bytes.iter().all(u8::is_ascii_graphic);
        (is_plain && (1..=MAX_TOKEN_BYTES).contains(&bytes.len())).then(|| {
            let mut text = text.clone();
            text.set_sensitive(true);
            Self { hash: *blake3::hash(text.as_bytes()).as_bytes(), text }
        })
    }

    /// What it is known by.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's id.
    pub user: String,
    /// The project that the token is for, if any.
    pub project: Option<ProjectId>,
    /// The user's roles there.
    pub roles: Vec<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Why nobody knows whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// It is not a token, or no longer valid.
    Refused,
    /// Keystone gives no answer that helps.
    Away,
}

/// An answer, and until when it is used.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whose it is.
    pub answer: Result<Identity, Nobody>,
    /// Then Keystone is asked again.
    pub until: Instant,
}

type CachedToken = Arc<Mutex<Option<Seen>>>;

/// The way to Keystone.
pub struct Keystone {
    http: Client,
    config: KeystoneConfig,
    /// The service's own token.
    own: Mutex<Option<HeaderValue>>,
    questions: Semaphore,
    known: Lock<HashMap<[u8; 32], CachedToken>>,
    /// What stands in the way, as it was logged last.
    trouble: Lock<Option<Trouble>>,
}

/// Why Keystone gives no answer that helps; for the log.
#[derive(Clone, Debug, thiserror::Error)]
enum Trouble {
    #[error("Keystone is unavailable: {0}")]
    Away(String),
    #[error(
        "{0}: check --keystone-username, --keystone-project, their domains, and \
         MAGNUM_KEYSTONE_PASSWORD or --keystone-password-file"
    )]
    Credentials(String),
    #[error(
        "Keystone does not let the service validate tokens: check that its user has the role \
         service or admin in its project (--keystone-username, --keystone-project)"
    )]
    Rights,
}

impl Keystone {
    /// Before the first request.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn new(config: KeystoneConfig) -> reqwest::Result<Self> {
        Ok(Self {
            http: client()?,
            config,
            own: Mutex::new(None),
            questions: Semaphore::new(MAX_QUESTIONS),
            known: Lock::default(),
            trouble: Lock::default(),
        })
    }

    /// Where users get tokens.
    pub fn url(&self) -> &str {
        &self.config.url
    }

    /// Gets the service's own token, so that what is wrong with that is logged at the start.
    pub async fn sign_in(self: Arc<Self>) {
        self.tell(self.own_token(None).await.err().as_ref());
    }

    /// Whose token it is: as it is known, or as Keystone says now. Concurrent callers share one
    /// answer.
    pub async fn whose(&self, token: &Token) -> Seen {
        let entry = self.entry(token.hash);
        let mut seen = entry.lock().await;
        if let Some(seen) = seen.as_ref().filter(|seen| seen.until > Instant::now()) {
            return seen.clone();
        }
        let asked = Instant::now();
        let answer = self.ask(token).await;
        let until = match &answer {
            Ok(identity) => {
                let left = Duration::from_millis(identity.expires_at.since_ms(clock::now()));
                asked + FRESH.min(left)
            }
            Err(Nobody::Refused) => asked + FRESH,
            Err(Nobody::Away) => Instant::now() + PAUSE,
        };
        seen.insert(Seen { answer, until }).clone()
    }

    fn entry(&self, hash: [u8; 32]) -> CachedToken {
        let mut known = locked(&self.known);
        if known.len() >= MAX_TOKENS && !known.contains_key(&hash) {
            let now = Instant::now();
            // What is being asked for stays, so that nobody asks beside it.
            known.retain(|_, entry| match entry.try_lock() {
                Ok(seen) => seen.as_ref().is_some_and(|seen| seen.until > now),
                Err(_) => true,
            });
            if known.len() >= MAX_TOKENS {
                known.clear();
            }
        }
        Arc::clone(known.entry(hash).or_default())
    }

    async fn ask(&self, token: &Token) -> Result<Identity, Nobody> {
        let asked = async {
            let _place = self.questions.acquire().await;
            self.validated(token).await
        };
        let answer = tokio::time::timeout(TIMEOUT, asked).await;
        let late = |_| Err(Trouble::Away(format!("no answer within {} s", TIMEOUT.as_secs())));
        let answer = answer.unwrap_or_else(late);
        self.tell(answer.as_ref().err());
        match answer {
            Ok(Some(identity)) => Ok(identity),
            Ok(None) => Err(Nobody::Refused),
            Err(_) => Err(Nobody::Away),
        }
    }

    /// Logs what stands in the way, once, whatever words it comes in.
    fn tell(&self, trouble: Option<&Trouble>) {
        let mut told = locked(&self.trouble);
        if told.as_ref().map(discriminant) == trouble.map(discriminant) {
            return;
        }
        match trouble {
            Some(trouble) => tracing::error!("cannot authenticate requests: {trouble}"),
            None => tracing::info!("requests can be authenticated again"),
        }
        *told = trouble.cloned();
    }

    /// Whose token it is; `None` if it is not a token.
    async fn validated(&self, token: &Token) -> Result<Option<Identity>, Trouble> {
        let mut own = self.own_token(None).await?;
        let mut answer = self.send(token, &own).await?;
        if answer.status() == 401 {
            // Ours has expired or was revoked.
            own = self.own_token(Some(&own)).await?;
            answer = self.send(token, &own).await?;
        }
        match answer.status().as_u16() {
            200 => {
                let answer = answer.json::<Validated>().await;
                let answer = answer.map_err(|error| Trouble::Away(cause(&error)))?;
                Ok(Some(answer.token.into()))
            }
            400 | 404 => Ok(None),
            401 | 403 => Err(Trouble::Rights),
            status => Err(Trouble::Away(format!("{} answered {status}", self.url()))),
        }
    }

    async fn send(&self, token: &Token, own: &HeaderValue) -> Result<Response, Trouble> {
        let url = format!("{}/v3/auth/tokens?nocatalog", self.url());
        let request = self.http.get(url).header("x-auth-token", own);
        let answer = request.header("x-subject-token", &token.text).send().await;
        answer.map_err(|error| Trouble::Away(format!("{}: {}", self.url(), cause(&error))))
    }

    /// The service's own token; a new one in place of one that was rejected.
    async fn own_token(&self, rejected: Option<&HeaderValue>) -> Result<HeaderValue, Trouble> {
        let mut own = self.own.lock().await;
        if let Some(token) = own.as_ref().filter(|token| Some(*token) != rejected) {
            return Ok(token.clone());
        }
        let new = self.config.credentials.token(&self.http, self.url()).await;
        let token = new.map_err(|error| match error {
            TokenError::Refused(_) => Trouble::Credentials(error.to_string()),
            TokenError::Unavailable(..) => Trouble::Away(error.to_string()),
        })?;
        Ok(own.insert(token).clone())
    }
}

impl fmt::Debug for Keystone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystone").field("config", &self.config).finish_non_exhaustive()
    }
}

pub(super) fn locked<T>(lock: &Lock<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What Keystone says of a token.
#[derive(Deserialize)]
struct Validated {
    token: Valid,
}

#[derive(Deserialize)]
struct Valid {
    user: Id,
    project: Option<Id>,
    #[serde(default)]
    roles: Vec<Role>,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

impl From<Valid> for Identity {
    fn from(valid: Valid) -> Self {
        // The service's own project does not belong to a tenant: Keystone has a domain of this
        // name, which can be made to pass for a project.
        let project = valid.project.map(|project| ProjectId(project.id));
        Self {
            user: valid.user.id,
            project: project.filter(|project| *project != ProjectId::default()),
            roles: valid.roles.into_iter().map(|role| role.name).collect(),
            expires_at: valid.expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_text_of_a_sensible_length_and_shown_to_nobody() {
        let token = |text: &str| Token::new(&HeaderValue::from_str(text).unwrap());
        for bad in ["", "a b", "a\tb", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(token(bad).is_none(), "{bad}");
        }
        let shown = format!("{:?}", token("gAAAAAB-_secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn no_token_is_for_the_project_of_the_service() {
        let valid = |project: &str| {
            let text = format!(
                "{{\"user\": {{\"id\": \"u\"}}, \"project\": {{\"id\": \"{project}\"}}, \
                 \"expires_at\": \"2026-11-28T22:34:27.000000Z\"}}"
            );
            Identity::from(serde_json::from_str::<Valid>(&text).unwrap()).project
        };
        assert_eq!(valid("p"), Some(ProjectId("p".to_owned())));
        assert_eq!(valid("default"), None);
    }
}
