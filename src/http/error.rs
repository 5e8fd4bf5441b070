//! Everything a request can be refused with, and its HTTP status.
//!
//! All statuses of refusals are chosen in [`ApiError::answer`]. A 4xx says what was wrong and
//! what to do; a 5xx that is our fault says nothing internal. Not here: how that is sent
//! (`error_body`), what other layers fail with (`error_from`).

use axum::http::StatusCode;

use super::connections::NoPlace;
use super::head_limits::TooLargeHead;
use crate::backends::BackendError;
use crate::bus::{CommandError, Refusal};
use crate::events::log::Archived;
use crate::ids::StreamKind;
use crate::projections::query::QueryError;
use crate::text;

/// What programs know a missing or invalid token by.
pub const UNAUTHENTICATED: &str = "unauthenticated";
/// What programs know a lack of rights by.
pub const FORBIDDEN: &str = "forbidden";

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No token that says who asks; what `WWW-Authenticate` says.
    #[error("Authentication required")]
    Unauthenticated(String),
    /// The caller may not; the message says what is missing.
    #[error("{0}")]
    Forbidden(String),
    /// A request with the session of a browser that a page of ours may not have made.
    #[error("Send the csrf_token of the session as X-CSRF-Token with each change.")]
    NoCsrfToken,
    /// The list of tokens cannot be read.
    #[error("The list of tokens cannot be read; cannot authenticate. See the service's log.")]
    NoTokens,
    /// Keystone does not say who asks.
    #[error("Keystone is unavailable; cannot authenticate. Try again.")]
    NoKeystone,
    /// Keystone and the service do not accept each other.
    #[error(
        "The service and Keystone do not accept each other; cannot authenticate. An operator has \
        to correct that; GET /readyz says what to check."
    )]
    KeystoneDistrust,
    /// So many unknown tokens are asked about that this one would wait for long.
    #[error("Too many unknown tokens are being checked; try again.")]
    TooManyTokens,
    /// Something about the request as a whole.
    #[error("{0}")]
    BadRequest(String),
    /// A field of the body, a query argument or a header.
    #[error("Invalid input for field/attribute {field}. Value: '{value}'. {reason}")]
    BadField {
        /// The field.
        field: String,
        /// Its value, shortened; empty if it may be secret.
        value: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// No such object in this project.
    #[error("{0} {1} could not be found.")]
    NotFound(&'static str, String),
    /// There is no such thing; the message says what there is.
    #[error("{0}")]
    Missing(String),
    /// Nothing is at this path.
    #[error(
        "There is no resource at {0}; GET /v1 lists the collections, /v1/openapi.json \
        describes them."
    )]
    NoSuchPath(String),
    /// An archive has taken events that were asked for.
    #[error(transparent)]
    Archived(#[from] Archived),
    /// A page in a browser that came from elsewhere; what gave it away.
    #[error("Requests from web pages of another origin are refused; this one has {0}.")]
    ForeignOrigin(String),
    /// The request is for a server of another name.
    #[error(
        "This server does not answer to the name {0}. Use the address that it listens on, such as \
        http://127.0.0.1:9511, or start it with --public-url if this is its name. Without \
        authentication other names are refused, because a web page could use them (DNS rebinding)."
    )]
    Misdirected(String),
    /// A body of a type that web pages may send anywhere, or of none.
    #[error(
        "The body must be JSON and say so with the header Content-Type: application/json (with \
        curl: -H 'Content-Type: application/json'); it has {0}. Other types are refused, because \
        any web page may send them."
    )]
    NotJson(String),
    /// As many connections as there may be are open, of all clients or of this one.
    #[error("{0}; try again.")]
    TooManyConnections(NoPlace),
    /// The head of the request is over a limit.
    #[error(transparent)]
    TooLargeHead(#[from] TooLargeHead),
    /// The path knows other methods.
    #[error("{0} is not allowed here; see the Allow header.")]
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
    /// The project has as much at once as it may.
    #[error("{0}")]
    TooMany(String),
    /// All projects together have as much at once as there may be.
    #[error("{0}")]
    Overloaded(String),
    /// The body did not come.
    #[error("The body of the request was not received in time.")]
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
    /// The outcome of work is unknown.
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
    /// The views cannot be read now; they are rebuilt by themselves. The message is for the log.
    #[error("{0}")]
    Unreadable(String),
    /// What was asked for is in a damaged part of the log; the message, with the place and what
    /// helps, is for the log and for `/readyz`.
    #[error("{0}")]
    Damaged(String),
    /// The disk of the log is nearly full.
    #[error("The service accepts no changes now: {0}")]
    LowSpace(String),
    /// A fault of ours; the message is for the log only.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// A field that is not acceptable.
    pub fn field(field: &str, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::BadField { field: field.to_owned(), value: value.into(), reason: reason.into() }
    }

    /// No object with this name or uuid.
    pub fn not_found(kind: impl Into<StreamKind>, ident: impl Into<String>) -> Self {
        Self::NotFound(kind.into().title(), ident.into())
    }

    /// A query about an object that was named by `ident`.
    pub fn query(kind: impl Into<StreamKind>, ident: &str, error: QueryError) -> Self {
        let kind = kind.into();
        match error {
            QueryError::NotFound | QueryError::UnknownMarker => Self::not_found(kind, ident),
            QueryError::Ambiguous => Self::Ambiguous(kind.collection(), kind.name()),
            QueryError::UnknownSortKey(key) => {
                Self::field("sort_key", text::words(&key), "Lists cannot be sorted by this field.")
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

    /// The HTTP status; see [`ApiError::answer`].
    pub fn status(&self) -> StatusCode {
        self.answer().0
    }

    /// What a program tells errors of one status apart by; see [`ApiError::answer`].
    pub fn code(&self) -> &'static str {
        self.answer().1
    }

    /// The HTTP status and what a program tells errors of one status apart by: with
    /// [`command_answer`] the only place that chooses either for a refusal.
    fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request"),
            Self::BadField { .. } => (StatusCode::BAD_REQUEST, "bad-field"),
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, UNAUTHENTICATED),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, FORBIDDEN),
            Self::NoCsrfToken => (StatusCode::FORBIDDEN, "csrf-token"),
            Self::ForeignOrigin(_) => (StatusCode::FORBIDDEN, "foreign-origin"),
            Self::Misdirected(_) => (StatusCode::MISDIRECTED_REQUEST, "misdirected"),
            Self::NotJson(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "body-not-json"),
            Self::TooManyConnections(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "too-many-connections")
            }
            Self::NotFound(..) | Self::Missing(_) => (StatusCode::NOT_FOUND, "not-found"),
            Self::NoSuchPath(_) => (StatusCode::NOT_FOUND, "no-such-path"),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow"),
            Self::Ambiguous(..) => (StatusCode::CONFLICT, "ambiguous-name"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Self::WorkFailed(_) => (StatusCode::CONFLICT, "work-failed"),
            Self::Archived(_) => (StatusCode::GONE, "archived"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
            Self::TooLargeHead(TooLargeHead::Address) => {
                (StatusCode::URI_TOO_LONG, "address-too-long")
            }
            Self::TooLargeHead(_) => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large")
            }
            Self::TooMuchOutput(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-much-output"),
            Self::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too-many"),
            Self::Command(error) => command_answer(error),
            Self::Engine(error) => (backend_status(error), "engine"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::Damaged(_) => (StatusCode::INTERNAL_SERVER_ERROR, "log-damaged"),
            Self::WorkUnknown(_) => (StatusCode::BAD_GATEWAY, "work-unknown"),
            Self::Overloaded(_) => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Self::NoKeystone => (StatusCode::SERVICE_UNAVAILABLE, "no-keystone"),
            Self::KeystoneDistrust => (StatusCode::SERVICE_UNAVAILABLE, "keystone-distrust"),
            Self::NoTokens => (StatusCode::SERVICE_UNAVAILABLE, "no-tokens"),
            Self::TooManyTokens => (StatusCode::SERVICE_UNAVAILABLE, "too-many-tokens"),
            Self::Behind { .. } => (StatusCode::SERVICE_UNAVAILABLE, "behind"),
            Self::Unreadable(_) => (StatusCode::SERVICE_UNAVAILABLE, "views-unreadable"),
            Self::LowSpace(_) => (StatusCode::INSUFFICIENT_STORAGE, "no-space"),
        }
    }

    /// Whether it is a 5xx that says nothing new to the operator: load that passes, a full disk,
    /// which `/readyz` shows, or that Keystone is away, which is logged once.
    pub fn is_expected(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::NoTokens)
            || matches!(self, Self::NoKeystone | Self::KeystoneDistrust)
            || matches!(self, Self::TooManyTokens | Self::TooManyConnections(_))
            || matches!(self, Self::Overloaded(_))
            || matches!(self, Self::Command(CommandError::Overloaded))
            || self.status() == StatusCode::INSUFFICIENT_STORAGE
    }

    /// What the user is told.
    pub fn detail(&self) -> String {
        match self {
            Self::Internal(_)
            | Self::Command(CommandError::Internal(_) | CommandError::Forbidden(_)) => {
                "An internal error; see the service's log under the request id.".to_owned()
            }
            Self::Damaged(_) => {
                "This is in a damaged part of the log; GET /readyz says where, and what helps."
                    .to_owned()
            }
            Self::Unreadable(_) => {
                "The read model cannot be read now; try again. GET /readyz shows its state."
                    .to_owned()
            }
            Self::Command(CommandError::OutcomeUnknown(_) | CommandError::NoAnswer(_)) => {
                "The outcome is unknown: retry with the same Idempotency-Key once the service \
                 is back."
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

/// The status and code of a command that was not carried out.
const fn command_answer(error: &CommandError) -> (StatusCode, &'static str) {
    match error {
        CommandError::Refused(refusal) => refusal_answer(refusal),
        CommandError::CommandIdReused => {
            (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused")
        }
        CommandError::Contended(_) => (StatusCode::CONFLICT, "contended"),
        CommandError::NoSpace(_) => (StatusCode::INSUFFICIENT_STORAGE, "no-space"),
        CommandError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        CommandError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        CommandError::Unreadable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unreadable-event"),
        // Not 503: proxies and clients repeat that by themselves, without the key that makes it
        // harmless.
        CommandError::OutcomeUnknown(_) | CommandError::NoAnswer(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "outcome-unknown")
        }
        CommandError::Internal(_) | CommandError::Forbidden(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    }
}

const fn refusal_answer(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::NotFound { .. } => (StatusCode::NOT_FOUND, "not-found"),
        Refusal::Invalid { .. } => (StatusCode::BAD_REQUEST, "bad-field"),
        Refusal::NotAllowed { .. } => (StatusCode::BAD_REQUEST, "not-allowed"),
        Refusal::IllegalTransition { .. } => (StatusCode::CONFLICT, "illegal-transition"),
        Refusal::AlreadyExists { .. } => (StatusCode::CONFLICT, "already-exists"),
        Refusal::NameTaken { .. } => (StatusCode::CONFLICT, "name-taken"),
        Refusal::Conflict { .. } => (StatusCode::CONFLICT, "conflict"),
        Refusal::RevisionMismatch { .. } => (StatusCode::PRECONDITION_FAILED, "revision-mismatch"),
        Refusal::TooManyExecutions { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many-executions"),
        Refusal::QueueFull { .. } => (StatusCode::TOO_MANY_REQUESTS, "queue-full"),
    }
}

/// The status of a node that does not do what was asked.
const fn backend_status(error: &BackendError) -> StatusCode {
    match error {
        BackendError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        BackendError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        BackendError::Failed(_) => StatusCode::BAD_GATEWAY,
        BackendError::Refused(_)
        | BackendError::NotStarted { .. }
        | BackendError::Missing(_)
        | BackendError::Cancelled => StatusCode::CONFLICT,
    }
}

/// What a program tells refusals apart by.
pub const fn command_code(error: &CommandError) -> &'static str {
    command_answer(error).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::log::ReadError;

    #[test]
    fn what_is_internal_is_not_told() {
        let error = ApiError::Internal("sled: /var/secret".to_owned());
        assert!(!error.detail().contains("secret"));
        let error = ApiError::Command(CommandError::Internal("panicked at x".to_owned()));
        assert!(!error.detail().contains("panicked"));
        let error = ApiError::from(ReadError::Damaged("0000000001.seg".to_owned()));
        assert_eq!((error.status().as_u16(), error.code()), (500, "log-damaged"));
        assert!(!error.detail().contains(".seg"));
    }
}
