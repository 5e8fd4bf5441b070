//! Every path of the REST API, a block for each noun.
//!
//! The router and `schemas/openapi.json` are made of this table. Paths also work without `/v1`
//! and with a slash at the end (`service`).

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::discovery::{self, Root};
use super::health::{self, Health, Readiness};
use super::keys::{self, Keys};
use super::route::{Route, delete, get, put};
use super::schema::{self, EventSchemas};
use super::stream::pages::EventPage;
use super::stream::{follow, pages};
use super::verbs::execute::Executed;
use super::verbs::executions::Executions;
use super::verbs::logs::Logs;
use super::verbs::{action, execute, executions, logs};
use super::{metrics, openapi, replay, resource, shape};
use crate::projections::container::ContainerView;
use crate::replay::find::Found;
use crate::replay::system::SystemDiff;
use crate::replay::trace::Trace;
use crate::replay::verify::Verified;

const EVENTS: &str = "after since limit kind object bay type project user request_id outcome";
const LOGS: &str = "tail since timestamps follow stdout stderr";
const STREAM: &str = "after since snapshot kind object bay type project user request_id outcome";

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
    [service(), nouns, action::routes(), output(), log(), whole()].concat()
}

#[rustfmt::skip]
fn service() -> Vec<Route> {
    vec![
        get("/", discovery::root, "What serves here").answers::<Root>(),
        get("/v1", discovery::v1, "What is in this version"),
        get("/v1/openapi.json", document, "This document"),
        get("/healthz", health::alive, "Whether the process answers").answers::<Health>(),
        get("/readyz", health::ready, "Whether it is ready").answers::<Readiness>(),
        get("/metrics", metrics::show, "Numbers for Prometheus").text(),
    ]
}

#[rustfmt::skip]
fn output() -> Vec<Route> {
    vec![
        put("/v1/containers/{ident}/execute", execute::execute, "Run a command in it")
            .query("command").answers::<Executed>().waits::<Executed>(),
        get("/v1/containers/{ident}/executions", executions::list, "List the running commands")
            .answers::<Executions>(),
        delete("/v1/containers/{ident}/executions/{id}", executions::end, "End a running command")
            .waits_as(shape::object::<ContainerView>),
        get("/v1/containers/{ident}/logs", logs::logs, "What it wrote")
            .query(LOGS).answers::<Logs>(),
    ]
}

#[rustfmt::skip]
fn log() -> Vec<Route> {
    vec![
        get("/v1/replay/find", replay::find, "When a condition over objects became true")
            .query("condition among first monotone").answers::<Found>(),
        get("/v1/events", pages::page, "The log in pages").query(EVENTS).answers::<EventPage>(),
        get("/v1/events/stream", follow::events, "The log as a stream")
            .query(STREAM).text(),
        get("/v1/keys", keys::list, "The key that environments are sealed with").answers::<Keys>(),
        delete("/v1/keys/{ident}", keys::erase, "Erase it, and so every value sealed with it"),
        get("/v1/schemas/events", schema::list, "The JSON Schemas of all events")
            .answers::<EventSchemas>(),
        get("/v1/schemas/events/{file}", schema::show, "The JSON Schema of an event's data"),
    ]
}

#[rustfmt::skip]
fn whole() -> Vec<Route> {
    vec![
        get("/v1/replay/diff", replay::diff, "What changed in the whole system")
            .query("from to").answers::<SystemDiff>(),
        get("/v1/replay/verify", replay::verify, "Whether the read models are what the log says")
            .answers::<Verified>(),
        get("/v1/trace/{ident}", replay::trace, "What a request led to").answers::<Trace>(),
    ]
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
