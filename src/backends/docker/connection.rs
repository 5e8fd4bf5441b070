//! Connecting to the engine, and time limits for each kind of call.
//!
//! Not here: what an error means (`error.rs`).

use std::path::PathBuf;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};

use super::super::BackendError;
use super::error::classify;

/// How long calls may take. Without an answer by then the engine counts as hanging.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most calls: they take milliseconds, and seconds on an overloaded machine. Also
    /// what is added to a grace period.
    pub quick: Duration,
    /// A whole pull: 10 GiB at 6 MB/s.
    pub pull: Duration,
    /// A pull without any news: registries are slow to start, and a big layer is silent while the
    /// engine checks and unpacks it.
    pub pull_idle: Duration,
    /// From the first request to remove a container until it is gone: the engine gives a process
    /// 10 s to die and then unmounts.
    pub removal: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            quick: Duration::from_secs(30),
            pull: Duration::from_secs(30 * 60),
            pull_idle: Duration::from_secs(2 * 60),
            removal: Duration::from_secs(60),
        }
    }
}

/// Seconds that the client itself waits: beyond all of [`Limits`], which are what counts.
const CLIENT_TIMEOUT_S: u64 = 24 * 60 * 60;

/// Where the engine listens.
pub(super) struct Connection {
    socket: PathBuf,
    pub(super) limits: Limits,
}

impl Connection {
    pub(super) const fn new(socket: PathBuf, limits: Limits) -> Self {
        Self { socket, limits }
    }

    /// A client; each of its calls opens a connection of its own.
    pub(super) fn client(&self) -> Result<Docker, BackendError> {
        let path = self.socket.to_string_lossy();
        Docker::connect_with_unix(&path, CLIENT_TIMEOUT_S, API_DEFAULT_VERSION).map_err(classify)
    }

    /// A call that should be answered soon.
    pub(super) async fn quick<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, BackendError> {
        within(self.limits.quick, call).await
    }
}

/// A call with a limit.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, BackendError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(classify),
        Err(_) => Err(BackendError::TimedOut(format!(
            "the Docker engine did not answer within {limit:?}"
        ))),
    }
}
