//! Every path of the REST API on one page; the router and `schemas/openapi.json` are made of it.
//!
//! Paths also work without `/v1` and with a slash at the end (`edge`).

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::ToSchema;
use utoipa::openapi::{HttpMethod, RefOr, Schema};

use super::bay::{Bay, BayDetails, BayPage, NewBay};
use super::baymodel::{Baymodel, BaymodelDetails, BaymodelPage, NewBaymodel};
use super::container::{Container, ContainerDetails, ContainerPage};
use super::container_execute::Executed;
use super::container_logs::Logs;
use super::container_spec::NewContainer;
use super::discovery::Root;
use super::events::EventPage;
use super::health::{Health, Readiness};
use super::node::{NewNode, Node, NodeDetails, NodePage};
use super::{
    AppState, bay, baymodel, container, container_action as action, container_execute,
    container_logs, discovery, events, health, metrics, node, openapi, stream,
};
use crate::projections::bay::BayView;
use crate::projections::baymodel::BaymodelView;
use crate::projections::container::ContainerView;
use crate::projections::node::NodeView;

/// Arguments of lists, besides the fields that they filter by.
const LIST: &str = "limit marker sort_key sort_dir min_position";
const ONE: &str = "at min_position";
const HISTORY: &str = "after limit";
const LOGS: &str = "tail since timestamps follow stdout stderr";
const STREAM: &str = "after kind object type";

/// All routes.
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    vec![
        get("/", discovery::root, "What serves here").answers::<Root>(200),
        get("/v1", discovery::v1, "What is in this version"),
        get("/v1/openapi.json", openapi::show, "This document"),
        get("/healthz", health::alive, "Whether the process answers").answers::<Health>(200),
        get("/readyz", health::ready, "Whether it is ready").answers::<Readiness>(200),
        get("/metrics", metrics::show, "Numbers for Prometheus").text(),

        get("/v1/bays", bay::list, "List bays").query(LIST).answers::<BayPage>(200),
        get("/v1/bays/detail", bay::detail, "List bays with all fields").query(LIST).answers::<BayDetails>(200),
        get("/v1/bays/{ident}", bay::show, "Show a bay").query(ONE).answers::<Bay>(200),
        post("/v1/bays", bay::create, "Create a bay").takes::<NewBay>().answers::<Bay>(201),
        patch("/v1/bays/{ident}", bay::update, "Change a bay's node_count").answers::<Bay>(200),
        delete("/v1/bays/{ident}", bay::delete, "Delete a bay with all in it"),
        get("/v1/bays/{ident}/history", events::history::<BayView>, "What happened to a bay").query(HISTORY).answers::<EventPage>(200),

        get("/v1/baymodels", baymodel::list, "List baymodels").query(LIST).answers::<BaymodelPage>(200),
        get("/v1/baymodels/detail", baymodel::detail, "List baymodels with all fields").query(LIST).answers::<BaymodelDetails>(200),
        get("/v1/baymodels/{ident}", baymodel::show, "Show a baymodel").query(ONE).answers::<Baymodel>(200),
        post("/v1/baymodels", baymodel::create, "Create a baymodel").takes::<NewBaymodel>().answers::<Baymodel>(201),
        patch("/v1/baymodels/{ident}", baymodel::update, "Change a baymodel").answers::<Baymodel>(200),
        delete("/v1/baymodels/{ident}", baymodel::delete, "Delete a baymodel that no bay uses"),
        get("/v1/baymodels/{ident}/history", events::history::<BaymodelView>, "What happened to a baymodel").query(HISTORY).answers::<EventPage>(200),

        get("/v1/nodes", node::list, "List nodes").query(LIST).answers::<NodePage>(200),
        get("/v1/nodes/detail", node::detail, "List nodes with all fields").query(LIST).answers::<NodeDetails>(200),
        get("/v1/nodes/{ident}", node::show, "Show a node").query(ONE).answers::<Node>(200),
        post("/v1/nodes", node::create, "Make a node known").takes::<NewNode>().answers::<Node>(201),
        patch("/v1/nodes/{ident}", node::update, "Change a node's record").answers::<Node>(200),
        delete("/v1/nodes/{ident}", node::delete, "Forget a node"),
        get("/v1/nodes/{ident}/history", events::history::<NodeView>, "What happened to a node").query(HISTORY).answers::<EventPage>(200),

        get("/v1/containers", container::list, "List containers").query(LIST).answers::<ContainerPage>(200),
        get("/v1/containers/detail", container::detail, "List containers with all fields").query(LIST).answers::<ContainerDetails>(200),
        get("/v1/containers/{ident}", container::show, "Show a container").query(ONE).answers::<Container>(200),
        post("/v1/containers", container::create, "Create a container, not running").takes::<NewContainer>().answers::<Container>(201).waits::<Container>(),
        patch("/v1/containers/{ident}", container::update, "Change a container's record").answers::<Container>(200),
        delete("/v1/containers/{ident}", container::delete, "Remove a container, running or not").waits::<Container>(),
        get("/v1/containers/{ident}/history", events::history::<ContainerView>, "What happened to a container").query(HISTORY).answers::<EventPage>(200),

        put("/v1/containers/{ident}/start", action::start, "Start a container").waits::<Container>(),
        put("/v1/containers/{ident}/stop", action::stop, "Stop a container").query("timeout").waits::<Container>(),
        put("/v1/containers/{ident}/reboot", action::reboot, "Stop and start a container").query("timeout").waits::<Container>(),
        put("/v1/containers/{ident}/pause", action::pause, "Freeze a container").waits::<Container>(),
        put("/v1/containers/{ident}/unpause", action::unpause, "Let a container go on").waits::<Container>(),
        put("/v1/containers/{ident}/kill", action::kill, "Send a signal to a container").query("signal").waits::<Container>(),
        put("/v1/containers/{ident}/execute", container_execute::execute, "Run a command in a container").query("command").answers::<Executed>(200).waits::<Executed>(),
        get("/v1/containers/{ident}/logs", container_logs::logs, "What a container wrote").query(LOGS).answers::<Logs>(200),

        get("/v1/events", events::page, "The log in pages").query("after limit kind object type").answers::<EventPage>(200),
        get("/v1/events/stream", stream::events, "The log as server-sent events").query(STREAM).text(),
    ]
}

