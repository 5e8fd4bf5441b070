//! Every path of the REST API, a block for each noun.
//!
//! The router and `schemas/openapi.json` are made of this table. Paths also work without `/v1`
//! and with a slash at the end (`service`).

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};

use super::discovery::{self, Root};
use super::health::{self, Health, Readiness};
use super::keys::{self, Keys};
use super::route::{Route, delete, get, post, put, register};
use super::schema::{self, EventSchemas};
use super::session::{self, SessionBegun, Who};
use super::stream::pages::EventPage;
use super::stream::{follow, pages};
use super::verbs::execute::Executed;
use super::verbs::execution::{ExecutionOutput, ExecutionState};
use super::verbs::executions::Executions;
use super::verbs::logs::Logs;
use super::verbs::raw::MULTIPLEXED;
use super::verbs::{Executes, action, execute, execution, executions, logs};
use super::{identity, metrics, openapi, replay, resource, shape};
use crate::projections::container::ContainerView;
use crate::projections::pod::PodView;
use crate::replay::find::Found;
use crate::replay::system::SystemDiff;
use crate::replay::trace::Trace;
use crate::replay::verify::Verified;

const EVENTS: &str =
    "after before since limit kind object subject bay type project user request_id outcome";
const LOGS: &str = "tail since until timestamps follow stdout stderr";
const STREAM: &str =
    "after since snapshot kind object subject bay type project user request_id outcome";

