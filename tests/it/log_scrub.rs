//! Damage in what a start does not read of the log, because its caches vouch for it: found before
//! the start, or while the server runs. Not here: archived logs of all shapes (`log_archive`).

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use magnum::clock;
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{EventLog, Expected, ReadError};
use tempfile::TempDir;

use crate::bounded::large_object;
use crate::harness::{Done, Options, PATIENCE, Server, run, wait_until};
use crate::log::{append, event, stream};
use crate::log_tools::{flip, index, magnum, offsets, segments, try_open, write};
use crate::requests::baymodel;

const FIRST: &str = "0000000001.seg";

/// Baymodels that are made, and the built-in one.
const MODELS: usize = 31;

/// Enough for every log here, however busy the machine is.
const ALL: &str = "--log-check=600000";

/// What is shown of damage, whoever finds it.
const WORDS: [&str; 2] = ["`magnum log verify`", "`magnum log repair --truncate`"];

/// Every record of every segment, with a byte of each in turn.
#[tokio::test]
async fn damage_in_any_record_is_found_though_the_index_knows_all() {
    let (data, index) = (TempDir::new().unwrap(), index());
    let data = data.path();
    let events = write(data, &index, &[1, 2, 3].repeat(20)).await;
    let names = segments(&data.join("log"));
    assert!(names.len() > 2, "{names:?}");
    let mut position = 0;
    for (number, name) in names.iter().enumerate() {
        let path = data.join("log").join(name);
        let sound = fs::read(&path).unwrap();
        for at in offsets(&sound) {
            position += 1;
            // The log's opening looks at the last one, and at those that segments end with.
            let is_last = offsets(&sound).last() == Some(&at);
            if is_last {
                continue;
            }
            // Somewhere in what is not a length, and never in what fills up the record.
            let length = u32::from_le_bytes(sound[at..at + 4].try_into().unwrap()) as usize;
            let byte = at + 4 + (position * 31) % (length - 4);
            flip(data, name, |_| byte);
            let log = try_open(data, &index).unwrap();
            let found = log.scrub().read_on_all_cores(&|_| true);
            let Err(ReadError::Damaged(words)) = found else { panic!("{name} {byte}: {found:?}") };
            let place = format!(
                "the log is damaged in segment {} ({name}), offset {at}, position {position}: ",
                number + 1
            );
            assert!(words.starts_with(&place), "{byte}: {words}");
            WORDS.iter().for_each(|it| assert!(words.contains(it), "{words}"));
            assert_eq!(log.health().damaged, Some(words));
            log.close().await;
            fs::write(&path, &sound).unwrap();
        }
    }
    assert_eq!(position, events.len());
    let log = try_open(data, &index).unwrap();
    let scrub = log.scrub();
    assert!(scrub.read_on_all_cores(&|_| true).unwrap());
    assert_eq!((scrub.events(), log.health().damaged.clone()), (events.len() as u64, None));
}

/// Of several damages the first is told, as `log verify` does.
#[tokio::test]
async fn the_first_of_several_damages_is_told() {
    let (data, index) = (TempDir::new().unwrap(), index());
    let data = data.path();
    write(data, &index, &[2; 40]).await;
    flip(data, FIRST, |it| offsets(it)[5] + 90);
    flip(data, FIRST, |it| offsets(it)[3] + 90);
    let log = try_open(data, &index).unwrap();
    let found = log.scrub().read(&|_| true).unwrap_err().to_string();
    assert!(found.contains("position 4:"), "{found}");
}

/// What is stopped goes on where it was, while the log is written to, and reads nothing twice and
/// nothing that was not there when it began.
#[tokio::test]
async fn a_check_goes_on_where_it_was_stopped() {
    const EVENTS: u64 = 40;
    let data = TempDir::new().unwrap();
    let options = SegmentOptions { segment_bytes: 2 << 20, folder: clock::new_uuid() };
    let log = SegmentLog::open(&data.path().join("log"), options, index()).unwrap();
    let large = || {
        let mut append = append(stream(), Expected::NoStream, 1);
        append.events = vec![event(150 << 10)];
        append
    };
    for _ in 0..EVENTS {
        log.append(large()).await.unwrap();
    }
    let (scrub, rounds, told) = (log.scrub(), Cell::new(0), AtomicU64::new(0));
    assert!(!scrub.read(&|_| false).unwrap(), "nothing may be read");
    assert_eq!(scrub.events(), 0);
    let mut before = 0;
    let is_slow = |bytes| {
        told.fetch_add(bytes, Ordering::Relaxed);
        bytes == 0
    };
    while !scrub.read(&is_slow).unwrap() {
        let now = scrub.events();
        assert!(now > before && now - before <= 2, "from {before} to {now}");
        before = now;
        rounds.set(rounds.get() + 1);
        log.append(large()).await.unwrap();
    }
    assert_eq!(scrub.events(), EVENTS);
    assert!(rounds.get() > 10, "{rounds:?}");
    let told = told.into_inner();
    assert!(told <= EVENTS * (151 << 10) && told > EVENTS * (150 << 10), "{told}");
    log.close().await;
}

