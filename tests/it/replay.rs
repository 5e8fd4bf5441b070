//! The debugger: a server and its files give the same answers, and they are the ones on record.
//! Golden files have ids, times and durations replaced. Not here: damaged logs (`log_*`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Options, PATIENCE, Server, wait_until};

/// What the program said.
#[derive(Debug)]
struct Done {
    code: i32,
    out: String,
    err: String,
}

/// Runs the program against a server, or with `--data` against files.
fn magnum(url: &str, args: &[&str]) -> Done {
    let output = Command::new(env!("CARGO_BIN_EXE_magnum"))
        .args(args)
        .env_clear()
        .env("COLUMNS", "100")
        .env("MAGNUM_URL", url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Where nobody listens: whoever asks a server here is found out.
const NOBODY: &str = "http://127.0.0.1:1";

/// Compares with a file that `MAGNUM_BLESS=1` writes.
fn golden(name: &str, actual: &str) {
    let actual = &lasting(actual);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/replay").join(name);
    if std::env::var_os("MAGNUM_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, &expected, "{name} differs; MAGNUM_BLESS=1 accepts it");
}

/// A text without what differs from run to run: ids and times become others of the same length,
/// durations words, and columns lose their width.
fn lasting(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (String::new(), 0);
    let mut ids: HashMap<&str, usize> = HashMap::new();
    while at < bytes.len() {
        let rest = &text[at..];
        if let Some(id) = rest.get(..36).filter(|id| uuid::Uuid::parse_str(id).is_ok()) {
            let next = ids.len() + 1;
            out += &format!("00000000-0000-0000-0000-{:012}", ids.entry(id).or_insert(next));
            at += 36;
        } else if rest.starts_with("20") && rest.get(..19).is_some_and(is_time) {
            let time = |c: char| c.is_ascii_digit() || "-+:.TZ".contains(c);
            out += "TIME";
            at += rest.find(|c| !time(c)).unwrap_or(rest.len());
        } else if let Some(length) = duration(rest).filter(|_| !out.ends_with(is_word)) {
            out += "DURATION";
            at += length;
        } else {
            let c = rest.chars().next().unwrap();
            let repeats = matches!(c, ' ' | '-') && out.ends_with(c);
            let indents = c == ' ' && out.ends_with("|  ");
            if !repeats || indents || text[..at].ends_with("| ") {
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

fn is_time(text: &str) -> bool {
    chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").is_ok()
}

/// The length of a duration at the beginning of a text: `12 ms`, `1.2 s`; in JSON `_ms": 12`.
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
fn with_a_story() -> Server {
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
fn both(server: &Server, args: &[&str]) -> Done {
    let live = magnum(server.url(), args);
    let offline = on_files(&server.data(), args);
    assert_eq!((live.code, &live.out, &live.err), (offline.code, &offline.out, &offline.err));
    live
}

fn on_files(data: &Path, args: &[&str]) -> Done {
    magnum(NOBODY, &[args, &["--data", data.to_str().unwrap()]].concat())
}

#[track_caller]
fn document(done: &Done) -> Value {
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
        (&["replay", "state", "container/web", "--at", "v:99"], "has no revision 99 yet"),
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
        (&["replay", "state", "web"][..], "write it as container/web"),
        (&["replay", "state", "container/web", "--at", "soon"], "'soon' is no moment"),
        (&["replay", "state", "container/web", "--data", "/nowhere"], "/nowhere"),
        (&["replay", "state", "container/web", "--data", "/"], "holds no events"),
        (&["replay", "state", "container/web", "--data", "/etc/hostname"], "log export"),
    ] {
        let done = magnum(server.url(), args);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{args:?} {done:?}");
        assert!(done.err.contains(words), "{args:?} {done:?}");
    }
}
