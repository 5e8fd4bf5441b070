//! The contract of the event log, on every engine: rules L4 to L6 and S1 to S4.
//!
//! Not here: what only the segment engine has (`log_segment`), a disk that fails (`seeds`).

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::sync::Arc;

use magnum::clock;

use magnum::events::log::memory::MemoryLog;
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{
    Append, AppendError, Appended, EventLog, Expected, MAX_APPEND_EVENTS, MAX_COMMAND_ID_BYTES,
    MAX_PAYLOAD_BYTES, ReadError,
};
use magnum::events::newest::Newest;
use magnum::events::subscription::Subscription;
use magnum::events::{EventRef, EventType, Meta, NewEvent, Recorded};
use magnum::ids::{CommandId, Position, Revision, StreamId};

pub use crate::log_events::{append, event, key, read_all, stream};

/// Runs a contract test on each engine.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(std::sync::Arc::new(super::MemoryLog::new())).await;
            })*
        }
        mod segment {
            $(#[tokio::test]
            async fn $name() {
                let folder = tempfile::tempdir().expect("a folder");
                let (log, _index) = super::open_segments(folder.path());
                super::$name(std::sync::Arc::new(log)).await;
            })*
        }
    };
}

contract!(
    positions_and_revisions_are_dense,
    expectations_are_held,
    a_refused_append_leaves_nothing,
    a_command_is_recorded_once,
    reads_begin_after_a_position_and_keep_their_limit,
    a_scan_hands_over_what_a_read_reads,
    long_streams_are_read_from_any_revision,
    what_was_appended_is_what_is_read,
    unacceptable_appends_are_named,
    the_largest_payload_fits,
    the_head_tells_of_every_append,
    appenders_at_once_keep_every_rule,
    a_stream_is_scanned_as_it_is_read,
    one_of_many_wins_a_revision,
    a_closed_log_reads_and_takes_nothing,
    a_subscription_has_no_seam,
    a_filter_moves_the_cursor,
    a_subscription_ends_with_the_log,
    newest_events_are_those_of_the_log,
);

/// A log with small segments, so that every test crosses from one to the next.
fn open_segments(folder: &std::path::Path) -> (SegmentLog, sled::Db) {
    let index = sled::Config::new().temporary(true).open().expect("an index");
    let tree = index.open_tree("log").expect("a tree");
    let options = SegmentOptions { segment_bytes: 64 << 10, folder: clock::new_uuid() };
    (SegmentLog::open(folder, options, tree).expect("a log"), index)
}

type Log = Arc<dyn EventLog>;

async fn positions_and_revisions_are_dense(log: Log) {
    let (one, two) = (stream(), stream());
    let first = log.append(append(one, Expected::NoStream, 2)).await.expect("appended");
    let at = |first, last, revision| Appended {
        first: Position(first),
        last: Position(last),
        revision: Revision(revision),
    };
    assert_eq!(first, at(1, 2, 1));
    let second = log.append(append(two, Expected::NoStream, 1)).await.expect("appended");
    assert_eq!(second, at(3, 3, 0));
    let third = log.append(append(one, Expected::Exact(Revision(1)), 3)).await.expect("appended");
    assert_eq!(third, at(4, 6, 4));
    let events = read_all(log.as_ref(), 100);
    let places: Vec<_> = events.iter().map(|event| (event.stream, event.revision.0)).collect();
    assert_eq!(places, [(one, 0), (one, 1), (two, 0), (one, 2), (one, 3), (one, 4)]);
    assert_eq!(log.stream_head(one).expect("a head"), Some(Revision(4)));
    assert_eq!(log.stream_head(stream()).expect("a head"), None);
}

