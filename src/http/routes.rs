//! Every path of the REST API, a block for each noun.
//!
//! The router and `schemas/openapi.json` are made of this table. Paths also work without `/v1`
//! and with a slash at the end (`service`).

use std::sync::LazyLock;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use super::bay::{self, Bay, BayDetails, BayPage, NewBay};
use super::baymodel::{self, Baymodel, BaymodelDetails, BaymodelPage, NewBaymodel};
use super::container::{self, Container, ContainerDetails, ContainerPage};
use super::discovery::{self, Root};
use super::edge::request::{Call, Ident};
use super::edge::state::AppState;
use super::health::{self, Health, Readiness};
use super::input::container::NewContainer;
use super::keys::{self, Keys};
use super::node::{self, NewNode, Node, NodeDetails, NodePage};
use super::route::{Route, delete, get, patch, post, put};
use super::schema::{self, EventSchemas};
use super::stream::pages::EventPage;
use super::stream::{follow, pages};
use super::verbs::execute::Executed;
use super::verbs::logs::Logs;
use super::verbs::{action, execute, logs};
use super::{metrics, openapi, replay};
use crate::projections::View;
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;
use crate::projections::container::ContainerView;
use crate::projections::node::NodeView;
use crate::replay::bundle::Bundle;
use crate::replay::diff::{Blame, Diff};
use crate::replay::find::Found;
use crate::replay::state::StateAt;
use crate::replay::system::SystemDiff;
use crate::replay::timeline::Timeline;
use crate::replay::trace::Trace;
use crate::replay::verify::Verified;
use crate::replay::what_if::WhatIf;
use crate::replay::why::Why;

/// Arguments of lists, besides the fields that they filter by.
const LIST: &str = "at limit marker sort_key sort_dir min_position";
const ONE: &str = "at min_position";
const EVENTS: &str = "after since limit kind object bay type project user request_id outcome";
const LOGS: &str = "tail since timestamps follow stdout stderr";
const STREAM: &str = "after since snapshot kind object bay type project user request_id outcome";

