//! Authentication and authorisation: the one place that decides both, before anything else in a
//! request is looked at.
//!
//! Not here: how Keystone is asked (`keystone`). Nor which objects are visible: each read and each
//! command concerns one project, the caller's.

use std::collections::HashMap;
use std::fmt;
use std::future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::audit::Audit;
use super::caller::Caller;
use super::keystone::{Identity, Keystone, Nobody, Token, locked};
use crate::clock;
use crate::events::Meta;
use crate::http::error::ApiError;
use crate::http::text::shown;
use crate::ids::{Kind, ProjectId, Timestamp};

/// Who may look.
const READ: Need = Need::OneOf(&["reader", "member", "manager", "admin"]);
/// Who may change things.
const CHANGE: Need = Need::OneOf(&["member", "manager", "admin"]);
/// Who looks after the installation.
const ADMIN: &str = "admin";

/// What somebody hears whose token is for a user or a domain alone.
const NO_PROJECT: &str = "The token is not scoped to a project. Set OS_PROJECT_NAME, or request \
    a project scope in POST /v3/auth/tokens.";

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing: not even a token.
    Nothing,
    /// One of these roles in the project of the token.
    OneOf(&'static [&'static str]),
}

/// Whether a request changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Look,
    Change,
}

/// Who may do what: the first row that fits holds. A path ends in `*` where it may go on.
#[rustfmt::skip]
const POLICY: [(What, &str, Need); 9] = [
    (What::Look, "/", Need::Nothing),
    (What::Look, "/healthz", Need::Nothing),
    (What::Look, "/readyz", Need::Nothing),
    (What::Look, "/metrics", Need::Nothing),
    // Nodes are the service's. To look is not refused: others than admins have none to see.
    (What::Change, "/v1/nodes*", Need::OneOf(&[ADMIN])),
    (What::Change, "/v1/keys*", Need::OneOf(&[ADMIN])),
    // Tells of the objects of all projects.
    (What::Look, "/v1/replay/verify", Need::OneOf(&[ADMIN])),
    (What::Look, "*", READ),
    (What::Change, "*", CHANGE),
];

/// What a request to a route needs; the route is empty where no path fits.
fn need(method: &Method, route: &str) -> Need {
    let asked = if method.is_safe() { What::Look } else { What::Change };
    let fits = |(what, path, _): &&(What, &str, Need)| {
        let is_at = match path.strip_suffix('*') {
            Some(begin) => route.starts_with(begin),
            None => route == *path,
        };
        *what == asked && is_at
    };
    POLICY.iter().find(fits).map_or(Need::OneOf(&[]), |(.., need)| *need)
}

/// Whether a path is for everybody who looks.
pub fn is_public(path: &str) -> bool {
    need(&Method::GET, path) == Need::Nothing
}

impl Need {
    /// The words of a refusal, where the roles do not do.
    fn refusal(self, roles: &[String]) -> Option<String> {
        match self {
            Self::OneOf(wanted) if !roles.iter().any(|role| wanted.contains(&&**role)) => {
                Some(format!(
                    "This needs the role {} in the project; the token has {}.",
                    wanted.join(" or "),
                    if roles.is_empty() { "none".to_owned() } else { roles.join(", ") },
                ))
            }
            _ => None,
        }
    }
}

/// How callers are asked who they are.
#[derive(Debug)]
pub struct Auth {
    keystone: Option<Arc<Keystone>>,
    watched: Arc<Watched>,
}

/// Why somebody may not follow any longer; none as long as they may.
type Lost = Option<&'static str>;

/// Tokens whose followers wait for their end, by hash.
type Watched = Mutex<HashMap<[u8; 32], watch::Receiver<Lost>>>;

/// What decides about a request; nothing where nobody is asked who they are.
pub struct AuthRequest(Option<(Arc<Keystone>, Identification)>);

/// What of a request says who asks for what.
struct Identification {
    method: Method,
    route: String,
    path: String,
    token: Option<Token>,
    request_id: String,
}

