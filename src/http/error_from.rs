//! What other layers fail with, as refusals of the requests that met it.
//!
//! Not here: their statuses (`error`).

use super::error::ApiError;
use crate::bus::CommandError;
use crate::events::DecodeError;
use crate::events::log::ReadError;
use crate::files::{is_full, lacks_files};
use crate::projections::as_of::AsOfError;
use crate::replay::ReplayError;
use crate::secrets::SecretsError;

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(words) => Self::Damaged(words),
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<SecretsError> for ApiError {
    fn from(error: SecretsError) -> Self {
        match &error {
            SecretsError::Io { source, .. } if is_full(source) => {
                Self::LowSpace("there is no space for the key of the project".to_owned())
            }
            SecretsError::Io { source, .. } if lacks_files(source) => {
                tracing::warn!(%error, "too many open files; requests are refused");
                Self::Command(CommandError::Overloaded)
            }
            _ => Self::Internal(error.to_string()),
        }
    }
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Invalid(words) => Self::BadRequest(words),
            ReplayError::NotFound(words) => Self::Missing(words),
            error @ ReplayError::TooLarge(_) => Self::TooMuchOutput(error.to_string()),
            ReplayError::Archived(archived) => archived.into(),
            ReplayError::Decode(error) => error.into(),
            ReplayError::Read(error) => error.into(),
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
    fn a_key_that_cannot_be_had_just_now_is_no_fault_of_the_service() {
        use rustix::io::Errno;

        let failed = |errno: Errno| {
            ApiError::from(SecretsError::Io { path: "keys/p.key".to_owned(), source: errno.into() })
        };
        let statuses = [
            (Errno::NOSPC, 507),
            (Errno::DQUOT, 507),
            (Errno::MFILE, 503),
            (Errno::NFILE, 503),
            (Errno::IO, 500),
        ];
        for (errno, status) in statuses {
            let error = failed(errno);
            assert_eq!(error.status().as_u16(), status, "{errno:?}");
            assert!(!error.detail().contains("keys/"), "{errno:?}");
        }
    }
}
