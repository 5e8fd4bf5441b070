//! The one way to do what may take long, such as reading much of the log, without holding up
//! other requests: on a thread that may wait. A simulation has one thread and does it there.

use crate::clock;

/// Runs `work` where it holds up nobody.
///
/// # Errors
/// When it panicked, or the service stops; in words.
pub async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    if clock::is_simulated() {
        return Ok(work());
    }
    // What it logs belongs to the request that it is done for.
    let span = tracing::Span::current();
    let work = move || span.in_scope(work);
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}
