//! Objects and lists as the REST API shows them, and the schemas of what is shown and of what a
//! POST may have: made of the table of a noun's fields.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::PartialSchema;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat};
use utoipa::openapi::{Ref, RefOr, Schema};

use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::form;
use super::input::rule;
use super::respond::{Link, Task, json};
use super::route::{Register, Schemas, register};
use crate::ids::{ProjectId, Timestamp};
use crate::projections::View;
use crate::projections::field_table::{FieldDef, Rule, SortAs, nullable, or_null};

/// What warnings are.
const WARNINGS: &str = "What of a POST has no meaning here and was ignored; in its answer, if \
    there is something.";

/// A noun's view as the REST API shows it.
pub trait Shown: View {
    /// The schemas that its fields name, besides that of its work.
    const PARTS: &'static [Register] = &[];

    /// The value of a field that the table does not have.
    fn part(&self, _name: &str) -> Value {
        Value::Null
    }

    /// The one that a project has although nothing is recorded of it yet.
    fn unrecorded(_state: &AppState, _project: &ProjectId) -> Result<Option<Self>, ApiError> {
        Ok(None)
    }

    /// Whether this is its uuid or its name.
    fn is_called(&self, ident: &str) -> bool {
        ["uuid", "name"].into_iter().any(|name| self.field(name).as_deref() == Some(ident))
    }
}

/// How much of an object is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// What a list shows.
    Summary,
    /// All of it.
    Detail,
}

/// An object as it is shown.
pub struct Representation<'a, V> {
    /// What is shown.
    pub view: &'a V,
    /// What links start with.
    pub host: &'a str,
    /// How much of it.
    pub rows: Rows,
}

impl<V: Shown> Serialize for Representation<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { view, host, rows } = *self;
        let mut map = serializer.serialize_map(None)?;
        for field in shown::<V>(rows) {
            match field.name {
                "task" => map.serialize_entry("task", &Task::first(view.tasks()))?,
                name if field.is_made_elsewhere() => map.serialize_entry(name, &view.part(name))?,
                name => map.serialize_entry(name, &(field.get)(view))?,
            }
        }
        let head = view.head();
        if rows == Rows::Detail {
            map.serialize_entry("created_at", &head.created_at.rfc3339())?;
            map.serialize_entry("updated_at", &head.updated_at.map(Timestamp::rfc3339))?;
        }
        map.serialize_entry("links", &Link::of(host, V::KIND, head.uuid))?;
        map.end()
    }
}

fn shown<V: Shown>(rows: Rows) -> impl Iterator<Item = &'static FieldDef<V>> {
    let is_wanted = move |field: &&FieldDef<V>| rows == Rows::Detail || field.is_listed;
    V::TABLE.iter().filter(|field| field.schema.is_some()).filter(is_wanted)
}

/// The answer to a POST: the object, and what of the request was ignored.
#[derive(Serialize)]
struct Warned<'a, T> {
    #[serde(flatten)]
    object: T,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

