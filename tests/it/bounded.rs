//! Work that a request causes is bounded before it runs: conditions, questions to the debugger,
//! pages, messages of clients; and whatever runs, the server ends when it is told to.
//!
//! Not here: bounds that are tested where they are (`places`, `collected`, `condition`).

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use magnum::clock;
use magnum::events::baymodel::{BaymodelCreatedV1, BaymodelEvent, BaymodelFields};
use magnum::events::log::memory::MemoryLog;
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{Append, EventLog, Expected, READ_BYTES};
use magnum::events::work::{FieldChange, UpdatedV1};
use magnum::events::{Meta, NewEvent, Recorded};
use magnum::ids::{Kind, ObjectId, Position, ProjectId, Revision, StreamId};
use magnum::replay::among::Among;
use magnum::replay::find::{How, find};
use magnum::replay::{Question, ReplayError, Source, When};
use serde_json::json;
use tungstenite::Message;

use crate::harness::{Answer, Options, PATIENCE, Server, wait_until};
use crate::replay::{both, with_a_story};
use crate::requests::{head, refused};
use crate::stream_killed::write;

/// As many questions as a server answers at once.
const QUESTIONS: usize = 8;

/// Events that a long question goes through, each of an object with a long name.
const EVENTS: u64 = 4_096;

/// Bytes of that name, which the question copies 70 times for each event: 300 GB in all, so that as
/// many questions as there may be take longer than a test waits.
const NAME_BYTES: usize = 1 << 20;

/// The query of a search.
fn find_query(condition: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("among", "baymodel")
        .append_pair("condition", condition)
        .finish();
    format!("/v1/replay/find?{query}")
}

/// A search that may be asked and takes long: it copies the name many times for each event.
fn long_question() -> String {
    find_query(&vec!["name+'a'==''"; 70].join("||"))
}

/// A server with enough events for it.
fn with_much_to_read(data: &std::path::Path) -> Server {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(write(data, EVENTS, Some("x".repeat(NAME_BYTES))));
    let server = Server::start(Options::fake().data(data));
    head(&server);
    server
}

/// Asks a question without waiting for its answer.
fn ask(server: &Server, path: &str) -> TcpStream {
    let address = server.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    stream
}

/// A question about another noun, which takes no time.
fn short_question(server: &Server) -> Answer {
    server.get("/v1/nodes?at=1")
}

/// Clients that have all places for questions.
fn take_all_places(server: &Server) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    // One more each time: the short question may have the place that a long one wanted.
    wait_until("all places to be taken", PATIENCE, || {
        clients.push(ask(server, &long_question()));
        short_question(server).status == 429
    });
    clients
}

