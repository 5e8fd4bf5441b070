//! What the host does not give to tenants: its loopback, the registries that only it reaches, and
//! the images that others pulled.

use serde_json::json;

use super::as_user;
use super::real::keystone;
use crate::harness::Server;
use crate::requests::refused;

#[test]
fn a_tenant_reaches_neither_the_host_nor_its_images() {
    let server = Server::start(keystone().magnum());
    let member = as_user(&server, &keystone().user(&["member"]));
    let images = [
        "127.0.0.1:22/x",
        "localhost:19890/x",
        "LOCALHOST/x",
        "2130706433:22/x",
        "0x7f.1/x",
        "[::1]:22/x",
        "[::ffff:127.0.0.1]:22/x",
        "10.0.0.1/x",
        "169.254.169.254/x:y",
        "registry:5000/x",
        "sha256:86d9d04493d5",
        "86d9d04493d5",
        &"86d9d04493d5".repeat(5),
    ];
    let mut bad: Vec<_> = images.iter().map(|image| ("image_id", json!(image))).collect();
    bad.push(("ports", json!(["127.0.0.1:8080:80"])));
    bad.push(("ports", json!(["[::1]::80"])));
    bad.push(("ports", json!([{ "container_port": 80, "host_ip": "127.9.9.9" }])));
    for (field, value) in bad {
        let mut body = json!({ "image_id": "busybox" });
        body[field] = value;
        let answer = member.post("/v1/containers", &body);
        let words = refused(&answer, 400);
        assert_eq!(answer.json["errors"][0]["field"], field, "{words}");
    }
    // Neither an object nor the bay for it.
    assert_eq!(member.get("/v1/events").expect(200)["events"], json!([]));
    for image in ["busybox", "quay.io/a/b:1", "registry.example.com:5000/x"] {
        let body = json!({ "image_id": image, "ports": ["80"] });
        member.post("/v1/containers", &body).expect(201);
    }
}

#[test]
fn the_operator_opens_registries_and_shares_images() {
    let server = Server::start(
        keystone()
            .magnum()
            .arg("--registry=127.0.0.1:5000")
            .arg("--registry=quay.io")
            .arg("--shared-image=busybox:local")
            .arg("--shared-image=base/*"),
    );
    let member = as_user(&server, &keystone().user(&["member"]));
    for image in ["127.0.0.1:5000/x", "quay.io/a/b", "busybox:local", "docker.io/base/web:2"] {
        member.post("/v1/containers", &json!({ "image": image })).expect(201);
    }
    let bad = ["127.0.0.1:5001/x", "busybox", "busybox:local2", "based/x", "quay.io:80/a", "x"];
    for image in bad {
        let words = refused(&member.post("/v1/containers", &json!({ "image": image })), 400);
        assert!(words.contains("only from 127.0.0.1:5000, quay.io"), "{words}");
    }
}
