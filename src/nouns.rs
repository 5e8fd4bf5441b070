//! The one table of nouns. A noun that has a row here exists in every layer; there is no other
//! list of nouns.
//!
//! `ids` makes [`Kind`](crate::ids::Kind) of it and `projections::each` a struct with a value per
//! noun; [`with_noun!`](crate::with_noun) names the types of a noun that is known at run time,
//! [`each_noun!`](crate::each_noun) those of all nouns one after the other.
//!
//! Not here: anything about a single noun (one file per noun in each layer).

use crate::ids::{Kind, Noun};

/// Calls a macro with its arguments in brackets, then one row per noun: the byte on disk (never
/// changed, never used again), the name, the variant of `Kind`, the collection in the REST API, the
/// events, the entity and the view.
#[doc(hidden)]
#[macro_export]
macro_rules! noun_table {
    ($($callback:tt)::+ [$($args:tt)*] $($more:tt)*) => { $($callback)::+! { [$($args)*]
        /// A group of containers with a network of its own, on one or more nodes.
        1 bay Bay "bays"
            $crate::events::bay::BayEvent,
            $crate::actors::bay::Bay,
            $crate::projections::bay::BayView;
        /// What a bay is made from.
        2 baymodel Baymodel "baymodels"
            $crate::events::baymodel::BaymodelEvent,
            $crate::actors::baymodel::Baymodel,
            $crate::projections::baymodel::BaymodelView;
        /// A machine where work executes.
        3 node Node "nodes"
            $crate::events::node::NodeEvent,
            $crate::actors::node::Node,
            $crate::projections::node::NodeView;
        /// One container.
        4 container Container "containers"
            $crate::events::container::ContainerEvent,
            $crate::actors::container::Container,
            $crate::projections::container::ContainerView;
        /// Containers that share a network and are placed together.
        5 pod Pod "pods"
            $crate::events::pod::PodEvent,
            $crate::actors::pod::Pod,
            $crate::projections::pod::PodView;
        $($more)*
    } };
}

/// Calls a macro with its arguments in brackets and the rows of all nouns.
#[cfg(not(test))]
#[macro_export]
macro_rules! for_each_noun {
    ($($callback:tt)::+ [$($args:tt)*]) => {
        $crate::noun_table! { $($callback)::+ [$($args)*] }
    };
}

/// The same with a noun that only unit tests have: they show that one row is all it takes.
#[cfg(test)]
#[macro_export]
macro_rules! for_each_noun {
    ($($callback:tt)::+ [$($args:tt)*]) => { $crate::noun_table! { $($callback)::+ [$($args)*]
        /// A noun of the tests.
        99 toy Toy "toys"
            $crate::nouns::toy::ToyEvent,
            $crate::nouns::toy::Toy,
            $crate::nouns::toy::ToyView;
    } };
}

