//! The end of a run: all is well, so what is asked for now must be done, and done soon; then
//! everything that must hold is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use magnum::backends::RunState;
use magnum::clock;
use magnum::ids::ObjectId;
use serde_json::{Value, json};

use crate::client::{Clients, Told};
use crate::oracle;
use crate::ports::SLOW_IMAGES;
use crate::server::{Life, request};
use crate::world::{World, locked};

/// Two comparisons of the reconciler with the engine.
const COMPARED: Duration = Duration::from_secs(130);

/// What is asked for while all is well is done by then.
const SOON: Duration = Duration::from_secs(60);

/// Commands that hang in one container, more than may run there.
const HANGING: u64 = 20;

/// Containers that stop slowly at once: twice as many as a node does other things.
const SLOW: usize = 8;

/// Commands of one project that run at once on a node, and in one container.
const PLACES: usize = 64;
const PER_CONTAINER: usize = 16;

/// Checks everything; what identifies the run.
pub async fn check(world: &Arc<World>, clients: &Arc<Clients>) -> String {
    oracle::settle(world).await;
    tokio::time::sleep(COMPARED).await;
    oracle::settle(world).await;
    if world.breaches().is_empty() {
        oracle::engine(world).await;
    }
    if world.breaches().is_empty() {
        try_something(world, clients).await;
    }
    if world.breaches().is_empty() && world.one_in(2) {
        wipe(world, clients).await;
    }
    if world.breaches().is_empty() && world.one_in(2) {
        restart(world).await;
    }
    oracle::promises(world, clients).await;
    oracle::work(world).await;
    oracle::replays(world).await;
    oracle::hash(world).await
}

async fn try_something(world: &Arc<World>, clients: &Arc<Clients>) {
    let bay = clock::new_object_id();
    locked(&clients.bays).push(bay.to_string());
    let body = json!({"uuid": bay.to_string(), "name": "last"});
    clients.send(clients.ask("POST", "/v1/bays".to_owned(), Some(body))).await;
    let script = Script { world, clients, bay };
    match world.below(12) {
        0..3 => script.stop_what_restarts().await,
        3..5 => script.stop_what_is_busy().await,
        5..7 => script.wait_for_the_engine().await,
        7..9 => script.delete_what_is_pulled().await,
        9..11 => script.stop_what_takes_its_time().await,
        _ => script.give_up_what_waits_for_a_place().await,
    }
    oracle::settle(world).await;
    tokio::time::sleep(COMPARED).await;
    oracle::engine(world).await;
}

/// Something that is tried in a bay of its own.
struct Script<'a> {
    world: &'a Arc<World>,
    clients: &'a Arc<Clients>,
    bay: ObjectId,
}

