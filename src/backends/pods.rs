//! What every engine makes of a pod's manifest: its containers in their places, each with its
//! variables and its restart policy.
//!
//! Not here: what a manifest may say (`manifest`), and how an engine is told (`docker`, `fake`).

use serde_json::Value;

use super::labels::PodPlace;
use super::{BackendError, Work};
use crate::events::container::RestartPolicy;
use crate::events::pod::PodSpec;
use crate::manifest::plan::{self, Expanded, FieldSource, PlannedContainer, PodPlan, PodRestart};
use crate::manifest::variables;

/// The namespace of a pod that names none.
const NAMESPACE: &str = "default";

/// A pod that is to be made.
pub(super) struct WantedPod {
    /// What its containers are made from.
    pub(super) plan: PodPlan,
    /// Its manifest.
    document: Value,
}

/// Where a pod is.
pub(super) struct Addresses {
    /// Its own address in the bay's network.
    pub(super) pod: String,
    /// Its machine's address there.
    pub(super) host: String,
}

impl WantedPod {
    /// Reads what a pod is made from; refused if this is not what a bay of one engine can do.
    pub(super) fn read(spec: &PodSpec) -> Result<Self, BackendError> {
        let refused = |why: &dyn std::fmt::Display| BackendError::Refused(why.to_string());
        let mut document = serde_json::from_str(&spec.manifest).map_err(|error| refused(&error))?;
        variables::put(&mut document, &spec.environment);
        let plan = plan::plan(&document).map_err(|invalid| refused(&invalid))?;
        Ok(Self { plan, document })
    }

    /// All containers, each with its place.
    pub(super) fn places(&self) -> Vec<(PodPlace, &PlannedContainer)> {
        let inits = self.plan.init.iter().map(|container| (true, container));
        let others = self.plan.containers.iter().map(|container| (false, container));
        let place = |(order, (is_init, container)): (u32, (bool, _))| {
            let container: &PlannedContainer = container;
            (PodPlace { name: container.name.clone(), order, is_init }, container)
        };
        (0..).zip(inits.chain(others)).map(place).collect()
    }

    /// When an engine starts the container in this place again. What initialises a pod is tried
    /// until it succeeds once.
    pub(super) fn restart_policy(&self, place: &PodPlace) -> RestartPolicy {
        match self.plan.restart {
            PodRestart::Never => RestartPolicy::No,
            PodRestart::Always if !place.is_init => RestartPolicy::Always,
            PodRestart::Always | PodRestart::OnFailure => RestartPolicy::OnFailure(0),
        }
    }

    /// A container's variables and words, now that it is known where the pod is.
    pub(super) fn expanded(
        &self,
        work: &Work,
        container: &PlannedContainer,
        addresses: &Addresses,
    ) -> Result<Expanded, BackendError> {
        let expanded = container.expanded(|field| self.field(work, field, addresses));
        let name = &container.name;
        expanded.map_err(|what| BackendError::Refused(format!("container {name}: {what}")))
    }

    /// What a field of the pod says.
    fn field(&self, work: &Work, field: &FieldSource, addresses: &Addresses) -> String {
        let text = |path: &[&str]| {
            let value = path.iter().try_fold(&self.document, |value, name| value.get(name));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        match field {
            FieldSource::Name => self.plan.name.clone(),
            FieldSource::Namespace => match text(&["metadata", "namespace"]) {
                none if none.is_empty() => NAMESPACE.to_owned(),
                namespace => namespace,
            },
            FieldSource::Uid => work.stream.id.to_string(),
            FieldSource::Label(key) => text(&["metadata", "labels", key]),
            FieldSource::Annotation(key) => text(&["metadata", "annotations", key]),
            FieldSource::NodeName => work.node_id.to_string(),
            FieldSource::PodIp => addresses.pod.clone(),
            FieldSource::HostIp => addresses.host.clone(),
        }
    }
}

/// Why a container of a pod is not found, and which ones there are.
pub(super) fn no_member<'a>(
    name: Option<&str>,
    there: impl Iterator<Item = &'a PodPlace>,
) -> BackendError {
    let there: Vec<&str> = there.map(|place| place.name.as_str()).collect();
    let name = name.map_or_else(String::new, |name| format!(" {name}"));
    BackendError::Refused(format!("the pod has no container{name}; it has {}", there.join(", ")))
}

/// Why a pod is not ready for its containers: one that initialises it has failed.
pub(super) fn init_failed(name: &str, exit_code: Option<i64>) -> BackendError {
    let code = exit_code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    BackendError::Refused(format!("init container {name} failed with exit code {code}"))
}
