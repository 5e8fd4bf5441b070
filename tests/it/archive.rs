//! `magnum log archive` with the real program: what a server on the log answers then, and that for
//! objects which are there nothing is different. Not here: the files (`log_archive`).

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Done, Options, Server};
use crate::log_tools::magnum;
use crate::requests::{baymodel, head};
use crate::stream_client::{Follower, TRANSPORTS, Transport};

const REASON: &str = "a year is over";

fn archive(data: &Path, backup: &Path, more: &[&str]) -> Done {
    let mut args = vec!["log", "archive", "--backup", backup.to_str().unwrap(), "-o", "json"];
    args.extend(more);
    magnum(data, &args)
}

/// All that a user can see of what was there at a position: lists, each object, its history.
fn seen(server: &Server, at: u64) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::new();
    for noun in ["bays", "baymodels", "containers", "nodes"] {
        let list = server.get(&format!("/v1/{noun}/detail?at={at}")).expect(200);
        for object in list[noun].as_array().unwrap() {
            let path = format!("/v1/{noun}/{}", object["uuid"].as_str().unwrap());
            // Addresses in links name the port, which may be another after a start.
            let mut shown = object.clone();
            shown.as_object_mut().unwrap().remove("links");
            let history = server.get(&format!("{path}/history?limit=1000")).expect(200);
            let mut history = history["events"].as_array().unwrap().clone();
            history.retain(|event| number(&event["position"]) <= at);
            for event in &mut history {
                event.as_object_mut().unwrap().remove("dataschema");
            }
            seen.insert(path, json!([shown, history]));
        }
    }
    seen
}

fn number(text: &Value) -> u64 {
    text.as_str().unwrap().parse().unwrap()
}

/// A server with a bay and containers that stay, and some that went, over several segments; what
/// went first.
fn busy() -> (Server, Vec<String>) {
    let server = Server::start(
        Options::fake().arg("--segment-size=16k").arg("--audit=refusals,executes,logs"),
    );
    let bay = server.post("/v1/bays", &json!({ "name": "stays" })).expect(201)["uuid"].clone();
    let mut gone = Vec::new();
    for turn in 0..12 {
        for name in [format!("stays-{turn}"), format!("goes-{turn}")] {
            let body = json!({ "name": name, "image": "i", "bay_uuid": bay });
            let made = server.post("/v1/containers", &body).expect(201);
            server.put(&format!("/v1/containers/{name}/start")).expect(200);
            server.get(&format!("/v1/containers/{name}/logs")).expect(200);
            server.put(&format!("/v1/containers/{name}/execute?command=id")).expect(200);
            // What is refused is audited.
            server.put(&format!("/v1/containers/{name}/start"));
            if name.starts_with("goes") {
                server.delete(&format!("/v1/containers/{name}")).expect(204);
                gone.push(made["uuid"].as_str().unwrap().to_owned());
            }
        }
    }
    (server, gone)
}

