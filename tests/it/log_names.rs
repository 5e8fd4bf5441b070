//! Names have one holder (rule L9): on every engine, after a crash, and in what earlier builds
//! recorded.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use futures_util::future::join_all;
use magnum::clock;
use magnum::events::claim::{Claim, Claims, HeldNames, Name};
use magnum::events::log::memory::MemoryLog;
use magnum::events::log::segment::simulated::SimulatedDisk;
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{Append, AppendError, Appended, EventLog, Expected, MAX_CLAIMS};
use magnum::events::{Meta, codec};
use magnum::ids::{CommandId, EventId, ProjectId, StreamId};

use crate::log_events::{append, key, read_all, stream};

type Log = Arc<dyn EventLog>;

/// Runs a test on each engine.
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
                let disk = super::SimulatedDisk::new();
                super::$name(std::sync::Arc::new(super::open(&disk, &super::index()))).await;
            })*
        }
    };
}

contract!(
    a_name_has_one_holder_until_it_is_released,
    a_rename_is_one_step,
    shared_names_have_many_holders,
    of_a_thousand_at_once_one_takes_a_name,
    what_was_recorded_before_is_no_claim_again,
    claims_are_with_the_first_event,
    what_no_record_says_of_names_is_learnt,
);

fn name(text: &str) -> Name {
    Name { scope: "bays/p".to_owned(), text: text.to_owned() }
}

fn take(text: &str) -> Claim {
    Claim::Take(name(text))
}

fn release(text: &str) -> Claim {
    Claim::Release(name(text))
}

fn claiming(stream: StreamId, expected: Expected, claims: &[Claim]) -> Append {
    let mut append = append(stream, expected, 2);
    append.events[0].meta.claims = Claims(claims.to_vec());
    append
}

/// A new object that takes a name.
async fn taken(log: &dyn EventLog, text: &str) -> Result<StreamId, AppendError> {
    let one = stream();
    log.append(claiming(one, Expected::NoStream, &[take(text)])).await.map(|_| one)
}

/// The next append to an object.
async fn then(log: &dyn EventLog, object: StreamId, claims: &[Claim]) -> Result<Appended, String> {
    let head = log.stream_head(object).expect("a head").expect("an event");
    let append = claiming(object, Expected::Exact(head), claims);
    log.append(append).await.map_err(|error| error.to_string())
}

/// Who holds a name, as one that wants it is told.
async fn holder(log: &dyn EventLog, text: &str) -> Option<StreamId> {
    let before = *log.head().borrow();
    match taken(log, text).await {
        Err(AppendError::Claimed { name: refused, holder }) => {
            assert_eq!(refused, name(text));
            assert_eq!(*log.head().borrow(), before, "nothing was recorded");
            Some(holder)
        }
        Err(error) => panic!("{error}"),
        Ok(new) => {
            then(log, new, &[release(text)]).await.expect("released");
            None
        }
    }
}

fn index() -> sled::Tree {
    let db = sled::Config::new().temporary(true).open().expect("an index");
    db.open_tree("log").expect("a tree")
}

fn open(disk: &SimulatedDisk, index: &sled::Tree) -> SegmentLog {
    let options = SegmentOptions { segment_bytes: 16 << 10, folder: clock::new_uuid() };
    SegmentLog::open_on(Arc::new(disk.clone()), None, options, index.clone()).expect("a log")
}

async fn a_name_has_one_holder_until_it_is_released(log: Log) {
    let log = log.as_ref();
    let one = taken(log, "a").await.expect("free");
    assert_eq!(holder(log, "a").await, Some(one));
    assert_eq!(holder(log, "A").await, None, "case counts");
    then(log, one, &[]).await.expect("an append without a claim");
    then(log, one, &[take("a")]).await.expect("its own name");
    assert_eq!(holder(log, "a").await, Some(one));
    let other = stream();
    log.append(append(other, Expected::NoStream, 1)).await.expect("nameless");
    then(log, other, &[release("a")]).await.expect("that of another one stays");
    assert_eq!(holder(log, "a").await, Some(one));
    then(log, one, &[release("a")]).await.expect("released");
    assert_eq!(holder(log, "a").await, None);
    then(log, other, &[take("a")]).await.expect("free");
    assert_eq!(holder(log, "a").await, Some(other));
    then(log, one, &[take("a")]).await.expect_err("held");
}

