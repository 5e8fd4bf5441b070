//! What must hold once everything has settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use magnum::backends::RunState;
use magnum::clock;
use magnum::events::claim::{Claim, Name};
use magnum::events::log::EventLog;
use magnum::events::{Recorded, codec};
use magnum::ids::{EventId, Kind, ObjectId, Position, StreamId, StreamKind, Timestamp};
use magnum::projections::View;
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

fn rows<V: View>(life: &Life) -> Vec<Row> {
    let mut rows = vec![];
    let each = |view: V| {
        let json = serde_json::to_value(&view).expect("JSON");
        rows.push(Row { id: view.head().uuid, json });
    };
    life.reads.each(each).expect("views");
    rows
}

/// The bays and containers that there are.
pub fn streams(life: &Life) -> Vec<ObjectId> {
    let containers = rows::<ContainerView>(life).into_iter();
    containers.chain(rows::<BayView>(life)).map(|row| row.id).collect()
}

/// Whether there is no such container.
pub fn is_gone(life: &Life, id: ObjectId) -> bool {
    life.reads.any::<ContainerView>(id).is_ok_and(|view| view.is_none())
}

/// Whether somebody asked for an object to go.
fn is_going(row: &Row) -> bool {
    matches!(row.status(), "Deleting" | "DELETE_IN_PROGRESS")
}

