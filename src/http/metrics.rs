//! Metrics for Prometheus: requests, the log, the views, objects.

use std::fmt;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::edge::state::AppState;
use super::error::ApiError;

/// What objects are told apart by.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

/// `GET /metrics`
pub async fn show(State(state): State<AppState>) -> Result<Response, ApiError> {
    let text = text(&state).map_err(|error| ApiError::Internal(error.to_string()))?;
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, openmetrics)], text).into_response())
}

fn text(state: &AppState) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("magnum");
    state.own().requests.register(&mut registry);
    let log = state.log.health();
    let counted = [
        ("log_appends", "Appends acknowledged since the start", log.appends),
        ("log_events", "Events acknowledged since the start", log.events),
        ("log_syncs", "Syncs since the start", log.syncs),
    ];
    for (name, help, value) in counted {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let head = state.log.head().borrow().get();
    let views = state.reads.stats();
    let gauges = [
        ("log_queued", "Appends waiting for the writer", log.queued as u64),
        ("log_healthy", "Whether the log accepts appends", u64::from(log.failed.is_none())),
        ("log_head", "Position of the last event", head),
        ("views_position", "Position up to which the views are folded", views.position.get()),
        (
            "views_lag",
            "Events not folded into the views yet",
            head.saturating_sub(views.position.get()),
        ),
        (
            "views_saved",
            "Position up to which the views are saved for the next start",
            views.saved.get(),
        ),
        ("views_parked", "Streams with an event that cannot be applied", views.parked),
        ("views_broken_rows", "Views rebuilt at the start", views.broken_rows),
        (
            "authentication_healthy",
            "Whether requests can be authenticated",
            u64::from(state.auth.problem().is_none()),
        ),
        ("objects_waiting", "Objects with unfinished work", views.waiting),
    ];
    for (name, help, value) in gauges {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
    let objects = Family::<OfKind, Gauge>::default();
    for (kind, count) in views.objects {
        let gauge = objects.get_or_create(&OfKind { kind: kind.name().to_owned() });
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("objects", "Objects by noun", objects);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}
