//! Credentials for Keystone, and the token obtained with them: of the service itself
//! (`http/edge/keystone.rs`), or of the user of the CLI.
//!
//! Not here: validating the tokens of others (`http/edge/keystone.rs`), where the settings come
//! from (`cli`).

use std::error::Error;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use std::{fmt, fs, io};

use reqwest::header::HeaderValue;
use reqwest::{Certificate, Client, ClientBuilder, Url, redirect};
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, RootCertStore};
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
    /// Somebody else may pass for Keystone: it gets no credentials.
    #[error("the certificate of Keystone at {0} is not trusted: {1}")]
    Untrusted(String, String),
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
        let answer = answer.map_err(|error| {
            if is_untrusted(&error) {
                return TokenError::Untrusted(keystone.to_owned(), cause(&error));
            }
            unavailable(cause(&error))
        })?;
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

/// What a client of the server with this URL is made of. An encrypted one is always verified: with
/// the given authorities and no others, or else with the system's.
pub fn builder_for(url: &str, authorities: Option<Vec<Certificate>>) -> ClientBuilder {
    match authorities {
        _ if !url.starts_with("https:") => plain(),
        Some(authorities) => builder().tls_certs_only(authorities),
        None => builder(),
    }
}

/// What all clients are made of: they follow no redirect and use no proxy, so that what is meant
/// for one server reaches no other.
fn builder() -> ClientBuilder {
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
/// When it cannot be made, for example because the system's authorities cannot be read.
pub fn client(builder: ClientBuilder) -> reqwest::Result<Client> {
    builder.pool_max_idle_per_host(0).timeout(TIMEOUT).build()
}

/// The authorities in a PEM file.
///
/// # Errors
/// In words, when it cannot be read, has none, or has something else among them.
pub fn authorities(file: &Path) -> Result<Vec<Certificate>, String> {
    let pem = fs::read(file).map_err(|error| error.to_string())?;
    let mut usable = RootCertStore::empty();
    let mut authorities = Vec::new();
    for (number, found) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
        let wrong =
            |error: &dyn fmt::Display| format!("certificate {number} in it is not valid: {error}");
        let found = found.map_err(|error| wrong(&error))?;
        authorities.push(Certificate::from_der(&found).map_err(|error| wrong(&error))?);
        usable.add(found).map_err(|error| wrong(&error))?;
    }
    if authorities.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(authorities)
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
        "http" | "https"
            if url.username().is_empty() && url.password().is_none() && url.has_host() =>
        {
            Ok(url.as_str().trim_end_matches('/').to_owned())
        }
        _ => Err("use a URL like http://HOST:5000/v3, without user and password.".to_owned()),
    }
}

/// Whether others on the way to an address can read what is sent there: it does not encrypt, and
/// is not on this machine.
pub fn is_exposed(endpoint: &str) -> bool {
    let Ok(url) = Url::parse(endpoint) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host.parse::<IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback());
    url.scheme() == "http" && !is_loopback
}

/// An error and what caused it, innermost last.
fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let outermost: &(dyn Error + 'static) = error;
    std::iter::successors(Some(outermost), |&error| error.source())
}

/// The innermost words of an error, which say what happened.
pub fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer in {} s", TIMEOUT.as_secs());
    }
    chain(error).last().map_or_else(String::new, ToString::to_string)
}

/// Whether there was no answer because the certificate of the server was not accepted.
pub fn is_untrusted(error: &reqwest::Error) -> bool {
    chain(error).any(rejects_certificate)
}

/// An I/O error shows what it wraps as itself, not as its source.
fn rejects_certificate(error: &(dyn Error + 'static)) -> bool {
    if let Some(wrapped) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return rejects_certificate(wrapped);
    }
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
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
        assert_eq!(endpoint("https://k:35357/v3/").unwrap(), "https://k:35357");
        for text in ["", "k:5000", "ftp://k/v3", "https://u:p@k/v3", "http://u@k", "unix:///k"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_leaves_the_machine_unencrypted_is_exposed() {
        for exposed in ["http://k:5000", "http://192.0.2.7", "http://[2001:db8::1]:5000"] {
            assert!(is_exposed(exposed), "{exposed}");
        }
        for safe in ["https://k", "http://localhost:5000", "http://127.0.0.2", "http://[::1]:5000"]
        {
            assert!(!is_exposed(safe), "{safe}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::new("hunter2".to_owned());
        let shown = format!("{:?}", Credentials::Application { id: "i".to_owned(), secret });
        assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }
}