async fn a_rename_is_one_step(log: Log) {
    let log = log.as_ref();
    let (one, other) = (taken(log, "a").await.expect("free"), taken(log, "b").await.expect("free"));
    let words = then(log, one, &[release("a"), take("b")]).await.expect_err("held");
    assert!(words.contains("\"b\"") && words.contains(&other.to_string()), "{words}");
    assert_eq!(holder(log, "a").await, Some(one), "it keeps the old one");
    then(log, one, &[release("a"), take("c")]).await.expect("free");
    assert_eq!(holder(log, "a").await, None);
    assert_eq!(holder(log, "c").await, Some(one));
}

async fn shared_names_have_many_holders(log: Log) {
    let log = log.as_ref();
    let share = [Claim::Share(name("a"))];
    let mut objects = [stream(), stream(), stream()];
    objects.sort_unstable();
    for object in objects {
        let append = claiming(object, Expected::NoStream, &share);
        log.append(append).await.expect("shared");
    }
    for object in objects {
        assert_eq!(holder(log, "a").await, Some(object));
        then(log, object, &[take("a")]).await.map(drop).unwrap_or_else(|words| {
            assert!(words.contains("\"a\""), "others hold it too: {words}");
        });
        then(log, object, &[release("a")]).await.expect("released");
    }
    assert_eq!(holder(log, "a").await, None);
}

