//! Who somebody is: a token as it came, and whose it is as the source of identities says, which
//! is Keystone (`keystone`) or the service's own list (`tokens`).
//!
//! Not here: what they may do (`policy`).

use axum::http::{HeaderMap, HeaderValue, Method, header};
use tokio::time::Instant;

use super::access_rules::AccessRule;
use crate::ids::{ProjectId, Timestamp};
use crate::text::is_hidden;

/// Longest token, in bytes: several times what Keystone has issued since its tokens are Fernet's.
const MAX_TOKEN_BYTES: usize = 2048;

/// Longest id of a project or user, in bytes: Keystone's own column.
pub const MAX_ID_BYTES: usize = 64;

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

    /// What a request brings: `X-Auth-Token`, or else `Authorization: Bearer`.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        if let Some(text) = headers.get("x-auth-token") {
            return Self::new(text);
        }
        let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = text.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        is_bearer.then(|| HeaderValue::from_str(token.trim()).ok())?.as_ref().and_then(Self::new)
    }

    /// What it is known by.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Itself, for whoever issued it.
    pub const fn text(&self) -> &HeaderValue {
        &self.text
    }
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's id.
    pub user: String,
    /// The project that the token is for, if any.
    pub project: Option<ProjectId>,
    /// Whether that is the project of the operators.
    pub in_admin_project: bool,
    /// The user's roles there.
    pub roles: Vec<String>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The only requests that it is for, if it is not for all that the roles allow.
    pub access_rules: Option<Vec<AccessRule>>,
}

impl Identity {
    /// Whether the token is for a request with this path, which is that of a route.
    pub fn is_for(&self, method: &Method, path: &str) -> bool {
        let allows = |rules: &Vec<AccessRule>| rules.iter().any(|rule| rule.allows(method, path));
        self.access_rules.as_ref().is_none_or(allows)
    }
}

/// Why nobody knows whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// It is not a token, or no longer valid.
    Refused,
    /// There is no answer that helps.
    Away,
    /// So many tokens are asked about that this one has to wait.
    Busy,
}

/// An answer, and until when it is used.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whose it is.
    pub answer: Result<Identity, Nobody>,
    /// Then it is asked for again.
    pub until: Instant,
}

/// Whether a text can be the id of a project or user: it becomes part of events and of the names
/// of files.
pub fn is_id(text: &str) -> bool {
    let is_plain = |c: char| !is_hidden(c) && c != '/';
    (1..=MAX_ID_BYTES).contains(&text.len()) && text.chars().all(is_plain)
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
    fn a_token_comes_in_one_of_two_headers() {
        let of = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            Token::of(&headers).map(|token| token.text().to_str().unwrap().to_owned())
        };
        assert_eq!(of("x-auth-token", "t").as_deref(), Some("t"));
        assert_eq!(of("authorization", "Bearer t").as_deref(), Some("t"));
        assert_eq!(of("authorization", "bearer  t").as_deref(), Some("t"));
        for other in ["Basic dDp0", "Bearer", "Bearer ", "t", "Bearer a b"] {
            assert_eq!(of("authorization", other), None, "{other}");
        }
    }

    #[test]
    fn ids_are_short_and_plain() {
        for good in ["p", "5f2c", "a b", "ü", &"x".repeat(MAX_ID_BYTES)] {
            assert!(is_id(good), "{good}");
        }
        for bad in [
            "",
            "a/b",
            "a\nb",
            "\u{7f}",
            "\u{85}",
            "a\u{202e}b",
            "\u{200b}",
            &"x".repeat(MAX_ID_BYTES + 1),
        ] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }
}