#[test]
fn a_condition_that_multiplies_is_refused_by_a_server_and_on_files() {
    let server = with_a_story();
    let doubling = (0..26)
        .fold("status".to_owned(), |inner, _| format!("[{inner}].map(name,name+name)[0]"))
        + "==\"\"";
    let looping = (0..8).fold("status != ''".to_owned(), |inner, _| {
        format!("[0,1,2,3,4,5,6,7,8,9].all(name,{inner})")
    });
    for (condition, words) in [
        (doubling.as_str(), "loops (all, exists, exists_one, map, filter) are not allowed"),
        (&looping, "loops (all, exists, exists_one, map, filter) are not allowed"),
        ("[status].exists(name, name == 'x')", "look into a list or a map, use in"),
        ("status + status + status == ''", "one side of +"),
        ("[status, status] == []", "may not contain fields"),
    ] {
        let answer = server.get(&find_query(condition));
        assert!(refused(&answer, 400).contains(words), "{}", answer.text);
        let done = both(&server, &["replay", "find", condition, "container"]);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{done:?}");
        assert!(done.err.contains(words), "{done:?}");
    }
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn questions_are_limited_in_number_and_end_with_their_clients() {
    let data = tempfile::tempdir().unwrap();
    let mut server = with_much_to_read(data.path());
    let clients = take_all_places(&server);
    assert!(clients.len() >= QUESTIONS, "{} were enough", clients.len());
    let one_more = short_question(&server);
    assert!(refused(&one_more, 429).contains("limit of 8 questions"), "{}", one_more.text);
    assert_eq!(one_more.header("retry-after"), "1");
    for path in ["/v1/replay/verify", "/v1/replay/diff", "/v1/trace/req-x"] {
        assert_eq!(server.get(path).status, 429, "{path}");
    }
    // Reads of other kinds do not wait for them, nor do those that need a thread.
    for path in ["/v1/nodes", "/v1/nodes?sort_key=host", "/v1/events?limit=1", "/healthz"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    drop(clients);
    wait_until("a place to be free", PATIENCE, || short_question(&server).status == 200);
    // What still runs does not hold up the end, and what is recorded stays.
    let clients = take_all_places(&server);
    let last = server.get("/v1/events?limit=1").expect(200)["head"].as_u64().unwrap();
    let killed = |server: &Server| server.stderr().matches("was killed or lost power").count();
    let before = killed(&server);
    let ended = server.stop();
    assert!(ended.success(), "{ended}\n{}", server.stderr());
    drop(clients);
    server.restart();
    assert!(head(&server) >= last);
    assert_eq!(killed(&server), before, "it was not closed: {}", server.stderr());
}

#[test]
fn a_page_of_events_ends_after_some_bytes_and_the_next_goes_on() {
    let server = Server::start(Options::fake());
    head(&server);
    let label = "x".repeat(900_000);
    for number in 0..6 {
        let body = json!({ "name": format!("c{number}"), "image": "i", "labels": { "l": label } });
        server.post("/v1/containers", &body).expect(201);
    }
    let mut path = "/v1/events?limit=1000".to_owned();
    let (mut positions, mut pages) = (Vec::new(), 0);
    loop {
        let answer = server.get(&path);
        // One or two of them: each has its label twice, in its data and in its command.
        assert!(answer.text.len() < 6 << 20, "{} bytes", answer.text.len());
        let page = answer.expect(200);
        let events = page["events"].as_array().unwrap();
        assert!(!events.is_empty());
        positions.extend(events.iter().map(|event| {
            let position = &event["position"];
            position.as_u64().or_else(|| position.as_str()?.parse().ok()).unwrap()
        }));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => next.strip_prefix(server.url()).unwrap().clone_into(&mut path),
            None => break,
        }
    }
    assert!(pages >= 3, "{pages} pages");
    let all: Vec<u64> = (1..=*positions.last().unwrap()).collect();
    assert_eq!(positions, all, "every event is in one page");
}

/// Whatever order and filters a list has: each walks or collects in another way.
#[test]
fn a_page_of_a_list_ends_after_some_bytes_and_the_next_goes_on() {
    const OBJECTS: usize = 12;
    let server = Server::start(Options::fake());
    let label = "x".repeat(900_000);
    let mut made = Vec::new();
    for number in 0..OBJECTS {
        let name = format!("c{:02}", number * 5 % OBJECTS);
        let body = json!({ "name": name, "image": "i", "labels": { "l": label } });
        made.push(server.post("/v1/containers", &body).expect(201)["uuid"].clone());
    }
    let at = head(&server);
    for query in [
        "/detail?limit=1000".to_owned(),
        "/detail?sort_dir=desc".to_owned(),
        "?sort_key=name".to_owned(),
        "?sort_key=name&status=Stopped&image_id=i".to_owned(),
        "?sort_key=name&sort_dir=desc&status=Stopped".to_owned(),
        format!("/detail?at={at}"),
    ] {
        let (mut path, mut pages) = (format!("/v1/containers{query}"), 0);
        let mut listed = Vec::new();
        loop {
            let answer = server.get(&path);
            assert!(answer.text.len() < 10 << 20, "{query}: {} bytes", answer.text.len());
            let page = answer.expect(200);
            let objects = page["containers"].as_array().unwrap();
            listed.extend(objects.iter().map(|it| (it["name"].clone(), it["uuid"].clone())));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            next.strip_prefix(server.url()).unwrap().clone_into(&mut path);
        }
        assert!(pages >= 2, "{query}");
        let mut uuids: Vec<_> = listed.iter().map(|(_, uuid)| uuid.clone()).collect();
        if query.contains("name") {
            let in_order = listed.is_sorted_by_key(|(name, _)| name.to_string());
            assert_ne!(in_order, query.contains("desc"), "{query}");
            uuids.sort_by_key(|uuid| made.iter().position(|it| it == uuid));
        } else if query.contains("desc") {
            uuids.reverse();
        }
        assert_eq!(uuids, made, "{query}: each once");
    }
}

#[test]
fn a_late_page_of_a_history_is_as_any_other() {
    let server = Server::start(Options::fake());
    server.post("/v1/containers", &json!({ "name": "c", "image": "i" })).expect(201);
    for number in 0..20 {
        let patch = json!([{ "op": "add", "path": "/desc", "value": number.to_string() }]);
        server.patch("/v1/containers/c", &patch).expect(200);
    }
    let page = |path: &str| {
        let page = server.get(path).expect(200);
        let events = page["events"].as_array().unwrap().clone();
        (events, page["next"].as_str().map(|next| next.replace(server.url(), "")))
    };
    let (whole, none) = page("/v1/containers/c/history?limit=1000");
    assert_eq!(none, None);
    let mut path = "/v1/containers/c/history?limit=3".to_owned();
    let mut paged = Vec::new();
    loop {
        let (events, next) = page(&path);
        assert!(events.len() <= 3);
        paged.extend(events);
        let Some(next) = next else { break };
        path = next;
    }
    assert_eq!(paged, whole);
}

#[test]
fn a_web_socket_takes_no_large_message() {
    let server = Server::start(Options::fake());
    let address = server.url().strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("ws://{address}/v1/events/stream?type=bay.deleted");
    let (mut socket, _) = tungstenite::client(url, stream).unwrap();
    assert!(socket.read().unwrap().is_text(), "a heartbeat");
    // A small one is not listened to.
    socket.send(Message::text("hello")).unwrap();
    socket.send(Message::text("x".repeat(8 << 10))).unwrap();
    let ended = (0..3).any(|_| !matches!(socket.read(), Ok(Message::Text(_))));
    assert!(ended, "the stream goes on");
    assert_eq!(server.get("/healthz").status, 200);
}

#[tokio::test]
async fn a_read_of_the_log_ends_after_some_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let index = sled::Config::new().temporary(true).open().unwrap();
    let options = SegmentOptions { segment_bytes: 64 << 20, folder: clock::new_uuid() };
    let tree = index.open_tree("log").unwrap();
    let log = SegmentLog::open(&folder.path().join("log"), options, tree).unwrap();
    let stream = large_object(&log, 12, 3 << 20).await;
    // The first one is small, and the last one of a page may be the one that is too much.
    let most = READ_BYTES / (3 << 20) + 2;
    let bounded = |page: &[Recorded]| assert!(page.len() <= most, "{} events", page.len());
    let (mut at, mut positions) = (Position(0), Vec::new());
    loop {
        let page = log.read(at, 1_000).unwrap();
        bounded(&page);
        let Some(last) = page.last() else { break };
        at = last.position;
        positions.extend(page.iter().map(|event| event.position.get()));
    }
    assert_eq!(positions, (1..=13).collect::<Vec<_>>());
    let (mut from, mut revisions) = (Revision(0), Vec::new());
    loop {
        let page = log.read_stream(stream, from, 1_000).unwrap();
        bounded(&page);
        let Some(last) = page.last() else { break };
        from = last.revision.next();
        revisions.extend(page.iter().map(|event| event.revision.get()));
    }
    assert_eq!(revisions, (0..=12).collect::<Vec<_>>());
    log.close().await;
}

