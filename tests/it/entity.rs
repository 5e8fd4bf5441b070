//! The generic actor and the directory over the reference log: exactly once, fenced, per tenant.
//!
//! Not here: waking up from snapshots (`snapshot`).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Arbiter};
use async_trait::async_trait;
use futures_util::future::join_all;
use magnum::actors::aggregate::Aggregate;
use magnum::actors::bay::BayCommand;
use magnum::actors::baymodel::{Baymodel, BaymodelCommand};
use magnum::actors::directory::{Directory, MAX_WAITING};
use magnum::actors::entity::{EntityActor, Perform};
use magnum::actors::objects::Objects;
use magnum::actors::snapshot::Snapshots;
use magnum::backends::{Outcome, WorkResult};
use magnum::bus::{
    Authority, CommandError, CommandMessage, CommandPort, CommandReply, Origin, Refusal,
};
use magnum::events::baymodel::BaymodelFields;
use magnum::events::log::memory::MemoryLog;
use magnum::events::log::{Append, AppendError, Appended, EventLog};
use magnum::events::work::FieldChange;
use magnum::ids::{CommandId, Kind, ObjectId, Position, ProjectId, Revision, StreamId, WorkId};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::harness::PATIENCE;
use crate::log_around::{Around, LogAround};

fn run<T>(test: impl Future<Output = T>) -> T {
    actix::System::new().block_on(test)
}

fn directory(log: &Arc<dyn EventLog>, snapshots: &Snapshots) -> Directory {
    let objects = Objects::new(log.clone(), snapshots.clone());
    Directory::start(objects, vec![Arbiter::new().handle(), Arbiter::new().handle()])
}

fn memory() -> Arc<dyn EventLog> {
    Arc::new(MemoryLog::new())
}

fn stream(number: u128) -> StreamId {
    StreamId::new(Kind::Baymodel, ObjectId(Uuid::from_u128(number)))
}

fn origin(project: &str) -> Origin {
    Origin { project: ProjectId(project.to_owned()), ..Origin::default() }
}

fn message(number: u128, command: &BaymodelCommand, origin: Origin) -> CommandMessage {
    CommandMessage::new(stream(number).id, command, origin).unwrap()
}

fn create() -> BaymodelCommand {
    let fields = BaymodelFields { coe: "docker".into(), ..BaymodelFields::default() };
    BaymodelCommand::Create { fields }
}

fn rename(name: &str) -> BaymodelCommand {
    let value = serde_json::to_string(name).unwrap();
    BaymodelCommand::Update { changes: vec![FieldChange { field: "name".into(), value }] }
}

async fn ask(
    directory: &Directory,
    number: u128,
    command: &BaymodelCommand,
) -> Result<CommandReply, CommandError> {
    directory.command(message(number, command, origin("p")), Authority::Edge).await
}

/// F1, L6: the same id with the same body gets the first answer, with another body a refusal.
#[test]
fn f1_a_command_id_makes_a_command_exactly_once() {
    run(async {
        let log = memory();
        let directory = directory(&log, &Snapshots::default());
        ask(&directory, 1, &create()).await.unwrap();
        let keyed = |digest: u8| Origin {
            command_id: Some(CommandId("p/key".into())),
            digest: Some([digest; 32]),
            ..origin("p")
        };
        let asks =
            (0..20).map(|_| directory.command(message(1, &rename("a"), keyed(1)), Authority::Edge));
        let replies: Vec<_> = join_all(asks).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(replies.iter().filter(|reply| !reply.repeated).count(), 1);
        assert!(replies.iter().all(|reply| reply.position == Position(2)));
        let other = directory.command(message(1, &rename("b"), keyed(2)), Authority::Edge).await;
        assert_eq!(other, Err(CommandError::CommandIdReused));
        // Also on another object, and for a directory that has not seen the first one (a restart).
        let again = self::directory(&log, &Snapshots::default());
        let reply = again.command(message(9, &create(), keyed(1)), Authority::Edge).await.unwrap();
        assert!(reply.repeated && reply.stream == stream(1));
        assert_eq!(*log.head().borrow(), Position(2));
    });
}

