//! What Prometheus reads: requests, the log, the views, objects.

use std::fmt;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::AppState;
use super::error::ApiError;

/// From half a millisecond to the longest wait for an outcome.
const SECONDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 30.0];

/// What requests are told apart by.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    method: String,
    route: String,
    status: u16,
}

/// What durations are told apart by.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    method: String,
    route: String,
}

/// What objects are told apart by.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

/// What was counted since the start.
pub struct Metrics {
    requests: Family<Answered, Counter>,
    durations: Family<Asked, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        Self { requests: Family::default(), durations: Family::new_with_constructor(histogram) }
    }
}

impl Metrics {
    /// Counts an answer. `route` is a path of the route table, never one that a client made up.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        let asked = Asked { method: method.clone(), route: route.clone() };
        self.durations.get_or_create(&asked).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { method, route, status }).inc();
    }
}

/// `GET /metrics`
pub async fn show(State(state): State<AppState>) -> Result<Response, ApiError> {
    let text = text(&state, &state.own().metrics)
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, openmetrics)], text).into_response())
}

fn text(state: &AppState, metrics: &Metrics) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("magnum");
    let (requests, durations) = (metrics.requests.clone(), metrics.durations.clone());
    registry.register("http_requests", "Answers by route and status", requests);
    registry.register("http_request_seconds", "Time to the answer's first byte", durations);
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
    let waiting = state.reads.outstanding().map_or(0, |streams| streams.len() as u64);
    let gauges = [
        ("log_queued", "Appends that wait for the writer", log.queued as u64),
        ("log_healthy", "Whether the log takes appends", u64::from(log.failed.is_none())),
        ("log_head", "Position of the last event", head),
        ("views_position", "Up to where the views are", views.position.get()),
        (
            "views_lag",
            "Events that the views are behind",
            head.saturating_sub(views.position.get()),
        ),
        ("views_saved", "Up to where the views are saved for the next start", views.saved.get()),
        ("views_parked", "Streams with an event that cannot be applied", views.parked),
        ("views_broken_rows", "Views that had to be made again at the start", views.broken_rows),
        ("objects_waiting", "Objects with unfinished work", waiting),
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
