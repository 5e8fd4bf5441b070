//! The files of the real program: their modes, links among them, files that are removed, replaced
//! or damaged under a server, and what a log without its keys gives away.
//!
//! Not here: the same on a simulated disk (`log_segment`), a full disk (`faults`).

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use magnum::events::log::export::to_hex;
use reqwest::Method;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Answer, Done, Options, PATIENCE, Server, run, wait_for, wait_until};
use crate::log_tools::flip;
use crate::replay::{magnum, on_files};
use crate::requests::baymodel;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The program, started where nobody takes any right from what is made.
fn open_to_all() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_magnum")]);
    command
}

fn done(args: &[&str]) -> Done {
    let done = run(open_to_all().args(args));
    assert_eq!(done.code, 0, "{args:?}: {done:?}");
    done
}

/// A server that ends with the value.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _over = self.0.kill();
        let _over = self.0.wait();
    }
}

/// Fails if somebody else may do anything with what is at a path or below it.
#[track_caller]
fn assert_private(path: &Path) {
    let found = fs::symlink_metadata(path).unwrap();
    let expected = if found.is_dir() { 0o700 } else { 0o600 };
    let mode = found.permissions().mode() & 0o777;
    assert_eq!(mode, expected, "{}: {mode:o}", path.display());
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            assert_private(&entry.unwrap().path());
        }
    }
}

#[test]
fn whatever_the_program_makes_is_for_its_user_alone() {
    let home = TempDir::new().unwrap();
    let at = |name: &str| home.path().join(name);
    let mut command = open_to_all();
    command.args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(at("data")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut served = Served(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(served.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("magnum: listening on ").unwrap().to_owned();
    let create = ["container-create", "--name", "c", "--image", "i", "--env", "PIN=7391"];
    let made = magnum(&url, &create);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(at("data/keys/default.key").exists());
    done(&["backup", "--data", text(&at("data")), text(&at("backup"))]);
    assert_private(&at("backup"));
    // One of an earlier version is closed, also what is kept of it.
    for folder in ["backup", "backup/segments"] {
        with_mode(&at(folder), 0o755);
    }
    with_mode(&at("backup/segments/0000000001.seg"), 0o644);
    done(&["backup", "--data", text(&at("data")), text(&at("backup"))]);
    assert_private(&at("backup"));
    let bundle = at("bundle.json");
    fs::write(&bundle, "of an earlier version").unwrap();
    with_mode(&bundle, 0o644);
    let mut export = open_to_all();
    export.args(["bundle", "export", "container/c", text(&bundle)]).env("MAGNUM_URL", &url);
    let exported = run(&mut export);
    assert_eq!(exported.code, 0, "{exported:?}");
    assert_private(&bundle);
    kill_process(Pid::from_child(&served.0), Signal::TERM).unwrap();
    assert!(served.0.wait().unwrap().success());
    assert_private(&at("data"));
    done(&["restore", text(&at("backup")), "--data", text(&at("restored")), "--yes"]);
    assert_private(&at("restored"));
    let lines = done(&["log", "export", "--data", text(&at("data"))]).out;
    fs::write(at("lines"), lines).unwrap();
    done(&["log", "import", "--data", text(&at("imported")), text(&at("lines"))]);
    assert_private(&at("imported"));
    done(&["log", "anchor", "--data", text(&at("data")), "--new-key", text(&at("sign"))]);
    assert_private(&at("sign"));
    let public = fs::metadata(at("sign.pub")).unwrap().permissions().mode() & 0o777;
    assert_eq!(public, 0o644, "anybody may check a signature");
}

/// Tries to serve a data directory, which is expected to be refused.
fn refused(data: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    command.args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0", "--data", text(data)]);
    let done = run(&mut command);
    assert_eq!((done.code, done.out.as_str()), (1, ""), "{done:?}");
    done.err
}

fn with_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_data_directory_of_an_earlier_version_is_closed_and_one_that_others_change_refused() {
    let mut server = Server::start(Options::fake());
    server.post("/v1/baymodels", &baymodel("b")).expect(201);
    server.stop();
    let data = server.data();
    for folder in [&data, &data.join("log"), &data.join("cache")] {
        with_mode(folder, 0o755);
    }
    with_mode(&data.join("log/0000000001.seg"), 0o644);
    server.restart();
    assert!(server.stderr().contains("could read this data directory"), "{}", server.stderr());
    server.get("/v1/baymodels/b").expect(200);
    server.stop();
    assert_private(&data);
    for (path, mode) in [("", 0o720), ("log", 0o702), ("log/0000000001.seg", 0o620)] {
        let path = data.join(path);
        with_mode(&path, mode);
        let words = refused(&data);
        assert!(words.contains(&format!("chmod -R go-rwx {}", data.display())), "{words}");
        with_mode(&path, if path.is_dir() { 0o700 } else { 0o600 });
    }
    server.restart();
}

#[test]
fn links_in_a_data_directory_are_not_followed_but_it_may_be_one() {
    let home = TempDir::new().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::write(at("precious"), "precious").unwrap();
    for link in ["log/lock", "keys/default.new", "keys/default.key", "log", "keys", "cache"] {
        let data = TempDir::new().unwrap();
        let path = data.path().join(link);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(at("precious"), &path).unwrap();
        let words = refused(data.path());
        assert!(words.contains("is a symbolic link"), "{link}: {words}");
        assert_eq!(fs::read(at("precious")).unwrap(), b"precious", "{link}");
    }
    fs::create_dir(at("data")).unwrap();
    symlink(at("data"), at("link")).unwrap();
    let server = Server::start(Options::fake().data(&at("link")));
    server.post("/v1/baymodels", &baymodel("b")).expect(201);
    assert!(at("data/log/0000000001.seg").exists());
}

/// Whoever was told 201 finds it again, or the service says in time that it can not.
#[test]
fn a_data_directory_that_is_removed_is_noticed_before_the_next_answer() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let server = Server::start(Options::fake().data(&data));
    server.post("/v1/baymodels", &baymodel("before")).expect(201);
    // The caches may be written meanwhile.
    wait_until("the files to be gone", PATIENCE, || {
        fs::remove_dir_all(&data).is_ok() || !data.exists()
    });
    let answer = server.post("/v1/baymodels", &baymodel("after"));
    assert!([500, 503].contains(&answer.status), "{}", answer.text);
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("were removed"), "{}", ready.text);
}

#[test]
fn a_removed_data_directory_is_noticed_though_nothing_is_changed() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let server = Server::start(Options::fake().data(&data));
    wait_until("the files to be gone", PATIENCE, || {
        fs::remove_dir_all(&data).is_ok() || !data.exists()
    });
    wait_until("a red light", PATIENCE, || server.get("/readyz").text.contains("were removed"));
}