async fn expectations_are_held(log: Log) {
    let one = stream();
    log.append(append(one, Expected::NoStream, 3)).await.expect("appended");
    for expected in [Expected::NoStream, Expected::Exact(Revision(1)), Expected::Exact(Revision(3))]
    {
        match log.append(append(one, expected, 1)).await {
            Err(AppendError::Conflict { stream, actual }) => {
                assert_eq!((stream, actual), (one, Some(Revision(2))));
            }
            other => panic!("{expected:?} gave {other:?}"),
        }
    }
    match log.append(append(stream(), Expected::Exact(Revision(0)), 1)).await {
        Err(AppendError::Conflict { actual: None, .. }) => {}
        other => panic!("{other:?}"),
    }
}

async fn a_refused_append_leaves_nothing(log: Log) {
    let one = stream();
    log.append(append(one, Expected::NoStream, 1)).await.expect("appended");
    let mut refused = append(one, Expected::NoStream, 5);
    refused.command = key("refused", 1);
    log.append(refused).await.expect_err("a conflict");
    assert_eq!(read_all(log.as_ref(), 100).len(), 1);
    assert_eq!(log.command(&CommandId("refused".to_owned())).expect("an answer"), None);
    let next = log.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
    assert_eq!(next.first, Position(2), "no position was used up");
}

async fn a_command_is_recorded_once(log: Log) {
    let one = stream();
    let mut first = append(one, Expected::NoStream, 2);
    first.command = key("p/k", 7);
    let appended = log.append(first.clone()).await.expect("appended");
    // Another object, another body: the id alone decides, the caller compares the digest.
    let mut again = append(stream(), Expected::NoStream, 1);
    again.command = key("p/k", 8);
    for repeated in [first, again] {
        match log.append(repeated).await {
            Err(AppendError::Seen(seen)) => {
                assert_eq!((seen.stream, seen.appended), (one, appended));
                assert_eq!(seen.digest, [7; 32]);
            }
            other => panic!("{other:?}"),
        }
    }
    let known = log.command(&CommandId("p/k".to_owned())).expect("an answer").expect("seen");
    assert_eq!((known.appended, known.digest), (appended, [7; 32]));
    assert_eq!(log.command(&CommandId("p/other".to_owned())).expect("an answer"), None);
    assert_eq!(read_all(log.as_ref(), 100).len(), 2);
}

async fn reads_begin_after_a_position_and_keep_their_limit(log: Log) {
    for _ in 0..10 {
        log.append(append(stream(), Expected::NoStream, 3)).await.expect("appended");
    }
    let positions = |after, limit| -> Vec<u64> {
        let events = log.read(Position(after), limit).expect("readable");
        events.iter().map(|event| event.position.0).collect()
    };
    assert_eq!(positions(0, 4), [1, 2, 3, 4]);
    assert_eq!(positions(28, 100), [29, 30]);
    assert_eq!(positions(7, 1), [8]);
    assert!(positions(30, 10).is_empty() && positions(31, 10).is_empty());
    assert!(positions(u64::MAX, 10).is_empty() && positions(3, 0).is_empty());
}

async fn a_scan_hands_over_what_a_read_reads(log: Log) {
    for number in 0..300 {
        let mut new = append(stream(), Expected::NoStream, 2);
        new.events[0].meta.roles = vec!["member".to_owned(); number % 3];
        new.events[0].meta.request_id = format!("req-{number}");
        new.events[0].meta.command = Some("{}".repeat(number));
        log.append(new).await.expect("appended");
    }
    for (after, limit) in [(0, 1000), (0, 7), (599, 7), (600, 7), (123, 300), (9, 0)] {
        let read = log.read(Position(after), limit).expect("readable");
        let mut read = read.iter();
        let mut each = |event: &EventRef<'_>| {
            assert_eq!(*event, read.next().expect("no more than were read").borrowed());
            Ok(())
        };
        let scanned = log.scan(Position(after), limit, &mut each).expect("readable");
        assert!(read.next().is_none(), "all that were read");
        assert_eq!(scanned, limit.min(600 - after as usize));
    }
    let mut seen = 0;
    let mut each = |_: &EventRef<'_>| {
        seen += 1;
        Err(ReadError::Io("enough".to_owned()))
    };
    let ended = log.scan(Position(0), 10, &mut each).expect_err("what it was told");
    assert_eq!((seen, ended.to_string().contains("enough")), (1, true));
}

