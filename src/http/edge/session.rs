//! Sessions of browsers: a cookie that stands for a token, so that a page need not keep the token
//! where its scripts could read it.
//!
//! A session lives in memory and ends with its token, which is looked at as for every request; what
//! was opened with it and goes on ends with it. A browser adds the cookie to any request, so what
//! changes something must bring a second secret that only the page has. Not here: the routes
//! (`http/session`).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use tokio::sync::watch;
use tokio::time::timeout;

use super::identity::Token;
use super::keystone::locked;
use crate::bus::CommandError;
use crate::clock;
use crate::http::error::ApiError;
use crate::ids::{ProjectId, Timestamp};

/// The name of the cookie.
pub const COOKIE: &str = "magnum_session";

/// The header with the second secret.
pub const CSRF: &str = "X-CSRF-Token";

/// Sessions of one user in one project: their browsers and machines. The oldest one ends for
/// another.
const MAX_OF_USER: usize = 16;

/// Sessions in all: 2 MB. As many users at once are more than one service serves.
const MAX_SESSIONS: usize = 4096;

/// Sessions of one project, whose users may be as many as it likes: half, as of other places.
const MAX_OF_PROJECT: usize = MAX_SESSIONS / 2;

/// How long a session lasts at most, whatever its token does: a day's work.
const MAX_AGE_MS: u64 = 12 * 3600 * 1000;

/// BLAKE3 of a secret; found and compared by that, a secret shows in no timing.
type Hash = [u8; 32];

/// A browser's session.
struct BrowserSession {
    token: Token,
    csrf: Hash,
    owner: (ProjectId, String),
    began_at: Timestamp,
    expires_at: Timestamp,
    /// Never sent to: the receivers see that it is gone, however the session ended.
    is_there: watch::Sender<()>,
}

/// The secrets of a new session.
pub struct NewSession {
    /// For the cookie.
    pub id: String,
    /// For the page.
    pub csrf_token: String,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

/// What a request brought that has no token of its own.
pub struct Brought {
    /// What the session is known by.
    pub session: Hash,
    /// The token that it stands for.
    pub token: Token,
    /// Whether the page itself made the request.
    pub is_from_page: bool,
}

/// The end of a session, for what was opened with it and goes on.
pub struct SessionEnd {
    is_there: watch::Receiver<()>,
    expires_at: Timestamp,
}

impl SessionEnd {
    /// Waits for it; why. May be dropped while it waits.
    pub async fn reached(&mut self) -> &'static str {
        let left = Duration::from_millis(self.expires_at.since_ms(clock::now()));
        let is_gone = timeout(left, self.is_there.changed()).await.is_ok();
        // One that has expired may be gone as well.
        if is_gone && clock::now() < self.expires_at {
            "the session has ended: the user signed out or began too many others, or its token is \
             no longer valid"
        } else {
            "the session has expired"
        }
    }
}

/// All sessions, by the hash of the id.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<Hash, BrowserSession>>);

impl Sessions {
    /// Begins a session for a token of somebody.
    ///
    /// # Errors
    /// When there are too many, or the kernel has no randomness.
    pub fn begin(
        &self,
        owner: (ProjectId, String),
        (token, expires_at): (Token, Timestamp),
    ) -> Result<NewSession, ApiError> {
        let secret = || clock::secret_text().map_err(|error| ApiError::Internal(error.to_string()));
        let (id, csrf_token) = (secret()?, secret()?);
        let began_at = clock::now();
        let expires_at = expires_at.min(began_at.plus_ms(MAX_AGE_MS));
        let mut sessions = locked(&self.0);
        let of_owner = sessions.values().filter(|session| session.owner == owner).count();
        if of_owner >= MAX_OF_USER {
            let of_owner = sessions.iter().filter(|(_, session)| session.owner == owner);
            let oldest = of_owner.min_by_key(|(_, session)| session.began_at);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                sessions.remove(&oldest);
            }
        }
        let of_project = |sessions: &HashMap<Hash, BrowserSession>| {
            sessions.values().filter(|session| session.owner.0 == owner.0).count()
        };
        if sessions.len() >= MAX_SESSIONS || of_project(&sessions) >= MAX_OF_PROJECT {
            sessions.retain(|_, session| session.expires_at > began_at);
        }
        if of_project(&sessions) >= MAX_OF_PROJECT {
            return Err(ApiError::TooMany(format!(
                "The project has {MAX_OF_PROJECT} sessions; end some, or use a token."
            )));
        }
        if sessions.len() >= MAX_SESSIONS {
            return Err(ApiError::Command(CommandError::Overloaded));
        }
        let (csrf, is_there) = (hash(&csrf_token), watch::Sender::new(()));
        let new = BrowserSession { token, csrf, owner, began_at, expires_at, is_there };
        sessions.insert(hash(&id), new);
        Ok(NewSession { id, csrf_token, expires_at })
    }

    /// What the cookie of a request stands for, if there is such a session.
    pub fn brought(&self, headers: &HeaderMap) -> Option<Brought> {
        let session = hash(cookie(headers)?);
        let mut sessions = locked(&self.0);
        let found = sessions.get(&session)?;
        if found.expires_at <= clock::now() {
            sessions.remove(&session);
            return None;
        }
        let csrf = headers.get(CSRF).and_then(|value| value.to_str().ok());
        let is_from_page = csrf.is_some_and(|csrf| hash(csrf) == found.csrf);
        Some(Brought { session, token: found.token.clone(), is_from_page })
    }

    /// The end of a session, which may have been reached.
    pub fn end_of(&self, session: Hash) -> SessionEnd {
        match locked(&self.0).get(&session) {
            Some(found) => {
                SessionEnd { is_there: found.is_there.subscribe(), expires_at: found.expires_at }
            }
            None => SessionEnd {
                is_there: watch::Sender::new(()).subscribe(),
                expires_at: Timestamp(i64::MAX),
            },
        }
    }

    /// Ends a session, if it is there.
    pub fn end(&self, session: Hash) {
        locked(&self.0).remove(&session);
    }
}

