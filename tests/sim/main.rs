//! The whole system in one thread and in virtual time, from one seed: clients, actors, reactor,
//! workers, reconciler and read models are the real ones; the engine is the model, the disk, the
//! bus and the clock are simulated. Everything that may go wrong does, as the seed says; then all
//! is well, and what must hold is looked at.
//!
//! `MAGNUM_SIMS=2000` runs that many seeds, `MAGNUM_SIM=17` one of them, and prints its trace also
//! if all is well.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod client;
mod finish;
mod oracle;
mod ports;
mod saved;
mod server;
mod weather;
mod world;

use std::cell::{OnceCell, RefCell};
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use world::{Trees, World, locked};

/// Seeds of an ordinary run.
const SEEDS: u64 = 20;

/// Seeds that found something once, and what that was. They are always run.
const REGRESSIONS: [(u64, &str); 17] = [
    (38, "A bay that was deleted while it was created left its network behind."),
    (4, "A delete waited for a pull."),
    (17, "The offer of a create was late, and was done after the delete."),
    (28, "The offer of a create was late, and was done after the delete."),
    (167, "A repeated outcome of emptying a bay was taken for that of deleting its network."),
    (258, "A repeated outcome of emptying a bay was taken for that of deleting its network."),
    (990, "The same, with an attempt of a restart that was not recorded."),
    (1648, "The same, with an attempt of a restart that was not recorded."),
    (45034, "A container of a bay that is gone was asked to go once, without an answer."),
    (49539, "The same."),
    (73200, "The same."),
    (8234, "A command ended by itself as it was to be ended; its output was dropped unsaid."),
    (66190, "The same."),
    (84989, "The same."),
    (102_814, "The same."),
    (48606, "The same, of a command whose answer was lost."),
    (39029, "An offer to an agent that had ended came to the next one, after the delete."),
];

/// Whether a seed is the same run every time: tokio takes its seed only with this flag. Without it
/// every run is traced, in case it fails.
const REPEATABLE: bool = cfg!(tokio_unstable);

