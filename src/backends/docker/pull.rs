//! Pulling an image: if the engine does not have it, or to learn whether its registry gives it to
//! everybody, which is what a project may use of what the engine has.
//!
//! Not here: registry credentials; the engine's API does not use its own either, so a registry that
//! requires some refuses. Which registries may be used is in `sources`.

use std::collections::HashMap;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use tokio::net::lookup_host;

use super::super::{BackendError, Progress, Reporter};
use super::DockerBackend;
use super::connection::within;
use super::error::{classify, pull_failed};
use crate::addresses::is_internal;
use crate::image::{Image, Reference, Registry, is_digest};
use crate::manifest::plan::PullPolicy;
use crate::sources::internal;
use crate::text;

/// Where a registry listens that names no port.
const HTTPS: u16 = 443;

/// How the engine begins to say which image a pull was of.
const DIGEST: &str = "Digest: ";

impl DockerBackend {
    /// The name by which the engine is asked for an image that it may have. Tenants' are said in
    /// full: a short one could be taken for the beginning of an id.
    pub(super) fn name_of(&self, wanted: &Reference, given: &str) -> String {
        if self.allowed.images.is_operator { given.to_owned() } else { wanted.canonical() }
    }

    /// Pulls an image unless it may be used as the engine has it; the name that it is to be used
    /// by.
    pub(super) async fn ensure_image(
        &self,
        wanted: &Reference,
        given: &str,
        reporter: &dyn Reporter,
    ) -> Result<String, BackendError> {
        self.ensure_image_by(PullPolicy::IfNotPresent, wanted, given, reporter).await
    }

    /// The same by a pull policy. What may not be used as the engine has it is pulled by any
    /// policy, as in a Kubernetes that always pulls images.
    pub(super) async fn ensure_image_by(
        &self,
        policy: PullPolicy,
        wanted: &Reference,
        given: &str,
        reporter: &dyn Reporter,
    ) -> Result<String, BackendError> {
        // No registry knows an id.
        let may_be_pulled = matches!(wanted, Reference::Named(_));
        let is_pulled_anyway = policy == PullPolicy::Always && may_be_pulled;
        if !is_pulled_anyway && self.allowed.images.may_use(wanted) {
            let name = self.name_of(wanted, given);
            let docker = self.connection.client()?;
            match self.connection.quick(docker.inspect_image(&name)).await {
                Err(BackendError::Missing(_)) if policy == PullPolicy::Never => {
                    return Err(BackendError::Refused(format!(
                        "the engine has no image {given}, which is never to be pulled"
                    )));
                }
                Err(BackendError::Missing(_)) => {}
                found => return found.map(|_| name),
            }
        }
        let Reference::Named(image) = wanted else {
            return Err(BackendError::Refused(format!("the engine has no image {given}")));
        };
        self.check_registry(image).await?;
        let limit = self.connection.limits.pull;
        let pull = async {
            // What the engine has by its digest it would take without a question to the registry.
            if image.digest().is_some() && !self.allowed.images.may_use(wanted) {
                self.ask_registry(image).await?;
            }
            self.pull(image, reporter).await
        };
        let pulled = tokio::time::timeout(limit, pull).await;
        let Pulled { digest, bytes } = pulled.unwrap_or_else(|_| {
            let name = image.canonical();
            Err(BackendError::TimedOut(format!("the pull of {name} took longer than {limit:?}")))
        })?;
        let name = match &digest {
            _ if self.allowed.images.is_operator => given.to_owned(),
            // Not by its tag, which another pull may have moved.
            Some(digest) => image.at(digest),
            None => return Err(incomplete(image)),
        };
        // A connection that ends early looks like the end of the news.
        let docker = self.connection.client()?;
        match within(self.connection.limits.quick, docker.inspect_image(&name)).await {
            Err(BackendError::Missing(_)) => return Err(incomplete(image)),
            found => found.map(drop)?,
        }
        reporter.progress(Progress::pulled(&image.canonical(), digest, bytes)).await;
        Ok(name)
    }

    /// Refuses a registry that may not be used, also by what its name stands for now. The engine
    /// looks the name up again, and follows where the registry sends it: who answers for the name
    /// can change it in between. Only a list of registries rules that out.
    async fn check_registry(&self, image: &Image) -> Result<(), BackendError> {
        let images = &self.allowed.images;
        images.check_registry(image).map_err(BackendError::Refused)?;
        if !images.checks_addresses(image) {
            return Ok(());
        }
        let registry = &image.registry;
        let Registry { host, port } = registry;
        let failed = |why: &dyn std::fmt::Display| {
            BackendError::Failed(format!("the registry {registry} cannot be looked up: {why}"))
        };
        let limit = self.connection.limits.quick;
        let found = lookup_host((host.as_str(), port.unwrap_or(HTTPS)));
        let found = tokio::time::timeout(limit, found).await.map_err(|error| failed(&error))?;
        let mut found = found.map_err(|error| failed(&error))?;
        if found.any(|address| is_internal(address.ip())) {
            return Err(BackendError::Refused(internal(registry)));
        }
        Ok(())
    }

