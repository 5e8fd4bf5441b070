//! Baymodels over REST.

use serde_json::{Value, json};

use crate::harness::{Options, Server};
use crate::requests::refused;

#[test]
fn baymodels_as_the_clients_of_2015_send_and_patch_them() {
    let server = Server::start(Options::fake());
    // As the client of 2015 sends it: numbers as text, null for what was not given.
    let body = json!({
        "name": "km", "image_id": "fedora", "keypair_id": "k", "external_network_id": "n",
        "coe": "kubernetes", "flavor_id": "m1.small", "master_flavor_id": null,
        "fixed_network": null, "dns_nameserver": "8.8.8.8", "docker_volume_size": "5",
        "ssh_authorized_key": null, "apiserver_port": "8080", "unknown": { "x": 1 },
    });
    let made = server.post("/v1/baymodels", &body).expect(201);
    assert_eq!(made["docker_volume_size"], 5);
    assert_eq!(made["dns_nameserver"], "8.8.8.8");
    assert_eq!(made["master_flavor_id"], Value::Null);

    let patch = json!([
        { "op": "replace", "path": "/name", "value": 2015 },
        { "op": "remove", "path": "/dns_nameserver" },
        { "op": "add", "path": "/docker_volume_size", "value": "7" },
    ]);
    let changed = server.patch("/v1/baymodels/km", &patch).expect(200);
    assert_eq!(changed["name"], "2015");
    assert_eq!(changed["dns_nameserver"], Value::Null);
    assert_eq!(changed["docker_volume_size"], 7);
    refused(&server.get("/v1/baymodels/km"), 404);
}

#[test]
fn the_clients_before_may_2015_can_make_a_bay() {
    let server = Server::start(Options::fake());
    let head = || server.get("/v1/events?limit=1").expect(200)["head"].clone();
    let before = head();
    let shown = server.get("/v1/baymodels/default").expect(200);
    let uuid = shown["uuid"].as_str().unwrap();
    assert_eq!((&shown["name"], &shown["coe"]), (&json!("default"), &json!("docker")));
    let row = json!({
        "uuid": uuid, "name": "default", "coe": "docker", "image_id": "default",
        "apiserver_port": null, "links": shown["links"],
    });
    assert_eq!(server.list("/v1/baymodels"), [row]);
    assert_eq!(server.get(&format!("/v1/baymodels/{uuid}")).expect(200), shown);
    assert_eq!(head(), before, "to look at it recorded something");

    // They have no option for a coe.
    let old = json!({ "name": "old", "image_id": "i", "keypair_id": "k", "coe": null });
    assert_eq!(server.post("/v1/baymodels", &old).expect(201)["coe"], "docker");
    let names = |query: &str| {
        let rows = server.list(&format!("/v1/baymodels{query}"));
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["default", "old"]);
    assert_eq!(names("?name=old"), ["old"]);
    assert_eq!(names("?coe=docker"), ["default", "old"]);
    assert_eq!(names("?limit=1"), ["default"]);
    let next = server.get("/v1/baymodels?limit=1").expect(200)["next"].clone();
    let next = next.as_str().unwrap().split_once("/v1/baymodels").unwrap().1;
    assert_eq!(names(next), ["old"]);

    // 0.1.0 sends the uuid that it was shown.
    let bay = json!({ "name": "b", "baymodel_id": uuid, "node_count": "1" });
    assert_eq!(server.post("/v1/bays", &bay).expect(201)["baymodel_id"], uuid);
    let again = server.get("/v1/baymodels/default").expect(200);
    assert_eq!((&again["uuid"], names("").len()), (&shown["uuid"], 2));
}

#[test]
fn the_built_in_baymodel_can_be_changed_before_it_is_used() {
    let server = Server::start(Options::fake());
    let set = json!([{ "op": "replace", "path": "/flavor_id", "value": "m1" }]);
    let changed = server.patch("/v1/baymodels/default", &set).expect(200);
    assert_eq!(changed["flavor_id"], "m1");
    assert_eq!(server.list("/v1/baymodels").len(), 1);
    assert_eq!(server.delete("/v1/baymodels/default").status, 204);
    let original = server.get("/v1/baymodels/default").expect(200);
    assert_eq!(original["flavor_id"], Value::Null, "deleting it brings back the original");
}
