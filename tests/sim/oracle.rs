//! What must hold once everything has settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use magnum::backends::RunState;
use magnum::clock;
use magnum::events::log::EventLog;
use magnum::events::{Recorded, codec};
use magnum::ids::{EventId, Kind, ObjectId, Position, StreamId, StreamKind, Timestamp};
use magnum::projections::bay::BayView;
use magnum::projections::container::ContainerView;
use magnum::replay::{self, Source};
use serde_json::Value;
use tokio::time::Instant;

use crate::client::{Clients, Told};
use crate::server::Life;
use crate::world::{World, locked};

/// Longest time that anything may take to be done once all is well: pulls take eleven minutes.
const SETTLED: Duration = Duration::from_secs(20 * 60);

/// Longest time that a delete may take then.
const DELETED: Duration = Duration::from_secs(90);

/// Longest wait between two attempts, with its jitter.
const LONGEST_BACKOFF: Duration = Duration::from_secs(40);

/// The payload of an event.
pub fn data(event: &Recorded) -> Value {
    let name = event.event_type.as_str();
    let json = codec::payload_json(event.stream.kind, name, event.version, &event.payload);
    json.unwrap_or(Value::Null)
}

/// The server, with its views at the head.
async fn fresh(world: &World) -> Arc<Life> {
    loop {
        let life = world.server().await;
        let head = *life.log.head().borrow();
        let wait = life.reads.wait_for(head, Duration::from_secs(10));
        tokio::select! {
            at = wait => match at {
                Ok(_) => return life,
                Err(error) => {
                    world.broken(format!("the views do not catch up: {error}"));
                    return life;
                }
            },
            () = life.fence.died() => {}
        }
    }
}

/// A view as JSON.
struct Row {
    id: ObjectId,
    json: Value,
}

impl Row {
    fn status(&self) -> &str {
        self.json["status"].as_str().unwrap_or_default()
    }

    fn bay(&self) -> Option<ObjectId> {
        self.json["bay_uuid"].as_str()?.parse().ok()
    }
}

fn containers(life: &Life) -> Vec<Row> {
    let mut rows = vec![];
    let each = |view: ContainerView| {
        let json = serde_json::to_value(&view).expect("JSON");
        rows.push(Row { id: view.head.uuid, json });
    };
    life.reads.each(each).expect("views");
    rows
}

fn bays(life: &Life) -> Vec<Row> {
    let mut rows = vec![];
    let each = |view: BayView| {
        let json = serde_json::to_value(&view).expect("JSON");
        rows.push(Row { id: view.head.uuid, json });
    };
    life.reads.each(each).expect("views");
    rows
}

/// The bays and containers that there are.
pub fn streams(life: &Life) -> Vec<ObjectId> {
    containers(life).into_iter().chain(bays(life)).map(|row| row.id).collect()
}

/// Whether there is no such container.
pub fn is_gone(life: &Life, id: ObjectId) -> bool {
    life.reads.get::<ContainerView>(id).is_ok_and(|view| view.is_none())
}

/// Whether somebody asked for an object to go.
fn is_going(row: &Row) -> bool {
    matches!(row.status(), "Deleting" | "DELETE_IN_PROGRESS")
}

/// Whether all that a container waits for are commands that run in it.
fn only_executes(row: &Row) -> bool {
    let tasks = row.json["tasks"].as_array();
    tasks.is_some_and(|tasks| tasks.iter().all(|task| task["action"] == "execute"))
}

/// What waits says for what, why, since when and until when.
fn reasons(world: &World, row: &Row) {
    for task in row.json["tasks"].as_array().into_iter().flatten() {
        let says = ["reason", "blocked_since", "retry_at"].iter().all(|part| !task[part].is_null());
        let retry_at = serde_json::from_value::<Timestamp>(task["retry_at"].clone());
        let wait_ms = retry_at.map_or(0, |at| at.since_ms(clock::now()));
        // One that was recorded before the clock was set back is later than it will be.
        let is_soon = world.weather.jumps || u128::from(wait_ms) < LONGEST_BACKOFF.as_millis();
        if !(task["blocked_on"].is_null() || (says && is_soon)) {
            world.broken(format!("{} does not say what it waits for: {task}", row.id));
        }
    }
}

