//! The caller, as handlers see it. Not here: how it is established (`auth`).

use axum::http::Extensions;

use super::identity::Token;
use super::policy::{Right, Rights};
use crate::http::error::ApiError;
use crate::ids::{ProjectId, Timestamp};

/// Who asks, as handlers get to know it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user's id.
    pub user: String,
    /// Whose objects it is about.
    pub project: ProjectId,
    /// The user's roles there.
    pub roles: Vec<String>,
    /// What they allow.
    pub(super) rights: Rights,
    /// The token, and when it expires.
    pub(super) token: Option<(Token, Timestamp)>,
    /// The browser's session that they came with, if it was one.
    pub(super) session: Option<[u8; 32]>,
}

impl Caller {
    /// Everybody, where nobody is asked who they are.
    pub fn anonymous() -> Self {
        let (user, project) = ("anonymous".to_owned(), ProjectId::default());
        let (roles, rights) = (Vec::new(), Rights::ALL);
        Self { user, project, roles, rights, token: None, session: None }
    }

    /// Who asks, of a request that was admitted.
    ///
    /// # Errors
    /// Where a request came by another way than the edge: nobody was asked who they are.
    pub fn of(extensions: &Extensions) -> Result<Self, ApiError> {
        let admitted = extensions.get::<Self>().cloned();
        admitted.ok_or_else(|| ApiError::Internal("a request was not admitted".to_owned()))
    }

    /// Whether they may do something besides what the request itself needs.
    pub const fn may(&self, right: Right) -> bool {
        self.rights.has(right)
    }
}
