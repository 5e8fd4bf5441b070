//! The read models over a log in memory: what they answer, after whatever happened to them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails a test"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use magnum::events::bay::{BayCreateRequestedV1, BayEvent, BayPlan};
use magnum::events::container::*;
use magnum::events::log::*;
use magnum::events::node::{NodeCreatedV1, NodeEvent};
use magnum::events::work::{FieldChange, Placement, UpdatedV1};
use magnum::events::{EventPayload, EventType, Meta, Recorded};
use magnum::ids::*;
use magnum::projections::View;
use magnum::projections::as_of::{self, SystemState};
use magnum::projections::bay::BayView;
use magnum::projections::conductor::Conductor;
use magnum::projections::container::ContainerView;
use magnum::projections::node::NodeView;
use magnum::projections::query::{ListQuery, QueryError};
use magnum::projections::service_reads::ServiceReads;
use magnum::projections::store::Store;
use proptest::prelude::*;
use tokio::sync::watch;
use uuid::Uuid;

const WAIT: Duration = Duration::from_secs(300);

/// A log in a vector.
struct VecLog {
    events: Mutex<Vec<Recorded>>,
    head: watch::Sender<Position>,
    fails: AtomicBool,
}

impl VecLog {
    fn new() -> Arc<Self> {
        Self::of(Vec::new())
    }

    fn of(events: Vec<Recorded>) -> Arc<Self> {
        let head = watch::Sender::new(Position(events.len() as u64));
        Arc::new(Self { events: Mutex::new(events), head, fails: AtomicBool::new(false) })
    }

    fn events(&self) -> Vec<Recorded> {
        self.events.lock().unwrap().clone()
    }

    fn put<E: EventPayload>(
        &self,
        kind: Kind,
        id: ObjectId,
        project: &str,
        payload: &E,
    ) -> Recorded {
        let stream = StreamId::new(kind, id);
        let mut events = self.events.lock().unwrap();
        let position = Position(events.len() as u64 + 1);
        let revision = events.iter().filter(|event| event.stream == stream).count() as u64;
        let event = recorded(position, stream, Revision(revision), project, payload);
        let before = events.last().map(|last| last.hash).unwrap_or_default();
        let event = Recorded { hash: chain(before, &event), ..event };
        events.push(event.clone());
        self.head.send_replace(position);
        event
    }
}

fn recorded<E: EventPayload>(
    position: Position,
    stream: StreamId,
    revision: Revision,
    project: &str,
    payload: &E,
) -> Recorded {
    Recorded {
        position,
        stream,
        revision,
        id: EventId(Uuid::from_u128(u128::from(position.0) << 64)),
        time: Timestamp(1_700_000_000_000_000 + position.0 as i64 * 1000),
        event_type: EventType::known(payload.event_type()),
        version: payload.version(),
        meta: Meta { project: ProjectId(project.to_owned()), ..Meta::default() },
        payload: payload.encode().into(),
        hash: [0; 32],
    }
}

fn chain(before: [u8; 32], event: &Recorded) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before).update(event.id.0.as_bytes()).update(&event.payload);
    *hasher.finalize().as_bytes()
}

#[async_trait]
impl EventLog for VecLog {
    async fn append(&self, _append: Append) -> Result<Appended, AppendError> {
        Err(AppendError::Closed("tests put events there themselves".to_owned()))
    }

    fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(ReadError::Io("told to fail".to_owned()));
        }
        let events = self.events.lock().unwrap();
        Ok(events.iter().skip(after.0 as usize).take(limit).cloned().collect())
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        let events = self.events.lock().unwrap();
        let of_stream = events.iter().filter(|e| e.stream == stream && e.revision >= from);
        Ok(of_stream.take(limit).cloned().collect())
    }

    fn stream_head(&self, stream: StreamId) -> Result<Option<Revision>, ReadError> {
        let events = self.events.lock().unwrap();
        Ok(events.iter().rev().find(|e| e.stream == stream).map(|e| e.revision))
    }

    fn command(&self, _id: &CommandId) -> Result<Option<CommandSeen>, ReadError> {
        Ok(None)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    fn health(&self) -> LogHealth {
        LogHealth::default()
    }

    async fn close(&self) {}
}

fn object(number: u64) -> ObjectId {
    ObjectId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number)))
}

fn project(name: &str) -> ProjectId {
    ProjectId(name.to_owned())
}

fn asked(name: &str, image: &str, bay: u64) -> ContainerEvent {
    ContainerEvent::CreateRequested(CreateRequestedV1 {
        name: Some(name.to_owned()),
        desc: None,
        spec: ContainerSpec { image: image.to_owned(), ..ContainerSpec::default() },
        bay_id: object(bay),
        placement: Placement { node_id: object(900), verdicts: Vec::new() },
    })
}