/// What every noun has, for each row of the table of nouns.
macro_rules! of_nouns {
    ([] $($(#[$doc:meta])* $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        [$(resource::routes::<$View>()),*].concat()
    };
}

/// All routes.
pub fn table() -> Vec<Route> {
    let nouns = crate::noun_table! { of_nouns [] };
    let outputs = [output::<ContainerView>(""), output::<PodView>("container")].concat();
    [service(), old_clients(), nouns, action::routes(), outputs, log(), whole()].concat()
}

#[rustfmt::skip]
fn service() -> Vec<Route> {
    vec![
        get("/", discovery::root, "Describe the service").answers::<Root>(),
        get("/v1", discovery::v1, "Describe this version of the API"),
        get("/v1/openapi.json", document, "This document").text(&["application/json"]),
        get("/healthz", health::alive, "Liveness").answers::<Health>(),
        get("/readyz", health::ready, "Readiness, with each part").answers::<Readiness>()
            .or(503, "Not ready, and why", Some(register::<Readiness>)),
        get("/metrics", metrics::show, "Metrics for Prometheus")
            .text(&["text/plain", "application/openmetrics-text"]),
        get("/v1/session", session::show, "Show who asks").answers::<Who>(),
        Route { status: 200, ..post("/v1/session", session::begin, "Exchange a token for the \
            cookie of a browser's session") }.answers::<SessionBegun>(),
        delete("/v1/session", session::end, "End the browser's session"),
    ]
}

#[rustfmt::skip]
fn old_clients() -> Vec<Route> {
    vec![
        get(identity::V2, identity::v2, "Describe the stand-in for Keystone 2.0, without authentication"),
        Route { status: 200, ..post(identity::V2_TOKENS, identity::v2_token, "Get a token that \
            opens nothing, without authentication") },
        get(identity::V3, identity::v3, "Describe the stand-in for Keystone 3, without authentication"),
        post(identity::V3_TOKENS, identity::v3_token, "Get a token that opens nothing, without \
            authentication"),
    ]
}

/// What an object has in which commands run; `arguments` say in which part of it.
#[rustfmt::skip]
fn output<V: Executes>(arguments: &'static str) -> Vec<Route> {
    let (one, object) = (V::KIND.name(), format!("/v1/{}/{{ident}}", V::KIND.collection()));
    let executions = format!("{object}/executions");
    let execution = format!("{executions}/{{id}}");
    vec![
        put(&format!("{object}/execute"), execute::execute::<V>, &format!("Execute a command in a {one}"))
            .query("command stream").query(arguments)
            .answers::<Executed>().text(&[MULTIPLEXED]).waits::<Executed>(),
        get(&executions, executions::list::<V>, "List the running commands").answers::<Executions>(),
        get(&execution, execution::show::<V>, "Show how a command ended").answers::<ExecutionState>(),
        get(&format!("{execution}/output"), execution::output::<V>, "Get what a command wrote, for \
            an hour after its end")
            .query("stream").answers::<ExecutionOutput>().text(&[MULTIPLEXED]),
        delete(&execution, executions::end::<V>, "End a running command")
            .waits_as(shape::object::<V>),
        get(&format!("{object}/logs"), logs::logs::<V>, &format!("Get a {one}'s logs"))
            .query(LOGS).query(arguments).answers::<Logs>().text(&["text/plain"]),
    ]
}

#[rustfmt::skip]
fn log() -> Vec<Route> {
    vec![
        get("/v1/replay/find", replay::find, "Find when a condition became true")
            .query("condition among first monotone").answers::<Found>(),
        get("/v1/events", pages::page, "List events").query(EVENTS).answers::<EventPage>(),
        get("/v1/events/stream", follow::events, "Follow events as a stream")
            .query(STREAM).text(&["application/x-ndjson", "text/event-stream"])
            .or(101, "A WebSocket with the same, where the request asks for one", None),
        get("/v1/keys", keys::list, "Show the key that seals environment variables").answers::<Keys>(),
        delete("/v1/keys/{ident}", keys::erase, "Erase the key, and with it every value that it \
            sealed"),
        get("/v1/schemas/events", schema::list, "List the JSON Schemas of all events")
            .answers::<EventSchemas>(),
        get("/v1/schemas/events/{file}", schema::show, "Get the JSON Schema of an event's data")
            .text(&["application/schema+json"]),
    ]
}

#[rustfmt::skip]
fn whole() -> Vec<Route> {
    vec![
        get("/v1/replay/diff", replay::diff, "Show what changed in the whole system")
            .query("from to").answers::<SystemDiff>(),
        get("/v1/replay/verify", replay::verify, "Compare the read models with the log")
            .answers::<Verified>(),
        get("/v1/trace/{ident}", replay::trace, "Show everything that a request caused").answers::<Trace>(),
    ]
}

/// The methods of each path.
static METHODS: LazyLock<HashMap<String, Vec<Method>>> = LazyLock::new(|| {
    let mut methods = HashMap::<String, Vec<Method>>::new();
    for route in table() {
        methods.entry(route.path.clone()).or_default().push(route.verb());
    }
    methods
});

/// Whether a path of the table takes a method.
pub fn takes(path: &str, method: &Method) -> bool {
    // What answers GET answers HEAD.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    METHODS.get(path).is_some_and(|methods| methods.contains(method))
}

/// The methods of a path of the table, as `Allow` lists them.
pub fn allowed(path: &str) -> String {
    let methods = METHODS.get(path).into_iter().flatten();
    let names = methods.map(|method| match *method {
        Method::GET => "GET, HEAD",
        _ => method.as_str(),
    });
    names.chain(["OPTIONS"]).collect::<Vec<_>>().join(", ")
}

/// Whether a path of the table ends in what can only be the name of an object where this method is
/// asked for: `DELETE /v1/bays/detail`.
pub fn names_object(path: &str, method: &Method) -> bool {
    let is_object = |(parent, _)| takes(&format!("{parent}/{{ident}}"), method);
    METHODS.contains_key(path)
        && !takes(path, method)
        && path.rsplit_once('/').is_some_and(is_object)
}

/// What `schemas/openapi.json` holds.
pub fn openapi_document() -> String {
    openapi::document(&table())
}

/// `GET /v1/openapi.json`
async fn document() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(openapi_document);
    let json = [(header::CONTENT_TYPE, "application/json; charset=UTF-8")];
    (json, DOCUMENT.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::http::edge::policy;

    #[test]
    fn somebody_has_decided_who_may_do_what_each_route_does() {
        let routes = table();
        for route in &routes {
            let row = policy::row(route.method_name(), &route.path);
            assert!(row.is_some(), "{} {} has no row", route.method_name(), route.path);
        }
        // And about nothing that there is not.
        let served: HashSet<_> =
            routes.iter().map(|route| (route.method_name(), &*route.path)).collect();
        for (method, path) in policy::requests() {
            let is_served =
                served.iter().any(|(known, route)| *known == method && policy::is_at(path, route));
            assert!(is_served, "{method} {path} has a row and no route");
        }
    }
}