/// All events of a stream; as many at once as come.
fn read_whole(log: &dyn EventLog, stream: StreamId) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = vec![];
    loop {
        let page = log.read_stream(stream, Revision(all.len() as u64), 100).expect("readable");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Also where its events are so large that they do not come all at once.
async fn a_stream_is_scanned_as_it_is_read(log: Log) {
    let one = stream();
    let sizes = [10, 3 << 20, 20, 3 << 20, 3 << 20, 30, 4 << 20, 1];
    for (size, revision) in sizes.into_iter().zip(0_u64..) {
        let before = revision.checked_sub(1).map(|last| Expected::Exact(Revision(last)));
        let mut new = append(one, before.unwrap_or(Expected::NoStream), 1);
        new.events[0].payload = vec![revision as u8; size].into();
        log.append(new).await.expect("appended");
        log.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
    }
    let read = read_whole(log.as_ref(), one);
    assert_eq!(read.len(), sizes.len());
    for (from, limit) in [(0, 100), (0, 2), (3, 100), (7, 1), (8, 9)] {
        let mut next = from;
        loop {
            let before = Revision(next as u64);
            let mut each = |event: &EventRef<'_>| {
                assert_eq!(*event, read[next].borrowed());
                next += 1;
                Ok(())
            };
            let scanned = log.scan_stream(one, before, limit, &mut each).expect("readable");
            assert_eq!(scanned as u64, next as u64 - before.0);
            assert!(scanned <= limit);
            if scanned == 0 {
                break;
            }
        }
        assert_eq!(next, sizes.len(), "all of them");
    }
    assert_eq!(log.scan_stream(stream(), Revision(0), 9, &mut |_| Ok(())).expect("readable"), 0);
}

async fn long_streams_are_read_from_any_revision(log: Log) {
    let (one, other) = (stream(), stream());
    log.append(append(one, Expected::NoStream, 1)).await.expect("appended");
    log.append(append(other, Expected::NoStream, 1)).await.expect("appended");
    for first in (0..1500).step_by(50) {
        let expected = Expected::Exact(Revision(first));
        log.append(append(one, expected, 50)).await.expect("appended");
        log.append(append(other, Expected::Exact(Revision(first / 50)), 1))
            .await
            .expect("appended");
    }
    let all = read_all(log.as_ref(), 333);
    let mine: Vec<_> = all.into_iter().filter(|event| event.stream == one).collect();
    assert_eq!(mine.len(), 1501);
    let part =
        |from: u64, limit: usize| log.read_stream(one, Revision(from), limit).expect("readable");
    for from in [0, 1, 100, 255, 256, 257, 511, 512, 1023, 1024, 1025, 1499, 1500] {
        for limit in [1, 2, 255, 256, 257, 5000] {
            let end = (from as usize + limit).min(mine.len());
            assert_eq!(part(from, limit), mine[from as usize..end], "{from} {limit}");
        }
    }
    assert!(part(1501, 10).is_empty() && part(u64::MAX, 10).is_empty() && part(0, 0).is_empty());
    assert!(log.read_stream(stream(), Revision(0), 10).expect("readable").is_empty());
}

async fn what_was_appended_is_what_is_read(log: Log) {
    let mut new = event(0);
    new.meta = Meta {
        user: "ümlaut".to_owned(),
        roles: vec!["admin".to_owned(), String::new()],
        request_id: "req-1".to_owned(),
        command_id: Some(CommandId("k".to_owned())),
        reason: Some("because".to_owned()),
        causation: Some(clock::new_event_id()),
        command: Some("{\"a\":1}".to_owned()),
        ..Meta::default()
    };
    new.event_type = EventType::named("container.from_the_future");
    new.version = 9;
    let events = vec![new.clone(), event(1000)];
    let one = Append { stream: stream(), expected: Expected::NoStream, command: None, events };
    log.append(one.clone()).await.expect("appended");
    for read in [
        log.read(Position(0), 10).expect("readable"),
        log.read_stream(one.stream, Revision(0), 10).expect("readable"),
    ] {
        assert_eq!(read.len(), 2);
        for (found, given) in read.into_iter().zip(&one.events) {
            let Recorded { id, time, event_type, version, meta, payload, .. } = found;
            let found = NewEvent { id, time, event_type, version, meta, payload };
            assert_eq!(found, *given);
        }
    }
}

