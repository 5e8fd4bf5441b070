//! What the host does not give to whoever asks: ports, addresses, labels, and memory and CPUs
//! without a limit. Whose images they are: `keystone/host`; what the engine gets: `backend`.

use serde_json::{Value, json};

use crate::harness::{Options, Server};
use crate::requests::{refused, refuses};

fn good() -> Value {
    json!({ "image_id": "busybox" })
}

/// A container that is made with these fields.
#[track_caller]
fn made(server: &Server, field: &str, value: Value) -> Value {
    let mut body = good();
    body[field] = value;
    server.post("/v1/containers", &body).expect(201)
}

#[test]
fn ports_of_the_host_are_those_of_the_operator() {
    let server = Server::start(Options::fake());
    let own: u16 = server.url().rsplit(':').next().unwrap().parse().unwrap();
    let object = |port: Value| json!([{ "container_port": 80, "host_port": port }]);
    let bad = [
        ("ports", json!(["22:22"])),
        ("ports", json!(["8080:80", "53:53/udp"])),
        ("ports", json!(["0.0.0.0:80:80"])),
        ("ports", json!(["[::]:1023:80"])),
        ("ports", object(json!(443))),
        ("ports", object(json!("1"))),
        // A container that has the service's own port after a restart would get its tokens.
        ("ports", json!([format!("{own}:80")])),
        ("ports", json!([format!("127.0.0.1:{own}:80")])),
        ("ports", json!([format!("10.0.0.1:{own}:80")])),
    ];
    refuses(&server, "containers", &good(), &bad);
    let words =
        refused(&server.post("/v1/containers", &json!({ "image": "i", "ports": ["1:1"] })), 400);
    assert!(words.contains("from 1024 to 65535"), "{words}");
    // Not even the bay that it would have been in.
    assert_eq!(server.list("/v1/bays"), [Value::Null; 0]);
    let free = if own == 8080 { 8081 } else { 8080 };
    let port = made(&server, "ports", json!([format!("127.0.0.1:{free}:80")]))["ports"][0].take();
    assert_eq!((&port["host_ip"], &port["host_port"]), (&json!("127.0.0.1"), &json!(free)));
}

#[test]
fn the_host_port_0_is_any_free_one() {
    let server = Server::start(Options::fake());
    let any = json!(["0:80", "127.0.0.1:0:81", { "container_port": 82, "host_port": 0 }, "83"]);
    let ports = made(&server, "ports", any)["ports"].take();
    for (port, number) in ports.as_array().unwrap().iter().zip(80..) {
        assert_eq!((&port["container_port"], &port["host_port"]), (&json!(number), &Value::Null));
    }
}

#[test]
fn a_range_and_addresses_are_what_the_operator_says() {
    let server = Server::start(
        Options::fake()
            .arg("--published-ports=20000-20009")
            .arg("--published-address=10.0.0.1")
            .arg("--published-address=10.0.0.2"),
    );
    let bad = [
        ("ports", json!(["19999:80"])),
        ("ports", json!(["20010:80"])),
        ("ports", json!(["0.0.0.0:20000:80"])),
        ("ports", json!(["[::]:20000:80"])),
        ("ports", json!(["127.0.0.1:20000:80"])),
        ("ports", json!(["10.0.0.3::80"])),
        ("ports", json!([{ "container_port": 80, "host_ip": "::1" }])),
    ];
    refuses(&server, "containers", &good(), &bad);
    let ports = made(&server, "ports", json!(["20009:80", "10.0.0.2:20000:81", "82"]));
    let addresses: Vec<&Value> =
        ports["ports"].as_array().unwrap().iter().map(|port| &port["host_ip"]).collect();
    // What is recorded is where they are.
    assert_eq!(addresses, ["10.0.0.1", "10.0.0.2", "10.0.0.1"]);
}

#[test]
fn labels_that_others_act_on_are_refused() {
    let server = Server::start(Options::fake().arg("--reserved-label=traefik."));
    let label = |name: &str| ("labels", json!({ name: "x" }));
    let bad = [
        label("magnum.node"),
        label("Magnum.x"),
        label(" magnum.x"),
        label("com.docker.compose.project"),
        label("io.kubernetes.docker.type"),
        label("Traefik.enable"),
        ("labels", json!(["tier=front", "traefik.http.routers.x.rule=y"])),
    ];
    refuses(&server, "containers", &good(), &bad);
    made(&server, "labels", json!({ "tier": "front", "x.magnum.y": "z" }));
}

/// What runs is what the record says, so a default is in it.
#[test]
fn limits_that_nobody_asked_for_are_recorded() {
    let server =
        Server::start(Options::fake().arg("--default-memory=64m").arg("--default-cpus=0.25"));
    let plain = made(&server, "name", json!("plain"));
    assert_eq!((&plain["memory"], &plain["cpu"]), (&json!(64 << 20), &json!(0.25)));
    let history = server.get("/v1/containers/plain/history").expect(200);
    let spec = &history["events"][0]["data"]["spec"];
    assert_eq!((&spec["memory_bytes"], &spec["cpu_millis"]), (&json!(64 << 20), &json!(250)));
    let asked = made(&server, "memory", json!("1g"));
    assert_eq!((&asked["memory"], &asked["cpu"]), (&json!(1 << 30), &json!(0.25)));
    let asked = made(&server, "cpu", json!(2));
    assert_eq!((&asked["memory"], &asked["cpu"]), (&json!(64 << 20), &json!(2.0)));
    let none = Server::start(Options::fake());
    let none = made(&none, "name", json!("plain"));
    assert_eq!((&none["memory"], &none["cpu"]), (&Value::Null, &Value::Null));
}

/// Without authentication who asks is the operator, who reaches all of this anyway.
#[test]
fn the_operator_of_a_host_may_use_its_images_and_registries() {
    let server = Server::start(Options::fake().arg("--registry=docker.io"));
    for image in ["127.0.0.1:1/x:1", "localhost:5000/x", "86d9d04493d5", "sha256:86d9d04493d5"] {
        made(&server, "image_id", json!(image));
    }
}
