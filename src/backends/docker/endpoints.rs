//! Containers of one network give up their endpoints one after the other.
//!
//! Engines before 28.1 count the endpoints of a network, and lose a count when several containers
//! of it end at once. Such a network has "active endpoints" but no container, and cannot be removed
//! until the engine is started again. Not here: containers that end by themselves or by a stop at
//! the same time, whose ends nobody can order.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::NetworkDisconnectRequest;
use bollard::query_parameters::RemoveContainerOptionsBuilder;

use super::super::{BackendError, labels};
use super::DockerBackend;
use super::connection::within;
use super::observe::Found;
use crate::ids::ObjectId;

/// The first engine that does not count: major and minor version.
const COUNTS_NO_MORE: (u32, u32) = (28, 1);

/// How long a removal keeps the others of its network waiting: many times what it takes, unless
/// its process does not die.
const TURN: Duration = Duration::from_secs(2);

/// Whose turn it is in each bay's network.
#[derive(Default)]
pub(super) struct Endpoints {
    turns: Mutex<HashMap<ObjectId, Arc<tokio::sync::Mutex<()>>>>,
    /// Whether the engine does not count.
    are_exact: AtomicBool,
}

impl Endpoints {
    /// Learns what the engine is from its version, `20.10.24+dfsg1`.
    pub(super) fn note_version(&self, version: &str) {
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        self.are_exact.store(version >= COUNTS_NO_MORE, Ordering::Relaxed);
    }

    /// The turn in the network of a bay.
    pub(super) fn turn(&self, bay_id: ObjectId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|id, turn| *id == bay_id || Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(bay_id).or_default())
    }
}

impl DockerBackend {
    /// Removes a container by force, with its anonymous volumes.
    pub(super) async fn remove_container(
        &self,
        found: &Found,
        limit: Duration,
    ) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let id = &found.observed.engine_id;
        let mut removal = pin!(within(limit, docker.remove_container(id, Some(options))));
        let miscounts = !self.endpoints.are_exact.load(Ordering::Relaxed);
        // A container of a pod has that of its sandbox.
        let has_endpoint = !found.observed.state.has_ended() && found.place.is_none();
        let Some(bay_id) = found.bay_id.filter(|_| miscounts && has_endpoint) else {
            return removal.await;
        };
        let turn = self.endpoints.turn(bay_id);
        if let Ok(alone) = turn.try_lock() {
            if let Ok(removed) = tokio::time::timeout(TURN, &mut removal).await {
                return removed;
            }
            drop(alone);
            return removal.await;
        }
        // Others are at it, so only what has to be done in turn is done in turn.
        let in_turn = turn.lock().await;
        let network = labels::network_name(bay_id);
        let leaves = NetworkDisconnectRequest { container: id.clone(), force: Some(true) };
        let call = docker.disconnect_network(&network, leaves);
        // The removal itself gives up what is still there.
        if let Err(error) = self.connection.quick(call).await {
            tracing::debug!(%network, %error, "a container is removed while it is connected");
        }
        drop(in_turn);
        removal.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_tells_whether_an_engine_counts() {
        let endpoints = Endpoints::default();
        for (version, exact) in [
            ("20.10.24+dfsg1", false),
            ("28.0.4", false),
            ("28.1.0-rc.1", true),
            ("28.1.1", true),
            ("29.0", true),
            ("", false),
            ("dev", false),
        ] {
            endpoints.note_version(version);
            assert_eq!(endpoints.are_exact.load(Ordering::Relaxed), exact, "{version}");
        }
    }
}
