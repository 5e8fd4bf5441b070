//! The offline tools for the log: `magnum log verify`, `info`, `repair`, on logs of the engine and
//! on those of the real server, whole and damaged everywhere. Not here: how a log is opened
//! (`log_segment`).

use std::fs;
use std::path::Path;
use std::process::Command;

use magnum::clock;
use magnum::events::Recorded;
use magnum::events::log::export::to_hex;
use magnum::events::log::segment::{SEGMENT_HEADER_BYTES, SegmentLog, SegmentOptions};
use magnum::events::log::{EventLog, Expected, OpenError};
use magnum::ids::{CommandId, Position};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Done, Options, Server, run};
use crate::log::{append, key, read_all, stream};
use crate::requests::baymodel;

/// Runs `magnum` on a data directory, without a terminal.
pub fn magnum(data: &Path, args: &[&str]) -> Done {
    run(Command::new(env!("CARGO_BIN_EXE_magnum")).args(args).env("MAGNUM_DATA", data))
}

pub fn try_open(data: &Path, index: &sled::Tree) -> Result<SegmentLog, OpenError> {
    let options = SegmentOptions { segment_bytes: 16 << 10, folder: clock::new_uuid() };
    SegmentLog::open(&data.join("log"), options, index.clone())
}

pub fn index() -> sled::Tree {
    sled::Config::new().temporary(true).open().unwrap().open_tree("log").unwrap()
}

/// Appends of so many events each to the log of a data directory; all that is in it then.
pub async fn write(data: &Path, index: &sled::Tree, appends: &[usize]) -> Vec<Recorded> {
    let log = try_open(data, index).unwrap();
    for events in appends {
        log.append(append(stream(), Expected::NoStream, *events)).await.unwrap();
    }
    let events = read_all(&log, 100);
    log.close().await;
    events
}

/// The files of segments in a folder, in order.
pub fn segments(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".seg"));
    names.sort_unstable();
    names
}

/// The offset of each record of a segment.
pub fn offsets(segment: &[u8]) -> Vec<usize> {
    let mut offsets = Vec::new();
    let mut at = SEGMENT_HEADER_BYTES;
    while let Some(length) = segment.get(at..at + 4) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        if length == 0 {
            break;
        }
        offsets.push(at);
        at = (at + length).next_multiple_of(8);
    }
    offsets
}

