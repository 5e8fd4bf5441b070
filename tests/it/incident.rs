//! The incident that docs/debugging.md tells, made again on the real engine and looked into with
//! the commands that it shows.

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Options, PATIENCE, Server, wait_until};
use crate::pasted::{Section, sh};
use crate::replay::{document, magnum};

/// What happens to the container.
const HAPPENS: [&str; 8] = [
    "container.create_requested",
    "container.created",
    "container.start_requested",
    "container.started",
    "container.exited",
    "container.restarted",
    "container.exited",
    "container.drifted",
];

#[test]
fn the_incident_of_the_document_is_looked_into_as_pasted() {
    let story = Section::of("docs/debugging.md", "An incident");
    let server = Server::start(Options::docker().arg("--host=n1"));
    wait_until("the node", PATIENCE, || {
        server.get("/v1/nodes/detail").json["nodes"][0]["status"] == "available"
    });
    let home = TempDir::new().unwrap();
    for line in story.lines() {
        sh(line, home.path(), server.url());
    }
    let timeline = ["replay", "timeline", "container/shop", "-o", "json"];
    let told = document(&magnum(server.url(), &timeline));
    let types = |step: &Value| step["event"]["type"].as_str().unwrap().to_owned();
    let types: Vec<_> = told["events"].as_array().unwrap().iter().map(types).collect();
    assert_eq!(types, HAPPENS);
    story.is_as_pasted(|line| sh(line, home.path(), server.url()));
}