/// Evaluates an expression with the types that a noun has in one layer or in two:
/// `with_noun!(kind, view V => self.list::<V>())`, also `event E`, `entity E`, and
/// `entity E, view V`.
#[macro_export]
macro_rules! with_noun {
    ([$kind:expr, event $T:ident, $body:expr] $($(#[$doc:meta])*
        $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        match $kind { $($crate::ids::Kind::$Noun => { type $T = $Event; $body })* }
    };
    ([$kind:expr, entity $T:ident, $body:expr] $($(#[$doc:meta])*
        $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        match $kind { $($crate::ids::Kind::$Noun => { type $T = $Entity; $body })* }
    };
    ([$kind:expr, view $T:ident, $body:expr] $($(#[$doc:meta])*
        $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        match $kind { $($crate::ids::Kind::$Noun => { type $T = $View; $body })* }
    };
    ([$kind:expr, entity $E:ident, view $V:ident, $body:expr] $($(#[$doc:meta])*
        $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        match $kind { $($crate::ids::Kind::$Noun => {
            type $E = $Entity;
            type $V = $View;
            $body
        })* }
    };
    ($kind:expr, entity $E:ident, view $V:ident => $body:expr) => {
        $crate::for_each_noun!($crate::with_noun [$kind, entity $E, view $V, $body])
    };
    ($kind:expr, $layer:ident $T:ident => $body:expr) => {
        $crate::for_each_noun!($crate::with_noun [$kind, $layer $T, $body])
    };
}

/// Evaluates an expression for each noun with a type of one layer:
/// `each_noun!(view V => count += len::<V>())`, also `entity E`.
#[macro_export]
macro_rules! each_noun {
    ([entity $T:ident, $body:expr] $($(#[$doc:meta])*
        $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        { $({ type $T = $Entity; $body; })* }
    };
    ([view $T:ident, $body:expr] $($(#[$doc:meta])*
        $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        { $({ type $T = $View; $body; })* }
    };
    ($layer:ident $T:ident => $body:expr) => {
        $crate::for_each_noun!($crate::each_noun [$layer $T, $body])
    };
}

/// Says which noun an entity, its commands and a view belong to.
macro_rules! belong {
    ([] $($(#[$doc:meta])* $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        $(impl Noun for $Entity { const KIND: Kind = Kind::$Noun; }
        impl Noun for <$Entity as $crate::actors::Entity>::Command {
            const KIND: Kind = Kind::$Noun;
        }
        impl Noun for $View { const KIND: Kind = Kind::$Noun; })*
    };
}
crate::for_each_noun!(belong []);

/// The noun of the tests: it can be made, renamed and deleted, and has no work.
#[cfg(test)]
pub mod toy {
    use serde::{Deserialize, Serialize};
    use utoipa::ToSchema;

    use crate::actors::{Entity, Fact, ObjectState};
    use crate::bus::{Ctx, NounCommand, Refusal};
    use crate::field;
    use crate::http::shape::Shown;
    use crate::ids::ProjectId;
    use crate::projections::field_table::FieldDef;
    use crate::projections::{View, ViewHead};

    /// A toy has a name from now on.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
    pub struct ToyNamedV1 {
        /// The name.
        pub name: String,
    }

    /// A toy is gone.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
    pub struct ToyDeletedV1 {}

    crate::noun_events! {
        /// Everything that can happen to a toy.
        ToyEvent {
            /// Made or renamed.
            Named(ToyNamedV1) = "toy.named", 1, Changed;
            /// Gone.
            Deleted(ToyDeletedV1) = "toy.deleted", 1, Changed { end };
        }
    }

    /// What can be asked of a toy.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum ToyCommand {
        /// Make or rename it.
        Name(String),
        /// Remove it.
        Delete,
    }

    impl NounCommand for ToyCommand {
        fn is_internal(&self) -> bool {
            false
        }

        fn is_create(&self) -> bool {
            false
        }
    }

    /// What a toy's events fold to.
    #[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
    pub struct ToyState {
        project: Option<ProjectId>,
        name: Option<String>,
    }

    /// The noun.
    pub struct Toy;

    impl Entity for Toy {
        type State = ToyState;
        type Command = ToyCommand;
        type Event = ToyEvent;

        fn decide(_: &ToyState, command: ToyCommand, _: &Ctx) -> Result<Vec<ToyEvent>, Refusal> {
            Ok(vec![match command {
                ToyCommand::Name(name) => ToyEvent::Named(ToyNamedV1 { name }),
                ToyCommand::Delete => ToyEvent::Deleted(ToyDeletedV1 {}),
            }])
        }

        fn evolve(state: &mut ToyState, event: &ToyEvent, fact: Fact<'_>) {
            match event {
                ToyEvent::Named(named) => {
                    state.project = Some(ProjectId(fact.project.to_owned()));
                    state.name = Some(named.name.clone());
                }
                ToyEvent::Deleted(_) => *state = ToyState::default(),
            }
        }
    }

    impl ObjectState for ToyState {
        fn project(&self) -> Option<&ProjectId> {
            self.project.as_ref()
        }
    }

    /// A toy as it is shown.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ToyView {
        /// What every view has.
        pub head: ViewHead,
        /// Its name.
        pub name: String,
    }

    impl View for ToyView {
        const TABLE: &'static [FieldDef<Self>] =
            &[FieldDef::uuid(""), field!("name", name).in_lists()];

        fn first(payload: &ToyEvent) -> Option<Self> {
            let ToyEvent::Named(named) = payload else { return None };
            Some(Self { name: named.name.clone(), ..Self::default() })
        }
    }

    impl Shown for ToyView {}
}

/// A row in the table is all that a noun needs to be found, shown, kept, compared and replayed.
#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use uuid::Uuid;

    use super::toy::{Toy, ToyDeletedV1, ToyEvent, ToyNamedV1, ToyView};
    use crate::actors::aggregate::Aggregate;
    use crate::actors::snapshot::{SnapshotPoint, Snapshots};
    use crate::events::codec;
    use crate::events::log::memory::MemoryLog;
    use crate::events::log::{Append, EventLog, Expected};
    use crate::events::{EventPayload, Mark, Meta, NewEvent};
    use crate::ids::{
        EventId, Kind, ObjectId, Position, ProjectId, Revision, StreamId, StreamKind, Timestamp,
    };
    use crate::projections::as_of::SystemState;
    use crate::projections::conductor::Conductor;
    use crate::projections::offline::OfflineViews;
    use crate::projections::query::ListQuery;
    use crate::projections::retained::Retained;
    use crate::projections::service_reads::ServiceReads;
    use crate::projections::store::Store;
    use crate::replay::among::Among;
    use crate::replay::find::{self, How};
    use crate::replay::verify::{self, Kept};
    use crate::replay::{Source, When, name, state, system, timeline};

    /// A log of toys: one that exists, one that was renamed, one that is gone.
    struct Toys {
        log: Arc<MemoryLog>,
        events: u64,
    }

    const OLD: u128 = 1;
    const RENAMED: u128 = 2;
    const GONE: u128 = 3;

    fn toy(number: u128) -> StreamId {
        StreamId::new(Kind::Toy, ObjectId(Uuid::from_u128(number)))
    }

    fn named(name: &str) -> ToyEvent {
        ToyEvent::Named(ToyNamedV1 { name: name.to_owned() })
    }

    impl Toys {
        async fn new(renamed: &str) -> Self {
            let mut toys = Self { log: Arc::new(MemoryLog::new()), events: 0 };
            toys.append(toy(OLD), &named("bear")).await;
            toys.append(toy(GONE), &named("kite")).await;
            toys.append(toy(RENAMED), &named("ball")).await;
            toys.append(toy(GONE), &ToyEvent::Deleted(ToyDeletedV1 {})).await;
            toys.append(toy(RENAMED), &named(renamed)).await;
            toys
        }

        async fn append(&mut self, stream: StreamId, event: &impl EventPayload) {
            self.events += 1;
            let id = EventId(Uuid::from_u128(u128::from(self.events)));
            let time = Timestamp(self.events as i64 * 1_000_000);
            let head = self.log.stream_head(stream).unwrap();
            let append = Append {
                stream,
                expected: head.map_or(Expected::NoStream, Expected::Exact),
                command: None,
                events: vec![NewEvent::new(id, time, Meta::default(), event)],
            };
            self.log.append(append).await.unwrap();
        }

        fn source(&self) -> Source {
            Source::new(Arc::clone(&self.log) as Arc<dyn EventLog>)
        }

        async fn read_models(&self, store: &Arc<Store>) -> (ServiceReads, Conductor) {
            let log = Arc::clone(&self.log) as Arc<dyn EventLog>;
            let (reads, conductor) = Conductor::start(log, Arc::clone(store)).unwrap();
            tokio::time::timeout(Duration::from_secs(20), reads.caught_up()).await.unwrap();
            (reads, conductor)
        }
    }

    #[test]
    fn a_noun_has_names_a_byte_and_events() {
        assert_eq!(
            (Kind::Toy.name(), Kind::Toy.title(), Kind::Toy.collection()),
            ("toy", "Toy", "toys")
        );
        assert!(Kind::ALL.contains(&Kind::Toy));
        for kind in StreamKind::all() {
            assert_eq!(StreamKind::from_byte(kind.byte()), Some(kind));
            assert_eq!(StreamKind::named(kind.name()), Some(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<StreamKind>(&json).unwrap(), kind);
            assert_eq!(codec::decode::<StreamKind>(&codec::encode(&kind)), Ok(kind));
        }
        assert_eq!(StreamKind::from_byte(0), None);
        assert_eq!(StreamId::from_bytes(&toy(7).to_bytes()), Some(toy(7)));
        assert_eq!(Kind::choice(), "bay, baymodel, node, container, pod or toy");
        assert_eq!(StreamKind::choice(), "bay, baymodel, node, container, pod, toy or audit");
        assert_eq!(codec::known_type("toy.named"), Some("toy.named"));
        assert_eq!(codec::mark("toy.deleted"), Some(Mark::Changed));
        assert!(codec::schemas().iter().any(|schema| schema.file().starts_with("toy.named")));
        let data = codec::payload_json(Kind::Toy.into(), "toy.named", 1, &named("bear").encode());
        assert_eq!(data.unwrap()["name"], "bear");
    }

    #[tokio::test]
    async fn an_archive_leaves_the_events_of_objects_that_exist() {
        let toys = Toys::new("globe").await;
        let at = Position(toys.events);
        let retained = Retained::of(toys.log.as_ref(), at).unwrap();
        assert!(retained.needs(toy(OLD), Position(1)));
        assert!(retained.needs(toy(RENAMED), Position(3)));
        assert!(!retained.needs(toy(GONE), Position(2)));
        let mut toys = toys;
        toys.append(toy(GONE), &named("kite again")).await;
        let retained = Retained::of(toys.log.as_ref(), at).unwrap();
        assert!(retained.needs(toy(GONE), Position(2)), "its revisions go on");
    }

    #[tokio::test]
    async fn read_models_answer_and_are_saved() {
        let toys = Toys::new("globe").await;
        let folder = tempfile::tempdir().unwrap();
        let (path, project) = (folder.path().join("views"), ProjectId::default());
        let store = Arc::new(Store::open(&path).unwrap());
        // The second start loads what the first one saved.
        for _ in 0..2 {
            let (reads, conductor) = toys.read_models(&store).await;
            let stats = reads.stats();
            assert_eq!((stats.broken_rows, stats.parked), (0, 0));
            assert!(stats.objects.contains(&(Kind::Toy, 2)));
            let found: ToyView = reads.find(&project, "globe").unwrap();
            assert_eq!(found.head.uuid, toy(RENAMED).id);
            let query = ListQuery { limit: 9, ..ListQuery::default() };
            let listed: Vec<ToyView> = reads.list(&project, &query).unwrap();
            assert_eq!(listed.len(), 2);
            assert_eq!(reads.outstanding(), Ok(vec![]));
            conductor.stop();
        }
        drop(store);
        let offline = OfflineViews::open(&path).unwrap().unwrap();
        let mut names = Vec::new();
        offline.each(|view: ToyView| names.push(view.name)).unwrap();
        assert_eq!(names, ["bear", "globe"]);
        let system = SystemState::as_of(toys.log.as_ref(), Position(4)).unwrap();
        let views = system.views.of::<ToyView>();
        assert_eq!((views.len(), &*views[&toy(RENAMED).id].name), (2, "ball"));
    }

    #[tokio::test]
    async fn verify_compares_views_and_snapshots() {
        let (toys, other) = (Toys::new("globe").await, Toys::new("puppet").await);
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&folder.path().join("views")).unwrap());
        let (reads, conductor) = toys.read_models(&store).await;
        let db = sled::Config::new().temporary(true).open().unwrap();
        let snapshots = Snapshots::new(db.open_tree("snapshots").unwrap());
        let mut folded = Aggregate::<Toy>::new(toy(RENAMED));
        let events = toys.log.read_stream(toy(RENAMED), Revision(0), 9).unwrap();
        for event in &events {
            folded.take(&event.borrowed()).unwrap();
        }
        let last = events.last().unwrap();
        let place = SnapshotPoint {
            revision: last.revision,
            position: last.position,
            event_id: last.id,
            latest_id: last.id,
        };
        snapshots.save::<Toy>(toy(RENAMED), (&folded.state, &folded.naming), place);

        let kept = Kept::live(reads, snapshots.clone());
        let verified = verify::verify(&toys.source(), &kept).unwrap();
        assert_eq!((verified.objects, verified.snapshots), (2, 1));
        assert_eq!(verified.difference, None);
        // The same positions and ids with another name in the last event.
        let differs = verify::verify(&other.source(), &kept).unwrap().difference.unwrap();
        assert_eq!((&*differs.kept, differs.object), ("read model", toy(RENAMED).to_string()));
        let Aggregate { state, naming, .. } = Aggregate::<Toy>::new(toy(RENAMED));
        snapshots.save::<Toy>(toy(RENAMED), (&state, &naming), place);
        let differs = verify::verify(&toys.source(), &kept).unwrap().difference.unwrap();
        assert_eq!((&*differs.kept, differs.object), ("snapshot", toy(RENAMED).to_string()));
        conductor.stop();
    }

    #[tokio::test]
    async fn replay_finds_and_tells_it() {
        let toys = Toys::new("globe").await;
        let source = toys.source();
        for monotone in [false, true] {
            let among = Among::read(&source, "toys").unwrap();
            let how = How { first: false, monotone };
            let found = find::find(&source, "name == 'globe'", among, how).unwrap();
            let at: Vec<_> = found.moments.iter().map(|moment| moment.event.position).collect();
            assert_eq!(at, [5], "monotone: {monotone}");
        }
        assert_eq!(name::find(&source, Kind::Toy, "globe").unwrap(), toy(RENAMED));

        let before = state::state(&source, toy(RENAMED), When::Position(Position(4))).unwrap();
        assert_eq!((before.name.as_deref(), before.exists), (Some("ball"), true));
        assert_eq!(before.state["name"], "ball");
        assert_eq!(before.view.unwrap()["name"], "ball");
        let gone = state::state(&source, toy(GONE), When::Latest).unwrap();
        assert!(!gone.exists);

        let story = timeline::timeline(&source, toy(GONE), false, source.head()).unwrap();
        assert_eq!((story.name.as_deref(), story.events.len()), (Some("kite"), 2));

        let first = When::Position(Position(1));
        let diff = system::diff(&source, first, When::Latest).unwrap();
        let changes: Vec<_> =
            diff.objects.iter().map(|it| (it.object.clone(), it.change.as_str())).collect();
        let (gone, renamed) = (toy(GONE).to_string(), toy(RENAMED).to_string());
        assert_eq!(changes, [(gone, "passed"), (renamed, "appeared")]);
    }
}
