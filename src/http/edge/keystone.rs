//! Token validation by Keystone: asked once for all requests with the same token, and cached for
//! seconds.
//!
//! Keystone decides; its answer is used for at most [`FRESH`], never beyond the token's expiry.
//! Without an answer nobody is admitted. Not here: what an answer must be like (`validated`),
//! permissions (`policy`).

use std::collections::HashSet;
use std::fmt;
use std::mem::discriminant;
use std::net::IpAddr;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use reqwest::{Client, Response};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::identity::{Identity, Nobody, Seen, Token};
use super::known::{KnownTokens, Party};
use super::turns::Turns;
use super::validated::{self, Unusable};
use crate::clock;
use crate::config::{AdminProject, KeystoneConfig};
use crate::credentials::{TIMEOUT, TokenError, cause, client};

/// How old an answer may be. With the asking, what Keystone revokes is noticed within 5 s.
const FRESH: Duration = Duration::from_secs(4);

/// How long nobody asks again after Keystone gave no answer: what `Retry-After` says.
const PAUSE: Duration = Duration::from_secs(1);

/// Questions at once: more would only wait at Keystone, and take places there from others.
const MAX_QUESTIONS: usize = 16;

/// Of these, questions about the tokens of one project, or about all those that were not valid when
/// they were asked about last. The others stay free for everybody else, however many come.
const MAX_OF_PARTY: usize = 12;

/// Strangers who are asked about or wait for it: with 200 ms for an answer, who comes last waits
/// for a second. More are told to come again.
const MAX_WAITING: usize = 5 * MAX_OF_PARTY;

/// The way to Keystone.
pub struct Keystone {
    http: Client,
    config: KeystoneConfig,
    /// The service's own token.
    own: Mutex<Option<HeaderValue>>,
    admin: AdminProject,
    questions: Turns<Party>,
    /// Of strangers, by where they are: half of them for those at one place.
    waiting: Turns<Option<IpAddr>>,
    known: Lock<KnownTokens>,
    /// What stands in the way, as it was logged last.
    trouble: Lock<Option<Trouble>>,
    /// What was wrong with tokens that Keystone calls valid, as it was logged.
    oddities: Lock<HashSet<&'static str>>,
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
    pub fn new(config: KeystoneConfig, admin: AdminProject) -> reqwest::Result<Self> {
        Ok(Self {
            http: client()?,
            config,
            own: Mutex::new(None),
            admin,
            questions: Turns::new(MAX_QUESTIONS, MAX_OF_PARTY),
            waiting: Turns::new(MAX_WAITING, MAX_WAITING / 2),
            known: Lock::default(),
            trouble: Lock::default(),
            oddities: Lock::default(),
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
    /// answer. `client` is where the request comes from.
    pub async fn whose(&self, token: &Token, client: Option<IpAddr>) -> Seen {
        let (entry, party) = locked(&self.known).entry(token.hash());
        let mut seen = entry.lock().await;
        if let Some(seen) = seen.as_ref().filter(|seen| seen.until > Instant::now()) {
            return seen.clone();
        }
        let asked = Instant::now();
        let answer = self.ask(token, &party, client).await;
        let until = match &answer {
            Ok(identity) => {
                let left = Duration::from_millis(identity.expires_at.since_ms(clock::now()));
                asked + FRESH.min(left)
            }
            Err(Nobody::Refused) => asked + FRESH,
            Err(Nobody::Away) => Instant::now() + PAUSE,
            // Nobody was asked: what was known stays known.
            Err(Nobody::Busy) => return Seen { answer, until: Instant::now() },
        };
        let seen = seen.insert(Seen { answer, until }).clone();
        locked(&self.known).learn(token.hash(), &entry, &seen);
        seen
    }

    async fn ask(
        &self,
        token: &Token,
        party: &Party,
        client: Option<IpAddr>,
    ) -> Result<Identity, Nobody> {
        let is_stranger = *party == Party::Strangers;
        let queued = is_stranger.then(|| self.waiting.try_take(&client).ok_or(Nobody::Busy));
        let _queued = queued.transpose()?;
        let until = Instant::now() + TIMEOUT;
        let turn = timeout_at(until, self.questions.take(party)).await;
        let _turn = turn.map_err(|_| Nobody::Busy)?;
        let answer = timeout_at(until, self.validated(token)).await;
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
            200 => match validated::identity(answer, &self.admin).await {
                Ok(identity) => Ok(Some(identity)),
                Err(Unusable::Answer(words)) => {
                    Err(Trouble::Away(format!("{}: {words}", self.url())))
                }
                Err(Unusable::Token(words)) => {
                    self.refuse_odd(words);
                    Ok(None)
                }
            },
            400 | 404 => Ok(None),
            401 | 403 => Err(Trouble::Rights),
            status => Err(Trouble::Away(format!("{} answered {status}", self.url()))),
        }
    }

    /// Logs what is wrong with a token that Keystone calls valid, once: anybody may have many.
    fn refuse_odd(&self, words: &'static str) {
        if locked(&self.oddities).insert(words) {
            let keystone = self.url();
            tracing::warn!(keystone, "tokens that Keystone calls valid are refused: {words}");
        }
    }

    async fn send(&self, token: &Token, own: &HeaderValue) -> Result<Response, Trouble> {
        let url = format!("{}/v3/auth/tokens?nocatalog", self.url());
        let request = self.http.get(url).header("x-auth-token", own);
        let answer = request.header("x-subject-token", token.text()).send().await;
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
