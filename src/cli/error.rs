//! Errors of the command line, worded as the old client words them, and what to do next.
//!
//! Not here: usage errors that clap detects (exit code 2).

use std::io;
use std::process::ExitCode;

use reqwest::StatusCode;
use serde_json::Value;

use super::terminal::{RED, YELLOW, colours, paint, printable};

/// The exit code where the user waits no longer, as that of `timeout`.
const TIMED_OUT: u8 = 124;

/// The exit code where a command in a container gave none, as that of `docker run`.
const NOT_EXECUTED: u8 = 125;

/// Why a command failed.
#[derive(Debug)]
pub enum CliError {
    /// The server refused the request.
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The server's message.
        words: String,
        /// A command that helps.
        next: Option<String>,
    },
    /// No server, or the connection broke: which, and how.
    Unreachable(String),
    /// Anything else; the message says what helps.
    Failed(String),
    /// Reported before, one line for each target; a command that helps.
    Reported(Option<String>),
    /// As [`CliError::Failed`], with a command that helps.
    Advised(String, String),
    /// It was not done within the time that the user waits; what it waits for.
    TimedOut(String),
    /// A command in a container could not be run, or its end is not known.
    NotExecuted(Box<CliError>),
    /// Any of these of a change, with the id of its request.
    OfChange(Box<CliError>, String),
    /// A command in a container gave this exit code.
    Exit(u8),
    /// The command line makes no sense.
    Usage(String),
    /// Reading or writing a file or stdout failed.
    Io(io::Error),
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl CliError {
    /// The message in one line, without what to do next.
    pub fn message(&self) -> String {
        match self {
            Self::Refused { status, words, .. } => format!("{words} (HTTP {})", status.as_u16()),
            Self::Unreachable(words)
            | Self::Failed(words)
            | Self::Advised(words, _)
            | Self::TimedOut(words)
            | Self::Usage(words) => words.clone(),
            Self::NotExecuted(error) | Self::OfChange(error, _) => error.message(),
            Self::Reported(_) | Self::Exit(_) => String::new(),
            Self::Io(error) => error.to_string(),
        }
    }

    /// A command that helps, if there is one.
    pub fn next(&self) -> Option<&str> {
        match self {
            Self::Refused { next, .. } | Self::Reported(next) => next.as_deref(),
            Self::Advised(_, next) => Some(next.as_str()),
            Self::NotExecuted(error) | Self::OfChange(error, _) => error.next(),
            _ => None,
        }
    }

    /// As the failure of a change, if it is one: of what the server did, or of what is awaited.
    #[must_use]
    pub fn of_change(self, request_id: Option<&str>) -> Self {
        match (self, request_id) {
            (error @ (Self::Refused { .. } | Self::Advised(..) | Self::TimedOut(_)), Some(id)) => {
                Self::OfChange(Box::new(error), id.to_owned())
            }
            (error, _) => error,
        }
    }

    /// The error itself.
    pub fn cause(&self) -> &Self {
        match self {
            Self::OfChange(error, _) => error.cause(),
            error => error,
        }
    }

    /// The id of the request, of a change.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::OfChange(_, id) => Some(id),
            Self::NotExecuted(error) => error.request_id(),
            _ => None,
        }
    }

    /// Whether it is of one object, so that another one may do better.
    pub fn is_of_object(&self) -> bool {
        matches!(self.cause(), Self::Refused { .. } | Self::Advised(..))
    }

    /// Prints the error to stderr and chooses the exit code.
    pub fn report(&self) -> ExitCode {
        if matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            // The reader of our output has seen enough (`| head`).
            return ExitCode::SUCCESS;
        }
        if !matches!(self, Self::Reported(_) | Self::Exit(_)) {
            say(&self.message());
        }
        say_request(self.request_id());
        if let Some(next) = self.next() {
            eprintln!("Try: {}", printable(next));
        }
        match self.cause() {
            Self::Usage(_) => ExitCode::from(2),
            Self::TimedOut(_) => ExitCode::from(TIMED_OUT),
            Self::NotExecuted(_) => ExitCode::from(NOT_EXECUTED),
            Self::Exit(code) => ExitCode::from(*code),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Prints an error to stderr.
pub fn say(words: &str) {
    let label = paint(colours(&io::stderr()), RED, "ERROR:");
    eprintln!("{label} {}", printable(words));
}

/// Prints the id of a change that failed to stderr, for `magnum trace`.
pub fn say_request(id: Option<&str>) {
    if let Some(id) = id {
        eprintln!("Request id: {}", printable(id));
    }
}

/// Prints a warning to stderr.
pub fn warn(words: &str) {
    let label = paint(colours(&io::stderr()), YELLOW, "Warning:");
    eprintln!("{label} {}", printable(words));
}

/// The message of an error response, in any of the shapes that Magnum servers send.
pub fn fault_message(status: StatusCode, body: &Value) -> String {
    let wrapped = body
        .get("error_message")
        .and_then(Value::as_str)
        .map(|text| serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into()));
    let fault = wrapped.as_ref().or_else(|| body.get("error_message")).unwrap_or(body);
    let first = body.pointer("/errors/0");
    [
        fault.get("faultstring"),
        Some(fault),
        first.and_then(|error| error.get("detail")),
        first.and_then(|error| error.get("title")),
        body.pointer("/error/message"),
    ]
    .into_iter()
    .flatten()
    .filter_map(Value::as_str)
    .find(|words| !words.is_empty())
    .map_or_else(|| status.canonical_reason().unwrap_or("Unknown error").to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_shape_of_error_body_has_its_message() {
        let wrapped = json!({"error_message": "{\"faultstring\": \"Bay x is gone.\"}"});
        let both =
            json!({"error_message": "{\"faultstring\": \"one\"}", "errors": [{"detail": "two"}]});
        for (body, words) in [
            (wrapped, "Bay x is gone."),
            (both, "one"),
            (json!({"error_message": "plain"}), "plain"),
            (json!({"error_message": {"faultstring": "object"}}), "object"),
            (json!({"faultstring": "bare"}), "bare"),
            (json!({"errors": [{"title": "t", "detail": "d"}]}), "d"),
            (json!({"errors": [{"title": "t", "detail": ""}]}), "t"),
            (json!({"error": {"message": "later"}}), "later"),
            (json!({"error_message": "{\"faultstring\": \"\"}"}), "Not Found"),
            (Value::Null, "Not Found"),
        ] {
            assert_eq!(fault_message(StatusCode::NOT_FOUND, &body), words, "{body}");
        }
    }
}
