//! Liveness and readiness.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::edge::state::AppState;
use super::respond;
use crate::events::node::Status;

/// Events that the views may be behind before reads are better answered by somebody else: about
/// a second of a busy log.
const MAX_LAG: u64 = 10_000;

/// That the process answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`
    status: String,
}

/// How the parts are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether requests are served as they should be.
    ready: bool,
    /// Why not.
    problems: Vec<String>,
    /// The position of the last event.
    head: u64,
    /// Up to where the views are.
    position: u64,
    /// The difference.
    lag: u64,
    /// Nodes with a backend whose engine answers.
    nodes_available: usize,
    /// Nodes with a backend whose engine does not: their work waits.
    nodes_unavailable: usize,
}

/// `GET /healthz`
pub async fn alive() -> Response {
    respond::json(StatusCode::OK, &Health { status: "ok".to_owned() })
}

/// `GET /readyz`: 503 when the log takes nothing, the views are far behind, nobody can be
/// authenticated, or the service stops. What that takes is known already: nobody else is asked.
/// An unavailable engine is not a reason: its work waits, and everything else is served.
pub async fn ready(State(state): State<AppState>) -> Response {
    let (head, position) = (state.log.head().borrow().get(), state.reads.position().borrow().get());
    let lag = head.saturating_sub(position);
    let (stats, health) = (state.reads.stats(), state.log.health());
    let mut problems = Vec::new();
    if let Some(reason) = health.failed {
        problems.push(format!("the log accepts no events: {reason}"));
    }
    if let Some(words) = health.damaged {
        problems.push(format!("events cannot be read: {words}"));
    }
    if lag > MAX_LAG || !stats.caught_up {
        problems.push(format!("the views are at position {position}, {lag} behind the log"));
    }
    if let Some(reason) = stats.unhealthy {
        problems.push(format!("the views are not updated: {reason}"));
    }
    if *state.stopping.borrow() {
        problems.push("the service is stopping".to_owned());
    }
    if let Some(reason) = state.low_space.borrow().clone().or(health.no_space) {
        problems.push(format!("no changes are accepted: {reason}"));
    }
    problems.extend(state.auth.problem());
    let nodes = state.reads.nodes().unwrap_or_else(|_| {
        problems.push("the views cannot be read".to_owned());
        Vec::new()
    });
    let ready = problems.is_empty();
    let count = |status| nodes.iter().filter(|node| node.status == status).count();
    let body = Readiness {
        ready,
        problems,
        head,
        position,
        lag,
        nodes_available: count(Status::Available),
        nodes_unavailable: count(Status::Unavailable),
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    respond::json(status, &body)
}
