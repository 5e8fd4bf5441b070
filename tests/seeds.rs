//! The segment engine on a disk that loses power, fails or lies, from seeds (F1, F48).
//!
//! Whatever happens: an acknowledged event is never lost, an unacknowledged append is there whole
//! or not at all, positions are dense, the chain holds, and a flipped bit is never skipped.
//! `MAGNUM_SEEDS=10000` runs that many seeds, `MAGNUM_SEED=17` one. A program of its own, so that
//! `make test` can compile it with optimisation and run many.
//!
//! A seed draws the same appends and faults again, and the same ids but for the time in them. It is
//! not the same run again: the log's writer is a thread, so how many appends it gathers for a write
//! differs, and with that where a fault strikes and what follows.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "it/log_events.rs"]
mod log_events;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use magnum::clock;
use magnum::events::Recorded;
use magnum::events::claim::{Claim, Claims, HeldNames, Name};
use magnum::events::log::segment::disk::Disk;
use magnum::events::log::segment::simulated::{Chance, Faults, Happened, SimulatedDisk};
use magnum::events::log::segment::{SEGMENT_HEADER_BYTES, SegmentLog, SegmentOptions};
use magnum::events::log::{
    Append, AppendError, Appended, EventLog, Expected, OpenError, ReadError,
};
use magnum::ids::{CommandId, EventId, Position, Revision, StreamId, Timestamp};

use log_events::{append, key, read_all, stream};

/// Names that appends claim.
const NAMES: u64 = 6;

/// Seeds of an ordinary run; debug builds take some milliseconds for each.
const SEEDS: u64 = 500;

/// When every run begins: 2026-01-01.
const BEGIN: Timestamp = Timestamp(1_767_225_600_000_000);

/// What the test knows of one append.
struct Sent {
    stream: StreamId,
    events: Vec<EventId>,
    command: String,
    acknowledged: Option<Appended>,
}

struct World {
    chance: Chance,
    /// Decides when too many files are open.
    files: Chance,
    disk: SimulatedDisk,
    index: sled::Tree,
    segment_bytes: u64,
    sent: Vec<Sent>,
    /// What was read after the last restart: durable from then on.
    durable: Vec<Recorded>,
    /// What appends do with names.
    names: Chance,
}

#[test]
fn nothing_acknowledged_is_lost_whatever_the_disk_does() {
    let read = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match read("MAGNUM_SEED") {
        Some(one) => one..one + 1,
        None => 0..read("MAGNUM_SEEDS").unwrap_or(SEEDS),
    };
    let all = seeds.end - seeds.start;
    let next = AtomicU64::new(seeds.start);
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let happened = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(|| run(&next, seeds.end))).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(happened) => happened,
            Err(panic) => resume_unwind(panic),
        });
        joined.fold(Happened::default(), add)
    });
    println!("{all} seeds: {happened:?}");
    let Happened { dropped, torn, reordered, names_lost, full, no_files, .. } = happened;
    let Happened { write_errors, sync_errors, name_errors, read_errors, .. } = happened;
    let Happened { short_reads, short_writes, .. } = happened;
    let kinds = [dropped, torn, reordered, names_lost, full, no_files, short_writes, short_reads];
    let errors = [write_errors, sync_errors, name_errors, read_errors];
    assert!(
        all < SEEDS || kinds.into_iter().chain(errors).all(|count| count > 0),
        "something never happened: {happened:?}"
    );
}