/// Pushes a type's schema with those it needs; its name.
pub type Register = fn(&mut Vec<(String, RefOr<Schema>)>) -> String;

/// One method of one path.
pub struct Route {
    /// With `{ident}` for a name or uuid.
    pub path: &'static str,
    /// For the document.
    pub method: HttpMethod,
    /// For the router.
    pub handler: MethodRouter<AppState>,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// The names of its arguments.
    pub query: &'static str,
    /// The schema of its body.
    pub body: Option<Register>,
    /// The status of success.
    pub status: u16,
    /// The schema of its answer.
    pub answer: Option<Register>,
    /// The schema of its answer where it does not wait for the outcome (202).
    pub waits: Option<Register>,
    /// Whether it answers with text that is no JSON.
    pub is_text: bool,
}

impl Route {
    fn query(mut self, names: &'static str) -> Self {
        self.query = names;
        self
    }

    fn takes<T: ToSchema>(mut self) -> Self {
        self.body = Some(openapi::register::<T>);
        self
    }

    fn answers<T: ToSchema>(mut self, status: u16) -> Self {
        self.status = status;
        self.answer = Some(openapi::register::<T>);
        self
    }

    fn waits<T: ToSchema>(mut self) -> Self {
        self.waits = Some(openapi::register::<T>);
        self
    }

    fn text(mut self) -> Self {
        self.is_text = true;
        self
    }
}

fn route<H, T>(
    method: HttpMethod,
    filter: MethodFilter,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route
where
    H: Handler<T, AppState>,
    T: 'static,
{
    Route {
        path,
        status: if method == HttpMethod::Delete { 204 } else { 200 },
        method,
        handler: on(filter, handler),
        summary,
        query: "",
        body: None,
        answer: None,
        waits: None,
        is_text: false,
    }
}

/// Declares a function that makes a route of one method.
macro_rules! methods {
    ($($name:ident $method:ident $filter:ident),*) => {
        $(fn $name<H, T>(path: &'static str, handler: H, summary: &'static str) -> Route
        where
            H: Handler<T, AppState>,
            T: 'static,
        {
            route(HttpMethod::$method, MethodFilter::$filter, path, handler, summary)
        })*
    };
}

methods!(get Get GET, post Post POST, put Put PUT, patch Patch PATCH, delete Delete DELETE);
