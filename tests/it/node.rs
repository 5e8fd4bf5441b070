//! Nodes over REST.

use serde_json::{Value, json};

use crate::harness::{Options, Server};
use crate::requests::refused;

#[test]
fn the_machine_itself_is_a_node() {
    let server = Server::start(Options::fake());
    let node = server.get("/v1/nodes/detail").expect(200)["nodes"][0].take();
    assert!(node["host"].is_string());
    let uuid = node["uuid"].as_str().unwrap();
    let path = format!("/v1/nodes/{uuid}");
    assert_eq!(server.get(&path).expect(200)["uuid"], uuid);
    // By what events call it, too.
    let host = node["host"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/nodes/{host}")).expect(200)["uuid"], uuid);
    let why = server.get(&format!("/v1/nodes/{host}/why")).expect(200);
    assert_eq!(why["object"], format!("node/{uuid}"));
    let events = server.get(&format!("/v1/events?object=node/{host}")).expect(200);
    assert_eq!(events["events"][0]["objectname"], host);
    assert_eq!(events["events"][0]["subject"], format!("node/{uuid}"));
    assert!(refused(&server.delete(&path), 409).contains("cannot be deleted"));
    let events = server.get(&format!("{path}/history")).expect(200);
    assert_eq!(events["events"][0]["type"], "magnum.node.created.v1");
    assert!(!events.to_string().contains("docker.sock"));
}

#[test]
fn a_node_that_is_only_a_record() {
    let server = Server::start(Options::fake());
    let body = json!({ "type": "virt", "image_id": "Fedora", "ironic_node_id": "i1" });
    let node = server.post("/v1/nodes", &body).expect(201);
    assert_eq!((&node["type"], &node["status"]), (&json!("virt"), &json!("unknown")));
    let path = format!("/v1/nodes/{}", node["uuid"].as_str().unwrap());
    let words = refused(&server.post("/v1/nodes", &body), 409);
    assert!(words.contains("i1"), "{words}");

    let patch = |op: &str, name: &str, value: Value| {
        let patch = json!([{ "op": op, "path": format!("/{name}"), "value": value }]);
        server.patch(&path, &patch)
    };
    assert_eq!(patch("replace", "type", json!("bare")).expect(200)["type"], "bare");
    refused(&patch("replace", "ironic_node_id", json!("i2")), 409);
    patch("replace", "ironic_node_id", json!("i1")).expect(200);
    let other = server.post("/v1/nodes", &json!({ "type": "virt" })).expect(201);
    let other = format!("/v1/nodes/{}", other["uuid"].as_str().unwrap());
    let ironic = |id: &str| json!([{ "op": "add", "path": "/ironic_node_id", "value": id }]);
    let words = refused(&server.patch(&other, &ironic("i1")), 409);
    assert_eq!(words, "Ironic node i1 belongs to another node already.");
    let changed = server.patch(&other, &ironic("i2")).expect(200);
    assert_eq!(changed["ironic_node_id"], "i2");
    let words = refused(&patch("add", "bogus", json!("x")), 400);
    let wanted = "Adding a new attribute (/bogus) to the root of  the resource is not allowed";
    assert_eq!(words, wanted);
    assert!(refused(&patch("replace", "bogus", json!("x")), 400).contains("Couldn't apply patch"));

    assert_eq!(server.delete(&path).status, 204);
    refused(&server.get(&path), 404);
    let words = refused(&server.patch("/v1/nodes/name", &json!([])), 400);
    assert_eq!(words, "Expected a uuid but received name.");
    refused(&server.delete("/v1/nodes/name"), 400);
}
