//! The volumes of a pod, which its containers share and which go with it.
//!
//! Each is a volume of the engine, with our labels. The sandbox has all of them for as long as the
//! pod is up: the engine empties one in memory when the last container that has it ends.

use std::collections::{BTreeSet, HashMap};

use bollard::body_full;
use bollard::models::{Mount, MountType, MountVolumeOptions, Volume, VolumeCreateRequest};
use bollard::query_parameters::{
    ListVolumesOptionsBuilder, RemoveVolumeOptions, UploadToContainerOptionsBuilder,
};

use super::super::labels::{self, PodPlace};
use super::super::{BackendError, Work};
use super::DockerBackend;
use super::tar::{Archived, archive};
use crate::ids::{ObjectId, StreamId};
use crate::manifest::plan::{PlannedContainer, PodPlan, PodVolume};
use crate::text;

/// Where the sandbox has them.
const FOLDER: &str = "/volumes";

/// The first engine that mounts parts of volumes (API 1.45).
const MOUNTS_SUB_PATHS: u32 = 26;

impl DockerBackend {
    /// Makes a pod's volumes that are not there.
    pub(super) async fn make_volumes(
        &self,
        work: &Work,
        labels: &HashMap<String, String>,
        volumes: &[PodVolume],
    ) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        for volume in volumes {
            let name = labels::volume_name(work.stream.id, &volume.name);
            let request = VolumeCreateRequest {
                name: Some(name.clone()),
                driver_opts: Some(options(volume)),
                labels: Some(labels.clone()),
                ..VolumeCreateRequest::default()
            };
            // The engine answers the same whether there was one of this name or not.
            let made: Volume = self.connection.quick(docker.create_volume(request)).await?;
            let is_ours = [labels::NODE, labels::POD]
                .iter()
                .all(|it| made.labels.get(*it) == labels.get(*it));
            if !is_ours {
                let words = format!("the volume {name} is not ours");
                return Err(BackendError::Refused(words));
            }
        }
        Ok(())
    }

    /// Refuses parts of volumes on an engine that would mount the whole instead.
    pub(super) async fn check_sub_paths(
        &self,
        places: &[(PodPlace, &PlannedContainer)],
    ) -> Result<(), BackendError> {
        let mounts = places.iter().flat_map(|(_, container)| &container.mounts);
        if mounts.into_iter().all(|mount| mount.sub_path.is_none()) {
            return Ok(());
        }
        let version = self.info().await?.server_version.unwrap_or_default();
        if mounts_sub_paths(&version) {
            return Ok(());
        }
        Err(BackendError::Refused(format!(
            "volumeMounts.subPath needs Docker {MOUNTS_SUB_PATHS}, and this engine is {}",
            text::words(&version)
        )))
    }

    /// Lets every user write in a pod's volumes, as in Kubernetes, and makes the parts of them that
    /// containers ask for. The sandbox runs: what is in memory begins with it.
    pub(super) async fn open_volumes(
        &self,
        sandbox_id: &str,
        plan: &PodPlan,
    ) -> Result<(), BackendError> {
        let folders = folders(plan);
        if folders.is_empty() {
            return Ok(());
        }
        let entries: Vec<_> =
            folders.iter().map(|it| (it.as_str(), Archived::OpenFolder)).collect();
        let archive = archive(&entries).ok_or_else(|| {
            let words = "volumeMounts.subPath is too long together with the volume's name";
            BackendError::Refused(words.to_owned())
        })?;
        let docker = self.connection.client()?;
        let options = UploadToContainerOptionsBuilder::new().path(FOLDER).build();
        let call = docker.upload_to_container(sandbox_id, Some(options), body_full(archive.into()));
        self.connection.quick(call).await
    }

    /// Removes a pod's volumes; why one is still there.
    pub(super) async fn remove_volumes(
        &self,
        stream: StreamId,
    ) -> Result<Option<String>, BackendError> {
        let docker = self.connection.client()?;
        let wanted =
            [(labels::POD, stream.id.to_string()), (labels::NODE, self.node_id.to_string())];
        let options = ListVolumesOptionsBuilder::new().filters(&labels::filter(&wanted)).build();
        let volumes = self.connection.quick(docker.list_volumes(Some(options))).await?.volumes;
        let mut in_use = None;
        for volume in volumes.unwrap_or_default() {
            let call = docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>);
            match self.connection.quick(call).await {
                Ok(()) | Err(BackendError::Missing(_)) => {}
                Err(BackendError::Refused(words)) => in_use = Some(words),
                Err(error) => return Err(error),
            }
        }
        Ok(in_use)
    }
}

