//! The debugger on large logs: the state of one object, on a server and from files, among as many
//! events as `log` has; the whole system, a bisection and a trace over a million.
//!
//! Every container has ten events, spread over the log.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use magnum::clock;
use magnum::events::container::{
    ActionDoneV1, ActionRequestedV1, ContainerEvent, ContainerSpec, CreateRequestedV1, CreatedV1,
};
use magnum::events::log::{Append, EventLog, Expected};
use magnum::events::work::Placement;
use magnum::events::{Meta, NewEvent};
use magnum::ids::{EventId, Kind, ObjectId, Position, Revision, StreamId};
use magnum::replay::among::Among;
use magnum::replay::find::{self, How};
use magnum::replay::{Question, Source, When, system, trace};

use crate::log::{Opened, large_events};
use crate::report::Report;

/// Events of each container.
const ROUNDS: u64 = 10;

/// Appends that are on their way at once.
const AT_ONCE: usize = 2048;

/// Objects that are asked about, each at a moment of its own.
const ASKED: u64 = 100;

/// Events of the log over which the whole system is asked for.
const SYSTEM_EVENTS: u64 = 1_000_000;

/// All figures of the debugger.
pub fn measure(report: &mut Report) {
    with_log(large_events(), |opened, events, beside| one_object(report, opened, events, beside));
    with_log(SYSTEM_EVENTS, |opened, events, beside| all_objects(report, opened, events, beside));
}

fn with_log(events: u64, measure: impl FnOnce(&Opened, u64, &str)) {
    let opened = Opened::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("threads");
    runtime.block_on(fill(&opened, events / ROUNDS));
    measure(&opened, events, &format!("{events} events, {} containers", events / ROUNDS));
}

fn one_object(report: &mut Report, opened: &Opened, events: u64, beside: &str) {
    let live = Source::new(opened.log.clone());
    let (times, worst) = ask(&live, events);
    let figure = format!("{:.2?} on average, {worst:.2?} at most", times / ASKED as u32);
    let reached = worst < Duration::from_millis(200);
    report.add("State of one object at any position", &figure, "200 ms", reached, beside);

    let begin = Instant::now();
    let files = Source::folder(&opened.folder.path().join("log")).expect("the files");
    files.first_of(stream(1)).expect("an object");
    let took = begin.elapsed();
    let what = "Opening the files, with an index of all objects";
    report.add(what, &format!("{took:.2?}"), "nothing", true, beside);
    let (times, worst) = ask(&files, events);
    let figure = format!("{:.2?} on average, {worst:.2?} at most", times / ASKED as u32);
    report.add("State of one object, from files", &figure, "nothing", true, beside);
}

fn all_objects(report: &mut Report, opened: &Opened, events: u64, beside: &str) {
    let live = Source::new(opened.log.clone());
    let half = When::Position(Position(events / 2));
    let took = timed(|| drop(system::diff(&live, half, half).expect("the system at a moment")));
    let reached = took < Duration::from_secs(3);
    let as_of = format!("as of the middle of {beside}");
    report.add("The whole system as of a position", &format!("{took:.2?}"), "3 s", reached, &as_of);

    let how = How { first: true, monotone: true };
    let ever = "status == 'Paused'";
    let find = || drop(find::find(&live, ever, Among::Kind(Kind::Container), how).expect("found"));
    let took = timed(find);
    let reached = took < Duration::from_secs(5);
    report.add("A bisection over all objects", &format!("{took:.2?}"), "5 s", reached, beside);

    let took = timed(|| drop(trace::trace(&live, "req-6").expect("a trace")));
    report.add("A trace, by a scan of the log", &format!("{took:.2?}"), "nothing", true, beside);
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// The states of some objects at moments all over the log: all times together, and the longest.
fn ask(source: &Source, events: u64) -> (Duration, Duration) {
    let (mut all, mut worst) = (Duration::ZERO, Duration::ZERO);
    let containers = events / ROUNDS;
    for number in 0..ASKED {
        let stream = stream(number * containers / ASKED);
        let after_birth = containers + number * (events - containers) / ASKED;
        let question = Question::State { at: When::Position(Position(after_birth)) };
        let begin = Instant::now();
        question.answer(source, stream).expect("a state");
        let took = begin.elapsed();
        all += took;
        worst = worst.max(took);
    }
    (all, worst)
}

fn stream(number: u64) -> StreamId {
    StreamId::new(Kind::Container, ObjectId(uuid::Uuid::from_u128(u128::from(number))))
}

/// Containers that are made, then started and stopped again and again.
async fn fill(opened: &Opened, containers: u64) {
    for round in 0..ROUNDS {
        let mut number = 0;
        while number < containers {
            let end = containers.min(number + AT_ONCE as u64);
            let appends = (number..end).map(|number| opened.log.append(append(number, round)));
            for appended in join_all(appends).await {
                appended.expect("an append");
            }
            number = end;
        }
    }
}

fn append(number: u64, round: u64) -> Append {
    let asked = EventId(uuid::Uuid::from_u128(u128::from(number * ROUNDS + round)));
    let work_id = EventId(uuid::Uuid::from_u128(u128::from(number * ROUNDS + round.max(1) - 1)));
    let payload = match round {
        0 => ContainerEvent::CreateRequested(CreateRequestedV1 {
            name: Some(format!("c{number}")),
            desc: None,
            spec: ContainerSpec { image: "busybox:local".to_owned(), ..ContainerSpec::default() },
            bay_id: ObjectId::default(),
            placement: Placement { node_id: ObjectId::default(), verdicts: Vec::new() },
        }),
        1 => ContainerEvent::Created(CreatedV1 { work_id, engine_id: format!("{number:064}") }),
        round if round % 4 == 2 => ContainerEvent::StartRequested(ActionRequestedV1 {}),
        round if round % 4 == 3 => ContainerEvent::Started(ActionDoneV1 { work_id }.into()),
        round if round % 4 == 0 => ContainerEvent::PauseRequested(ActionRequestedV1 {}),
        _ => ContainerEvent::Paused(ActionDoneV1 { work_id }),
    };
    let meta = Meta {
        user: "operator".to_owned(),
        roles: vec!["member".to_owned()],
        request_id: format!("req-{}", number * ROUNDS + round - round % 2),
        ..Meta::default()
    };
    let before = round.checked_sub(1);
    Append {
        stream: stream(number),
        expected: before.map_or(Expected::NoStream, |it| Expected::Exact(Revision(it))),
        command: None,
        events: vec![NewEvent::new(asked, clock::now(), meta, &payload)],
    }
}
