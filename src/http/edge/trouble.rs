//! What keeps the service from asking Keystone, and since when: logged when it changes, and shown
//! by `/readyz` and `/metrics` for as long as it lasts.
//!
//! Not here: how that is found out (`keystone`).

use tokio::sync::watch;

use crate::clock;
use crate::ids::Timestamp;
use crate::text;

/// What keeps the service from asking Keystone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing yet: it was not asked before.
    Unasked,
    /// No usable answer.
    Away,
    /// A certificate that is not accepted.
    Untrusted,
    /// Keystone does not accept the service's own credentials.
    Credentials,
    /// Keystone does not let the service ask about others.
    Rights,
}

impl Trouble {
    /// What it is, and what to check. Everybody may read it: what Keystone said is only logged.
    const fn words(self) -> &'static str {
        match self {
            Self::Unasked => "Keystone has not answered yet",
            Self::Away => {
                "Keystone is unavailable: check that it runs and can be reached, and --keystone-url"
            }
            Self::Untrusted => {
                "Keystone's certificate is not trusted: check --keystone-cacert, and the host in \
                 --keystone-url"
            }
            Self::Credentials => {
                "Keystone does not accept the service's own credentials: check \
                 --keystone-username, --keystone-project, their domains or \
                 --keystone-application-credential, and MAGNUM_KEYSTONE_PASSWORD or \
                 --keystone-password-file"
            }
            Self::Rights => {
                "Keystone does not let the service validate tokens: check that its user has the \
                 role service or admin in its project (--keystone-username, --keystone-project)"
            }
        }
    }

    /// Whether Keystone is there, but one side does not accept the other.
    pub const fn is_distrust(self) -> bool {
        matches!(self, Self::Untrusted | Self::Credentials | Self::Rights)
    }
}

/// Why a question was not answered.
#[derive(Debug)]
pub struct Failure {
    /// What keeps the service from asking.
    pub trouble: Trouble,
    /// What happened; for the log.
    pub cause: String,
}

impl Failure {
    /// A failure, with the words of somebody else.
    pub fn new(trouble: Trouble, cause: &str) -> Self {
        Self { trouble, cause: text::words(cause) }
    }
}

/// What keeps the service from asking, and since when.
pub struct Standing(watch::Sender<Option<(Trouble, Timestamp)>>);

impl Standing {
    /// Before anything was asked.
    pub fn new() -> Self {
        Self(watch::Sender::new(Some((Trouble::Unasked, clock::now()))))
    }

    /// What is in the way.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.borrow().map(|(trouble, _)| trouble)
    }

    /// The same in words, with what to check.
    pub fn problem(&self) -> Option<String> {
        self.0.borrow().map(|(trouble, since)| {
            let (since, words) = (since.rfc3339(), trouble.words());
            format!("no request can be authenticated since {since}: {words}")
        })
    }

    /// Keystone answered as it should.
    pub fn works(&self) {
        let before = self.0.send_replace(None);
        if before.is_some_and(|(trouble, _)| trouble != Trouble::Unasked) {
            tracing::info!("requests can be authenticated again");
        }
    }

    /// Keystone did not. Logged once, whatever words it comes in.
    pub fn fails(&self, failure: &Failure) {
        let trouble = failure.trouble;
        let is_new = self.0.send_if_modified(|told| {
            let since = told.filter(|(before, _)| *before != Trouble::Unasked);
            let since = since.map_or_else(clock::now, |(_, since)| since);
            told.replace((trouble, since)).is_none_or(|(before, _)| before != trouble)
        });
        if is_new {
            let (words, cause) = (trouble.words(), &failure.cause);
            tracing::error!("cannot authenticate requests: {words} ({cause})");
        }
    }
}