/// Whether an engine of this version, `20.10.24+dfsg1`, mounts parts of volumes. Others ignore that
/// only a part is asked for.
fn mounts_sub_paths(version: &str) -> bool {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= MOUNTS_SUB_PATHS)
}

/// The folders of a pod's volumes, each after those that it is in.
fn folders(plan: &PodPlan) -> BTreeSet<String> {
    let all = plan.init.iter().chain(&plan.containers).flat_map(|container| &container.mounts);
    let parts = all.filter_map(|mount| Some((&mount.volume, mount.sub_path.as_ref()?)));
    let mut folders: BTreeSet<String> =
        plan.volumes.iter().map(|volume| format!("{}/", volume.name)).collect();
    for (volume, path) in parts {
        let mut folder = format!("{volume}/");
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            folder = format!("{folder}{part}/");
            folders.insert(folder.clone());
        }
    }
    folders
}

/// What the engine's driver for volumes is told.
fn options(volume: &PodVolume) -> HashMap<String, String> {
    let option = |name: &str, value: String| (name.to_owned(), value);
    if !volume.is_memory {
        return HashMap::new();
    }
    let size = volume.size_limit_bytes.map(|bytes| option("o", format!("size={bytes}")));
    let memory = ["type", "device"].map(|name| option(name, "tmpfs".to_owned()));
    memory.into_iter().chain(size).collect()
}

/// A pod's volumes as its sandbox has them.
pub(super) fn of_sandbox(pod_id: ObjectId, volumes: &[PodVolume]) -> Vec<Mount> {
    let target = |volume: &PodVolume| format!("{FOLDER}/{}", volume.name);
    volumes.iter().map(|volume| mount(pod_id, &volume.name, target(volume), false)).collect()
}

/// A pod's volume as a container has it: empty at first, whatever its image has at that path.
pub(super) fn mount(pod_id: ObjectId, volume: &str, target: String, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(labels::volume_name(pod_id, volume)),
        target: Some(target),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::plan::plan;

    #[test]
    fn the_version_tells_whether_an_engine_mounts_parts() {
        let versions =
            [("20.10.24+dfsg1", false), ("25.0.9", false), ("26.0.0", true), ("", false)];
        for (version, is_able) in versions.into_iter().chain([("29.1-rc.1", true)]) {
            assert_eq!(mounts_sub_paths(version), is_able, "{version}");
        }
    }

    #[test]
    fn a_folder_comes_after_the_one_that_it_is_in() {
        let mount =
            |path: &str, part: &str| json!({ "name": "data", "mountPath": path, "subPath": part });
        let mounts = [mount("/a", "x/y"), mount("/b", "./x//z/"), mount("/c", "")];
        let plan = plan(&json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": "web" },
            "spec": {
                "volumes": [{ "name": "data", "emptyDir": {} }, { "name": "cache" }],
                "containers": [{ "name": "web", "image": "web:1", "volumeMounts": mounts }],
            },
        }));
        let folders = folders(&plan.unwrap());
        let told = ["cache/", "data/", "data/x/", "data/x/y/", "data/x/z/"];
        assert_eq!(folders.iter().map(String::as_str).collect::<Vec<_>>(), told);
    }
}
