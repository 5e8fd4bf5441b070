//! `schemas/openapi.json` (OpenAPI 3.1), generated from the route table and the types of bodies.

use utoipa::openapi::path::{
    Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, HttpMethod, InfoBuilder, OpenApiBuilder, PathsBuilder, Ref,
    Required, ResponseBuilder, Schema,
};

use super::edge::auth;
use super::error_body::ErrorBody;
use super::route::{Route, Schemas, register};

/// What arguments mean.
const ARGUMENTS: &[(&str, &str)] = &[
    ("after", "A position: only what happened after it; for streams also latest"),
    ("at", "A position, v: and a revision, a time, before: or after: and an event's id"),
    (
        "among",
        "container for all containers, container/web for one; all objects where there is none",
    ),
    ("apply", "A command as JSON, or a list of them, as in the object's timeline"),
    ("bay", "Only events of this bay and of containers in it; a uuid or a name"),
    ("command", "The command and its arguments, split as a shell would"),
    ("condition", "What must be true, in the Common Expression Language: status == \"Error\""),
    ("drop", "Ids of events that did not happen, with commas between"),
    ("field", "A field as in a state: status, labels.tier, state.status"),
    ("first", "1: only the first moment"),
    ("follow", "1: go on until the container ends; the answer is plain text"),
    ("from", "The first moment, in the forms of at; before everything where there is none"),
    ("kind", "Only events of bays, baymodels, nodes or containers; repeat for several"),
    ("limit", "Most items of a page, 1 to 1000"),
    ("marker", "The uuid of the last object of the page before"),
    ("min_position", "Wait until the answer is as of this position at least, or 503"),
    ("object", "Only events of the object with this uuid; repeat for several"),
    ("outcome", "Only events that are requested, done, failed, unknown, blocked, observed"),
    ("monotone", "1: once true the condition stays true, so few states are looked at"),
    ("project", "Only events of this project, which must be your own"),
    ("request_id", "Only what this request led to: req-UUID"),
    ("redact", "1: without the values of environment variables; a server always takes them out"),
    ("related", "1: also of the bay and the node around it, and of the containers on it"),
    ("signal", "The signal's name or number; SIGKILL where there is none"),
    ("since", "Only what was written at or after this time; for events also 15m, for how long ago"),
    ("snapshot", "1: first the present state of what matches, then events after that"),
    ("sort_dir", "asc or desc"),
    ("sort_key", "The field to sort by"),
    ("stderr", "0: without standard error; 1: only it"),
    ("stdout", "0: without standard output; 1: only it"),
    ("tail", "Only so many of the last lines"),
    ("timeout", "Seconds between the stop signal and the kill; 10 where there is none"),
    ("timestamps", "1: each line starts with its time"),
    ("to", "The second moment, in the forms of at; now where there is none"),
    ("type", "Only events of this type: container.started; repeat for several"),
    ("user", "Only events that this user asked for"),
];

/// What stands in paths.
const PARTS: [(&str, &str); 3] = [
    ("file", "A type of event with its version: container.started.v1.json"),
    ("id", "The id of a running command, as the list of them has it"),
    ("ident", "A uuid or a name; nodes have uuids only"),
];

/// Headers that every change takes.
const HEADERS: [(&str, &str); 4] = [
    ("Idempotency-Key", "The same key with the same request changes things once"),
    ("If-Match", "The ETag that the object must have; otherwise 412"),
    ("Prefer", "respond-async: 202 at once; wait=5: wait so many seconds for the outcome"),
    ("X-Magnum-Reason", "Why; recorded with the events"),
];

