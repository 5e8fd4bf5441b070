//! The metadata of an object: its name, labels and annotations.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::manifest::invalid::Invalid;
use crate::manifest::names;

/// Most bytes of all annotations, keys and values: the limit of Kubernetes.
const MAX_ANNOTATIONS_BYTES: usize = 262_144;

/// Checks metadata that has a name.
pub(super) fn check(metadata: &ObjectMeta) -> Result<(), Invalid> {
    let name = metadata.name.as_deref().unwrap_or_default();
    names::subdomain(name).map_err(|what| Invalid::at("metadata.name", &what))?;
    for (key, value) in metadata.labels.iter().flatten() {
        let checked = names::key(key).and_then(|()| names::label_value(value));
        checked.map_err(|what| Invalid::at(format!("metadata.labels['{key}']"), &what))?;
    }
    let mut bytes = 0;
    for (key, value) in metadata.annotations.iter().flatten() {
        // Kubernetes does not tell small letters from large ones there.
        names::key(&key.to_ascii_lowercase())
            .map_err(|what| Invalid::at(format!("metadata.annotations['{key}']"), &what))?;
        bytes += key.len() + value.len();
    }
    if bytes > MAX_ANNOTATIONS_BYTES {
        let what = format!("together they have at most {MAX_ANNOTATIONS_BYTES} bytes");
        return Err(Invalid::at("metadata.annotations", &what));
    }
    Ok(())
}