impl Identification {
    /// What a request asks for.
    fn of(request: &Request, request_id: &str) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        Self {
            method: request.method().clone(),
            route: route.map_or_else(String::new, |route| route.as_str().to_owned()),
            path: request.uri().path().to_owned(),
            token: request.headers().get("x-auth-token").and_then(Token::new),
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
    /// Asks nobody without Keystone.
    pub fn new(keystone: Option<Keystone>) -> Self {
        let keystone = keystone.map(Arc::new);
        keystone.iter().cloned().for_each(|keystone| drop(tokio::spawn(keystone.sign_in())));
        Self { keystone, watched: Arc::default() }
    }

    /// Whether there may be several projects: without Keystone there is only the default one.
    pub const fn tells_projects_apart(&self) -> bool {
        self.keystone.is_some()
    }

    /// What decides about a request, where anybody is asked who they are. Copied from the request,
    /// because its body is not `Sync`.
    pub fn question(&self, request: &Request, request_id: &str) -> AuthRequest {
        let keystone = self.keystone.clone();
        AuthRequest(keystone.map(|keystone| (keystone, Identification::of(request, request_id))))
    }

    /// Who asks, if they may.
    ///
    /// # Errors
    /// 401 where nobody knows who it is, 403 where they may not, 503 where Keystone is away.
    pub async fn admit(audit: &Audit, question: AuthRequest) -> Result<Caller, ApiError> {
        let Some((keystone, asked)) = question.0 else { return Ok(Caller::anonymous()) };
        let need = need(&asked.method, &asked.route);
        if need == Need::Nothing {
            return Ok(Caller::anonymous());
        }
        let nobody = || ApiError::Unauthenticated(keystone.url().to_owned());
        let token = asked.token.as_ref().ok_or_else(nobody)?;
        let identity = keystone.whose(token).await.answer.map_err(|error| match error {
            Nobody::Refused => nobody(),
            Nobody::Away => ApiError::NoKeystone,
        })?;
        let Identity { user, project, roles, expires_at } = identity;
        let Some(mut project) = project else { return Err(ApiError::Forbidden(NO_PROJECT.into())) };
        if let Some(words) = need.refusal(&roles) {
            let request_id = asked.request_id.clone();
            let meta = Meta { project, user, roles, request_id, ..Meta::default() };
            let (object, command) = asked.names();
            audit.forbidden(meta, object, command, words.clone()).await;
            return Err(ApiError::Forbidden(words));
        }
        if asked.route.starts_with("/v1/nodes") && roles.iter().any(|role| role == ADMIN) {
            project = ProjectId::default();
        }
        let token = asked.token.map(|token| (token, expires_at));
        Ok(Caller { user, project, roles, token })
    }

    /// How long a caller may follow what goes on until somebody ends it.
    pub fn grant(&self, caller: &Caller) -> Grant {
        let (Some(keystone), Some((token, expires_at))) = (&self.keystone, &caller.token) else {
            return Grant(None);
        };
        let mut watched = locked(&self.watched);
        // One task a token, however many follow with it.
        let lives = |known: &&watch::Receiver<Lost>| known.has_changed().is_ok();
        if let Some(known) = watched.get(&token.hash()).filter(lives) {
            return Grant(Some(known.clone()));
        }
        let (sender, receiver) = watch::channel(None);
        watched.insert(token.hash(), receiver.clone());
        let (keystone, token) = (keystone.clone(), token.clone());
        let check = Check { keystone, token, expires_at: *expires_at, sender };
        tokio::spawn(check.run(self.watched.clone()));
        Grant(Some(receiver))
    }
}

/// Looks at a token as long as somebody follows with it.
struct Check {
    keystone: Arc<Keystone>,
    token: Token,
    /// As Keystone said last.
    expires_at: Timestamp,
    sender: watch::Sender<Lost>,
}

/// Between two looks at a token at least, whatever Keystone says of its end.
const PAUSE: Duration = Duration::from_secs(1);

impl Check {
    async fn run(mut self, watched: Arc<Watched>) {
        loop {
            let seen = self.keystone.whose(&self.token).await;
            if let Ok(identity) = &seen.answer {
                self.expires_at = identity.expires_at;
            }
            let lost = lost(&seen.answer, self.expires_at);
            {
                let mut watched = locked(&watched);
                // The one here is the map's own: nobody follows any more.
                if lost.is_some() || self.sender.receiver_count() <= 1 {
                    self.sender.send_replace(lost);
                    watched.remove(&self.token.hash());
                    return;
                }
            }
            sleep_until(seen.until.max(Instant::now() + PAUSE)).await;
        }
    }
}

/// Why what Keystone says of a token ends what its owner follows. While it says nothing a token
/// counts until its own end.
fn lost(answer: &Result<Identity, Nobody>, expires_at: Timestamp) -> Lost {
    let has_expired = expires_at <= clock::now();
    match answer {
        Ok(identity) if identity.project.is_none() => Some(
            "the token is no longer scoped to a \
            project",
        ),
        Ok(identity) => {
            let refused = READ.refusal(&identity.roles).is_some();
            refused.then_some("the user no longer has a role in the project that may read")
        }
        Err(_) if has_expired => Some("the token has expired"),
        Err(Nobody::Away) => None,
        Err(Nobody::Refused) => Some(
            "the token is no longer valid: it was revoked, or its user or project was disabled \
             or deleted, or the user lost all roles",
        ),
    }
}

/// The right to follow, until it is lost.
pub struct Grant(Option<watch::Receiver<Lost>>);

impl Grant {
    /// Waits until it is lost; why. May be dropped while it waits.
    pub async fn lost(&mut self) -> &'static str {
        let Some(lost) = &mut self.0 else { return future::pending().await };
        let words = lost.wait_for(Option::is_some).await.ok().and_then(|words| *words);
        words.unwrap_or("the token can no longer be checked")
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Grant").finish()
    }
}
