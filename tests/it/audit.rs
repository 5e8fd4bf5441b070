//! Tamper evidence: an export that a stranger's script verifies, and anchors that show that the
//! log is still what was signed. With the real program; `docs/audit.md` is what it promises.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use magnum::ids::StreamKind;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Done, Options, Server, python, run};

fn magnum(data: &Path, args: &[&str]) -> Done {
    run(Command::new(env!("CARGO_BIN_EXE_magnum")).args(args).env("MAGNUM_DATA", data))
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify_export.py")
}

/// The script over lines, with an anchor and a key.
fn check(home: &Path, lines: &[&str], more: &[&str]) -> Done {
    let export = home.join("events.jsonl");
    fs::write(&export, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    run(Command::new(python()).arg(script()).arg(export).args(more))
}

/// Things happen on a server that goes on: by users who say why, and by the service.
fn busy(server: &Server) {
    let headers = [("x-magnum-reason", "a \u{1f980} \"reason\""), ("idempotency-key", "k1")];
    // More than two bytes can say the length of.
    let long = "x".repeat(70_000);
    let spec = json!({ "name": "c", "image": "i", "environment": { "A": long } });
    server.send(Method::POST, "/v1/containers", &headers, Some(&spec)).expect(201);
    server.put("/v1/containers/c/start").expect(200);
    server.patch("/v1/containers/c", &json!([{ "op": "replace", "path": "/name", "value": "d" }]));
    server.delete("/v1/containers/d").expect(204);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_stranger_verifies_an_export_with_the_script_alone() {
    let server = Server::start(Options::fake());
    // No noun's events alone: a refusal is the audit stream's.
    server.post("/v1/containers", &json!({ "name": "e", "image": "i" })).expect(201);
    server.put("/v1/containers/e/pause").expect(409);
    busy(&server);
    let home = TempDir::new().unwrap();
    let home = home.path();
    let exported = magnum(&server.data(), &["log", "export"]);
    assert_eq!(exported.code, 0, "{exported:?}");
    let lines: Vec<&str> = exported.out.lines().collect();
    let last = lines.len();
    assert!(last > 10, "{exported:?}");
    assert!(exported.out.contains("audit.command_refused"), "{exported:?}");
    let sound = check(home, &lines, &[]);
    let hash = |line: &str| serde_json::from_str::<Value>(line).unwrap()["hash"].clone();
    let end = format!("chain {}", hash(lines[last - 1]).as_str().unwrap());
    assert_eq!(
        sound.out.trim(),
        format!("sound up to position {last}, {end}; data was not compared"),
        "{sound:?}"
    );

    let key = home.join("key");
    let new_key = ["log", "anchor", "--new-key", text(&key), "-o", "json"];
    let made = magnum(&server.data(), &new_key);
    let public = serde_json::from_str::<Value>(&made.out).unwrap()["public_key"].take();
    let public = public.as_str().unwrap();
    let anchor = home.join("anchor.json");
    let signed = magnum(&server.data(), &["log", "anchor", "--key", text(&key)]);
    fs::write(&anchor, &signed.out).unwrap();
    let sound = check(home, &lines, &[text(&anchor), public]);
    assert_eq!(sound.code, 0, "{sound:?}");

    let without = [&lines[..4], &lines[5..]].concat();
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    let cut = &lines[..last - 1];
    for (given, why) in [
        (&*without, "line 5 has position 6"),
        (&*swapped, "line 5 has position 6"),
        (&lines[1..], "line 1 has position 2"),
        (cut, "the end is missing after line"),
    ] {
        let found = check(home, given, &[text(&anchor)]);
        assert_eq!(found.code, 1, "{why}: {found:?}");
        assert!(found.err.contains(why), "{why}: {found:?}");
    }
    // Without an anchor an end that is cut is not to be seen, and what is said is where it ends.
    assert!(check(home, cut, &[]).out.contains(&format!("position {}", last - 1)));
    let other = check(home, &lines, &[text(&anchor), &"00".repeat(32)]);
    assert!(other.code == 1 && other.err.contains("another key"), "{other:?}");
    let forged = signed.out.replace(&format!("\"position\": {last}"), "\"position\": 3");
    fs::write(&anchor, forged).unwrap();
    let forged = check(home, &lines, &[text(&anchor)]);
    assert!(forged.code == 1 && forged.err.contains("signature"), "{forged:?}");
}

/// Each byte of what was recorded counts, and each field that people read.
#[test]
fn the_script_finds_each_change_of_a_line() {
    let server = Server::start(Options::fake());
    busy(&server);
    let home = TempDir::new().unwrap();
    let home = home.path();
    let exported = magnum(&server.data(), &["log", "export"]).out;
    let lines: Vec<&str> = exported.lines().collect();
    // Which place it has depends on when the node came up.
    let place = lines.iter().position(|line| line.contains("container.started")).unwrap();
    let named = format!("line {}: ", place + 1);
    let with = |at: usize, field: &str, value: Value| {
        let mut line: Value = serde_json::from_str(lines[at]).unwrap();
        *line.pointer_mut(field).unwrap() = value;
        line.to_string()
    };
    let content = serde_json::from_str::<Value>(lines[place]).unwrap()["content"].clone();
    let content = content.as_str().unwrap();
    let middle = content.len() / 2;
    let other = if &content[middle..=middle] == "0" { "1" } else { "0" };
    let flipped = format!("{}{other}{}", &content[..middle], &content[middle + 1..]);
    let mut cases = vec![(
        with(place, "/content", flipped.into()),
        format!("line {} is not what the chain", place + 1),
    )];
    for (field, value) in [
        ("/meta/user", json!("mallory")),
        ("/meta/reason", json!("none")),
        ("/meta/command_id", json!("k2")),
        ("/time", json!("2015-05-21T20:46:13.000000+00:00")),
        ("/type", json!("container.stopped")),
        ("/revision", json!(9)),
        ("/stream/kind", json!("bay")),
    ] {
        cases.push((with(place, field, value), named.clone()));
    }
    for (line, why) in &cases {
        let mut changed = lines.clone();
        changed[place] = line;
        let found = check(home, &changed, &[]);
        assert_eq!((found.code, found.out.as_str()), (1, ""), "{line}: {found:?}");
        assert!(found.err.contains(why.as_str()), "{line}: {found:?}");
    }
}

#[test]
fn the_script_knows_each_noun_and_stays_short() {
    let script = fs::read_to_string(script()).unwrap();
    assert!(script.lines().count() <= 64);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(folder.join("docs/audit.md")).unwrap();
    for kind in StreamKind::all() {
        let entry = format!("{}: \"{kind}\"", kind.byte());
        assert!(script.contains(&entry), "KINDS of docs/verify_export.py lacks {entry}");
        let entry = format!("{} {kind}", kind.byte());
        assert!(document.contains(&entry), "docs/audit.md lacks {entry}");
    }
}

/// A key and a signed head of a server's log.
fn anchored(home: &Path, data: &Path) -> (PathBuf, String) {
    let (key, anchor) = (home.join("key"), home.join("anchor.json"));
    if !key.exists() {
        let made = magnum(data, &["log", "anchor", "--new-key", text(&key)]);
        assert_eq!(made.code, 0, "{made:?}");
    }
    let signed = magnum(data, &["log", "anchor", "--key", text(&key)]);
    assert_eq!(signed.code, 0, "{signed:?}");
    fs::write(&anchor, &signed.out).unwrap();
    (anchor, fs::read_to_string(home.join("key.pub")).unwrap().trim().to_owned())
}

#[test]
fn an_anchor_shows_that_the_log_is_what_was_signed() {
    let home = TempDir::new().unwrap();
    let mut server = Server::start(Options::fake());
    busy(&server);
    let data = server.data();
    let (anchor, public) = anchored(home.path(), &data);
    let public_file = home.path().join("key.pub");
    let from = ["log", "verify", "--from", text(&anchor)];
    // Beside the running server, and after more was recorded, and offline.
    busy(&Server::start(Options::fake()));
    server.post("/v1/bays", &json!({ "name": "later" })).expect(201);
    for key in [public.as_str(), text(&public_file)] {
        let held = magnum(&data, &[&from[..], &["--public-key", key]].concat());
        assert_eq!((held.code, held.err.as_str()), (0, ""), "{held:?}");
        assert!(held.out.contains("are those that were signed at 2"), "{held:?}");
    }
    server.stop();
    let held = magnum(&data, &[&from[..], &["-o", "json"]].concat());
    assert_eq!(held.code, 0, "{held:?}");
    assert!(held.err.contains("--public-key"), "whose key it is was not said: {held:?}");
    let said: Value = serde_json::from_str(&held.out).unwrap();
    assert_eq!(said["anchor"]["holds"], true, "{said}");
    assert_eq!(said["anchor"]["public_key"], public, "{said}");
    assert!(said["position"].as_u64() > said["anchor"]["position"].as_u64(), "{said}");
    // A log made of its export has the same chain.
    let exported = home.path().join("events.jsonl");
    fs::write(&exported, magnum(&data, &["log", "export"]).out).unwrap();
    let copy = home.path().join("copy");
    assert_eq!(magnum(&copy, &["log", "import", text(&exported)]).code, 0);
    assert_eq!(magnum(&copy, &from).code, 0);
}

#[test]
fn what_was_changed_or_cut_before_an_anchor_is_told() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let mut server = Server::start(Options::fake());
    busy(&server);
    server.stop();
    let data = server.data();
    let (anchor, _) = anchored(home, &data);
    let position =
        serde_json::from_str::<Value>(&fs::read_to_string(&anchor).unwrap()).unwrap()["position"]
            .as_u64()
            .unwrap();
    let verify = |data: &Path| magnum(data, &["log", "verify", "--from", text(&anchor)]);
    let export = magnum(&data, &["log", "export"]).out;
    let lines: Vec<&str> = export.lines().collect();
    let import = |name: &str, lines: &[String]| {
        let (file, data) = (home.join("lines"), home.join(name));
        fs::write(&file, lines.join("\n")).unwrap();
        let done = magnum(&data, &["log", "import", text(&file)]);
        assert_eq!(done.code, 0, "{done:?}");
        data
    };
    // The end is gone, without a trace in the log itself.
    let whole = |line: &&&str| serde_json::from_str::<Value>(line).unwrap()["left"] == 0;
    let last = lines[..lines.len() - 1].iter().rposition(|line| whole(&line)).unwrap() + 1;
    let kept: Vec<String> = lines[..last].iter().map(ToString::to_string).collect();
    let cut = import("cut", &kept);
    assert_eq!(magnum(&cut, &["log", "verify"]).code, 0, "nothing is wrong with it by itself");
    told(&verify(&cut), &format!("The log ends at position {last}. "));
    told(&verify(&cut), &format!("{position} "));
    // Another history of the same length: what another server recorded.
    let mut other = Server::start(Options::fake());
    busy(&other);
    busy_until(&other, position);
    other.stop();
    let done = verify(&other.data());
    told(&done, "are not those that were signed at");
    assert!(done.err.contains("is it the right one?"), "{done:?}");
    // Damage before the anchor is damage, and there is nothing to compare.
    let copy = home.join("damaged");
    let copied = run(Command::new("cp").arg("-r").args([&data, &copy]));
    assert_eq!(copied.code, 0, "{copied:?}");
    assert_eq!(verify(&copy).code, 0);
    let segment = copy.join("log/0000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|window| window == b"start");
    let at = at.unwrap();
    bytes[at] ^= 0x20;
    fs::write(&segment, bytes).unwrap();
    let done = verify(&copy);
    told(&done, "is sound only up to position");
    assert!(done.err.contains("the log is damaged in segment"), "{done:?}");
}

/// Fails with these words, and says nothing good.
#[track_caller]
fn told(done: &Done, words: &str) {
    assert_eq!(done.code, 1, "{words}: {done:?}");
    assert!(done.err.contains(words), "{words}: {done:?}");
    assert!(!done.out.contains("are those that were signed"), "{done:?}");
}

#[test]
fn an_anchor_that_is_not_what_was_signed_is_refused() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let server = Server::start(Options::fake());
    let data = server.data();
    let (anchor, public) = anchored(home, &data);
    let verify = |data: &Path| magnum(data, &["log", "verify", "--from", text(&anchor)]);
    let signed = fs::read_to_string(&anchor).unwrap();
    for (forged, words) in [
        (signed.replace("\"position\": ", "\"position\": 1"), "its signature is invalid"),
        (signed.replace("\"position\"", "\"place\""), "is not an anchor"),
        (String::new(), "is not an anchor"),
    ] {
        fs::write(&anchor, forged).unwrap();
        told(&verify(&data), words);
    }
    fs::write(&anchor, &signed).unwrap();
    let key = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";
    let from = ["log", "verify", "--from", text(&anchor), "--public-key"];
    let with = |key: &str| magnum(&data, &[&from[..], &[key]].concat());
    told(&with(key), &format!("was signed with the key {public}, not with {key}"));
    told(&with("nowhere"), "neither 64 hex digits nor a file");
    assert_eq!(with(&public).code, 0);
    let alone = magnum(&data, &["log", "verify", "--public-key", &public]);
    assert_eq!(alone.code, 2, "{alone:?}");
}

/// Something happens until the log is at least so long.
fn busy_until(server: &Server, position: u64) {
    let baymodel = json!({ "name": "m", "image_id": "i", "coe": "docker" });
    while server.get("/v1/events?limit=1").expect(200)["head"].as_u64().unwrap() < position {
        server.post("/v1/baymodels", &baymodel).expect(201);
    }
}

#[test]
fn a_key_is_made_once_for_its_owner_alone_and_away_from_the_log() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let (data, key) = (home.join("data"), home.join("key"));
    fs::create_dir(&data).unwrap();
    let make = |key: &Path| magnum(&data, &["log", "anchor", "--new-key", text(key)]);
    let made = make(&key);
    assert_eq!(made.code, 0, "{made:?}");
    let public = fs::read_to_string(home.join("key.pub")).unwrap();
    assert!(made.out.contains(public.trim()) && public.trim().len() == 64, "{made:?}");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&key).unwrap();
    assert!(!made.out.contains(&secret[secret.len() - 20..]), "{made:?}");
    let again = make(&key);
    assert!(again.code == 1 && again.err.contains("already exists"), "{again:?}");
    assert_eq!(fs::read_to_string(&key).unwrap(), secret);
    let inside = make(&data.join("key"));
    assert!(inside.code == 1 && inside.err.contains("is in the data directory"), "{inside:?}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    let nowhere = make(&home.join("no/key"));
    assert!(nowhere.code == 1 && nowhere.err.contains("No such file"), "{nowhere:?}");
    // Nothing to sign, and nothing to sign with.
    let sign = |key: &Path| magnum(&data, &["log", "anchor", "--key", text(key)]);
    let none = sign(&key);
    assert!(none.code == 1 && none.err.contains("no `log` directory"), "{none:?}");
    fs::create_dir(data.join("log")).unwrap();
    let none = sign(&key);
    assert!(none.code == 1 && none.err.contains("no events"), "{none:?}");
    let wrong = sign(&home.join("key.pub"));
    assert!(wrong.code == 1 && wrong.err.contains("--new-key"), "{wrong:?}");
    assert_eq!(magnum(&data, &["log", "anchor"]).code, 2);
}
