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
        "name": "b", "node_count": "1", "discovery_url": null, "baymodel_id": "km",
        "bay_create_timeout": "15", "master_count": 1,
    });
    let made = server.post("/v1/bays", &body).expect(201);
    assert_eq!((&made["baymodel_id"], &made["node_count"]), (&model["uuid"], &json!(1)));
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
    let changed = set("/node_count", json!(4)).expect(200);
    assert_eq!((&changed["node_count"], &changed["desired"]["node_count"]), (&json!(1), &json!(4)));
    let why = "node_count 4 cannot be served: 1 node is available";
    assert_eq!(
        (&changed["status"], &changed["status_reason"]),
        (&json!("UPDATE_COMPLETE"), &json!(why))
    );
    let changed = set("/node_count", json!(1)).expect(200);
    assert_eq!((&changed["desired"], &changed["status_reason"]), (&json!({}), &Value::Null));
    assert_eq!(refused(&set("/name", json!("x")), 400), "cannot change bay property(ies) name.");
    assert_eq!(server.delete("/v1/bays/b").status, 204);
    wait_until("the bay to be gone", PATIENCE, || server.get("/v1/bays/b").status == 404);
    assert_eq!(server.delete(&format!("/v1/baymodels/{model}")).status, 204);
}

#[test]
fn nothing_is_mandatory_that_the_clients_of_2014_do_not_send() {
    let server = Server::start(Options::fake());
    let seed = json!({ "image_id": "Fedora", "node_count": "1", "type": "virt", "name": "s" });
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

/// A bay that cannot be is not there under another name.
#[test]
fn a_bay_that_cannot_be_served_has_failed_and_says_what_can() {
    let server = Server::start(Options::fake());
    let model = |coe: &str| {
        let mut body = baymodel(coe);
        body["coe"] = json!(coe);
        server.post("/v1/baymodels", &body).expect(201);
    };
    for coe in ["kubernetes", "swarm", "mesos"] {
        model(coe);
        let bay = server.post("/v1/bays", &json!({ "name": coe, "baymodel_id": coe })).expect(201);
        assert_eq!(bay["status"], "CREATE_FAILED");
        let why = format!(
            "create failed: the coe {coe} of its baymodel is not available; available: docker"
        );
        assert_eq!(bay["status_reason"], json!(why));
        assert_eq!((&bay["node_addresses"], &bay["task"]), (&json!([]), &Value::Null));
        assert_eq!(server.delete(&format!("/v1/bays/{coe}")).status, 204);
        let path = format!("/v1/bays/{coe}");
        wait_until("the bay to be gone", PATIENCE, || server.get(&path).status == 404);
    }
    model("Docker");
    let two = json!({ "name": "two", "baymodel_id": "Docker", "node_count": 2 });
    let bay = server.post("/v1/bays", &two).expect(201);
    let why = "create failed: node_count 2 cannot be served: 1 node is available";
    assert_eq!((&bay["status"], &bay["status_reason"]), (&json!("CREATE_FAILED"), &json!(why)));
    let body = json!({ "name": "c", "image_id": "i", "bay_uuid": bay["uuid"] });
    let words = refused(&server.post("/v1/containers", &body), 409);
    assert!(words.contains("node_count 2 cannot be served"), "{words}");
    server.post("/v1/bays", &json!({ "name": "one", "baymodel_id": "Docker" })).expect(201);
    assert_eq!(settled(Kind::Bay, &server, "one")["status"], "CREATE_COMPLETE");
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