#[test]
fn a_data_directory_that_is_renamed_or_replaced_is_noticed_before_the_next_answer() {
    let home = TempDir::new().unwrap();
    let (data, moved) = (home.path().join("data"), home.path().join("moved"));
    for is_replaced in [false, true] {
        let mut server = Server::start(Options::fake().data(&data));
        let name = format!("kept-{is_replaced}");
        server.post("/v1/baymodels", &baymodel(&name)).expect(201);
        fs::rename(&data, &moved).unwrap();
        if is_replaced {
            fs::create_dir_all(data.join("log")).unwrap();
        }
        let answer = server.post("/v1/baymodels", &baymodel(&format!("lost-{is_replaced}")));
        assert!([500, 503].contains(&answer.status), "{}", answer.text);
        let ready = server.get("/readyz");
        let words = ["is not there any more", "another directory has taken the place"];
        assert!(words.iter().any(|it| ready.text.contains(it)), "{}", ready.text);
        server.stop();
        // What was made at its place meanwhile.
        drop(fs::remove_dir_all(&data));
        fs::rename(&moved, &data).unwrap();
    }
    fs::rename(&data, &moved).unwrap();
    let server = Server::start(Options::fake().data(&moved));
    // What was refused may be there as well: it was written, and could not be told.
    let is_kept = |model: &&Value| model["name"].as_str().unwrap().starts_with("kept");
    assert_eq!(server.list("/v1/baymodels").iter().filter(is_kept).count(), 2);
}

/// A server that was stopped, and a byte of whose log is another; its start does not look for that.
fn damaged() -> Server {
    let mut server = Server::start(Options::fake().arg("--log-check=0"));
    for name in ["one", "damaged-one", "three"] {
        server.post("/v1/baymodels", &baymodel(name)).expect(201);
    }
    server.stop();
    flip(&server.data(), "0000000001.seg", |bytes| {
        let name = b"damaged-one";
        bytes.windows(name.len()).position(|window| window == name).unwrap()
    });
    server
}

#[test]
fn a_log_that_the_views_cannot_be_made_of_is_refused_with_what_helps() {
    let server = damaged();
    // Otherwise only what was added since is read.
    fs::remove_dir_all(server.data().join("cache/views")).unwrap();
    let words = refused(&server.data());
    assert!(words.contains("the log is damaged in segment 1 (0000000001.seg), offset "), "{words}");
    assert!(words.contains("magnum log repair --truncate"), "{words}");
}

#[test]
fn damage_that_is_found_later_turns_the_light_red_and_says_what_helps() {
    let mut server = damaged();
    server.restart();
    server.get("/v1/baymodels/one").expect(200);
    let answer = server.get("/v1/events?limit=1000");
    assert_eq!((answer.status, &answer.json["errors"][0]["code"]), (500, &json!("log-damaged")));
    assert!(!answer.text.contains(".seg"), "{}", answer.text);
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 503);
    for words in ["segment 1 (0000000001.seg), offset ", "magnum log repair --truncate"] {
        assert!(ready.text.contains(words), "{}", ready.text);
    }
}

