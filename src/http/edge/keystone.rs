//! Token validation by Keystone: asked once for all requests with the same token, and cached for
//! seconds.
//!
//! Keystone decides; its answer is used for at most [`FRESH`], never beyond the token's expiry.
//! Without an answer nobody is admitted. Not here: what an answer must be like (`validated`),
//! permissions (`policy`).

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use reqwest::{Client, Response};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::identity::{Identity, Nobody, Seen, Token};
use super::known::{KnownTokens, Party};
use super::trouble::{Failure, Standing, Trouble};
use super::turns::Turns;
use super::validated::{self, Unusable};
use crate::clock;
use crate::config::{AdminProject, KeystoneConfig};
use crate::credentials::{self, TIMEOUT, TokenError, cause, is_untrusted};

/// How old an answer may be. With the asking, what Keystone revokes is noticed within 5 s.
const FRESH: Duration = Duration::from_secs(4);

/// How long nobody asks again after Keystone gave no answer: what `Retry-After` says.
const PAUSE: Duration = Duration::from_secs(1);

/// How long nothing need be asked before the service asks about itself: by so much monitoring is
/// late when there are no requests.
const LOOK: Duration = Duration::from_secs(5);

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
    /// It verifies Keystone with the authorities that were read last.
    http: Lock<Client>,
    config: KeystoneConfig,
    /// The service's own token.
    own: Mutex<Option<HeaderValue>>,
    admin: AdminProject,
    questions: Turns<Party>,
    /// Of strangers, by where they are: half of them for those at one place.
    waiting: Turns<Option<IpAddr>>,
    known: Lock<KnownTokens>,
    /// Whether it can be asked, as far as is known.
    standing: Standing,
    /// A question went unanswered: that may be about its token alone, or about Keystone.
    doubt: Notify,
    /// A valid token that Keystone does not let the service see. What it says of the service's own
    /// and of invalid ones does not show whether it does.
    hidden: Lock<Option<Token>>,
    /// What was wrong with tokens that Keystone calls valid, as it was logged.
    oddities: Lock<HashSet<&'static str>>,
}

impl Keystone {
    /// Before the first request.
    ///
    /// # Errors
    /// In words, when there can be no HTTP client that verifies Keystone.
    pub fn new(config: KeystoneConfig, admin: AdminProject) -> Result<Self, String> {
        Ok(Self {
            http: Lock::new(client(&config)?),
            config,
            own: Mutex::new(None),
            admin,
            questions: Turns::new(MAX_QUESTIONS, MAX_OF_PARTY),
            waiting: Turns::new(MAX_WAITING, MAX_WAITING / 2),
            known: Lock::default(),
            standing: Standing::new(),
            doubt: Notify::new(),
            hidden: Lock::default(),
            oddities: Lock::default(),
        })
    }

    /// Where users get tokens.
    pub fn url(&self) -> &str {
        &self.config.url
    }

    /// Why it cannot be asked, if that is so.
    pub fn problem(&self) -> Option<String> {
        self.standing.problem()
    }

    /// Whether it is there, but one of it and the service does not accept the other.
    pub fn is_distrusted(&self) -> bool {
        self.standing.trouble().is_some_and(Trouble::is_distrust)
    }

