//! Authentication and authorisation: the one place that decides both, before anything else in a
//! request is looked at.
//!
//! Not here: who knows whose a token is (`source`), who may do what (`policy`). Nor which objects
//! are visible: each read and each command concerns one project, the caller's.

use std::collections::HashMap;
use std::fmt;
use std::future;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::audit::Audit;
use super::caller::Caller;
use super::identity::{Identity, Nobody, Token};
use super::keystone::locked;
use super::policy::{self, Need, Policy, Right, Rights};
use super::session::{Brought, NewSession, SessionEnd, Sessions};
use super::source::IdentitySource;
use crate::clock;
use crate::config::HttpConfig;
use crate::events::Meta;
use crate::http::error::ApiError;
use crate::http::text::shown;
use crate::ids::{Kind, ProjectId, Timestamp};

/// What somebody hears whose token is for a user or a domain alone.
const NO_PROJECT: &str = "The token is not scoped to a project. Set OS_PROJECT_NAME, or request \
    a project scope in POST /v3/auth/tokens.";

/// What somebody hears whose application credential has access rules for other requests.
const NOT_FOR_THIS: &str = "None of the access rules of the application credential is for this \
    method and path of a service of type container-infra or container.";

/// How callers are asked who they are; nobody is without a guard.
pub struct Auth(Option<Arc<Guard>>);

/// Who knows whose a token is, and what that allows.
struct Guard {
    source: IdentitySource,
    policy: Policy,
    sessions: Sessions,
    watched: Watched,
}

/// What somebody who follows may still do, or why they may not follow any longer.
type Standing = Result<Rights, &'static str>;

/// Tokens whose followers wait for their end, by hash.
type Watched = Mutex<HashMap<[u8; 32], watch::Receiver<Standing>>>;

/// What decides about a request; nothing where nobody is asked who they are.
pub struct AuthRequest(Option<(Arc<Guard>, Identification)>);

/// What of a request says who asks for what.
struct Identification {
    method: Method,
    route: String,
    path: String,
    token: Option<Token>,
    /// The session that the token is of, where the request brought none itself.
    session: Option<[u8; 32]>,
    /// Whether it was a page of ours that made a request with a session, if it has one.
    is_from_page: bool,
    /// Where it comes from.
    client: Option<IpAddr>,
    request_id: String,
}

impl Identification {
    /// What a request asks for.
    fn of(
        request: &Request,
        request_id: &str,
        client: Option<IpAddr>,
        sessions: &Sessions,
    ) -> Self {
        let headers = request.headers();
        let (token, session, is_from_page) = match Token::of(headers) {
            Some(token) => (Some(token), None, true),
            None => match sessions.brought(headers) {
                Some(Brought { session, token, is_from_page }) => {
                    (Some(token), Some(session), is_from_page)
                }
                None => (None, None, true),
            },
        };
        let route = request.extensions().get::<MatchedPath>();
        Self {
            method: request.method().clone(),
            route: route.map_or_else(String::new, |route| route.as_str().to_owned()),
            path: request.uri().path().to_owned(),
            token,
            session,
            is_from_page,
            client,
            request_id: request_id.to_owned(),
        }
    }

    /// The object and what is asked of it, for the audit stream: `container/web`, `start`.
    fn names(&self) -> (String, String) {
        let path = self.path.strip_prefix("/v1/").unwrap_or(&self.path);
        let parts: Vec<&str> = path.split('/').collect();
        let noun = parts.first().and_then(|name| Kind::named(name));
        let object = match (noun, parts.get(1)) {
            (Some(kind), Some(ident)) => format!("{kind}/{}", shown(ident)),
            _ => shown(path),
        };
        let verb = parts.get(2).map(|verb| shown(verb));
        (object, verb.unwrap_or_else(|| shown(self.method.as_str()).to_lowercase()))
    }
}

impl Auth {
    /// As the settings say.
    ///
    /// # Errors
    /// In words, where they say what cannot be.
    pub fn new(config: &HttpConfig, data: &Path) -> Result<Self, String> {
        let policy = Policy::new(&config.policy)?;
        let guard = |source| {
            let (sessions, watched) = (Sessions::default(), Watched::default());
            Arc::new(Guard { source, policy, sessions, watched })
        };
        Ok(Self(IdentitySource::of(config, data)?.map(guard)))
    }

    /// Starts what goes on beside the requests.
    pub fn start(&self, audit: &Audit) {
        self.0.iter().for_each(|guard| guard.source.start(audit));
    }