/// The log of a server with a history, stopped, with its caches.
fn stopped(options: Options) -> Server {
    let mut server = Server::start(options);
    for turn in 10..40 {
        server.post("/v1/baymodels", &baymodel(&format!("m{turn}"))).expect(201);
    }
    assert!(server.stop().success());
    server
}

fn serve(data: &Path, more: &str) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    command.args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0", more, "--data"]);
    run(command.arg(data))
}

/// F48: a start that its caches let succeed is refused too, with the place and what helps.
#[test]
fn f48_damage_before_what_a_start_reads_is_refused_wherever_it_is() {
    let mut server = stopped(Options::fake().arg(ALL));
    let path = server.data().join("log").join(FIRST);
    let sound = fs::read(&path).unwrap();
    let all = offsets(&sound);
    assert!(all.len() > 30);
    for (number, at) in all.iter().enumerate().step_by(3).take_while(|(it, _)| it + 2 < all.len()) {
        flip(&server.data(), FIRST, |_| at + 8 + number);
        let done = serve(&server.data(), ALL);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{number}: {done:?}");
        let place = format!("segment 1 ({FIRST}), offset {at}, position {}: ", number + 1);
        assert!(done.err.contains(&place), "{place}: {done:?}");
        WORDS.iter().for_each(|it| assert!(done.err.contains(it), "{done:?}"));
        fs::write(&path, &sound).unwrap();
    }
    server.restart();
    assert_eq!(server.list("/v1/baymodels").len(), MODELS);
    assert!(server.stderr().contains("the log was checked"), "{}", server.stderr());
    assert_eq!(server.get("/readyz").status, 200);
}

/// What a start has no time for is found while the server runs.
#[test]
fn damage_that_a_start_had_no_time_for_turns_the_light_red() {
    let mut server = stopped(Options::fake().arg("--log-check=0"));
    let mut at = 0;
    flip(&server.data(), FIRST, |it| {
        at = offsets(it)[7];
        at + 90
    });
    server.restart();
    wait_until("the damage to be found", PATIENCE, || server.get("/readyz").status == 503);
    let ready = server.get("/readyz").text;
    let place = format!("segment 1 ({FIRST}), offset {at}, position 8: ");
    assert!(ready.contains(&place), "{ready}");
    WORDS.iter().for_each(|it| assert!(ready.contains(it), "{ready}"));
    // What is not damaged is served, and written.
    assert_eq!(server.list("/v1/baymodels").len(), MODELS);
    server.post("/v1/baymodels", &baymodel("later")).expect(201);
    wait_until("a line in the log", PATIENCE, || server.stderr().contains(&place));
    let said = server.stderr();
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    assert!(errors[0].contains(&place) && errors[0].contains(WORDS[0]), "{said}");
}

/// What an archive has taken is no damage, to either check.
#[test]
fn an_archived_log_is_sound() {
    for check in ["--log-check=0", ALL] {
        let mut server = Server::start(Options::fake().arg("--segment-size=16k").arg(check));
        for turn in 0..60 {
            server.post("/v1/baymodels", &baymodel(&format!("m{turn}"))).expect(201);
            if turn % 2 == 0 {
                server.delete(&format!("/v1/baymodels/m{turn}")).expect(204);
            }
        }
        assert!(server.stop().success());
        let home = TempDir::new().unwrap();
        let target = home.path().join("backup");
        let target = target.to_str().unwrap();
        assert_eq!(magnum(&server.data(), &["backup", target]).code, 0);
        let args = ["log", "archive", "--backup", target, "--to-position", "9999", "--yes"];
        let done = magnum(&server.data(), &[&args[..], &["-o", "json"]].concat());
        assert!(done.json()["events_taken"].as_u64() > Some(5), "{done:?}");
        let checked = |server: &Server| server.stderr().matches("the log was checked").count();
        let before = checked(&server);
        server.restart();
        wait_until("the check", PATIENCE, || checked(&server) > before);
        assert_eq!(server.get("/readyz").status, 200);
        assert_eq!(server.list("/v1/baymodels").len(), MODELS);
    }
}

/// The names of a process's threads.
fn threads(pid: u32) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map_while(Result::ok);
    let names = tasks.map(|task| fs::read_to_string(task.path().join("comm")).unwrap_or_default());
    names.map(|name| name.trim().to_owned()).collect()
}

/// A server that is told to stop does not check the rest first: this log takes seconds.
#[test]
fn a_check_does_not_hold_up_the_end() {
    let data = TempDir::new().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = SegmentOptions { segment_bytes: 64 << 20, folder: clock::new_uuid() };
        let log = SegmentLog::open(&data.path().join("log"), options, index()).unwrap();
        large_object(&log, 150, 1 << 20).await;
        log.close().await;
    });
    let mut server = Server::start(Options::fake().data(data.path()).arg("--log-check=0"));
    wait_until("the check to begin", PATIENCE, || {
        let is_done = server.stderr().contains("the log was checked");
        is_done || threads(server.pid()).contains("log-check")
    });
    let ended = server.stop();
    assert!(ended.success(), "{ended}\n{}", server.stderr());
    assert!(!server.stderr().contains("did not end in time"), "{}", server.stderr());
}
