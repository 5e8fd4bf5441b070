//! The incident that docs/debugging.md tells, made again on the real engine and looked into with
//! the commands that it shows.

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Options, PATIENCE, Server, wait_until};
use crate::pasted::{Section, sh};
use crate::replay::{document, magnum};

/// Runs of the incident: the engine may tell of an end too late to see that it was for want of
/// memory, or after it has started the container again. That is no other incident, but it reads
/// otherwise.
const RUNS: usize = 5;

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
    for _ in 0..RUNS {
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
        if types == HAPPENS {
            return story.is_as_pasted(|line| sh(line, home.path(), server.url()));
        }
        eprintln!("once more, as it happened otherwise: {types:?}");
    }
    panic!("it never happened as told in {RUNS} runs");
}
