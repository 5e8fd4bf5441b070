//! The log over REST: pages, and server-sent events that resume anywhere.

use std::thread;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Options, PATIENCE, Server, wait_for};
use crate::requests::{baymodel, head, refused};
use crate::stream_client::{Follower, TRANSPORTS, Transport};

/// Server-sent events.
fn follow(server: &Server, query: &str) -> Follower {
    Follower::open(server, Transport::Sse, query, None).unwrap()
}

/// A number that an event holds as text.
fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn pages_walk_the_whole_log_in_order() {
    let server = Server::start(Options::fake());
    for name in ["a", "b", "c"] {
        server.post("/v1/baymodels", &baymodel(name)).expect(201);
    }
    let head = head(&server);
    let (mut path, mut seen) = ("/v1/events?limit=2".to_owned(), Vec::new());
    loop {
        let page = server.get(&path).expect(200);
        let events = page["events"].as_array().unwrap();
        assert!(events.len() <= 2);
        seen.extend(events.iter().map(|event| number(&event["position"])));
        match page["next"].as_str() {
            Some(next) => path = next.strip_prefix(server.url()).unwrap().to_owned(),
            None => break,
        }
    }
    assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{seen:?}");
    assert!(seen.len() as u64 >= head);
    let only = |filter: &str| {
        let page = server.get(&format!("/v1/events?{filter}")).expect(200);
        page["events"].as_array().unwrap().clone()
    };
    assert_eq!(only("kind=baymodel").len(), 3);
    assert_eq!(only("kind=baymodels&type=baymodel.created&limit=2").len(), 2);
    let of_node = only("type=node.created");
    let subject = of_node[0]["subject"].as_str().unwrap();
    let object = subject.strip_prefix("node/").unwrap();
    assert!(only(&format!("object={object}")).iter().all(|event| event["subject"] == subject));
    assert!(only(&format!("subject={object}&kind=container")).is_empty());
}

/// What CloudEvents 1.0 asks of a document in structured mode.
fn is_cloudevent(event: &Value) {
    let fields = event.as_object().unwrap();
    for name in ["id", "source", "specversion", "type"] {
        assert!(!fields[name].as_str().unwrap().is_empty(), "{name}: {event}");
    }
    assert_eq!(fields["specversion"], "1.0");
    assert_eq!(fields["datacontenttype"], "application/json");
    // A URI, not a reference to one.
    let schema = fields["dataschema"].as_str().unwrap();
    assert!(schema.starts_with("http://") && schema.contains("/v1/schemas/events/"), "{schema}");
    assert!(fields["time"].as_str().unwrap().contains('T'));
    for (name, value) in fields.iter().filter(|(name, _)| *name != "data") {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        assert!(name.len() <= 20 && name.chars().all(fits), "{name}");
        // Context attributes are no objects, no arrays, no null; text is never empty.
        assert!(value.as_str().is_some_and(|text| !text.is_empty()), "{name}: {value}");
    }
}

#[test]
fn events_are_the_same_cloudevents_wherever_they_are_shown() {
    let server = Server::start(Options::fake());
    let headers = [("x-magnum-reason", "why not"), ("idempotency-key", "k")];
    let made = server.send(Method::POST, "/v1/baymodels", &headers, Some(&baymodel("a")));
    let request = made.header("x-openstack-request-id").to_owned();
    let uuid = made.expect(201)["uuid"].as_str().unwrap().to_owned();
    let path = format!("/v1/baymodels/{uuid}");
    server.post("/v1/containers", &json!({ "name": "c", "image": "i" })).expect(201);
    let page = server.get("/v1/events?limit=1000").expect(200);
    let events = page["events"].as_array().unwrap();
    assert!(events.len() > 3, "{page}");
    let open = |transport| Follower::open(&server, transport, "after=0", None).unwrap();
    let mut streams = TRANSPORTS.map(open);
    for event in events {
        is_cloudevent(event);
        for stream in &mut streams {
            assert_eq!(stream.event().data, *event);
        }
    }
    let event = server.get(&format!("{path}/history")).expect(200)["events"][0].take();
    assert_eq!(events.iter().filter(|other| **other == event).count(), 1);
    let installation = events[0]["id"].as_str().unwrap();
    assert_eq!(event["source"], format!("/magnum/{installation}"));
    assert_eq!(event["type"], "magnum.baymodel.created.v1");
    assert_eq!(event["subject"], format!("baymodel/{uuid}"));
    let schema = format!("{}/v1/schemas/events/baymodel.created.v1.json", server.url());
    assert_eq!(event["dataschema"], schema);
    for (name, wanted) in [
        ("revision", "0"),
        ("project", "default"),
        ("user", "anonymous"),
        ("reason", "why not"),
        ("commandid", "default/k"),
        ("requestid", &request),
        ("correlationid", &request),
        ("outcome", "done"),
    ] {
        assert_eq!(event[name], wanted, "{name}");
    }
    assert_eq!(event["chainhash"].as_str().unwrap().len(), 64);
    // The outcome of work names the event that asked for it, and the same request.
    let find = |name: &str| events.iter().find(|event| event["type"] == name).unwrap();
    let asked = find("magnum.container.create_requested.v1");
    let done = find("magnum.container.created.v1");
    assert_eq!((&asked["outcome"], &done["outcome"]), (&json!("requested"), &json!("done")));
    assert_eq!(done["causationid"], asked["id"]);
    assert_eq!(done["correlationid"], asked["requestid"]);
}

