//! Metrics for Prometheus: requests, the log, the views, objects, work, the disk.
//!
//! Everybody who reaches the port may read them, so they name no object, project or user. Only an
//! operator sees how many containers each bay has. Not here: what is counted (`edge/requests`,
//! `edge/tally`, `survey`), the formats (`exposition`).

use std::fmt;

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::edge::auth::Auth;
use super::edge::request::RequestId;
use super::edge::state::AppState;
use super::error::ApiError;
use super::exposition::Exposition;
use super::survey::Survey;
use crate::projections::census::ByStatus;
use crate::projections::query::Stats;

/// What objects are told apart by.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfStatus {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfBay {
    bay: String,
}

/// `GET /metrics`
pub async fn show(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let accept = request.headers().get_all(header::ACCEPT).into_iter();
    let accept: Vec<_> = accept.filter_map(|value| value.to_str().ok()).collect();
    let format = Exposition::preferred(&accept.join(","));
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let question = state.auth.question(&request, &id, state.own().names.client(&request));
    let is_operator = Auth::is_operator(question).await;
    let survey = state.own().survey.get(&state.reads, state.storage.as_ref()).await?;
    let text = text(&state, &survey, is_operator);
    let text = text.map_err(|error| ApiError::Internal(error.to_string()))?;
    let headers = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")];
    Ok((headers, format.written(text)).into_response())
}

fn text(state: &AppState, survey: &Survey, is_operator: bool) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("magnum");
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The program that runs", build);
    state.own().requests.register(&mut registry);
    state.tally.register(&mut registry);
    register_log(state, &mut registry);
    let views = state.reads.stats();
    register_views(state, &views, &mut registry);
    register_objects(&views, survey, is_operator, &mut registry);
    register_storage(survey, &mut registry);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn gauge(value: u64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    gauge
}

fn register_log(state: &AppState, registry: &mut Registry) {
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
    let gauges = [
        ("log_queued", "Appends waiting for the writer", log.queued as u64),
        ("log_healthy", "Whether the log accepts appends", u64::from(log.failed.is_none())),
        ("log_head", "Position of the last event", state.log.head().borrow().get()),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, gauge(value));
    }
}

fn register_views(state: &AppState, views: &Stats, registry: &mut Registry) {
    let head = state.log.head().borrow().get();
    let lag = head.saturating_sub(views.position.get());
    let may_authenticate = u64::from(state.auth.problem().is_none());
    let saved = "Position up to which the views are saved for the next start";
    let gauges = [
        ("views_position", "Position up to which the views are folded", views.position.get()),
        ("views_lag", "Events not folded into the views yet", lag),
        ("views_saved", saved, views.saved.get()),
        ("views_parked", "Streams with an event that cannot be applied", views.parked),
        ("views_broken_rows", "Views rebuilt at the start", views.broken_rows),
        ("authentication_healthy", "Whether requests can be authenticated", may_authenticate),
        ("objects_waiting", "Objects with unfinished work", views.waiting),
        ("streams", "Open event streams and followed logs", state.own().places.taken().into()),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, gauge(value));
    }
}

fn register_objects(views: &Stats, survey: &Survey, is_operator: bool, registry: &mut Registry) {
    let census = &survey.census;
    let of = |counts: &ByStatus| {
        let family = Family::<OfStatus, Gauge>::default();
        for (status, count) in counts {
            family.get_or_create(&OfStatus { status }).set((*count).cast_signed());
        }
        family
    };
    registry.register("containers", "Containers by status", of(&census.containers));
    registry.register("pods", "Pods by status", of(&census.pods));
    registry.register("bays", "Bays by status", of(&census.bays));
    registry.register("nodes", "Nodes by status", of(&census.nodes));
    if is_operator {
        let family = Family::<OfBay, Gauge>::default();
        let named = census.containers_by_bay.iter().map(|(bay, count)| (bay.to_string(), *count));
        for (bay, count) in named.chain([("other".to_owned(), census.containers_of_others)]) {
            family.get_or_create(&OfBay { bay }).set(count.cast_signed());
        }
        let help = "Containers of the bays that have most of them, and of all others";
        registry.register("bay_containers", help, family);
    }
    let objects = Family::<OfKind, Gauge>::default();
    for (kind, count) in &views.objects {
        let kind = kind.name().to_owned();
        objects.get_or_create(&OfKind { kind }).set((*count).cast_signed());
    }
    registry.register("objects", "Objects by noun", objects);
}

fn register_storage(survey: &Survey, registry: &mut Registry) {
    let known = [
        ("data_used", "Space that the data directory takes", survey.used_bytes),
        ("data_free", "Free space on the disk of the data directory", survey.free_bytes),
    ];
    for (name, help, bytes) in known {
        if let Some(bytes) = bytes {
            registry.register_with_unit(name, help, Unit::Bytes, gauge(bytes));
        }
    }
    if let Some(age_ms) = survey.backup_age_ms {
        let help = "Time since the last backup in the directory of --backup-dir";
        registry.register_with_unit("backup_age", help, Unit::Seconds, gauge(age_ms / 1000));
    }
}
