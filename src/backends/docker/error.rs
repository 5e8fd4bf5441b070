//! What the engine's errors mean for us: wait, look again, try again, give up.
//!
//! The engine's status codes are not reliable (a missing executable is a 400, a missing user a
//! 500, a registry that says no a 500), so for some its words decide.

use bollard::errors::Error;

use super::super::BackendError;

/// Words of errors that no second attempt cures, though the status code says otherwise.
const PERMANENT: &[&str] = &[
    // Starting a process.
    "executable file not found",
    "exec format error",
    "permission denied: unknown",
    "no such file or directory: unknown",
    "is a directory: unknown",
    "not a directory: unknown",
    "unable to find user",
    "unable to find group",
    "no matching entries in passwd file",
    // Pulling an image.
    "invalid reference format",
    "manifest unknown",
    "no matching manifest",
    "pull access denied",
    "repository name not known to registry",
    "no basic auth credentials",
    "unauthorized",
    "authentication required",
    "requested access to the resource is denied",
    // Reading logs.
    "does not support reading",
];

/// Words of errors that pass by themselves, though the status code says otherwise.
const PASSING: &[&str] = &["has active endpoints", "toomanyrequests"];

/// Every subnet that the engine chooses from has a network. Passes when a network goes.
const NO_SUBNET_LEFT: &[&str] =
    &["non-overlapping IPv4 address pool", "predefined address pools have been fully subnetted"];

/// Request timeout, too early, too many requests: status codes below 500 that pass by themselves.
const PASSING_STATUS: &[u16] = &[408, 425, 429];

/// What an error of a call means.
pub(super) fn classify(error: Error) -> BackendError {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            refused_by_engine(status_code, message)
        }
        Error::DockerStreamError { error } => refused_by_engine(500, error),
        Error::RequestTimeoutError => {
            BackendError::TimedOut("the Docker engine did not answer".to_owned())
        }
        Error::SocketNotFoundError(_) => {
            BackendError::Unavailable("the Docker engine's socket does not exist".to_owned())
        }
        Error::HyperLegacyError { err } => away(&err),
        Error::HyperResponseError { err } => away(&err),
        Error::IOError { err } => away(&err),
        Error::JsonDataError { message, .. } => unreadable(&message),
        Error::JsonSerdeError { err } => unreadable(&err),
        Error::URLParseError { .. } | Error::InvalidURIError { .. } => {
            BackendError::Refused("a name in it is not valid for the Docker engine".to_owned())
        }
        other => BackendError::Failed(root_words(&other)),
    }
}

/// What a status code and the words with it mean.
fn refused_by_engine(status: u16, words: String) -> BackendError {
    let words = if words.trim().is_empty() {
        format!("the Docker engine answered with status {status}")
    } else {
        words.trim().to_owned()
    };
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    let passes = says(PASSING) || has_no_subnet_left(&words);
    if PASSING_STATUS.contains(&status) || passes {
        BackendError::Failed(words)
    } else if status == 404 {
        BackendError::Missing(words)
    } else if status < 500 || says(PERMANENT) {
        BackendError::Refused(words)
    } else {
        BackendError::Failed(words)
    }
}

/// Whether the engine says that it has no subnet for another network.
pub(super) fn has_no_subnet_left(words: &str) -> bool {
    NO_SUBNET_LEFT.iter().any(|phrase| words.contains(phrase))
}

/// No connection, or one that broke.
fn away(error: &(dyn std::error::Error + 'static)) -> BackendError {
    BackendError::Unavailable(format!("no connection to the Docker engine: {}", root_words(error)))
}

fn unreadable(why: &dyn std::fmt::Display) -> BackendError {
    BackendError::Failed(format!("the Docker engine's answer cannot be read: {why}"))
}

/// The words of the innermost cause: those above it may say where the engine listens.
fn root_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(status_code: u16, message: &str) -> BackendError {
        classify(Error::DockerResponseServerError { status_code, message: message.to_owned() })
    }

    #[test]
    fn status_codes_decide_where_words_do_not() {
        assert_eq!(classified(404, "gone"), BackendError::Missing("gone".to_owned()));
        assert_eq!(classified(409, "taken"), BackendError::Refused("taken".to_owned()));
        assert_eq!(classified(429, "slow down"), BackendError::Failed("slow down".to_owned()));
        assert_eq!(classified(500, "broken"), BackendError::Failed("broken".to_owned()));
        assert!(
            matches!(classified(500, " "), BackendError::Failed(words) if words.contains("500"))
        );
    }

    #[test]
    fn words_decide_where_status_codes_lie() {
        for words in [
            "unable to find user nobodyxx: no matching entries in passwd file",
            "Get \"http://127.0.0.1:5001/v2/\": no basic auth credentials",
            "OCI runtime create failed: exec: \"no\": executable file not found in $PATH: unknown",
        ] {
            assert_eq!(classified(500, words), BackendError::Refused(words.to_owned()));
        }
        for words in [
            "toomanyrequests: You have reached your pull rate limit.",
            "error while removing network: network n id 1 has active endpoints",
        ] {
            assert_eq!(classified(403, words), BackendError::Failed(words.to_owned()));
        }
        for words in [
            "driver failed programming external connectivity: port is already allocated",
            "failed to register layer: write /x: no space left on device",
            "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
        ] {
            assert_eq!(classified(500, words), BackendError::Failed(words.to_owned()));
        }
    }

    #[test]
    fn where_the_engine_listens_is_not_told() {
        let error = classify(Error::SocketNotFoundError("/secret/docker.sock".to_owned()));
        assert!(matches!(&error, BackendError::Unavailable(words) if !words.contains("secret")));
    }
}
