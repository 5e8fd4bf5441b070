//! What a reader of events can choose, and where it can start: the same in pages and streams.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Options, Server};
use crate::requests::{baymodel, head, refused};
use crate::stream_client::{Follower, TRANSPORTS, Transport};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// All events of a page.
fn page(server: &Server, query: &str) -> Vec<Value> {
    let page = server.get(&format!("/v1/events?limit=1000&{query}")).expect(200);
    page["events"].as_array().unwrap().clone()
}

fn text(event: &Value, name: &str) -> String {
    event[name].as_str().unwrap_or_default().to_owned()
}

/// A server where this and that has happened.
fn busy() -> Server {
    let server = Server::start(Options::fake());
    for bay in ["red", "blue"] {
        let made = server.post("/v1/bays", &json!({ "name": bay })).expect(201);
        let body = json!({ "name": format!("in-{bay}"), "image": "i", "bay_uuid": made["uuid"] });
        server.post("/v1/containers", &body).expect(201);
        server.put(&format!("/v1/containers/in-{bay}/start")).expect(200);
    }
    server.post("/v1/containers", &json!({ "image_id": "missing/none:1" })).expect(201);
    server.delete("/v1/containers/in-red");
    server
}

/// The events that should be chosen are, in a page and on each transport.
#[track_caller]
fn chooses(server: &Server, all: &[Value], query: &str, wanted: impl Fn(&Value) -> bool) {
    let expected: Vec<_> = all.iter().filter(|event| wanted(event)).cloned().collect();
    assert!(!expected.is_empty(), "{query}");
    assert_eq!(page(server, query), expected, "{query}");
    for transport in TRANSPORTS {
        let path = format!("after=0&{query}");
        let mut stream = Follower::open(server, transport, &path, None).unwrap();
        for event in &expected {
            assert_eq!(stream.event().data, *event, "{transport:?} {query}");
        }
    }
}

#[test]
fn values_of_one_filter_are_alternatives_and_filters_must_all_hold() {
    let server = busy();
    head(&server);
    let all = page(&server, "");
    let chooses = |query: &str, wanted: &dyn Fn(&Value) -> bool| {
        chooses(&server, &all, query, wanted);
    };
    let is_of = |event: &Value, kind: &str| text(event, "subject").starts_with(kind);
    chooses("kind=bay", &|event| is_of(event, "bay/"));
    chooses("kind=bay&kind=nodes", &|event| is_of(event, "bay/") || is_of(event, "node/"));
    chooses("type=container.started&type=magnum.container.deleted.v1", &|event| {
        let name = text(event, "type");
        name == "magnum.container.started.v2" || name == "magnum.container.deleted.v1"
    });
    assert!(page(&server, "type=container.started&outcome=requested").is_empty());
    chooses("outcome=failed", &|event| event["outcome"] == "failed");
    chooses("outcome=failed&outcome=requested&kind=container", &|event| {
        let outcome = text(event, "outcome");
        is_of(event, "container/") && (outcome == "failed" || outcome == "requested")
    });
    chooses("user=anonymous&kind=container", &|event| {
        event["user"] == "anonymous" && is_of(event, "container/")
    });
    chooses("project=default&user=magnum:worker", &|event| event["user"] == "magnum:worker");
    let request = text(all.last().unwrap(), "requestid");
    chooses(&format!("request_id={request}"), &|event| event["requestid"] == request.as_str());
}

#[test]
fn objects_and_bays_are_chosen_also_when_they_are_gone() {
    let server = busy();
    head(&server);
    let all = page(&server, "");
    let chooses = |query: &str, wanted: &dyn Fn(&Value) -> bool| {
        chooses(&server, &all, query, wanted);
    };
    let uuid = |path: &str| {
        let shown = server.get(path).expect(200);
        shown["uuid"].as_str().unwrap().to_owned()
    };
    let (red, blue) = (uuid("/v1/bays/red"), uuid("/v1/bays/blue"));
    let container = uuid("/v1/containers/in-blue");
    let of_red = |event: &Value| {
        let is_in = |first: &Value| first["data"]["bay_id"] == red.as_str();
        event["subject"] == format!("bay/{red}")
            || all.iter().any(|first| first["subject"] == event["subject"] && is_in(first))
    };
    // One that is gone is among them.
    assert!(all.iter().any(|e| e["type"] == "magnum.container.deleted.v1" && of_red(e)));
    chooses("bay=red", &of_red);
    let is_bay = |event: &Value, bay: &str| event["subject"] == format!("bay/{bay}");
    chooses(&format!("bay={red}&bay={blue}&kind=bay"), &|event| {
        is_bay(event, &red) || is_bay(event, &blue)
    });
    let is_container = |event: &Value| event["subject"] == format!("container/{container}");
    chooses(&format!("object=container/{container}&object={blue}"), &|event| {
        is_container(event) || is_bay(event, &blue)
    });
    // By name, of the noun that is named or of any.
    chooses("object=container/in-blue", &is_container);
    chooses("object=in-blue&object=bay/blue", &|event| is_container(event) || is_bay(event, &blue));
    // Of the noun that is named, or nothing.
    chooses(&format!("object=node/{container}&subject={blue}"), &|event| is_bay(event, &blue));
}

