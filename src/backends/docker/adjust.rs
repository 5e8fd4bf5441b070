//! Limits that the engine changes while a container goes on.

use bollard::models::ContainerUpdateBody;

use super::super::{BackendError, Done, Work};
use super::DockerBackend;
use super::create::{NANO_PER_MILLI, restart_policy};
use super::lifecycle::missing;
use crate::events::container::Limits;

/// Memory and swap together, as a multiple of memory: what the engine gives a container that asks
/// for memory alone. It refuses more memory than that.
const MEMORY_AND_SWAP: i64 = 2;

impl DockerBackend {
    /// Gives a container other limits; the same again change nothing.
    pub(super) async fn adjust(&self, work: &Work, limits: &Limits) -> Result<Done, BackendError> {
        let found = self.find(work.stream).await?.ok_or_else(|| missing(work.stream))?;
        let memory = limits.memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let body = ContainerUpdateBody {
            memory,
            memory_swap: memory.map(|bytes| bytes.saturating_mul(MEMORY_AND_SWAP)),
            nano_cpus: limits.cpu_millis.map(|millis| i64::from(millis) * NANO_PER_MILLI),
            restart_policy: limits.restart_policy.as_ref().map(restart_policy),
            ..ContainerUpdateBody::default()
        };
        let docker = self.connection.client()?;
        let call = docker.update_container(&found.observed.engine_id, body);
        self.connection.quick(call).await.map(|()| Done::default())
    }
}
