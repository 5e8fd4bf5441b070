//! `schemas/openapi.json` (OpenAPI 3.1), generated from the route table and the types of bodies.
//!
//! Not here: arguments and headers (`parameters`), ways in (`security`), refusals (`refusals`),
//! bodies (`shape`).

use axum::http::Method;
use utoipa::openapi::path::{Operation, OperationBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    Content, InfoBuilder, OpenApiBuilder, PathsBuilder, Ref, Required, ResponseBuilder,
};

use super::error_body::ErrorBody;
use super::route::{Route, Schemas, register};
use super::{parameters, refusals, security};

/// The document of these routes, as it is in `schemas/openapi.json`.
pub fn document(routes: &[Route]) -> String {
    let mut schemas = Vec::new();
    let error = register::<ErrorBody>(&mut schemas);
    let mut paths = PathsBuilder::new().build();
    for route in routes {
        let operation = operation(route, &mut schemas);
        paths.add_path_operation(&route.path, vec![route.method.clone()], operation);
    }
    let info = InfoBuilder::new()
        .title("Magnum")
        .version("v1")
        .description(Some(
            "Container management: bays, baymodels, nodes, containers, and the log of all their \
             events. Every response has X-Magnum-Position and X-Openstack-Request-Id. Methods \
             that a path does not have are refused with 405; OPTIONS needs no token and answers \
             204 with those that it has in Allow. Schemas of bodies have the form \
             that new clients should write; numbers as text, which clients of 2015 send, are \
             taken as well. Lengths of text are in bytes of UTF-8.",
        ))
        .build();
    let components = refusals::all(parameters::all(), &error).schemas_from_iter(schemas);
    let document = OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(security::schemes(components).build()))
        .security(Some(security::to_read()))
        .build();
    let text = document.to_pretty_json().unwrap_or_default();
    // The registry of formats has `uint32`, the generator writes `u-int32`.
    let mut text = text.replace("\"u-int", "\"uint");
    text.push('\n');
    text
}

fn operation(route: &Route, schemas: &mut Schemas) -> Operation {
    let named = |name: &str| Content::new(Some(Ref::from_schema_name(name)));
    let mut operation = OperationBuilder::new()
        .summary(Some(&route.summary))
        .tag(tag(route))
        .operation_id(Some(operation_id(route)))
        .securities(security::of(route));
    for parameter in parameters::of(&route.path, &route.query, route.verb() != Method::GET) {
        operation = operation.parameter_ref(parameter);
    }
    for filter in &route.filters {
        operation = operation.parameter(filter.clone());
    }
    if let Some(body) = route.body {
        let content = named(&body(schemas));
        let body = RequestBodyBuilder::new().content("application/json", content);
        operation = operation.request_body(Some(body.required(Some(Required::True)).build()));
    }
    let mut success = ResponseBuilder::new().description("Done");
    if let Some(answer) = route.answer {
        success = success.content("application/json", named(&answer(schemas)));
    }
    for content_type in route.text {
        success = success.content(*content_type, Content::default());
    }
    operation = refusals::of(route, operation).response(route.status.to_string(), success);
    if let Some((status, meaning, answer)) = route.other {
        let mut other = ResponseBuilder::new().description(meaning);
        if let Some(answer) = answer {
            other = other.content("application/json", named(&answer(schemas)));
        }
        operation = operation.response(status.to_string(), other);
    }
    operation.build()
}

/// What operations are grouped by: the collection, `service` where there is none.
fn tag(route: &Route) -> &str {
    let named = route.path.strip_prefix("/v1/").and_then(|path| path.split('/').next());
    named.filter(|name| !name.contains('.')).unwrap_or("service")
}

/// `get_v1_bays_ident`: stable names for generated clients.
fn operation_id(route: &Route) -> String {
    let method = route.verb().as_str().to_ascii_lowercase();
    let words = route.path.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method, |id, word| format!("{id}_{word}"))
}