/// Records an object that was renamed so often, to names of so many bytes.
pub async fn large_object(log: &dyn EventLog, updates: u64, bytes: usize) -> StreamId {
    let stream = StreamId::new(Kind::Baymodel, ObjectId(uuid::Uuid::from_u128(1)));
    let fields = BaymodelFields { name: Some("a".to_owned()), ..BaymodelFields::default() };
    let mut event = BaymodelEvent::Created(BaymodelCreatedV1 { fields });
    for revision in 0..=updates {
        let expected = match revision.checked_sub(1) {
            None => Expected::NoStream,
            Some(last) => Expected::Exact(Revision(last)),
        };
        let events =
            vec![NewEvent::new(clock::new_event_id(), clock::now(), Meta::default(), &event)];
        log.append(Append { stream, expected, command: None, events }).await.unwrap();
        let letter = if revision % 2 == 0 { "b" } else { "c" };
        let value = format!("\"{}\"", letter.repeat(bytes));
        let changes = vec![FieldChange { field: "name".into(), value }];
        event = BaymodelEvent::Updated(UpdatedV1 { changes });
    }
    stream
}

#[tokio::test]
async fn an_answer_of_a_server_is_made_of_so_many_bytes_at_most() {
    const UPDATES: u64 = 40;
    let log = Arc::new(MemoryLog::default());
    let stream = large_object(log.as_ref(), UPDATES, 1 << 20).await;
    let server = || Source::of_project(log.clone(), ProjectId::default());
    let timeline = Question::Timeline { related: false, at: When::Latest };
    let told = timeline.answer(&server(), stream).unwrap();
    let (events, omitted) = (told["events"].as_array().unwrap(), told["omitted"].as_u64());
    assert!((1..=16).contains(&events.len()), "{}", events.len());
    assert_eq!(events.len() as u64 + omitted.unwrap(), UPDATES + 1);
    assert_eq!(events.last().unwrap()["event"]["revision"], UPDATES, "the last ones are there");
    let too_large = |error: ReplayError| matches!(error, ReplayError::TooLarge(_));
    let diff = Question::Diff { from: When::Position(Position(0)), to: When::Latest };
    assert!(too_large(diff.answer(&server(), stream).unwrap_err()));
    let bundle = Question::Bundle { related: false, redact: true };
    assert!(too_large(bundle.answer(&server(), stream).unwrap_err()));
    let among = Among::Object(stream);
    let ever = |source: &Source| find(source, "name.startsWith('b')", among, How::default());
    assert!(too_large(ever(&server()).unwrap_err()));
    // Files are read by whoever has them.
    let files = Source::new(log.clone());
    assert_eq!(ever(&files).unwrap().moments.len() as u64, UPDATES / 2);
    assert!(diff.answer(&files, stream).is_ok());
}