/// The answer with one object, with its revision as `ETag`, and with warnings if there are some.
pub fn answer<V: Shown>(
    status: StatusCode,
    call: &Call,
    view: &V,
    warnings: &[String],
) -> Response {
    let etag = format!("\"{}\"", view.head().revision);
    let object = Representation { view, host: &call.host, rows: Rows::Detail };
    let mut response = json(status, &Warned { object, warnings });
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// Pushes the schema of an object; its name.
pub fn object<V: Shown>(schemas: &mut Schemas) -> String {
    if V::TABLE.iter().any(|field| field.name == "task") {
        register::<Task>(schemas);
    }
    for part in V::PARTS {
        part(schemas);
    }
    described::<V>(Rows::Detail, "", "", schemas)
}

/// Pushes the schema of a page of a list; its name.
pub fn summaries<V: Shown>(schemas: &mut Schemas) -> String {
    let row = described::<V>(Rows::Summary, "Summary", " in a list", schemas);
    page::<V>(&row, "Page", "", schemas)
}

/// Pushes the schema of a page of a list with all fields; its name.
pub fn details<V: Shown>(schemas: &mut Schemas) -> String {
    let row = object::<V>(schemas);
    page::<V>(&row, "Details", " with all fields", schemas)
}

/// Pushes the schema of what a POST may have, with what it means; its name.
pub fn new<V: Shown>(meaning: &str, schemas: &mut Schemas) -> String {
    let mut object = ObjectBuilder::new().description(Some(meaning));
    for field in V::TABLE {
        let Some(given) = field.given.as_ref().filter(|it| it.rule != Rule::ReadOnly) else {
            continue;
        };
        object = object.property(field.name, with_meaning(rule::given(given), given.meaning));
        if given.is_mandatory {
            object = object.required(field.name);
        }
    }
    push(format!("New{}", V::KIND.title()), object, schemas)
}

/// Pushes the schema of what a PATCH may do; its name.
pub fn patch<V: Shown>(schemas: &mut Schemas) -> String {
    let meaning = format!("What changes about a {}: a JSON Patch.", V::KIND.name());
    let patch = rule::patch::<V>().description(Some(meaning));
    push(format!("{}Patch", V::KIND.title()), patch, schemas)
}

fn described<V: Shown>(rows: Rows, name: &str, what: &str, schemas: &mut Schemas) -> String {
    let meaning = format!("A {}{what}.", V::KIND.name());
    let mut object = ObjectBuilder::new().description(Some(meaning));
    for field in shown::<V>(rows) {
        let Some(schema) = field.schema else { continue };
        let meaning = if rows == Rows::Detail { field.meaning } else { "" };
        object = object.property(field.name, with_meaning(timed(field.name, schema()), meaning));
        if !field.is_optional {
            object = object.required(field.name);
        }
    }
    if rows == Rows::Detail {
        let times = ["created_at", "updated_at"];
        let [created, updated] = times.map(|name| (name, timed(name, String::schema())));
        object = object.property(created.0, created.1).required(created.0);
        object = object.property(updated.0, or_null(updated.1));
        let warnings = ArrayBuilder::new().items(String::schema());
        object = object.property("warnings", with_meaning(warnings.into(), WARNINGS));
    }
    let links = ArrayBuilder::new().items(Ref::from_schema_name(register::<Link>(schemas)));
    let object = object.property("links", links).required("links");
    push(format!("{}{name}", V::KIND.title()), object, schemas)
}

fn page<V: Shown>(row: &str, name: &str, what: &str, schemas: &mut Schemas) -> String {
    let collection = V::KIND.collection();
    let next = "The address of the next page, where there may be one.";
    let page = ObjectBuilder::new()
        .description(Some(format!("A page of {collection}{what}.")))
        .property(collection, ArrayBuilder::new().items(Ref::from_schema_name(row)))
        .required(collection)
        .property("next", with_meaning(nullable::<String>(), next));
    push(format!("{}{name}", V::KIND.title()), page, schemas)
}

fn push(name: String, schema: impl Into<RefOr<Schema>>, schemas: &mut Schemas) -> String {
    schemas.push((name.clone(), schema.into()));
    name
}

/// The schema of a field; text whose name says so is a time.
fn timed(name: &str, mut schema: RefOr<Schema>) -> RefOr<Schema> {
    let is_time = ["_at", "_since"].iter().any(|end| name.ends_with(end));
    if let RefOr::T(Schema::Object(object)) = &mut schema
        && is_time
    {
        object.format = Some(SchemaFormat::KnownFormat(KnownFormat::DateTime));
    }
    schema
}

/// The arguments by which lists of a noun filter: what objects can have, as text.
pub fn filters<V: Shown>() -> Vec<Parameter> {
    let filters = V::TABLE.iter().filter(|field| field.filter.is_some());
    let parameter = |field: &FieldDef<V>| {
        let schema = match (field.filter, one_of(field)) {
            (Some(SortAs::Number), _) => form::whole(0, u64::MAX),
            (_, Some(names)) => form::one_of(names.iter().map(String::as_str)),
            _ => form::text(),
        };
        let meaning = format!("Only {} with this {}", V::KIND.collection(), field.name);
        ParameterBuilder::new()
            .name(field.name)
            .parameter_in(ParameterIn::Query)
            .description(Some(meaning))
            .schema(Some(schema))
            .build()
    };
    filters.map(parameter).collect()
}

/// The values that a field can have, where there are only so many.
pub fn one_of<V>(field: &FieldDef<V>) -> Option<Vec<String>> {
    let RefOr::T(Schema::Object(object)) = (field.schema?)() else { return None };
    let values = object.enum_values?;
    Some(values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn with_meaning(mut schema: RefOr<Schema>, meaning: &str) -> RefOr<Schema> {
    if meaning.is_empty() {
        return schema;
    }
    let described = Some(meaning.to_owned());
    match &mut schema {
        RefOr::T(Schema::Object(object)) => object.description = described,
        RefOr::T(Schema::Array(list)) => list.description = described,
        RefOr::T(Schema::AnyOf(any)) => any.description = described,
        _ => {}
    }
    schema
}
