//! `kill -9` at any moment, under load, on the real engine: everything reaches the right state by
//! itself, nothing that was acknowledged is lost, nothing is left over (F1, F2, F3, F4, F6).
//!
//! Rounds: `MAGNUM_CRASH_ROUNDS`, 10 without it. What a failed run did: `MAGNUM_CRASH_SEED`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use magnum::events::log::segment::simulated::Chance;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Http, Options, Server, docker, wait_for, wait_until};

/// Clients that ask at the same time.
const CLIENTS: usize = 4;

/// Everything settles within this time after a restart, also on a busy machine.
const SETTLE: Duration = Duration::from_secs(120);

/// A number out of the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// What clients were told, and so must hold forever.
#[derive(Default)]
struct Told {
    /// Containers whose creation was acknowledged, with the last status they were told.
    live: BTreeMap<String, &'static str>,
    /// Containers that a client is asking something of: one client at a time, so that the order
    /// of the answers is the order of the changes.
    busy: BTreeSet<String>,
    /// Containers whose deletion was asked for, acknowledged or not.
    leaving: BTreeSet<String>,
    /// Containers whose deletion was acknowledged.
    gone: BTreeSet<String>,
    /// Creations that were asked for: the key of each, to ask again after the crash (F1).
    asked: BTreeMap<String, Value>,
}

#[test]
fn kill_9_at_any_moment_leaves_every_object_in_the_right_state() {
    let rounds: u64 = setting("MAGNUM_CRASH_ROUNDS", 10);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed: u64 = setting("MAGNUM_CRASH_SEED", now);
    eprintln!("crash test: {rounds} rounds, MAGNUM_CRASH_SEED={seed}");
    let mut chance = Chance::new(seed);
    let mut server = Server::start(Options::docker().arg("--request-wait").arg("20"));
    let node = server.get("/v1/nodes").expect(200)["nodes"][0]["uuid"].as_str().unwrap().to_owned();
    let told = Arc::new(Mutex::new(Told::default()));
    for round in 0..rounds {
        let load = Load::start(&server, &told, chance.below(u64::MAX));
        thread::sleep(Duration::from_millis(20 + chance.below(900)));
        server.kill();
        load.stop();
        server.restart();
        check(&server, &node, &told, round);
    }
}

/// Clients at work until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(server: &Server, told: &Arc<Mutex<Told>>, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |index: usize| {
            let (http, told, stop) = (server.http(), told.clone(), stop.clone());
            let mut chance = Chance::new(seed.wrapping_add(index as u64));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) && step(&http, &told, &mut chance).is_ok() {}
            })
        };
        Self { clients: (0..CLIENTS).map(client).collect(), stop }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
    }
}

/// One request of a client; an error once the server is gone.
fn step(http: &Http, told: &Mutex<Told>, chance: &mut Chance) -> reqwest::Result<()> {
    let target = {
        let mut told = told.lock().unwrap();
        let taken = |id: &String| told.leaving.contains(id) || told.busy.contains(id);
        let free: Vec<_> = told.live.keys().filter(|id| !taken(id)).cloned().collect();
        let pick = chance.below(free.len().max(1) as u64) as usize;
        let target = if free.len() < 6 { None } else { free.into_iter().nth(pick) };
        told.busy.extend(target.clone());
        target
    };
    match (target, chance.below(3)) {
        (None, _) => create(http, told, chance),
        (Some(id), 0) => delete(http, told, &id),
        (Some(id), 1) => act(http, told, &id, "start", "Running"),
        (Some(id), _) => act(http, told, &id, "stop?timeout=0", "Stopped"),
    }
}

fn create(http: &Http, told: &Mutex<Told>, chance: &mut Chance) -> reqwest::Result<()> {
    let key = format!("create-{}", chance.below(u64::MAX));
    let body = json!({"name": key, "image": "busybox:local", "command": "sleep 600"});
    told.lock().unwrap().asked.insert(key.clone(), body.clone());
    post(http, told, &key, &body)
}

/// Creates, or creates again with the same key: one container either way.
fn post(http: &Http, told: &Mutex<Told>, key: &str, body: &Value) -> reqwest::Result<()> {
    let headers = [("Idempotency-Key", key)];
    let answer = http.try_send(Method::POST, "/v1/containers", &headers, Some(body))?;
    assert!(matches!(answer.status, 201 | 202), "{}", answer.text);
    let id = answer.json["uuid"].as_str().unwrap().to_owned();
    let mut told = told.lock().unwrap();
    told.asked.remove(key);
    told.live.entry(id).or_insert("Stopped");
    Ok(())
}

