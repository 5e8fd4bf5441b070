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

use super::edge::policy;
use super::error_body::ErrorBody;
use super::route::{Route, Schemas, register};
use crate::events::cloudevent::Outcome;
use crate::ids::StreamKind;

/// What arguments mean. KINDS and OUTCOMES stand for the lists of these.
const ARGUMENTS: &[(&str, &str)] = &[
    ("after", "A position: only events after it; for streams also latest"),
    ("at", "A position, v: and a revision, a time, before: or after: and an event's id"),
    ("among", "container for all containers, container/web for one; default: all objects"),
    ("apply", "A command as JSON, or a list of commands, as in the object's timeline"),
    ("bay", "Only events of this bay and of containers in it; a UUID or a name"),
    ("command", "The command and its arguments, split as a shell would"),
    ("condition", "A condition in the Common Expression Language: status == \"Error\""),
    ("drop", "Ids of events to leave out, separated by commas"),
    ("field", "A field of the state: status, labels.tier, state.status"),
    ("first", "1: only the first time"),
    ("follow", "1: follow until the container ends; the response is plain text"),
    ("from", "The first point, in the same form as at; default: before everything"),
    ("kind", "Only events of this kind: KINDS; repeatable"),
    ("limit", "Maximum number of items in a page, 1 to 1000"),
    ("marker", "The UUID of the last object of the previous page"),
    (
        "min_position",
        "Wait until the read model has reached this position; 503 if it takes too \
        long",
    ),
    ("object", "Only events of the object with this UUID; repeatable"),
    ("outcome", "Only events with this outcome: OUTCOMES; repeatable"),
    ("monotone", "1: the condition stays true once it is, so few states need to be checked"),
    ("project", "Only events of this project, which must be your own"),
    ("request_id", "Only events caused by this request: req-UUID"),
    ("redact", "1: without values of environment variables; a server always removes them"),
    ("related", "1: include its bay and node, and the containers in it"),
    ("signal", "The signal's name or number; default: SIGKILL"),
    ("since", "Only output or events at or after this time; for events also an age such as 15m"),
    ("snapshot", "1: first the current state of all matching objects, then events after it"),
    ("sort_dir", "asc or desc"),
    ("sort_key", "The field to sort by"),
    ("stderr", "0: without standard error; 1: only standard error"),
    ("stdout", "0: without standard output; 1: only standard output"),
    ("subject", "The same as object: a UUID, or kind/UUID as in events"),
    ("tail", "Only the last lines, this many"),
    ("timeout", "Seconds between the stop signal and the kill; default: 10"),
    ("timestamps", "1: each line starts with its time"),
    ("to", "The second point, in the same form as at; default: now"),
    ("type", "Only events of this type, such as container.started; repeatable"),
    ("user", "Only events requested by this user"),
];

/// What stands in paths.
const PARTS: [(&str, &str); 3] = [
    ("file", "A type of event with its version: container.started.v1.json"),
    ("id", "The id of a running command, as the list of them has it"),
    ("ident", "A UUID or a name; for nodes a UUID"),
];

/// Headers that every change takes.
const HEADERS: [(&str, &str); 4] = [
    ("Idempotency-Key", "Repeating a request with the same key has no further effect"),
    ("If-Match", "The ETag that the object must have; 412 otherwise"),
    ("Prefer", "respond-async: 202 at once; wait=5: wait up to 5 seconds for the outcome"),
    ("X-Magnum-Reason", "The reason; recorded with the events"),
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
            "Container management: bays, baymodels, nodes, containers, and the log of all their \
             events. Every response has X-Magnum-Position and X-Openstack-Request-Id.",
        ))
        .build();
    let header = ApiKeyValue::with_description(
        "X-Auth-Token",
        "A Keystone token, if the server \
        requires authentication",
    );
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
        .securities(policy::is_public(&route.path).then(Vec::new))
        .response("default", {
            ResponseBuilder::new()
                .description("What was wrong, and how to fix it")
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
    }
    for content_type in route.text {
        success = success.content(*content_type, Content::default());
    }
    if let Some(object) = route.waits {
        let waits = ResponseBuilder::new()
            .description("Recorded and still in progress: the object as it is")
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
    let outcomes = Outcome::ALL.map(|(name, _)| name).join(", ");
    let meaning = meaning.replace("KINDS", &StreamKind::choice()).replace("OUTCOMES", &outcomes);
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
