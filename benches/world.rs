//! A world of containers for the benchmarks: the events of their lives, in a real log.

use std::path::Path;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use magnum::clock;
use magnum::events::bay::{BayCreateRequestedV1, BayCreatedV1, BayEvent, BayPlan};
use magnum::events::container::{
    ActionDoneV1, ActionRequestedV1, ContainerEvent, ContainerSpec, CreateRequestedV1, CreatedV1,
    StopRequestedV1,
};
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{Append, EventLog, Expected};
use magnum::events::work::Placement;
use magnum::events::{Meta, NewEvent};
use magnum::ids::{EventId, Kind, ObjectId, Revision, StreamId, Timestamp};
use magnum::projections::store::open_cache;
use uuid::Uuid;

/// Bytes of a segment, as the server makes them.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Bays, and the number of the first one.
const BAYS: u64 = 100;
const BAY: u64 = 1 << 40;

/// Appends under way at once: what the writer takes at once.
const AT_ONCE: usize = 512;

/// In which order things happen to containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One lives its life, then the next.
    Close,
    /// Something to one, then to another, a long time until the first is met again.
    Random,
}

/// A container by its number.
pub fn object(number: u64) -> ObjectId {
    ObjectId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number)))
}

/// Opens the log of a data folder as the server does.
pub fn open(data: &Path) -> Arc<SegmentLog> {
    let options = SegmentOptions { segment_bytes: SEGMENT_BYTES, folder: clock::new_uuid() };
    let cache = open_cache(&data.join("cache").join("log")).expect("a cache");
    let index = cache.open_tree("log").expect("a tree");
    Arc::new(SegmentLog::open(&data.join("log"), options, index).expect("a log"))
}

/// Writes a log of so many events of so many containers to a data folder, and closes it.
pub fn write(data: &Path, containers: u64, events: u64, shape: Shape) {
    let log = open(data);
    let each = events / containers;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // Each stride through the containers meets each of them once, far from its last event.
    let strides = (0..each).map(|revision| {
        let numbers = (0..containers).map(|step| step * 7919 % containers);
        numbers.map(move |number| append(number, revision, 1)).collect()
    });
    let appends: Vec<Vec<Append>> = match shape {
        Shape::Close => vec![(0..containers).map(|number| append(number, 0, each)).collect()],
        Shape::Random => strides.collect(),
    };
    runtime.block_on(async {
        for appends in appends {
            let put = |append| async { log.append(append).await.expect("appended") };
            let appended = stream::iter(appends.into_iter().map(put));
            appended.buffer_unordered(AT_ONCE).for_each(|_| async {}).await;
        }
        log.close().await;
    });
}

/// Adds the bays of the containers to the log of a data folder: without them a server takes the
/// containers for left over, and deletes them.
pub fn add_bays(data: &Path) {
    let log = open(data);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for number in 0..BAYS {
            let id = EventId(Uuid::from_u128((u128::from(BAY | number) << 64) | (7 << 76)));
            let placement = Placement { node_id: object(1 << 41), verdicts: Vec::new() };
            let asked = BayCreateRequestedV1 { plan: BayPlan::default(), placement };
            let created = BayCreatedV1 { work_id: id, network_id: "n".to_owned() };
            let new = |id, payload| NewEvent::new(id, Timestamp(0), Meta::default(), payload);
            let next = EventId(Uuid::from_u128(id.0.as_u128() | 1));
            let events = vec![
                new(id, &BayEvent::CreateRequested(asked)),
                new(next, &BayEvent::Created(created)),
            ];
            let stream = StreamId::new(Kind::Bay, object(BAY | number));
            let append = Append { stream, expected: Expected::NoStream, command: None, events };
            log.append(append).await.expect("appended");
        }
        log.close().await;
    });
}

/// Events of a container's life from a revision on: made, then started and stopped in turns.
fn append(number: u64, from: u64, count: u64) -> Append {
    let expected = match from.checked_sub(1) {
        None => Expected::NoStream,
        Some(last) => Expected::Exact(Revision(last)),
    };
    let events = (from..from + count).map(|revision| event(number, revision)).collect();
    let stream = StreamId::new(Kind::Container, object(number));
    Append { stream, expected, command: None, events }
}

fn event(number: u64, revision: u64) -> NewEvent {
    let id = |revision: u64| {
        EventId(Uuid::from_u128((u128::from(number) << 64) | (7 << 76) | u128::from(revision)))
    };
    let work_id = id(revision.saturating_sub(1));
    let payload = match (revision, revision % 4) {
        (0, _) => asked(number),
        (1, _) => {
            let engine_id = blake3::hash(&number.to_le_bytes()).to_hex().to_string();
            ContainerEvent::Created(CreatedV1 { work_id, engine_id })
        }
        (_, 0) => ContainerEvent::StopRequested(StopRequestedV1 { grace_s: 10 }),
        (_, 1) => ContainerEvent::Stopped(ActionDoneV1 { work_id }.into()),
        (_, 2) => ContainerEvent::StartRequested(ActionRequestedV1 {}),
        (_, _) => ContainerEvent::Started(ActionDoneV1 { work_id }.into()),
    };
    let meta = Meta {
        user: "operator".to_owned(),
        roles: vec!["member".to_owned()],
        request_id: "req-5f2f6f6e-0f5e-4d0e-8b7a-6c1f7f9c8a11".to_owned(),
        ..Meta::default()
    };
    NewEvent::new(id(revision), Timestamp(1_700_000_000_000_000 + number as i64), meta, &payload)
}

/// One in ten is of another image.
fn asked(number: u64) -> ContainerEvent {
    let image = if number.is_multiple_of(10) { "nginx:1.27" } else { "busybox:1.36" };
    let command = vec!["sleep".to_owned(), "3600".to_owned()];
    let spec = ContainerSpec { image: image.to_owned(), command, ..ContainerSpec::default() };
    ContainerEvent::CreateRequested(CreateRequestedV1 {
        name: Some(format!("web-{number}")),
        desc: None,
        spec,
        bay_id: object(BAY | (number % BAYS)),
        placement: Placement { node_id: object(1 << 41), verdicts: Vec::new() },
    })
}
