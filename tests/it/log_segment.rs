//! The segment engine's files: torn, damaged, missing, newer, in use; its disk full or failing.
//!
//! Rules L1 to L3 and L7 (F1, F48). Not here: random power cuts (`seeds`).

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use magnum::clock;
use magnum::events::Recorded;
use magnum::events::log::segment::disk::Disk;
use magnum::events::log::segment::simulated::{Faults, SimulatedDisk};
use magnum::events::log::segment::{
    FolderLock, OfflineLog, SEGMENT_HEADER_BYTES, SegmentLog, SegmentOptions, info, info_on,
    verify, verify_on,
};
use magnum::events::log::{AppendError, EventLog, Expected, OpenError, ReadError};
use magnum::ids::{CommandId, Position, Revision};

use crate::harness::{PATIENCE, wait_until};
use crate::log::{append, event, key, read_all, stream};

const FIRST: &str = "0000000001.seg";
const SECOND: &str = "0000000002.seg";

fn index() -> sled::Tree {
    let index = sled::Config::new().temporary(true).open().expect("an index");
    index.open_tree("log").expect("a tree")
}

fn copied(from: &sled::Tree) -> sled::Tree {
    let index = index();
    for entry in from.iter() {
        let (key, value) = entry.expect("readable");
        index.insert(key, value).expect("inserted");
    }
    index
}

fn try_open(disk: &SimulatedDisk, index: &sled::Tree) -> Result<SegmentLog, OpenError> {
    let options = SegmentOptions { segment_bytes: 16 << 10, folder: clock::new_uuid() };
    SegmentLog::open_on(Arc::new(disk.clone()), None, options, index.clone())
}

fn open(disk: &SimulatedDisk, index: &sled::Tree) -> SegmentLog {
    try_open(disk, index).expect("a log")
}

fn refusal(disk: &SimulatedDisk, index: &sled::Tree) -> String {
    try_open(disk, index).expect_err("refused").to_string()
}

/// The offset of each record of a segment, and the end.
fn offsets(segment: &[u8]) -> Vec<usize> {
    let mut offsets = vec![SEGMENT_HEADER_BYTES];
    loop {
        let at = *offsets.last().expect("one");
        match length(segment, at) {
            None | Some(0) => return offsets,
            Some(length) => offsets.push((at + length).next_multiple_of(8)),
        }
    }
}

/// How long the record at an offset is without its padding.
fn length(segment: &[u8], at: usize) -> Option<usize> {
    let length = segment.get(at..at + 4)?;
    Some(u32::from_le_bytes(length.try_into().expect("four")) as usize)
}

/// A closed log of appends of so many events each.
async fn written(disk: &SimulatedDisk, index: &sled::Tree, appends: &[usize]) -> Vec<Recorded> {
    let log = open(disk, index);
    for events in appends {
        log.append(append(stream(), Expected::NoStream, *events)).await.expect("appended");
    }
    let events = read_all(&log, 100);
    log.close().await;
    events
}

#[tokio::test]
async fn a_log_is_the_same_after_it_was_closed() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let one = stream();
    let mut expected = Expected::NoStream;
    let mut known = Vec::new();
    for round in 0..4 {
        let log = open(&disk, &index);
        assert_eq!(read_all(&log, 64), known);
        assert_eq!(log.head().borrow().0, known.len() as u64);
        for step in 0..30 {
            let mut new = append(one, expected, 2);
            new.command = key(&format!("{round}/{step}"), round);
            expected = Expected::Exact(log.append(new).await.expect("appended").revision);
            log.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
        }
        known = read_all(&log, 64);
        let mine: Vec<_> = known.iter().filter(|it| it.stream == one).cloned().collect();
        assert_eq!(log.read_stream(one, Revision(0), 1000).expect("readable"), mine);
        if round % 2 == 0 {
            log.close().await;
        }
    }
    assert!(disk.list().expect("names").iter().filter(|name| name.ends_with(".seg")).count() > 3);
    let claim = String::from_utf8(disk.content("writer").expect("a claim")).expect("text");
    assert!(claim.contains("\"epoch\":4"), "{claim}");
}

