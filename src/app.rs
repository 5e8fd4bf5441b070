//! How the parts are put together, started and stopped.

use crate::config::Config;

/// Why the service did not start or did not stop cleanly; the words say what helps.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Another part says why.
    #[error("{0}")]
    Start(String),
}

/// Runs the whole service in this process until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or does not stop within its time.
pub fn serve(_config: Config) -> Result<(), AppError> {
    Err(AppError::Start("not built".to_owned()))
}
