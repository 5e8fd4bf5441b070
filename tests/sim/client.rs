//! Clients: they ask for things, lose answers, ask again with the same key, and remember what they
//! were told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use magnum::clock;
use serde_json::{Value, json};

use crate::ports::SLOW_IMAGES;
use crate::server::{Answer, request};
use crate::world::{World, locked};

/// Tries after which a client thinks that something is wrong, once everything is well.
const TRIES: u32 = 40;

/// A request, sent until it has an answer.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: &'static str,
    pub path: String,
    pub body: Option<Value>,
    /// Names it. Without [`Ask::is_named`] the server sees it in the body alone.
    pub key: String,
    /// Whether the client may ask again, and so tells the key.
    pub is_named: bool,
    /// Whether the client does not wait for the outcome.
    pub hurries: bool,
    /// The id that the client gives its request.
    pub request_id: Option<String>,
}

/// What a client knows of a request that it sent.
#[derive(Clone, Debug)]
pub struct Told {
    pub ask: Ask,
    /// `None` if it was given up, or the run ended first.
    pub answer: Option<Answer>,
    pub tries: u32,
}

impl Told {
    /// Whether it was promised.
    pub fn is_acknowledged(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.status < 300)
    }
}

/// What all clients share.
pub struct Clients {
    pub world: Arc<World>,
    pub told: Mutex<Vec<Told>>,
    pub bays: Mutex<Vec<String>>,
    pub containers: Mutex<Vec<String>>,
}