/// Changes a byte of a segment; its offset may depend on what is in there.
pub fn flip(data: &Path, name: &str, at: impl FnOnce(&[u8]) -> usize) {
    let path = data.join("log").join(name);
    let mut bytes = fs::read(&path).unwrap();
    let at = at(&bytes);
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

const FIRST: &str = "0000000001.seg";
const SECOND: &str = "0000000002.seg";
const THIRD: &str = "0000000003.seg";

/// Damage of any sort is told by `verify`, cut by `repair`, and gone then; what was before it
/// stays, what went is in the copy.
#[tokio::test]
async fn every_damage_is_cut_and_a_copy_is_kept() {
    type Meddle = fn(&Path);
    let cases: [(&str, Meddle); 7] = [
        ("a record in the first segment", |data| flip(data, FIRST, |it| offsets(it)[7] + 90)),
        ("the first record of a segment", |data| flip(data, SECOND, |it| offsets(it)[0] + 90)),
        ("the last record of a segment", |data| {
            flip(data, FIRST, |it| offsets(it).last().unwrap() + 90);
        }),
        ("the header of a segment", |data| flip(data, THIRD, |_| 20)),
        ("the header of the first segment", |data| flip(data, FIRST, |_| 20)),
        ("a segment that is missing", |data| {
            fs::remove_file(data.join("log").join(SECOND)).unwrap();
        }),
        ("a segment that is short", |data| {
            let file = fs::File::options().write(true).open(data.join("log").join(THIRD));
            file.unwrap().set_len(9000).unwrap();
        }),
    ];
    for (what, meddle) in cases {
        let data = TempDir::new().unwrap();
        let (data, log) = (data.path(), data.path().join("log"));
        let index = index();
        let events = write(data, &index, &[2; 150]).await;
        assert!(segments(&log).len() > 3);
        meddle(data);
        let before = content(&log);

        let verified = magnum(data, &["log", "verify", "-o", "json"]);
        assert_eq!(verified.code, 1, "{what}: {verified:?}");
        assert!(verified.err.contains("the log is damaged in segment"), "{what}: {verified:?}");
        assert!(verified.err.contains("magnum log repair --truncate"), "{what}: {verified:?}");
        let head = verified.json()["position"].as_u64().unwrap();
        assert!(head < 300, "{what}: {verified:?}");
        assert_eq!(content(&log), before, "{what}: verifying changes nothing");

        let refused = magnum(data, &["log", "repair", "--truncate"]);
        assert_eq!(refused.code, 1, "{what}: {refused:?}");
        assert!(refused.err.contains("--yes"), "{what}: {refused:?}");
        assert_eq!(content(&log), before, "{what}: nothing is cut unasked");

        let done = magnum(data, &["log", "repair", "--truncate", "--yes", "-o", "json"]);
        assert_eq!(done.code, 0, "{what}: {done:?}");
        let said = done.json();
        assert_eq!(said["position"], head, "{what}");
        let readable = said["events_lost"].as_u64().unwrap();
        assert!(head + readable <= 300 && readable > 0, "{what}: {said}");
        assert_kept(&log, &before, &said);

        let verified = magnum(data, &["log", "verify", "-o", "json"]);
        assert_eq!(verified.code, 0, "{what}: {verified:?}");
        assert_eq!(verified.json()["position"], head, "{what}");
        let log = try_open(data, &index).unwrap();
        assert_eq!(read_all(&log, 64), events[..head as usize], "{what}");
        let next = log.append(append(stream(), Expected::NoStream, 1)).await.unwrap();
        assert_eq!(next.first, Position(head + 1), "{what}");
    }
}

/// All segments of a folder.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let bytes = fs::read(folder.join(&name)).unwrap();
        (name, bytes)
    };
    segments(folder).into_iter().map(read).collect()
}

/// Whatever changed is in the copy as it was.
fn assert_kept(log: &Path, before: &[(String, Vec<u8>)], said: &Value) {
    let copy = content(Path::new(said["copy"].as_str().unwrap()));
    let after = content(log);
    for (name, bytes) in before {
        let is_same = after.iter().any(|known| known == &(name.clone(), bytes.clone()));
        let is_kept = copy.iter().any(|known| known == &(name.clone(), bytes.clone()));
        assert!(is_same != is_kept, "{name} is there and not in the copy, or the reverse");
    }
    assert_eq!(segments(log).len() + said["files"].as_array().unwrap().len(), before.len());
}

