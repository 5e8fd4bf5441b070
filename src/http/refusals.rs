//! Which statuses a route may refuse a request with, as the OpenAPI document says it.
//!
//! Not here: what is refused, and with which status (`error`).

use axum::http::{Method, StatusCode};
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::{ComponentsBuilder, Content, Ref, Response, ResponseBuilder};

use super::edge::policy;
use super::route::Route;

/// A status, when a route has it, and what it means.
type Refusal = (StatusCode, fn(&Route) -> bool, &'static str);

/// All of them.
const REFUSALS: [Refusal; 20] = [
    (StatusCode::BAD_REQUEST, always, "What is asked cannot be meant; the body names the field"),
    (StatusCode::UNAUTHORIZED, is_guarded, "Authentication is required"),
    (StatusCode::FORBIDDEN, is_guarded, "The caller may not, or a page of another origin asks"),
    (StatusCode::NOT_FOUND, names_something, "There is no such object in the project"),
    (StatusCode::REQUEST_TIMEOUT, always, "The body did not arrive in time"),
    (StatusCode::CONFLICT, may_conflict, "How things are now, or a name of several objects"),
    (StatusCode::GONE, reads_the_log, "An archive has taken events that were asked for"),
    (StatusCode::PRECONDITION_FAILED, is_change, "The object has another revision"),
    (StatusCode::PAYLOAD_TOO_LARGE, always, "The body, or the output, is too large"),
    (StatusCode::URI_TOO_LONG, always, "The address is too long"),
    (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, always, "The head is too large"),
    (StatusCode::UNPROCESSABLE_ENTITY, is_change, "The Idempotency-Key is another request's"),
    (StatusCode::TOO_MANY_REQUESTS, is_guarded, "Too much at once; Retry-After says when"),
    (StatusCode::INTERNAL_SERVER_ERROR, always, "A fault of the service, or an unknown outcome"),
    (StatusCode::BAD_GATEWAY, asks_engine, "The engine failed, or the outcome is unknown"),
    (StatusCode::SERVICE_UNAVAILABLE, always, "Something is away; Retry-After says when"),
    (StatusCode::GATEWAY_TIMEOUT, asks_engine, "The engine did not answer in time"),
    (StatusCode::INSUFFICIENT_STORAGE, is_change, "The disk of the log is nearly full"),
    (StatusCode::MISDIRECTED_REQUEST, always, "The request names another server"),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, is_change, "The body is not JSON"),
];

const fn always(_: &Route) -> bool {
    true
}

fn is_guarded(route: &Route) -> bool {
    !policy::is_public(&route.path)
}

fn is_change(route: &Route) -> bool {
    route.verb() != Method::GET
}

fn names_something(route: &Route) -> bool {
    has_part(route) || is_change(route) || takes(route, &["marker", "among", "at", "from"])
}

fn may_conflict(route: &Route) -> bool {
    has_part(route) || is_change(route) || takes(route, &["bay"])
}

fn reads_the_log(route: &Route) -> bool {
    takes(route, &["at", "from", "after", "condition", "redact"])
}

/// Whether somebody waits for the engine's answer.
fn asks_engine(route: &Route) -> bool {
    let on_engine = ["/v1/containers/{ident}/", "/v1/pods/{ident}/"];
    on_engine.iter().any(|object| route.path.starts_with(object))
        || route.status_of_other() == Some(202)
}

fn has_part(route: &Route) -> bool {
    route.path.contains('{')
}

fn takes(route: &Route, names: &[&str]) -> bool {
    route.query.iter().any(|name| names.contains(name))
}

/// The refusals, each said once; `body` is the schema of their bodies.
pub fn all(components: ComponentsBuilder, body: &str) -> ComponentsBuilder {
    REFUSALS.iter().fold(components, |components, (status, _, meaning)| {
        components.response(name(*status), response(*status, meaning, body))
    })
}

/// An operation with the refusals of its route.
pub fn of(route: &Route, operation: OperationBuilder) -> OperationBuilder {
    REFUSALS.iter().filter(|(_, applies, _)| applies(route)).fold(
        operation,
        |operation, (status, ..)| {
            operation.response(status.as_str(), Ref::from_response_name(name(*status)))
        },
    )
}

fn response(status: StatusCode, meaning: &str, body: &str) -> Response {
    let described = ResponseBuilder::new().description(meaning);
    if status == StatusCode::UNAUTHORIZED {
        // As Keystone's own middleware answers, which old clients expect.
        return described.content("text/plain", Content::default()).build();
    }
    described.content("application/json", Content::new(Some(Ref::from_schema_name(body)))).build()
}

/// `NotFound`
fn name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().replace([' ', '-'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_that_a_refusal_can_have_is_documented() {
        let known: Vec<String> = REFUSALS
            .iter()
            .map(|(status, ..)| status.canonical_reason().unwrap().replace([' ', '-'], "_"))
            .map(|name| name.to_uppercase())
            .collect();
        let chosen = include_str!("error.rs").split("StatusCode::").skip(1);
        for word in chosen.map(|rest| rest.split(|c: char| !c.is_uppercase() && c != '_').next()) {
            let word = word.unwrap();
            // 405 is what other methods than the documented ones get.
            let is_other = word.is_empty() || word == "METHOD_NOT_ALLOWED";
            assert!(is_other || known.iter().any(|name| name == word), "{word}: add a row");
        }
    }
}
