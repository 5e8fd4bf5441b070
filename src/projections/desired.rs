//! What an object is wanted to be, beside what it is (rule E7): values that a PATCH set, by field,
//! as JSON.
//!
//! Not here: which fields of a noun are like that, and when they are so (one file a noun).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use super::View;

/// The condition of a container that a recreate makes what is wanted.
pub(super) const NEEDS_RECREATE: &str = "NeedsRecreate";

/// Wanted values by field.
pub(super) fn values(desired: &BTreeMap<String, String>) -> Map<String, Value> {
    desired.iter().map(|(field, new)| (field.clone(), read(new))).collect()
}

/// Those that are not so.
pub(super) fn unfulfilled<V: View>(
    view: &V,
    mut desired: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    desired.retain(|name, new| {
        let field = V::TABLE.iter().find(|field| field.name == name);
        field.map(|field| json!((field.get)(view))) != Some(read(new))
    });
    desired
}

/// The schema of wanted values by field.
pub(super) fn schema() -> RefOr<Schema> {
    let any = AdditionalProperties::<Schema>::FreeForm(true);
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(any)).into()
}

fn read(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))
}
