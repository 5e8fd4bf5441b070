//! Serving until the service stops.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::edge::state::AppState;
use super::listener;
use super::service::service;
use super::tls::Tls;

/// Serves the REST API until `state.stopping` turns true and what was in progress has ended: what
/// waits for an outcome answers at once, and streams end. A reader that does not read holds that up
/// until the caller gives up.
pub async fn serve(listener: TcpListener, tls: Option<Arc<Tls>>, state: AppState) {
    let stopping = state.stopping.clone();
    let proxies = state.config.trusted_proxies.clone();
    listener::serve(listener, tls, proxies, service(state), stopping).await;
}
