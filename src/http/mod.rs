//! The REST API.

use std::sync::Arc;

use tokio::sync::watch;

use crate::bus::Bus;
use crate::events::log::EventLog;
use crate::projections::query::ReadModels;

/// What every handler can reach. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The way to the actors and the nodes.
    pub bus: Arc<dyn Bus>,
    /// What queries answer from.
    pub reads: ReadModels,
    /// For event pages, streams and histories.
    pub log: Arc<dyn EventLog>,
    /// The API's settings.
    pub config: Arc<crate::config::HttpConfig>,
    /// Turns true when the service stops: streams end with a final position.
    pub stopping: watch::Receiver<bool>,
    /// Free bytes on the log's disk are below the reserve: changes are refused with 507.
    pub low_space: watch::Receiver<Option<String>>,
}