    /// Has the engine ask an image's registry whether it gives it to everybody.
    async fn ask_registry(&self, image: &Image) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        let name = image.canonical();
        let call = docker.inspect_registry_image(&name, None);
        let answer = within(self.connection.limits.pull_idle, call).await;
        answer.map(drop).map_err(|error| self.told(image, error))
    }

    /// Pulls an image, and says so.
    async fn pull(&self, image: &Image, reporter: &dyn Reporter) -> Result<Pulled, BackendError> {
        let docker = self.connection.client()?;
        // It names a tag or a digest: otherwise the engine would pull all tags that there are.
        let name = image.canonical();
        let options = CreateImageOptionsBuilder::new().from_image(&name).build();
        let mut news = docker.create_image(Some(options), None, None);
        let mut layers = Layers::default();
        let mut digest = image.digest().map(str::to_owned);
        let idle = self.connection.limits.pull_idle;
        reporter.progress(Progress::pull_started(&name)).await;
        loop {
            let next = tokio::time::timeout(idle, news.next()).await.map_err(|_| {
                BackendError::TimedOut(format!("the pull of {name} made no progress in {idle:?}"))
            })?;
            match next {
                None => return Ok(Pulled { digest, bytes: layers.bytes().1 }),
                Some(Ok(info)) => {
                    digest = digest.or_else(|| pulled(&info));
                    if layers.take(&info) {
                        let (current, total) = layers.bytes();
                        reporter.underway(Progress::pulling(&name, current, total)).await;
                    }
                }
                Some(Err(error)) => return Err(self.told(image, classify(error))),
            }
        }
    }

    /// What is told of a pull that failed. Of a registry that a client chose, only what kind of
    /// failure it was: it may have sent the engine to any address that the engine reaches, and the
    /// words then have that one's answer.
    fn told(&self, image: &Image, error: BackendError) -> BackendError {
        let name = image.canonical();
        if self.allowed.images.has_any_registry() {
            tracing::info!(image = name, %error, "a pull failed");
            return pull_failed(error, &name);
        }
        match error {
            // What the registry does not have is refused, not missing: the container is what is
            // being asked for.
            BackendError::Missing(words) => BackendError::Refused(words),
            other => other,
        }
    }
}

/// What came of a pull.
struct Pulled {
    /// The image's digest, if the engine says it.
    digest: Option<String>,
    /// The bytes that were downloaded.
    bytes: u64,
}

/// The digest of what was pulled, where the news are that.
fn pulled(info: &CreateImageInfo) -> Option<String> {
    let digest = info.status.as_deref()?.strip_prefix(DIGEST)?;
    (info.id.is_none() && is_digest(digest)).then(|| digest.to_owned())
}

/// Why a pull that ended well is of no use; the next one may be.
fn incomplete(image: &Image) -> BackendError {
    BackendError::Failed(format!("the pull of {} ended without the image", image.canonical()))
}

/// The bytes of each layer that is downloaded: those that are there, and all.
#[derive(Default)]
struct Layers(HashMap<String, (u64, u64)>);

impl Layers {
    /// Takes in the engine's news; whether they say how far it is. Unpacking is counted again from
    /// zero by the engine, so only downloading counts.
    fn take(&mut self, info: &CreateImageInfo) -> bool {
        let id = text::words(info.id.as_deref().unwrap_or_default());
        match info.status.as_deref() {
            Some("Downloading") => {
                let detail = info.progress_detail.as_ref();
                let bytes =
                    |count: Option<i64>| count.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
                let now = detail.map_or(0, |it| bytes(it.current));
                let size = detail.map_or(now, |it| bytes(it.total).max(now));
                let (current, total) = self.0.entry(id).or_default();
                *total = size.max(*total);
                *current = now.max(*current);
                true
            }
            // The engine skips news, so the last ones may be short of the whole.
            Some("Download complete" | "Verifying Checksum" | "Pull complete") => {
                self.0.get_mut(&id).is_some_and(|(current, total)| {
                    *current = *total;
                    true
                })
            }
            _ => false,
        }
    }

    /// Of all layers: those that are there, and all. A registry says how large its layers are.
    fn bytes(&self) -> (u64, u64) {
        self.0.values().fold((0, 0), |(there, all): (u64, u64), (current, total)| {
            (there.saturating_add(*current), all.saturating_add(*total))
        })
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn news(id: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn what_was_downloaded_is_the_sum_of_the_layers() {
        let mut layers = Layers::default();
        for (id, status, (current, total), all) in [
            ("latest", "Pulling from x", (0, 0), None),
            ("a", "Downloading", (10, 100), Some((10, 100))),
            ("b", "Downloading", (5, 50), Some((15, 150))),
            // As it is when a layer is begun again.
            ("a", "Downloading", (3, 100), Some((15, 150))),
            ("a", "Download complete", (0, 0), Some((105, 150))),
            ("a", "Extracting", (1, 300), None),
            ("c", "Already exists", (0, 0), None),
            ("d", "Download complete", (0, 0), None),
        ] {
            let told = layers.take(&news(id, status, current, total));
            assert_eq!(told.then(|| layers.bytes()), all, "{id} {status}");
        }
        layers.take(&news("a", "Downloading", i64::MAX, i64::MAX));
        layers.take(&news("b", "Downloading", i64::MAX, 1));
        layers.take(&news("c", "Downloading", i64::MAX, i64::MAX));
        assert_eq!(layers.bytes(), (u64::MAX, u64::MAX));
    }

    #[test]
    fn the_engine_says_what_was_pulled() {
        let digest = format!("sha256:{}", "86d9d04493d5".repeat(5) + "0123");
        let said = |id: Option<&str>, status: &str| {
            pulled(&CreateImageInfo {
                id: id.map(str::to_owned),
                status: Some(status.to_owned()),
                ..CreateImageInfo::default()
            })
        };
        assert_eq!(said(None, &format!("Digest: {digest}")), Some(digest.clone()));
        assert_eq!(said(Some("latest"), &format!("Digest: {digest}")), None);
        for other in ["Digest: x", "Status: Downloaded newer image for x:1", &digest] {
            assert_eq!(said(None, other), None);
        }
    }
}