/// How a stream is refused.
fn refused(server: &Server, transport: Transport, query: &str) -> String {
    let address = server.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let more = match transport {
        Transport::Sse => "",
        Transport::Lines => "Accept: application/x-ndjson\r\n",
        Transport::WebSocket => {
            "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }
    };
    let version = if transport == Transport::WebSocket { "1.1" } else { "1.0" };
    let ask =
        format!("GET /v1/events/stream?{query} HTTP/{version}\r\nHost: {address}\r\n{more}\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    let (mut answer, mut part) = (String::new(), [0; 4096]);
    // The end of the body; the connection of a WebSocket may stay open.
    while !answer.ends_with("]}") {
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "{answer}");
        answer += std::str::from_utf8(&part[..read]).unwrap();
    }
    answer
}

#[test]
fn what_is_archived_is_gone_for_readers_and_what_lives_is_as_it_was() {
    let (mut server, gone) = busy();
    let (home, data) = (TempDir::new().unwrap(), server.data());
    let target = home.path().join("backup");
    let end = head(&server);
    let before = seen(&server, end);

    // A server that runs keeps its log.
    assert_eq!(magnum(&data, &["backup", target.to_str().unwrap()]).code, 0);
    let in_use = archive(&data, &target, &["--to-position", "100", "--yes"]);
    assert_eq!((in_use.code, in_use.out.as_str()), (1, ""));
    assert!(in_use.err.contains("in use by process"), "{in_use:?}");

    assert!(server.stop().success());
    assert_eq!(magnum(&data, &["backup", target.to_str().unwrap()]).code, 0);
    let nobody = archive(&data, &target, &["--to-position", "100"]);
    assert!(nobody.err.contains("Nothing was archived: stdin is not a terminal"), "{nobody:?}");
    let wanted = (end * 2 / 3).to_string();
    let more = ["--to-position", &wanted, "--yes", "--reason", REASON];
    let done = archive(&data, &target, &more);
    assert_eq!(done.code, 0, "{done:?}");
    let done = done.json();
    let archived = done["archived"].as_u64().unwrap();
    assert!(archived > end / 3 && archived <= end * 2 / 3, "{done}");
    assert!(done["events_taken"].as_u64().unwrap() > 50, "{done}");
    assert!(done["bytes_freed"].as_u64().unwrap() > 10_000, "{done}");
    let sound = magnum(&data, &["log", "verify", "-o", "json"]);
    assert_eq!((sound.code, &sound.json()["archived"]), (0, &archived.into()), "{sound:?}");

    server.restart();
    assert!(seen(&server, end) == before);
    let same = magnum(&data, &["--magnum-url", server.url(), "replay", "verify", "-o", "json"]);
    assert_eq!(same.code, 0, "{same:?}");
    is_on_record(&server, &done);
    readers_are_told(&server, archived);
    debuggers_are_told(&server, archived, &gone[0]);
    goes_on(&mut server, &target, archived, &gone[0]);
}

/// Who looks for what is gone finds when it went, how much, and why.
fn is_on_record(server: &Server, done: &Value) {
    let on_record = server.get("/v1/events?type=audit.archived").expect(200)["events"].take();
    assert_eq!(on_record.as_array().unwrap().len(), 1, "{on_record}");
    let event = &on_record[0];
    assert_eq!((&event["reason"], &event["user"]), (&json!(REASON), &json!("magnum:operator")));
    let what = json!({ "position": done["archived"], "events": done["events_taken"] });
    assert_eq!(event["data"], what);
}

/// The whole history is in the backup; work goes on, and is archived after the next one.
fn goes_on(server: &mut Server, target: &Path, archived: u64, gone: &str) {
    let data = server.data();
    let old = format!("container/{gone}");
    let args = ["replay", "timeline", &old, "--data", target.to_str().unwrap()];
    let told = magnum(&data, &args);
    assert!(told.code == 0 && told.out.contains("deleted"), "{told:?}");
    server.post("/v1/baymodels", &baymodel("later")).expect(201);
    for turn in 0..12 {
        server.delete(&format!("/v1/containers/stays-{turn}")).expect(204);
    }
    let end = head(server);
    assert!(server.stop().success());
    assert_eq!(magnum(&data, &["backup", target.to_str().unwrap()]).code, 0);
    let again = archive(&data, target, &["--to-position", &end.to_string(), "--yes"]).json();
    assert!(again["archived"].as_u64().unwrap() > archived, "{again}");
    server.restart();
    server.get("/v1/baymodels/later").expect(200);
    assert_eq!(server.get("/v1/containers").expect(200)["containers"], json!([]));
    assert!(server.stop().success());
    // Restored, the backup is the log from its beginning.
    let new = target.with_file_name("new");
    let args = ["restore", target.to_str().unwrap(), "--data", new.to_str().unwrap(), "--yes"];
    assert_eq!(magnum(&data, &args).code, 0);
    let exported = magnum(&new, &["log", "export"]);
    let first = exported.out.lines().next().unwrap();
    assert!(first.starts_with("{\"position\":1,"), "{first}");
    assert!(exported.out.lines().count() as u64 >= end);
}

/// Positions that are gone answer 410 with what there is, everywhere; those after them are there.
fn readers_are_told(server: &Server, archived: u64) {
    let (oldest, latest) = (archived + 1, head(server));
    for query in ["after=0".to_owned(), format!("after={}", archived - 1)] {
        let answer = server.get(&format!("/v1/events?{query}"));
        let error = answer.expect(410)["errors"][0].clone();
        assert_eq!(error["code"], "archived");
        assert_eq!(error["oldest"], oldest, "{query}: {error}");
        assert!(error["latest"].as_u64().unwrap() >= latest, "{query}: {error}");
        for transport in TRANSPORTS {
            let answer = refused(server, transport, &query);
            assert!(answer.contains(" 410 Gone"), "{transport:?} {query}: {answer}");
            assert!(answer.contains(&format!("\"oldest\":{oldest}")), "{answer}");
        }
    }
    let error = server.get(&format!("/v1/events?before={archived}")).expect(410)["errors"].take();
    assert_eq!(error[0]["oldest"], oldest, "{error}");
    // A time is a wish: what is there, and from where on.
    let page = server.get("/v1/events?since=365d&limit=1").expect(200);
    assert_eq!(page["events"][0]["position"], oldest.to_string());
    assert_eq!(page["archived"]["position"], archived);
    assert_eq!(page["archived"]["oldest"], page["events"][0]["time"]);
    let page = server.get("/v1/events?since=0s").expect(200);
    assert_eq!(page.get("archived"), None, "nothing since then was");
    let page = server.get("/v1/events?before=latest&limit=1000").expect(200);
    assert_eq!((&page["from"], &page["previous"]), (&json!(oldest), &Value::Null));
    assert_eq!(page["archived"]["position"], archived);
    for transport in TRANSPORTS {
        let mut stream = Follower::open(server, transport, "since=365d", None).unwrap();
        let told = stream.next().unwrap();
        assert_eq!((&*told.control, told.data["archived"].as_u64()), ("heartbeat", Some(archived)));
        assert_eq!(stream.event().position, Some(oldest));
    }
    let page = server.get("/v1/events?limit=1").expect(200);
    assert_eq!(page["events"][0]["position"], oldest.to_string(), "where nobody says where");
    for transport in TRANSPORTS {
        let mut stream =
            Follower::open(server, transport, &format!("after={archived}"), None).unwrap();
        assert_eq!(stream.event().position, Some(oldest));
        let mut stream = Follower::open(server, transport, "snapshot=1", None).unwrap();
        assert_eq!(stream.next().unwrap().control, "object", "the present is told as ever");
    }
    let url = ["--magnum-url", server.url()];
    let tail = magnum(&server.data(), &[&url[..], &["events", "list", "--after", "3"]].concat());
    assert_eq!(tail.code, 1, "{tail:?}");
    assert!(tail.err.contains(&format!("before position {oldest} were archived")), "{tail:?}");
    // The last ones are those that there are.
    let list = magnum(
        &server.data(),
        &[&url[..], &["events", "list", "--limit", "999", "-o", "json"]].concat(),
    );
    assert_eq!(list.json()[0]["position"], oldest.to_string());
    let words = format!("Events up to position {archived} were archived");
    assert!(list.err.starts_with(&words), "{list:?}");
    let since =
        magnum(&server.data(), &[&url[..], &["events", "list", "--since", "365d"]].concat());
    assert!(since.code == 0 && since.err.starts_with(&words), "{since:?}");
    let diff = magnum(&server.data(), &[&url[..], &["replay", "diff", "--all"]].concat());
    assert!(diff.out.contains(&format!("from position {archived} to")), "{diff:?}");
    let info = magnum(&server.data(), &["log", "info", "-o", "json"]).json();
    let first = &info["segments"][0];
    assert!(first["events_left"].is_u64() && first["bytes"].as_u64() < Some(16 << 10), "{info}");
    let export = magnum(&server.data(), &["log", "export"]);
    assert_eq!((export.code, export.out.as_str()), (1, ""));
    assert!(export.err.contains(&format!("Use --after {archived}")), "{export:?}");
    let after = archived.to_string();
    let export = magnum(&server.data(), &["log", "export", "--after", &after]);
    assert!(export.out.starts_with(&format!("{{\"position\":{oldest},")), "{export:?}");
}

/// Questions about how everything was before that are refused, and those about what is there not.
fn debuggers_are_told(server: &Server, archived: u64, gone: &str) {
    for path in [
        format!("/v1/containers?at={}", archived - 1),
        format!("/v1/replay/diff?from=3&to={}", archived + 1),
    ] {
        assert_eq!(server.get(&path).expect(410)["errors"][0]["oldest"], archived + 1, "{path}");
    }
    server.get(&format!("/v1/containers?at={archived}")).expect(200);
    server.get("/v1/replay/diff").expect(200);
    let lost = server.get(&format!("/v1/containers/{gone}/timeline"));
    let words = lost.expect(404)["errors"][0]["detail"].as_str().unwrap().to_owned();
    assert!(words.contains(&format!("up to position {archived} are archived")), "{words}");
    let history = server.get("/v1/containers/stays-0/history").expect(200);
    let first = number(&history["events"][0]["position"]);
    assert!(first < archived);
    server.get(&format!("/v1/containers/stays-0?at={first}")).expect(200);
    let blame = server.get("/v1/containers/stays-0/blame?field=name").expect(200);
    assert_eq!(blame["chain"][0]["position"].as_u64().unwrap_or_default(), first, "{blame}");
    let none = server.get("/v1/trace/req-00000000-0000-4000-8000-000000000000");
    let words = none.expect(404)["errors"][0]["detail"].as_str().unwrap().to_owned();
    assert!(words.contains("are archived"), "{words}");
    // The files that a server leaves.
    assert!(fs::exists(server.data().join("log/0000000001.seg")).unwrap());
}