#[tokio::test]
async fn an_index_that_is_lost_or_stale_changes_nothing() {
    let (disk, good) = (SimulatedDisk::new(), index());
    let one = stream();
    let stale = index();
    let mut known = Vec::new();
    for (round, used) in [(0_u64, &stale), (1, &good)] {
        // What is written while `good` is in use, `stale` does not know.
        let log = open(&disk, used);
        for step in round * 100..(round + 1) * 100 {
            let expected = step
                .checked_sub(1)
                .map_or(Expected::NoStream, |last| Expected::Exact(Revision(last)));
            let mut new = append(one, expected, 1);
            new.command = key(&format!("c{step}"), 1);
            log.append(new).await.expect("appended");
        }
        known = read_all(&log, 64);
        log.close().await;
    }
    let (ahead, wrong) = (index(), index());
    let other = stream();
    {
        let longer = disk.copy();
        let log = open(&longer, &ahead);
        log.append(append(other, Expected::NoStream, 5)).await.expect("appended");
        log.close().await;
        written(&SimulatedDisk::new(), &wrong, &[3, 3]).await;
    }
    // Killed while entries were moved: they are there, but not the checkpoint after them.
    let (cut, cut_ahead) = (copied(&good), copied(&ahead));
    for (index, before) in [(&cut, &stale), (&cut_ahead, &good)] {
        let checkpoint = before.get(b"p").expect("readable").expect("a checkpoint");
        index.insert(b"p", checkpoint).expect("inserted");
    }
    for used in [good, stale, index(), ahead, wrong, cut, cut_ahead] {
        let log = open(&disk.copy(), &used);
        assert_eq!(log.stream_head(other).expect("an answer"), None);
        assert_eq!(read_all(&log, 64), known);
        assert_eq!(log.read_stream(one, Revision(0), 1000).expect("readable"), known);
        for step in [0, 99, 100, 199] {
            let seen = log.command(&CommandId(format!("c{step}"))).expect("an answer");
            assert_eq!(seen.expect("seen").appended.first, Position(step + 1));
        }
        assert_eq!(log.command(&CommandId("c200".to_owned())).expect("an answer"), None);
        let next = append(one, Expected::Exact(Revision(199)), 1);
        assert_eq!(log.append(next).await.expect("appended").first, Position(201));
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_at_every_byte() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let events = written(&disk, &index, &[2, 1, 3]).await;
    let whole = disk.content(FIRST).expect("a segment");
    let offsets = offsets(&whole);
    let (start, end) = (offsets[3], offsets[6]);
    let behind_last = offsets[5] + length(&whole, offsets[5]).expect("a record");
    for cut in start..=end {
        for rest in [0_u8, 0xA5] {
            let mut torn = whole.clone();
            torn[cut..end].fill(rest);
            if torn == whole {
                continue;
            }
            let is_whole = torn[..behind_last] == whole[..behind_last];
            disk.put(FIRST, torn);
            index.clear().expect("cleared");
            let log = open(&disk, &index);
            // Garbage in the padding of the last record is behind the last event, and what is torn
            // may be what was there.
            let kept = if is_whole { 6 } else { 3 };
            assert_eq!(read_all(&log, 10), events[..kept], "cut at {cut} with {rest}");
            let left = disk.content(FIRST).expect("a segment");
            let behind = if kept == 3 { start } else { end };
            assert!(left[behind..].iter().all(|byte| *byte == 0), "cut at {cut}: garbage is left");
            let next = log.append(append(stream(), Expected::NoStream, 2)).await.expect("appended");
            assert_eq!(next.last.0 as usize, kept + 2);
            drop(log);
            assert_eq!(read_all(&open(&disk, &index), 10).len(), kept + 2);
        }
    }
}

/// Behind the last record there are zeros, and it may end in some itself.
#[tokio::test]
async fn damage_before_a_record_that_ends_in_zeros_is_refused() {
    for zeros in [1, 8, 300, 10_000] {
        let disk = SimulatedDisk::new();
        let log = open(&disk, &index());
        log.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
        let mut last = append(stream(), Expected::NoStream, 1);
        last.events[0].payload = vec![0; zeros].into();
        log.append(last).await.expect("appended");
        log.close().await;
        let mut damaged = disk.content(FIRST).expect("a segment");
        let (at, next) = (offsets(&damaged)[0], offsets(&damaged)[1]);
        damaged[at + 20] ^= 1;
        disk.put(FIRST, damaged);
        let words = refusal(&disk, &index());
        for part in [&format!("offset {at}"), "position 1", &format!("follows at offset {next}")] {
            assert!(words.contains(part), "{zeros}: {words}");
        }
    }
}

#[tokio::test]
async fn a_torn_tail_that_was_durable_once_is_refused() {
    let (disk, index) = (SimulatedDisk::new(), index());
    written(&disk, &index, &[2, 1, 3]).await;
    let mut torn = disk.content(FIRST).expect("a segment");
    let at = offsets(&torn)[5];
    torn[at + 20] ^= 1;
    disk.put(FIRST, torn);
    let words = refusal(&disk, &index);
    for part in ["segment 1", &format!("offset {at}"), "position 6", "magnum log repair"] {
        assert!(words.contains(part), "{words}");
    }
}

#[tokio::test]
async fn a_bit_that_flipped_in_the_middle_is_refused() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let events = written(&disk, &index, &[2, 1, 3, 2]).await;
    let whole = disk.content(FIRST).expect("a segment");
    let offsets = offsets(&whole);
    for (record, span) in offsets[..6].windows(2).enumerate() {
        for byte in (span[0]..span[1] - 8).step_by(3) {
            let mut damaged = whole.clone();
            damaged[byte] ^= 1 << (byte % 8);
            disk.put(FIRST, damaged);
            // The index knows everything: it opens, and reading says where it is wrong.
            let log = open(&disk, &index);
            assert_eq!(log.read(Position(0), record).expect("readable"), events[..record]);
            let Err(ReadError::Damaged(words)) = log.read(Position(0), 10) else {
                panic!("byte {byte} went unnoticed");
            };
            let place = format!("offset {}, position {}", span[0], record + 1);
            assert!(words.contains("segment 1") && words.contains(&place), "{words}");
            drop(log);
            // Without an index everything is read, and it does not open.
            let words = refusal(&disk, &self::index());
            assert!(words.contains("segment 1") && words.contains(&place), "{words}");
        }
    }
}