/// `POST /v1/containers` with the only secret in the environment, and a key.
fn create(server: &Server, pin: &str) -> Answer {
    let body = json!({ "name": "c", "image": "i", "environment": { "PIN": pin } });
    let key = [("idempotency-key", "deploy-42")];
    server.send(Method::POST, "/v1/containers", &key, Some(&body))
}

/// The digest of the request that was recorded with a command id.
fn digest(data: &Path, id: &str) -> String {
    let exported = on_files(data, &["log", "export"]).out;
    let lines = exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut digests = lines.filter(|line| line["command"]["id"] == id);
    digests.next().unwrap()["command"]["digest"].as_str().unwrap().to_owned()
}

/// However long a start takes, an operator can end it, and nobody hears that the service listens.
#[test]
fn a_start_that_takes_long_ends_when_it_is_told_to() {
    let data = TempDir::new().unwrap();
    let lock = data.path().join("log/lock");
    fs::create_dir(data.path().join("log")).unwrap();
    // Nobody writes what the start reads of this one, so it goes on forever.
    mknodat(CWD, &lock, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    command.args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(data.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut served = Served(command.spawn().unwrap());
    let mut stdout = served.0.stdout.take().unwrap();
    let _reader_is_there = wait_for("the log to be opened", PATIENCE, || {
        open(&lock, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok()
    });
    kill_process(Pid::from_child(&served.0), Signal::TERM).unwrap();
    let status = wait_for("the end", PATIENCE, || served.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

/// The log keeps nothing by which whoever has it, and not the key, could try all values.
#[test]
fn a_repeated_request_is_known_by_a_digest_that_dies_with_the_key() {
    let mut server = Server::start(Options::fake());
    let first = create(&server, "7391").expect(201);
    let keys = server.get("/v1/keys").expect(200);
    let key = keys["keys"][0]["id"].as_str().unwrap().to_owned();
    let recorded = digest(&server.data(), "default/deploy-42");
    assert_eq!(recorded.len(), 64);
    assert!(recorded.starts_with(&(to_hex(b"key1") + &key)), "{recorded}");
    server.stop();
    server.restart();
    assert_eq!(create(&server, "7391").expect(201)["uuid"], first["uuid"]);
    assert_eq!(create(&server, "7392").status, 422);
    let erased = server.delete(&format!("/v1/keys/{key}"));
    assert_eq!((erased.status, erased.header("x-magnum-unkeyed-digests")), (204, "0"));
    // Nobody can tell what the first request was: one effect, and the first answer.
    for pin in ["7391", "7392"] {
        assert_eq!(create(&server, pin).expect(201)["uuid"], first["uuid"]);
    }
    assert_eq!(digest(&server.data(), "default/deploy-42"), recorded);
}

/// What changes nothing is not repeated by a key, and makes no key file of its project.
#[test]
fn a_request_that_changes_nothing_makes_no_key() {
    let server = Server::start(Options::fake());
    for method in [Method::GET, Method::HEAD] {
        let key = [("idempotency-key", "look")];
        assert_eq!(server.send(method, "/v1/containers", &key, None).status, 200);
    }
    assert!(!server.data().join("keys/default.key").exists());
    create(&server, "7391").expect(201);
    assert!(server.data().join("keys/default.key").exists());
}

/// Nobody else's process reads the memory of the service, and no crash writes it to the disk.
#[test]
fn the_service_leaves_no_dump_of_its_memory() {
    let server = Server::start(Options::fake());
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{core}");
}

/// The kernel gives the memory of a process that may not be dumped to root, whoever runs it.
#[test]
fn other_processes_of_the_services_user_do_not_read_its_memory() {
    const USER: u32 = 65_534;
    let home = TempDir::new().unwrap();
    let (program, data) = (home.path().join("magnum"), home.path().join("data"));
    // Where that user may execute it, whatever folder the tests were built in.
    fs::copy(env!("CARGO_BIN_EXE_magnum"), &program).unwrap();
    with_mode(home.path(), 0o755);
    fs::create_dir(&data).unwrap();
    with_mode(&data, 0o700);
    chown(&data, Some(USER), None).unwrap();
    let mut command = Command::new(&program);
    command.args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(&data).uid(USER).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut served = Served(command.stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(served.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("listening"), "{line}");
    let other = Served(
        Command::new("sh").args(["-c", "read _"]).stdin(Stdio::piped()).uid(USER).spawn().unwrap(),
    );
    let owner = |of: &Served| {
        let path = format!("/proc/{}/environ", of.0.id());
        fs::metadata(path).unwrap().uid()
    };
    wait_until("the other program to run", PATIENCE, || owner(&other) == USER);
    assert_eq!(owner(&served), 0);
}

#[test]
fn a_backup_into_the_data_directory_is_refused() {
    let mut server = Server::start(Options::fake());
    server.stop();
    let data = server.data();
    for target in [data.join("bk"), data.join("log/bk")] {
        let done = on_files(&data, &["backup", text(&target)]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains("is in the data directory"), "{done:?}");
        assert!(!target.exists());
    }
}
