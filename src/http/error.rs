//! Everything a request can be refused with, and its HTTP status.
//!
//! All statuses of refusals are chosen in [`ApiError::status`]. A 4xx says what was wrong and
//! what to do; a 5xx that is our fault says nothing internal. Not here: how that is sent
//! (`error_body`).

use axum::http::StatusCode;

use crate::backends::BackendError;
use crate::bus::{CommandError, Refusal};
use crate::events::DecodeError;
use crate::events::log::{Archived, ReadError};
use crate::ids::Kind;
use crate::projections::as_of::AsOfError;
use crate::projections::query::QueryError;
use crate::replay::ReplayError;

/// What programs know a missing or invalid token by.
pub const UNAUTHENTICATED: &str = "unauthenticated";
/// What programs know a lack of rights by.
pub const FORBIDDEN: &str = "forbidden";

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No token that says who asks; where Keystone gives some.
    #[error("Authentication required")]
    Unauthenticated(String),
    /// Whoever asks may not; the words say what is missing.
    #[error("{0}")]
    Forbidden(String),
    /// Keystone does not say who asks.
    #[error("Keystone does not answer now, so nobody can be asked who they are; try again.")]
    NoKeystone,
    /// Something about the request as a whole.
    #[error("{0}")]
    BadRequest(String),
    /// A field of the body, a query argument or a header.
    #[error("Invalid input for field/attribute {field}. Value: '{value}'. {reason}")]
    BadField {
        /// The field.
        field: String,
        /// Its value, shortened; empty where it may be secret.
        value: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// No such object in this project.
    #[error("{0} {1} could not be found.")]
    NotFound(&'static str, String),
    /// There is no such thing; the words say what there is.
    #[error("{0}")]
    Missing(String),
    /// Nothing is at this path.
    #[error("Nothing is at {0}; GET /v1 lists what there is, /v1/openapi.json describes it.")]
    NoSuchPath(String),
    /// An archive has taken events that were asked for.
    #[error(transparent)]
    Archived(#[from] Archived),
    /// A page in a browser that came from elsewhere wants to change something.
    #[error("Pages from another origin, such as {0}, neither change nor follow anything here.")]
    ForeignOrigin(String),
    /// The path knows other methods.
    #[error("{0} is not possible here; see the Allow header.")]
    MethodNotAllowed(String),
    /// Several objects have this name.
    #[error("Multiple {0} exist with same name. Please use the {1} uuid instead.")]
    Ambiguous(&'static str, &'static str),
    /// The object cannot be changed so now.
    #[error("{0}")]
    Conflict(String),
    /// The body is over the limit.
    #[error("The body is larger than {0} bytes.")]
    TooLarge(usize),
    /// The output is over the limit.
    #[error("{0}")]
    TooMuchOutput(String),
    /// The body did not come.
    #[error("The body of the request did not arrive in time.")]
    Slow,
    /// The object's entity says no, or nothing was recorded for another reason.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The node does not do what was asked.
    #[error(transparent)]
    Engine(#[from] BackendError),
    /// Work ended with a refusal; the backend's words.
    #[error("{0}")]
    WorkFailed(String),
    /// Nobody can say what came of work.
    #[error("{0}")]
    WorkUnknown(String),
    /// The views have not got where the reader wants them.
    #[error("The read model is at position {at}, {lag} behind {wanted}; try again.")]
    Behind {
        /// Where it is.
        at: u64,
        /// What was asked for.
        wanted: u64,
        /// The difference.
        lag: u64,
    },
    /// The views cannot be read now; they are made anew by themselves. The words are for the log.
    #[error("{0}")]
    Unreadable(String),
    /// The disk of the log is nearly full.
    #[error("The service takes no changes now: {0}")]
    LowSpace(String),
    /// A fault of ours; the words are for the log only.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// A field that is not acceptable.
    pub fn field(field: &str, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::BadField { field: field.to_owned(), value: value.into(), reason: reason.into() }
    }

    /// No object with this name or uuid.
    pub fn not_found(kind: Kind, ident: impl Into<String>) -> Self {
        Self::NotFound(title(kind), ident.into())
    }

    /// A query about an object that was named by `ident`.
    pub fn query(kind: Kind, ident: &str, error: QueryError) -> Self {
        match error {
            QueryError::NotFound | QueryError::UnknownMarker => Self::not_found(kind, ident),
            QueryError::Ambiguous => Self::Ambiguous(kind.collection(), kind.name()),
            QueryError::UnknownSortKey(key) => {
                Self::field("sort_key", key, "Lists are not sorted by this field.")
            }
            QueryError::UnknownFilter(key) => {
                Self::BadRequest(format!("Unknown argument: \"{key}\""))
            }
            QueryError::Behind { at, wanted } => Self::Behind {
                at: at.get(),
                wanted: wanted.get(),
                lag: wanted.get().saturating_sub(at.get()),
            },
            QueryError::Unreadable(words) => Self::Unreadable(words),
        }
    }

    /// The HTTP status; the only place that chooses one for a refusal.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::BadField { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound(..) | Self::Missing(_) | Self::NoSuchPath(_) => StatusCode::NOT_FOUND,
            Self::Archived(_) => StatusCode::GONE,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::ForeignOrigin(_) | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Ambiguous(..) | Self::Conflict(_) | Self::WorkFailed(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) | Self::TooMuchOutput(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Command(error) => command_status(error),
            Self::Engine(error) => backend_status(error),
            Self::WorkUnknown(_) => StatusCode::BAD_GATEWAY,
            Self::Behind { .. } | Self::Unreadable(_) | Self::NoKeystone => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::LowSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What a program tells errors of one status apart by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad-request",
            Self::BadField { .. } => "bad-field",
            Self::Unauthenticated(_) => UNAUTHENTICATED,
            Self::Forbidden(_) => FORBIDDEN,
            Self::NoKeystone => "no-keystone",
            Self::NotFound(..) | Self::Missing(_) => "not-found",
            Self::NoSuchPath(_) => "no-such-path",
            Self::Archived(_) => "archived",
            Self::ForeignOrigin(_) => "foreign-origin",
            Self::MethodNotAllowed(_) => "method-not-allowed",
            Self::Ambiguous(..) => "ambiguous-name",
            Self::Conflict(_) => "conflict",
            Self::TooLarge(_) => "body-too-large",
            Self::TooMuchOutput(_) => "too-much-output",
            Self::Slow => "body-too-slow",
            Self::Command(error) => command_code(error),
            Self::Engine(_) => "engine",
            Self::WorkFailed(_) => "work-failed",
            Self::WorkUnknown(_) => "work-unknown",
            Self::Behind { .. } => "behind",
            Self::Unreadable(_) => "views-unreadable",
            Self::LowSpace(_) => "no-space",
            Self::Internal(_) => "internal",
        }
    }

    /// What the user is told.
    pub fn detail(&self) -> String {
        match self {
            Self::Internal(_) | Self::Command(CommandError::Internal(_)) => {
                "An internal error; the service's log has it under the request's id.".to_owned()
            }
            Self::Unreadable(_) => {
                "The read model cannot be read now; try again. GET /readyz says how it is."
                    .to_owned()
            }
            Self::Command(CommandError::OutcomeUnknown(_)) => {
                "Nobody knows whether this was recorded; repeat it with the same Idempotency-Key \
                 once the service is back."
                    .to_owned()
            }
            other => other.to_string(),
        }
    }

    /// The field that is wrong, where it is one.
    pub fn at_field(&self) -> Option<&str> {
        match self {
            Self::BadField { field, .. }
            | Self::Command(CommandError::Refused(Refusal::Invalid { field, .. })) => Some(field),
            _ => None,
        }
    }
}

/// The status of a command that was not carried out.
const fn command_status(error: &CommandError) -> StatusCode {
    match error {
        CommandError::Refused(refusal) => match refusal {
            Refusal::NotFound { .. } => StatusCode::NOT_FOUND,
            Refusal::Invalid { .. } | Refusal::NotAllowed { .. } => StatusCode::BAD_REQUEST,
            Refusal::IllegalTransition { .. }
            | Refusal::AlreadyExists { .. }
            | Refusal::Conflict { .. } => StatusCode::CONFLICT,
            Refusal::RevisionMismatch { .. } => StatusCode::PRECONDITION_FAILED,
            Refusal::TooManyExecutions { .. } | Refusal::QueueFull { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
        },
        CommandError::CommandIdReused => StatusCode::UNPROCESSABLE_ENTITY,
        CommandError::Contended(_) => StatusCode::CONFLICT,
        CommandError::NoSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
        CommandError::Overloaded | CommandError::Unavailable(_) | CommandError::Unreadable(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        // Not 503: proxies and clients repeat that by themselves, without the key that makes it
        // harmless.
        CommandError::OutcomeUnknown(_) | CommandError::Internal(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// The status of a node that does not do what was asked.
const fn backend_status(error: &BackendError) -> StatusCode {
    match error {
        BackendError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        BackendError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        BackendError::Failed(_) => StatusCode::BAD_GATEWAY,
        BackendError::Refused(_) | BackendError::Missing(_) | BackendError::Cancelled => {
            StatusCode::CONFLICT
        }
    }
}

/// What a program tells refusals apart by.
pub const fn command_code(error: &CommandError) -> &'static str {
    match error {
        CommandError::Refused(refusal) => match refusal {
            Refusal::NotFound { .. } => "not-found",
            Refusal::Invalid { .. } => "bad-field",
            Refusal::IllegalTransition { .. } => "illegal-transition",
            Refusal::AlreadyExists { .. } => "already-exists",
            Refusal::NotAllowed { .. } => "not-allowed",
            Refusal::Conflict { .. } => "conflict",
            Refusal::RevisionMismatch { .. } => "revision-mismatch",
            Refusal::QueueFull { .. } => "queue-full",
            Refusal::TooManyExecutions { .. } => "too-many-executions",
        },
        CommandError::CommandIdReused => "idempotency-key-reused",
        CommandError::Contended(_) => "contended",
        CommandError::NoSpace(_) => "no-space",
        CommandError::Overloaded => "overloaded",
        CommandError::OutcomeUnknown(_) => "outcome-unknown",
        CommandError::Unavailable(_) => "unavailable",
        CommandError::Unreadable(_) => "unreadable-event",
        CommandError::Internal(_) => "internal",
    }
}

/// A noun as sentences begin with it.
pub const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Bay => "Bay",
        Kind::Baymodel => "Baymodel",
        Kind::Node => "Node",
        Kind::Container => "Container",
        Kind::Audit => "Audit",
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Invalid(words) => Self::BadRequest(words),
            ReplayError::NotFound(words) => Self::Missing(words),
            ReplayError::Archived(archived) => archived.into(),
            ReplayError::Decode(error) => error.into(),
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        Self::Command(CommandError::Unreadable(error.to_string()))
    }
}

impl From<AsOfError> for ApiError {
    fn from(error: AsOfError) -> Self {
        match error {
            AsOfError::Read(error) => error.into(),
            AsOfError::Decode(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_internal_is_not_told() {
        let error = ApiError::Internal("sled: /var/secret".to_owned());
        assert!(!error.detail().contains("secret"));
        let error = ApiError::Command(CommandError::Internal("panicked at x".to_owned()));
        assert!(!error.detail().contains("panicked"));
    }
}