#[tokio::test]
async fn only_whole_appends_stay() {
    let (data, index) = (TempDir::new().unwrap(), index());
    write(data.path(), &index, &[1, 3]).await;
    let events = {
        let log = try_open(data.path(), &index).unwrap();
        let mut last = append(stream(), Expected::NoStream, 2);
        // Like the room behind it.
        last.events[1].payload = vec![0; 100].into();
        log.append(last).await.unwrap();
        let events = read_all(&log, 100);
        log.close().await;
        events
    };
    flip(data.path(), FIRST, |it| offsets(it)[3] + 80);
    let done = magnum(data.path(), &["log", "repair", "--truncate", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    for part in ["offset", "up to position 1.", "position 2 to 6", "with 4 readable events."] {
        assert!(done.err.contains(part), "{part}: {done:?}");
    }
    let streams = [&events[1].stream, &events[4].stream].map(ToString::to_string);
    assert!(streams.iter().all(|stream| done.err.contains(stream)), "{done:?}");
    assert!(done.out.contains("cut-1"), "{done:?}");
    assert_eq!(read_all(&try_open(data.path(), &index).unwrap(), 9), events[..1]);
}

/// The end of a log that the index knows to have been durable: the server refuses to cut it by
/// itself, and no record after it proves it.
#[tokio::test]
async fn a_damaged_end_that_was_durable_can_be_cut() {
    let (data, index) = (TempDir::new().unwrap(), index());
    let data = data.path();
    let events = write(data, &index, &[1, 1]).await;
    flip(data, FIRST, |it| offsets(it)[1] + 80);
    let refused = try_open(data, &index).unwrap_err().to_string();
    assert!(refused.contains("magnum log repair"), "{refused}");
    let verified = magnum(data, &["log", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(verified.out.contains("magnum log repair --truncate"), "{verified:?}");
    let done = magnum(data, &["log", "repair", "--truncate", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(read_all(&try_open(data, &index).unwrap(), 9), events[..1]);
}

#[tokio::test]
async fn nothing_wrong_is_nothing_cut() {
    let (data, index) = (TempDir::new().unwrap(), index());
    let data = data.path();
    let events = write(data, &index, &[2; 100]).await;
    let before = content(&data.join("log"));
    let done = magnum(data, &["log", "repair", "--truncate"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("is not damaged"), "{done:?}");
    assert_eq!(content(&data.join("log")), before);
    assert!(!data.join("log/cut-1").exists());

    let info = magnum(data, &["log", "info", "-o", "json"]).json();
    assert_eq!(info["position"], 200);
    let hash = to_hex(&events[199].hash);
    assert_eq!(info["hash"], hash);
    let known = info["segments"].as_array().unwrap();
    assert_eq!(known.len(), before.len());
    assert_eq!(known.last().unwrap()["last"], 200);
    let shown = magnum(data, &["log", "info"]);
    assert!(shown.out.contains(SECOND) && shown.out.contains(&hash), "{shown:?}");
}

/// What is exported, imported and exported again is the same, and so are the commands that the
/// new log has seen and which events are one append.
#[tokio::test]
async fn an_export_that_is_imported_is_the_same_log() {
    let (data, index) = (TempDir::new().unwrap(), index());
    let data = data.path();
    let log = try_open(data, &index).unwrap();
    let one = stream();
    let mut expected = Expected::NoStream;
    for step in 0..3000 {
        let mut new = append(one, expected, 1 + step % 3);
        new.command = key(&format!("project/{step}"), step as u8);
        new.events[0].meta.reason = Some("for a \u{1f980} \"reason\"\n".to_owned());
        let other = append(stream(), Expected::NoStream, 1);
        let (done, other) = tokio::join!(log.append(new), log.append(other));
        other.unwrap();
        expected = Expected::Exact(done.unwrap().revision);
    }
    let events = read_all(&log, 1000);
    let seen = |log: &SegmentLog| {
        let known = |step: u64| log.command(&CommandId(format!("project/{step}"))).unwrap();
        [0, 1, 1500, 2999].map(known)
    };
    let commands = seen(&log);
    assert!(commands.iter().all(Option::is_some));
    let exported = magnum(data, &["log", "export"]);
    assert_eq!(exported.code, 0, "beside its writer: {exported:?}");
    log.close().await;
    assert_eq!(exported.out.lines().count(), events.len());

    let home = TempDir::new().unwrap();
    let file = home.path().join("events.jsonl");
    fs::write(&file, &exported.out).unwrap();
    let new = home.path().join("new");
    let imported = magnum(&new, &["log", "import", file.to_str().unwrap(), "-o", "json"]);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert_eq!(imported.json()["position"], events.len());
    assert!(magnum(&new, &["log", "export"]).out == exported.out, "byte for byte");
    let log = try_open(&new, &self::index()).unwrap();
    assert_eq!(read_all(&log, 1000), events);
    assert_eq!(seen(&log), commands);
    log.close().await;

    let half = magnum(data, &["log", "export", "--after", "4000"]);
    assert!(exported.out.ends_with(&half.out));
    assert_eq!(half.out.lines().count(), events.len() - 4000);
    let again = magnum(&new, &["log", "import", file.to_str().unwrap()]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("already contains a log"), "{again:?}");
}

#[tokio::test]
async fn what_was_not_exported_is_not_imported() {
    let (data, index) = (TempDir::new().unwrap(), index());
    write(data.path(), &index, &[1, 3, 1]).await;
    let whole = magnum(data.path(), &["log", "export"]).out;
    let lines: Vec<&str> = whole.lines().collect();
    let changed = lines[2].replace("tester", "nobody");
    let line: Value = serde_json::from_str(lines[2]).unwrap();
    let content = line["content"].as_str().unwrap();
    let forged = lines[2].replace(content, &content.replace("746573746572", "6e6f626f6479"));
    assert!(changed != lines[2] && forged != lines[2]);
    for (given, why) in [
        (vec![lines[0], lines[2]], "line 2: position 2 must follow, not 3"),
        (vec![lines[1]], "line 1: position 1 must follow"),
        (vec![lines[0], lines[1], changed.as_str()], "line 3: its fields do not agree"),
        (vec![lines[0], lines[1], forged.as_str()], "line 3: the event is not what was exported"),
        (vec![lines[0], lines[1]], "in the middle of an append"),
        (vec!["{}"], "line 1: missing field"),
    ] {
        let home = TempDir::new().unwrap();
        let file = home.path().join("events.jsonl");
        fs::write(&file, given.join("\n")).unwrap();
        let done = magnum(&home.path().join("new"), &["log", "import", file.to_str().unwrap()]);
        assert_eq!(done.code, 1, "{why}: {done:?}");
        assert!(done.err.contains(why), "{why}: {done:?}");
    }
    flip(data.path(), FIRST, |it| offsets(it)[1] + 90);
    let damaged = magnum(data.path(), &["log", "export"]);
    assert_eq!((damaged.code, damaged.out.lines().count()), (1, 1), "{damaged:?}");
    assert!(damaged.err.contains("position 2"), "{damaged:?}");
}

#[test]
fn what_is_no_data_folder_is_said() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("file"), "x").unwrap();
    let repair: &[&str] = &["log", "repair", "--truncate", "--yes"];
    for args in [&["log", "verify"][..], &["log", "info"], repair] {
        for (folder, why) in
            [("", "no `log` directory"), ("x", "no such directory"), ("file", "no such")]
        {
            let done = magnum(&home.path().join(folder), args);
            assert_eq!(done.code, 1, "{args:?}: {done:?}");
            assert!(done.err.contains(why) && done.err.contains("--data"), "{args:?}: {done:?}");
        }
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing was made");
    let done = magnum(home.path(), &["log", "repair"]);
    assert_eq!(done.code, 2, "{done:?}");
}

fn names(server: &Server) -> Vec<String> {
    let list = server.list("/v1/baymodels?sort_key=created_at");
    let mut names: Vec<String> =
        list.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    // The built-in one is not recorded.
    names.retain(|name| name != "default");
    names.sort_unstable();
    names
}

/// A server whose log is damaged in the middle does not start, and does after a repair; its read
/// models and snapshots, which know what went, are folded again by themselves.
#[test]
fn a_server_goes_on_with_what_a_repair_left() {
    let mut server = Server::start(Options::fake());
    let all: Vec<String> = (10..30).map(|turn| format!("m{turn}")).collect();
    for name in &all {
        server.post("/v1/baymodels", &baymodel(name)).expect(201);
    }
    let data = server.data();
    let live = magnum(&data, &["log", "verify"]);
    assert_eq!(live.code, 0, "{live:?}");
    assert_eq!(magnum(&data, &["log", "info"]).code, 0);
    let beside = magnum(&data, &["log", "repair", "--truncate", "--yes"]);
    assert_eq!(beside.code, 1, "{beside:?}");
    assert!(beside.err.contains("in use by process"), "{beside:?}");

    assert!(server.stop().success());
    flip(&data, FIRST, |it| offsets(it)[offsets(it).len() / 2] + 90);
    // The log's index would vouch for what was read before; the read models stay.
    fs::remove_dir_all(data.join("cache/log")).unwrap();
    let listen = ["serve", "--backend", "fake", "--listen", "127.0.0.1:0"];
    let refused = magnum(&data, &listen);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("magnum log repair --truncate"), "{refused:?}");

    let done = magnum(&data, &["log", "repair", "--truncate", "--yes", "-o", "json"]);
    assert_eq!(done.code, 0, "{done:?}");
    server.restart();
    let left = names(&server);
    assert!(!left.is_empty() && left.len() < all.len(), "{left:?}");
    assert_eq!(left, all[..left.len()], "the events before the damage, and no other");
    server.post("/v1/baymodels", &baymodel("m99")).expect(201);
    assert!(server.stop().success());
    server.restart();
    assert_eq!(names(&server).len(), left.len() + 1);
    assert_eq!(magnum(&data, &["log", "verify"]).code, 0);
}