fn created(asked: &Recorded) -> ContainerEvent {
    ContainerEvent::Created(CreatedV1 { work_id: asked.id, engine_id: "e".to_owned() })
}

fn start(log: &Arc<VecLog>, path: &Path) -> (ServiceReads, Conductor) {
    let store = Arc::new(Store::open(path).unwrap());
    Conductor::start(Arc::clone(log) as Arc<dyn EventLog>, store).unwrap()
}

/// Starts and waits until everything that the log has is there.
fn started(log: &Arc<VecLog>, path: &Path) -> (ServiceReads, Conductor) {
    let (reads, conductor) = start(log, path);
    settle(log, &reads);
    (reads, conductor)
}

fn settle(log: &VecLog, reads: &ServiceReads) {
    let head = *log.head.borrow();
    block_on(reads.wait_for(head, WAIT)).unwrap();
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Waits for something that nothing announces.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never came true: {what}");
}

/// What a list must give, found by looking at everything.
fn naive<V: View>(events: &[Recorded]) -> Vec<V> {
    let mut views: BTreeMap<ObjectId, V> = BTreeMap::new();
    for event in events.iter().filter(|event| event.stream.kind == V::KIND) {
        let id = event.stream.id;
        let mut view = views.remove(&id);
        V::apply(&mut view, &event.borrowed()).unwrap();
        views.extend(view.map(|view| (id, view)));
    }
    views.into_values().collect()
}

fn naive_list<V: View>(all: &[V], project: &ProjectId, query: &ListQuery) -> Vec<V> {
    let sort_key = query.sort_key.as_deref().unwrap_or("id");
    let key = |view: &V| {
        let value = match sort_key {
            "id" | "created_at" => None,
            "updated_at" => view.head().updated_at.map(|time| format!("{:020}", time.0)),
            field if V::NUMBERS.contains(&field) => {
                view.field(field).map(|value| format!("{value:0>20}"))
            }
            field => view.field(field),
        };
        (value, view.head().created_position)
    };
    let mut list: Vec<&V> = all
        .iter()
        .filter(|view| view.head().project == *project)
        .filter(|view| query.filters.iter().all(|(f, v)| view.field(f).as_ref() == Some(v)))
        .collect();
    list.sort_by_cached_key(|view| key(view));
    if query.descending {
        list.reverse();
    }
    if let Some(marker) = query.marker {
        let marker = key(all.iter().find(|view| view.head().uuid == marker).unwrap());
        list.retain(|v| if query.descending { key(v) < marker } else { key(v) > marker });
    }
    list.into_iter().take(query.limit).cloned().collect()
}

fn ids<V: View>(views: &[V]) -> Vec<ObjectId> {
    views.iter().map(|view| view.head().uuid).collect()
}

fn all(limit: usize) -> ListQuery {
    ListQuery { limit, ..ListQuery::default() }
}

/// Every view of the log is in the read models, whole, and no other.
fn assert_same_as_log(log: &VecLog, reads: &ServiceReads) {
    let events = log.events();
    same::<ContainerView>(&naive(&events), reads);
    same::<BayView>(&naive(&events), reads);
    same::<NodeView>(&naive(&events), reads);
}

fn same<V: View>(expected: &[V], reads: &ServiceReads) {
    let bytes = magnum::events::codec::encode::<V>;
    for project in ["a", "b", "default"].map(project) {
        let query = all(usize::MAX);
        let list: Vec<V> = reads.list(&project, &query).unwrap();
        let wanted = naive_list(expected, &project, &query);
        assert_eq!(ids(&list), ids(&wanted), "{project}");
        assert!(list.iter().map(bytes).eq(wanted.iter().map(bytes)));
        for field in V::FIELDS {
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for value in wanted.iter().filter_map(|view| view.field(field)) {
                *counts.entry(value).or_default() += 1;
            }
            for (value, count) in counts {
                assert_eq!(reads.count::<V>(&project, field, &value), Ok(count), "{field} {value}");
            }
        }
    }
    let of_kind = reads.stats().objects.into_iter().find(|(kind, _)| *kind == V::KIND);
    assert_eq!(of_kind, Some((V::KIND, expected.len() as u64)));
}

/// One random step of a small world: 2 projects, 24 containers, 3 bays, 2 nodes.
#[derive(Clone, Debug)]
struct Step {
    object: u64,
    what: u8,
    value: u8,
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..29_u64, 0..12_u8, 0..4_u8);
    prop::collection::vec(
        step.prop_map(|(object, what, value)| Step { object, what, value }),
        1..most,
    )
}

