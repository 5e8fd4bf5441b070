//! Containers created, started and deleted through the whole server, beside the same calls made
//! directly to the Docker engine: one at a time, and eight in parallel.
//!
//! Both take turns with few containers each, so that both see the same moods of the engine, and
//! the engine is asked for what the server asks it for: the same limits, as many labels. A third
//! side writes a record before and after each call: the least that it costs to know what was done.

#![expect(clippy::indexing_slicing, reason = "answers have these fields, and a pair has two sides")]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, NetworkCreateRequest, NetworkingConfig,
};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use magnum::credentials;
use serde_json::{Value, json};

use crate::probe::Probe;
use crate::report::{Report, percentile};
use crate::server::Server;

/// The image of every container, and what runs in it.
const IMAGE: &str = "busybox:local";
const COMMAND: [&str; 2] = ["sleep", "600"];

/// Turns of each side, and the containers of a turn.
const TURNS: usize = 6;
const CONTAINERS: usize = 16;

/// Calls at once.
const PARALLEL: [usize; 2] = [1, 8];

/// What may be lost on the way: a twentieth.
const LATENCY: f64 = 1.05;
const THROUGHPUT: f64 = 0.95;

/// The calls in the order in which a container gets them.
#[derive(Clone, Copy)]
enum EngineCall {
    Create,
    Start,
    Delete,
}

const CALLS: [(EngineCall, &str); 3] =
    [(EngineCall::Create, "create"), (EngineCall::Start, "start"), (EngineCall::Delete, "delete")];

/// Whoever is asked: the server or the engine.
trait Side {
    /// Does a call for the container of this name, which it knows by what the first call gave.
    fn call<'a>(&'a self, call: EngineCall, id: &'a str) -> BoxFuture<'a, String>;
}

/// The bytes of a record in the log.
const RECORD_BYTES: usize = 600;

/// Measures all sides at both widths.
pub fn measure(report: &mut Report) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let server = Server::start_with("docker");
    runtime.block_on(async {
        let magnum = Magnum::connect(&server).await;
        let engine = Engine::connect(&magnum).await;
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let recorded = Recorded { engine: &engine, disk: Mutex::new(Probe::new(folder.path())) };
        for parallel in PARALLEL {
            let mut sums = CALLS.map(|_| <[Sum; 3]>::default());
            // The first turn of each warms up connections and the engine's caches.
            for turn in 0..=TURNS {
                for (side, who) in
                    [&engine as &dyn Side, &magnum, &recorded].into_iter().enumerate()
                {
                    let times = turn_of(who, parallel).await;
                    for (sums, time) in sums.iter_mut().zip(times).filter(|_| turn > 0) {
                        sums[side].add(time);
                    }
                }
            }
            for ((_, name), sums) in CALLS.into_iter().zip(sums) {
                add(report, name, parallel, sums);
            }
        }
        engine.close().await;
        magnum.close().await;
    });
}

/// One row.
fn add(report: &mut Report, name: &str, parallel: usize, sums: [Sum; 3]) {
    let [mut engine, mut magnum, mut recorded] = sums;
    let what = format!("Container {name} through the server, {parallel} at a time");
    let throughput = magnum.rate() / engine.rate();
    let rates = [magnum.rate(), engine.rate()];
    let p50 = [&mut magnum, &mut engine, &mut recorded].map(Sum::p50);
    let latency = p50[0].as_secs_f64() / p50[1].as_secs_f64();
    let figure = format!("{latency:.2} of the latency, {throughput:.2} of the throughput");
    let beside = format!(
        "the engine alone: p50 {:.2?}, {:.1}/s; with two synced records: p50 {:.2?}; through the \
         server: p50 {:.2?}, {:.1}/s",
        p50[1], rates[1], p50[2], p50[0], rates[0]
    );
    let target = format!("{LATENCY}, {THROUGHPUT}");
    report.add(&what, &figure, &target, latency <= LATENCY && throughput >= THROUGHPUT, &beside);
}

/// All calls for some containers, each call for all of them before the next; what each took.
async fn turn_of(side: &dyn Side, parallel: usize) -> [Time; 3] {
    let mut ids: Vec<String> = vec![String::new(); CONTAINERS];
    let mut times = CALLS.map(|_| Time::default());
    for ((call, _), time) in CALLS.into_iter().zip(&mut times) {
        let begin = Instant::now();
        let answers = stream::iter(ids.iter()).map(|id| async move {
            let begin = Instant::now();
            (side.call(call, id).await, begin.elapsed())
        });
        let answers: Vec<_> = answers.buffered(parallel).collect().await;
        time.took = begin.elapsed();
        (ids, time.each) = answers.into_iter().unzip();
    }
    times
}

/// What one kind of call took in a turn.
#[derive(Default)]
struct Time {
    took: Duration,
    each: Vec<Duration>,
}

/// What it took in all turns.
#[derive(Default)]
struct Sum {
    took: Duration,
    each: Vec<Duration>,
}

impl Sum {
    fn add(&mut self, time: Time) {
        self.took += time.took;
        self.each.extend(time.each);
    }

    fn rate(&self) -> f64 {
        self.each.len() as f64 / self.took.as_secs_f64()
    }

    fn p50(&mut self) -> Duration {
        percentile(&mut self.each, 0.5)
    }
}

