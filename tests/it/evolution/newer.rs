//! An event that a newer program wrote: who needs it stops and says so, nobody skips it, and
//! everyone else goes on. On the real program, over a log that such an event was put into.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};

use magnum::events::log::chain::{self, Hash};
use magnum::events::log::export::{Line, from_hex};
use magnum::events::{EventType, NewEvent, codec};
use magnum::ids::{Position, StreamId};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Http, Options, PATIENCE, Server, wait_until};

fn magnum(data: &Path, args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_magnum"))
        .args(args)
        .env("MAGNUM_DATA", data)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {words}");
    output
}

fn export(data: &Path) -> String {
    String::from_utf8(magnum(data, &["log", "export"]).stdout).unwrap()
}

/// The event after a line, of the same object: `container.started` in a version to come.
fn newer(last: &Line) -> Line {
    let (position, revision) = (last.position.next(), last.revision.next());
    let event = NewEvent {
        id: magnum::clock::new_event_id(),
        time: last.time,
        event_type: EventType::known("container.started"),
        version: 3,
        meta: last.meta.clone(),
        payload: vec![7, 7, 7].into(),
    };
    let bytes = chain::content(last.stream, revision, &event, &codec::encode(&event.meta));
    let before: Hash = from_hex(&last.hash).unwrap().try_into().unwrap();
    let hash = chain::extend(&before, position, &chain::digest(&bytes));
    Line::new(&bytes, None, (position, 0, &hash)).unwrap()
}

/// A data directory whose log ends with a container that was asked for, and the newer event of it.
fn data(home: &TempDir) -> (StreamId, Position) {
    let mut server = Server::start(Options::fake());
    let container = json!({ "name": "old", "image": "i" });
    let uuid = server.post("/v1/containers", &container).expect(201)["uuid"].take();
    server.stop();
    let exported = export(&server.data());
    let mut lines = Vec::new();
    for text in exported.lines() {
        lines.push(text.to_owned());
        let line: Line = serde_json::from_str(text).unwrap();
        if line.stream.id.to_string() != *uuid.as_str().unwrap() {
            continue;
        }
        let newer = newer(&line);
        lines.push(serde_json::to_string(&newer).unwrap());
        let file = home.path().join("events.jsonl");
        fs::write(&file, lines.join("\n")).unwrap();
        magnum(&home.path().join("data"), &["log", "import", file.to_str().unwrap()]);
        return (line.stream, newer.position);
    }
    panic!("no event of {uuid}: {exported}");
}

const WORDS: &str = "event container.started v3 was written by a newer magnum; upgrade this one";

fn is_refused(server: &Http, method: reqwest::Method, path: &str) {
    let answer = server.send(method, path, &[], None);
    assert_eq!(answer.header("retry-after"), "1", "{path}: {}", answer.text);
    let answer = answer.expect(503);
    assert_eq!(answer["errors"][0]["code"], "unreadable-event", "{path}: {answer}");
    assert!(answer["errors"][0]["detail"].as_str().unwrap().contains(WORDS), "{path}: {answer}");
}

#[test]
fn an_event_from_a_newer_program_stops_who_needs_it_and_nobody_else() {
    let home = TempDir::new().unwrap();
    let (stream, position) = data(&home);
    let data = home.path().join("data");
    let before = export(&data);
    let mut server = Server::start(Options::fake().data(&data));
    let path = format!("/v1/containers/{}", stream.id);

    // The read model is parked, and the object is not shown as if nothing had happened.
    let metrics = server.get("/metrics").text;
    assert!(metrics.lines().any(|line| line == "magnum_views_parked 1"), "{metrics}");
    assert!(server.stderr().contains("a stream is parked"), "{}", server.stderr());
    is_refused(&server, reqwest::Method::GET, &path);
    is_refused(&server, reqwest::Method::GET, &format!("{path}?at={position}"));
    let earlier = server.get(&format!("{path}?at={}", position.get() - 1)).expect(200);
    assert_eq!(earlier["status"], "Creating");
    // The entity takes no commands, and nothing is recorded.
    is_refused(&server, reqwest::Method::PUT, &format!("{path}/start"));
    is_refused(&server, reqwest::Method::DELETE, &path);
    // The reactor does not do what was asked for before: who knows the outcome.
    wait_until("the reactor to say so", PATIENCE, || server.stderr().contains("its work waits"));
    let history = server.get(&format!("{path}/history")).expect(200);
    let events = history["events"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{history}");
    // Pages and streams show the event without what cannot be read.
    assert_is_shown(&events[1]);
    let after = position.get() - 1;
    let page = server.get(&format!("/v1/events?after={after}&limit=1")).expect(200);
    assert_is_shown(&page["events"][0]);
    assert_is_shown(&streamed(&server, after));
    // Everyone else goes on, in a bay that this engine has a network of.
    let model = server.post("/v1/baymodels", &crate::requests::baymodel("km")).expect(201);
    let bay = json!({ "name": "b2", "baymodel_id": model["uuid"] });
    let bay = server.post("/v1/bays", &bay).expect(201);
    let other = json!({ "name": "other", "image": "i", "bay_uuid": bay["uuid"] });
    assert_eq!(server.post("/v1/containers", &other).expect(201)["status"], "Stopped");
    server.put("/v1/containers/other/start").expect(200);
    assert_eq!(server.list("/v1/containers").len(), 2);

    // The tools carry and check what they do not understand.
    server.stop();
    magnum(&data, &["log", "verify"]);
    let exported = export(&data);
    assert!(exported.starts_with(&before), "it is in the export as it was");
    let line: Line = serde_json::from_str(before.lines().last().unwrap()).unwrap();
    assert_eq!((line.version, line.data), (3, Value::Null));
    assert!(line.content.ends_with("070707"), "{}", line.content);
}

fn assert_is_shown(event: &Value) {
    assert_eq!(event["type"], "magnum.container.started.v3", "{event}");
    assert_eq!(event["data"], json!({ "unreadable": WORDS }), "{event}");
}

/// The first event of a stream.
fn streamed(server: &Server, after: u64) -> Value {
    let address = server.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = format!("/v1/events/stream?after={after}");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut data = lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
    let event = data.find(|data| data.contains("specversion")).unwrap();
    serde_json::from_str(&event).unwrap()
}