/// Rule B4: a message that comes again, however late, is carried out once: soon, after a restart,
/// after many others, by another conductor, and where the log knows nothing of an id of that age.
#[test]
fn b4_a_message_is_carried_out_once_however_often_it_comes() {
    run(async {
        let log = memory();
        let directory = directory(&log, &Snapshots::default());
        let first = ask(&directory, 1, &create()).await.unwrap();
        assert!(!first.repeated);
        let early = message(1, &rename("early"), origin("p"));
        let late = message(1, &rename("late"), origin("p"));
        let answers = async |directory: &Directory, message: &CommandMessage| {
            directory.command(message.clone(), Authority::Edge).await.unwrap()
        };
        let once = answers(&directory, &late).await;
        assert_eq!((once.revision, once.repeated), (Revision(1), false));
        let again = answers(&directory, &late).await;
        assert_eq!((again.revision, again.repeated), (Revision(1), true));
        for number in 2..100 {
            let reply = ask(&directory, 1, &rename(&format!("n{number}"))).await.unwrap();
            assert_eq!((reply.revision, reply.repeated), (Revision(number), false));
        }
        // Sent before all of these, and new all the same.
        let reply = answers(&directory, &early).await;
        assert_eq!((reply.revision, reply.repeated), (Revision(100), false));
        let other = self::directory(&log, &Snapshots::default());
        for directory in [&directory, &other] {
            for message in [&early, &late] {
                let reply = answers(directory, message).await;
                assert_eq!((reply.revision, reply.repeated), (Revision(100), true));
            }
        }
        // The one directory does not know what the other one has recorded since.
        let elsewhere = message(1, &rename("elsewhere"), origin("p"));
        assert!(!answers(&other, &elsewhere).await.repeated);
        assert!(answers(&directory, &elsewhere).await.repeated);
        assert_eq!(log.stream_head(stream(1)).unwrap(), Some(Revision(101)));
        let events = log.read_stream(stream(1), Revision(0), 200).unwrap();
        assert_eq!(events.iter().filter(|event| event.id == late.id).count(), 1);
    });
}

/// F16: two conductors that both think they lead; the expected revision lets one win at a time.
#[test]
fn f16_two_directories_over_one_log_never_lose_a_change() {
    run(async {
        let log = memory();
        let directories =
            [directory(&log, &Snapshots::default()), directory(&log, &Snapshots::default())];
        ask(&directories[0], 1, &create()).await.unwrap();
        let asks = (0..50).map(|turn: usize| {
            let directory = &directories[turn % 2];
            async move {
                loop {
                    match ask(directory, 1, &rename(&format!("n{turn}"))).await {
                        Ok(reply) => break reply.revision,
                        Err(error) => assert!(matches!(error, CommandError::Contended(_))),
                    }
                }
            }
        });
        let mut revisions: Vec<_> = join_all(asks).await;
        revisions.sort();
        assert_eq!(revisions, (1..=50).map(Revision).collect::<Vec<_>>());
        assert_eq!(log.read_stream(stream(1), Revision(0), 100).unwrap().len(), 51);
    });
}

/// A revision that is missing is read from the log, or stops the object: it is never passed over.
#[test]
fn a_gap_in_revisions_is_filled_or_refused() {
    run(async {
        let log = memory();
        let directory = directory(&log, &Snapshots::default());
        ask(&directory, 1, &create()).await.unwrap();
        let before = log.read_stream(stream(1), Revision(0), 1).unwrap();
        ask(&directory, 1, &rename("a")).await.unwrap();
        ask(&directory, 1, &BaymodelCommand::Delete { bays: 0 }).await.unwrap();
        let last = log.read_stream(stream(1), Revision(2), 1).unwrap();
        let first = || {
            let mut fold = Aggregate::<Baymodel>::new(stream(1));
            fold.take(&before[0].borrowed()).unwrap();
            fold
        };
        let refused = first().take(&last[0].borrowed()).unwrap_err().to_string();
        assert!(refused.contains("revision 2 where 1 was expected"), "{refused}");
        let mut filled = first();
        filled.follow(&last[0], log.as_ref()).unwrap();
        let whole = Aggregate::<Baymodel>::load(stream(1), log.as_ref(), &Snapshots::default());
        let states =
            [filled.state, whole.unwrap().state].map(|it| serde_json::to_value(it).unwrap());
        assert_eq!(states[0], states[1]);
        assert_eq!(states[0]["status"], "Deleted");
    });
}

/// F34: another tenant's object is not found, whatever is asked of it.
#[test]
fn f34_another_tenants_object_is_not_found() {
    run(async {
        let log = memory();
        let directory = directory(&log, &Snapshots::default());
        ask(&directory, 1, &create()).await.unwrap();
        for command in [rename("stolen"), BaymodelCommand::Delete { bays: 0 }] {
            let reply =
                directory.command(message(1, &command, origin("other")), Authority::Edge).await;
            assert!(
                matches!(reply, Err(CommandError::Refused(Refusal::NotFound { .. }))),
                "{reply:?}"
            );
        }
        // Nor is it told that its id is another tenant's: the refusal is that of one's own.
        let mut refused = vec![];
        for tenant in ["other", "p"] {
            let create = message(1, &create(), origin(tenant));
            refused.push(directory.command(create, Authority::Edge).await.unwrap_err());
        }
        assert!(
            matches!(refused[0], CommandError::Refused(Refusal::AlreadyExists { .. })),
            "{refused:?}"
        );
        assert_eq!(refused[0].to_string(), refused[1].to_string());
        assert_eq!(*log.head().borrow(), Position(1));
    });
}

