//! What an archive leaves of a log is read as before, by everybody, and nothing else is missing.
//!
//! Not here: what a server says about it (`archive`).

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use magnum::clock;
use magnum::events::Recorded;
use magnum::events::log::segment::archive::{self, ArchiveReport};
use magnum::events::log::segment::backup::{backup, verify_backup};
use magnum::events::log::segment::manifest::BackupError;
use magnum::events::log::segment::restore::{self, Until};
use magnum::events::log::segment::{FolderLock, OfflineLog, hash_at, info, verify};
use magnum::events::log::{Append, Archived, EventLog, Expected};
use magnum::ids::{Position, Revision, StreamId, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::Config;
use tempfile::TempDir;

use crate::log::{event, key, read_all, stream};
use crate::log_tools::{index, magnum, segments, try_open};

/// A folder with a log, what is in it, and a backup of it.
struct World {
    home: TempDir,
    all: Vec<Recorded>,
    streams: Vec<StreamId>,
}

impl World {
    /// A log of appends to these streams, of so many events each.
    async fn new(appends: &[(usize, usize)]) -> Self {
        let streams = appends.iter().map(|(stream, _)| *stream).max().map_or(0, |it| it + 1);
        let streams = (0..streams).map(|_| stream()).collect();
        let mut world = Self { home: TempDir::new().expect("a folder"), all: Vec::new(), streams };
        world.write(appends, &index()).await;
        world.back_up("backup");
        world
    }

    fn data(&self) -> &Path {
        self.home.path()
    }

    fn log(&self) -> std::path::PathBuf {
        self.home.path().join("log")
    }

    fn target(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    fn back_up(&self, name: &str) {
        backup(&self.log(), &self.target(name), clock::now()).expect("a backup");
        let checked = verify_backup(&self.target(name)).expect("a backup");
        assert_eq!(checked.wrong, Vec::<String>::new());
    }

    /// Appends, and notes what is in the log then.
    async fn write(&mut self, appends: &[(usize, usize)], index: &sled::Tree) {
        let log = try_open(self.data(), index).expect("a log");
        let before = *log.head().borrow();
        for (number, (at, events)) in appends.iter().enumerate() {
            let stream = self.streams[*at];
            let expected = log.stream_head(stream).expect("readable");
            let expected = expected.map_or(Expected::NoStream, Expected::Exact);
            let events = (0..*events).map(|_| event(40)).collect();
            let command = key(&format!("{before}-{number}"), 1);
            log.append(Append { stream, expected, command, events }).await.expect("appended");
        }
        let mut new = log.read(before, usize::MAX).expect("readable");
        self.all.append(&mut new);
        log.close().await;
    }

    fn archive(
        &self,
        until: u64,
        needed: &HashSet<StreamId>,
    ) -> Result<ArchiveReport, BackupError> {
        let lock = FolderLock::take(&self.log())?;
        let plan = archive::plan(&lock, Position(until), &self.target("backup"))?;
        archive::archive(&lock, &plan, |stream, _| needed.contains(&stream))
    }

    /// The events that are left.
    fn left(&self, archived: Position, needed: &HashSet<StreamId>) -> Vec<Recorded> {
        let is_left = |it: &&Recorded| it.position > archived || needed.contains(&it.stream);
        self.all.iter().filter(is_left).cloned().collect()
    }
}

/// A log has these events and no others, whichever way one reads them.
fn check(log: &dyn EventLog, left: &[Recorded], streams: &[StreamId]) {
    assert_eq!(paged(log, 7), left);
    for after in (0..log.head().borrow().get() + 2).step_by(13) {
        let wanted: Vec<_> = left.iter().filter(|it| it.position.get() > after).collect();
        let mut scanned = Vec::new();
        let mut take = |event: &magnum::events::EventRef<'_>| {
            scanned.push((event.position, event.id));
            Ok(())
        };
        let count = log.scan(Position(after), 20, &mut take).expect("readable");
        let wanted: Vec<_> = wanted.iter().take(20).map(|it| (it.position, it.id)).collect();
        assert_eq!((count, scanned), (wanted.len(), wanted), "after {after}");
    }
    for stream in streams {
        let of: Vec<_> = left.iter().filter(|it| it.stream == *stream).cloned().collect();
        let last = of.last().map(|it| it.revision);
        assert_eq!(log.stream_head(*stream).expect("readable"), last);
        for (from, limit) in [(0, 1), (0, 1000), (3, 5), (255, 3), (256, 300), (700, 2)] {
            let wanted = of.iter().filter(|it| it.revision.get() >= from).take(limit);
            let wanted: Vec<_> = wanted.collect();
            // Where an archive has taken what was asked for, the page may end with the window.
            let read = log.read_stream(*stream, Revision(from), limit).expect("readable");
            let window = |it: &&Recorded| it.revision.get() < from + limit as u64;
            let inside: Vec<_> = wanted.iter().copied().filter(|it| window(it)).collect();
            let wanted = if inside.is_empty() { wanted } else { inside };
            assert_eq!(read.iter().collect::<Vec<_>>(), wanted, "{from} {limit}");
        }
        let mut scanned = 0;
        log.scan_stream(*stream, Revision(0), usize::MAX, &mut |event| {
            assert_eq!(event.id, of[scanned].id);
            scanned += 1;
            Ok(())
        })
        .expect("readable");
        assert_eq!(scanned, of.len());
    }
}

fn paged(log: &dyn EventLog, page: usize) -> Vec<Recorded> {
    let mut events: Vec<Recorded> = Vec::new();
    loop {
        let after = events.last().map_or(Position(0), |event| event.position);
        let more = log.read(after, page).expect("readable");
        if more.is_empty() {
            return events;
        }
        events.extend(more);
    }
}

/// Appends to one of six streams, the last of them by far the longest.
fn appends() -> impl Strategy<Value = Vec<(usize, usize)>> {
    let streams = prop_oneof![1 => 0..5_usize, 2 => Just(5_usize)];
    proptest::collection::vec((streams, 1..4_usize), 150..500)
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(12) })]

    #[test]
    fn what_is_left_is_read_as_before(
        before in appends(),
        after in appends(),
        until in 0.1..1.0_f64,
        alive in proptest::collection::vec(any::<bool>(), 6),
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(left_as_before(&before, &after, until, &alive));
    }
}