async fn unacceptable_appends_are_named(log: Log) {
    let good = append(stream(), Expected::NoStream, 1);
    let with = |change: &dyn Fn(&mut Append)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    let long = "k".repeat(MAX_COMMAND_ID_BYTES + 1);
    let bad = [
        ("events", with(&|it| it.events.clear())),
        ("events", with(&|it| it.events = vec![event(1); MAX_APPEND_EVENTS + 1])),
        ("payload", with(&|it| it.events = vec![event(MAX_PAYLOAD_BYTES + 1)])),
        ("all events", with(&|it| it.events = vec![event(MAX_PAYLOAD_BYTES); 9])),
        ("event type", with(&|it| it.events[0].event_type = EventType::named(&"t".repeat(256)))),
        ("event type", with(&|it| it.events[0].event_type = EventType::named(""))),
        ("meta", with(&|it| it.events[0].meta.user = "u".repeat((4 << 20) + 1))),
        ("command id", with(&|it| it.command = key(&long, 0))),
        ("command id", with(&|it| it.command = key("", 0))),
    ];
    for (what, append) in bad {
        match log.append(append).await {
            Err(AppendError::Invalid(words)) => assert!(words.contains(what), "{words}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert!(log.read(Position(0), 10).expect("readable").is_empty());
}

async fn the_largest_payload_fits(log: Log) {
    let one = stream();
    let mut big = append(one, Expected::NoStream, 1);
    big.events = vec![event(MAX_PAYLOAD_BYTES), event(3), event(MAX_PAYLOAD_BYTES - 1)];
    big.command = key(&"k".repeat(MAX_COMMAND_ID_BYTES), 3);
    let events = big.events.clone();
    log.append(big).await.expect("appended");
    log.append(append(one, Expected::Exact(Revision(2)), 1)).await.expect("appended");
    for read in [read_all(log.as_ref(), 2), read_whole(log.as_ref(), one)] {
        assert_eq!(read.len(), 4);
        assert!(read.iter().zip(&events).all(|(found, given)| found.payload == given.payload));
    }
}

async fn the_head_tells_of_every_append(log: Log) {
    let mut head = log.head();
    assert_eq!(*head.borrow_and_update(), Position(0));
    log.append(append(stream(), Expected::NoStream, 4)).await.expect("appended");
    assert!(head.has_changed().expect("open"));
    assert_eq!(*head.borrow_and_update(), Position(4));
    log.append(append(stream(), Expected::Exact(Revision(9)), 1)).await.expect_err("a conflict");
    assert!(!head.has_changed().expect("open"));
    let health = log.health();
    assert_eq!((health.appends, health.events, health.syncs), (1, 4, 1));
    assert_eq!((health.failed, health.no_space, health.queued), (None, None, 0));
}

async fn appenders_at_once_keep_every_rule(log: Log) {
    let tasks = (0..64).map(|task| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let one = stream();
            let mut expected = Expected::NoStream;
            let mut appended = Vec::new();
            for round in 0..8 {
                let mut new = append(one, expected, 1 + (task + round) % 3);
                new.command = key(&format!("{task}/{round}"), task as u8);
                let ids: Vec<_> = new.events.iter().map(|event| event.id).collect();
                let done = log.append(new).await.expect("appended");
                expected = Expected::Exact(done.revision);
                appended.push((done, ids));
            }
            (one, appended)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("done"));
    }
    let events = read_all(log.as_ref(), 100);
    for (one, appended) in &done {
        for (at, ids) in appended {
            let batch = &events[at.first.0 as usize - 1..at.last.0 as usize];
            assert!(batch.iter().all(|event| event.stream == *one));
            assert_eq!(batch.iter().map(|event| event.id).collect::<Vec<_>>(), *ids);
        }
        let mine: Vec<_> = events.iter().filter(|event| event.stream == *one).cloned().collect();
        assert_eq!(log.read_stream(*one, Revision(0), 1000).expect("readable"), mine);
    }
    let total: usize = done.iter().flat_map(|(_, it)| it).map(|(_, ids)| ids.len()).sum();
    assert_eq!(events.len(), total);
    for (task, (_, appended)) in done.iter().enumerate() {
        let seen = log.command(&CommandId(format!("{task}/3"))).expect("an answer").expect("seen");
        assert_eq!(seen.appended, appended[3].0);
    }
}

async fn one_of_many_wins_a_revision(log: Log) {
    let one = stream();
    for revision in 0..10 {
        let expected = match revision {
            0 => Expected::NoStream,
            after => Expected::Exact(Revision(after - 1)),
        };
        let racing = (0..16).map(|_| log.append(append(one, expected, 1)));
        let results = futures_util::future::join_all(racing).await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "{results:?}");
    }
    // The same command twice at once: one is recorded, the other one hears of it.
    let other = stream();
    let racing = (0..16).map(|_| {
        let mut twice = append(other, Expected::NoStream, 1);
        twice.command = key("twice", 0);
        log.append(twice)
    });
    let results = futures_util::future::join_all(racing).await;
    let first = results.iter().find_map(|result| result.as_ref().ok()).expect("one");
    for result in &results {
        match result {
            Ok(appended) => assert_eq!(appended, first),
            Err(AppendError::Seen(seen)) => assert_eq!(seen.appended, *first),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(read_all(log.as_ref(), 100).len(), 11);
}

async fn a_closed_log_reads_and_takes_nothing(log: Log) {
    log.append(append(stream(), Expected::NoStream, 2)).await.expect("appended");
    log.close().await;
    log.close().await;
    match log.append(append(stream(), Expected::NoStream, 1)).await {
        Err(AppendError::Closed(_)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(read_all(log.as_ref(), 10).len(), 2);
    assert_eq!(*log.head().borrow(), Position(2));
    assert!(log.health().failed.is_some());
}

async fn a_subscription_has_no_seam(log: Log) {
    for _ in 0..30 {
        log.append(append(stream(), Expected::NoStream, 5)).await.expect("appended");
    }
    let appender = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for _ in 0..200 {
                log.append(append(stream(), Expected::NoStream, 2)).await.expect("appended");
            }
        })
    };
    let shared = Arc::new(Newest::new(Arc::clone(&log)));
    let places = [(0, 7), (0, 1000), (123, 64), (150, 1)];
    let alone = places.map(|it| (it, Arc::new(Newest::unkept(Arc::clone(&log)))));
    let together = places.map(|it| (it, Arc::clone(&shared)));
    let readers = alone.into_iter().chain(together).map(|((after, limit), log)| {
        let mut reader = Subscription::among(log, Position(after));
        tokio::spawn(async move {
            let mut expected = after + 1;
            while expected <= 550 {
                let page = reader.next_page(limit).await.expect("readable").expect("open");
                assert!(!page.events.is_empty() && page.events.len() <= limit);
                for event in &page.events {
                    assert_eq!(event.position, Position(expected));
                    expected += 1;
                }
                assert_eq!(page.cursor, Position(expected - 1));
                assert!(page.head >= page.cursor);
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    appender.await.expect("done");
    for reader in readers {
        reader.await.expect("done");
    }
}

async fn a_filter_moves_the_cursor(log: Log) {
    let mine = stream();
    log.append(append(stream(), Expected::NoStream, 5)).await.expect("appended");
    log.append(append(mine, Expected::NoStream, 2)).await.expect("appended");
    log.append(append(stream(), Expected::NoStream, 3)).await.expect("appended");
    let shared = Arc::new(Newest::new(Arc::clone(&log)));
    for newest in [Arc::new(Newest::unkept(log)), Arc::clone(&shared), shared] {
        chooses(newest, mine).await;
    }
}

/// Reads the two events of an object among ten.
async fn chooses(newest: Arc<Newest>, mine: StreamId) {
    let mut reader = Subscription::among(newest, Position(0))
        .filtered(Arc::new(move |event| event.stream == mine));
    let skipped = reader.next_page(4).await.expect("readable").expect("open");
    assert_eq!((skipped.events.len(), skipped.cursor, skipped.head.0), (0, Position(4), 10));
    let found = reader.next_page(4).await.expect("readable").expect("open");
    let positions: Vec<_> = found.events.iter().map(|event| event.position.0).collect();
    assert_eq!((positions, found.cursor), (vec![6, 7], Position(8)));
    let rest = reader.next_page(100).await.expect("readable").expect("open");
    assert_eq!((rest.events.len(), rest.cursor), (0, Position(10)));
    assert_eq!(reader.cursor(), Position(10));
}

async fn a_subscription_ends_with_the_log(log: Log) {
    log.append(append(stream(), Expected::NoStream, 3)).await.expect("appended");
    let mut late = Subscription::new(Arc::clone(&log), Position(0));
    let newest = Arc::new(Newest::new(Arc::clone(&log)));
    let mut shared = Subscription::among(Arc::clone(&newest), Position(0));
    assert_eq!(newest.read(Position(1), 10).expect("readable").len(), 2);
    let mut waiting = Subscription::among(newest, Position(3));
    let waiting = tokio::spawn(async move { waiting.next_page(10).await.expect("readable") });
    tokio::task::yield_now().await;
    log.close().await;
    assert!(waiting.await.expect("done").is_none());
    for reader in [&mut late, &mut shared] {
        let page = reader.next_page(10).await.expect("readable").expect("what is left");
        assert_eq!((page.events.len(), page.cursor), (3, Position(3)));
        assert!(reader.next_page(10).await.expect("readable").is_none());
    }
}

async fn newest_events_are_those_of_the_log(log: Log) {
    let shared = Newest::new(Arc::clone(&log));
    let mut seed = 1_u64;
    for round in 0..300 {
        // Far enough for old ones to be pushed out, and now and then so much at once that what is
        // kept ends before it.
        let events = if round % 50 == 49 { 600 } else { 1 + round % 4 };
        log.append(append(stream(), Expected::NoStream, events)).await.expect("appended");
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let head = log.head().borrow().get();
            let (back, limit) = ((seed >> 33) % (head + 2).min(900), (seed >> 20) as usize % 300);
            let after = Position((head + 1).saturating_sub(back));
            let read = shared.read(after, limit).expect("readable");
            let real = log.read(after, limit).expect("readable");
            assert_eq!(read.is_empty(), real.is_empty(), "after {after} of {head}");
            for (read, real) in read.iter().zip(&real) {
                assert_eq!(**read.as_ref(), *real);
            }
            assert!(read.len() <= real.len());
        }
    }
    let end = Position(log.head().borrow().get() - 1);
    let [one, other] = [0, 1].map(|_| shared.read(end, 9).expect("readable").pop().expect("one"));
    assert!(Arc::ptr_eq(&one, &other), "it is read once");
}

#[tokio::test]
async fn engines_agree_on_every_hash() {
    let folder = tempfile::tempdir().expect("a folder");
    let (segments, _index) = open_segments(folder.path());
    let memory = MemoryLog::new();
    let one = stream();
    for (expected, events) in [(Expected::NoStream, 2), (Expected::Exact(Revision(1)), 7)] {
        let append = append(one, expected, events);
        memory.append(append.clone()).await.expect("appended");
        segments.append(append).await.expect("appended");
    }
    assert_eq!(read_all(&memory, 10), read_all(&segments, 10));
}