/// Waits until nothing waits for work any more.
pub async fn settle(world: &World) {
    let start = Instant::now();
    loop {
        let life = fresh(world).await;
        let mut open = life.reads.outstanding().expect("views");
        let rows = containers(&life);
        rows.iter().chain(&bays(&life)).for_each(|row| reasons(world, row));
        // A command in a container may run for ever.
        open.retain(|stream| rows.iter().all(|row| row.id != stream.id || !only_executes(row)));
        if open.is_empty() {
            return;
        }
        if start.elapsed() > DELETED {
            let rows = containers(&life).into_iter().chain(bays(&life));
            let going: Vec<_> = rows.filter(is_going).map(|row| row.json.to_string()).collect();
            if let Some(first) = going.first() {
                return world.broken(format!("a delete does not come to an end: {first}"));
            }
        }
        if start.elapsed() > SETTLED {
            let rows = containers(&life).into_iter().chain(bays(&life));
            let rows: Vec<_> = rows.filter(|row| open.iter().any(|it| it.id == row.id)).collect();
            let first = rows.first().map(|row| row.json.to_string());
            return world.broken(format!("unfinished: {first:?} {open:?}"));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Whether a status and the engine's state of a container belong together.
fn agrees(status: &str, found: Option<RunState>) -> bool {
    match status {
        "Running" => found == Some(RunState::Running),
        "Restarting" => found == Some(RunState::Restarting),
        "Stopped" => {
            matches!(found, Some(RunState::Created | RunState::Exited | RunState::Restarting))
        }
        "Paused" => found == Some(RunState::Paused),
        "Error" => true,
        _ => false,
    }
}

/// The engine has what the record says, and nothing else.
pub async fn engine(world: &World) {
    let life = fresh(world).await;
    let (containers, bays) = (containers(&life), bays(&life));
    let meddled = locked(&world.meddled).clone();
    let mut found: BTreeMap<ObjectId, Vec<RunState>> = BTreeMap::new();
    for one in world.engine.containers() {
        if let Some(stream) = one.stream {
            found.entry(stream.id).or_default().push(one.state);
        }
    }
    for row in &containers {
        let (id, status) = (row.id, row.status());
        let there = found.remove(&id).unwrap_or_default();
        if there.len() > 1 {
            world.broken(format!("container {id} is at the engine {} times", there.len()));
        }
        let there = there.first().copied();
        // What restarts by itself changes while one looks.
        let restarts = row.json["restart_policy"] != "no";
        if !(agrees(status, there) || (restarts && there.is_some())) {
            world.broken(format!("container {id} is {status}, the engine says {there:?}"));
        }
        if row.bay().is_none_or(|bay| bays.iter().all(|row| row.id != bay)) {
            world.broken(format!("container {id} is {status} in a bay that is gone"));
        }
    }
    if let Some((id, states)) = found.first_key_value() {
        world.broken(format!("the engine has {states:?} of container {id}, which is gone"));
    }
    let networks: BTreeSet<ObjectId> =
        world.engine.networks().into_iter().map(|(_, bay)| bay).collect();
    for row in &bays {
        let complete = matches!(row.status(), "CREATE_COMPLETE" | "UPDATE_COMPLETE");
        if complete && !networks.contains(&row.id) && !meddled.contains(&row.id) {
            world.broken(format!("bay {} has no network at the engine", row.id));
        }
    }
    if let Some(id) = networks.iter().find(|id| bays.iter().all(|row| row.id != **id)) {
        world.broken(format!("the engine has the network of bay {id}, which is gone"));
    }
}

/// All events.
fn events(life: &Life) -> Vec<Recorded> {
    life.log.read(Position(0), usize::MAX).expect("the log")
}

/// What was promised is in the log, once.
pub async fn promises(world: &World, clients: &Clients) {
    let life = fresh(world).await;
    let mut seen: BTreeMap<String, Vec<Position>> = BTreeMap::new();
    let mut asked: BTreeMap<StreamId, Vec<String>> = BTreeMap::new();
    for event in events(&life) {
        if event.stream.kind == StreamKind::Audit {
            continue;
        }
        asked.entry(event.stream).or_default().push(event.event_type.as_str().to_owned());
        if let Some(id) = &event.meta.command_id {
            seen.entry(id.0.clone()).or_default().push(event.position);
        }
    }
    for told in locked(&clients.told).iter() {
        let positions = seen.get(&format!("default/{}", told.ask.key));
        if let Some(positions) = positions
            && positions.windows(2).any(|pair| pair[0].next() != pair[1])
        {
            world.broken(format!("{:?} was recorded more than once: {positions:?}", told.ask));
        }
        if told.is_acknowledged() && !is_kept(told, &asked) {
            world.broken(format!("{:?} was acknowledged and is lost", told.ask));
        }
    }
}

/// Whether the log has what an acknowledged request asked for.
fn is_kept(told: &Told, asked: &BTreeMap<StreamId, Vec<String>>) -> bool {
    let path = told.ask.path.split('?').next().unwrap_or_default();
    let words: Vec<&str> = path.split('/').skip(2).collect();
    let body = told.ask.body.as_ref();
    let named = words.get(1).copied().or_else(|| body.and_then(|body| body["uuid"].as_str()));
    let Some(id) = named.and_then(|id| id.parse::<ObjectId>().ok()) else { return true };
    let (kind, noun) = if words.first() == Some(&"bays") {
        (Kind::Bay, "bay")
    } else {
        (Kind::Container, "container")
    };
    let names = asked.get(&StreamId::new(kind, id));
    let has = |name: &str| names.is_some_and(|names| names.iter().any(|it| it == name));
    match (told.ask.method, words.get(2).copied()) {
        ("POST", _) => has(&format!("{noun}.create_requested")),
        ("DELETE", _) => has(&format!("{noun}.delete_requested")),
        // One that changes nothing is not recorded; it was all the same once asked for.
        (_, Some("start")) => {
            let started = ["start_requested", "reboot_requested", "drifted", "restarted"];
            started.iter().any(|name| has(&format!("container.{name}")))
        }
        (_, Some(verb)) => verb == "stop" || has(&format!("container.{verb}_requested")),
        _ => true,
    }
}

/// Whether an event says how work ended.
fn ends_work(name: &str) -> bool {
    let goes_on = [".work_blocked", ".work_resumed", ".pull_progressed", ".emptied"];
    !goes_on.iter().any(|end| name.ends_with(end))
}

/// Whether work that an event asks for waits behind other work of its object.
fn queues(name: &str) -> bool {
    let beside = ["container.execute_requested", "container.execution_end_requested"];
    name.ends_with("_requested") && !beside.contains(&name)
}

/// What was asked for and must not be done, nor be told of: it waited behind a create that failed.
#[derive(Default)]
struct Cancelled {
    /// What waits, and whether it is a delete.
    open: BTreeMap<StreamId, Vec<(EventId, bool)>>,
    /// Where the create failed.
    never: BTreeMap<EventId, Position>,
}

impl Cancelled {
    fn see(&mut self, world: &World, event: &Recorded) {
        let (name, data) = (event.event_type.as_str(), data(event));
        let queue = self.open.entry(event.stream).or_default();
        if queues(name) {
            queue.push((event.id, name.ends_with(".delete_requested")));
        }
        let work = data["work_id"].as_str().and_then(|id| id.parse().ok()).map(EventId);
        let Some(work) = work.filter(|_| ends_work(name)) else { return };
        if let Some(at) = self.never.get(&work) {
            let place = event.position;
            world.broken(format!("{name} at {place} of work behind a create that failed at {at}"));
        }
        let was_queued = queue.iter().any(|(id, _)| *id == work);
        queue.retain(|(id, _)| *id != work);
        if was_queued && name == "container.work_failed" && data["action"] == "create" {
            let gone = queue.extract_if(.., |(_, deletes)| !*deletes);
            self.never.extend(gone.map(|(id, _)| (id, event.position)));
        }
    }
}

/// What must not be done twice was not, and what failed took what waited behind it along.
pub async fn work(world: &World) {
    let life = fresh(world).await;
    let mut once: BTreeSet<EventId> = BTreeSet::new();
    let mut cancelled = Cancelled::default();
    for event in events(&life) {
        let name = event.event_type.as_str();
        let handled = name == "container.kill_requested" && data(&event)["signal"] != "SIGKILL";
        if handled || name == "container.execute_requested" {
            once.insert(event.id);
        }
        cancelled.see(world, &event);
    }
    let mut times: BTreeMap<EventId, u32> = BTreeMap::new();
    for (work, name) in world.engine.effects() {
        let count = times.entry(work).or_default();
        *count += 1;
        if *count == 2 && once.contains(&work) {
            world.broken(format!("{name} of {work} was done twice"));
        }
        if let Some(at) = cancelled.never.get(&work) {
            world.broken(format!("{name} of {work} was done though the create failed at {at}"));
        }
    }
}

/// What is kept beside the log is what it says, and every decision would be the same again.
pub async fn replays(world: &World) {
    let life = fresh(world).await;
    let source = Source::new(life.log.clone());
    let kept = replay::verify::Kept::live(life.reads.clone(), life.snapshots.clone());
    match replay::verify::verify(&source, &kept) {
        Ok(verified) => {
            if let Some(difference) = verified.difference {
                world.broken(format!("not what the log says: {difference:?}"));
            }
            if let Some(parked) = verified.parked.first() {
                world.broken(format!("{parked} is parked"));
            }
        }
        Err(error) => world.broken(format!("verify: {error}")),
    }
    match replay::check::check(&source) {
        Ok(checked) => {
            if let Some(first) = checked.differences.first() {
                world.broken(format!("decided otherwise: {first:?}"));
            }
        }
        Err(error) => world.broken(format!("check: {error}")),
    }
}

/// What identifies a run: the chain over all that was recorded.
pub async fn hash(world: &World) -> String {
    let life = fresh(world).await;
    let last = events(&life).pop();
    last.map(|event| format!("{} {:x?}", event.position, event.hash)).unwrap_or_default()
}
