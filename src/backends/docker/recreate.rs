//! What recreating a container needs of the Docker engine.
//!
//! Not here: in which order, and what happens after a failure (`backends/recreate`).

use async_trait::async_trait;
use bollard::query_parameters::RenameContainerOptionsBuilder;

use super::super::action::Recreation;
use super::super::recreate::{Part, Places, Replacing};
use super::super::{BackendError, Reporter, Work, labels, unless_cancelled};
use super::DockerBackend;
use super::connection::within;
use super::observe::Found;
use crate::ids::StreamId;
use crate::image::Reference;

/// Seconds between the stop signal and the kill, as in Docker.
const GRACE_S: u32 = 10;

#[async_trait]
impl Replacing for DockerBackend {
    async fn parts(&self, stream: StreamId) -> Result<Places, BackendError> {
        let ours = |found: &Found| self.owns(found, stream);
        let mut current = self.look(&labels::container_name(stream.id)).await?.filter(ours);
        let aside = self.look(&labels::aside_name(stream.id)).await?.filter(ours);
        if current.is_none() {
            // Somebody may have given it another name.
            let is_aside =
                |id: &String| aside.as_ref().is_some_and(|aside| aside.observed.engine_id == *id);
            let ids = self.ids_of(stream).await?;
            if let Some(id) = ids.iter().find(|id| !is_aside(id)) {
                current = self.look(id).await?;
            }
        }
        Ok(Places { current: current.map(part), aside: aside.map(part) })
    }

    async fn prepare(
        &self,
        work: &Work,
        wanted: &Recreation,
        reporter: &dyn Reporter,
    ) -> Result<(), BackendError> {
        let spec = &wanted.spec;
        let image = Reference::parse(&spec.image).map_err(BackendError::Refused)?;
        self.check_allowed(&image, spec)?;
        let body = self.body(work, wanted.name.as_deref(), wanted.bay_id, spec);
        unless_cancelled(reporter, body).await?;
        // The container is in a bay that is there: before the bay's network is removed, its
        // containers are, and with them this work.
        let network = self.ensure_network(wanted.bay_id, &work.project);
        unless_cancelled(reporter, network).await?;
        let image = self.ensure_image(&image, &spec.image, reporter);
        unless_cancelled(reporter, image).await.map(drop)
    }

    async fn halt(&self, id: &str, reporter: &dyn Reporter) -> Result<(), BackendError> {
        self.stop(id, GRACE_S, reporter).await
    }

    async fn rename(&self, id: &str, name: &str) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        self.connection.quick(docker.rename_container(id, options)).await
    }

    async fn make(
        &self,
        work: &Work,
        wanted: &Recreation,
        old: Option<&str>,
        reporter: &dyn Reporter,
    ) -> Result<String, BackendError> {
        let spec = &wanted.spec;
        let image = Reference::parse(&spec.image).map_err(BackendError::Refused)?;
        let mut body = self.body(work, wanted.name.as_deref(), wanted.bay_id, spec).await?;
        if let Some(config) = &mut body.host_config {
            // Those of its image, too: the engine removes them with the last container that has
            // them.
            config.volumes_from = old.map(|old| vec![old.to_owned()]);
        }
        let image = self.ensure_image(&image, &spec.image, reporter);
        body.image = Some(unless_cancelled(reporter, image).await?);
        match self.request(work, None, body).await {
            Ok(done) => Ok(done.engine_id.unwrap_or_default()),
            // The image or the network went away between two calls.
            Err(BackendError::Missing(words)) => Err(BackendError::Failed(words)),
            Err(error) => Err(error),
        }
    }

    async fn launch(&self, id: &str) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        within(self.connection.limits.quick, docker.start_container(id, None)).await
    }

    async fn discard(&self, id: &str) -> Result<(), BackendError> {
        let Some(found) = self.look(id).await? else { return Ok(()) };
        match self.remove_container(&found, self.connection.limits.removal).await {
            Err(BackendError::Missing(_)) => Ok(()),
            answer => answer,
        }
    }
}

fn part(found: Found) -> Part {
    let (end, state) = (found.end(), found.observed.state);
    Part { id: found.observed.engine_id, work_id: found.work_id, state, end, run: found.run }
}
