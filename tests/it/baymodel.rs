//! Baymodels over REST.

use serde_json::{Value, json};

use crate::harness::{Options, Server};
use crate::requests::{baymodel, refused};

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
    let uuid = made["uuid"].as_str().unwrap().to_owned();
    assert_eq!(made["docker_volume_size"], 5);
    assert_eq!(made["dns_nameserver"], "8.8.8.8");
    assert_eq!(made["master_flavor_id"], Value::Null);
    assert_eq!(made["updated_at"], Value::Null);
    assert!(made["created_at"].as_str().unwrap().ends_with("+00:00"));
    assert!(made.get("project").is_none() && made.get("unknown").is_none());
    assert_eq!(server.get(&format!("/baymodels/{uuid}/")).expect(200), made);
    let row = server.get("/v1/baymodels").expect(200)["baymodels"][0].take();
    let row = row.as_object().unwrap();
    let mut fields: Vec<_> = row.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["apiserver_port", "coe", "image_id", "links", "name", "uuid"]);

    let patch = json!([
        { "op": "replace", "path": "/name", "value": 2015 },
        { "op": "remove", "path": "/dns_nameserver" },
        { "op": "add", "path": "/docker_volume_size", "value": "7" },
    ]);
    let changed = server.patch("/v1/baymodels/km", &patch).expect(200);
    assert_eq!(changed["name"], "2015");
    assert_eq!(changed["dns_nameserver"], Value::Null);
    assert_eq!(changed["docker_volume_size"], 7);
    assert!(changed["updated_at"].is_string());
    refused(&server.get("/v1/baymodels/km"), 404);
}

#[test]
fn what_a_baymodel_must_have() {
    let server = Server::start(Options::fake());
    for field in ["coe", "image_id", "keypair_id"] {
        let mut body = baymodel("a");
        body.as_object_mut().unwrap().remove(field);
        let words = refused(&server.post("/v1/baymodels", &body), 400);
        assert!(words.contains("Mandatory field missing") && words.contains(field), "{words}");
        let patch = json!([{ "op": "remove", "path": format!("/{field}") }]);
        server.post("/v1/baymodels", &baymodel(field)).expect(201);
        let words = refused(&server.patch(&format!("/v1/baymodels/{field}"), &patch), 400);
        assert_eq!(words, format!("'/{field}' is a mandatory attribute and can not be removed"));
    }
}

#[test]
fn lists_page_sort_and_filter() {
    let server = Server::start(Options::fake());
    for name in ["c", "a", "b", "e", "d"] {
        server.post("/v1/baymodels", &baymodel(name)).expect(201);
    }
    let names = |page: &Value| {
        let rows = page["baymodels"].as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(names(&server.get("/v1/baymodels").expect(200)), "cabed");
    let walk = |start: &str| {
        let (mut path, mut pages) = (start.to_owned(), Vec::new());
        loop {
            let page = server.get(&path).expect(200);
            pages.push(names(&page));
            match page.get("next").and_then(Value::as_str) {
                Some(next) => path = next.strip_prefix(server.url()).unwrap().to_owned(),
                None => return pages,
            }
        }
    };
    assert_eq!(walk("/v1/baymodels/?limit=2"), ["ca", "be", "d"]);
    assert_eq!(walk("/v1/baymodels?limit=2&sort_key=name&sort_dir=desc"), ["ed", "cb", "a"]);
    // A last page that is full has a next one, which is empty.
    assert_eq!(walk("/v1/baymodels/detail?limit=5&sort_key=name"), ["abcde", ""]);
    assert_eq!(walk("/v1/baymodels?name=b"), ["b"]);
    assert_eq!(walk("/v1/baymodels?name=nobody&limit=1"), [""]);
    let marker = server.get("/v1/baymodels/b").expect(200)["uuid"].as_str().unwrap().to_owned();
    assert_eq!(walk(&format!("/v1/baymodels?marker={marker}")), ["ed"]);
    let page = server.get("/v1/baymodels?limit=1&sort_key=name").expect(200);
    let marker = page["baymodels"][0]["uuid"].as_str().unwrap();
    let next =
        format!("{}/v1/baymodels?sort_key=name&sort_dir=asc&limit=1&marker={marker}", server.url());
    assert_eq!(page["next"], next);
}