/// All routes.
pub fn table() -> Vec<Route> {
    [service(), bays(), baymodels(), nodes(), containers(), actions(), log(), whole()].concat()
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
fn bays() -> Vec<Route> {
    vec![
        get("/v1/bays", bay::list, "List bays").query(LIST).answers::<BayPage>(),
        get("/v1/bays/detail", bay::detail, "List bays").query(LIST).answers::<BayDetails>(),
        get("/v1/bays/{ident}", bay::show, "Show a bay").query(ONE).answers::<Bay>(),
        post("/v1/bays", bay::create, "Create a bay").takes::<NewBay>().answers::<Bay>(),
        patch("/v1/bays/{ident}", bay::update, "Set a bay's node_count").answers::<Bay>(),
        delete("/v1/bays/{ident}", bay::delete, "Delete a bay with all in it"),
        history::<BayView>("/v1/bays/{ident}/history"),
        about::<BayView, StateAt>("/v1/bays/{ident}/state"),
        about::<BayView, Timeline>("/v1/bays/{ident}/timeline"),
        about::<BayView, Diff>("/v1/bays/{ident}/diff"),
        about::<BayView, Blame>("/v1/bays/{ident}/blame"),
        about::<BayView, Why>("/v1/bays/{ident}/why"),
        about::<BayView, WhatIf>("/v1/bays/{ident}/what-if"),
        about::<BayView, Bundle>("/v1/bays/{ident}/bundle"),
    ]
}

#[rustfmt::skip]
fn baymodels() -> Vec<Route> {
    vec![
        get("/v1/baymodels", baymodel::list, "List baymodels")
            .query(LIST).answers::<BaymodelPage>(),
        get("/v1/baymodels/detail", baymodel::detail, "List baymodels with all fields")
            .query(LIST).answers::<BaymodelDetails>(),
        get("/v1/baymodels/{ident}", baymodel::show, "Show a baymodel")
            .query(ONE).answers::<Baymodel>(),
        post("/v1/baymodels", baymodel::create, "Create a baymodel")
            .takes::<NewBaymodel>().answers::<Baymodel>(),
        patch("/v1/baymodels/{ident}", baymodel::update, "Set fields").answers::<Baymodel>(),
        delete("/v1/baymodels/{ident}", baymodel::delete, "Delete a baymodel that no bay uses"),
        history::<BaymodelView>("/v1/baymodels/{ident}/history"),
        about::<BaymodelView, StateAt>("/v1/baymodels/{ident}/state"),
        about::<BaymodelView, Timeline>("/v1/baymodels/{ident}/timeline"),
        about::<BaymodelView, Diff>("/v1/baymodels/{ident}/diff"),
        about::<BaymodelView, Blame>("/v1/baymodels/{ident}/blame"),
        about::<BaymodelView, Why>("/v1/baymodels/{ident}/why"),
        about::<BaymodelView, WhatIf>("/v1/baymodels/{ident}/what-if"),
        about::<BaymodelView, Bundle>("/v1/baymodels/{ident}/bundle"),
    ]
}

#[rustfmt::skip]
fn nodes() -> Vec<Route> {
    vec![
        get("/v1/nodes", node::list, "List nodes").query(LIST).answers::<NodePage>(),
        get("/v1/nodes/detail", node::detail, "List nodes").query(LIST).answers::<NodeDetails>(),
        get("/v1/nodes/{ident}", node::show, "Show a node").query(ONE).answers::<Node>(),
        post("/v1/nodes", node::create, "Make a node known").takes::<NewNode>().answers::<Node>(),
        patch("/v1/nodes/{ident}", node::update, "Change a node's record").answers::<Node>(),
        delete("/v1/nodes/{ident}", node::delete, "Forget a node"),
        history::<NodeView>("/v1/nodes/{ident}/history"),
        about::<NodeView, StateAt>("/v1/nodes/{ident}/state"),
        about::<NodeView, Timeline>("/v1/nodes/{ident}/timeline"),
        about::<NodeView, Diff>("/v1/nodes/{ident}/diff"),
        about::<NodeView, Blame>("/v1/nodes/{ident}/blame"),
        about::<NodeView, Why>("/v1/nodes/{ident}/why"),
        about::<NodeView, WhatIf>("/v1/nodes/{ident}/what-if"),
        about::<NodeView, Bundle>("/v1/nodes/{ident}/bundle"),
    ]
}

#[rustfmt::skip]
fn containers() -> Vec<Route> {
    vec![
        get("/v1/containers", container::list, "List containers")
            .query(LIST).answers::<ContainerPage>(),
        get("/v1/containers/detail", container::detail, "List containers with all fields")
            .query(LIST).answers::<ContainerDetails>(),
        get("/v1/containers/{ident}", container::show, "Show a container")
            .query(ONE).answers::<Container>(),
        post("/v1/containers", container::create, "Create a container, not running")
            .takes::<NewContainer>().answers::<Container>().waits::<Container>(),
        patch("/v1/containers/{ident}", container::update, "Change a container's record")
            .answers::<Container>(),
        delete("/v1/containers/{ident}", container::delete, "Remove a container, running or not")
            .waits::<Container>(),
        history::<ContainerView>("/v1/containers/{ident}/history"),
        about::<ContainerView, StateAt>("/v1/containers/{ident}/state"),
        about::<ContainerView, Timeline>("/v1/containers/{ident}/timeline"),
        about::<ContainerView, Diff>("/v1/containers/{ident}/diff"),
        about::<ContainerView, Blame>("/v1/containers/{ident}/blame"),
        about::<ContainerView, Why>("/v1/containers/{ident}/why"),
        about::<ContainerView, WhatIf>("/v1/containers/{ident}/what-if"),
        about::<ContainerView, Bundle>("/v1/containers/{ident}/bundle"),
    ]
}

#[rustfmt::skip]
fn actions() -> Vec<Route> {
    vec![
        put("/v1/containers/{ident}/start", action::start, "Start").waits::<Container>(),
        put("/v1/containers/{ident}/stop", action::stop, "Stop")
            .query("timeout").waits::<Container>(),
        put("/v1/containers/{ident}/reboot", action::reboot, "Stop and start")
            .query("timeout").waits::<Container>(),
        put("/v1/containers/{ident}/pause", action::pause, "Freeze").waits::<Container>(),
        put("/v1/containers/{ident}/unpause", action::unpause, "Let go on").waits::<Container>(),
        put("/v1/containers/{ident}/kill", action::kill, "Send a signal")
            .query("signal").waits::<Container>(),
        put("/v1/containers/{ident}/execute", execute::execute, "Run a command in it")
            .query("command").answers::<Executed>().waits::<Executed>(),
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

fn history<V: View>(path: &'static str) -> Route {
    let summary = "What happened to it, also after it was deleted";
    get(path, pages::history::<V>, summary).query("after limit").answers::<EventPage>()
}

/// A question about an object; its verb is the last part of the path.
fn about<V: View, T: ToSchema>(path: &'static str) -> Route {
    let verb = path.rsplit('/').next().unwrap_or_default();
    let (summary, arguments) = match verb {
        "state" => ("What it was at a moment, and what was shown of it", "at"),
        "timeline" => ("What happened to it: who, why, work and what came of it", "related at"),
        "diff" => ("What changed about it, field by field, and what did that", "from to"),
        "blame" => ("The last event that set a field, and what led to it", "field at"),
        "what-if" => ("What would be without some events, or if it were asked", "at drop apply"),
        "bundle" => ("What happened to it, as a file for somebody else", "related redact"),
        _ => ("Why it is as it is: what it waits for, and what led here", "at"),
    };
    let handler = move |State(state): State<AppState>, ident: Ident, call: Call| async move {
        let known: Vec<&str> = arguments.split_whitespace().collect();
        replay::about::<V>(state, ident, call, verb, &known).await
    };
    get(path, handler, summary).query(arguments).answers::<T>()
}
