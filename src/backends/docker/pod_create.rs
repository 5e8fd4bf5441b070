//! Making a pod, none of whose containers run yet: images, volumes, the sandbox, the containers.
//!
//! An attempt takes up what an earlier one of the same work made, and makes what is missing. The
//! sandbox runs at once, since the containers are told its address and join its network by its id.
//! Not here: what each container is made from (`pod_member`).

use bollard::query_parameters::InspectContainerOptions;

use super::super::labels::{self, PodPlace};
use super::super::pods::{Addresses, WantedPod};
use super::super::{BackendError, Done, Reporter, Work, unless_cancelled};
use super::DockerBackend;
use super::observe::Found;
use super::pod_member::Surroundings;
use super::pod_observe::{PodParts, is_up};
use crate::events::pod::PodSpec;
use crate::ids::ObjectId;
use crate::image::Reference;
use crate::manifest::plan::PlannedContainer;

/// A container that is to be made, in its place.
type Placed<'a> = (PodPlace, &'a PlannedContainer);

impl DockerBackend {
    /// Makes a pod, or what is missing of it.
    pub(super) async fn create_pod(
        &self,
        work: &Work,
        name: &str,
        bay_id: ObjectId,
        spec: &PodSpec,
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        let wanted = WantedPod::read(spec)?;
        let places = wanted.places();
        self.check_pod(&places)?;
        // Before the first attempt there is nothing; what came of this attempt has its name.
        let earlier =
            if work.attempt > 1 { self.pod(work.stream).await? } else { PodParts::default() };
        if let Some(sandbox) = self.complete(work, &earlier, &places) {
            return Ok(done(sandbox));
        }
        unless_cancelled(reporter, self.check_sub_paths(&places)).await?;
        let images = unless_cancelled(reporter, self.pod_images(&places, reporter)).await?;
        unless_cancelled(reporter, self.require_network(bay_id)).await?;
        let sandbox = self.ensure_sandbox(work, name, bay_id, &wanted, &earlier).await?;
        let surroundings = Surroundings {
            work,
            wanted: &wanted,
            labels: labels::of_pod(work, name, bay_id),
            addresses: self.addresses(&sandbox, bay_id).await?,
            sandbox_id: sandbox.observed.engine_id.clone(),
            bounds: &self.allowed.bounds,
            log_driver: self.log_driver().await?,
        };
        for ((place, container), image) in places.iter().zip(images) {
            let body = surroundings.body(place, container, image)?;
            self.request(work, Some(place), body).await.map_err(vanished)?;
        }
        Ok(done(&sandbox))
    }

    /// Refuses images that may not be used.
    fn check_pod(&self, places: &[Placed<'_>]) -> Result<(), BackendError> {
        let check = |(_, container): &Placed<'_>| {
            let image = Reference::parse(&container.image)?;
            self.allowed.images.check(&image)
        };
        places.iter().try_for_each(check).map_err(BackendError::Refused)
    }

    /// The sandbox of a pod of which an earlier attempt of this work made all that there is to be.
    fn complete<'a>(
        &self,
        work: &Work,
        parts: &'a PodParts,
        places: &[Placed<'_>],
    ) -> Option<&'a Found> {
        let is_of_work = |found: &&Found| found.work_id == Some(work.id);
        let is_there =
            |(place, _): &Placed<'_>| parts.member(&place.name).as_ref().is_some_and(is_of_work);
        let sandbox = parts.sandbox.as_ref().filter(is_of_work).filter(|sandbox| is_up(sandbox));
        sandbox.filter(|_| places.iter().all(is_there))
    }

    /// Has the engine have the images of these containers; the names by which it has them.
    async fn pod_images(
        &self,
        places: &[Placed<'_>],
        reporter: &dyn Reporter,
    ) -> Result<Vec<String>, BackendError> {
        let mut names: Vec<String> = Vec::new();
        for (at, (_, container)) in places.iter().enumerate() {
            let same = |(_, other): &Placed<'_>| {
                (&other.image, other.pull) == (&container.image, container.pull)
            };
            let known = places.iter().take(at).position(same).and_then(|at| names.get(at)).cloned();
            names.push(match known {
                Some(name) => name,
                None => {
                    let image =
                        Reference::parse(&container.image).map_err(BackendError::Refused)?;
                    let given = &container.image;
                    self.ensure_image_by(container.pull, &image, given, reporter).await?
                }
            });
        }
        Ok(names)
    }

    /// A pod's sandbox, which runs, with its volumes.
    async fn ensure_sandbox(
        &self,
        work: &Work,
        name: &str,
        bay_id: ObjectId,
        wanted: &WantedPod,
        earlier: &PodParts,
    ) -> Result<Found, BackendError> {
        let sandbox = self.find_sandbox(work).await?;
        let labels = labels::of_pod(work, name, bay_id);
        self.make_volumes(work, &labels, &wanted.plan.volumes).await?;
        let sandbox = match sandbox {
            Some(sandbox) => sandbox,
            None => self.make_sandbox(work, name, bay_id, &wanted.plan, labels).await?,
        };
        if !is_up(&sandbox) {
            // They were told the address of one that runs no more.
            for member in &earlier.members {
                self.remove_container(member, self.connection.limits.removal).await?;
            }
        }
        let sandbox = self.start_sandbox(sandbox).await?;
        self.open_volumes(&sandbox.observed.engine_id, &wanted.plan).await?;
        Ok(sandbox)
    }

    /// Where a pod and its machine are in the bay's network.
    async fn addresses(
        &self,
        sandbox: &Found,
        bay_id: ObjectId,
    ) -> Result<Addresses, BackendError> {
        let docker = self.connection.client()?;
        let id = &sandbox.observed.engine_id;
        let call = docker.inspect_container(id, None::<InspectContainerOptions>);
        let settings = self.connection.quick(call).await?.network_settings.unwrap_or_default();
        let endpoint =
            settings.networks.and_then(|mut it| it.remove(&labels::network_name(bay_id)));
        let endpoint = endpoint.unwrap_or_default();
        let given = |address: Option<String>| address.filter(|address| !address.is_empty());
        match (given(endpoint.ip_address), given(endpoint.gateway)) {
            (Some(pod), host) => Ok(Addresses { pod, host: host.unwrap_or_default() }),
            (None, _) => Err(BackendError::Failed(format!(
                "the pod's sandbox {id} has no address in the network of bay {bay_id}"
            ))),
        }
    }
}

/// The image or the sandbox went away between two calls.
fn vanished(error: BackendError) -> BackendError {
    match error {
        BackendError::Missing(words) => BackendError::Failed(words),
        other => other,
    }
}

fn done(sandbox: &Found) -> Done {
    Done { engine_id: Some(sandbox.observed.engine_id.clone()), ..Done::default() }
}
