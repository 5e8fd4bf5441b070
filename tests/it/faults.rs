//! What goes wrong around a server: the engine away, the data directory damaged, the disk full.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::backend::SOCKET;
use crate::harness::{Options, PATIENCE, Server, docker, wait_for, wait_until};
use crate::requests::baymodel;

/// A way to the engine that can be cut and mended: the engine "goes away" for one server only.
pub struct Cable {
    pub path: PathBuf,
    ends: Arc<Mutex<Vec<UnixStream>>>,
    _home: TempDir,
}

impl Cable {
    /// Not plugged in yet.
    pub fn new() -> Self {
        let home = TempDir::new().unwrap();
        Self { path: home.path().join("docker.sock"), ends: Arc::default(), _home: home }
    }

    pub fn plug(&self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let ends = self.ends.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = UnixStream::connect(SOCKET) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    ends.lock().unwrap().push(from.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ended = io::copy(&mut from, &mut to);
                        let _closed = to.shutdown(std::net::Shutdown::Write);
                    });
                }
            }
        });
    }

    pub fn cut(&self) {
        fs::remove_file(&self.path).unwrap();
        for end in self.ends.lock().unwrap().drain(..) {
            let _closed = end.shutdown(std::net::Shutdown::Both);
        }
    }

    fn options(&self) -> Options {
        Options::docker().arg("--docker-socket").arg(self.path.to_str().unwrap())
    }
}

fn node_status(server: &Server) -> String {
    let nodes = server.get("/v1/nodes/detail").expect(200);
    nodes["nodes"][0]["status"].as_str().unwrap_or_default().to_owned()
}

fn container(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/containers/{id}")).expect(200)
}

#[test]
fn an_engine_that_is_not_there_blocks_work_in_words_until_it_is_back() {
    let cable = Cable::new();
    let server = Server::start(cable.options());
    wait_until("an unavailable node", PATIENCE, || node_status(&server) == "unavailable");
    let headers = [("Prefer", "respond-async")];
    let body = json!({"name": "early", "image": "busybox:local", "command": "sleep 600"});
    let asked = server.send(Method::POST, "/v1/containers", &headers, Some(&body)).expect(202);
    let id = asked["uuid"].as_str().unwrap();
    let task = wait_for("a blocked task", PATIENCE, || {
        let task = container(&server, id)["task"].clone();
        task["blocked_on"].is_string().then_some(task)
    });
    assert!(task["blocked_on"].as_str().unwrap().starts_with("node "), "{task}");
    assert!(task["reason"].as_str().unwrap().contains("not available"), "{task}");
    assert!(!task.to_string().contains("docker.sock"), "where the engine listens is ours: {task}");
    assert!(task["retry_at"].is_string() && task["attempts"].as_u64() >= Some(1), "{task}");

    cable.plug();
    wait_until("the container", PATIENCE, || container(&server, id)["status"] == "Stopped");
    assert_eq!(node_status(&server), "available");

    cable.cut();
    wait_until("an unavailable node", PATIENCE, || node_status(&server) == "unavailable");
    let path = format!("/v1/containers/{id}/start");
    server.send(Method::PUT, &path, &headers, None).expect(202);
    cable.plug();
    wait_until("a running container", PATIENCE, || container(&server, id)["status"] == "Running");
}

/// F19: what happened while nobody listened is found by looking at everything.
#[test]
fn f19_what_happens_while_the_engine_is_out_of_sight_is_found_afterwards() {
    let cable = Cable::new();
    cable.plug();
    let server = Server::start(cable.options());
    wait_until("an available node", PATIENCE, || node_status(&server) == "available");
    let made: Vec<String> = ["dies", "goes"]
        .into_iter()
        .map(|name| {
            let body = json!({"name": name, "image": "busybox:local", "command": "sleep 600"});
            let id = server.post("/v1/containers", &body).expect(201)["uuid"].clone();
            let id = id.as_str().unwrap().to_owned();
            server.put(&format!("/v1/containers/{id}/start")).expect(200);
            id
        })
        .collect();
    cable.cut();
    wait_until("an unavailable node", PATIENCE, || node_status(&server) == "unavailable");
    docker(&["kill", &format!("magnum-{}", made[0])]);
    docker(&["rm", "-f", &format!("magnum-{}", made[1])]);
    cable.plug();
    wait_until("the one that died", PATIENCE, || {
        let died = container(&server, &made[0]);
        died["status"] == "Stopped" && died["exit_code"] == 137
    });
    wait_until("the one that is gone", PATIENCE, || {
        container(&server, &made[1])["status"] == "Error"
    });
    server.delete(&format!("/v1/containers/{}", made[1])).expect(204);
}

