//! Manifests: what Kubernetes runs, as people write it. Pods.
//!
//! In reading order: text (`read`), the forms of early 2015 (`flat`), what is checked of every pod
//! (`check`, with `names` and `quantity`; `invalid` says what is wrong), what a tenant may ask for
//! (`tenant`), what a bay of one Docker engine runs (`plan`), and where secrets may be
//! (`variables`). Everything here is pure. Not here: fetching a manifest
//! (`http/input/manifest_url`), and running one.

mod check;
mod flat;
mod invalid;
mod names;
pub mod plan;
mod quantity;
mod read;
pub mod tenant;
pub mod variables;

use std::collections::BTreeMap;

use serde_json::Value;

pub use invalid::Invalid;
pub use read::MAX_BYTES;

/// What has containers in the spec of a pod.
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A manifest that Kubernetes would take, as far as can be told without one.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// A v1 Pod. Fields that are not known here are kept: a newer Kubernetes may know them.
    pub document: Value,
}

impl Manifest {
    /// Reads a pod: JSON if the text begins with `{`, YAML otherwise, at most [`MAX_BYTES`]. That
    /// takes some milliseconds and megabytes for the largest ones.
    ///
    /// # Errors
    /// What is wrong, and in which field.
    pub fn pod(text: &str) -> Result<Self, Invalid> {
        let document = flat::v1(read::document(text)?)?;
        check::pod(&document)?;
        let manifest = Self { document };
        // It must be possible to read again what is stored.
        if manifest.text().len() > MAX_BYTES { Err(read::too_large()) } else { Ok(manifest) }
    }

    /// One that was read by [`Manifest::pod`] before, and is taken as it is: what was recorded
    /// stays readable, whatever is checked now.
    pub const fn of(document: Value) -> Self {
        Self { document }
    }

    /// The pod's own name.
    pub fn name(&self) -> &str {
        self.at("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }

    /// The pod's labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.at("/metadata/labels").and_then(Value::as_object);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        labels.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
    }

    /// The images of the containers, in their order; those of init containers are not among them.
    pub fn images(&self) -> Vec<String> {
        let containers = self.at("/spec/containers").and_then(Value::as_array);
        let image = |container: &Value| container.get("image")?.as_str().map(str::to_owned);
        containers.into_iter().flatten().filter_map(image).collect()
    }

    /// What is stored: compact JSON with the names of each object in order, so equal documents have
    /// equal texts.
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
        self.document.pointer(pointer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const GUESTBOOK: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: redis-master
  labels: {name: redis, role: master}
spec:
  initContainers:
  - {name: wait, image: busybox}
  containers:
  - name: master
    image: redis:7
    ports:
    - containerPort: 6379
  - {name: sentinel, image: sentinel}
  - {name: again, image: redis:7}
";

    #[test]
    fn a_manifest_is_read() {
        let manifest = Manifest::pod(GUESTBOOK).unwrap();
        assert_eq!(manifest.name(), "redis-master");
        let labels = BTreeMap::from([("name", "redis"), ("role", "master")]);
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(manifest.labels(), labels.collect());
        assert_eq!(manifest.images(), ["redis:7", "sentinel", "redis:7"]);
        let again = serde_json::from_str(&manifest.text()).unwrap();
        assert_eq!(Manifest::of(again), manifest);
    }

    #[test]
    fn what_is_stored_can_be_read_again() {
        // An escape of two bytes in YAML, and of six in JSON.
        let escaped = |count: usize| {
            format!(
                "id: a\nspec: {{containers: [{{name: a, image: a, args: [\"{}\"]}}]}}",
                "\\e".repeat(count)
            )
        };
        assert!(Manifest::pod(&escaped(1000)).is_ok());
        let invalid = Manifest::pod(&escaped(100_000)).unwrap_err();
        assert!(invalid.message.starts_with("The manifest is larger"), "{invalid}");
    }

    /// Any JSON, a few levels deep.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| json!(number)),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-zé\"]{0,4}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_stored_is_stable(
            name in "[a-z]([a-z0-9]{0,8})",
            labels in prop::collection::btree_map("[a-z]{1,4}", "[A-Z]{0,4}", 0..4),
            word in ".{0,16}",
            unknown in value(),
        ) {
            let document = json!({
                "id": name,
                "metadata": { "labels": labels },
                "unknown": unknown,
                "spec": {
                    "unknown": unknown,
                    "containers": [{ "name": "a", "image": "a", "args": [word], "x": unknown }],
                },
            });
            let first = Manifest::pod(&document.to_string()).unwrap();
            let second = Manifest::pod(&first.text()).unwrap();
            prop_assert_eq!(first.text(), second.text());
            prop_assert_eq!(first.name(), name);
            prop_assert_eq!(first.labels(), labels);
        }

        #[test]
        fn no_text_is_too_odd(text in "[-{}\\[\\]:,&*!|>'\"#%@ \na-c0]{0,64}") {
            if let Ok(manifest) = Manifest::pod(&text) {
                prop_assert!(Manifest::pod(&manifest.text()).is_ok());
            }
        }
    }
}