fn act(
    http: &Http,
    told: &Mutex<Told>,
    id: &str,
    action: &str,
    status: &'static str,
) -> reqwest::Result<()> {
    // Until the answer comes, either status may hold.
    told.lock().unwrap().live.insert(id.to_owned(), "?");
    let path = format!("/v1/containers/{id}/{action}");
    let answer = http.try_send(Method::PUT, &path, &[], None)?;
    // Refused where another client deletes it, or its create still waits.
    assert!(matches!(answer.status, 200 | 202 | 404 | 409), "{}", answer.text);
    let mut told = told.lock().unwrap();
    told.busy.remove(id);
    if answer.status == 200 {
        told.live.insert(id.to_owned(), status);
    }
    Ok(())
}

fn delete(http: &Http, told: &Mutex<Told>, id: &str) -> reqwest::Result<()> {
    told.lock().unwrap().leaving.insert(id.to_owned());
    let path = format!("/v1/containers/{id}");
    let answer = http.try_send(Method::DELETE, &path, &[], None)?;
    assert!(matches!(answer.status, 202 | 204 | 404), "{}", answer.text);
    let mut told = told.lock().unwrap();
    told.live.remove(id);
    told.gone.insert(id.to_owned());
    Ok(())
}

/// After a restart: what was asked is asked again, then everything settles and is as told.
fn check(server: &Server, node: &str, told: &Mutex<Told>, round: u64) {
    let asked: Vec<_> = told.lock().unwrap().asked.clone().into_iter().collect();
    for (key, body) in asked {
        post(server, told, &key, &body).unwrap();
    }
    let settled = wait_for("everything to settle", SETTLE, || settled(server));
    let engine = on_engine(node);
    let mut told = told.lock().unwrap();
    for (id, status) in &settled {
        assert!(!told.gone.contains(id), "round {round}: {id} was deleted and is back");
        let found = engine.get(id).map_or("nothing", String::as_str);
        let right = match status.as_str() {
            "Running" => found == "running",
            "Stopped" => matches!(found, "created" | "exited"),
            _ => false,
        };
        let told = || server.get(&format!("/v1/containers/{id}")).text;
        assert!(right, "round {round}: {id}: the engine has {found}: {}", told());
    }
    for (id, status) in &told.live {
        let now = settled.get(id).map(String::as_str);
        let may_be_gone = told.leaving.contains(id);
        assert!(now.is_some() || may_be_gone, "round {round}: {id} was acknowledged and is lost");
        let right = *status == "?" || may_be_gone || now == Some(*status);
        assert!(right, "round {round}: {id} was said to be {status}, and is {now:?}");
    }
    let extra: Vec<_> = engine.keys().filter(|id| !settled.contains_key(*id)).collect();
    assert!(extra.is_empty(), "round {round}: the engine has more: {extra:?}");
    // From here on what is there is known for certain.
    told.busy.clear();
    told.live = settled
        .iter()
        .map(|(id, status)| (id.clone(), if status == "Running" { "Running" } else { "Stopped" }))
        .collect();
    told.leaving.retain(|id| settled.contains_key(id));
    let stuck: Vec<_> = told.leaving.iter().cloned().collect();
    // A deletion that never reached the log was never acknowledged: the container lives on.
    told.leaving.clear();
    eprintln!(
        "round {round}: {} containers, {} deletions were cut off before they were recorded",
        settled.len(),
        stuck.len()
    );
}

/// Every container with its status, once none of them waits for anything.
fn settled(server: &Server) -> Option<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let list = server.get("/v1/containers/detail").expect(200);
    for container in list["containers"].as_array().unwrap() {
        if !container["task"].is_null() {
            return None;
        }
        let text = |field: &str| container[field].as_str().unwrap().to_owned();
        all.insert(text("uuid"), text("status"));
    }
    Some(all)
}

/// The engine's containers of a node: object to state. Two for one object fail the test.
fn on_engine(node: &str) -> BTreeMap<String, String> {
    let filter = format!("label=magnum.node={node}");
    let format = "{{.Label \"magnum.container\"}} {{.State}}";
    let mut all = BTreeMap::new();
    for line in docker(&["ps", "--all", "--filter", &filter, "--format", format]).lines() {
        let (id, state) = line.split_once(' ').unwrap();
        let twice = all.insert(id.to_owned(), state.to_owned());
        assert!(twice.is_none(), "two containers for {id}");
    }
    all
}

/// SIGTERM right after a create was accepted, three times in a row: the server ends within 10 s
/// with exit code 0, and every container is made.
#[test]
fn sigterm_finishes_or_keeps_what_is_under_way() {
    let mut server = Server::start(Options::docker());
    for turn in 0..3 {
        let body =
            json!({"name": format!("c{turn}"), "image": "busybox:local", "command": "sleep 600"});
        let headers = [("Prefer", "respond-async")];
        let answer = server.send(Method::POST, "/v1/containers", &headers, Some(&body));
        assert_eq!(answer.status, 202, "{}", answer.text);
        let start = Instant::now();
        assert!(server.stop().success());
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        server.restart();
    }
    wait_until("three stopped containers", SETTLE, || {
        settled(&server).is_some_and(|all| all.len() == 3 && all.values().all(|s| s == "Stopped"))
    });
}