impl Clients {
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        let world = world.clone();
        let (told, bays, containers) = Default::default();
        Arc::new(Self { world, told, bays, containers })
    }

    /// A request with a key of its own.
    pub fn ask(&self, method: &'static str, path: String, body: Option<Value>) -> Ask {
        let key = format!("key-{}", clock::new_uuid().simple());
        let hurries = self.world.one_in(2);
        Ask { method, path, body, key, is_named: true, hurries, request_id: None }
    }

    /// Sends a request until it has an answer that says something.
    pub async fn send(&self, ask: Ask) -> Told {
        let world = &self.world;
        let (mut tries, mut tries_in_calm) = (0, 0);
        let answer = loop {
            tries += 1;
            tries_in_calm += u32::from(world.is_calm());
            let answer = self.once(&ask).await;
            world.note(|| {
                let said =
                    answer.as_ref().map(|answer| format!("{} {}", answer.status, answer.json));
                let said = said.unwrap_or_else(|| "no answer".to_owned());
                format!("client: {} {} {}: {said}", ask.method, ask.path, ask.key)
            });
            if let Some(answer) = answer.filter(is_final) {
                break Some(answer);
            }
            if !ask.is_named {
                break None;
            }
            if tries_in_calm > TRIES {
                world.broken(format!("no answer after {tries} tries: {ask:?}"));
                break None;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            world.pause(3000).await;
        };
        let told = Told { ask, answer, tries };
        locked(&self.told).push(told.clone());
        told
    }

    /// Sends a request once, over a network that may lose it.
    async fn once(&self, ask: &Ask) -> Option<Answer> {
        let world = &self.world;
        let life = world.server().await;
        let mut headers = BTreeMap::new();
        if ask.is_named {
            headers.insert("idempotency-key", ask.key.clone());
        }
        if ask.hurries {
            headers.insert("prefer", "respond-async".to_owned());
        }
        headers.extend(ask.request_id.clone().map(|id| ("x-openstack-request-id", id)));
        world.note(|| format!("client: {} {} {} {:?}", ask.method, ask.path, ask.key, ask.body));
        world.pause(10).await;
        if world.weather.lossy && world.strikes(8) {
            return None;
        }
        let call = life.call(request(ask.method, &ask.path, &headers, ask.body.as_ref()));
        if world.weather.lossy && world.strikes(8) {
            // The client hangs up, early or late.
            let patience = Duration::from_millis(world.below(2000));
            return tokio::time::timeout(patience, call).await.ok().flatten();
        }
        let answer = call.await?;
        (!(world.weather.lossy && world.strikes(8))).then_some(answer)
    }

    fn any(&self, of: &Mutex<Vec<String>>) -> Option<String> {
        let all = locked(of);
        // Mostly the newest.
        let back = self.world.below(3).min(self.world.below(all.len() as u64 + 1));
        all.len().checked_sub(1 + back as usize).and_then(|at| all.get(at).cloned())
    }

    pub async fn create_bay(&self) {
        let uuid = clock::new_object_id().to_string();
        locked(&self.bays).push(uuid.clone());
        let body = json!({"uuid": uuid, "name": few("b", &uuid)});
        self.send(self.ask("POST", "/v1/bays".to_owned(), Some(body))).await;
    }

    async fn create_container(&self, bay: String) {
        let world = &self.world;
        let uuid = clock::new_object_id().to_string();
        locked(&self.containers).push(uuid.clone());
        let slow = format!("{SLOW_IMAGES}image");
        let images = [
            "busybox:local",
            "busybox:local",
            "busybox:local",
            "busybox:local",
            &slow,
            "missing/none",
        ];
        let commands = ["sleep 100000", "sleep 100000", "exit 3", "sleep 7", "no-such-command"];
        let policies = ["no", "no", "no", "always", "on-failure:2"];
        let body = json!({
            "uuid": uuid, "name": few("c", &uuid), "bay_uuid": bay,
            "image": pick(world, &images), "command": pick(world, &commands),
            "restart_policy": pick(world, &policies),
        });
        self.send(self.ask("POST", "/v1/containers".to_owned(), Some(body))).await;
    }

    /// Something to do with a container that is there, or was.
    async fn act(&self, container: &str) {
        let world = &self.world;
        let verbs = [
            "start",
            "start",
            "start",
            "stop?timeout=0",
            "reboot?timeout=0",
            "pause",
            "unpause",
            "kill",
            "kill?signal=SIGHUP",
        ];
        let verb = pick(world, &verbs);
        self.send(self.ask("PUT", format!("/v1/containers/{container}/{verb}"), None)).await;
    }

    /// Runs a command, or two at once that have the same request id.
    async fn execute(&self, container: &str) {
        let request_id = self.world.below(2);
        if self.world.one_in(2) {
            self.command(container, request_id).await;
        } else {
            let (one, other) = (self.command(container, request_id), async {
                self.world.pause(20).await;
                self.command(container, request_id).await;
            });
            tokio::join!(one, other);
        }
    }

    /// Runs a command and looks at its output.
    async fn command(&self, container: &str, request_id: u64) {
        let world = &self.world;
        let mark = format!("mark-{}", clock::new_uuid().simple());
        let hangs = world.one_in(4);
        let command = if hangs {
            "sleep%20100000".to_owned()
        } else {
            format!("sh%20-c%20%27sleep%201%3B%20echo%20{mark}%27")
        };
        let path = format!("/v1/containers/{container}/execute?command={command}");
        let mut ask = self.ask("PUT", path, None);
        ask.request_id = Some(format!("req-00000000-0000-4000-8000-00000000000{request_id}"));
        let told = self.send(ask).await;
        if let Some(answer) =
            told.answer.as_ref().filter(|answer| answer.json["exit_code"] == 0 && !hangs)
        {
            let output = answer.json["output"].as_str().unwrap_or_default();
            let is_own = output.trim_end() == mark;
            if !(is_own || (output.is_empty() && told.tries > 1)) {
                world.broken(format!("the output of {command} is {output:?}"));
            }
        }
    }

    /// Changes what an object says of itself, in a request without a key that is sent once.
    async fn describe(&self, collection: &str, uuid: &str) {
        let mut ask = self.ask("PATCH", format!("/v1/{collection}/{uuid}"), None);
        ask.body = Some(json!([{"op": "replace", "path": "/desc", "value": ask.key}]));
        ask.is_named = false;
        self.send(ask).await;
    }

    async fn delete(&self, collection: &str, uuid: &str) {
        self.send(self.ask("DELETE", format!("/v1/{collection}/{uuid}"), None)).await;
    }

    /// Deletes a bay, and may have a container made in it at the same time, and give it up.
    async fn delete_bay(&self, bay: String) {
        let delete = self.delete("bays", &bay);
        if self.world.one_in(2) {
            delete.await;
        } else {
            let create = async {
                self.world.pause(100).await;
                self.create_container(bay.clone()).await;
            };
            tokio::join!(delete, create);
        }
        if self.world.weather.forces {
            self.world.pause(40_000).await;
            self.delete("bays", &format!("{bay}?force=1")).await;
        }
    }

    /// One thing that a client does.
    async fn step(&self) {
        let world = &self.world;
        match world.below(100) {
            0..10 => self.create_bay().await,
            10..18 => {
                if let Some(bay) = self.any(&self.bays) {
                    self.delete_bay(bay).await;
                }
            }
            18..45 => {
                if let Some(bay) = self.any(&self.bays) {
                    self.create_container(bay).await;
                }
            }
            45..55 => {
                if let Some(container) = self.any(&self.containers) {
                    self.delete("containers", &container).await;
                }
            }
            55..60 => {
                if let Some(container) = self.any(&self.containers) {
                    self.describe("containers", &container).await;
                }
            }
            60..68 => {
                if let Some(container) = self.any(&self.containers) {
                    self.execute(&container).await;
                }
            }
            _ => {
                if let Some(container) = self.any(&self.containers) {
                    self.act(&container).await;
                }
            }
        }
    }
}

/// One client's life.
pub async fn live(clients: Arc<Clients>) {
    let world = clients.world.clone();
    clients.create_bay().await;
    for _ in 0..4 + world.below(12) {
        if !world.one_in(3) {
            world.pause(4000).await;
        }
        clients.step().await;
    }
}

/// One of 16 names, so that some are held already.
fn few(first: &str, uuid: &str) -> String {
    format!("{first}{}", uuid.chars().last().unwrap_or_default())
}

fn pick<'a>(world: &World, from: &[&'a str]) -> &'a str {
    let place = world.below(from.len() as u64) as usize;
    from.get(place).copied().unwrap_or_default()
}

/// Whether asking again would not help.
fn is_final(answer: &Answer) -> bool {
    let code = answer.code();
    match answer.status {
        408 | 500 | 503 | 504 | 507 => false,
        502 => code == "work-unknown",
        409 => code != "contended",
        _ => true,
    }
}
