//! The REST API: the way in for users, and the way out for what is recorded.
//!
//! In reading order: `routes` (every path), `edge` (what every request passes), `auth` and
//! `keystone` (who asks, and whether they may), `request` (what it says), one file a noun,
//! `command` (asking and waiting), `audit`, `respond`, `error` and `error_body`, `keys` (sealing
//! and erasing). Then `events`, `stream` (the log for readers), `schema`, `replay` (what was, and
//! why), `health`, `metrics`, `openapi`.
//! Not here: decisions (`actors`), views (`projections`).

pub mod audit;
pub mod auth;
mod bay;
mod baymodel;
mod command;
mod container;
mod container_action;
mod container_execute;
mod container_logs;
mod container_spec;
mod defaults;
mod discovery;
mod edge;
mod error;
mod error_body;
mod event_filter;
mod event_start;
mod events;
mod health;
mod input;
mod keys;
pub mod keystone;
mod list;
mod list_past;
mod metrics;
mod node;
pub mod openapi;
mod patch;
mod read;
mod replay;
mod request;
mod respond;
mod routes;
mod schema;
mod server;
mod stream;
mod stream_form;
mod stream_reader;
mod stream_snapshot;

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;
use uuid::Uuid;

use crate::actors::snapshot::Snapshots;
use crate::bus::Bus;
use crate::config::HttpConfig;
use crate::events::log::EventLog;
use crate::events::newest::Newest;
use crate::projections::read_models::ReadModels;
use crate::secrets::Secrets;

pub use edge::service;
pub use server::serve;

/// What every handler can reach. Cheap to clone: each request does so several times.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

struct Inner {
    parts: Parts,
    own: Own,
}

/// What the REST API stands on.
pub struct Parts {
    /// The way to the actors and the nodes.
    pub bus: Arc<dyn Bus>,
    /// What queries answer from.
    pub reads: ReadModels,
    /// What seals values that are secret.
    pub secrets: Secrets,
    /// Folded states, to be compared with the log.
    pub snapshots: Snapshots,
    /// For event pages, streams and histories.
    pub log: Arc<dyn EventLog>,
    /// The API's settings.
    pub config: HttpConfig,
    /// Who asks, and whether they may.
    pub auth: auth::Auth,
    /// Takes down what no change of an object shows.
    pub audit: audit::Audit,
    /// Tells this installation from every other one; the same in all its processes, for ever.
    pub installation: Uuid,
    /// Turns true when the service stops: streams end with a final position.
    pub stopping: watch::Receiver<bool>,
    /// Free bytes on the log's disk are below the reserve: changes are refused with 507.
    pub low_space: watch::Receiver<Option<String>>,
}

/// What the REST API keeps for itself.
struct Own {
    metrics: metrics::Metrics,
    places: stream::Places,
    newest: Arc<Newest>,
}

impl AppState {
    /// Before the first request.
    pub fn new(parts: Parts) -> Self {
        let own = Own {
            metrics: metrics::Metrics::default(),
            places: stream::Places::default(),
            newest: Arc::new(Newest::new(parts.log.clone())),
        };
        Self(Arc::new(Inner { parts, own }))
    }

    fn own(&self) -> &Own {
        &self.0.own
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}