fn take(log: &VecLog, step: &Step) {
    let Step { object: number, what, value } = *step;
    let id = object(number);
    let tenant = if number % 3 == 0 { "b" } else { "a" };
    let names = ["", "web", "web\0x", "db"];
    let name = names[usize::from(value)];
    let change = |field: &str, value: String| {
        let change = FieldChange { field: field.to_owned(), value };
        UpdatedV1 { changes: vec![change] }
    };
    let done = || ActionDoneV1 { work_id: EventId(Uuid::nil()) };
    match (number, what) {
        (24..27, 0..6) => drop(log.put(Kind::Bay, id, tenant, &bay(name, u32::from(value) * 7))),
        (24..27, _) => {
            let updated = change("node_count", (u32::from(value) * 5).to_string());
            log.put(Kind::Bay, id, tenant, &BayEvent::Updated(updated));
        }
        (27.., 0..6) => {
            let host = Some(name.to_owned()).filter(|name| !name.is_empty());
            let made =
                NodeCreatedV1 { node_type: None, image_id: None, ironic_node_id: None, host };
            log.put(Kind::Node, id, tenant, &NodeEvent::Created(made));
        }
        (27.., _) => {
            let updated = change("type", format!("\"t{value}\""));
            log.put(Kind::Node, id, tenant, &NodeEvent::Updated(updated));
        }
        (_, what) => {
            let event = match what {
                0..4 => asked(name, ["busybox", "nginx"][usize::from(value % 2)], 24),
                4 => ContainerEvent::Deleted(done()),
                5 => ContainerEvent::Stopped(done().into()),
                6 => ContainerEvent::Updated(change("name", "null".to_owned())),
                7 => ContainerEvent::Updated(change("command", format!("\"{}\"", "x".repeat(200)))),
                8 => ContainerEvent::StartRequested(ActionRequestedV1 {}),
                _ => ContainerEvent::Started(done().into()),
            };
            log.put(Kind::Container, id, tenant, &event);
        }
    }
}

fn bay(name: &str, node_count: u32) -> BayEvent {
    let plan = BayPlan {
        name: Some(name.to_owned()),
        baymodel_id: object(500),
        node_count,
        discovery_url: None,
        create_timeout_min: 0,
        bay_type: None,
        image_id: None,
    };
    let placement = Placement { node_id: object(900), verdicts: Vec::new() };
    BayEvent::CreateRequested(BayCreateRequestedV1 { plan, placement })
}

/// Every order in both directions, with no filter, one and two.
fn queries<V: View>(all: &[V], limit: usize) -> Vec<ListQuery> {
    let mut filters = vec![Vec::new()];
    for field in V::FIELDS {
        let value = all.iter().find_map(|view| view.field(field)).unwrap_or_default();
        filters.push(vec![((*field).to_owned(), value.clone())]);
        let status = ("status".to_owned(), "Running".to_owned());
        if V::FIELDS.contains(&"status") {
            filters.push(vec![((*field).to_owned(), value), status]);
        }
    }
    let orders = V::FIELDS.iter().copied().chain(["id", "created_at", "updated_at"]);
    let mut queries = Vec::new();
    for sort_key in orders {
        for filters in &filters {
            for descending in [false, true] {
                queries.push(ListQuery {
                    filters: filters.clone(),
                    sort_key: Some(sort_key.to_owned()),
                    descending,
                    limit,
                    marker: None,
                });
            }
        }
    }
    queries
}

