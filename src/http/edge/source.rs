//! Who knows whose a token is, as the rest of the service asks for it. Not here: how each knows
//! (`keystone`, `tokens`).

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::audit::Audit;
use super::identity::{Seen, Token};
use super::keystone::Keystone;
use super::token_file::TokenFile;
use super::tokens::Tokens;
use crate::config::{AuthConfig, HttpConfig};
use crate::http::error::ApiError;

/// Who knows whose a token is.
pub enum IdentitySource {
    /// Keystone.
    Keystone(Arc<Keystone>),
    /// The service itself, of those that it issued.
    Tokens(Arc<Tokens>),
}

impl IdentitySource {
    /// As the settings say; none where nobody is asked who they are.
    ///
    /// # Errors
    /// In words, where they say what cannot be.
    pub fn of(config: &HttpConfig, data: &Path) -> Result<Option<Self>, String> {
        let admin = config.admin_project.clone();
        Ok(match &config.auth {
            AuthConfig::None => None,
            AuthConfig::Keystone(keystone) => {
                Some(Self::Keystone(Arc::new(Keystone::new(keystone.clone(), admin)?)))
            }
            AuthConfig::Tokens => {
                let tokens = Tokens::open(TokenFile::new(data), admin.project);
                Some(Self::Tokens(Arc::new(tokens.map_err(|error| error.to_string())?)))
            }
        })
    }

    /// What it does by itself as long as the service runs.
    pub fn start(&self, audit: &Audit) {
        match self {
            Self::Keystone(keystone) => keystone.start(),
            Self::Tokens(tokens) => {
                drop(tokio::spawn(Arc::clone(tokens).follow(audit.clone())));
            }
        }
    }

    /// Whose a token is; `client` is where the request comes from, if it is one.
    pub async fn whose(&self, token: &Token, client: Option<IpAddr>) -> Seen {
        match self {
            Self::Keystone(keystone) => keystone.whose(token, client).await,
            Self::Tokens(tokens) => tokens.whose(token),
        }
    }

    /// The refusal where it does not say whose a token is.
    pub fn away(&self) -> ApiError {
        match self {
            Self::Keystone(keystone) if keystone.is_distrusted() => ApiError::KeystoneDistrust,
            Self::Keystone(_) => ApiError::NoKeystone,
            Self::Tokens(_) => ApiError::NoTokens,
        }
    }

    /// Why it says of no token whose it is, if that is so.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Keystone(keystone) => keystone.problem(),
            Self::Tokens(tokens) => tokens.problem(),
        }
    }

    /// What `WWW-Authenticate` says: as Keystone's own middleware does, which old clients expect.
    pub fn challenge(&self) -> String {
        match self {
            Self::Keystone(keystone) => format!("Keystone uri='{}'", keystone.url()),
            Self::Tokens(_) => "Bearer realm=\"magnum\"".to_owned(),
        }
    }
}
