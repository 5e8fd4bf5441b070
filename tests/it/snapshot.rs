//! Snapshots are caches: with one, without one and with a useless one an object is the same.
//!
//! Over the reference log, for every noun, over sequences of all types of events.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use magnum::actors::Entity;
use magnum::actors::aggregate::Aggregate;
use magnum::actors::container::Container;
use magnum::actors::node::Node;
use magnum::actors::snapshot::{EVERY, SnapshotPoint, Snapshots};
use magnum::events::codec::{encode, types};
use magnum::events::log::memory::MemoryLog;
use magnum::events::log::{Append, EventLog, Expected, MAX_APPEND_EVENTS};
use magnum::events::{EventType, Meta, NewEvent};
use magnum::ids::{EventId, Kind, ObjectId, ProjectId, Revision, StreamId, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use crate::evolution::values::{self, Value};
use crate::log_around::{Around, LogAround};

/// What is generated for an event: which value, which id, how much later.
type Draw = (Index, Index, u32);

/// Counts the events that are read.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Around for Counting {
    fn read(&self, events: usize) {
        self.0.fetch_add(events, Ordering::Relaxed);
    }
}

/// An object of one noun with its events and a place for snapshots.
struct Object {
    log: LogAround<Counting>,
    stream: StreamId,
    tree: sled::Tree,
}

impl Object {
    fn new(kind: Kind, events: Vec<NewEvent>) -> Self {
        let cache = sled::Config::new().temporary(true).open().unwrap();
        let tree = cache.open_tree("snapshots").unwrap();
        let stream = StreamId::new(kind, ObjectId(Uuid::from_u128(1)));
        let log = LogAround::new(MemoryLog::new(), Counting::default());
        let object = Self { log, stream, tree };
        object.append(events);
        object
    }

    fn append(&self, events: Vec<NewEvent>) {
        for page in events.chunks(MAX_APPEND_EVENTS) {
            let head = self.log.stream_head(self.stream).unwrap();
            let append = Append {
                stream: self.stream,
                expected: head.map_or(Expected::NoStream, Expected::Exact),
                command: None,
                events: page.to_vec(),
            };
            futures_util::FutureExt::now_or_never(self.log.append(append)).unwrap().unwrap();
        }
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.tree.clone())
    }

    /// What it folds to with these snapshots, and how many events were read for that.
    fn load<E: Entity>(&self, snapshots: &Snapshots) -> (Vec<u8>, usize) {
        self.log.around.0.store(0, Ordering::Relaxed);
        let loaded = Aggregate::<E>::load(self.stream, &self.log, snapshots).unwrap();
        (encode(&(&loaded.state, &loaded.naming)), self.log.around.0.load(Ordering::Relaxed))
    }

    /// Where its event of a revision is.
    fn place(&self, revision: u64) -> SnapshotPoint {
        let event = self.log.read_stream(self.stream, Revision(revision), 1).unwrap().remove(0);
        SnapshotPoint {
            revision: event.revision,
            position: event.position,
            event_id: event.id,
            latest_id: event.id,
        }
    }
}

/// The values of a noun, one or more of each type of event.
fn values(kind: Kind) -> Vec<Value> {
    values::all().into_iter().filter(|value| value.kind == kind).collect()
}

/// Events as drawn. Their ids are few, so that outcomes find the work that they name.
fn events(values: &[Value], draws: &[Draw]) -> Vec<NewEvent> {
    let mut time = Timestamp(0);
    let drawn = |(value, id, later): &Draw| {
        time = time.plus_ms(u64::from(*later));
        let id = *id.get(&[values::WORK, values::OTHER_WORK, EventId::default()]);
        event(value.get(values), id, time)
    };
    draws.iter().map(drawn).collect()
}

fn event(value: &Value, id: EventId, time: Timestamp) -> NewEvent {
    NewEvent {
        id,
        time,
        event_type: EventType::named(value.event_type),
        version: value.version,
        meta: Meta { project: ProjectId("p".to_owned()), ..Meta::default() },
        payload: value.payload.clone().into(),
    }
}

fn draws(count: Range<usize>) -> impl Strategy<Value = Vec<Draw>> {
    proptest::collection::vec((any::<Index>(), any::<Index>(), 0..10_000_u32), count)
}

/// A snapshot after any event and what came after it is the same as all events.
fn snapshot_and_tail<E: Entity>(draws: &[Draw], cut: Index) {
    let values = values(E::KIND);
    let mut before = events(&values, draws);
    let after = before.split_off(1 + cut.index(before.len()));
    let (head, tail) = (before.len() as u64, after.len());
    let object = Object::new(E::KIND, before);
    let state = Aggregate::<E>::load(object.stream, &object.log, &Snapshots::default());
    let (snapshots, place) = (object.snapshots(), object.place(head - 1));
    let state = state.unwrap();
    snapshots.save::<E>(object.stream, (&state.state, &state.naming), place);
    object.append(after);
    let (full, read) = object.load::<E>(&Snapshots::default());
    assert_eq!(read, draws.len());
    let (cached, read) = object.load::<E>(&snapshots);
    assert_eq!(cached, full);
    assert_eq!(read, 1 + tail, "the snapshot's own event and those after it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_snapshot_and_its_tail_are_all_events(draws in draws(1..250), cut: Index) {
        magnum::each_noun!(entity E => snapshot_and_tail::<E>(&draws, cut));
    }
}

