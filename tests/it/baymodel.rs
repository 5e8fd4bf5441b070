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