/// The engine, asked directly.
struct Engine {
    docker: Docker,
    network: String,
    body: ContainerCreateBody,
}

impl Engine {
    async fn connect(magnum: &Magnum) -> Self {
        let docker = Docker::connect_with_unix_defaults().expect("an engine");
        let network = format!("magnum-bench-{}", std::process::id());
        let request = NetworkCreateRequest { name: network.clone(), ..Default::default() };
        docker.create_network(request).await.expect("a network");
        let body = body_like_that_of(magnum, &docker, &network).await;
        Self { docker, network, body }
    }

    async fn close(self) {
        self.docker.remove_network(&self.network).await.expect("a network without containers");
    }

    async fn create(&self) -> String {
        let name = format!("{}-{}", self.network, magnum::clock::new_object_id());
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let made = self.docker.create_container(Some(options), self.body.clone()).await;
        made.expect("a container").id
    }
}

/// What the server asks the engine for, but in another network, and with labels under other names:
/// the server would take a container with its own for one to look after.
async fn body_like_that_of(magnum: &Magnum, docker: &Docker, network: &str) -> ContainerCreateBody {
    let id = magnum.call(EngineCall::Create, "").await;
    let made = docker.inspect_container(&format!("magnum-{id}"), None).await;
    let made = made.expect("the container of this id");
    magnum.call(EngineCall::Delete, &id).await;
    let config = made.config.expect("its configuration");
    let labels = config.labels.into_iter().flatten();
    let aliases = Some(vec![id]);
    let endpoint = EndpointSettings { aliases, ..EndpointSettings::default() };
    let endpoints_config = Some([(network.to_owned(), endpoint)].into());
    let mut host_config = made.host_config.expect("its limits");
    host_config.network_mode = Some(network.to_owned());
    ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: config.cmd,
        env: config.env,
        labels: Some(labels.map(|(key, value)| (format!("bench.{key}"), value)).collect()),
        host_config: Some(host_config),
        networking_config: Some(NetworkingConfig { endpoints_config }),
        ..ContainerCreateBody::default()
    }
}

impl Side for Engine {
    fn call<'a>(&'a self, call: EngineCall, id: &'a str) -> BoxFuture<'a, String> {
        async move {
            match call {
                EngineCall::Create => return self.create().await,
                EngineCall::Start => self.docker.start_container(id, None).await.expect("a start"),
                EngineCall::Delete => {
                    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
                    self.docker.remove_container(id, Some(options)).await.expect("a removal");
                }
            }
            id.to_owned()
        }
        .boxed()
    }
}

/// The engine, with a record written and synced before and after each call.
struct Recorded<'a> {
    engine: &'a Engine,
    disk: Mutex<Probe>,
}

impl Recorded<'_> {
    fn write(&self) {
        self.disk.lock().expect("no panic").write(&[0xA5; RECORD_BYTES]);
    }
}

impl Side for Recorded<'_> {
    fn call<'a>(&'a self, call: EngineCall, id: &'a str) -> BoxFuture<'a, String> {
        async move {
            self.write();
            let id = self.engine.call(call, id).await;
            self.write();
            id
        }
        .boxed()
    }
}

/// The server.
struct Magnum {
    client: reqwest::Client,
    url: String,
    bay: String,
}

impl Magnum {
    async fn connect(server: &Server) -> Self {
        let client = credentials::plain().build().expect("a client");
        let mut magnum = Self { client, url: format!("{}/v1", server.url), bay: String::new() };
        let template = json!({ "name": "b", "image_id": "i", "keypair_id": "k", "coe": "docker" });
        let template = magnum.post("baymodels", &template).await;
        let bay = json!({ "name": "b", "baymodel_id": template, "node_count": 1 });
        magnum.bay = magnum.post("bays", &bay).await;
        magnum.wait_for("bays", &magnum.bay, "CREATE_COMPLETE").await;
        magnum
    }

    /// Has its bay's network removed, and all that a broken run left in it.
    async fn close(self) {
        let path = format!("{}/bays/{}", self.url, self.bay);
        self.client.delete(&path).send().await.expect("an answer");
        while self.client.get(&path).send().await.expect("an answer").status() != 404 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes an object; its uuid.
    async fn post(&self, collection: &str, body: &Value) -> String {
        let request = self.client.post(format!("{}/{collection}", self.url)).json(body);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
        let made: Value = answer.json().await.expect("an object");
        made["uuid"].as_str().expect("a uuid").to_owned()
    }

    async fn wait_for(&self, collection: &str, id: &str, status: &str) {
        loop {
            let path = format!("{}/{collection}/{id}", self.url);
            let answer = self.client.get(path).send().await.expect("an answer");
            let object: Value = answer.json().await.expect("an object");
            if object["status"] == status {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Side for Magnum {
    fn call<'a>(&'a self, call: EngineCall, id: &'a str) -> BoxFuture<'a, String> {
        let path = format!("{}/containers/{id}", self.url);
        async move {
            let (request, done) = match call {
                EngineCall::Create => {
                    let body = json!({ "image": IMAGE, "command": COMMAND, "bay_uuid": self.bay });
                    return self.post("containers", &body).await;
                }
                EngineCall::Start => (self.client.put(format!("{path}/start")), 200),
                EngineCall::Delete => (self.client.delete(path), 204),
            };
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), done);
            id.to_owned()
        }
        .boxed()
    }
}