/// Lives one seed after another until they are used up.
fn run(next: &AtomicU64, end: u64) -> Happened {
    let sled = sled::Config::new().temporary(true).open().expect("an index");
    let index = sled.open_tree("log").expect("a tree");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut sum = Happened::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return sum;
        }
        let life = || runtime.block_on(live(seed, index.clone()));
        match catch_unwind(AssertUnwindSafe(life)) {
            Ok(happened) => sum = add(sum, happened),
            Err(panic) => {
                eprintln!("to draw the same again: MAGNUM_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
}

fn add(one: Happened, other: Happened) -> Happened {
    Happened {
        dropped: one.dropped + other.dropped,
        torn: one.torn + other.torn,
        reordered: one.reordered + other.reordered,
        names_lost: one.names_lost + other.names_lost,
        write_errors: one.write_errors + other.write_errors,
        sync_errors: one.sync_errors + other.sync_errors,
        name_errors: one.name_errors + other.name_errors,
        full: one.full + other.full,
        no_files: one.no_files + other.no_files,
        short_writes: one.short_writes + other.short_writes,
        read_errors: one.read_errors + other.read_errors,
        short_reads: one.short_reads + other.short_reads,
    }
}

async fn live(seed: u64, index: sled::Tree) -> Happened {
    index.clear().expect("cleared");
    clock::simulate(BEGIN, seed);
    let mut chance = Chance::new(seed);
    let segment_bytes = 5 << (10 + chance.below(4));
    let disk = SimulatedDisk::new();
    // Draws of its own, so that each seed still means what it did before there was this fault.
    let files = Chance::new(!seed);
    let (sent, durable) = (Vec::new(), Vec::new());
    let names = Chance::new(seed.rotate_left(32));
    let mut world = World { chance, files, disk, index, segment_bytes, sent, durable, names };
    for _ in 0..1 + world.chance.below(4) {
        world.write_until_it_ends().await;
        world.restart();
        world.check();
    }
    world.flip_a_bit();
    world.disk.happened()
}

impl World {
    fn open(&self) -> Result<SegmentLog, OpenError> {
        let options =
            SegmentOptions { segment_bytes: self.segment_bytes, folder: uuid::Uuid::nil() };
        SegmentLog::open_on(Arc::new(self.disk.clone()), None, options, self.index.clone())
    }

    fn faults(&mut self) -> Faults {
        let chance = &mut self.chance;
        let mut faults = Faults::default();
        match chance.below(9) {
            0 => faults.write_error_in = Some(chance.below(20)),
            1 => faults.sync_error_in = Some(chance.below(20)),
            2 => faults.name_error_in = Some(chance.below(10)),
            3 => faults.room = Some(chance.below(60_000)),
            4 => faults.read_error_in = Some(chance.below(40)),
            _ => faults.power_off_in = Some(chance.below(80)),
        }
        if chance.below(4) == 0 {
            faults.short_writes = Some(1 + chance.below(700) as usize);
        }
        if chance.below(4) == 0 {
            faults.short_reads = Some(1 + chance.below(700) as usize);
        }
        if self.files.below(4) == 0 {
            faults.no_files = self.files.below(4);
        }
        faults
    }

    /// What goes wrong with reads alone.
    fn read_faults(&mut self) -> Faults {
        let read_error_in = Some(self.chance.below(40));
        let short_reads = Some(1 + self.chance.below(7000) as usize);
        Faults { read_error_in, short_reads, ..Faults::default() }
    }

    /// Appends from several sides at once until it has done enough or the disk gave up.
    async fn write_until_it_ends(&mut self) {
        // Faults may come while the log is opened, or only later.
        let faults = self.faults();
        let early = self.chance.below(4) == 0;
        if early {
            self.disk.inject(faults);
        }
        let log = match self.open() {
            Ok(log) => log,
            Err(error) => {
                assert!(early, "a good disk must open: {error}");
                return check_place(&error.to_string());
            }
        };
        self.disk.inject(faults);
        let mut heads: BTreeMap<StreamId, Revision> = BTreeMap::new();
        for event in &self.durable {
            heads.insert(event.stream, event.revision);
        }
        for _ in 0..2 + self.chance.below(20) {
            let wave: Vec<Append> =
                (0..1 + self.chance.below(6)).map(|_| self.new_append(&heads)).collect();
            let first = self.sent.len() - wave.len();
            let waiting = wave.into_iter().map(|append| log.append(append));
            let answers = futures_util::future::join_all(waiting).await;
            for (sent, answer) in self.sent.iter_mut().skip(first).zip(answers) {
                match answer {
                    Ok(appended) => {
                        sent.acknowledged = Some(appended);
                        heads.insert(sent.stream, appended.revision);
                    }
                    Err(AppendError::NoSpace(_) | AppendError::NoFiles(_)) => {}
                    Err(AppendError::Conflict { .. } | AppendError::Claimed { .. }) => {}
                    Err(AppendError::OutcomeUnknown(_) | AppendError::Closed(_)) => return,
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }

    fn new_append(&mut self, heads: &BTreeMap<StreamId, Revision>) -> Append {
        let known = self.chance.below(heads.len() as u64 + 2) as usize;
        let (stream, expected) = heads.iter().nth(known).map_or_else(
            || (stream(), Expected::NoStream),
            |(stream, revision)| (*stream, Expected::Exact(*revision)),
        );
        let mut append = append(stream, expected, 1 + self.chance.below(5) as usize);
        for event in &mut append.events {
            event.payload = vec![0xEE; self.chance.below(600) as usize].into();
        }
        let command = format!("c{}", self.sent.len());
        append.command = key(&command, 1);
        append.events[0].meta.claims = Claims(self.new_claims());
        let events = append.events.iter().map(|event| event.id).collect();
        self.sent.push(Sent { stream, events, command, acknowledged: None });
        append
    }

    /// Names that an append takes or gives up: few, so that many are taken.
    fn new_claims(&mut self) -> Vec<Claim> {
        let count = self.names.below(3);
        let claim = |_| {
            let name = name(self.names.below(NAMES));
            match self.names.below(8) {
                0..5 => Claim::Take(name),
                5 => Claim::Share(name),
                _ => Claim::Release(name),
            }
        };
        (0..count).map(claim).collect()
    }

    /// Names are held as the events say, and no append took one that another object held.
    fn check_names(&self, log: &SegmentLog, events: &[Recorded]) {
        let mut holders: BTreeMap<Name, BTreeSet<StreamId>> = BTreeMap::new();
        for event in events {
            let stream = event.stream;
            let claims = &event.meta.claims.0;
            for claim in claims {
                let others = |held: &BTreeSet<StreamId>| held.iter().any(|it| *it != stream);
                let is_held = holders.get(claim.name()).is_some_and(others);
                assert!(!(is_held && matches!(claim, Claim::Take(_))), "{claim:?} was held");
            }
            for claim in claims {
                let held = holders.entry(claim.name().clone()).or_default();
                if claim.holds() {
                    held.insert(stream)
                } else {
                    held.remove(&stream)
                };
            }
        }
        let of = |(name, held): (&Name, &BTreeSet<StreamId>)| {
            let name = name.digest();
            held.iter().map(move |stream| (name, *stream)).collect::<Vec<_>>()
        };
        let held: HeldNames = holders.iter().flat_map(of).collect();
        assert_eq!(log.learn_names(&held).expect("an answer"), 0, "{holders:?}");
    }

    /// The process or the machine stops; the index survives, or does not.
    fn restart(&mut self) {
        if self.disk.is_off() || self.chance.below(2) == 0 {
            self.disk.restart(self.chance.draw());
        } else {
            // Only the process ended: what it wrote is still in the system's memory.
            self.disk.inject(Faults::default());
        }
        if self.chance.below(3) == 0 {
            self.index.clear().expect("cleared");
        }
    }

    fn check(&mut self) {
        let log = self.open_though_reads_fail();
        let events = read_all(&log, 17);
        assert!(events.len() >= self.durable.len(), "what was read before is there");
        assert_eq!(events[..self.durable.len()], self.durable);
        let places: BTreeMap<EventId, usize> =
            events.iter().enumerate().map(|(place, event)| (event.id, place)).collect();
        assert_eq!(places.len(), events.len(), "nothing is there twice");
        for sent in &self.sent {
            let found: Vec<usize> =
                sent.events.iter().filter_map(|id| places.get(id).copied()).collect();
            let whole = found.len() == sent.events.len()
                && found.windows(2).all(|pair| pair[0] + 1 == pair[1]);
            assert!(found.is_empty() || whole, "an append is whole or not there");
            let seen = log.command(&CommandId(sent.command.clone())).expect("an answer");
            assert_eq!(seen.is_some(), whole, "commands are known as their events are");
            if let Some(appended) = sent.acknowledged {
                assert!(whole, "{appended:?} was acknowledged and is lost");
                assert_eq!(appended.first, Position(found[0] as u64 + 1));
                assert_eq!(seen.map(|seen| seen.appended), Some(appended));
            }
        }
        let mut streams: BTreeMap<StreamId, Vec<Recorded>> = BTreeMap::new();
        for event in &events {
            streams.entry(event.stream).or_default().push(event.clone());
        }
        for (stream, events) in streams {
            assert_eq!(log.read_stream(stream, Revision(0), 1000).expect("readable"), events);
            assert!(events.iter().zip(0..).all(|(event, revision)| event.revision.0 == revision));
        }
        self.check_names(&log, &events);
        self.durable = events;
        if self.chance.below(2) == 0 {
            self.read_though_reads_fail(&log);
        }
    }

    /// Opens the log, perhaps at the second go: a read that failed changed nothing.
    fn open_though_reads_fail(&mut self) -> SegmentLog {
        if self.chance.below(4) == 0 {
            let faults = self.read_faults();
            self.disk.inject(faults);
            let opened = self.open();
            self.disk.inject(Faults::default());
            match opened {
                Ok(log) => return log,
                Err(error) => {
                    assert!(matches!(error, OpenError::Io { .. }), "{error}");
                    check_place(&error.to_string());
                }
            }
        }
        self.open().unwrap_or_else(|error| panic!("{error}"))
    }

    /// A read that failed is said as such, and can be done again.
    fn read_though_reads_fail(&mut self, log: &SegmentLog) {
        let faults = self.read_faults();
        self.disk.inject(faults);
        let mut read: Vec<Recorded> = Vec::new();
        loop {
            let after = read.last().map_or(Position(0), |event| event.position);
            match log.read(after, 7) {
                Ok(more) if more.is_empty() => break,
                Ok(more) => read.extend(more),
                Err(ReadError::Io(words)) => {
                    check_place(&words);
                    let again = self.read_faults();
                    let more = self.chance.below(2) == 0;
                    self.disk.inject(if more { again } else { Faults::default() });
                }
                Err(error) => panic!("a read that failed was taken for something else: {error}"),
            }
        }
        self.disk.inject(Faults::default());
        assert_eq!(read, self.durable);
    }

    /// A bit flips somewhere: it is refused with its place, or it was in nobody's event, or in
    /// the last write, which cannot be told from a torn one without the index.
    fn flip_a_bit(&mut self) {
        let names: Vec<_> = self.disk.list().expect("names");
        if names.is_empty() {
            return;
        }
        let name = &names[self.chance.below(names.len() as u64) as usize];
        let mut content = self.disk.content(name).expect("a segment");
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // Mostly where something is.
        let most = if self.chance.below(4) == 0 { content.len() } else { used };
        let at = self.chance.below(most as u64) as usize;
        let last_write = if name.ends_with(".seg") { last_write(&content) } else { usize::MAX };
        content[at] ^= 1 << self.chance.below(8);
        self.disk.put(name, content);
        let lost = self.chance.below(2) == 0;
        if lost {
            self.index.clear().expect("cleared");
        }
        let log = match self.open() {
            Ok(log) => log,
            Err(OpenError::Newer { .. }) => return assert!((8..12).contains(&at)),
            Err(error) => {
                let words = error.to_string();
                assert!(words.contains(name.as_str()) && words.contains("offset"), "{words}");
                return;
            }
        };
        let mut read = Vec::new();
        loop {
            let after = read.last().map_or(Position(0), |event: &Recorded| event.position);
            match log.read(after, 7) {
                Ok(more) if more.is_empty() => break,
                Ok(more) => read.extend(more),
                Err(error) => {
                    let words = error.to_string();
                    assert!(words.contains(name.as_str()) && words.contains("position"), "{words}");
                    break;
                }
            }
        }
        assert_eq!(read[..], self.durable[..read.len()], "nothing is changed or skipped");
        let head = log.head().borrow().0 as usize;
        if head < self.durable.len() {
            assert!(
                lost && Some(name) == names.iter().rfind(|name| name.ends_with(".seg")),
                "only an unknown tail is cut"
            );
            assert!(at >= last_write, "only the last write can be torn, byte {at} cannot");
        }
    }
}

fn name(number: u64) -> Name {
    Name { scope: "bays/p".to_owned(), text: number.to_string() }
}

/// A read that failed says which file could not be read, and where.
fn check_place(words: &str) {
    let is_placed = words.contains(".seg), offset ") || words.contains("writer: ");
    assert!(is_placed || !words.contains("the read failed"), "{words}");
}

/// The offset where the last write of a segment began, as its last record says.
fn last_write(segment: &[u8]) -> usize {
    let number = |at: usize| {
        let bytes = segment.get(at..at + 4).expect("a number");
        u32::from_le_bytes(bytes.try_into().expect("four")) as usize
    };
    let (mut at, mut group) = (SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES);
    while at + 12 < segment.len() && number(at) > 0 {
        group = number(at + 8);
        at = (at + number(at)).next_multiple_of(8);
    }
    group
}
