//! `magnum backup` and `magnum restore`, with the real program: under load, cut off, damaged, up to
//! a position or a time (F54 is in `drift`). Not here: how a log is verified (`log_tools`).

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use magnum::events::log::export::to_hex;
use magnum::events::log::segment::manifest::Manifest;
use magnum::events::log::{EventLog, Expected};
use magnum::ids::{Position, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Done, Options, Server, wait_until};
use crate::log::{append, read_all, stream};
use crate::log_tools::{flip, index, magnum, offsets, segments, try_open};
use crate::requests::baymodel;

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn backup(data: &Path, target: &Path) -> Done {
    magnum(data, &["backup", path(target), "-o", "json"])
}

fn verify(target: &Path) -> Done {
    magnum(Path::new("nowhere"), &["backup", "--verify", path(target), "-o", "json"])
}

fn restore(target: &Path, data: &Path, more: &[&str]) -> Done {
    let mut args = vec!["restore", path(target), "--data", path(data), "--yes", "-o", "json"];
    args.extend(more);
    magnum(Path::new("nowhere"), &args)
}

#[track_caller]
fn good(done: &Done) -> Value {
    assert_eq!(done.code, 0, "{done:?}");
    done.json()
}

/// Refused with these words; nothing on stdout.
#[track_caller]
fn refused(done: &Done, words: &str) {
    assert_eq!((done.code, done.out.as_str()), (1, ""), "{words}: {done:?}");
    assert!(done.err.contains(words), "{words}: {done:?}");
}

/// All bytes of a folder, by path, but who held its lock last.
fn bytes(folder: &Path) -> HashMap<String, Vec<u8>> {
    let mut found = HashMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(bytes(&path));
        } else if !path.ends_with("lock") {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

/// A log of so many appends of two events, a millisecond apart, and where it is.
async fn written(appends: usize) -> (TempDir, sled::Tree) {
    let (home, index) = (TempDir::new().unwrap(), index());
    more(home.path(), &index, 0, appends).await;
    (home, index)
}

/// Appends so many more.
async fn more(data: &Path, index: &sled::Tree, before: usize, appends: usize) {
    let log = try_open(data, index).unwrap();
    for step in before..before + appends {
        let mut new = append(stream(), Expected::NoStream, 2);
        new.events.iter_mut().for_each(|event| event.time = time(step));
        log.append(new).await.unwrap();
    }
    log.close().await;
}

/// When the events of an append were decided.
fn time(step: usize) -> Timestamp {
    Timestamp(1_700_000_000_000_000 + 1000 * step as i64)
}

/// Writers go on while backups are made; whatever a backup says that it has is in a server that
/// is started on it, which knows that it is a copy and goes on with a new epoch.
#[test]
fn a_backup_under_load_has_everything_up_to_its_position() {
    let mut server = Server::start(Options::fake().arg("--segment-size=64k"));
    let (home, data) = (TempDir::new().unwrap(), server.data());
    let target = home.path().join("backup");
    let acknowledged: Mutex<Vec<(u64, String)>> = Mutex::default();
    let stop = AtomicBool::new(false);
    let (acknowledged, stop) = (&acknowledged, &stop);
    let backups = thread::scope(|scope| {
        for writer in 0..4 {
            let http = server.http();
            scope.spawn(move || {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("m{writer}-{turn}");
                    let made = http.post("/v1/baymodels", &baymodel(&name));
                    let position = made.header("x-magnum-position").parse().unwrap();
                    made.expect(201);
                    acknowledged.lock().unwrap().push((position, name));
                }
            });
        }
        let backups: Vec<Value> = (1..4)
            .map(|turn| {
                let many = turn * 100;
                wait_until("load", Duration::from_secs(60), || {
                    acknowledged.lock().unwrap().len() > many
                });
                let done = backup(&data, &target);
                good(&verify(&target));
                good(&done)
            })
            .collect();
        wait_until("more load", Duration::from_secs(60), || {
            acknowledged.lock().unwrap().len() > 450
        });
        stop.store(true, Ordering::Relaxed);
        backups
    });
    server.kill();
    drop(server);
    for pair in backups.windows(2) {
        assert!(pair[0]["position"].as_u64() < pair[1]["position"].as_u64(), "{pair:?}");
    }
    let last = backups[2].clone();
    assert!(last["kept"].as_u64() > Some(0), "sealed segments are copied once: {last}");

    goes_on(&target, &home.path().join("new"), &last, &acknowledged.lock().unwrap());
}