#[test]
fn f34_nothing_of_another_project_is_shown_and_bad_filters_say_what_is_wrong() {
    let server = Server::start(Options::fake());
    let before = head(&server);
    for path in ["/v1/events", "/v1/events/stream"] {
        for (query, words) in [
            ("kind=service", "Use bay, baymodel, node, container, pod or audit"),
            ("type=x", "no such event type"),
            ("object=x", "Use an object's uuid"),
            ("object=service/00000000-0000-4000-8000-000000000000", "Use an object's uuid"),
            ("bay=nobody", "no bay with this name"),
            ("user=", "Use the name of a user"),
            ("request_id=1", "Use the X-Openstack-Request-Id"),
            ("outcome=good", "Use one of requested, done, failed"),
            ("colour=red", "Unknown argument: \"colour\""),
            ("after=-1", "after"),
            ("after=999999", "The log ends at position"),
            ("since=yesterday", "Use a time like"),
            ("since=1h&after=3", "use one of them"),
        ] {
            let told = refused(&server.get(&format!("{path}?{query}")), 400);
            assert!(told.contains(words), "{path}?{query}: {told}");
        }
        for named in ["object=x", "bay=x"] {
            let told = refused(&server.get(&format!("{path}?project=all&{named}")), 400);
            assert!(told.contains("Names are not unique over all projects"), "{told}");
        }
        let many = format!("object={NOBODY}&").repeat(257);
        let told = refused(&server.get(&format!("{path}?{many}")), 400);
        assert!(told.contains("at most 256"), "{told}");
    }
    for (query, words) in [
        ("snapshot=1&outcome=done", "snapshot=1 sends whole objects"),
        ("snapshot=1&after=0", "use one of them"),
        ("snapshot=1&project=all", "of other projects only events are shown"),
        ("snapshot=perhaps", "Use 1 or 0"),
        ("limit=3", "Unknown argument"),
    ] {
        let told = refused(&server.get(&format!("/v1/events/stream?{query}")), 400);
        assert!(told.contains(words), "{query}: {told}");
    }
    let last = [("last-event-id", "x")];
    refused(&server.send(Method::GET, "/v1/events/stream", &last, None), 400);
    // A page in a browser may open a WebSocket to anywhere: to nobody but us.
    let foreign = [("upgrade", "websocket"), ("origin", "http://evil.example")];
    refused(&server.send(Method::GET, "/v1/events/stream", &foreign, None), 403);
    let half = [("upgrade", "websocket")];
    assert!(
        refused(&server.send(Method::GET, "/v1/events/stream", &half, None), 400)
            .contains("Not a WebSocket request")
    );
    assert_eq!(head(&server), before);
}

#[test]
fn a_stream_starts_at_a_time() {
    let server = Server::start(Options::fake());
    server.post("/v1/baymodels", &baymodel("a")).expect(201);
    let wait = std::time::Duration::from_millis(30);
    std::thread::sleep(wait);
    let asked = server.post("/v1/baymodels", &baymodel("b")).expect(201)["uuid"].take();
    let all = page(&server, "");
    let event = all
        .iter()
        .find(|event| event["subject"] == format!("baymodel/{}", asked.as_str().unwrap()));
    let time = text(event.unwrap(), "time");
    let encoded = time.replace('+', "%2B");
    let expected: BTreeSet<String> =
        all.iter().filter(|event| text(event, "time") >= time).map(|e| text(e, "id")).collect();
    let found = page(&server, &format!("since={encoded}"));
    assert_eq!(found.iter().map(|e| text(e, "id")).collect::<BTreeSet<_>>(), expected);
    let query = format!("since={encoded}");
    let first = Follower::open(&server, Transport::Lines, &query, None).unwrap().event();
    assert_eq!(first.data, found[0]);
    // Since before the first one is all; since a time to come is nothing yet.
    assert_eq!(page(&server, "since=2015-05-21T20:46:13Z"), page(&server, ""));
    assert_eq!(page(&server, "since=2d"), page(&server, ""));
    assert!(page(&server, "since=2100-01-01T00:00:00Z").is_empty());
    // Where a reader was goes before where its address says that it starts.
    let last = first.position;
    let next = server.post("/v1/baymodels", &baymodel("c")).expect(201)["uuid"].take();
    let mut stream =
        Follower::open(&server, Transport::Sse, "since=2d&kind=baymodel", last).unwrap();
    let subject = format!("baymodel/{}", next.as_str().unwrap());
    assert_eq!(stream.event().data["subject"], subject);
}
