//! The last events that match, read from the end; and the names that events carry.

use serde_json::{Value, json};

use crate::harness::{Options, Server, run};
use crate::requests::{baymodel, head, refused};
use crate::stream_client::{Follower, TRANSPORTS};

fn events(page: &Value) -> &Vec<Value> {
    page["events"].as_array().unwrap()
}

fn positions(page: &Value) -> Vec<u64> {
    let position = |event: &Value| event["position"].as_str().unwrap().parse().unwrap();
    events(page).iter().map(position).collect()
}

/// What the CLI does with a server.
fn magnum(server: &Server, args: &[&str]) -> crate::harness::Done {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_magnum"));
    run(command.args(["--magnum-url", server.url()]).args(args))
}

/// A container that was stopped three times, and then much else.
fn stopped_three_times() -> Server {
    let server = Server::start(Options::fake());
    server.post("/v1/containers", &json!({ "name": "web", "image": "i" })).expect(201);
    for _ in 0..3 {
        server.put("/v1/containers/web/start").expect(200);
        server.put("/v1/containers/web/stop").expect(200);
    }
    for nth in 0..20 {
        server.post("/v1/baymodels", &baymodel(&format!("m{nth}"))).expect(201);
    }
    server
}

#[test]
fn the_last_matches_are_found_however_far_back_they_are() {
    let server = stopped_three_times();
    let all = server.get("/v1/events?type=container.stop_requested").expect(200);
    let (all, end) = (positions(&all), head(&server));
    assert_eq!(all.len(), 3);
    let path = "/v1/events?type=container.stop_requested&limit=2&before=latest";
    let page = server.get(path).expect(200);
    assert_eq!(positions(&page), all[1..]);
    assert_eq!((&page["position"], &page["from"]), (&json!(end), &json!(all[1])));
    assert_eq!(page["earlier"], json!({ "matches": 1, "from": 1, "is_all": true }));
    let previous = page["previous"].as_str().unwrap().strip_prefix(server.url()).unwrap();
    let page = server.get(previous).expect(200);
    assert_eq!(positions(&page), all[..1]);
    assert_eq!((&page["from"], &page["previous"]), (&json!(1), &Value::Null));
    let next = page["next"].as_str().unwrap().strip_prefix(server.url()).unwrap();
    assert_eq!(positions(&server.get(next).expect(200)), all[1..], "and forwards again");
    // What is asked for that is not there yet, or cannot be.
    for (query, words) in [
        ("before=0", "The first position is 1"),
        (&*format!("before={}", end + 2), "The log ends at position"),
        ("before=x", "non-negative whole number"),
        ("before=3&after=1", "use one of them"),
        ("before=3&since=1h", "use one of them"),
        ("limit=0", "Limit must be positive"),
    ] {
        let told = refused(&server.get(&format!("/v1/events?{query}")), 400);
        assert!(told.contains(words), "{query}: {told}");
    }
    let counted = server.get(&path.replace("limit=2", "limit=0")).expect(200);
    assert_eq!((events(&counted).len(), &counted["earlier"]["matches"]), (0, &json!(3)));
}

#[test]
fn the_command_line_lists_the_last_matches_by_name() {
    let server = stopped_three_times();
    let list = |more: &[&str]| {
        let args =
            [&["events", "list", "--filter", "type=container.stop_requested"], more].concat();
        magnum(&server, &args)
    };
    let done = list(&[]);
    let lines = |out: &str| out.matches("container web  stop requested").count();
    assert_eq!((done.code, lines(&done.out), done.err.as_str()), (0, 3, ""), "{done:?}");
    let done = list(&["--limit", "1", "--filter", "object=container/web", "--bay", "default"]);
    assert_eq!((done.code, lines(&done.out)), (0, 1), "{done:?}");
    assert!(done.err.starts_with("Before these: 2 earlier events. --before "), "{done:?}");
    assert_eq!(lines(&list(&["--filter", "object=web"]).out), 3);
    let done = list(&["--filter", "object=nobody"]);
    assert!(done.code == 1 && done.err.contains("Deleted objects are found by UUID"), "{done:?}");
}

#[test]
fn events_carry_the_names_of_their_time() {
    let server = Server::start(Options::fake());
    let bay = server.post("/v1/bays", &json!({ "name": "shop" })).expect(201)["uuid"].take();
    let body = json!({ "name": "web", "image": "busybox:1", "bay_uuid": bay });
    let id = server.post("/v1/containers", &body).expect(201)["uuid"].take();
    let id = id.as_str().unwrap();
    let path = format!("/v1/containers/{id}");
    refused(&server.put(&format!("{path}/pause")), 409);
    let rename = |path: &str, name: &str| {
        let patch = json!([{ "op": "replace", "path": "/name", "value": name }]);
        server.patch(path, &patch).expect(200);
    };
    rename(&path, "www");
    server.put(&format!("{path}/start")).expect(200);
    assert_eq!(server.delete(&path).status, 204);
    let page = server.get(&format!("/v1/events?object={id}")).expect(200);
    let named: Vec<_> = events(&page)
        .iter()
        // Whether an image had to be pulled is none of these names' business.
        .filter(|event| !event["type"].as_str().unwrap().contains(".pull"))
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            assert_eq!((&*text("bayname"), &*text("image")), ("shop", "busybox:1"), "{event}");
            let name = text("type");
            (name.split('.').nth(2).unwrap().to_owned(), text("objectname"))
        })
        .collect();
    let wanted = [
        ("create_requested", "web"),
        ("created", "web"),
        ("command_refused", "web"),
        ("rename_requested", "web"),
        ("updated", "www"),
        ("renamed", "www"),
        ("start_requested", "www"),
        ("started", "www"),
        ("delete_requested", "www"),
        ("deleted", "www"),
    ];
    let wanted = wanted.map(|(what, name)| (what.to_owned(), name.to_owned()));
    assert_eq!(named, wanted);
    // The same wherever they are read, and when nobody has read them before.
    for transport in TRANSPORTS {
        let mut stream =
            Follower::open(&server, transport, &format!("after=0&object={id}"), None).unwrap();
        for event in events(&page) {
            assert_eq!(stream.event().data, *event, "{transport:?}");
        }
    }
    let history = server.get(&format!("{path}/history")).expect(200);
    assert_eq!(events(&history)[0]["objectname"], "web");
    let mut server = server;
    assert!(server.stop().success());
    server.restart();
    let before = head(&server) + 1;
    let last = server.get(&format!("/v1/events?object={id}&before={before}")).expect(200);
    assert_eq!(last["events"], page["events"]);
    let of_bay = server.get("/v1/events?kind=bay&type=bay.created").expect(200);
    assert_eq!(events(&of_bay)[0]["objectname"], "shop");
    assert_eq!(events(&of_bay)[0].get("bayname"), None);
}