    /// Why nobody can be asked who they are now, if that is so.
    pub fn problem(&self) -> Option<String> {
        self.0.as_ref().and_then(|guard| guard.source.problem())
    }

    /// Whether there may be several projects: without authentication there is only the default one.
    pub const fn tells_projects_apart(&self) -> bool {
        self.0.is_some()
    }

    /// What decides about a request, where anybody is asked who they are. Copied from the request,
    /// because its body is not `Sync`.
    pub fn question(
        &self,
        request: &Request,
        request_id: &str,
        client: Option<IpAddr>,
    ) -> AuthRequest {
        let guard = self.0.clone();
        AuthRequest(guard.map(|guard| {
            let asked = Identification::of(request, request_id, client, &guard.sessions);
            (guard, asked)
        }))
    }

    /// Who asks, if they may.
    ///
    /// # Errors
    /// 401 where nobody knows who it is, 403 where they may not, 503 where that cannot be asked.
    pub async fn admit(audit: &Audit, question: AuthRequest) -> Result<Caller, ApiError> {
        let Some((guard, asked)) = question.0 else { return Ok(Caller::anonymous()) };
        let action = match policy::need(&asked.method, &asked.route) {
            Need::Nothing => return Ok(Caller::anonymous()),
            Need::To(action) => action,
        };
        let identity = guard.identity(&asked).await?;
        let rights = guard.policy.rights(&identity);
        let is_for_this = identity.is_for(&asked.method, &asked.path);
        let Identity { user, project, roles, expires_at, .. } = identity;
        let Some(mut project) = project else { return Err(ApiError::Forbidden(NO_PROJECT.into())) };
        if !rights.has(action) || !is_for_this {
            let words = if is_for_this {
                guard.policy.refusal(action, &roles)
            } else {
                NOT_FOR_THIS.to_owned()
            };
            let request_id = asked.request_id.clone();
            let meta = Meta { project, user, roles, request_id, ..Meta::default() };
            let (object, command) = asked.names();
            audit.forbidden(meta, object, command, words.clone()).await;
            return Err(ApiError::Forbidden(words));
        }
        if asked.route.starts_with("/v1/nodes") && rights.has(Right::ReadNodes) {
            project = ProjectId::default();
        }
        let token = asked.token.map(|token| (token, expires_at));
        Ok(Caller { user, project, roles, rights, token, session: asked.session })
    }

    /// Whether a request that needs no token brings that of somebody who looks after the
    /// installation; everybody does where nobody is asked who they are.
    pub async fn is_operator(question: AuthRequest) -> bool {
        let Some((guard, asked)) = question.0 else { return true };
        if asked.token.is_none() {
            return false;
        }
        let identity = guard.identity(&asked).await;
        identity.is_ok_and(|identity| {
            identity.is_for(&asked.method, &asked.path)
                && guard.policy.rights(&identity).has(Right::ReadNodes)
        })
    }

    /// Begins a session of a browser for a caller with a token. A session begins no other, which
    /// could go on without end: who took one over would keep it.
    ///
    /// # Errors
    /// Where nobody is asked who they are, the caller has a session, or there are too many.
    pub fn begin_session(&self, caller: &Caller) -> Result<NewSession, ApiError> {
        let (Some(guard), Some(token)) = (&self.0, &caller.token) else {
            let words = "There are no sessions on a server without authentication.";
            return Err(ApiError::BadRequest(words.to_owned()));
        };
        if caller.session.is_some() {
            let words = "A session is begun with a token (X-Auth-Token), not with another session.";
            return Err(ApiError::BadRequest(words.to_owned()));
        }
        let owner = (caller.project.clone(), caller.user.clone());
        guard.sessions.begin(owner, token.clone())
    }

    /// Ends the session that a caller came with, if it was one.
    pub fn end_session(&self, caller: &Caller) {
        if let (Some(guard), Some(session)) = (&self.0, caller.session) {
            guard.sessions.end(session);
        }
    }

    /// How long a caller may follow what goes on until somebody ends it: as long as they may do
    /// what that takes, and the session lasts that they came with.
    pub fn grant(&self, caller: &Caller, needs: &[Right]) -> Grant {
        let needs = needs.to_vec();
        let (Some(guard), Some((token, expires_at))) = (&self.0, &caller.token) else {
            return Grant { standing: None, session: None, needs };
        };
        let session = caller.session.map(|session| guard.sessions.end_of(session));
        let standing = guard.watch(token, *expires_at, caller.rights);
        Grant { standing: Some(standing), session, needs }
    }
}

