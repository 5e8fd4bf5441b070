//! Serving until the service stops.

use std::io;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use tower::make::Shared;

use super::edge::state::AppState;
use super::service::service;

/// Serves the REST API until `state.stopping` turns true and what was in progress has ended: what
/// waits for an outcome answers at once, and streams end. A reader that does not read holds that up
/// until the caller gives up.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, state: AppState) -> io::Result<()> {
    let mut stopping = state.stopping.clone();
    let stopped = async move {
        // Without a sender there is nobody left who could stop it: stop as well.
        drop(stopping.wait_for(|stopping| *stopping).await);
    };
    let listener = listener.tap_io(|stream| {
        // Small answers must not wait for more; where it cannot be set they do.
        drop(stream.set_nodelay(true));
    });
    axum::serve(listener, Shared::new(service(state))).with_graceful_shutdown(stopped).await
}
