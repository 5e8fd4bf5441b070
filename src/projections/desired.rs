//! What a container is wanted to be made from, beside what it was made from (rule E7).
//!
//! A PATCH of what is fixed when a container is made is recorded and shown here; a recreate applies
//! it. Not here: how an event changes the rest of the view (`container`).

use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use super::View as _;
use super::container::ContainerView;
use crate::events::container::Status;

/// The condition of a container that a recreate makes what is wanted.
pub const NEEDS_RECREATE: &str = "NeedsRecreate";

impl ContainerView {
    /// Notes the wanted value of a field, as JSON; nothing if that is what it was made from.
    pub(super) fn want(&mut self, field: &str, new: &str) {
        self.desired.insert(field.to_owned(), new.to_owned());
        self.forget_fulfilled();
    }

    /// Forgets wanted values that it is made from by now.
    pub(super) fn forget_fulfilled(&mut self) {
        let mut desired = std::mem::take(&mut self.desired);
        desired.retain(|field, new| made_from(self, field) != read(new));
        self.desired = desired;
    }

    /// Wanted values by field.
    pub(super) fn desired_values(&self) -> Map<String, Value> {
        self.desired.iter().map(|(field, new)| (field.clone(), read(new))).collect()
    }

    /// What is to be known of it besides its status.
    pub(super) fn conditions(&self) -> Vec<&'static str> {
        Vec::from_iter(self.needs_recreate().then_some(NEEDS_RECREATE))
    }

    fn needs_recreate(&self) -> bool {
        !self.desired.is_empty() || self.status == Status::Error
    }
}

/// The schema of wanted values by field.
pub(super) fn schema() -> RefOr<Schema> {
    let any = AdditionalProperties::<Schema>::FreeForm(true);
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(any)).into()
}

/// What it was made from, in a field.
fn made_from(view: &ContainerView, name: &str) -> Value {
    let field = ContainerView::TABLE.iter().find(|field| field.name == name);
    field.map_or(Value::Null, |field| json!((field.get)(view)))
}

fn read(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))
}