/// Whether an object is in a status that lasts only while something is done.
fn is_in_transition(row: &Row) -> bool {
    matches!(row.status(), "Creating" | "Deleting") || row.status().ends_with("_IN_PROGRESS")
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
        let mut all = rows::<ContainerView>(&life);
        // A command in a container may run for ever.
        open.retain(|stream| all.iter().all(|row| row.id != stream.id || !only_executes(row)));
        all.extend(rows::<BayView>(&life));
        all.iter().for_each(|row| reasons(world, row));
        let waits = |row: &&Row| open.iter().any(|stream| stream.id == row.id);
        if let Some(row) = all.iter().find(|row| is_in_transition(row) && !waits(row)) {
            return world.broken(format!("{} is {} and waits for nothing", row.id, row.status()));
        }
        if open.is_empty() {
            return;
        }
        if start.elapsed() > DELETED
            && let Some(row) = all.iter().find(|row| is_going(row))
        {
            return world.broken(format!("a delete does not come to an end: {}", row.json));
        }
        if start.elapsed() > SETTLED {
            let first = all.iter().find(waits).map(|row| row.json.to_string());
            return world.broken(format!("unfinished: {first:?} {open:?}"));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Whether a status and the engine's state of a container belong together. What the engine
/// restarts by itself changes while one looks.
fn agrees(status: &str, found: Option<RunState>, restarts: bool) -> bool {
    use RunState::{Created, Exited, Paused, Restarting, Running};
    let changes = restarts && matches!(found, Some(Running | Restarting | Exited));
    match status {
        "Running" | "Restarting" | "Stopped" if changes => true,
        "Running" => found == Some(Running),
        "Stopped" => matches!(found, Some(Created | Exited)),
        "Paused" => found == Some(Paused),
        "Error" => true,
        _ => false,
    }
}

/// What was given up, which the engine may have or not.
pub fn left_behind(life: &Life) -> BTreeSet<ObjectId> {
    let given_up = |event: &Recorded| event.event_type.as_str().ends_with(".abandoned");
    events(life).into_iter().filter(given_up).map(|event| event.stream.id).collect()
}

/// The engine has what the record says, and nothing else but what was left behind.
pub async fn engine(world: &World) {
    let life = fresh(world).await;
    let (containers, bays) = (rows::<ContainerView>(&life), rows::<BayView>(&life));
    let meddled = locked(&world.meddled).clone();
    let left_behind = left_behind(&life);
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
        if !agrees(status, there, row.json["restart_policy"] != "no") {
            world.broken(format!("container {id} is {status}, the engine says {there:?}"));
        }
        if row.bay().is_none_or(|bay| bays.iter().all(|row| row.id != bay)) {
            world.broken(format!("container {id} is {status} in a bay that is gone"));
        }
    }
    found.retain(|id, _| !left_behind.contains(id));
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
    let is_gone = |id: &&ObjectId| bays.iter().all(|row| row.id != **id);
    if let Some(id) = networks.difference(&left_behind).find(is_gone) {
        world.broken(format!("the engine has the network of bay {id}, which is gone"));
    }
}

/// All events.
fn events(life: &Life) -> Vec<Recorded> {
    life.log.read(Position(0), usize::MAX).expect("the log")
}

/// What the log has of requests.
#[derive(Default)]
struct Requests {
    /// Where each was recorded, by its key: its text is kept with the first event that it caused;
    /// one without a key is found by what it says.
    keys: BTreeMap<String, Vec<Position>>,
    /// Where each event is.
    ids: BTreeMap<EventId, Vec<Position>>,
    /// The types of an object's events.
    types: BTreeMap<StreamId, Vec<String>>,
}

impl Requests {
    fn of(events: Vec<Recorded>) -> Self {
        let mut found = Self::default();
        for event in events.into_iter().filter(|event| event.stream.kind != StreamKind::Audit) {
            let types = found.types.entry(event.stream).or_default();
            types.push(event.event_type.as_str().to_owned());
            found.ids.entry(event.id).or_default().push(event.position);
            let described = data(&event)["changes"][0]["value"].as_str().map(str::to_owned);
            let named = event.meta.command_id.filter(|_| event.meta.command.is_some());
            let key = named
                .map(|id| id.0)
                .or_else(|| Some(format!("default/{}", described?.trim_matches('"'))));
            if let Some(key) = key {
                found.keys.entry(key).or_default().push(event.position);
            }
        }
        found
    }

    fn recorded(&self, told: &Told) -> &[Position] {
        self.keys.get(&format!("default/{}", told.ask.key)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether what an acknowledged request asked for is there.
    fn has(&self, told: &Told) -> bool {
        let path = told.ask.path.split('?').next().unwrap_or_default();
        let words: Vec<&str> = path.split('/').skip(2).collect();
        let Some(id) = words.get(1).and_then(|id| id.parse::<ObjectId>().ok()) else {
            return !self.recorded(told).is_empty();
        };
        let (kind, noun) = if words.first() == Some(&"bays") {
            (Kind::Bay, "bay")
        } else {
            (Kind::Container, "container")
        };
        let types = self.types.get(&StreamId::new(kind, id));
        let has = |name: &str| types.is_some_and(|types| types.iter().any(|it| it == name));
        match (told.ask.method, words.get(2).copied()) {
            // One that changes nothing is not recorded; it was all the same once asked for.
            ("DELETE", _) => has(&format!("{noun}.delete_requested")),
            (_, Some("start")) => {
                let started = ["start_requested", "reboot_requested", "drifted", "restarted"];
                started.iter().any(|name| has(&format!("container.{name}")))
            }
            (_, Some("stop")) => true,
            _ => !self.recorded(told).is_empty(),
        }
    }
}

/// No object took a name that another one held (rule L9).
fn names(world: &World, events: &[Recorded]) {
    let mut holders: BTreeMap<&Name, BTreeSet<StreamId>> = BTreeMap::new();
    let claims = |event| {
        let event: &Recorded = event;
        event.meta.claims.0.iter().map(move |claim| (event, claim))
    };
    for (event, claim) in events.iter().flat_map(claims) {
        let held = holders.entry(claim.name()).or_default();
        held.remove(&event.stream);
        if matches!(claim, Claim::Take(_)) && !held.is_empty() {
            world.broken(format!("{held:?} held what was taken at {}: {claim:?}", event.position));
        }
        if claim.holds() {
            held.insert(event.stream);
        }
    }
}

/// What was promised is in the log, once.
pub async fn promises(world: &World, clients: &Clients) {
    let life = fresh(world).await;
    let events = events(&life);
    names(world, &events);
    let requests = Requests::of(events);
    if let Some((id, positions)) = requests.ids.iter().find(|(_, at)| at.len() > 1) {
        world.broken(format!("the event {id} was recorded more than once: {positions:?}"));
    }
    for told in locked(&clients.told).iter() {
        let positions = requests.recorded(told);
        if positions.len() > 1 {
            world.broken(format!("{:?} was recorded more than once: {positions:?}", told.ask));
        }
        if told.is_acknowledged() && !requests.has(told) {
            world.broken(format!("{:?} was acknowledged and is lost", told.ask));
        }
    }
}

/// Whether an event says how work ended.
fn ends_work(name: &str) -> bool {
    let goes_on =
        [".work_blocked", ".work_resumed", ".pull_started", ".pulled", ".not_started", ".emptied"];
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
