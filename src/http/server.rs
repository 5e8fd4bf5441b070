//! Serving until the service stops.

use std::io;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use tower::make::Shared;

use super::edge::state::AppState;
use super::service::service;

/// How long requests in progress may take once the service stops: what waits for an outcome answers
/// at once, streams end; what is left is a reader that does not read.
const GRACE: Duration = Duration::from_secs(3);

/// Serves the REST API until `state.stopping` turns true and what was in progress has ended.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, state: AppState) -> io::Result<()> {
    let stopped = |mut stopping: tokio::sync::watch::Receiver<bool>| async move {
        // Without a sender there is nobody left who could stop it: stop as well.
        drop(stopping.wait_for(|stopping| *stopping).await);
    };
    let (graceful, forced) = (stopped(state.stopping.clone()), stopped(state.stopping.clone()));
    let listener = listener.tap_io(|stream| {
        // Small answers must not wait for more; where it cannot be set they do.
        drop(stream.set_nodelay(true));
    });
    let server =
        axum::serve(listener, Shared::new(service(state))).with_graceful_shutdown(graceful);
    let cut = async {
        forced.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = server => served,
        () = cut => Ok(()),
    }
}