thread_local! {
    /// What panicked on this thread, in words, while it simulates.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// How a run ended.
struct End {
    breaches: Vec<String>,
    steps: u64,
    /// The chain over all that was recorded; nothing if the run panicked.
    #[cfg_attr(not(tokio_unstable), expect(dead_code, reason = "no run is the same again"))]
    hash: String,
    story: Vec<String>,
}

/// Runs one seed to its end.
fn run(seed: u64, trees: &Trees, traced: bool) -> End {
    PANICS.set(Some(vec![]));
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder.build().expect("a runtime");
    let system = actix::System::with_tokio_rt(move || runtime);
    // What was seen until a panic is told as well.
    let world: OnceCell<Arc<World>> = OnceCell::new();
    let lives = || {
        system.block_on(async {
            let new = World::new(seed, trees.clone(), traced);
            live(seed, world.get_or_init(|| new)).await
        })
    };
    let hash = panic::catch_unwind(AssertUnwindSafe(lives)).unwrap_or_default();
    let told = world.get().map(|world| (world.breaches(), world.steps(), world.story()));
    let (mut breaches, steps, story) = told.unwrap_or_default();
    breaches.extend(PANICS.take().unwrap_or_default());
    End { breaches, steps, hash, story }
}

/// Everything that happens in a world; what identifies it.
async fn live(seed: u64, world: &Arc<World>) -> String {
    world.note(|| format!("seed {seed}: {:?}", world.weather));
    tokio::spawn(server::supervise(world.clone()));
    let clients = client::Clients::new(world);
    let weather = tokio::spawn(weather::blow(world.clone(), clients.clone()));
    let many = 2 + world.below(3);
    let running = (0..many).map(|_| tokio::spawn(client::live(clients.clone())));
    let running: Vec<_> = running.collect();
    // Requests that are still in progress then are carried through.
    let stormy = Duration::from_secs(60 + world.below(120));
    let all = async {
        for client in running {
            drop(client.await);
        }
    };
    tokio::pin!(all);
    let done = tokio::time::timeout(stormy, &mut all).await.is_ok();
    world.calm_down();
    weather.abort();
    if !done {
        all.await;
    }
    let hash = finish::check(world, &clients).await;
    // It would keep the world, which keeps it.
    world.life.send_replace(None);
    hash
}

/// Keeps what panics of a simulation say, instead of printing it.
fn keep_panics() {
    panic::set_hook(Box::new(|panic| {
        PANICS.with_borrow_mut(|panics| match panics {
            Some(panics) => panics.push(format!("a panic: {panic}")),
            None => eprintln!("{panic}"),
        });
    }));
}

/// Tells how a seed went; where runs can be repeated, by running it again. Past the test's output,
/// which is shown only where a test fails.
fn tell(seed: u64, end: End) -> io::Result<()> {
    let end = if REPEATABLE { run(seed, &Trees::new(), true) } else { end };
    let mut out = io::stderr().lock();
    let skipped = end.story.len().saturating_sub(lines());
    for line in end.story.iter().skip(skipped) {
        writeln!(out, "{line}")?;
    }
    if end.breaches.is_empty() {
        return writeln!(out, "seed {seed} after {} steps: all is well", end.steps);
    }
    writeln!(out, "seed {seed} after {} steps: {:#?}", end.steps, end.breaches)?;
    writeln!(out, "to see it again: MAGNUM_SIM={seed}")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Lines of a trace that are printed.
fn lines() -> usize {
    number("MAGNUM_SIM_LINES").map_or(120, |lines| lines as usize)
}

#[test]
fn the_system_keeps_its_promises_whatever_happens() {
    let named = number("MAGNUM_SIM");
    let seeds: Vec<u64> = match named {
        Some(one) => vec![one],
        None => {
            let first = number("MAGNUM_SIM_FROM").unwrap_or(0);
            let end = first + number("MAGNUM_SIMS").unwrap_or(SEEDS);
            REGRESSIONS.into_iter().map(|(seed, _)| seed).chain(first..end).collect()
        }
    };
    keep_panics();
    let most = number("MAGNUM_SIM_FAILURES").unwrap_or(1) as usize;
    let (next, steps) = (AtomicUsize::new(0), AtomicU64::new(0));
    // Those that failed, and the one that was asked for.
    let ends: Mutex<Vec<(u64, End)>> = Mutex::default();
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let trees = Trees::new();
                loop {
                    let seed = seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied();
                    let Some(seed) = seed.filter(|_| locked(&ends).len() < most) else {
                        return;
                    };
                    let end = run(seed, &trees, !REPEATABLE);
                    steps.fetch_add(end.steps, Ordering::Relaxed);
                    if !end.breaches.is_empty() || named.is_some() {
                        locked(&ends).push((seed, end));
                    }
                }
            });
        }
    });
    let mut ends = ends.into_inner().expect("a list");
    ends.sort_by_key(|(seed, _)| *seed);
    println!("{} seeds, {} steps", seeds.len(), steps.into_inner());
    let mut failed = 0;
    for (seed, end) in &ends {
        if let Some(breach) = end.breaches.first() {
            eprintln!("seed {seed}: {breach}");
            failed += 1;
        }
    }
    if let Some((seed, end)) = ends.into_iter().next() {
        tell(seed, end).expect("written");
    }
    drop(panic::take_hook());
    assert_eq!(failed, 0, "seeds failed");
}

/// Time, ids and the order of everything follow from the seed alone.
#[cfg(tokio_unstable)]
#[test]
fn a_seed_is_the_same_run_every_time() {
    let (first, second) = (Trees::new(), Trees::new());
    for seed in 0..20 {
        let (one, other) = (run(seed, &first, true), run(seed, &second, true));
        if one.hash != other.hash {
            let pairs = one.story.iter().zip(&other.story);
            let differs = pairs.into_iter().position(|(one, other)| one != other);
            let at = differs.unwrap_or(0);
            let from = at.saturating_sub(8);
            for line in one.story.iter().skip(from).take(12) {
                eprintln!("first  {line}");
            }
            for line in other.story.iter().skip(from).take(12) {
                eprintln!("second {line}");
            }
        }
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert!(!one.hash.is_empty(), "seed {seed}: {:?}", one.breaches);
    }
}
