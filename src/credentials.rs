//! Credentials for Keystone, and the token obtained with them: of the service itself
//! (`http/edge/keystone.rs`), or of the user of the CLI.
//!
//! Not here: validating the tokens of others (`http/edge/keystone.rs`), where the settings come
//! from (`cli`).

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, ClientBuilder, Url, redirect};
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use zeroize::Zeroize;

/// How long Keystone may take for one answer: a hundred times what it needs.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Text that is shown to nobody, `Debug` included.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub const fn new(text: String) -> Self {
        Self(text)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who somebody is, and the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A user with a password, for one project.
    Password {
        /// The user's name.
        user: String,
        /// The name of the user's domain.
        user_domain: String,
        /// The project's name.
        project: String,
        /// The name of the project's domain.
        project_domain: String,
        /// The password.
        password: Secret,
    },
    /// An application credential, which names user, project and roles by itself.
    Application {
        /// Its id.
        id: String,
        /// Its secret.
        secret: Secret,
    },
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Keystone does not accept the credentials.
    #[error("Keystone at {0} does not accept these credentials")]
    Refused(String),
    /// Keystone is away, or answers what it should not.
    #[error("Keystone at {0} issued no token: {1}")]
    Unavailable(String, String),
}

impl Credentials {
    /// A new token.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn token(&self, http: &Client, keystone: &str) -> Result<HeaderValue, TokenError> {
        let unavailable = |words: String| TokenError::Unavailable(keystone.to_owned(), words);
        // Without the catalogue, which nobody here looks at.
        let url = format!("{keystone}/v3/auth/tokens?nocatalog");
        let answer = http.post(url).json(&self.request()).send().await;
        let answer = answer.map_err(|error| unavailable(cause(&error)))?;
        match answer.status().as_u16() {
            201 => {}
            401 | 403 => return Err(TokenError::Refused(keystone.to_owned())),
            status => return Err(unavailable(format!("it answered {status}"))),
        }
        let token = answer.headers().get("x-subject-token").cloned();
        let mut token = token.ok_or_else(|| unavailable("its response has none".to_owned()))?;
        token.set_sensitive(true);
        Ok(token)
    }

    fn request(&self) -> Value {
        match self {
            Self::Password { user, user_domain, project, project_domain, password } => json!({
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": { "user": {
                            "name": user, "domain": { "name": user_domain }, "password": password.0,
                        } },
                    },
                    "scope": { "project": {
                        "name": project, "domain": { "name": project_domain },
                    } },
                },
            }),
            Self::Application { id, secret } => json!({
                "auth": { "identity": {
                    "methods": ["application_credential"],
                    "application_credential": { "id": id, "secret": secret.0 },
                } },
            }),
        }
    }
}

/// What all clients are made of: they follow no redirect and use no proxy, so that what is meant
/// for one server reaches no other. Encrypted servers are verified with the system's authorities.
pub fn builder() -> ClientBuilder {
    // For the whole process, by whoever comes first.
    drop(ring::default_provider().install_default());
    Client::builder().no_proxy().redirect(redirect::Policy::none())
}

/// The same for servers that do not encrypt, without reading the system's authorities, which takes
/// longer than most commands and fails where there are none.
pub fn plain() -> ClientBuilder {
    builder().tls_certs_only([])
}

/// A client for Keystone. It makes a connection for each request: what serves Keystone may end
/// them after an answer without saying so.
///
/// # Errors
/// When it cannot be made.
pub fn client() -> reqwest::Result<Client> {
    plain().pool_max_idle_per_host(0).timeout(TIMEOUT).build()
}

/// An address of Keystone, with or without a version, as it stands before `/v3`.
///
/// # Errors
/// In words, when it is none that can be spoken to.
pub fn endpoint(text: &str) -> Result<String, String> {
    let bare = text.trim_end_matches('/');
    let versions = ["/v3", "/v2.0"];
    let bare = versions.iter().find_map(|version| bare.strip_suffix(version)).unwrap_or(bare);
    let url = Url::parse(bare).map_err(|_| "use a URL like http://HOST:5000/v3.".to_owned())?;
    match url.scheme() {
        "http" if url.username().is_empty() && url.password().is_none() && url.has_host() => {
            Ok(url.as_str().trim_end_matches('/').to_owned())
        }
        "https" => Err("only http is supported; terminate TLS in front of it.".to_owned()),
        _ => Err("use a URL like http://HOST:5000/v3, without user and password.".to_owned()),
    }
}

/// The innermost words of an error, which say what happened.
pub fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer in {} s", TIMEOUT.as_secs());
    }
    std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keystone_is_found_with_or_without_a_version() {
        for text in ["http://k:5000", "http://k:5000/", "http://k:5000/v3/", "http://k:5000/v2.0"] {
            assert_eq!(endpoint(text).unwrap(), "http://k:5000");
        }
        assert_eq!(endpoint("http://k/identity/v3").unwrap(), "http://k/identity");
        for text in ["", "k:5000", "https://k/v3", "http://u:p@k/v3", "unix:///k"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::new("hunter2".to_owned());
        let shown = format!("{:?}", Credentials::Application { id: "i".to_owned(), secret });
        assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }
}