async fn left_as_before(
    before: &[(usize, usize)],
    after: &[(usize, usize)],
    until: f64,
    alive: &[bool],
) {
    let mut world = World::new(before).await;
    let (sound, files) = (verify(&world.log()).expect("readable"), segments(&world.log()));
    let pairs = world.streams.iter().zip(alive);
    let needed: HashSet<_> = pairs.filter(|(_, alive)| **alive).map(|(it, _)| *it).collect();
    let until = (until * world.all.len() as f64) as u64;
    let Ok(done) = world.archive(until, &needed) else {
        let first_end = info(&world.log()).expect("readable").segments[0].last;
        assert!(Position(until) < first_end);
        return;
    };
    let archived = done.archived;
    assert!(archived <= Position(until));
    let left = world.left(archived, &needed);
    let taken = world.all.len() - left.len();
    assert_eq!(done.taken, taken as u64);

    // The chain goes on from where it was, in files of the same names.
    let found = verify(&world.log()).expect("readable");
    assert_eq!((found.damage.len(), found.head, found.hash), (0, sound.head, sound.hash));
    assert_eq!(found.archived, archived);
    assert_eq!(segments(&world.log()), files);
    if archived > Position(0) {
        let hash = world.all[archived.get() as usize - 1].hash;
        assert_eq!(hash_at(&world.log(), archived).expect("readable"), Some(hash));
    }
    check(&OfflineLog::open(&world.log()).expect("a log"), &left, &world.streams);

    // A server goes on with it, and finds it again with its index and without.
    let index = index();
    world.write(after, &index).await;
    let left = world.left(archived, &needed);
    for index in [index, crate::log_tools::index()] {
        let log = try_open(world.data(), &index).expect("a log");
        check(&log, &left, &world.streams);
        let scrub = log.scrub();
        assert!(scrub.read_on_all_cores(&|_| true).expect("sound"));
        assert_eq!(scrub.events(), left.len() as u64);
        let lost = log.has_all_after(Position(archived.get().saturating_sub(1)));
        let oldest = Archived { oldest: archived.next(), latest: *log.head().borrow() };
        assert_eq!(lost.err(), (taken > 0).then_some(oldest));
        assert!(log.has_all_after(archived).is_ok());
        log.close().await;
    }

    // The backup that it was archived into goes on as well, and has everything.
    world.back_up("backup");
    assert_eq!(restored(&world, "backup").await, world.all);
    // One that is made now has what is left.
    world.back_up("another");
    let plan = restore::plan(&world.target("another"), Until::End).expect("a plan");
    restore::restore(&plan, &world.target("left")).expect("restored");
    let copy = OfflineLog::open(&world.target("left").join("log")).expect("a log");
    check(&copy, &left, &world.streams);
    // What is archived again takes what is old since.
    let done = world.archive(u64::MAX, &needed).expect("archived");
    let log = OfflineLog::open(&world.log()).expect("a log");
    check(&log, &world.left(done.archived, &needed), &world.streams);
    // The whole segments, put back, are the log as it was.
    for file in segments(&world.target("backup").join("segments")) {
        let from = world.target("backup").join("segments").join(&file);
        fs::copy(from, world.log().join(&file)).expect("copied");
    }
    assert_eq!(read_all(&OfflineLog::open(&world.log()).expect("a log"), 100), world.all);
}

