//! The end of a run: all is well, and everything that must hold is looked at.

use std::sync::Arc;
use std::time::Duration;

use crate::client::Clients;
use crate::oracle;
use crate::world::World;

/// Two comparisons of the reconciler with the engine.
const COMPARED: Duration = Duration::from_secs(130);

/// Checks everything; what identifies the run.
pub async fn check(world: &Arc<World>, clients: &Arc<Clients>) -> String {
    oracle::settle(world).await;
    tokio::time::sleep(COMPARED).await;
    oracle::settle(world).await;
    if world.breaches().is_empty() {
        oracle::engine(world).await;
    }
    oracle::promises(world, clients).await;
    oracle::work(world).await;
    oracle::replays(world).await;
    oracle::hash(world).await
}