impl Script<'_> {
    async fn container(&self, image: &str, command: &str, policy: &str, hurries: bool) -> ObjectId {
        let id = clock::new_object_id();
        locked(&self.clients.containers).push(id.to_string());
        let body = json!({
            "uuid": id.to_string(), "name": id.to_string(), "bay_uuid": self.bay.to_string(),
            "image": image, "command": command, "restart_policy": policy,
        });
        let mut ask = self.clients.ask("POST", "/v1/containers".to_owned(), Some(body));
        ask.hurries = hurries;
        self.expect(self.clients.send(ask).await);
        id
    }

    async fn put(&self, id: ObjectId, verb: &str, hurries: bool) -> Told {
        let path = format!("/v1/containers/{id}/{verb}");
        let mut ask = self.clients.ask("PUT", path, None);
        ask.hurries = hurries;
        self.clients.send(ask).await
    }

    fn expect(&self, told: Told) {
        if !told.is_acknowledged() {
            self.world.broken(format!("refused though all is well: {told:?}"));
        }
    }

    /// The engine's state of a container.
    fn state(&self, id: ObjectId) -> Option<RunState> {
        let all = self.world.engine.containers().into_iter();
        let found = all.filter_map(|one| Some((one.stream?.id, one.state)));
        found.filter(|(found, _)| *found == id).map(|(_, state)| state).next()
    }

    /// Waits until the engine is as wanted; says so where it is not soon.
    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = tokio::time::Instant::now();
        while !is_so() {
            if start.elapsed() > SOON {
                return self.world.broken(format!("not within a minute: {what}"));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn is_still(&self, id: ObjectId) -> bool {
        matches!(self.state(id), Some(RunState::Exited | RunState::Created))
    }

    /// What the engine starts again and again stays stopped once it is stopped.
    async fn stop_what_restarts(&self) {
        let id = self.container("busybox:local", "exit 1", "always", false).await;
        self.expect(self.put(id, "start", false).await);
        self.world.pause(60_000).await;
        self.expect(self.put(id, "stop?timeout=0", false).await);
        self.until("a restarting container stops", || self.is_still(id)).await;
        tokio::time::sleep(Duration::from_secs(90)).await;
        if !self.is_still(id) {
            let state = self.state(id);
            self.world.broken(format!("container {id} was stopped, and is {state:?} again"));
        }
    }

    /// Commands that hang do not keep a container from being stopped.
    async fn stop_what_is_busy(&self) {
        let id = self.container("busybox:local", "sleep 100000", "no", false).await;
        self.expect(self.put(id, "start", false).await);
        for _ in 0..HANGING {
            // As many as may run; the others are refused.
            self.put(id, "execute?command=sleep%20100000", true).await;
        }
        let verb = if self.world.one_in(2) { "stop?timeout=0" } else { "kill" };
        self.expect(self.put(id, verb, true).await);
        self.until("a busy container stops", || self.is_still(id)).await;
        self.delete("containers", id).await;
        self.until("a busy container goes", || self.state(id).is_none()).await;
    }

    /// Containers that take long to stop hold back nothing else on their node.
    async fn stop_what_takes_its_time(&self) {
        let command = "sh -c \"trap '' TERM; sleep 100000\"";
        let mut slow = vec![];
        for _ in 0..SLOW {
            let id = self.container("busybox:local", command, "no", false).await;
            self.expect(self.put(id, "start", false).await);
            slow.push(id);
        }
        for id in &slow {
            self.expect(self.put(*id, "stop?timeout=600", true).await);
        }
        let id = self.container("busybox:local", "sleep 100000", "no", true).await;
        self.expect(self.put(id, "start", true).await);
        let runs = || self.state(id) == Some(RunState::Running);
        self.until("a container starts while others stop", runs).await;
        self.expect(self.put(id, "stop?timeout=0", true).await);
        self.until("a container stops while others do", || self.is_still(id)).await;
    }

    /// A command whose caller went before there was a place for it does not run later.
    async fn give_up_what_waits_for_a_place(&self) {
        let mut full = vec![];
        for _ in 0..PLACES / PER_CONTAINER {
            let id = self.container("busybox:local", "sleep 100000", "no", false).await;
            self.expect(self.put(id, "start", false).await);
            for _ in 0..PER_CONTAINER {
                self.expect(self.put(id, "execute?command=sleep%20100000", true).await);
            }
            full.push(id);
        }
        let id = self.container("busybox:local", "sleep 100000", "no", false).await;
        self.expect(self.put(id, "start", false).await);
        let life = self.world.server().await;
        let path = format!("/v1/containers/{id}/execute?command=sleep%20100000");
        let call = life.call(request("PUT", &path, &BTreeMap::new(), None));
        drop(tokio::time::timeout(Duration::from_secs(5), call).await);
        for id in full {
            self.expect(self.put(id, "stop?timeout=0", true).await);
            self.until("a container full of commands stops", || self.is_still(id)).await;
        }
        tokio::time::sleep(SOON).await;
        if self.world.engine.commands_in(id) > 0 {
            self.world.broken(format!("a command runs in container {id} that nobody waits for"));
        }
    }

    /// What waits for the engine says so.
    async fn wait_for_the_engine(&self) {
        let id = self.container("busybox:local", "sleep 100000", "no", false).await;
        self.world.note(|| "the engine goes away".to_owned());
        self.world.engine.go_away();
        self.expect(self.put(id, "start", true).await);
        tokio::time::sleep(Duration::from_secs(45)).await;
        let life = self.world.server().await;
        let shown = life.get(&format!("/v1/containers/{id}")).await;
        let task = shown.map(|shown| shown.json["task"].clone()).unwrap_or(Value::Null);
        let retry_at =
            task["retry_at"].as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        let in_ms = retry_at.map(|at| at.timestamp_millis() - clock::now().0 / 1000);
        let waits = task["blocked_on"].as_str().is_some_and(|on| on.starts_with("node "));
        if !waits || !in_ms.is_some_and(|ms| (-2_000..60_000).contains(&ms)) {
            let why = format!("does not say what it waits for: {task}");
            self.world.broken(why);
        }
        self.world.note(|| "the engine is back".to_owned());
        self.world.engine.come_back();
        let runs = || self.state(id) == Some(RunState::Running);
        self.until("what waited for the engine is done", runs).await;
    }

    /// A delete does not wait for a pull.
    async fn delete_what_is_pulled(&self) {
        let image = format!("{SLOW_IMAGES}other");
        let id = self.container(&image, "sleep 100000", "no", true).await;
        self.world.pause(20_000).await;
        if self.world.one_in(2) {
            self.delete("bays", self.bay).await;
            let gone = || {
                let mut networks = self.world.engine.networks().into_iter();
                networks.all(|(_, bay)| bay != self.bay) && self.is_gone(id)
            };
            self.until("a bay goes in which something is pulled", gone).await;
        } else {
            self.delete("containers", id).await;
            self.until("a container goes that is pulled", || self.is_gone(id)).await;
        }
    }

    /// Whether nothing is shown of a container any more.
    fn is_gone(&self, id: ObjectId) -> bool {
        let life = self.world.life.borrow().clone();
        life.is_some_and(|life| oracle::is_gone(&life, id))
    }

    async fn delete(&self, collection: &str, id: ObjectId) {
        let mut ask = self.clients.ask("DELETE", format!("/v1/{collection}/{id}"), None);
        ask.hurries = true;
        self.expect(self.clients.send(ask).await);
    }
}

/// A server that is stopped and started again goes on where it was.
async fn restart(world: &Arc<World>) {
    let life = world.server().await;
    let before = oracle::streams(&life);
    life.order_stop();
    let next = |now: &Option<Arc<Life>>| now.as_ref().is_some_and(|now| !Arc::ptr_eq(now, &life));
    drop(world.life.subscribe().wait_for(next).await);
    oracle::settle(world).await;
    oracle::engine(world).await;
    let after = oracle::streams(&*world.server().await);
    if after != before {
        world.broken(format!("a restart changed what there is: {before:?} {after:?}"));
    }
}

/// Everything goes once its bay is deleted.
async fn wipe(world: &Arc<World>, clients: &Arc<Clients>) {
    let bays = locked(&clients.bays).clone();
    for bay in bays {
        clients.send(clients.ask("DELETE", format!("/v1/bays/{bay}"), None)).await;
    }
    oracle::settle(world).await;
    let left_behind = oracle::left_behind(&*world.server().await);
    let left = world.engine.containers().into_iter().filter_map(|it| it.stream);
    let left: Vec<_> = left.filter(|stream| !left_behind.contains(&stream.id)).collect();
    if let Some(first) = left.first() {
        world.broken(format!("{} containers are left without bays: {first}", left.len()));
    }
    let networks = world.engine.networks();
    if let Some((_, bay)) = networks.iter().find(|(_, bay)| !left_behind.contains(bay)) {
        world.broken(format!("the network of bay {bay} is left"));
    }
}