async fn of_a_thousand_at_once_one_takes_a_name(log: Log) {
    let answers = join_all((0..1000).map(|_| {
        let log = log.clone();
        tokio::spawn(async move { taken(log.as_ref(), "a").await })
    }));
    let (mut won, mut told) = (vec![], vec![]);
    for answer in answers.await {
        match answer.expect("no panic") {
            Ok(stream) => won.push(stream),
            Err(AppendError::Claimed { holder, .. }) => told.push(holder),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((won.len(), told.len()), (1, 999));
    assert!(told.iter().all(|holder| *holder == won[0]));
    assert_eq!(read_all(log.as_ref(), 100).len(), 2);
}

async fn what_was_recorded_before_is_no_claim_again(log: Log) {
    let mut first = claiming(stream(), Expected::NoStream, &[take("a")]);
    first.command = key("k", 1);
    let appended = log.append(first.clone()).await.expect("free");
    match log.append(first).await {
        Err(AppendError::Seen(seen)) => assert_eq!(seen.appended, appended),
        other => panic!("{other:?}"),
    }
    assert!(log.command(&CommandId("k".to_owned())).expect("an answer").is_some());
}

async fn claims_are_with_the_first_event(log: Log) {
    let mut later = append(stream(), Expected::NoStream, 2);
    later.events[1].meta.claims = Claims(vec![take("a")]);
    let many = vec![take("a"); MAX_CLAIMS + 1];
    for bad in [later, claiming(stream(), Expected::NoStream, &many)] {
        match log.append(bad).await {
            Err(AppendError::Invalid(words)) => assert!(words.contains("claims"), "{words}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(holder(log.as_ref(), "a").await, None);
}

fn held(names: &[(&str, StreamId)]) -> HeldNames {
    names.iter().map(|(text, holder)| (name(text).digest(), *holder)).collect()
}

async fn what_no_record_says_of_names_is_learnt(log: Log) {
    let log = log.as_ref();
    let mut olds = [stream(), stream()];
    olds.sort_unstable();
    for old in olds {
        log.append(append(old, Expected::NoStream, 1)).await.expect("appended");
    }
    // An earlier build deleted the one and renamed the other.
    let gone = taken(log, "gone").await.expect("free");
    let renamed = taken(log, "before").await.expect("free");
    let stays = taken(log, "stays").await.expect("free");
    let now = [("a", olds[0]), ("a", olds[1]), ("after", renamed), ("stays", stays)];
    assert_eq!(log.learn_names(&held(&now)).expect("an answer"), 5);
    assert_eq!(holder(log, "gone").await, None);
    assert_eq!(holder(log, "before").await, None);
    assert_eq!(holder(log, "after").await, Some(renamed));
    assert_eq!(holder(log, "stays").await, Some(stays));
    assert_eq!(holder(log, "a").await, Some(olds[0]));
    then(log, olds[0], &[release("a"), take("c")]).await.expect("free");
    assert_eq!(holder(log, "a").await, Some(olds[1]));
    then(log, olds[1], &[release("a")]).await.expect("released");
    assert_eq!(holder(log, "a").await, None);
    assert_eq!(holder(log, "c").await, Some(olds[0]));
    then(log, gone, &[take("gone")]).await.expect("free");
    assert_eq!(holder(log, "gone").await, Some(gone));
}

/// F1, F2: with an index that is up to date, stale or lost.
#[tokio::test]
async fn names_survive_a_crash_as_their_events_do() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let log = open(&disk, &index);
    let one = taken(&log, "a").await.expect("free");
    let two = taken(&log, "b").await.expect("free");
    log.close().await;
    let stale: Vec<_> = index.iter().map(|entry| entry.expect("readable")).collect();
    let log = open(&disk, &index);
    then(&log, one, &[release("a"), take("c")]).await.expect("free");
    then(&log, two, &[release("b"), take("a")]).await.expect("free");
    then(&log, one, &[release("c")]).await.expect("released");
    drop(log);
    for how in ["fresh", "stale", "lost", "lost"] {
        if how != "fresh" {
            index.clear().expect("cleared");
        }
        for (key, value) in stale.iter().filter(|_| how == "stale") {
            index.insert(key, value).expect("inserted");
        }
        disk.restart(1);
        let log = open(&disk, &index);
        let held = [holder(&log, "a").await, holder(&log, "b").await, holder(&log, "c").await];
        assert_eq!(held, [Some(two), None, None], "{how}");
    }
}

/// What no record says is asked for at each start until there is nothing of it, also after a start
/// of a build that knows nothing of names.
#[tokio::test]
async fn what_no_record_says_is_asked_for_until_all_do() {
    let (disk, index) = (SimulatedDisk::new(), index());
    let old = stream();
    for settled in [false, true] {
        let log = open(&disk, &index);
        assert!(!log.knows_all_names());
        if settled {
            log.all_names_are_recorded();
            assert!(log.knows_all_names());
        } else {
            log.append(append(old, Expected::NoStream, 1)).await.expect("appended");
            assert_eq!(log.learn_names(&held(&[("a", old)])).expect("an answer"), 1);
            assert_eq!(holder(&log, "a").await, Some(old));
        }
        log.close().await;
    }
    for _ in 0..2 {
        let log = open(&disk, &index);
        assert!(log.knows_all_names());
        log.all_names_are_recorded();
        assert_eq!(holder(&log, "a").await, None, "it was not recorded");
        log.close().await;
    }
    let other = open(&disk, &index);
    assert!(other.knows_all_names(), "but it does not say so itself");
    other.close().await;
    assert!(!open(&disk, &index).knows_all_names());
    index.clear().expect("cleared");
    assert!(!open(&disk, &index).knows_all_names(), "an index that is lost");
}

#[test]
fn meta_without_claims_is_what_earlier_builds_recorded() {
    let command = Some("{}".to_owned());
    let first = (
        (ProjectId("p".to_owned()), "u".to_owned(), vec!["r".to_owned()], "req".to_owned()),
        (Some(CommandId("c".to_owned())), None::<String>, Some(EventId::default()), &command),
    );
    let earlier = codec::encode(&first);
    let meta = Meta::decode(&earlier).expect("readable");
    assert_eq!((&*meta.user, &meta.command, &meta.claims), ("u", &command, &Claims::default()));
    assert_eq!(codec::encode(&meta), earlier);
    assert_eq!(Meta::decode_claims(&earlier), Ok(vec![]));
    let claims = vec![release("a"), take("b"), Claim::Share(name("c"))];
    let claiming = Meta { claims: Claims(claims.clone()), ..meta.clone() };
    let bytes = codec::encode(&claiming);
    assert_eq!(Meta::decode(&bytes), Ok(claiming.clone()));
    assert_eq!(Meta::decode_claims(&bytes), Ok(claims));
    for cut in earlier.len() + 1..bytes.len() {
        Meta::decode(&bytes[..cut]).expect_err("cut off");
    }
    let json = serde_json::to_value(&meta).expect("JSON");
    assert!(json.get("claims").is_none());
    assert_eq!(serde_json::from_value::<Meta>(json).expect("read back"), meta);
    let json = serde_json::to_value(&claiming).expect("JSON");
    assert_eq!(json["claims"][1]["take"]["text"], "b");
    assert_eq!(serde_json::from_value::<Meta>(json).expect("read back"), claiming);
}