fn check_lists<V: View>(events: &[Recorded], reads: &ServiceReads) {
    let all: Vec<V> = naive(events);
    for tenant in ["a", "b", "default"].map(project) {
        for query in queries(&all, 3) {
            let mut query = query;
            loop {
                let page: Vec<V> = reads.list(&tenant, &query).unwrap();
                assert_eq!(ids(&page), ids(&naive_list(&all, &tenant, &query)), "{query:?}");
                let Some(last) = page.last() else { break };
                query.marker = Some(last.head().uuid);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn lists_are_what_looking_at_everything_gives(
        before in steps(120),
        after in steps(60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let log = VecLog::new();
        before.iter().for_each(|step| take(&log, step));
        let (reads, conductor) = started(&log, &folder.path().join("cache"));
        assert_same_as_log(&log, &reads);
        after.iter().for_each(|step| take(&log, step));
        settle(&log, &reads);
        assert_same_as_log(&log, &reads);
        check_lists::<ContainerView>(&log.events(), &reads);
        check_lists::<BayView>(&log.events(), &reads);
        check_lists::<NodeView>(&log.events(), &reads);
        conductor.stop();
    }
}

/// A world of some size: so many containers, each made and, but for every tenth, started.
fn world(containers: u64) -> Arc<VecLog> {
    let mut events: Vec<Recorded> = Vec::new();
    let mut before = [0; 32];
    for number in 0..containers {
        let stream = StreamId::new(Kind::Container, object(number));
        let name = format!("c{number}");
        let image = if number % 100 == 0 { "rare" } else { "busybox" };
        let work = EventId(Uuid::from_u128(u128::from(events.len() as u64 + 1) << 64));
        let done = ActionDoneV1 { work_id: work };
        let story = [
            asked(&name, image, 24 + number % 7),
            ContainerEvent::Created(CreatedV1 { work_id: work, engine_id: "e".to_owned() }),
            ContainerEvent::Started(done.into()),
        ];
        let told = if number % 10 == 0 { 2 } else { 3 };
        for (revision, payload) in story.iter().take(told).enumerate() {
            let position = Position(events.len() as u64 + 1);
            let event = recorded(position, stream, Revision(revision as u64), "a", payload);
            before = chain(before, &event);
            events.push(Recorded { hash: before, ..event });
        }
    }
    VecLog::of(events)
}

fn filter(field: &str, value: &str) -> (String, String) {
    (field.to_owned(), value.to_owned())
}

#[test]
fn a_page_of_a_hundred_thousand_touches_few_keys() {
    const CONTAINERS: u64 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let log = world(CONTAINERS);
    let (reads, conductor) = started(&log, &folder.path().join("cache"));
    let all: Vec<ContainerView> = naive(&log.events());
    let tenant = project("a");
    let middle = Some(object(CONTAINERS / 2));
    let square_root = 3200;
    let cases = [
        (vec![], None, 250),
        (vec![], Some("name"), 250),
        (vec![], Some("updated_at"), 250),
        (vec![filter("status", "Running")], None, 250),
        (vec![filter("image_id", "rare")], None, 250),
        (vec![filter("name", "c777")], Some("status"), 10),
        (vec![filter("uuid", &object(777).to_string())], Some("status"), 10),
        (vec![filter("status", "Gone")], Some("name"), 1),
        (vec![filter("status", "Running"), filter("image_id", "busybox")], None, 400),
        // One in a hundred in another order: collected. Nine in ten: walked.
        (vec![filter("image_id", "rare")], Some("name"), square_root),
        (vec![filter("status", "Running")], Some("name"), 500),
        (vec![filter("status", "Stopped")], Some("name"), square_root),
    ];
    for (filters, sort_key, most) in cases {
        for descending in [false, true] {
            for marker in [None, middle] {
                let sort_key = sort_key.map(str::to_owned);
                let query = ListQuery {
                    filters: filters.clone(),
                    sort_key,
                    descending,
                    limit: 100,
                    marker,
                };
                let before = reads.stats().keys_read;
                let page: Vec<ContainerView> = reads.list(&tenant, &query).unwrap();
                let touched = reads.stats().keys_read - before;
                assert_eq!(ids(&page), ids(&naive_list(&all, &tenant, &query)), "{query:?}");
                assert!(touched <= most, "{touched} keys for {query:?}");
            }
        }
    }
    conductor.stop();
}

/// F55: whoever walks a list sees each object once that is there all the time.
#[test]
fn walking_a_list_while_it_changes_misses_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = world(300);
    let (reads, conductor) = started(&log, &folder.path().join("cache"));
    let tenant = project("a");
    let mut seen = Vec::new();
    let mut query = all(20);
    loop {
        let page: Vec<ContainerView> = reads.list(&tenant, &query).unwrap();
        let Some(last) = page.last() else { break };
        query.marker = Some(last.head.uuid);
        // Everything on the page goes, its end included; others come.
        let done = ActionDoneV1 { work_id: EventId(Uuid::nil()) };
        for view in &page {
            let event = ContainerEvent::Deleted(done.clone());
            log.put(Kind::Container, view.head.uuid, "a", &event);
            if seen.len() < 100 {
                let id = object(10_000 + seen.len() as u64);
                log.put(Kind::Container, id, "a", &asked("new", "busybox", 24));
            }
            seen.push(view.head.uuid);
        }
        settle(&log, &reads);
    }
    let expected = (0..300).chain(10_000..10_100).map(object);
    assert_eq!(seen, expected.collect::<Vec<_>>());
    assert_eq!(reads.list::<ContainerView>(&tenant, &all(1)), Ok(Vec::new()));
    conductor.stop();
}

#[test]
fn objects_are_found_by_uuid_and_name_in_their_own_project_only() {
    let folder = tempfile::tempdir().unwrap();
    let log = VecLog::new();
    let uuid = object(1).to_string();
    log.put(Kind::Container, object(1), "a", &asked("web", "busybox", 24));
    log.put(Kind::Container, object(2), "a", &asked("twin", "busybox", 24));
    log.put(Kind::Container, object(3), "a", &asked("twin", "busybox", 24));
    log.put(Kind::Container, object(4), "b", &asked("web", "busybox", 24));
    log.put(Kind::Container, object(5), "b", &asked(&uuid, "busybox", 24));
    let (reads, conductor) = started(&log, &folder.path().join("cache"));
    let find = |tenant: &str, ident: &str| {
        reads.find::<ContainerView>(&project(tenant), ident).map(|view| view.head.uuid)
    };
    assert_eq!(find("a", &uuid), Ok(object(1)));
    assert_eq!(find("a", &uuid.replace('-', "")), Err(QueryError::NotFound));
    assert_eq!(find("a", "web"), Ok(object(1)));
    assert_eq!(find("a", "twin"), Err(QueryError::Ambiguous));
    assert_eq!(find("b", "web"), Ok(object(4)));
    // A uuid of another project is no more than a name here.
    assert_eq!(find("b", &uuid), Ok(object(5)));
    assert_eq!(find("b", "twin"), Err(QueryError::NotFound));
    assert_eq!(find("c", "web"), Err(QueryError::NotFound));
    assert_eq!(find("a", "we"), Err(QueryError::NotFound));

    let list = |query: &ListQuery| reads.list::<ContainerView>(&project("a"), query);
    let unknown = ListQuery { sort_key: Some("colour".to_owned()), ..all(1) };
    assert_eq!(list(&unknown), Err(QueryError::UnknownSortKey("colour".to_owned())));
    let unknown = ListQuery { filters: vec![filter("colour", "red")], ..all(1) };
    assert_eq!(list(&unknown), Err(QueryError::UnknownFilter("colour".to_owned())));
    for marker in [object(4), object(99)] {
        let unknown = ListQuery { marker: Some(marker), ..all(1) };
        assert_eq!(list(&unknown), Err(QueryError::UnknownMarker));
    }
    let members = |tenant: &str, after: Option<u64>, limit| {
        let (project, bay) = (project(tenant), object(24));
        reads.members(Kind::Container, &project, bay, after.map(object), limit).unwrap()
    };
    assert_eq!(members("a", None, 2), [1, 2].map(object));
    assert_eq!(members("a", Some(2), 9), [object(3)]);
    assert_eq!(members("b", None, 9), [4, 5].map(object), "whoever the bay belongs to");
    assert_eq!(members("c", None, 9), []);
    // By id: their own, and without a project only the service.
    let id_of = |view: Option<ContainerView>| view.map(|view| view.head.uuid);
    assert_eq!(id_of(reads.get(&project("a"), object(1)).unwrap()), Some(object(1)));
    assert_eq!(id_of(reads.get(&project("b"), object(1)).unwrap()), None);
    assert_eq!(id_of(reads.any(object(1)).unwrap()), Some(object(1)));
    conductor.stop();
}

#[test]
fn work_is_waited_for_and_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = VecLog::new();
    let id = object(1);
    let (reads, conductor) = started(&log, &folder.path().join("cache"));
    let now = Duration::ZERO;
    let behind = QueryError::Behind { at: Position(0), wanted: Position(1) };
    assert_eq!(block_on(reads.wait_for(Position(1), now)), Err(behind.clone()));
    let wait = |work: EventId, asked: Position, timeout: Duration| {
        block_on(reads.wait_for_work::<ContainerView>(&project("a"), id, work, asked, timeout))
    };
    assert_eq!(wait(EventId(Uuid::nil()), Position(1), now), Err(behind));

    let create = log.put(Kind::Container, id, "a", &asked("web", "busybox", 24));
    settle(&log, &reads);
    assert_eq!(reads.outstanding().unwrap(), [StreamId::new(Kind::Container, id)]);
    let pending = wait(create.id, create.position, now).unwrap().unwrap();
    assert_eq!(pending.tasks.first().map(|task| task.id), Some(create.id));

    let waiting = std::thread::spawn({
        let (reads, create) = (reads.clone(), create.clone());
        move || {
            let (own, asked) = (project("a"), create.position);
            let work = reads.wait_for_work::<ContainerView>(&own, id, create.id, asked, WAIT);
            block_on(work).unwrap().unwrap()
        }
    });
    log.put(Kind::Container, object(2), "a", &asked("other", "busybox", 24));
    log.put(Kind::Container, id, "a", &created(&create));
    let done = waiting.join().unwrap();
    assert_eq!((done.tasks.len(), done.outcomes.last().unwrap().work_id), (0, create.id));
    assert_eq!(reads.outstanding().unwrap(), [StreamId::new(Kind::Container, object(2))]);

    let deletion = DeleteRequestedV1 { cancelled: Vec::new() };
    let delete = log.put(Kind::Container, id, "a", &ContainerEvent::DeleteRequested(deletion));
    let deleted = ContainerEvent::Deleted(ActionDoneV1 { work_id: delete.id });
    let last = log.put(Kind::Container, id, "a", &deleted);
    assert_eq!(wait(delete.id, last.position, WAIT), Ok(None));

    let view_at = |tenant: &str, at: Position| {
        as_of::view::<ContainerView>(&*log, &project(tenant), id, at).unwrap()
    };
    let before = view_at("a", delete.position).unwrap();
    assert_eq!(before.status, Status::Deleting);
    assert_eq!(view_at("a", last.position), None);
    assert_eq!(view_at("a", Position(0)), None);
    assert_eq!(view_at("a", create.position).unwrap(), pending);
    assert_eq!(view_at("b", create.position), None, "of another project");
    let last_of = |tenant: &str| {
        as_of::last_view::<ContainerView>(&*log, &project(tenant), id, last.position).unwrap()
    };
    assert_eq!(last_of("a"), Some(before));
    assert_eq!(last_of("b"), None, "of another project");
    conductor.stop();
}

#[test]
fn all_objects_as_of_a_position_are_what_each_one_was() {
    let log = VecLog::new();
    let bad = log.put(Kind::Container, object(100), "a", &asked("bad", "busybox", 24));
    log.put(Kind::Container, object(100), "a", &created(&bad));
    log.events.lock().unwrap()[1].event_type = EventType::named("container.teleported");
    for number in 0..400 {
        let what = (number * 7 % 12) as u8;
        take(&log, &Step { object: number * 5 % 29, what, value: (number % 4) as u8 });
    }
    let events = log.events();
    for at in [0, 1, 2, 100, 333, events.len(), 9999] {
        let mut system = SystemState::as_of(&*log, Position(at as u64)).unwrap();
        let told = &events[..at.min(events.len())];
        assert_eq!(system.position, Position(told.len() as u64));
        assert_eq!(system.parked.len(), usize::from(at > 1));
        let others: Vec<Recorded> =
            told.iter().filter(|event| event.stream.id != object(100)).cloned().collect();
        let mut containers: Vec<_> = system.views.take::<ContainerView>().into_values().collect();
        containers.sort_by_key(|view| view.head.uuid);
        let poisoned = containers.pop_if(|view| view.head.uuid == object(100));
        assert_eq!(poisoned.map(|view| view.status), (at > 0).then_some(Status::Creating));
        assert_eq!(containers, naive(&others));
        let mut bays: Vec<_> = system.views.take::<BayView>().into_values().collect();
        bays.sort_by_key(|view| view.head.uuid);
        assert_eq!(bays, naive(&others));
        let mut nodes: Vec<_> = system.views.take::<NodeView>().into_values().collect();
        nodes.sort_by_key(|view| view.head.uuid);
        assert_eq!(nodes, naive(&others));
    }
}

/// F12, F44: one bad event parks its stream, visibly; a build that can read it goes on.
#[test]
fn a_poisonous_event_parks_its_stream_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let log = VecLog::new();
    let bad = object(1);
    let create = log.put(Kind::Container, bad, "a", &asked("bad", "busybox", 24));
    let ok = log.put(Kind::Container, object(2), "a", &asked("good", "busybox", 24));
    log.put(Kind::Container, bad, "a", &created(&create));
    let started_event = ContainerEvent::Started(ActionDoneV1 { work_id: create.id }.into());
    log.put(Kind::Container, bad, "a", &started_event);
    let healthy = log.events();
    // To this build the third event is of a type that it does not know.
    log.events.lock().unwrap()[2].event_type = EventType::named("container.teleported");
    let (reads, conductor) = started(&log, &cache);
    log.put(Kind::Container, object(2), "a", &created(&ok));
    settle(&log, &reads);
    let parked = reads.parked().unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].stream, StreamId::new(Kind::Container, bad));
    assert_eq!(parked[0].position, Position(3));
    assert!(parked[0].reason.contains("container.teleported"), "{}", parked[0].reason);
    assert_eq!(reads.stats().parked, 1);
    let status = |reads: &ServiceReads, id| reads.any::<ContainerView>(id).unwrap().unwrap().status;
    assert_eq!(status(&reads, bad), Status::Creating);
    assert_eq!(status(&reads, object(2)), Status::Stopped);
    conductor.stop();

    let (reads, conductor) = started(&log, &cache);
    assert_eq!(reads.parked().unwrap(), parked, "still parked after a restart");
    conductor.stop();

    let mut events = log.events();
    events[2] = healthy[2].clone();
    let log = VecLog::of(events);
    let (reads, conductor) = started(&log, &cache);
    assert_eq!(reads.parked(), Ok(Vec::new()));
    assert_eq!(status(&reads, bad), Status::Running);
    assert_same_as_log(&log, &reads);
    conductor.stop();
}

