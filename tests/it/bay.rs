//! Bays over REST.

use magnum::ids::Kind;
use serde_json::{Value, json};

use crate::harness::{Options, PATIENCE, Server, wait_until};
use crate::noun::settled;
use crate::requests::{baymodel, refused};

#[test]
fn a_bay_from_birth_to_death() {
    let server = Server::start(Options::fake());
    let model = server.post("/v1/baymodels", &baymodel("km")).expect(201);
    let body = json!({
        "name": "b", "node_count": "3", "discovery_url": null, "baymodel_id": "km",
        "bay_create_timeout": "15", "master_count": 1,
    });
    let made = server.post("/v1/bays", &body).expect(201);
    assert_eq!((&made["baymodel_id"], &made["node_count"]), (&model["uuid"], &json!(3)));
    assert!(made["status"].as_str().unwrap().starts_with("CREATE_"));
    let done = settled(Kind::Bay, &server, "b");
    assert_eq!(done["status"], "CREATE_COMPLETE");
    assert!(done["network_id"].is_string());

    let words = refused(&server.delete("/v1/baymodels/km"), 400);
    let model = model["uuid"].as_str().unwrap();
    assert_eq!(words, format!("Baymodel {model} is referenced by one or multiple bays."));

    let set = |path: &str, value: Value| {
        server.patch("/v1/bays/b", &json!([{ "op": "replace", "path": path, "value": value }]))
    };
    assert_eq!(set("/node_count", json!(4)).expect(200)["node_count"], 4);
    assert_eq!(refused(&set("/name", json!("x")), 400), "cannot change bay property(ies) name.");
    assert_eq!(server.delete("/v1/bays/b").status, 204);
    wait_until("the bay to be gone", PATIENCE, || server.get("/v1/bays/b").status == 404);
    assert_eq!(server.delete(&format!("/v1/baymodels/{model}")).status, 204);
}

#[test]
fn nothing_is_mandatory_that_the_clients_of_2014_do_not_send() {
    let server = Server::start(Options::fake());
    let seed = json!({ "image_id": "Fedora", "node_count": "3", "type": "virt", "name": "s" });
    let bay = server.post("/v1/bays", &seed).expect(201);
    assert_eq!((&bay["type"], &bay["image_id"]), (&json!("virt"), &json!("Fedora")));
    let row = &server.list("/v1/bays")[0];
    assert_eq!((&row["type"], &row["image_id"]), (&json!("virt"), &json!("Fedora")));
    let nulls = json!({ "image_id": null, "node_count": null, "type": null, "name": null });
    let other = server.post("/v1/bays", &nulls).expect(201);
    assert_eq!(other["node_count"], 1);
    assert_eq!(other["baymodel_id"], bay["baymodel_id"]);
    let model = server.get("/v1/baymodels/default").expect(200);
    assert_eq!(model["uuid"], bay["baymodel_id"]);
}

#[test]
fn deleting_a_bay_deletes_its_containers_and_no_others() {
    let server = Server::start(Options::fake());
    let bay = |name: &str| {
        let uuid = server.post("/v1/bays", &json!({ "name": name })).expect(201)["uuid"].take();
        settled(Kind::Bay, &server, name);
        uuid
    };
    let (doomed, spared) = (bay("doomed"), bay("spared"));
    for (name, bay) in [("a", &doomed), ("b", &doomed), ("c", &spared)] {
        let body = json!({ "name": name, "image_id": "busybox", "bay_uuid": bay });
        server.post("/v1/containers", &body).expect(201);
    }
    assert_eq!(server.delete("/v1/bays/doomed").status, 204);
    wait_until("the bay to be gone", PATIENCE, || server.get("/v1/bays/doomed").status == 404);
    for list in ["/v1/containers", "/v1/containers/?bay_ident=spared"] {
        let left = server.list(list);
        assert_eq!((left.len(), &left[0]["name"]), (1, &json!("c")));
    }
    refused(&server.get("/v1/containers?bay_ident=doomed"), 404);
}

#[test]
fn the_placement_of_a_bay_says_why() {
    let server = Server::start(Options::fake());
    let stray = server.post("/v1/nodes", &json!({ "type": "virt" })).expect(201);
    let bay = server.post("/v1/bays", &json!({ "name": "b" })).expect(201);
    let history = server.get("/v1/bays/b/history").expect(200);
    let placement = &history["events"][0]["data"]["placement"];
    assert_eq!(placement["node_id"], bay["node_uuid"]);
    let verdicts = placement["verdicts"].as_array().unwrap();
    let of_stray = verdicts.iter().find(|verdict| verdict["node_id"] == stray["uuid"]).unwrap();
    assert_eq!(of_stray["eligible"], false);
    assert!(of_stray["reason"].as_str().unwrap().contains("no backend"));
}