/// All that a restored backup holds.
async fn restored(world: &World, target: &str) -> Vec<Recorded> {
    let data = world.target("restored");
    let plan = restore::plan(&world.target(target), Until::End).expect("a plan");
    restore::restore(&plan, &data).expect("restored");
    let log = try_open(&data, &index()).expect("a log");
    let all = read_all(&log, 100);
    log.close().await;
    all
}

/// What archiving has left is what the backup has, or somebody changed it.
#[tokio::test]
async fn what_is_left_is_compared_with_the_backup() {
    let (world, _) = two().await;
    let compare = || archive::compare(&world.log(), &world.target("backup")).expect("readable");
    assert_eq!(compare(), Vec::<String>::new(), "nothing is archived");
    let lock = FolderLock::take(&world.log()).expect("a lock");
    let plan = archive::plan(&lock, Position(u64::MAX), &world.target("backup")).expect("a plan");
    archive::archive(&lock, &plan, |_, at| at.get() % 3 == 0).expect("archived");
    assert_eq!(compare(), Vec::<String>::new());
    // Less is left, and that is right.
    let plan = archive::plan(&lock, Position(u64::MAX), &world.target("backup")).expect("a plan");
    archive::archive(&lock, &plan, |_, at| at.get() % 6 == 0).expect("archived");
    assert_eq!(compare(), Vec::<String>::new());
    forge(&world.log().join("0000000002.seg"));
    assert!(verify(&world.log()).expect("readable").damage.is_empty(), "it is well forged");
    let wrong = compare();
    assert!(wrong.len() == 1 && wrong[0].contains("is not what was recorded"), "{wrong:?}");
    let data = ["--data", world.data().to_str().expect("a path")];
    let target = world.target("backup");
    let archive = ["--archive", target.to_str().expect("a path")];
    let told = magnum(world.data(), &[&["log", "verify"][..], &data, &archive].concat());
    assert!(told.code == 1 && told.err.contains(&wrong[0]), "{told:?}");
    let other = World::new(&[(0, 2); 150]).await;
    let error = archive::compare(&world.log(), &other.target("backup")).expect_err("another");
    assert!(error.to_string().contains("it is of data directory"), "{error}");
}

/// Changes the first event that is left of a segment, and all sums and hashes that tell of it.
fn forge(file: &Path) {
    let mut bytes = fs::read(file).expect("readable");
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("four"));
    let rows = number(&bytes[104..]) as usize;
    let at = 4096 + 8 * rows;
    let (length, offset) = (number(&bytes[at..]) as usize, number(&bytes[4096..]));
    bytes[at + 76 + 30] ^= 1;
    let salt = crc32c::crc32c_append(crc32c::crc32c(&bytes[16..32]), &bytes[32..36]);
    let salt = crc32c::crc32c_append(salt, &offset.to_le_bytes());
    let sum = crc32c::crc32c_append(salt, &bytes[at + 8..at + length]);
    bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
    let digest = blake3::hash(&bytes[4096..]);
    bytes[116..148].copy_from_slice(digest.as_bytes());
    let sum = crc32c::crc32c(&bytes[100..204]);
    bytes[96..100].copy_from_slice(&sum.to_le_bytes());
    fs::write(file, bytes).expect("written");
}

/// Two streams, one after the other, over several segments.
async fn two() -> (World, HashSet<StreamId>) {
    let appends: Vec<_> = (0..150).map(|_| (0, 1)).chain((0..150).map(|_| (1, 1))).collect();
    let world = World::new(&appends).await;
    let needed = HashSet::from([world.streams[1]]);
    (world, needed)
}

