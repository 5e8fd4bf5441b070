//! What every handler can reach.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;
use uuid::Uuid;

use super::audit::Audit;
use super::auth::Auth;
use super::host::Names;
use super::places::Places;
use super::requests::Requests;
use super::tally::Tally;
use crate::bus::Bus;
use crate::config::{HttpConfig, StorageConfig};
use crate::events::log::EventLog;
use crate::events::newest::Newest;
use crate::http::survey::LastSurvey;
use crate::http::underway::LatestNews;
use crate::projections::names::Names as ObjectNames;
use crate::projections::read_models::ReadModels;
use crate::replay::verify::Kept;
use crate::secrets::Secrets;

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
    /// How far work is, beside that.
    pub underway: Arc<LatestNews>,
    /// What seals values that are secret.
    pub secrets: Secrets,
    /// What is kept beside the log, to be compared with it.
    pub kept: Kept,
    /// For event pages, streams and histories.
    pub log: Arc<dyn EventLog>,
    /// The API's settings.
    pub config: HttpConfig,
    /// Who asks, and whether they may.
    pub auth: Auth,
    /// Records what no change of an object shows.
    pub audit: Audit,
    /// Tells this installation from every other one; the same in all its processes, forever.
    pub installation: Uuid,
    /// What happens, counted.
    pub tally: Arc<Tally>,
    /// Where everything is stored; nothing where that is no disk.
    pub storage: Option<StorageConfig>,
    /// Turns true when the service stops: streams end with a final position.
    pub stopping: watch::Receiver<bool>,
    /// Free bytes on the log's disk are below the reserve: changes are refused with 507.
    pub low_space: watch::Receiver<Option<String>>,
}

/// What the REST API keeps for itself.
pub struct Own {
    /// Answers, counted.
    pub requests: Requests,
    /// How this server may be named.
    pub names: Names,
    /// Places for answers that go on.
    pub places: Places,
    /// The last events, decoded once for all who follow.
    pub newest: Arc<Newest>,
    /// What the metrics found out last.
    pub survey: LastSurvey,
    /// What objects were called when something happened.
    pub called: Arc<ObjectNames>,
}

impl AppState {
    /// Before the first request.
    pub fn new(parts: Parts) -> Self {
        let own = Own {
            requests: Requests::default(),
            names: Names::new(&parts.config),
            places: Places::new(parts.auth.tells_projects_apart()),
            called: Arc::new(ObjectNames::new(parts.log.clone())),
            newest: Arc::new(Newest::new(parts.log.clone())),
            survey: LastSurvey::default(),
        };
        Self(Arc::new(Inner { parts, own }))
    }

    /// What the REST API keeps for itself.
    pub fn own(&self) -> &Own {
        &self.0.own
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}