#[test]
fn a_log_that_cannot_be_read_is_said_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = world(20);
    let (reads, conductor) = started(&log, &folder.path().join("cache"));
    log.fails.store(true, Ordering::SeqCst);
    log.put(Kind::Container, object(50), "a", &asked("late", "busybox", 24));
    until("unhealthy", || reads.stats().unhealthy.is_some());
    assert!(reads.stats().unhealthy.unwrap().contains("told to fail"));
    assert_eq!(reads.list::<ContainerView>(&project("a"), &all(100)).unwrap().len(), 20);
    log.fails.store(false, Ordering::SeqCst);
    settle(&log, &reads);
    assert_eq!(reads.stats().unhealthy, None);
    assert_same_as_log(&log, &reads);
    conductor.stop();
}

/// F45: nobody sees an empty or half list while all views are built again.
#[test]
fn a_rebuild_is_not_seen_until_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let log = world(2000);
    let (reads, conductor) = started(&log, &folder.path().join("cache"));
    conductor.rebuild();
    let mut saw_it = false;
    let mut number = 100_000;
    until("rebuilt", || {
        log.put(Kind::Container, object(number), "a", &asked("more", "busybox", 24));
        number += 1;
        let list: Vec<ContainerView> = reads.list(&project("a"), &all(usize::MAX)).unwrap();
        assert!(list.len() >= 2000, "{} while rebuilding", list.len());
        let rebuilding = reads.stats().rebuilding.is_some();
        saw_it |= rebuilding;
        if !saw_it {
            // It may have begun and ended between two looks.
            conductor.rebuild();
        }
        saw_it && !rebuilding
    });
    settle(&log, &reads);
    assert_same_as_log(&log, &reads);
    conductor.stop();
}