#[test]
fn catching_up_and_following_are_one() {
    let server = Server::start(Options::fake());
    server.post("/v1/baymodels", &baymodel("a")).expect(201);
    let mut stream = follow(&server, "after=0&kind=baymodel");
    let first = stream.event();
    assert_eq!(first.data["type"], "magnum.baymodel.created.v1");
    assert_eq!(Some(number(&first.data["position"])), first.position);
    server.post("/v1/baymodels", &baymodel("b")).expect(201);
    let second = stream.event();
    assert_eq!(second.data["data"]["fields"]["name"], "b");
    // What a reader has seen last is where it goes on.
    let query = "after=0&kind=baymodel";
    let mut again = Follower::open(&server, Transport::Sse, query, first.position).unwrap();
    assert_eq!(again.event(), second);
    let mut latest = follow(&server, "after=latest");
    let hello = latest.next().unwrap();
    assert_eq!((hello.control.as_str(), hello.position >= second.position), ("heartbeat", true));
    server.post("/v1/baymodels", &baymodel("c")).expect(201);
    let third = loop {
        let message = latest.event();
        if message.data["type"] == "magnum.baymodel.created.v1" {
            break message;
        }
    };
    assert_eq!(third.data["data"]["fields"]["name"], "c");
}

/// F31, rule S2: it resumes where the log is, not where its filter last let something through.
#[test]
fn a_reader_whose_filter_lets_nothing_through_gets_on() {
    let server = Server::start(Options::fake());
    server.post("/v1/baymodels", &baymodel("a")).expect(201);
    let head = head(&server);
    let mut stream = follow(&server, "after=0&type=bay.deleted");
    let message = stream.next().unwrap();
    let position = message.position.unwrap();
    assert_eq!(message.data, json!({ "stream": "heartbeat", "position": position }));
    assert!(position >= head, "{message:?}, {head}");
}

#[test]
fn a_stream_ends_with_its_position_when_the_service_stops() {
    let mut server = Server::start(Options::fake());
    let mut stream = follow(&server, "after=0");
    let reader = thread::spawn(move || {
        let mut last = stream.next().unwrap();
        while let Some(message) = stream.next() {
            last = message;
        }
        last
    });
    // A reader that does not read holds nobody up either.
    let _stalled = follow(&server, "after=0");
    assert!(server.stop().success());
    let last = reader.join().unwrap();
    assert_eq!(
        (last.control.as_str(), &last.data["reason"]),
        ("end", &json!("the service is stopping"))
    );
    server.restart();
    let mut stream = Follower::open(&server, Transport::Sse, "", last.position).unwrap();
    server.post("/v1/baymodels", &baymodel("b")).expect(201);
    assert!(stream.event().position > last.position);
}

#[test]
fn histories_page_too() {
    let server = Server::start(Options::fake());
    let uuid = server.post("/v1/baymodels", &baymodel("a")).expect(201)["uuid"].take();
    let path = format!("/v1/baymodels/{}", uuid.as_str().unwrap());
    for name in ["b", "c", "d"] {
        let patch = json!([{ "op": "replace", "path": "/name", "value": name }]);
        server.patch(&path, &patch).expect(200);
    }
    let first = server.get("/v1/baymodels/d/history?limit=3").expect(200);
    let next = first["next"].as_str().unwrap().strip_prefix(server.url()).unwrap();
    let second = server.get(next).expect(200);
    assert_eq!(second["next"], Value::Null);
    let revisions: Vec<_> = [&first, &second]
        .into_iter()
        .flat_map(|page| page["events"].as_array().unwrap())
        .map(|event| number(&event["revision"]))
        .collect();
    assert_eq!(revisions, [0, 1, 2, 3]);
    refused(&server.get("/v1/baymodels/nobody/history"), 404);
    let names = wait_for("the events", PATIENCE, || {
        let page = server.get(&format!("/v1/events?object={}", uuid.as_str().unwrap()));
        let events = page.expect(200)["events"].as_array().unwrap().len();
        (events == 4).then_some(events)
    });
    assert_eq!(names, 4);
}
