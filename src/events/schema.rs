//! JSON Schemas (2020-12) of the outward form of event payloads, one for each type and version.
//!
//! They are generated from the payload structs, and a test compares them with the files in
//! `schemas/events`. A version is frozen, so its schema is strict: all fields are present, and no
//! others. Not here: the envelope around a payload (`cloudevent`).

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// Where a server has them.
pub const PATH: &str = "/v1/schemas/events";

/// Where the generator looks for the schemas of types inside of types.
const COMPONENTS: &str = "#/components/schemas/";

/// A schema, and those that it names.
type SchemaParts = (RefOr<Schema>, Vec<(String, RefOr<Schema>)>);

/// The schema of one event type in one version.
#[derive(Clone, Copy, Debug)]
pub struct EventSchema {
    /// `container.started`.
    pub event_type: &'static str,
    /// The version of the payload.
    pub version: u16,
    parts: fn() -> SchemaParts,
}

impl EventSchema {
    /// The schema of a payload.
    pub fn of<P: ToSchema>(event_type: &'static str, version: u16) -> Self {
        let parts = || {
            let mut named = Vec::new();
            P::schemas(&mut named);
            (P::schema(), named)
        };
        Self { event_type, version, parts }
    }

    /// Its file: `container.started.v1.json`.
    pub fn file(&self) -> String {
        format!("{}.v{}.json", self.event_type, self.version)
    }

    /// The schema as the file has it. Its `$id` is the path at which every server has it.
    pub fn document(&self) -> String {
        let (schema, named) = (self.parts)();
        let mut schema = json!(schema);
        let named = named.into_iter().map(|(name, schema)| (name, json!(schema)));
        let mut definitions = Map::from_iter(named);
        definitions.values_mut().chain([&mut schema]).for_each(freeze);
        let mut document = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": format!("{PATH}/{}", self.file()),
            "title": format!("{} v{}", self.event_type, self.version),
        });
        if let (Some(document), Value::Object(schema)) = (document.as_object_mut(), schema) {
            document.extend(schema);
            if !definitions.is_empty() {
                document.insert("$defs".to_owned(), definitions.into());
            }
        }
        // A document of plain values can be written.
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// Makes all fields of objects required and allows no others; points references into the document;
/// writes formats of numbers as the registry of OpenAPI does (`uint32`; the generator: `u-int32`).
fn freeze(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let names = fields.get("properties").and_then(Value::as_object);
            if let Some(names) = names.map(|names| names.keys().cloned().collect::<Vec<_>>()) {
                fields.insert("required".to_owned(), names.into());
            }
            if fields.get("type").is_some_and(|it| it == "object") {
                fields.entry("additionalProperties").or_insert_with(|| false.into());
            }
            if let Some(Value::String(target)) = fields.get_mut("$ref") {
                *target = target.replace(COMPONENTS, "#/$defs/");
            }
            if let Some(Value::String(format)) = fields.get_mut("format") {
                *format = format.replace("u-int", "uint");
            }
            fields.values_mut().for_each(freeze);
        }
        Value::Array(items) => items.iter_mut().for_each(freeze),
        _ => {}
    }
}