/// Starts the program on a folder and gives what it said when it ended.
fn refused(data: &Path) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_magnum"))
        .args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    output
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_data_folder_in_use_is_refused_and_says_by_whom() {
    let server = Server::start(Options::fake());
    let said = words(&refused(&server.data()));
    assert!(said.contains("in use by process"), "{said}");
    server.get("/healthz").expect(200);
}

#[test]
fn a_data_folder_that_is_no_folder_is_refused_in_words() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "x").unwrap();
    let said = words(&refused(&file));
    assert!(said.contains(file.to_str().unwrap()), "{said}");
}

/// The first segment file of a data directory.
fn segment(data: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(data.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "seg"))
        .collect();
    files.sort();
    files.remove(0)
}

/// F48: damage in the middle is refused, with the place and the command that helps.
#[test]
fn f48_a_damaged_log_is_refused_and_never_skipped() {
    let mut server = Server::start(Options::fake());
    for turn in 0..20 {
        server.post("/v1/baymodels", &baymodel(&format!("m{turn}"))).expect(201);
    }
    assert!(server.stop().success());
    let file = fs::File::options().read(true).write(true).open(segment(&server.data())).unwrap();
    let bytes = fs::read(segment(&server.data())).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let place = end as u64 / 2;
    file.write_all_at(&[bytes[end / 2] ^ 0x10], place).unwrap();
    // The caches would vouch for what was read before; without them everything is read again.
    fs::remove_dir_all(server.data().join("cache")).unwrap();
    let said = words(&refused(&server.data()));
    assert!(said.contains("offset") && said.contains("magnum log"), "{said}");
}

fn lists(server: &Server) -> Vec<Value> {
    ["bays", "baymodels", "nodes", "containers"]
        .iter()
        .map(|collection| server.get(&format!("/v1/{collection}/detail")).expect(200))
        .collect()
}

/// The read models can be rebuilt: without them, or with rubbish in their place, all is the same.
#[test]
fn losing_or_damaging_the_cache_changes_nothing_that_a_user_sees() {
    let mut server = Server::start(Options::fake());
    for turn in 0..10 {
        let body = json!({"name": format!("c{turn}"), "image": "busybox", "command": "sleep 9"});
        let id = server.post("/v1/containers", &body).expect(201)["uuid"].clone();
        if turn % 3 == 0 {
            server.delete(&format!("/v1/containers/{}", id.as_str().unwrap())).expect(204);
        }
    }
    assert!(server.stop().success());
    server.restart();
    let strip = |lists: Vec<Value>| {
        // The model in memory forgets its containers, so what differs after a restart is found
        // as drift; what is compared is everything else, and both restarts see the same.
        let text = serde_json::to_string(&lists).unwrap();
        text.replace(server_url(&text), "")
    };
    let before = wait_for("the drift to be recorded", PATIENCE, || all_in_error(&server));
    assert!(server.stop().success());
    fs::remove_dir_all(server.data().join("cache")).unwrap();
    server.restart();
    assert_eq!(strip(before.clone()), strip(lists(&server)), "without the cache");
    assert!(server.stop().success());
    let mut spoilt = 0;
    for part in ["log", "views"] {
        for entry in fs::read_dir(server.data().join("cache").join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::write(path, b"rubbish").unwrap();
                spoilt += 1;
            }
        }
    }
    assert!(spoilt >= 4, "the files of two stores: {spoilt}");
    server.restart();
    assert_eq!(strip(before), strip(lists(&server)), "with a damaged cache");
}

fn all_in_error(server: &Server) -> Option<Vec<Value>> {
    let all = lists(server);
    let lost = |container: &Value| container["status"] == "Error";
    all[3]["containers"].as_array().unwrap().iter().all(lost).then_some(all)
}

