//! The debugger: a server and its files give the same answers, and they are the ones on record.
//! Golden files have ids, times and durations replaced. Not here: damaged logs (`log_*`).

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Done, Options, PATIENCE, Server, run, wait_until};

/// Runs the program against a server, or with `--data` against files.
pub fn magnum(url: &str, args: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    run(command.args(args).env_clear().env("COLUMNS", "100").env("MAGNUM_URL", url))
}

/// Where nobody listens: whoever asks a server here is found out.
pub const NOBODY: &str = "http://127.0.0.1:1";

/// Compares with a file that `MAGNUM_BLESS=1` writes.
pub fn golden(name: &str, actual: &str) {
    crate::harness::golden(&format!("replay/{name}"), &lasting(actual));
}

/// A text without what differs from run to run: ids and times become others of the same length,
/// durations words, and columns lose their width.
pub fn lasting(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (String::new(), 0);
    let mut ids: HashMap<&str, usize> = HashMap::new();
    while at < bytes.len() {
        let rest = &text[at..];
        if let Some(id) = rest.get(..36).filter(|id| uuid::Uuid::parse_str(id).is_ok()) {
            let next = ids.len() + 1;
            out += &format!("00000000-0000-0000-0000-{:012}", ids.entry(id).or_insert(next));
            at += 36;
        } else if rest.starts_with("20") && rest.get(..11).is_some_and(is_time) {
            let time = |c: char| c.is_ascii_digit() || "-+:.TZ".contains(c);
            out += "TIME";
            at += rest.find(|c| !time(c)).unwrap_or(rest.len());
        } else if let Some((word, length)) = passing(rest).filter(|_| !out.ends_with(is_word)) {
            out += word;
            at += length;
        } else if out.ends_with("_ms\": ") && rest.starts_with(|c: char| c.is_ascii_digit()) {
            out += "0";
            at += rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        } else {
            let c = rest.chars().next().unwrap();
            let line = out.rsplit('\n').next().unwrap();
            let is_wide = c == ' ' || c == '-' && line.starts_with('+');
            let indents = c == ' ' && (out.ends_with("|  ") || line.trim().is_empty());
            if !(is_wide && out.ends_with(c)) || indents || text[..at].ends_with("| ") {
                out.push(c);
            }
            at += c.len_utf8();
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a time begins like this: a screen's edge may cut off the rest.
fn is_time(text: &str) -> bool {
    let day = |day| chrono::NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok();
    text.strip_suffix('T').is_some_and(day)
}

/// What a text begins with that is another one in each run, and its length.
fn passing(text: &str) -> Option<(&'static str, usize)> {
    if let Some(length) = duration(text) {
        return Some(("DURATION", length));
    }
    let begins = |length, is: fn(&str) -> bool| {
        text.starts_with(|c: char| c.is_ascii_digit()) && text.get(..length).is_some_and(is)
    };
    if begins(8, |text| chrono::NaiveTime::parse_from_str(text, "%H:%M:%S").is_ok()) {
        let fraction = text[8..].find(|c: char| !c.is_ascii_digit() && c != '.');
        return Some(("CLOCK", fraction.map_or(text.len(), |length| 8 + length)));
    }
    if begins(10, |text| chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()) {
        return Some(("DAY", 10));
    }
    let word = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let is_hash = word > 31 && text[..word].bytes().all(|byte| byte.is_ascii_hexdigit());
    // The engine in memory counts, so that its ids are the same in each run.
    (is_hash && !text.starts_with("0000")).then_some(("HASH", word))
}

/// The length of a duration at the beginning of a text: `12 ms`, `1.2 s`.
fn duration(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let unit = ["ms", "s"].into_iter().find(|unit| {
        let after = text[digits..].strip_prefix(' ').and_then(|rest| rest.strip_prefix(unit));
        after.is_some_and(|after| !after.starts_with(is_word))
    })?;
    (digits > 0).then_some(digits + 1 + unit.len())
}

/// A server where something happened: a bay, and a container with a secret that was started,
/// stopped and renamed.
pub fn with_a_story() -> Server {
    let server = Server::start(Options::fake().arg("--host=n1"));
    wait_until("the node", PATIENCE, || {
        server.get("/v1/nodes/detail").json["nodes"][0]["status"] == "available"
    });
    let bay = server.post("/v1/bays", &json!({"name": "b"})).expect(201);
    wait_until("the bay", PATIENCE, || {
        let now = server.get(&format!("/v1/bays/{}", bay["uuid"].as_str().unwrap())).json;
        now["status"] == "CREATE_COMPLETE"
    });
    let web = json!({
        "name": "web", "bay_uuid": bay["uuid"], "image_id": "busybox:local", "command": "sleep 9",
        "environment": {"TOKEN": "hunter2"},
    });
    server.post("/v1/containers", &web).expect(201);
    for args in [
        &["container-start", "web", "--reason", "the shop opens"][..],
        &["container-stop", "web", "--timeout", "1"],
        &["container-update", "web", "replace", "desc=a shop"],
    ] {
        let done = magnum(server.url(), args);
        assert_eq!(done.code, 0, "{done:?}");
    }
    server
}

/// Runs a command of the debugger on the server and on its files; both must say the same.
#[track_caller]
pub fn both(server: &Server, args: &[&str]) -> Done {
    let live = magnum(server.url(), args);
    let offline = on_files(&server.data(), args);
    assert_eq!((live.code, &live.out, &live.err), (offline.code, &offline.out, &offline.err));
    live
}

pub fn on_files(data: &Path, args: &[&str]) -> Done {
    magnum(NOBODY, &[args, &["--data", data.to_str().unwrap()]].concat())
}

#[track_caller]
pub fn document(done: &Done) -> Value {
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{}", done.out);
    serde_json::from_str(&done.out).unwrap()
}

#[test]
fn an_object_is_shown_as_it_was_by_a_server_and_by_its_files() {
    let server = with_a_story();
    let state = |at: &str| {
        let done = both(&server, &["replay", "state", "container/web", "--at", at, "-o", "json"]);
        assert!(!done.out.contains("hunter2"), "{}", done.out);
        document(&done)
    };
    let now = state("latest");
    assert_eq!(
        (&now["view"]["status"], &now["view"]["desc"]),
        (&json!("Stopped"), &json!("a shop"))
    );
    let asked = state("v:0");
    assert_eq!(
        (&asked["view"]["status"], &asked["state"]["status"]),
        (&json!("Creating"), &json!("Creating"))
    );
    let running = now["position"].as_u64().unwrap() - 3;
    let then = state(&running.to_string());
    assert_eq!(
        (&then["view"]["status"], &then["last"]["type"]),
        (&json!("Running"), &json!("container.started"))
    );
    let id = then["last"]["id"].as_str().unwrap();
    assert_eq!(state(&format!("after:{id}"))["view"], then["view"]);
    assert_eq!(state(&format!("before:{id}"))["view"]["status"], "Stopped");
    let time = then["last"]["time"].as_str().unwrap();
    assert_eq!(state(time)["view"], then["view"]);
    golden("state.txt", &both(&server, &["replay", "state", "container/web", "--at", "v:2"]).out);
}

#[test]
fn a_timeline_tells_what_led_to_what_and_how_long_work_took() {
    let server = with_a_story();
    golden("timeline.txt", &both(&server, &["replay", "timeline", "container/web"]).out);
    let related = &["replay", "timeline", "bay/b", "--related"];
    golden("timeline-related.txt", &both(&server, related).out);
    let told = document(&both(&server, &["replay", "timeline", "container/web", "-o", "json"]));
    let works: Vec<_> = told["works"].as_array().unwrap().iter().collect();
    let said: Vec<_> = works.iter().map(|work| (&work["action"], &work["outcome"])).collect();
    let done = &json!("done");
    let (create, start, stop) = (&json!("create"), &json!("start"), &json!("stop"));
    assert_eq!(said, [(create, done), (start, done), (stop, done)]);
    for work in works {
        let at = |place: &str| {
            let events = told["events"].as_array().unwrap().iter();
            events.clone().find(|it| it["event"]["position"] == work[place]).unwrap().clone()
        };
        assert_eq!(at("ended")["parent"], work["asked"]);
        assert_eq!(at("asked")["event"]["id"], work["id"]);
    }
}

#[test]
fn what_is_gone_is_still_there_to_look_at() {
    let mut server = with_a_story();
    let uuid = server.get("/v1/containers/web").expect(200)["uuid"].as_str().unwrap().to_owned();
    assert_eq!(magnum(server.url(), &["container-delete", "web"]).code, 0);
    let object = format!("container/{uuid}");
    let gone = document(&both(&server, &["replay", "state", &object, "-o", "json"]));
    assert_eq!((&gone["exists"], &gone["view"]), (&json!(false), &Value::Null));
    assert_eq!(gone["state"]["status"], "Deleted");
    let before =
        document(&both(&server, &["replay", "state", &object, "--at", "v:2", "-o", "json"]));
    assert_eq!(before["view"]["name"], "web");
    // Without a server, and by the name that it had; the folder is left as it was.
    server.stop();
    let by_name =
        document(&on_files(&server.data(), &["replay", "state", "container/web", "-o", "json"]));
    assert_eq!(by_name, gone);
    // What was exported is as good.
    let exported = magnum(NOBODY, &["log", "export", "--data", server.data().to_str().unwrap()]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), exported.out).unwrap();
    let from_file = document(&on_files(file.path(), &["replay", "state", &object, "-o", "json"]));
    assert_eq!(from_file, gone);
}

#[test]
fn bad_questions_are_told_what_to_ask() {
    let server = with_a_story();
    for (args, words) in [
        (&["replay", "state", "container/nope"][..], "There is no container nope"),
        (&["replay", "state", "container/web", "--at", "v:99"], "has no revision 99"),
        (&["replay", "state", "container/web", "--at", "9999"], "after the end of the log"),
        (&["replay", "state", "container/web", "--at", "1"], "did not exist at 1"),
        (&["replay", "state", "container/web", "--at", "2001-01-01T00:00:00Z"], "did not exist at"),
        (
            &["replay", "state", "bay/b", "--at", "after:3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f"],
            "There is no event 3f0c6a52",
        ),
    ] {
        let done = both(&server, args);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{args:?} {done:?}");
        assert!(done.err.contains(words), "{args:?} {done:?}");
    }
    for (args, words) in [
        (&["replay", "state", "web"][..], "must be like container/web"),
        (&["replay", "state", "container/web", "--at", "soon"], "'soon' is not a point in time"),
        (&["replay", "state", "container/web", "--data", "/nowhere"], "/nowhere"),
        (&["replay", "state", "container/web", "--data", "/"], "contains no events"),
        (&["replay", "state", "container/web", "--data", "/etc/hostname"], "log export"),
    ] {
        let done = magnum(server.url(), args);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{args:?} {done:?}");
        assert!(done.err.contains(words), "{args:?} {done:?}");
    }
}

#[test]
fn changes_are_told_by_field_with_who_made_them() {
    let server = with_a_story();
    let args = ["replay", "diff", "container/web", "--from", "v:1", "--to", "v:3"];
    golden("diff.txt", &both(&server, &args).out);
    // How the service keeps track of it, for those who ask.
    let wide = both(&server, &[&args[..], &["-o", "wide"]].concat()).out;
    assert!(wide.contains("outcomes") && wide.contains("state.status"), "{wide}");
    let told = document(&both(&server, &[&args[..], &["-o", "json"]].concat()));
    let status = |fields: &Value| {
        let mut fields = fields.as_array().unwrap().iter();
        fields.find(|it| it["field"] == "status").map(|it| (it["from"].clone(), it["to"].clone()))
    };
    assert_eq!(status(&told["fields"]), Some((json!("Stopped"), json!("Running"))));
    let steps = told["steps"].as_array().unwrap();
    assert_eq!(status(&steps[0]["fields"]), None);
    assert_eq!(steps[0]["event"]["reason"], "the shop opens");
    assert_eq!(status(&steps[1]["fields"]), Some((json!("Stopped"), json!("Running"))));
    golden("diff-all.txt", &both(&server, &["replay", "diff", "--all", "--from", "5"]).out);
    let blamed = both(&server, &["replay", "blame", "container/web", "status", "--at", "v:3"]);
    golden("blame.txt", &blamed.out);
    let unknown = both(&server, &["replay", "blame", "container/web", "colour"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("has no field colour. It has: address, "), "{unknown:?}");
    let swapped = both(&server, &["replay", "diff", "--all", "--from", "5", "--to", "3"]);
    assert_eq!(swapped.code, 2);
    assert!(swapped.err.contains("swap from and to"), "{swapped:?}");
    // Before the object's first event it was nothing, however that is said.
    let since = |from: &str| {
        let args = ["replay", "diff", "container/web", "--from", from, "-o", "json"];
        document(&both(&server, &args))
    };
    assert_eq!(since("2001-01-01T00:00:00Z"), since("0"));
}

#[test]
fn why_and_trace_lead_back_to_the_request() {
    let server = with_a_story();
    golden("why.txt", &both(&server, &["why", "container/web"]).out);
    let why = document(&both(&server, &["why", "container/web", "--at", "v:3", "-o", "json"]));
    assert_eq!((&why["status"], &why["waits_for"]), (&json!("Running"), &json!([])));
    let chain = why["chain"].as_array().unwrap();
    let types: Vec<_> = chain.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["container.started", "container.start_requested"]);
    assert_eq!(chain[1]["command"], "start");
    // Between the request and its outcome it says what it waits for.
    let why = document(&both(&server, &["why", "container/web", "--at", "v:2", "-o", "json"]));
    assert_eq!(why["waits_for"][0]["action"], "start");
    assert_eq!(why["waits_for"][0]["reason"], "the shop opens");
    assert!(
        why["says"].as_str().unwrap().contains("It is waiting for start, requested by"),
        "{why}"
    );
    golden("why-waiting.txt", &both(&server, &["why", "container/web", "--at", "v:2"]).out);
    // An attempt has 40 minutes from when it was due.
    let time = |at: &Value| chrono::DateTime::parse_from_rfc3339(at.as_str().unwrap()).unwrap();
    let limit = chrono::TimeDelta::minutes(40);
    for object in ["container/web", "bay/b"] {
        let waits = &document(&both(&server, &["why", object, "--at", "v:0", "-o", "json"]));
        let waits = &waits["waits_for"][0];
        assert_eq!(time(&waits["attempt_deadline"]) - time(&waits["since"]), limit, "{object}");
    }
    let request = chain[1]["request_id"].as_str().unwrap();
    golden("trace.txt", &both(&server, &["trace", request]).out);
    let unknown = both(&server, &["trace", "req-none"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("No event has the request id req-none"), "{unknown:?}");
}

#[test]
fn lists_are_shown_as_of_then_with_what_is_gone_since() {
    let server = with_a_story();
    assert_eq!(magnum(server.url(), &["container-delete", "web"]).code, 0);
    let names = |query: &str| {
        let page = server.get(&format!("/v1/containers{query}")).expect(200);
        let rows = page["containers"].as_array().unwrap().iter();
        rows.map(|row| row["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(names("").is_empty());
    assert_eq!(names("?at=7"), ["Stopped"]);
    assert_eq!(names("?at=9&status=Running"), ["Running"]);
    assert!(names("?at=9&status=Stopped").is_empty());
    assert!(names("?at=5").is_empty());
    let page = server.get("/v1/containers?at=9&limit=1").expect(200);
    let next = page["next"].as_str().unwrap();
    assert!(next.contains("at=9"), "{next}");
    let listed = magnum(server.url(), &["container-list", "--at", "9"]);
    assert!(listed.out.contains("| Running"), "{listed:?}");
    let wrong = server.get("/v1/containers?at=v:3");
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("is a revision of one object"), "{}", wrong.text);
}

#[test]
fn verify_finds_what_is_not_as_the_log_says() {
    let mut server = with_a_story();
    let verified = magnum(server.url(), &["replay", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    golden("verify.txt", &verified.out);
    let data = server.data();
    let busy = on_files(&data, &["replay", "verify"]);
    assert_eq!(busy.code, 2);
    assert!(busy.err.contains("a server is using it"), "{busy:?}");
    server.stop();
    let sound = on_files(&data, &["replay", "verify"]);
    assert_eq!((sound.code, &sound.out), (0, &verified.out), "{sound:?}");
    spoil(&data.join("cache").join("views"));
    let found = on_files(&data, &["replay", "verify"]);
    assert_eq!((found.code, found.err.as_str()), (1, ""), "{found:?}");
    golden("verify-difference.txt", &found.out);
}

/// Has the container's row say that it is named `wet`.
fn spoil(views: &Path) {
    let db = sled::open(views).unwrap();
    let tree = db.open_tree("views").unwrap();
    let mut spoiled = 0;
    for entry in tree.iter() {
        let (key, value) = entry.unwrap();
        let mut bytes = value.to_vec();
        let name = bytes.windows(4).position(|it| it == b"\x03web");
        if let Some(at) = name.filter(|_| key.get(5) == Some(&b'v')) {
            bytes[at + 3] = b't';
            tree.insert(key, bytes).unwrap();
            spoiled += 1;
        }
    }
    assert_eq!(spoiled, 1);
    db.flush().unwrap();
}

#[test]
fn commands_are_decided_again_and_differences_fail() {
    let mut server = with_a_story();
    // What was refused is in the log, and was decided by no object.
    let refused = magnum(server.url(), &["container-pause", "web"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let audited = server.get("/v1/events?type=audit.command_refused").expect(200);
    assert_eq!(audited["events"].as_array().unwrap().len(), 1, "{audited}");
    server.stop();
    let data = server.data();
    let checked = magnum(NOBODY, &["replay", "check", data.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.out.contains("This build decides all"), "{checked:?}");
    // A log in which a container that was never stopped was started again: no build decides that.
    let exported = magnum(NOBODY, &["log", "export", "--data", data.to_str().unwrap()]).out;
    let forged = forged(&exported);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), forged).unwrap();
    let found = magnum(NOBODY, &["replay", "check", file.path().to_str().unwrap()]);
    assert_eq!(found.code, 1, "{found:?}");
    golden("check.txt", &found.out);
    let check = ["replay", "check", file.path().to_str().unwrap(), "-o", "json"];
    golden("check.json", &magnum(NOBODY, &check).out);
    // So it is for a bundle that somebody keeps as a test.
    let bundle = tempfile::NamedTempFile::new().unwrap();
    let kept = bundle.path().to_str().unwrap();
    let export = ["bundle", "export", "container/web", kept];
    assert_eq!(on_files(file.path(), &export).code, 0);
    let found = magnum(NOBODY, &["replay", "check", kept]);
    assert_eq!(found.code, 1, "{found:?}");
    golden("check-bundle.txt", &found.out);
}

/// The same events, but the command that started the container was to pause it; hashed again.
fn forged(exported: &str) -> String {
    use magnum::events::log::export::{Line, import, to_hex};
    use magnum::events::log::memory::MemoryLog;
    use magnum::events::log::{Append, EventLog, Expected, chain};
    use magnum::events::{EventType, NewEvent, codec};
    use magnum::ids::{Position, Revision};
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (honest, other) = (MemoryLog::new(), MemoryLog::new());
        import(&honest, exported.as_bytes()).await.unwrap();
        for event in honest.read(Position(0), 1000).unwrap() {
            let mut meta = event.meta.clone();
            if meta.command.as_deref() == Some("\"start\"") {
                meta.command = Some("\"pause\"".to_owned());
            }
            let before = event.revision.get().checked_sub(1);
            let new = NewEvent {
                id: event.id,
                time: event.time,
                event_type: EventType::named(event.event_type.as_str()),
                version: event.version,
                meta,
                payload: event.payload.clone(),
            };
            let append = Append {
                stream: event.stream,
                expected: before.map_or(Expected::NoStream, |it| Expected::Exact(Revision(it))),
                command: None,
                events: vec![new],
            };
            other.append(append).await.unwrap();
        }
        let lines = other.read(Position(0), 1000).unwrap().into_iter().map(|event| {
            let new = NewEvent {
                id: event.id,
                time: event.time,
                event_type: EventType::named(event.event_type.as_str()),
                version: event.version,
                meta: event.meta.clone(),
                payload: event.payload.clone(),
            };
            let meta = codec::encode(&event.meta);
            let line = Line {
                position: event.position,
                stream: event.stream,
                revision: event.revision,
                id: event.id,
                time: event.time,
                event_type: event.event_type.as_str().to_owned(),
                version: event.version,
                content: to_hex(&chain::content(event.stream, event.revision, &new, &meta)),
                data: Value::Null,
                command: None,
                left: 0,
                hash: to_hex(&event.hash),
                meta: event.meta,
            };
            serde_json::to_string(&line).unwrap() + "\n"
        });
        lines.collect()
    })
}

/// W7, F50: a log is replayed from end to end, everything that the debugger can do, in a process
/// whose only backend panics when it is asked for anything.
#[test]
fn w7_replay_executes_nothing() {
    let mut server = with_a_story();
    server.stop();
    actix::System::new().block_on(async {
        let bus = std::sync::Arc::new(magnum::bus::local::LocalBus::default());
        let source = magnum::replay::Source::folder(&server.data()).unwrap();
        let backend = std::sync::Arc::new(Untouchable::default());
        let mut nodes = Vec::new();
        for event in source.log().read(magnum::ids::Position(0), 1000).unwrap() {
            if event.stream.kind == magnum::ids::Kind::Node && event.revision.get() == 0 {
                let id = event.stream.id;
                let own = bus.port(magnum::bus::Authority::Agent(id));
                let (host, backend) = ("n1".to_owned(), backend.clone());
                let node = magnum::agent::node::NodeAgent::new(id, host, backend, own, 4);
                let arbiter = actix::Arbiter::new().handle();
                let worker = magnum::agent::worker::WorkerHandle::start(node.into(), &arbiter);
                bus.serve_node(id, std::sync::Arc::new(worker.clone()));
                nodes.push(worker);
            }
        }
        assert_eq!(nodes.len(), 1);
        everything(&source);
        assert_eq!(backend.touched.load(std::sync::atomic::Ordering::SeqCst), 0);
    });
}

/// All questions about all objects at all positions.
fn everything(source: &magnum::replay::Source) {
    use magnum::ids::Position;
    use magnum::replay::{Question, When, check, system, trace};
    let events = source.log().read(Position(0), 1000).unwrap();
    let streams: std::collections::BTreeSet<_> = events.iter().map(|it| it.stream).collect();
    let mut answers = 0;
    for stream in streams {
        let born = source.first_of(stream).unwrap().unwrap().position;
        for at in events.iter().filter(|it| it.position >= born) {
            let at = When::Position(at.position);
            for question in [
                Question::State { at },
                Question::Timeline { related: true, at },
                Question::Diff { from: When::Position(Position(0)), to: at },
                Question::Blame { field: "exists".to_owned(), at },
                Question::Why { at },
            ] {
                question.answer(source, stream).unwrap_or_else(|error| {
                    panic!("{question:?} {stream}: {error}");
                });
                answers += 1;
            }
        }
    }
    assert!(answers > 100, "{answers}");
    for event in events.iter().filter(|event| !event.meta.request_id.is_empty()) {
        trace::trace(source, &event.meta.request_id).unwrap();
    }
    assert_eq!(check::check(source).unwrap().different, 0);
    let all = system::diff(source, When::Position(Position(0)), When::Latest).unwrap();
    assert!(all.counts["appeared"] >= 3, "{:?}", all.counts);
}

/// A backend that nobody may use.
#[derive(Default)]
struct Untouchable {
    touched: std::sync::atomic::AtomicU64,
}

impl Untouchable {
    fn touch(&self) -> ! {
        self.touched.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        panic!("a replay asked a backend");
    }
}

#[async_trait::async_trait]
impl magnum::backends::Backend for Untouchable {
    async fn perform(
        &self,
        _: &magnum::backends::Work,
        _: &dyn magnum::backends::Reporter,
    ) -> Result<magnum::backends::Done, magnum::backends::BackendError> {
        self.touch()
    }

    async fn inspect(
        &self,
        _: magnum::ids::StreamId,
    ) -> Result<Option<magnum::backends::Observed>, magnum::backends::BackendError> {
        self.touch()
    }

    async fn inspect_pod(
        &self,
        _: magnum::ids::StreamId,
    ) -> Result<Option<magnum::backends::ObservedPod>, magnum::backends::BackendError> {
        self.touch()
    }

    async fn inventory(
        &self,
    ) -> Result<
        Vec<(magnum::ids::StreamId, magnum::backends::EngineObject)>,
        magnum::backends::BackendError,
    > {
        self.touch()
    }

    async fn notices(
        &self,
    ) -> Result<
        futures_util::stream::BoxStream<'static, magnum::backends::Notice>,
        magnum::backends::BackendError,
    > {
        self.touch()
    }

    async fn logs(
        &self,
        _: magnum::ids::StreamId,
        _: magnum::backends::LogQuery,
    ) -> Result<
        futures_util::stream::BoxStream<
            'static,
            Result<magnum::backends::OutputFrame, magnum::backends::BackendError>,
        >,
        magnum::backends::BackendError,
    > {
        self.touch()
    }

    async fn probe(&self) -> Result<magnum::backends::EngineFacts, magnum::backends::BackendError> {
        self.touch()
    }
}