/// The document of these routes, as it is in `schemas/openapi.json`.
pub fn document(routes: &[Route]) -> String {
    let mut schemas = Vec::new();
    let error = register::<ErrorBody>(&mut schemas);
    let mut paths = PathsBuilder::new().build();
    for route in routes {
        let operation = operation(route, &error, &mut schemas);
        paths.add_path_operation(&route.path, vec![route.method.clone()], operation);
    }
    let info = InfoBuilder::new()
        .title("Magnum")
        .version("v1")
        .description(Some(
            "Container management: bays, baymodels, nodes, containers, and the log of all that \
             happened to them. Every answer has X-Magnum-Position and X-Openstack-Request-Id.",
        ))
        .build();
    let header = ApiKeyValue::with_description("X-Auth-Token", "Of Keystone, where it is asked");
    let token = SecurityScheme::ApiKey(ApiKey::Header(header));
    let components = parameters().schemas_from_iter(schemas).security_scheme("token", token);
    let document = OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new::<_, _, String>("token", [])]))
        .build();
    let text = document.to_pretty_json().unwrap_or_default();
    // The registry of formats has `uint32`, the generator writes `u-int32`.
    let mut text = text.replace("\"u-int", "\"uint");
    text.push('\n');
    text
}

fn operation(route: &Route, error: &str, schemas: &mut Schemas) -> Operation {
    let changes = !matches!(route.method, HttpMethod::Get);
    let named = |name: &str| Content::new(Some(Ref::from_schema_name(name)));
    let mut operation = OperationBuilder::new()
        .summary(Some(&route.summary))
        .operation_id(Some(operation_id(route)))
        .securities(auth::is_public(&route.path).then(Vec::new))
        .response("default", {
            ResponseBuilder::new()
                .description("What was wrong, and what to do")
                .content("application/json", named(error))
        });
    for (name, _) in PARTS {
        if route.path.contains(&format!("{{{name}}}")) {
            operation = operation.parameter_ref(parameter_ref(name));
        }
    }
    for name in route.query.split_whitespace() {
        operation = operation.parameter_ref(parameter_ref(name));
    }
    if changes {
        for (name, _) in HEADERS {
            operation = operation.parameter_ref(parameter_ref(name));
        }
    }
    if let Some(body) = route.body {
        let content = named(&body(schemas));
        let body = RequestBodyBuilder::new().content("application/json", content);
        operation = operation.request_body(Some(body.required(Some(Required::True)).build()));
    } else if matches!(route.method, HttpMethod::Patch) {
        let patch = Content::new(Some(json_patch()));
        let body = RequestBodyBuilder::new().content("application/json", patch);
        operation = operation.request_body(Some(body.required(Some(Required::True)).build()));
    }
    let mut success = ResponseBuilder::new().description("Done");
    if let Some(answer) = route.answer {
        success = success.content("application/json", named(&answer(schemas)));
    } else if route.is_text {
        success = success.content("text/plain", Content::default());
    }
    if let Some(object) = route.waits {
        let waits = ResponseBuilder::new()
            .description("Recorded, and not done yet: the object as it is")
            .content("application/json", named(&object(schemas)));
        operation = operation.response("202", waits);
    }
    operation.response(route.status.to_string(), success).build()
}

/// `get_v1_bays_ident`: stable names for generated clients.
fn operation_id(route: &Route) -> String {
    let method = match route.method {
        HttpMethod::Post => "post",
        HttpMethod::Put => "put",
        HttpMethod::Patch => "patch",
        HttpMethod::Delete => "delete",
        _ => "get",
    };
    let words = route.path.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

/// All arguments and headers, each said once.
fn parameters() -> ComponentsBuilder {
    let places = [
        (ParameterIn::Path, PARTS.as_slice()),
        (ParameterIn::Query, ARGUMENTS),
        (ParameterIn::Header, HEADERS.as_slice()),
    ];
    let mut components = ComponentsBuilder::new();
    for (place, known) in places {
        for (name, meaning) in known {
            components = components.parameter(*name, parameter(name, place.clone(), meaning));
        }
    }
    components
}

fn parameter_ref(name: &str) -> Ref {
    Ref::new(format!("#/components/parameters/{name}"))
}

fn parameter(name: &str, place: ParameterIn, meaning: &str) -> Parameter {
    let needed = matches!(place, ParameterIn::Path) || name == "command";
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(if needed { Required::True } else { Required::False })
        .description(Some(meaning))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// A list of `{op, path, value}`.
fn json_patch() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let item = ObjectBuilder::new()
        .property("op", text().enum_values(Some(["add", "replace", "remove"])))
        .property("path", text())
        .property(
            "value",
            ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue),
        )
        .required("op")
        .required("path");
    Schema::Array(utoipa::openapi::schema::ArrayBuilder::new().items(item).build())
}
