//! Pulling an image that the engine does not have.
//!
//! Not here: registry credentials; the engine's API does not use its own either, so a registry that
//! requires some refuses.

use std::collections::HashMap;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::{CreateImageOptions, CreateImageOptionsBuilder};
use futures_util::StreamExt;

use super::super::{BackendError, Progress, Reporter};
use super::DockerBackend;
use super::connection::within;
use super::error::classify;
use crate::text;

/// A name of 255 bytes, a tag of 128 and a digest of 135 (the distribution specification).
const IMAGE_REFERENCE_MAX: usize = 520;

impl DockerBackend {
    /// Pulls an image unless the engine has it.
    pub(super) async fn ensure_image(
        &self,
        image: &str,
        reporter: &dyn Reporter,
    ) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        match self.connection.quick(docker.inspect_image(image)).await {
            Err(BackendError::Missing(_)) => {}
            found => return found.map(drop),
        }
        let limit = self.connection.limits.pull;
        tokio::time::timeout(limit, self.pull(image, reporter)).await.unwrap_or_else(|_| {
            Err(BackendError::TimedOut(format!("the pull of {image} took longer than {limit:?}")))
        })
    }

    /// Pulls an image and says how far it is.
    async fn pull(&self, image: &str, reporter: &dyn Reporter) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        let mut news = docker.create_image(Some(options(image)), None, None);
        let mut layers = Layers::default();
        let idle = self.connection.limits.pull_idle;
        loop {
            let next = tokio::time::timeout(idle, news.next()).await.map_err(|_| {
                BackendError::TimedOut(format!("the pull of {image} made no progress in {idle:?}"))
            })?;
            match next {
                None => break,
                Some(Ok(info)) => reporter.progress(layers.take(info)).await,
                // What the registry does not have is refused, not missing: the container is what
                // is being asked for.
                Some(Err(error)) => {
                    return Err(match classify(error) {
                        BackendError::Missing(words) => BackendError::Refused(words),
                        other => other,
                    });
                }
            }
        }
        // A connection that ends early looks like the end of the news.
        within(self.connection.limits.quick, docker.inspect_image(image)).await.map(drop).map_err(
            |error| match error {
                BackendError::Missing(_) => {
                    BackendError::Failed(format!("the pull of {image} ended without the image"))
                }
                other => other,
            },
        )
    }
}

/// What is pulled: without a tag the engine would pull all there are.
fn options(image: &str) -> CreateImageOptions {
    let options = CreateImageOptionsBuilder::new().from_image(image);
    let last = image.rsplit('/').next().unwrap_or(image);
    let tagged = image.contains('@') || last.contains(':');
    if tagged { options.build() } else { options.tag("latest").build() }
}

/// Refuses what cannot name an image before any call: the engine creates a container from no image
/// at all, and a reference becomes part of a path.
pub(super) fn check_reference(image: &str) -> Result<(), BackendError> {
    if is_reference(image) {
        return Ok(());
    }
    Err(BackendError::Refused(format!("invalid reference format: {image:?}")))
}

/// Whether this can be an image reference at all. It becomes part of a path, so nothing else may
/// come through; the engine checks the finer points.
fn is_reference(image: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    image.len() <= IMAGE_REFERENCE_MAX
        && image.bytes().all(plain)
        && image.split('/').all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// The bytes of each layer, so far and in all.
#[derive(Default)]
struct Layers(HashMap<String, (u64, u64)>);

impl Layers {
    /// Takes in the engine's news, and says how far the whole is. Unpacking is counted again from
    /// zero by the engine, so only downloading counts.
    fn take(&mut self, info: CreateImageInfo) -> Progress {
        let status = info.status.unwrap_or_default();
        let id = text::words(&info.id.unwrap_or_default());
        let layer = self.0.entry(id.clone()).or_default();
        if status == "Downloading" {
            let detail = info.progress_detail.unwrap_or_default();
            let bytes = |count: Option<i64>| count.and_then(|c| u64::try_from(c).ok()).unwrap_or(0);
            layer.0 = layer.0.max(bytes(detail.current));
            layer.1 = layer.1.max(bytes(detail.total)).max(layer.0);
        } else if status == "Download complete" || status == "Pull complete" {
            layer.0 = layer.1;
        }
        let message = if id.is_empty() { status } else { format!("{id}: {status}") };
        let message = text::words(&message);
        let (current_bytes, total_bytes) = self
            .0
            .values()
            .fold((0, 0), |sum: (u64, u64), layer| (sum.0 + layer.0, sum.1 + layer.1));
        Progress { message, current_bytes, total_bytes }
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
    fn progress_is_the_sum_of_the_layers_and_never_goes_back() {
        let mut layers = Layers::default();
        layers.take(news("latest", "Pulling from x", 0, 0));
        layers.take(news("a", "Downloading", 10, 100));
        let progress = layers.take(news("b", "Downloading", 5, 50));
        assert_eq!((progress.current_bytes, progress.total_bytes), (15, 150));
        assert_eq!(progress.message, "b: Downloading");
        let progress = layers.take(news("a", "Download complete", 0, 0));
        assert_eq!((progress.current_bytes, progress.total_bytes), (105, 150));
        let progress = layers.take(news("a", "Extracting", 1, 300));
        assert_eq!((progress.current_bytes, progress.total_bytes), (105, 150));
    }

    #[test]
    fn what_a_registry_says_is_short_and_plain() {
        let status = format!("Pulling\u{1b}[2J\n{}", "x".repeat(5_000_000));
        for id in ["a", &"b\u{202e}".repeat(1_000_000)] {
            let message = Layers::default().take(news(id, &status, 0, 0)).message;
            assert!(message.len() <= 1024 && !message.chars().any(text::is_hidden), "{message}");
        }
    }

    #[test]
    fn one_tag_is_pulled() {
        let tag = |image| options(image).tag.unwrap_or_default();
        assert_eq!(tag("busybox"), "latest");
        assert_eq!(tag("localhost:5000/busybox"), "latest");
        assert_eq!(tag("localhost:5000/busybox:1"), "");
        assert_eq!(tag("busybox@sha256:00"), "");
    }

    #[test]
    fn what_is_no_reference_never_becomes_part_of_a_path() {
        for image in ["busybox", "a/b/c:1.0", "localhost:5000/x_y@sha256:00", "sha256:00"] {
            assert!(is_reference(image), "{image}");
        }
        for image in ["", "..", "a/../b", "/a", "a//b", "a?b", "a#b", "a b", "a%2fb", "ä"] {
            assert!(!is_reference(image), "{image}");
        }
    }
}
