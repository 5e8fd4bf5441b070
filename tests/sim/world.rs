//! What outlives a server: the engine, the disk, the clock, chance, and what went wrong.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use magnum::backends::fake::FakeEngine;
use magnum::clock;
use magnum::events::log::segment::simulated::{Chance, Faults, SimulatedDisk};
use magnum::ids::{ObjectId, Timestamp};
use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

use crate::server::Life;

/// When every simulation begins: 2026-01-01.
const BEGIN: Timestamp = Timestamp(1_767_225_600_000_000);

/// What a sled database may keep in memory: what one run needs.
const CACHE_BYTES: u64 = 4 << 20;

/// Lines of a trace that are kept: the last ones are what matters.
const TRACE_LINES: usize = 4000;

/// What goes wrong in a run, as its seed says.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Steps between two crashes of the server, on average; `None` if it does not crash.
    pub crash_every: Option<u64>,
    /// Steps between two crashes of the agent alone, on average; `None` if it does not crash.
    pub agent_crash_every: Option<u64>,
    /// Whether servers are stopped and started again as by an operator.
    pub stops: bool,
    /// Whether a crash takes what was not synced with it.
    pub power_cuts: bool,
    /// Whether the disk fails.
    pub disk_faults: bool,
    /// Whether the engine goes away now and then.
    pub engine_outages: bool,
    /// Whether the engine dies now and then, with its containers.
    pub engine_crashes: bool,
    /// Whether engine calls fail, or lose their answers.
    pub engine_faults: bool,
    /// Whether people use the engine directly.
    pub meddling: bool,
    /// Whether the clock jumps.
    pub jumps: bool,
    /// Whether clients lose requests and answers.
    pub lossy: bool,
    /// Whether messages on the bus are lost, repeated and late.
    pub bus_faults: bool,
    /// Whether clients give up bays whose deletion does not end.
    pub forces: bool,
}

/// What a server keeps beside its log, which may be lost. Used for one run after the other.
#[derive(Clone)]
pub struct Trees {
    pub db: sled::Db,
    pub index: sled::Tree,
    pub snapshots: sled::Tree,
    pub views: sled::Tree,
    /// The key of the only project, for digests: no run makes one, which would wait for the disk.
    pub keys: Arc<TempDir>,
}

impl Trees {
    pub fn new() -> Self {
        // What runs before this one left in the cache is not needed.
        let config = sled::Config::new().cache_capacity(CACHE_BYTES);
        let db = config.temporary(true).flush_every_ms(None).open().expect("sled");
        let tree = |name| db.open_tree(name).expect("a tree");
        let (index, snapshots, views) = (tree("index"), tree("snapshots"), tree("views"));
        let keys = Arc::new(TempDir::new().expect("a folder"));
        fs::write(keys.path().join("default.key"), [7; 32]).expect("a key");
        Self { db, index, snapshots, views, keys }
    }
}

/// Everything that is not the server.
pub struct World {
    pub weather: Weather,
    pub engine: Arc<FakeEngine>,
    pub disk: SimulatedDisk,
    pub trees: Trees,
    pub segment_bytes: u64,
    pub folder: Uuid,
    /// The server that runs, if one does.
    pub life: watch::Sender<Option<Arc<Life>>>,
    /// Objects whose engine side somebody touched directly.
    pub meddled: Mutex<BTreeSet<ObjectId>>,
    chance: Mutex<Chance>,
    calm: AtomicBool,
    steps: AtomicU64,
    trace: Option<Mutex<VecDeque<String>>>,
    broken: Mutex<Vec<String>>,
}

impl World {
    /// Must be called in a runtime.
    pub fn new(seed: u64, trees: Trees, traced: bool) -> Arc<Self> {
        let mut chance = Chance::new(seed ^ 0x5151_5151);
        clock::simulate(BEGIN, seed);
        for tree in [&trees.index, &trees.snapshots, &trees.views] {
            tree.clear().expect("cleared");
        }
        let mut is = |times| chance.below(times) == 0;
        let weather = Weather {
            crash_every: is(2).then_some(300),
            agent_crash_every: is(2).then_some(120),
            stops: is(3),
            power_cuts: is(2),
            disk_faults: is(6),
            engine_outages: is(3),
            engine_crashes: is(3),
            engine_faults: is(2),
            meddling: is(3),
            jumps: is(6),
            lossy: is(2),
            bus_faults: is(2),
            // Seeds that found something before there was this stay as they were.
            forces: [1, 2, 3, 5].contains(&(seed % 10)),
        };
        let segment_bytes = 32 << (10 + chance.below(3));
        let folder = clock::new_uuid();
        Arc::new(Self {
            weather,
            engine: FakeEngine::new(clock::now_and_instant()),
            disk: SimulatedDisk::new(),
            trees,
            segment_bytes,
            folder,
            life: watch::Sender::new(None),
            meddled: Mutex::default(),
            chance: Mutex::new(chance),
            calm: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            trace: traced.then(Mutex::default),
            broken: Mutex::default(),
        })
    }

    /// A number below a limit.
    pub fn below(&self, limit: u64) -> u64 {
        locked(&self.chance).below(limit)
    }

    /// Whether something with a chance of one in so many happens.
    pub fn one_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// As [`World::one_in`], but never once everything is to settle.
    pub fn strikes(&self, times: u64) -> bool {
        self.one_in(times) && !self.is_calm()
    }

    /// Waits for at most so many milliseconds.
    pub async fn pause(&self, limit_ms: u64) {
        let ms = self.below(limit_ms + 1);
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// From now on nothing goes wrong any more.
    pub fn calm_down(&self) {
        self.note(|| "---- everything is well from now on".to_owned());
        self.calm.store(true, Ordering::Relaxed);
        self.engine.start_up();
        self.disk.inject(Faults::default());
        let life = self.life.borrow().clone();
        if let Some(life) = life.filter(|life| !life.is_well()) {
            life.fence.kill();
        }
    }

    /// Counts a step; which one it is.
    pub fn step(&self) -> u64 {
        self.steps.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Adds a line to the trace, if there is one.
    pub fn note(&self, line: impl FnOnce() -> String) {
        let Some(trace) = &self.trace else { return };
        let mut trace = locked(trace);
        if trace.len() >= TRACE_LINES {
            trace.pop_front();
        }
        trace.push_back(format!("{:>6} {} {}", self.steps(), clock::now(), line()));
    }

    /// Something that must not be.
    pub fn broken(&self, words: String) {
        self.note(|| format!("BROKEN: {words}"));
        locked(&self.broken).push(words);
    }

    /// What must not be and was.
    pub fn breaches(&self) -> Vec<String> {
        locked(&self.broken).clone()
    }

    /// The trace.
    pub fn story(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| locked(trace).iter().cloned().collect()).unwrap_or_default()
    }

    /// The server that runs; waits for one.
    pub async fn server(&self) -> Arc<Life> {
        let mut life = self.life.subscribe();
        let found = life.wait_for(Option::is_some).await.expect("the world goes on");
        found.clone().expect("there is one")
    }
}

/// A lock that outlives a panic.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