    /// Starts what it does by itself as long as the service runs.
    pub fn start(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(self).watch());
        if self.config.cacert.is_none() {
            return;
        }
        match signal(SignalKind::hangup()) {
            Ok(hangups) => drop(tokio::spawn(Arc::clone(self).reload(hangups))),
            Err(error) => tracing::error!(%error, "--keystone-cacert is not read again on SIGHUP"),
        }
    }

    /// Reads the authorities again whenever SIGHUP comes. A file that is broken then is logged, and
    /// they stay as they are.
    async fn reload(self: Arc<Self>, mut hangups: Signal) {
        while hangups.recv().await.is_some() {
            match client(&self.config) {
                Ok(client) => {
                    *locked(&self.http) = client;
                    tracing::info!("the authorities that verify Keystone were read again");
                    // Whether they do is known at once.
                    self.doubt.notify_one();
                }
                Err(error) => {
                    tracing::error!(error, "Keystone's authorities were not reloaded; they stay");
                }
            }
        }
    }

    /// Asks about the service itself now and then, and when a question went unanswered, so that it
    /// is known whether Keystone can be asked, whoever else comes.
    async fn watch(self: Arc<Self>) {
        loop {
            self.look().await;
            // Not more often, whatever strangers bring.
            sleep(PAUSE).await;
            let _doubted = timeout(LOOK, self.doubt.notified()).await;
        }
    }

    async fn look(&self) {
        let hidden = locked(&self.hidden).clone();
        let asks_about_hidden = hidden.is_some();
        let answer = async {
            let own = self.own_token(None).await?;
            let own = || Token::new(&own).ok_or_else(|| self.away("its token is not one"));
            let token = hidden.map_or_else(own, Ok)?;
            self.validated(&token).await
        };
        match timeout(TIMEOUT, answer).await.unwrap_or_else(|_| Err(self.late())) {
            // One came up meanwhile: that is asked about next.
            Ok(_) if !asks_about_hidden && locked(&self.hidden).is_some() => {}
            Ok(_) => self.works(),
            Err(failure) => self.standing.fails(&failure),
        }
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
        let answer = answer.unwrap_or_else(|_| Err(self.late()));
        self.learn(token, answer.as_ref());
        match answer {
            Ok(Some(identity)) => Ok(identity),
            Ok(None) => Err(Nobody::Refused),
            Err(_) => Err(Nobody::Away),
        }
    }

    fn works(&self) {
        locked(&self.hidden).take();
        self.standing.works();
    }

    /// What an answer about somebody's token shows of Keystone.
    fn learn(&self, token: &Token, answer: Result<&Option<Identity>, &Failure>) {
        match answer {
            // It refuses an invalid token before it looks at rights.
            Ok(None) if locked(&self.hidden).is_some() => {}
            Ok(_) => self.works(),
            Err(Failure { trouble: Trouble::Away, .. }) => self.doubt.notify_one(),
            Err(failure) => {
                if failure.trouble == Trouble::Rights {
                    *locked(&self.hidden) = Some(token.clone());
                }
                self.standing.fails(failure);
            }
        }
    }

    /// Whose token it is; `None` if it is not a token.
    async fn validated(&self, token: &Token) -> Result<Option<Identity>, Failure> {
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
                Err(Unusable::Answer(words)) => Err(self.unusable("answers", &words)),
                Err(Unusable::Token(words)) => {
                    self.refuse_odd(words);
                    Ok(None)
                }
            },
            400 | 404 => Ok(None),
            status @ (401 | 403) => {
                Err(Failure::new(Trouble::Rights, &format!("{} answered {status}", self.url())))
            }
            status => Err(self.unusable("statuses", &format!("it answered {status}"))),
        }
    }

    /// No answer from Keystone that helps; what happened.
    fn away(&self, cause: &str) -> Failure {
        Failure::new(Trouble::Away, &format!("{}: {cause}", self.url()))
    }

    fn late(&self) -> Failure {
        self.away(&format!("no answer within {} s", TIMEOUT.as_secs()))
    }

    /// An answer about a token that helps nobody: what is wrong is logged once of each kind, since
    /// Keystone may give others about all other tokens.
    fn unusable(&self, kind: &'static str, words: &str) -> Failure {
        let failure = self.away(words);
        if locked(&self.oddities).insert(kind) {
            let cause = &failure.cause;
            tracing::warn!("what Keystone answers about some tokens cannot be used: {cause}");
        }
        failure
    }

    /// Logs what is wrong with a token that Keystone calls valid, once: anybody may have many.
    fn refuse_odd(&self, words: &'static str) {
        if locked(&self.oddities).insert(words) {
            let keystone = self.url();
            tracing::warn!(keystone, "tokens that Keystone calls valid are refused: {words}");
        }
    }

    fn http(&self) -> Client {
        locked(&self.http).clone()
    }

    async fn send(&self, token: &Token, own: &HeaderValue) -> Result<Response, Failure> {
        let url = format!("{}/v3/auth/tokens?nocatalog", self.url());
        // Without it Keystone hides tokens that are for some requests only.
        let request = self.http().get(url).header("openstack-identity-access-rules", "1.0");
        let request = request.header("x-auth-token", own);
        let answer = request.header("x-subject-token", token.text()).send().await;
        answer.map_err(|error| {
            let failure = self.away(&cause(&error));
            if is_untrusted(&error) {
                return Failure { trouble: Trouble::Untrusted, ..failure };
            }
            failure
        })
    }

    /// The service's own token; a new one in place of one that was rejected.
    async fn own_token(&self, rejected: Option<&HeaderValue>) -> Result<HeaderValue, Failure> {
        let mut own = self.own.lock().await;
        if let Some(token) = own.as_ref().filter(|token| Some(*token) != rejected) {
            return Ok(token.clone());
        }
        let new = self.config.credentials.token(&self.http(), self.url()).await;
        let token = new.map_err(|error| {
            let trouble = match error {
                TokenError::Refused(_) => Trouble::Credentials,
                TokenError::Untrusted(..) => Trouble::Untrusted,
                TokenError::Unavailable(..) => Trouble::Away,
            };
            Failure::new(trouble, &error.to_string())
        })?;
        Ok(own.insert(token).clone())
    }
}

impl fmt::Debug for Keystone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystone").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A client that verifies Keystone with the authorities as they are in the file now.
fn client(config: &KeystoneConfig) -> Result<Client, String> {
    let authorities = config.cacert.as_ref().map(|file| {
        let wrong = |words| format!("--keystone-cacert {}: {words}", file.display());
        credentials::authorities(file).map_err(wrong)
    });
    let builder = credentials::builder_for(&config.url, authorities.transpose()?);
    credentials::client(builder).map_err(|error| {
        let (url, cause) = (&config.url, cause(&error));
        format!("--keystone-url {url}: {cause}; --keystone-cacert names the authorities")
    })
}

pub(super) fn locked<T>(lock: &Lock<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