/// Keys of one tag in a closed folder.
fn tagged(path: &Path, tag: u8) -> (sled::Db, sled::Tree, Vec<sled::IVec>) {
    let db = magnum::projections::store::open_cache(path).unwrap();
    let tree = db.open_tree("views").unwrap();
    let keys = tree.iter().keys().map(Result::unwrap).filter(|key| key.get(5) == Some(&tag));
    let keys = keys.collect();
    (db, tree, keys)
}

/// F56: a view that cannot be read is made again, and fails nothing.
#[test]
fn one_broken_row_does_not_fail_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let log = world(10);
    let (_, conductor) = started(&log, &cache);
    conductor.stop();
    let (db, tree, views) = tagged(&cache, b'v');
    assert_eq!(views.len(), 10);
    tree.insert(&views[3], &[0xff; 7]).unwrap();
    drop((db, tree));
    let (reads, conductor) = started(&log, &cache);
    assert_same_as_log(&log, &reads);
    assert_eq!(reads.stats().broken_rows, 1);
    let paused = ContainerEvent::Paused(ActionDoneV1 { work_id: EventId(Uuid::nil()) });
    log.put(Kind::Container, object(3), "a", &paused);
    settle(&log, &reads);
    assert_same_as_log(&log, &reads);
    conductor.stop();
    let (reads, conductor) = started(&log, &cache);
    assert_eq!(reads.stats().broken_rows, 0, "it was made again for good");
    assert_same_as_log(&log, &reads);
    conductor.stop();
}