/// What the sequences are made of has all there is.
#[test]
fn the_sequences_have_every_type_of_event() {
    for kind in Kind::ALL {
        let values = values(kind);
        for (name, version) in types(kind.into()) {
            let has = |value: &Value| value.event_type == *name && value.version == *version;
            assert!(values.iter().any(has), "{name} v{version}");
        }
    }
}

/// So many events of a noun, one of each value after the other.
fn in_turn(kind: Kind, count: usize) -> Vec<NewEvent> {
    let values = values(kind);
    let event = |turn: usize| NewEvent {
        id: EventId(Uuid::from_u128(turn as u128)),
        ..event(&values[turn % values.len()], values::WORK, Timestamp(turn as i64))
    };
    (0..count).map(event).collect()
}

/// F47: whatever byte of it is wrong, wherever it ends, a damaged snapshot is not used. Its first
/// bytes say of which schema and code it is.
fn damaged<E: Entity>() {
    let object = Object::new(E::KIND, in_turn(E::KIND, EVERY as usize + 20));
    let (full, _) = object.load::<E>(&Snapshots::default());
    object.load::<E>(&object.snapshots());
    let (key, kept) = object.tree.iter().next().unwrap().unwrap();
    let check = |bytes: &[u8], what: &str| {
        object.tree.insert(&key, bytes).unwrap();
        let snapshots = object.snapshots();
        assert!(snapshots.load::<E>(object.stream).is_none(), "{}: {what}", E::KIND);
        let (state, read) = object.load::<E>(&snapshots);
        assert_eq!((state, read), (full.clone(), EVERY as usize + 20), "{}: {what}", E::KIND);
    };
    for place in 0..kept.len() {
        let mut bytes = kept.to_vec();
        bytes[place] ^= 1 << (place % 8);
        check(&bytes, &format!("a flipped bit in byte {place} of {}", kept.len()));
        check(&kept[..place], &format!("cut off after {place} of {}", kept.len()));
    }
    check(&[&kept[..], &[0]].concat(), "one byte too many");
    object.tree.insert(&key, &kept).unwrap();
    assert_eq!(object.load::<E>(&object.snapshots()), (full, 1), "an undamaged one");
}

#[test]
fn f47_a_snapshot_that_is_damaged_anywhere_is_not_used() {
    magnum::each_noun!(entity E => damaged::<E>());
}

/// F54, F47: a snapshot of a log that was cut, or went another way, or of another noun's object.
#[test]
fn f47_a_snapshot_of_something_else_is_not_used() {
    let count = 50;
    let object = Object::new(Kind::Container, in_turn(Kind::Container, count));
    let other = Object::new(Kind::Container, in_turn(Kind::Container, 2 * count));
    let (full, _) = object.load::<Container>(&Snapshots::default());
    let loaded =
        Aggregate::<Container>::load(other.stream, &other.log, &Snapshots::default()).unwrap();
    let snapshots = object.snapshots();
    let check = |place: SnapshotPoint, what: &str| {
        snapshots.save::<Container>(object.stream, (&loaded.state, &loaded.naming), place);
        assert!(snapshots.load::<Container>(object.stream).is_some(), "{what}: whole as such");
        assert_eq!(object.load::<Container>(&snapshots).0, full, "{what}");
    };
    check(other.place(2 * count as u64 - 1), "of a revision that this log does not have");
    let here = object.place(count as u64 - 1);
    let before = object.place(count as u64 - 2);
    check(SnapshotPoint { event_id: EventId(Uuid::from_u128(999)), ..here }, "of another event");
    check(SnapshotPoint { revision: before.revision, ..here }, "of another revision");
    let Aggregate { state: node, naming, .. } = Aggregate::<Node>::new(object.stream);
    snapshots.save::<Node>(object.stream, (&node, &naming), here);
    assert!(snapshots.load::<Container>(object.stream).is_none(), "of another noun");
}

/// F51, rule E5: however many events there are, waking up reads the snapshot and what came after
/// it, which is never more than a hundred events.
#[test]
fn f51_an_object_with_a_million_events_wakes_up_from_the_last_hundred() {
    let object = Object::new(Kind::Node, vec![]);
    let values = values(Kind::Node);
    let seen = |turn: usize| event(&values[turn % values.len()], EventId::default(), Timestamp(0));
    let (mut count, snapshots) = (0, object.snapshots());
    for target in [1_000, 10_000, 100_000, 1_000_000] {
        while count < target {
            let page = MAX_APPEND_EVENTS.min(target - count);
            object.append((count..count + page).map(seen).collect());
            count += page;
        }
        object.load::<Node>(&snapshots);
        object.append((0..EVERY as usize).map(seen).collect());
        count += EVERY as usize;
        let (_, read) = object.load::<Node>(&snapshots);
        assert_eq!(read, 1 + EVERY as usize, "of {count}");
    }
}