#[test]
fn a_command_for_another_revision_is_refused_and_records_nothing() {
    run(async {
        let log = memory();
        let directory = directory(&log, &Snapshots::default());
        ask(&directory, 1, &create()).await.unwrap();
        let at = |revision| Origin { if_match: Some(Revision(revision)), ..origin("p") };
        let refused = directory.command(message(1, &rename("a"), at(7)), Authority::Edge).await;
        let expected = Refusal::RevisionMismatch { expected: Revision(7), actual: Revision(0) };
        assert_eq!(refused, Err(CommandError::Refused(expected)));
        directory.command(message(1, &rename("a"), at(0)), Authority::Edge).await.unwrap();
        assert_eq!(*log.head().borrow(), Position(2));
    });
}

/// Rule E5: an object that nobody asks anything sleeps, and wakes up as it was.
#[test]
fn an_idle_object_goes_to_sleep_and_wakes_up_as_it_was() {
    run(async {
        let log = memory();
        let aggregate = Aggregate::<Baymodel>::new(stream(1));
        let actor =
            EntityActor::new(Objects::new(log.clone(), Snapshots::default()), aggregate).start();
        let made = message(1, &create(), origin("p"));
        actor.send(Perform(Arc::new(made), Authority::Edge)).await.unwrap().unwrap();
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(45)).await;
        let renamed = message(1, &rename("a"), origin("p"));
        actor.send(Perform(Arc::new(renamed), Authority::Edge)).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert!(actor.connected(), "it was asked something less than a minute ago");
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert!(!actor.connected());
        tokio::time::resume();
        let reply = ask(&directory(&log, &Snapshots::default()), 1, &rename("b")).await.unwrap();
        assert_eq!(reply.revision, Revision(2));
    });
}

/// Holds back appends to one object.
struct Held(StreamId, Semaphore);

#[async_trait]
impl Around for Held {
    async fn append(&self, log: &MemoryLog, append: Append) -> Result<Appended, AppendError> {
        if append.stream == self.0 {
            self.1.acquire().await.unwrap().forget();
        }
        log.append(append).await
    }
}

/// An object that cannot keep up refuses what is too much at once, hears what the service itself
/// has to say, and holds up nobody else.
#[test]
fn more_commands_than_may_wait_for_an_object_are_refused() {
    run(async {
        let held = LogAround::new(MemoryLog::new(), Held(stream(1), Semaphore::new(1)));
        let held = Arc::new(held);
        let log: Arc<dyn EventLog> = held.clone();
        let directory = Arc::new(directory(&log, &Snapshots::default()));
        ask(&directory, 1, &create()).await.unwrap();
        let ask_later = |origin: Origin, authority| {
            let (directory, message) = (directory.clone(), message(1, &rename("a"), origin));
            tokio::spawn(async move { directory.command(message, authority).await })
        };
        let waiting: Vec<_> =
            (0..MAX_WAITING).map(|_| ask_later(origin("p"), Authority::Edge)).collect();
        // They are let in, in their order.
        tokio::task::yield_now().await;
        let refused = tokio::time::timeout(PATIENCE, ask_later(origin("p"), Authority::Edge)).await;
        assert_eq!(refused.expect("at once").unwrap(), Err(CommandError::Overloaded));
        let own = ask_later(origin("p"), Authority::Conductor);
        ask(&directory, 2, &create()).await.unwrap();
        assert_eq!(*log.head().borrow(), Position(2));
        held.around.1.add_permits(MAX_WAITING + 2);
        for reply in join_all(waiting).await {
            reply.unwrap().unwrap();
        }
        own.await.unwrap().unwrap();
        ask(&directory, 1, &rename("b")).await.unwrap();
        assert_eq!(*log.head().borrow(), Position(MAX_WAITING as u64 + 4));
    });
}

/// Rule B3: what only the service asks is the noun's own command as JSON, and is refused to an edge
/// in that form too.
#[test]
fn b3_an_edge_cannot_send_what_only_the_service_asks() {
    run(async {
        let log = memory();
        let directory = directory(&log, &Snapshots::default());
        let result = WorkResult::Failed { reason: "no".to_owned() };
        let outcome = Outcome { work_id: WorkId::default(), attempt: 1, result };
        let command = BayCommand::Outcome(outcome);
        let message = CommandMessage::new(stream(1).id, &command, origin("p")).unwrap();
        let answer = directory.command(message.clone(), Authority::Edge).await;
        assert!(matches!(answer, Err(CommandError::Forbidden(_))), "{answer:?}");
        directory.command(message, Authority::Conductor).await.unwrap();
        assert_eq!(*log.head().borrow(), Position(0), "it is about no work");
    });
}