/// A start folds what was not saved yet, and not the whole log again.
#[test]
fn a_start_takes_up_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let log = world(50);
    let (_, conductor) = started(&log, &cache);
    conductor.stop();
    let mut events = log.events();
    let other = asked("other", "nginx", 24).encode().into();
    events[0] = Recorded { payload: other, ..events[0].clone() };
    let log = VecLog::of(events);
    let late = asked("late", "busybox", 24);
    log.put(Kind::Container, object(60), "a", &late);
    let (reads, conductor) = started(&log, &cache);
    let name = |number| reads.any::<ContainerView>(object(number)).unwrap().unwrap().name.unwrap();
    assert_eq!((name(0).as_str(), name(60).as_str()), ("c0", "late"), "the first was not read");
    conductor.rebuild();
    until("rebuilt", || name(0) == "other");
    assert_same_as_log(&log, &reads);
    conductor.stop();
}

/// All that is in a closed folder.
fn records(path: &Path) -> BTreeMap<sled::IVec, sled::IVec> {
    let (_db, tree, _) = tagged(path, b'v');
    tree.iter().map(Result::unwrap).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// The checkpoint is written after all that it stands for. Cut off in between, any of that may
    /// be there, and nothing is applied to it twice.
    #[test]
    fn what_was_saved_ahead_of_its_checkpoint_is_not_changed_twice(
        before in steps(60),
        after in steps(60),
        mut written in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let log = VecLog::new();
        let mut saved = Vec::new();
        for steps in [before, after] {
            steps.iter().for_each(|step| take(&log, step));
            let (_, conductor) = started(&log, &cache);
            conductor.stop();
            saved.push(records(&cache));
        }
        let (db, tree, _) = tagged(&cache, b'v');
        for key in saved[0].keys().chain(saved[1].keys()) {
            let is_view = key.get(5) == Some(&b'v');
            written = written.rotate_left(1);
            match saved[usize::from(is_view && written & 1 == 1)].get(key) {
                Some(value) => tree.insert(key, value).unwrap(),
                None => tree.remove(key).unwrap(),
            };
        }
        drop((tree, db));
        let (reads, conductor) = started(&log, &cache);
        assert_same_as_log(&log, &reads);
        conductor.stop();
    }
}