/// A server on a restored backup has what was acknowledged up to there, and goes on.
fn goes_on(target: &Path, new: &Path, last: &Value, acknowledged: &[(u64, String)]) {
    let restored = good(&restore(target, new, &[]));
    assert_eq!(restored["position"], last["position"]);
    let verified = good(&magnum(new, &["log", "verify", "-o", "json"]));
    assert_eq!((&verified["position"], &verified["hash"]), (&last["position"], &last["hash"]));
    let info = good(&magnum(new, &["log", "info", "-o", "json"]));
    assert_eq!(info["copied"], true, "{info}");

    let copy = Server::start(Options::fake().data(new));
    assert!(copy.stderr().contains("is a copy of one that was used elsewhere"));
    let list = copy.list("/v1/baymodels?limit=1000");
    let known: Vec<&str> = list.iter().filter_map(|it| it["name"].as_str()).collect();
    let position = last["position"].as_u64().unwrap();
    let backed_up = acknowledged.iter().filter(|(at, _)| *at <= position);
    let missing: Vec<_> = backed_up.filter(|(_, name)| !known.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(known.len() < acknowledged.len(), "the server went on after the backup");
    copy.post("/v1/baymodels", &baymodel("after")).expect(201);
    let after = good(&magnum(new, &["log", "info", "-o", "json"]));
    assert!(after["epoch"].as_u64() > info["epoch"].as_u64(), "{after}");
    assert_eq!(after["folder"], info["folder"]);
}

#[tokio::test]
async fn what_is_there_is_not_copied_again() {
    let (data, index) = written(150).await;
    let (data, home) = (data.path(), TempDir::new().unwrap());
    let target = home.path().join("a/b");
    let first = good(&backup(data, &target));
    let count = segments(&data.join("log")).len();
    assert_eq!((&first["copied"], &first["kept"]), (&count.into(), &0.into()));
    let inodes = || {
        let names = segments(&target.join("segments")).into_iter();
        let inode = |name: String| fs::metadata(target.join("segments").join(name)).unwrap().ino();
        names.map(inode).collect::<Vec<_>>()
    };
    let before = inodes();
    let idle = good(&backup(data, &target));
    assert_eq!((&idle["copied"], &idle["position"]), (&0.into(), &first["position"]));

    more(data, &index, 150, 50).await;
    let second = good(&backup(data, &target));
    assert_eq!(second["position"], 400);
    let after = inodes();
    assert!(after.len() > count);
    assert_eq!(after[..count - 1], before[..count - 1], "sealed segments stay the files they were");
    assert_ne!(after[count - 1], before[count - 1], "the tail has grown");

    // One that is damaged in the backup is copied again.
    flip_in(&target, "0000000002.seg");
    assert_eq!(verify(&target).code, 1);
    assert_eq!(good(&backup(data, &target))["copied"], 1);
    good(&verify(&target));
    // The segments are a log of their own.
    let own = home.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::rename(target.join("segments"), own.join("log")).unwrap();
    let log = try_open(&own, &self::index()).unwrap();
    assert_eq!(read_all(&log, 100).len(), 400);
    assert_eq!(log.append(append(stream(), Expected::NoStream, 1)).await.unwrap().last.get(), 401);
}

fn flip_in(target: &Path, name: &str) {
    let path = target.join("segments").join(name);
    let mut bytes = fs::read(&path).unwrap();
    let at = offsets(&bytes)[4] + 90;
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

/// Whenever a backup is killed, the one before it is there and sound, and the next one succeeds.
#[tokio::test]
async fn a_backup_that_is_cut_off_leaves_the_one_before_it() {
    let (data, index) = written(100).await;
    let (data, home) = (data.path(), TempDir::new().unwrap());
    let target = home.path().join("backup");
    // Nothing counts without the manifest.
    fs::create_dir_all(target.join("manifest.new")).unwrap();
    refused(&backup(data, &target), "manifest.new");
    refused(&verify(&target), "contains no backup");
    refused(&restore(&target, &home.path().join("new"), &[]), "run it again");
    fs::remove_dir(target.join("manifest.new")).unwrap();
    let mut known = good(&backup(data, &target));

    // All of the segments, and no manifest: the tail that the old one names has grown.
    more(data, &index, 100, 200).await;
    fs::create_dir(target.join("manifest.new")).unwrap();
    refused(&backup(data, &target), "manifest.new");
    let verified = good(&verify(&target));
    assert_eq!((&verified["position"], &verified["hash"]), (&known["position"], &known["hash"]));
    let old = home.path().join("old");
    assert_eq!(good(&restore(&target, &old, &[]))["position"], 200);
    assert_eq!(read_all(&try_open(&old, &self::index()).unwrap(), 100).len(), 200);
    fs::remove_dir(target.join("manifest.new")).unwrap();

    // Killed at any moment.
    for turn in 0..12 {
        more(data, &index, 300 + 60 * turn, 60).await;
        let mut child = Command::new(env!("CARGO_BIN_EXE_magnum"))
            .args(["backup", "--data", path(data), path(&target)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(5 * turn as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        let verified = good(&verify(&target));
        let position = |of: &Value| of["position"].as_u64().unwrap();
        assert!(position(&verified) >= position(&known), "{verified} {known}");
        known = verified;
    }
    assert_eq!(good(&backup(data, &target))["position"], 2040);
    good(&verify(&target));
    let left = fs::read_dir(target.join("segments")).unwrap().map(|it| it.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| !name.to_str().unwrap().ends_with(".seg")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_position_or_a_time_ends_a_restore_at_a_whole_append() {
    let (data, index) = written(150).await;
    let (data, home) = (data.path(), TempDir::new().unwrap());
    let target = home.path().join("backup");
    good(&backup(data, &target));
    let log = try_open(data, &index).unwrap();
    let events = read_all(&log, 100);
    log.close().await;
    let hash = |position: u64| to_hex(&events[position as usize - 1].hash);
    let cases = [
        ("--to-position", "1".to_owned(), None),
        ("--to-position", "2".to_owned(), Some(2)),
        ("--to-position", "3".to_owned(), Some(2)),
        ("--to-position", "171".to_owned(), Some(170)),
        ("--to-position", "300".to_owned(), Some(300)),
        ("--to-time", time(0).rfc3339(), Some(2)),
        ("--to-time", time(77).rfc3339(), Some(156)),
        ("--to-time", Timestamp(time(77).0 + 1).rfc3339(), Some(156)),
        ("--to-time", Timestamp(time(77).0 - 1).rfc3339(), Some(154)),
        ("--to-time", "2100-01-01T00:00:00Z".to_owned(), Some(300)),
        ("--to-time", Timestamp(time(0).0 - 1).rfc3339(), None),
    ];
    for (number, (option, value, ends)) in cases.into_iter().enumerate() {
        let new = home.path().join(format!("new-{number}"));
        let done = restore(&target, &new, &[option, &value]);
        let Some(ends) = ends else {
            refused(&done, "no append");
            assert!(!new.exists(), "{option} {value}");
            continue;
        };
        let said = good(&done);
        assert_eq!(said["position"], ends, "{option} {value}: {said}");
        assert_eq!(said["hash"], hash(ends), "{option} {value}");
        assert_eq!(said["events_left_out"], 300 - ends, "{option} {value}");
        assert_eq!(said["last_event_at"], time(ends as usize / 2 - 1).rfc3339());
        let log = try_open(&new, &self::index()).unwrap();
        assert_eq!(read_all(&log, 100), events[..ends as usize], "{option} {value}");
        let next = log.append(append(stream(), Expected::NoStream, 1)).await.unwrap();
        assert_eq!(next.first, Position(ends + 1), "{option} {value}");
        log.close().await;
        assert_eq!(magnum(&new, &["log", "verify"]).code, 0);
    }
    // People are told as well, and asked.
    let new = home.path().join("asked");
    let args = ["restore", path(&target), "--data", path(&new), "--to-position", "171"];
    let asked = magnum(data, &args);
    refused(&asked, "Use --yes");
    for words in ["as of position 170", "130 events after position 170", "Stop the server"] {
        assert!(asked.err.contains(words), "{words}: {asked:?}");
    }
    assert!(!new.exists());
}

/// Any file of a backup that is not what was copied is named, and nothing is restored from it but
/// what lies before the damage, if that is asked for.
#[tokio::test]
async fn damage_is_found_in_every_file() {
    let (data, _index) = written(150).await;
    let (data, home) = (data.path(), TempDir::new().unwrap());
    let target = home.path().join("backup");
    good(&backup(data, &target));
    let sound = bytes(&target);
    type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;
    let damages: [(&str, Damage); 6] = [
        ("one bit", |mut bytes| {
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            bytes[used / 2] ^= 4;
            Some(bytes)
        }),
        ("the first byte", |mut bytes| {
            bytes[0] ^= 4;
            Some(bytes)
        }),
        ("the last byte in use", |mut bytes| {
            let used = bytes.iter().rposition(|byte| !byte.is_ascii_whitespace() && *byte != 0);
            bytes[used.unwrap()] ^= 4;
            Some(bytes)
        }),
        ("half of it", |mut bytes| {
            bytes.truncate(bytes.len() / 2);
            Some(bytes)
        }),
        ("nothing in it", |_| Some(Vec::new())),
        ("missing", |_| None),
    ];
    for file in sound.keys() {
        for (what, damage) in &damages {
            match damage(sound[file].clone()) {
                Some(bytes) => fs::write(file, bytes).unwrap(),
                None => fs::remove_file(file).unwrap(),
            }
            let name = Path::new(file).file_name().unwrap().to_str().unwrap();
            let verified = verify(&target);
            assert_eq!(verified.code, 1, "{what} of {name}: {verified:?}");
            assert!(verified.err.contains(name), "{what} of {name}: {verified:?}");
            let new = home.path().join("new");
            let done = restore(&target, &new, &[]);
            assert_eq!(done.code, 1, "{what} of {name}: {done:?}");
            assert!(done.err.to_lowercase().contains("use another backup"), "{what}: {done:?}");
            assert!(!new.exists(), "{what} of {name}");
            fs::write(file, &sound[file]).unwrap();
        }
    }
    good(&verify(&target));

    flip_in(&target, "0000000003.seg");
    let done = restore(&target, &home.path().join("new"), &[]);
    let (_, rest) = done.err.split_once("--to-position ").unwrap_or_else(|| panic!("{done:?}"));
    let position: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let before = home.path().join("before");
    let said = good(&restore(&target, &before, &["--to-position", &position]));
    assert_eq!(said["position"].to_string(), position);
    let log = try_open(&before, &index()).unwrap();
    assert_eq!(read_all(&log, 100).len().to_string(), position);
}

/// What a manifest says besides the hashes of its files is compared with them too.
#[tokio::test]
async fn a_manifest_that_contradicts_its_files_is_found() {
    let (data, _index) = written(150).await;
    let (data, home) = (data.path(), TempDir::new().unwrap());
    let target = home.path().join("backup");
    good(&backup(data, &target));
    let sound = Manifest::read(&target).unwrap().unwrap();
    let first = Manifest { first: Position(2), ..sound.clone() };
    let epoch = Manifest { epoch: 0, ..sound.clone() };
    for changed in [first, epoch] {
        changed.write(&target).unwrap();
        let verified = verify(&target);
        assert_eq!(verified.code, 1, "{verified:?}");
        assert!(verified.err.contains("it was changed"), "{verified:?}");
    }
    sound.write(&target).unwrap();
    good(&verify(&target));
}

/// A damaged log spoils no backup.
#[tokio::test]
async fn a_damaged_log_is_not_backed_up() {
    let (data, index) = written(150).await;
    let (data, home) = (data.path(), TempDir::new().unwrap());
    let target = home.path().join("backup");
    let known = good(&backup(data, &target));
    more(data, &index, 150, 100).await;
    let tail = segments(&target.join("segments")).pop().unwrap();
    for name in [tail, segments(&data.join("log")).pop().unwrap()] {
        flip(data, &name, |it| offsets(it)[1] + 90);
        refused(&backup(data, &target), "magnum log verify --data");
        let verified = good(&verify(&target));
        assert_eq!(verified["hash"], known["hash"]);
        flip(data, &name, |it| offsets(it)[1] + 90);
    }
    assert_eq!(good(&backup(data, &target))["position"], 500);
}

/// A backup is never overwritten by what does not continue it.
#[tokio::test]
async fn a_backup_is_continued_by_its_own_log_only() {
    let (data, index) = written(150).await;
    let (data, home) = (data.path(), TempDir::new().unwrap());
    let target = home.path().join("backup");
    good(&backup(data, &target));
    let sound = bytes(&target);
    let (other, _) = written(200).await;
    refused(&backup(other.path(), &target), "of data directory");

    let new = home.path().join("new");
    good(&restore(&target, &new, &["--to-position", "200"]));
    refused(&backup(&new, &target), "does not have");
    let own = self::index();
    more(&new, &own, 100, 100).await;
    refused(&backup(&new, &target), "does not have");
    assert!(bytes(&target) == sound, "it is left as it was");
    good(&backup(&new, &home.path().join("other")));

    // The manifest of another backup.
    let manifest = fs::read(home.path().join("other/manifest.json")).unwrap();
    fs::write(target.join("manifest.json"), manifest).unwrap();
    assert_eq!(verify(&target).code, 1);
    assert_eq!(restore(&target, &home.path().join("no"), &[]).code, 1);
    let foreign = home.path().join("foreign");
    good(&backup(other.path(), &foreign));
    fs::copy(foreign.join("manifest.json"), target.join("manifest.json")).unwrap();
    assert_eq!(verify(&target).code, 1);
    refused(&restore(&target, &home.path().join("no"), &[]), "of data directory");
    assert!(!home.path().join("no").exists());
    let newer = fs::read_to_string(foreign.join("manifest.json")).unwrap();
    let newer = newer.replace("\"format\": 1", "\"format\": 2");
    fs::write(foreign.join("manifest.json"), newer).unwrap();
    refused(&verify(&foreign), "use a newer magnum");
    // And one that the log does continue.
    more(data, &index, 150, 1).await;
    fs::remove_dir_all(&foreign).unwrap();
    good(&backup(data, &foreign));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let (data, _index) = written(3).await;
    let (data, home) = (data.path(), TempDir::new().unwrap());
    let at = |name: &str| home.path().join(name);
    let target = at("backup");
    good(&backup(data, &target));
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/letter.txt"), "x").unwrap();
    fs::create_dir_all(at("half/log.new")).unwrap();
    fs::create_dir_all(at("none/log")).unwrap();
    let before = bytes(home.path());

    refused(&backup(&at("nothing"), &at("t")), "no such directory");
    refused(&backup(&at("none"), &at("t")), "has no events");
    refused(&backup(data, &at("full")), "letter.txt");
    refused(&backup(data, &at("full/letter.txt")), "letter.txt");
    refused(&backup(data, data), "is in the data directory");
    refused(&verify(&at("nothing")), "contains no backup");
    refused(&restore(&at("nothing"), &at("t"), &[]), "contains no backup");
    refused(&restore(&target, &at("full"), &[]), "is not empty: it contains letter.txt");
    refused(&restore(&target, &at("full/letter.txt"), &[]), "letter.txt");
    refused(&restore(&target, &at("half"), &[]), "log.new");
    refused(&restore(&target, data, &[]), "is not empty");
    refused(&restore(&target, &at("t"), &["--to-position", "7"]), "ends at position 6");
    refused(&restore(&target, &at("t"), &["--to-position", "0"]), "no append");
    for wrong in [
        &["--to-position", "x"][..],
        &["--to-position", "-1"],
        &["--to-time", "yesterday"],
        &["--to-time", "2026-11-24T20:00:00Z", "--to-position", "1"],
    ] {
        let done = restore(&target, &at("t"), wrong);
        assert_eq!(done.code, 2, "{wrong:?}: {done:?}");
    }
    for wrong in [&["restore", path(&target)][..], &["restore"], &["backup"]] {
        let done = magnum(data, wrong);
        assert_eq!(done.code, 2, "{wrong:?}: {done:?}");
    }
    assert!(!at("t").exists());
    assert!(bytes(home.path()) == before, "nothing was changed");
    good(&restore(&target, &at("t"), &[]));
}