#[tokio::test]
async fn nothing_is_archived_that_is_not_in_the_backup() {
    let (mut world, needed) = two().await;
    let refused = |world: &World, until: u64, words: &str| {
        let before = contents(&world.log());
        let error = world.archive(until, &needed).expect_err(words).to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert_eq!(contents(&world.log()), before);
    };
    let ends: Vec<_> = info(&world.log()).expect("readable").segments;
    let first_end = ends[0].last.get();
    refused(&world, first_end - 1, &format!("the first one ends at position {first_end}"));
    // It ends before what is to be archived.
    let late: Vec<_> = (0..300).map(|_| (1, 1)).collect();
    world.write(&late, &index()).await;
    refused(&world, u64::MAX, "does not contain the same events up to");
    // It is of another log.
    let (other, _) = two().await;
    fs::rename(world.target("backup"), world.target("kept")).expect("renamed");
    fs::rename(other.target("backup"), world.target("backup")).expect("renamed");
    refused(&world, first_end, "it is of data directory");
    // It is damaged.
    fs::remove_dir_all(world.target("backup")).expect("removed");
    fs::rename(world.target("kept"), world.target("backup")).expect("renamed");
    let file = world.target("backup/segments/0000000001.seg");
    let mut bytes = fs::read(&file).expect("readable");
    bytes[5000] ^= 1;
    fs::write(&file, bytes).expect("written");
    refused(&world, first_end, "is not what was backed up");
    // There is none.
    fs::remove_dir_all(world.target("backup")).expect("removed");
    refused(&world, first_end, "contains no backup");
    // Somebody uses the log.
    world.back_up("backup");
    let log = try_open(world.data(), &index()).expect("a log");
    let error = world.archive(first_end, &needed).expect_err("in use").to_string();
    assert!(error.contains("in use by process"), "{error}");
    log.close().await;
    world.archive(first_end, &needed).expect("archived");
    // A backup that was made since lacks what was archived.
    fs::remove_dir_all(world.target("backup")).expect("removed");
    world.back_up("backup");
    let error = restore::plan(&world.target("backup"), Until::Position(Position(3)));
    let error = error.expect_err("archived").to_string();
    assert!(error.contains(&format!("up to position {first_end} were archived")), "{error}");
    let at = restore::plan(&world.target("backup"), Until::Position(Position(first_end)));
    assert_eq!(at.expect("a plan").position, Position(first_end));
    let time = Until::Time(Timestamp(0));
    assert!(restore::plan(&world.target("backup"), time).is_err());
    // Nor is more archived into it: of an object that went since, the beginning would stay.
    refused(&world, u64::MAX, "does not contain all events up to position");
}

/// The bytes of each segment.
fn contents(log: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = segments(log).into_iter();
    files.map(|name| (name.clone(), fs::read(log.join(name)).expect("readable"))).collect()
}

#[tokio::test]
async fn f48_damage_in_what_is_left_is_found_wherever_it_is() {
    let (world, _) = two().await;
    // Every second event of what is archived, so that there are rows of records.
    let lock = FolderLock::take(&world.log()).expect("a lock");
    let plan = archive::plan(&lock, Position(u64::MAX), &world.target("backup")).expect("a plan");
    archive::archive(&lock, &plan, |_, at| at.get() % 2 == 0).expect("archived");
    drop(lock);
    let file = world.log().join("0000000001.seg");
    let whole = fs::read(&file).expect("readable");
    let ends = [4096 + 8, whole.len()];
    assert!(whole.len() < 16 << 10 && whole.len() > ends[0]);
    for at in (0..204).chain((4096..whole.len()).step_by(37)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(&file, bytes).expect("written");
        let found = verify(&world.log());
        let is_found = found.as_ref().is_ok_and(|found| !found.damage.is_empty());
        assert!(is_found || found.is_err(), "byte {at}: {found:?}");
    }
    for bytes in [0, 100, 4096, 4100, whole.len() - 1] {
        fs::write(&file, &whole[..bytes]).expect("written");
        let found = verify(&world.log());
        let is_found = found.as_ref().is_ok_and(|found| !found.damage.is_empty());
        assert!(is_found || found.is_err(), "{bytes} bytes: {found:?}");
    }
    fs::write(&file, whole).expect("written");
    assert!(verify(&world.log()).expect("readable").damage.is_empty());
}

#[tokio::test]
async fn an_archiving_that_was_cut_off_is_done_again() {
    let (world, needed) = two().await;
    let whole = contents(&world.log());
    let archived = world.archive(u64::MAX, &needed).expect("archived").archived;
    let done = contents(&world.log());
    let is_changed = |it: &&String| done[*it] != whole[*it];
    let changed: Vec<String> = whole.keys().filter(is_changed).cloned().collect();
    assert!(changed.len() > 2, "{changed:?}");
    for cut in 0..changed.len() {
        for (name, bytes) in &whole {
            let at = changed.iter().position(|it| it == name).filter(|at| *at < cut);
            let bytes = at.map_or(bytes, |_| &done[name]);
            fs::write(world.log().join(name), bytes).expect("written");
        }
        // What was being written when it was cut off.
        fs::write(world.log().join("next-archive.new"), b"half").expect("written");
        let log = try_open(world.data(), &index()).expect("a log");
        // Up to where it should have got is said wherever it got to.
        assert_eq!(log.archived(), if cut > 0 { archived } else { Position(0) });
        let found = info(&world.log()).expect("readable").segments;
        let got_to = found.iter().filter(|it| it.left.is_some()).map(|it| it.last).max();
        check(&log, &world.left(got_to.unwrap_or_default(), &needed), &world.streams);
        log.close().await;
        assert!(!world.log().join("next-archive.new").exists());
        world.archive(u64::MAX, &needed).expect("archived");
        let again = contents(&world.log());
        changed.iter().for_each(|name| assert!(again[name] == done[name], "{name}"));
    }
}