#[test]
fn a_deleted_folder_changes_nothing_that_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let log = world(200);
    let (_, conductor) = started(&log, &cache);
    conductor.stop();
    std::fs::remove_dir_all(&cache).unwrap();
    let (reads, conductor) = start(&log, &cache);
    block_on(reads.caught_up());
    assert!(reads.stats().caught_up);
    assert_same_as_log(&log, &reads);
    conductor.stop();
}

/// F54: a log that was restored from an older backup has other events after a while.
#[test]
fn views_of_another_log_are_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let log = world(100);
    let (_, conductor) = started(&log, &cache);
    conductor.stop();
    let mut events = log.events();
    events.truncate(100);
    let shorter = VecLog::of(events.clone());
    let (reads, conductor) = started(&shorter, &cache);
    assert_eq!(reads.stats().position, Position(100));
    assert_same_as_log(&shorter, &reads);
    conductor.stop();
    // As long as the first, but with another end.
    let other = VecLog::of(events);
    for number in 0..200 {
        other.put(Kind::Container, object(5000 + number), "a", &asked("other", "nginx", 24));
    }
    let (reads, conductor) = started(&other, &cache);
    assert_same_as_log(&other, &reads);
    conductor.stop();
}

#[test]
fn a_damaged_folder_is_moved_aside_and_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let log = world(200);
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 5] = [
        ("no settings", |path| std::fs::write(path.join("conf"), "segment_size: x").unwrap()),
        ("lost settings", |path| std::fs::remove_file(path.join("conf")).unwrap()),
        ("noise", |path| {
            let length = std::fs::metadata(path.join("db")).unwrap().len();
            let noise: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
            std::fs::write(path.join("db"), noise).unwrap();
        }),
        ("snapshots of nothing", |path| {
            for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
                if entry.file_name().to_str().unwrap().starts_with("snap") {
                    std::fs::write(entry.path(), [7; 99]).unwrap();
                }
            }
        }),
        ("empty file", |path| std::fs::write(path.join("db"), []).unwrap()),
    ];
    for (what, damage) in damages {
        let (_, conductor) = started(&log, &cache);
        conductor.stop();
        damage(&cache);
        println!("{what}");
        let (reads, conductor) = started(&log, &cache);
        assert_same_as_log(&log, &reads);
        conductor.stop();
    }
    let kept = moved_aside(folder.path());
    assert!((1..=3).contains(&kept), "{kept}");
}

/// Damaged folders that were moved aside in a folder.
fn moved_aside(path: &Path) -> usize {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter(|name| name.to_str().unwrap().starts_with("cache.damaged-")).count()
}

#[test]
fn a_folder_in_use_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let _held = Store::open(&cache).unwrap();
    let error = Store::open(&cache).err().unwrap();
    assert!(error.to_string().contains("lock"), "{error}");
    assert_eq!(moved_aside(folder.path()), 0);
}

const KILLED: &str = "MAGNUM_TEST_KILLED_CACHE";
const KILLED_WORLD: u64 = 3000;

/// Does nothing, except as the process that the test below starts and kills.
#[test]
fn follows_until_it_is_killed() {
    let Ok(path) = std::env::var(KILLED) else { return };
    let log = world(KILLED_WORLD);
    let (reads, _conductor) = started(&log, Path::new(&path));
    for number in 0.. {
        take(&log, &Step { object: number % 24, what: (number % 12) as u8, value: 1 });
        settle(&log, &reads);
    }
}

/// F5: killed at any moment, nothing is applied twice and nothing is left out. The longer
/// rounds outlast a few flushes of sled.
#[test]
fn views_and_checkpoint_survive_kills_together() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "projections::follows_until_it_is_killed"])
            .env(KILLED, &cache)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(40 + 290 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let log = world(KILLED_WORLD);
        let (reads, conductor) = started(&log, &cache);
        assert_same_as_log(&log, &reads);
        conductor.stop();
    }
}