#[tokio::test]
async fn segments_that_do_not_follow_are_refused() {
    let (disk, index) = (SimulatedDisk::new(), index());
    written(&disk, &index, &[20; 12]).await;
    let segment = |name| disk.content(name).expect("a segment");
    let names = |disk: &SimulatedDisk| disk.list().expect("names");
    assert!(names(&disk).len() >= 4, "{:?}", names(&disk));
    let without = |name: &str| {
        let copy = disk.copy();
        copy.remove(name).expect("removed");
        refusal(&copy, &index)
    };
    assert!(without(FIRST).contains("the first segment is missing"));
    assert!(without(SECOND).contains("the segment before it is missing"));
    let with = |name: &str, content: Vec<u8>| {
        let copy = disk.copy();
        copy.put(name, content);
        refusal(&copy, &index)
    };
    assert!(with(SECOND, segment(FIRST)).contains("the name of another segment"));
    assert!(with(SECOND, segment(SECOND)[..9000].to_vec()).contains("shorter"));
    let mut header = segment(SECOND);
    header[50] ^= 1;
    assert!(with(SECOND, header).contains("the segment's header"));
    let other = SimulatedDisk::new();
    written(&other, &self::index(), &[20; 12]).await;
    let foreign = other.content(SECOND).expect("a segment");
    assert!(with(SECOND, foreign).contains("another data directory"));
    // The last record of a sealed segment is gone: nothing is cut there.
    let mut sealed = segment(FIRST);
    let last = offsets(&sealed).iter().rev().nth(1).copied().expect("a record");
    sealed[last..].fill(0);
    assert!(with(FIRST, sealed).contains(&format!("segment 1 ({FIRST}), offset {last}")));
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let (disk, index) = (SimulatedDisk::new(), index());
    written(&disk, &index, &[1]).await;
    let mut newer = disk.content(FIRST).expect("a segment");
    newer[8] = 3;
    disk.put(FIRST, newer);
    match try_open(&disk, &index) {
        Err(OpenError::Newer { found: 3, known: 2, path }) => assert!(path.contains(FIRST)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_second_process_is_refused_and_a_stale_lock_is_not_in_the_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data/log");
    let options = SegmentOptions { segment_bytes: 16 << 10, folder: clock::new_uuid() };
    let log = SegmentLog::open(&path, options, index()).expect("a log");
    log.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
    match SegmentLog::open(&path, options, index()) {
        Err(OpenError::InUse { holder, .. }) => {
            assert!(holder.starts_with(&std::process::id().to_string()), "{holder}");
        }
        other => panic!("{other:?}"),
    }
    log.close().await;
    // Closed, it is free, though the log may still be read.
    let lock = FolderLock::take(&path).expect("free");
    assert_eq!(read_all(&log, 10).len(), 1);
    let again = SegmentLog::open_locked(lock, options, index()).expect("a log");
    drop(again);
    std::fs::write(path.join("lock"), "4711 on elsewhere\n").expect("written");
    assert_eq!(read_all(&SegmentLog::open(&path, options, index()).expect("a log"), 10).len(), 1);
}

#[tokio::test]
async fn a_folder_that_another_opening_took_over_is_left_alone() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let log = open(&disk, &index);
    log.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
    // As after removing the lock file under a running process.
    let _second = open(&disk, &self::index());
    let mut refused = None;
    for _ in 0..100 {
        if let Err(error) = log.append(append(stream(), Expected::NoStream, 5)).await {
            refused = Some(error);
            break;
        }
    }
    match refused.expect("the next segment is not begun") {
        AppendError::Closed(why) => assert!(why.contains("epoch 2"), "{why}"),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let log = open(&disk, &index);
    disk.inject(Faults { room: Some(100), ..Faults::default() });
    for _ in 0..3 {
        match log.append(append(stream(), Expected::NoStream, 1)).await {
            Err(AppendError::NoSpace(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(log.health().no_space.is_some() && log.health().failed.is_none());
    disk.inject(Faults { room: Some(20 << 10), ..Faults::default() });
    let mut appended = 0;
    let full = loop {
        match log.append(append(stream(), Expected::NoStream, 3)).await {
            Ok(_) => appended += 3,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::NoSpace(_)), "{full}");
    assert_eq!(read_all(&log, 10).len(), appended);
    disk.inject(Faults::default());
    log.append(append(stream(), Expected::NoStream, 3)).await.expect("appended");
    assert_eq!(log.health().no_space, None);
    drop(log);
    assert_eq!(read_all(&open(&disk, &index), 10).len(), appended + 3);
}

/// Also where nobody appends: a load balancer sends nothing to a service that says it has no room.
#[tokio::test]
async fn that_there_is_room_again_is_noticed_without_an_append() {
    let full = Faults { room: Some(100), ..Faults::default() };
    let without_files = Faults { no_files: u64::MAX, ..Faults::default() };
    for faults in [full, without_files] {
        let (disk, index) = (SimulatedDisk::new(), index());
        let log = open(&disk, &index);
        disk.inject(faults);
        log.append(append(stream(), Expected::NoStream, 1)).await.expect_err("refused");
        disk.inject(Faults::default());
        wait_until("room", PATIENCE, || log.health().no_space.is_none());
        log.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
    }
}

#[tokio::test]
async fn too_many_open_files_refuse_and_pass() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let log = open(&disk, &index);
    disk.inject(Faults { no_files: u64::MAX, ..Faults::default() });
    for _ in 0..3 {
        match log.append(append(stream(), Expected::NoStream, 1)).await {
            Err(AppendError::NoFiles(why)) => assert!(why.contains("next segment"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(log.health().no_space.is_some() && log.health().failed.is_none());
    disk.inject(Faults::default());
    // Also when the next segment was to be made ready ahead of time, which failed.
    let mut appended = 0;
    for lacks in [0, u64::MAX, 0] {
        disk.inject(Faults { no_files: lacks, ..Faults::default() });
        for _ in 0..200 {
            match log.append(append(stream(), Expected::NoStream, 5)).await {
                Ok(_) => appended += 5,
                Err(AppendError::NoFiles(_)) if lacks > 0 => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(log.health().no_space, None);
    assert_eq!(read_all(&log, 100).len(), appended);
    drop(log);
    assert_eq!(read_all(&open(&disk, &index), 100).len(), appended);
}

/// Nothing is acknowledged that is lost when the files are closed.
#[tokio::test]
async fn files_that_were_removed_are_noticed_before_the_next_answer() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let log = open(&disk, &index);
    log.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
    disk.remove("0000000001.seg").expect("removed");
    match log.append(append(stream(), Expected::NoStream, 1)).await {
        Err(AppendError::OutcomeUnknown(why) | AppendError::Closed(why)) => {
            assert!(why.contains("were removed"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert!(log.health().failed.expect("red").contains("were removed"));
}

#[tokio::test]
async fn a_full_disk_can_be_opened() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let events = written(&disk, &index, &[3]).await;
    disk.inject(Faults { room: Some(0), ..Faults::default() });
    assert_eq!(read_all(&open(&disk, &index), 10), events);
}

#[tokio::test]
async fn a_failed_sync_ends_the_writer_and_nothing_is_retried() {
    let failures = [
        Faults { sync_error_in: Some(0), ..Faults::default() },
        Faults { write_error_in: Some(0), ..Faults::default() },
    ];
    for faults in failures {
        let (disk, index) = (SimulatedDisk::new(), index());
        let log = Arc::new(open(&disk, &index));
        log.append(append(stream(), Expected::NoStream, 2)).await.expect("appended");
        disk.inject(faults);
        let waiting = (0..10).map(|_| log.append(append(stream(), Expected::NoStream, 1)));
        let answers = futures_util::future::join_all(waiting).await;
        assert!(
            matches!(answers[0], Err(AppendError::OutcomeUnknown(_))),
            "whoever was in the write cannot know: {answers:?}"
        );
        assert!(answers.iter().all(|answer| matches!(
            answer,
            Err(AppendError::OutcomeUnknown(_) | AppendError::Closed(_))
        )));
        match log.append(append(stream(), Expected::NoStream, 1)).await {
            Err(AppendError::Closed(why)) => assert!(why.contains("simulated"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert!(log.health().failed.is_some());
        assert_eq!(*log.head().borrow(), Position(2), "readers see nothing of it");
        assert_eq!(read_all(log.as_ref(), 10).len(), 2);
        drop(log);
        // The unknown ones are there whole or not at all.
        let again = open(&disk, &index);
        assert!((2..=12).contains(&read_all(&again, 10).len()));
        again.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
    }
}

/// Tries something with each of its reads failing in turn: that is an error with its place, and
/// what it gives once none fails is what it gave before.
fn try_each_read<T: PartialEq + std::fmt::Debug, E: std::fmt::Display>(
    disk: &SimulatedDisk,
    ask: impl Fn() -> Result<T, E>,
) {
    let expected = ask().unwrap_or_else(|error| panic!("{error}"));
    for read in 0.. {
        let before = disk.happened().read_errors;
        disk.inject(Faults { read_error_in: Some(read), ..Faults::default() });
        let answer = ask();
        disk.inject(Faults::default());
        match answer {
            Ok(answer) => {
                assert_eq!(answer, expected);
                assert!(read > 0 && disk.happened().read_errors == before, "read {read} failed");
                break;
            }
            Err(error) => {
                let words = error.to_string();
                let placed = words.contains(".seg), offset ") || words.contains("writer: ");
                assert!(placed && !words.contains("damaged"), "{words}");
            }
        }
    }
    disk.inject(Faults { short_reads: Some(100), ..Faults::default() });
    assert_eq!(ask().unwrap_or_else(|error| panic!("{error}")), expected);
    disk.inject(Faults::default());
}

#[tokio::test]
async fn a_read_that_fails_is_neither_damage_nor_the_end_and_works_again() {
    let (disk, used) = (SimulatedDisk::new(), index());
    let log = open(&disk, &used);
    let one = stream();
    for step in 0..60_u64 {
        let last = step.checked_sub(1).map(Revision);
        let mut new = append(one, last.map_or(Expected::NoStream, Expected::Exact), 1);
        new.command = key(&format!("c{step}"), 1);
        log.append(new).await.expect("appended");
        log.append(append(stream(), Expected::NoStream, 2)).await.expect("appended");
    }
    log.close().await;
    let log = open(&disk, &used);
    try_each_read(&disk, || log.read(Position(0), 1000));
    try_each_read(&disk, || log.read(Position(150), 20));
    try_each_read(&disk, || log.read_stream(one, Revision(0), 1000));
    try_each_read(&disk, || log.command(&CommandId("c30".to_owned())));
    try_each_read(&disk, || verify_on(&disk));
    try_each_read(&disk, || info_on(&disk));
    log.close().await;
    let offline = OfflineLog::open_on(&disk).expect("a log");
    disk.inject(Faults { read_error_in: Some(3), ..Faults::default() });
    assert!(matches!(offline.stream_head(one), Err(ReadError::Io(_))));
    assert_eq!(offline.stream_head(one).expect("readable"), Some(Revision(59)));
    try_each_read(&disk, || offline.command(&CommandId("c59".to_owned())));
    // Without an index all of it is read when it is opened.
    try_each_read(&disk, || try_open(&disk, &index()).map(|log| *log.head().borrow()));
}

#[tokio::test]
async fn an_append_larger_than_a_segment_gets_one_of_its_size() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let log = open(&disk, &index);
    let mut big = append(stream(), Expected::NoStream, 1);
    big.events = vec![event(100_000), event(5), event(200_000)];
    for _ in 0..2 {
        big.stream = stream();
        log.append(big.clone()).await.expect("appended");
        log.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
    }
    let events = read_all(&log, 3);
    drop(log);
    assert_eq!(read_all(&open(&disk, &self::index()), 3), events);
}

#[tokio::test]
async fn a_log_can_be_verified_offline_and_beside_its_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = SegmentOptions { segment_bytes: 16 << 10, folder: clock::new_uuid() };
    let empty = verify(folder.path()).expect("verified");
    assert_eq!((empty.head, empty.unfinished, empty.damage.len()), (Position(0), 0, 0));
    let log = Arc::new(SegmentLog::open(folder.path(), options, index()).expect("a log"));
    let writer = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for _ in 0..200 {
                log.append(append(stream(), Expected::NoStream, 3)).await.expect("appended");
            }
        })
    };
    while !writer.is_finished() {
        let least = *log.head().borrow();
        let path = folder.path().to_owned();
        let live = tokio::task::spawn_blocking(move || verify(&path)).await.expect("done");
        let live = live.expect("verified");
        assert_eq!(live.damage, []);
        assert!(live.head >= least);
    }
    writer.await.expect("done");
    let last = log.read(Position(599), 1).expect("readable").pop().expect("the last event");
    log.close().await;
    let offline = verify(folder.path()).expect("verified");
    assert_eq!((offline.head, offline.hash), (last.position, last.hash));
    let known = info(folder.path()).expect("known");
    assert_eq!((known.folder, known.epoch, known.copied), (options.folder, 1, false));
    assert!(known.segments.len() > 3);
    assert!(known.segments.windows(2).all(|two| two[0].last.next() == two[1].first));
    let head = known.segments.last().map(|last| last.last);
    assert_eq!((known.head, known.hash, head), (last.position, last.hash, Some(last.position)));
}

#[tokio::test]
async fn verification_names_every_damaged_segment() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let events = written(&disk, &index, &[1; 240]).await;
    assert!(!info_on(&disk).expect("known").copied);
    assert!(info_on(&disk.copy()).expect("known").copied);
    let mut places = Vec::new();
    for name in [FIRST, SECOND] {
        let mut content = disk.content(name).expect("a segment");
        let offset = offsets(&content)[7];
        content[offset + 90] ^= 4;
        disk.put(name, content);
        places.push(offset as u64);
    }
    let verified = verify_on(&disk).expect("verified");
    assert_eq!((verified.head, verified.hash), (Position(7), events[6].hash));
    let found: Vec<_> = verified.damage.iter().map(|it| (it.segment, it.offset)).collect();
    assert_eq!(found, [(1, places[0]), (2, places[1])]);
    assert_eq!(verified.damage[0].position, 8);
}

#[tokio::test]
async fn verification_says_what_is_unfinished() {
    let (disk, index) = (SimulatedDisk::new(), index());
    written(&disk, &index, &[2, 3]).await;
    let mut torn = disk.content(FIRST).expect("a segment");
    let offsets = offsets(&torn);
    torn[offsets[4] + 9..].fill(0);
    disk.put(FIRST, torn.clone());
    let verified = verify_on(&disk).expect("verified");
    assert_eq!((verified.head, verified.damage.len()), (Position(2), 0));
    assert_eq!(verified.unfinished, (offsets[4] - offsets[2]) as u64 + 9);
    assert_eq!(disk.content(FIRST).expect("a segment"), torn, "nothing was changed");
}

#[tokio::test]
async fn segments_double_up_to_their_size_and_the_next_one_is_made_ready() {
    const MIB: u64 = 1 << 20;
    let (disk, index) = (SimulatedDisk::new(), index());
    let options = SegmentOptions { segment_bytes: 3 * MIB, folder: clock::new_uuid() };
    let open = || {
        let disk = Arc::new(disk.clone());
        SegmentLog::open_on(disk, None, options, index.clone()).expect("a log")
    };
    let log = open();
    let mut big = append(stream(), Expected::NoStream, 1);
    big.events = vec![event(400 << 10)];
    for _ in 0..16 {
        big.stream = stream();
        log.append(big.clone()).await.expect("appended");
    }
    log.close().await;
    let sizes: Vec<u64> =
        info_on(&disk).expect("known").segments.iter().map(|segment| segment.size).collect();
    assert_eq!(sizes, [MIB, 2 * MIB, 3 * MIB, 3 * MIB]);
    // What another opening left half made gives its room back.
    disk.put("next-9.new", vec![0; 100]);
    let log = open();
    let unfinished = || disk.list().expect("names").into_iter().find(|it| it.ends_with(".new"));
    assert_eq!(unfinished(), None);
    assert_eq!(read_all(&log, 5).len(), 16);
    // Somewhere in the second half of a segment, the next one is begun.
    while unfinished().as_deref() != Some("next-2.new") {
        assert!(read_all(&log, 5).len() < 100, "nothing is made ready");
        big.stream = stream();
        log.append(big.clone()).await.expect("appended");
    }
    log.close().await;
    assert_eq!(unfinished(), None);
}