fn hash(text: &str) -> Hash {
    *blake3::hash(text.as_bytes()).as_bytes()
}

/// The session's cookie among all that a request has.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|cookies| cookies.split(';')).filter_map(|it| it.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use futures_util::FutureExt;

    use super::*;

    fn begin(sessions: &Sessions, user: &str, expires_at: Timestamp) -> NewSession {
        let token = Token::new(&HeaderValue::from_static("t")).unwrap();
        let owner = (ProjectId("p".to_owned()), user.to_owned());
        sessions.begin(owner, (token, expires_at)).unwrap()
    }

    fn headers(cookie: &str, csrf: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        if let Some(csrf) = csrf {
            headers.insert(CSRF, csrf.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_session_is_found_by_its_cookie_and_the_page_by_its_own_secret() {
        let sessions = Sessions::default();
        let new = begin(&sessions, "u", clock::now().plus_ms(60_000));
        assert_ne!(new.id, new.csrf_token);
        let cookie = format!("a=b; {COOKIE}={}; c=d", new.id);
        assert!(!sessions.brought(&headers(&cookie, None)).unwrap().is_from_page);
        assert!(!sessions.brought(&headers(&cookie, Some(&new.id))).unwrap().is_from_page);
        let found = sessions.brought(&headers(&cookie, Some(&new.csrf_token))).unwrap();
        assert!(found.is_from_page);
        for other in ["", "a=b", COOKIE, &format!("{COOKIE}="), &format!("{COOKIE}=x")] {
            assert!(sessions.brought(&headers(other, Some(&new.csrf_token))).is_none(), "{other}");
        }
        sessions.end(found.session);
        assert!(sessions.brought(&headers(&cookie, None)).is_none());
    }

    #[test]
    fn a_session_ends_with_its_token_and_after_a_day_of_work() {
        let sessions = Sessions::default();
        let now = clock::now();
        let ended = begin(&sessions, "u", now);
        assert!(sessions.brought(&headers(&format!("{COOKIE}={}", ended.id), None)).is_none());
        assert!(locked(&sessions.0).is_empty());
        let long = begin(&sessions, "u", Timestamp(i64::MAX));
        assert!(long.expires_at.since_ms(now) <= MAX_AGE_MS + 60_000);
    }

    #[test]
    fn another_session_of_a_user_ends_the_oldest_of_theirs_and_nobody_elses() {
        let sessions = Sessions::default();
        let end = clock::now().plus_ms(60_000);
        let other = begin(&sessions, "other", end);
        let all: Vec<_> = (0..=MAX_OF_USER).map(|_| begin(&sessions, "u", end)).collect();
        let lives = |new: &NewSession| {
            sessions.brought(&headers(&format!("{COOKIE}={}", new.id), None)).is_some()
        };
        assert!(lives(&other));
        assert_eq!(all.iter().filter(|new| lives(new)).count(), MAX_OF_USER);
        assert!(lives(all.last().unwrap()));
    }

    #[tokio::test]
    async fn whoever_follows_with_a_session_hears_of_its_end_however_it_ends() {
        let sessions = Sessions::default();
        let later = clock::now().plus_ms(3_600_000);
        let of = |new: &NewSession| hash(&new.id);
        let (ended, evicted) = (begin(&sessions, "u", later), begin(&sessions, "v", later));
        let mut waits = [sessions.end_of(of(&ended)), sessions.end_of(of(&evicted))];
        for wait in &mut waits {
            assert!(wait.reached().now_or_never().is_none());
        }
        sessions.end(of(&ended));
        for _ in 0..MAX_OF_USER {
            begin(&sessions, "v", later);
        }
        for wait in &mut waits {
            assert!(wait.reached().await.contains("signed out"));
        }
        assert!(sessions.end_of(of(&ended)).reached().await.contains("signed out"));
        let short = begin(&sessions, "w", clock::now().plus_ms(10));
        let mut wait = sessions.end_of(of(&short));
        assert_eq!(wait.reached().await, "the session has expired");
        assert!(sessions.brought(&headers(&format!("{COOKIE}={}", short.id), None)).is_none());
        assert_eq!(wait.reached().await, "the session has expired");
    }

    #[test]
    fn there_are_only_so_many_and_half_of_them_of_one_project() {
        let sessions = Sessions::default();
        let end = clock::now().plus_ms(3_600_000);
        let begin = |project: &str, user: usize, end| {
            let token = Token::new(&HeaderValue::from_static("t")).unwrap();
            let owner = (ProjectId(project.to_owned()), user.to_string());
            sessions.begin(owner, (token, end)).map_err(|error| error.status().as_u16())
        };
        for user in 0..MAX_OF_PROJECT {
            assert!(begin("p", user, end).is_ok());
        }
        assert_eq!(begin("p", MAX_OF_PROJECT, end).err(), Some(429));
        // One that has expired takes nobody's place.
        assert!(begin("q", 0, clock::now()).is_ok());
        for user in 1..=MAX_SESSIONS - MAX_OF_PROJECT {
            assert!(begin("q", user, end).is_ok(), "{user}");
        }
        assert_eq!(begin("late", 0, end).err(), Some(503));
    }
}