impl Guard {
    /// Who somebody is, and that it was they who asked.
    async fn identity(&self, asked: &Identification) -> Result<Identity, ApiError> {
        let nobody = || ApiError::Unauthenticated(self.source.challenge());
        let token = asked.token.as_ref().ok_or_else(nobody)?;
        let identity =
            self.source.whose(token, asked.client).await.answer.map_err(|error| match error {
                Nobody::Refused => {
                    asked.session.into_iter().for_each(|session| self.sessions.end(session));
                    nobody()
                }
                Nobody::Away => self.source.away(),
                Nobody::Busy => ApiError::TooManyTokens,
            })?;
        if !asked.is_from_page && !asked.method.is_safe() {
            return Err(ApiError::NoCsrfToken);
        }
        Ok(identity)
    }

    /// What the owner of a token may do from now on: one task a token, however many follow with it.
    fn watch(
        self: &Arc<Self>,
        token: &Token,
        expires_at: Timestamp,
        rights: Rights,
    ) -> watch::Receiver<Standing> {
        let mut watched = locked(&self.watched);
        let lives = |known: &&watch::Receiver<Standing>| known.has_changed().is_ok();
        if let Some(known) = watched.get(&token.hash()).filter(lives) {
            return known.clone();
        }
        let (sender, receiver) = watch::channel(Ok(rights));
        watched.insert(token.hash(), receiver.clone());
        let (guard, token) = (Arc::clone(self), token.clone());
        tokio::spawn(Check { guard, token, expires_at, sender }.run());
        receiver
    }
}

/// Looks at a token as long as somebody follows with it.
struct Check {
    guard: Arc<Guard>,
    token: Token,
    /// As was said last.
    expires_at: Timestamp,
    sender: watch::Sender<Standing>,
}

/// Between two looks at a token at least, whatever is said of its end.
const PAUSE: Duration = Duration::from_secs(1);

impl Check {
    async fn run(mut self) {
        loop {
            let seen = self.guard.source.whose(&self.token, None).await;
            if let Ok(identity) = &seen.answer {
                self.expires_at = identity.expires_at;
            }
            let standing = self.standing(&seen.answer);
            {
                let mut watched = locked(&self.guard.watched);
                let _previous = self.sender.send_replace(standing);
                // The one here is the map's own: nobody follows any more.
                if standing.is_err() || self.sender.receiver_count() <= 1 {
                    watched.remove(&self.token.hash());
                    return;
                }
            }
            sleep_until(seen.until.max(Instant::now() + PAUSE)).await;
        }
    }

    /// What its owner may still do after an answer, or why they may not follow any longer. Without
    /// an answer a token counts until its own end.
    fn standing(&self, answer: &Result<Identity, Nobody>) -> Standing {
        let has_expired = self.expires_at <= clock::now();
        match answer {
            Ok(identity) if identity.project.is_none() => {
                Err("the token is no longer scoped to a project")
            }
            Ok(identity) => Ok(self.guard.policy.rights(identity)),
            Err(_) if has_expired => Err("the token has expired"),
            Err(Nobody::Away | Nobody::Busy) => *self.sender.borrow(),
            Err(Nobody::Refused) => {
                Err("the token is no longer valid: it was revoked, or its user or project was \
                 disabled or deleted, or the user lost all roles")
            }
        }
    }
}

/// The right to follow, until it is lost.
pub struct Grant {
    /// `None` where nobody is asked who they are.
    standing: Option<watch::Receiver<Standing>>,
    /// The end of the session that it was asked for with, if it was one.
    session: Option<SessionEnd>,
    needs: Vec<Right>,
}

impl Grant {
    /// Waits until it is lost; why. May be dropped while it waits.
    pub async fn lost(&mut self) -> &'static str {
        let Self { standing, session, needs } = self;
        let session_ended = async {
            match session {
                Some(end) => end.reached().await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            biased;
            words = token_lost(standing, needs) => words,
            words = session_ended => words,
        }
    }
}

/// Waits until a token no longer allows what is needed; why.
async fn token_lost(
    standing: &mut Option<watch::Receiver<Standing>>,
    needs: &[Right],
) -> &'static str {
    let Some(standing) = standing else { return future::pending().await };
    let may = |rights: Rights| needs.iter().all(|action| rights.has(*action));
    let lost = standing.wait_for(|standing| !standing.is_ok_and(may)).await;
    match lost.map(|standing| *standing) {
        Ok(Err(words)) => words,
        Ok(Ok(_)) => "the user no longer has a role in the project that may read this",
        Err(_) => "the token can no longer be checked",
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Grant").finish()
    }
}