/// The server's address in the links of a list, which may differ from start to start.
fn server_url(text: &str) -> &str {
    let start = text.find("http://127.0.0.1:").unwrap();
    let end = text[start + 17..].find('/').unwrap();
    &text[start..start + 17 + end]
}

/// A small disk of its own.
struct Disk(TempDir);

impl Disk {
    fn new(mib: u32) -> Self {
        let home = TempDir::new().unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(home.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "a small disk needs the right to mount");
        Self(home)
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        while io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// F48: a full disk refuses changes in words, goes on reading, and recovers by itself.
#[test]
fn f48_a_full_disk_refuses_changes_and_recovers() {
    let disk = Disk::new(64);
    let data = disk.0.path().join("data");
    let options = Options::fake().data(&data).arg("--segment-size").arg("1MiB");
    // More than the read models set aside for this: what they give up is not for changes.
    let server = Server::start(options.arg("--reserve").arg("8MiB"));
    server.post("/v1/baymodels", &baymodel("before")).expect(201);
    let ballast = disk.fill();
    wait_until("a refusal", PATIENCE, || {
        server.post("/v1/baymodels", &baymodel("full")).status == 507
    });
    let refused = server.post("/v1/baymodels", &baymodel("full"));
    assert_eq!(refused.status, 507);
    assert!(refused.text.contains("free"), "{}", refused.text);
    // While the read models are opened again, in the room that was set aside, nobody is answered.
    wait_until("reads to go on", PATIENCE, || server.get("/v1/baymodels/before").status == 200);
    assert_eq!(server.get("/readyz").status, 503);
    fs::remove_file(ballast).unwrap();
    wait_until("room again", PATIENCE, || {
        server.post("/v1/baymodels", &baymodel("after")).status == 201
    });
    server.get("/v1/baymodels/after").expect(200);
    wait_until("readiness", PATIENCE, || server.get("/readyz").status == 200);
}

/// F48: the service also starts on a full disk, from the log alone, and keeps caches again later.
#[test]
fn f48_a_full_disk_is_started_on() {
    let disk = Disk::new(64);
    let data = disk.0.path().join("data");
    let options = Options::fake().data(&data).arg("--segment-size").arg("1MiB");
    let mut server = Server::start(options.arg("--reserve").arg("8MiB"));
    server.post("/v1/baymodels", &baymodel("before")).expect(201);
    server.stop();
    let ballast = disk.fill();
    server.restart();
    server.get("/v1/baymodels/before").expect(200);
    assert_eq!(server.post("/v1/baymodels", &baymodel("full")).status, 507);
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("no changes are accepted"), "{}", ready.text);
    assert!(server.stderr().contains("no space for a cache"), "{}", server.stderr());
    fs::remove_file(ballast).unwrap();
    wait_until("room again", PATIENCE, || {
        server.post("/v1/baymodels", &baymodel("after")).status == 201
    });
    wait_until("readiness", PATIENCE, || server.get("/readyz").status == 200);
    server.stop();
    server.restart();
    for name in ["before", "after"] {
        server.get(&format!("/v1/baymodels/{name}")).expect(200);
    }
}

/// F35: what is secret shows nowhere but in the container.
#[test]
fn f35_environment_values_show_nowhere() {
    let server = Server::start(Options::fake());
    let secret = "tr0ub4dor-and-3";
    let body = json!({
        "name": "web", "image": "busybox", "command": "sleep 9",
        "environment": {"PASSWORD": secret},
    });
    let made = server.post("/v1/containers", &body).expect(201);
    let id = made["uuid"].as_str().unwrap();
    assert!(made.to_string().contains("PASSWORD"), "{made}");
    let pages = [
        format!("/v1/containers/{id}"),
        format!("/v1/containers/{id}/history"),
        "/v1/containers/detail".to_owned(),
        "/v1/events".to_owned(),
        "/metrics".to_owned(),
    ];
    for page in pages {
        let answer = server.get(&page);
        assert_eq!(answer.status, 200, "{page}");
        assert!(!answer.text.contains(secret), "{page}: {}", answer.text);
    }
    assert!(!made.to_string().contains(secret) && !server.stderr().contains(secret));
}
