//! The log over REST: pages, and server-sent events that resume anywhere.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Options, PATIENCE, Server, wait_for};
use crate::requests::{baymodel, head, refused};

/// One message of a stream.
#[derive(Debug, Default, PartialEq)]
struct Message {
    id: u64,
    event: String,
    data: Value,
}

/// An open stream.
struct Stream {
    lines: BufReader<TcpStream>,
}

impl Stream {
    fn open(server: &Server, path: &str, headers: &str) -> Self {
        let address = server.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // HTTP/1.0: no chunks, so that lines are lines.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n{headers}\r\n").unwrap();
        let mut stream = Self { lines: BufReader::new(stream) };
        assert!(stream.line().unwrap().contains("200"));
        while !stream.line().unwrap().is_empty() {}
        stream
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next message; none at the end.
    fn next(&mut self) -> Option<Message> {
        let mut message = Message::default();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", id)) => message.id = id.parse().unwrap(),
                Some(("event", name)) => message.event = name.to_owned(),
                Some(("data", data)) => message.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() => return Some(message),
                _ => panic!("{line}"),
            }
        }
    }

    /// The next message that is an event of the log.
    fn event(&mut self) -> Message {
        loop {
            let message = self.next().unwrap();
            if message.event.is_empty() {
                return message;
            }
        }
    }
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
        seen.extend(events.iter().map(|event| event["position"].as_u64().unwrap()));
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
    let object = of_node[0]["object"].as_str().unwrap();
    assert!(only(&format!("object={object}")).iter().all(|event| event["object"] == object));
    assert!(only(&format!("subject={object}&kind=container")).is_empty());
}

#[test]
fn catching_up_and_following_are_one() {
    let server = Server::start(Options::fake());
    server.post("/v1/baymodels", &baymodel("a")).expect(201);
    let mut stream = Stream::open(&server, "/v1/events/stream?after=0&kind=baymodel", "");
    let first = stream.event();
    assert_eq!(first.data["type"], "baymodel.created");
    assert_eq!(first.data["position"], first.id);
    server.post("/v1/baymodels", &baymodel("b")).expect(201);
    let second = stream.event();
    assert_eq!(second.data["data"]["fields"]["name"], "b");
    // What a reader has seen last is where it goes on.
    let resume = format!("Last-Event-ID: {}\r\n", first.id);
    let mut again = Stream::open(&server, "/v1/events/stream?after=0&kind=baymodel", &resume);
    assert_eq!(again.event(), second);
    let mut latest = Stream::open(&server, "/v1/events/stream?after=latest", "");
    let hello = latest.next().unwrap();
    assert_eq!((hello.event.as_str(), hello.id >= second.id), ("heartbeat", true));
    server.post("/v1/baymodels", &baymodel("c")).expect(201);
    let third = loop {
        let message = latest.event();
        if message.data["kind"] == "baymodel" {
            break message;
        }
    };
    assert_eq!(third.data["data"]["fields"]["name"], "c");
}

#[test]
fn a_reader_whose_filter_lets_nothing_through_gets_on() {
    let server = Server::start(Options::fake());
    server.post("/v1/baymodels", &baymodel("a")).expect(201);
    let head = head(&server);
    let mut stream = Stream::open(&server, "/v1/events/stream?after=0&type=bay.deleted", "");
    let message = stream.next().unwrap();
    assert_eq!(message.event, "heartbeat");
    assert_eq!(message.data, json!({ "position": message.id }));
    assert!(message.id >= head, "{message:?}, {head}");
}

#[test]
fn a_stream_ends_with_its_position_when_the_service_stops() {
    let mut server = Server::start(Options::fake());
    let mut stream = Stream::open(&server, "/v1/events/stream?after=0", "");
    let reader = thread::spawn(move || {
        let mut last = stream.next().unwrap();
        while let Some(message) = stream.next() {
            last = message;
        }
        last
    });
    // A reader that does not read holds nobody up either.
    let _stalled = Stream::open(&server, "/v1/events/stream?after=0", "");
    assert!(server.stop().success());
    let last = reader.join().unwrap();
    assert_eq!(last.event, "end");
    assert_eq!(last.data["position"], last.id);
    server.restart();
    let resume = format!("Last-Event-ID: {}\r\n", last.id);
    let mut stream = Stream::open(&server, "/v1/events/stream", &resume);
    server.post("/v1/baymodels", &baymodel("b")).expect(201);
    assert!(stream.event().id > last.id);
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
        .map(|event| event["revision"].as_u64().unwrap())
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
