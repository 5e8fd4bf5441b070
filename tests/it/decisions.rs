//! What each noun decides, without anything that runs: tables, queues, late outcomes.

use magnum::actors::bay::{Bay, BayCommand};
use magnum::actors::container::{Container, ContainerCommand as Command, ContainerState};
use magnum::actors::lifecycle::Effect;
use magnum::actors::lifecycle::MAX_QUEUED;
use magnum::actors::placement::{NodeFacts, place};
use magnum::actors::{Entity, Fact};
use magnum::backends::{
    Action, Done, End, Observed, Outcome, Progress, Removed, Retry, RunState, WorkResult,
};
use magnum::bus::{Ctx, Refusal};
use magnum::events::EventPayload;
use magnum::events::Verb;
use magnum::events::bay::{BayEvent, BayPlan, LeftBehind};
use magnum::events::container::{ContainerEvent as Event, ContainerSpec, RestartPolicy};
use magnum::events::run::{Health, HealthStatus, Run, RunEnd};
use magnum::ids::{EventId, ObjectId, Timestamp, WorkId};
use proptest::prelude::*;
use uuid::Uuid;

/// A container and its events with their times; their ids are 1, 2, 3, ...
struct Model {
    state: ContainerState,
    events: Vec<(Timestamp, Event)>,
    now: Timestamp,
}

impl Model {
    fn new() -> Self {
        Self { state: ContainerState::default(), events: vec![], now: Timestamp(0) }
    }

    /// What the events fold to from the first one on.
    fn folded_again(&self) -> ContainerState {
        let mut state = ContainerState::default();
        for (number, (time, event)) in (1..).zip(&self.events) {
            evolve(&mut state, event, number, *time);
        }
        state
    }

    fn created() -> Self {
        Self::created_with(RestartPolicy::No)
    }

    fn created_with(restart_policy: RestartPolicy) -> Self {
        let mut model = Self::new();
        let mut create = create();
        if let Command::Create { spec, .. } = &mut create {
            spec.restart_policy = restart_policy;
        }
        model.command(create).unwrap();
        model.finish(Done { engine_id: Some("e1".into()), ..Done::default() });
        model
    }

    fn running() -> Self {
        let mut model = Self::created();
        model.command(Command::Start).unwrap();
        model.finish(Done::default());
        model
    }

    fn command(&mut self, command: Command) -> Result<Vec<Event>, Refusal> {
        let ctx = Ctx { now: self.now };
        let events = Container::decide(&self.state, command, &ctx)?;
        for event in &events {
            self.events.push((self.now, event.clone()));
            evolve(&mut self.state, event, self.events.len() as u128, self.now);
        }
        Ok(events)
    }

    fn due(&self) -> Option<(WorkId, u32, Effect)> {
        Container::react(&self.state).into_iter().next().map(|w| (w.id, w.attempt, w.action))
    }

    fn outcome(&mut self, work_id: WorkId, attempt: u32, result: WorkResult) -> Vec<Event> {
        self.command(Command::Outcome(Outcome { work_id, attempt, result })).unwrap()
    }

    fn finish(&mut self, done: Done) -> Vec<Event> {
        let (id, attempt, _) = self.due().expect("work is due");
        self.outcome(id, attempt, WorkResult::Done(done))
    }

    fn fail(&mut self) -> Vec<Event> {
        let (id, attempt, _) = self.due().expect("work is due");
        self.outcome(id, attempt, WorkResult::Failed { reason: "no".into() })
    }
}

/// Applies a container's event with this number.
fn evolve(state: &mut ContainerState, event: &Event, number: u128, time: Timestamp) {
    let fact = Fact {
        id: EventId(Uuid::from_u128(number)),
        object: ObjectId(Uuid::from_u128(7)),
        time,
        project: "default",
        request_id: "req-1",
    };
    Container::evolve(state, event, fact);
}

fn create() -> Command {
    let spec = ContainerSpec { image: "busybox".into(), ..ContainerSpec::default() };
    Command::Create {
        name: Some("web1".into()),
        desc: None,
        spec,
        bay_id: ObjectId(Uuid::from_u128(2)),
        node_id: ObjectId(Uuid::from_u128(3)),
        host: "n1".into(),
    }
}

fn observed(state: RunState) -> Command {
    Command::Observe(Some(seen(state)))
}

fn seen(state: RunState) -> Observed {
    Observed {
        engine_id: "e1".into(),
        engine_name: "magnum-x".into(),
        name_is_ours: true,
        state,
        exit_code: Some(137),
        oom_killed: true,
        finished_at: None,
        ends: vec![],
        restarts: 0,
        run: None,
    }
}

fn types(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(EventPayload::event_type).collect()
}

fn actions() -> Vec<(&'static str, Command)> {
    vec![
        ("start", Command::Start),
        ("stop", Command::Stop { grace_s: 10 }),
        ("reboot", Command::Reboot { grace_s: 10 }),
        ("pause", Command::Pause),
        ("unpause", Command::Unpause),
        ("kill", Command::Kill { signal: "SIGKILL".into() }),
        ("execute", Command::Execute { command: vec!["true".into()] }),
        ("recreate", Command::Recreate { changes: vec![] }),
        ("delete", Command::Delete),
    ]
}

#[test]
fn commands_queue_behind_the_work_under_way_and_start_in_order() {
    let mut model = Model::new();
    model.command(create()).unwrap();
    model.command(Command::Start).unwrap();
    model.command(Command::Stop { grace_s: 1 }).unwrap();
    let mut done = vec![];
    while let Some((_, _, action)) = model.due() {
        done.push(action.name());
        model.finish(Done { engine_id: Some("e1".into()), ..Done::default() });
    }
    assert_eq!(done, ["create", "start", "stop"]);
}

#[test]
fn the_queue_is_bounded_but_a_delete_always_fits() {
    let mut model = Model::running();
    for turn in 0..MAX_QUEUED {
        let command = if turn % 2 == 0 { Command::Pause } else { Command::Unpause };
        model.command(command).unwrap();
    }
    let refused = model.command(Command::Pause).unwrap_err();
    assert!(matches!(refused, Refusal::QueueFull { limit: MAX_QUEUED, .. }), "{refused}");
    let events = model.command(Command::Delete).unwrap();
    let Event::DeleteRequested(asked) = &events[0] else { panic!("{events:?}") };
    assert_eq!(asked.cancelled.len(), MAX_QUEUED, "the one under way is aborted");
}

#[test]
fn a_kill_is_due_beside_the_stop_or_reboot_that_it_passes() {
    let kill = || Command::Kill { signal: "SIGKILL".to_owned() };
    for waits in [Command::Stop { grace_s: 3600 }, Command::Reboot { grace_s: 3600 }] {
        let mut model = Model::running();
        model.command(waits).unwrap();
        assert_eq!(types(&model.command(kill()).unwrap()), ["container.kill_requested"]);
        let due = Container::react(&model.state);
        let ids: Vec<EventId> = due.iter().map(|work| work.id).collect();
        assert_eq!((due.len(), due[1].action.verb()), (2, Verb::Kill));
        let killed = model.outcome(ids[1], 1, WorkResult::Done(Done::default()));
        assert_eq!(types(&killed), ["container.killed"]);
        assert_eq!(model.due().unwrap().0, ids[0], "what waited goes on");
        // A delete overtakes both.
        model.command(kill()).unwrap();
        let events = model.command(Command::Delete).unwrap();
        let Event::DeleteRequested(asked) = &events[0] else { panic!("{events:?}") };
        assert_eq!(asked.cancelled.len(), 2);
        assert_eq!(Container::react(&model.state).len(), 1);
    }
    // Behind anything else it waits for its turn, and is legal if it will be then.
    let mut model = Model::created();
    assert!(model.command(kill()).is_err());
    model.command(Command::Start).unwrap();
    model.command(kill()).unwrap();
    assert_eq!(Container::react(&model.state).len(), 1);
}

/// F6: neither the create that is in progress nor what waits behind it counts any more.
#[test]
fn f6_a_delete_overtakes_what_has_not_started() {
    let mut model = Model::new();
    model.command(create()).unwrap();
    let create_id = model.due().unwrap().0;
    model.command(Command::Start).unwrap();
    model.command(Command::Delete).unwrap();
    assert!(model.command(Command::Delete).unwrap().is_empty(), "again changes nothing");
    assert_eq!(model.due().unwrap().2, Action::Remove(Removed::Container).into());
    let late = Done { engine_id: Some("e1".into()), ..Done::default() };
    assert!(model.outcome(create_id, 1, WorkResult::Done(late)).is_empty());
    assert_eq!(types(&model.finish(Done::default())), ["container.deleted"]);
    assert!(model.due().is_none());
    assert!(matches!(model.command(Command::Start), Err(Refusal::NotFound { .. })));
    assert!(matches!(model.command(create()), Err(Refusal::AlreadyExists { .. })));
}

/// F8, F11: an outcome counts once, and only for the work in progress.
#[test]
fn f11_late_and_repeated_outcomes_change_nothing() {
    let mut model = Model::created();
    model.command(Command::Start).unwrap();
    let (id, attempt, _) = model.due().unwrap();
    assert_eq!(model.outcome(id, attempt, WorkResult::Done(Done::default())).len(), 1);
    for result in [
        WorkResult::Done(Done::default()),
        WorkResult::Failed { reason: "late".into() },
        WorkResult::Unknown { reason: "late".into() },
    ] {
        assert!(model.outcome(id, attempt, result).is_empty());
    }
    let never = EventId(Uuid::from_u128(999));
    assert!(model.outcome(never, 1, WorkResult::Done(Done::default())).is_empty());
}

#[test]
fn blocked_work_is_tried_again_with_the_next_number_at_the_time_it_says() {
    let mut model = Model::created();
    model.command(Command::Start).unwrap();
    let (id, attempt, _) = model.due().unwrap();
    let blocked = |at| WorkResult::Blocked {
        blocked_on: "node n1".into(),
        reason: "connection refused".into(),
        retry: Retry::At(Timestamp(at)),
    };
    assert_eq!(types(&model.outcome(id, attempt, blocked(5))), ["container.work_blocked"]);
    let work = Container::react(&model.state).remove(0);
    assert_eq!((work.id, work.attempt, work.not_before), (id, 2, Some(Timestamp(5))));
    assert!(model.outcome(id, 1, blocked(9)).is_empty(), "the first attempt is past");
    let events = model.command(Command::Delete).unwrap();
    let Event::DeleteRequested(asked) = &events[0] else { panic!("{events:?}") };
    assert_eq!(asked.cancelled, [id], "what waits for its next attempt has not started");
}

/// F20, F24: what happened outside Magnum is recorded once, and the status is true.
#[test]
fn f24_differences_are_recorded_once() {
    let mut model = Model::running();
    assert!(model.command(observed(RunState::Running)).unwrap().is_empty());
    let exited = model.command(observed(RunState::Exited)).unwrap();
    let Event::Exited(exit) = &exited[0] else { panic!("{exited:?}") };
    assert!(exit.oom_killed && exit.exit_code == 137);
    assert!(model.command(observed(RunState::Exited)).unwrap().is_empty());
    assert_eq!(types(&model.command(observed(RunState::Running)).unwrap()), ["container.drifted"]);
    assert_eq!(types(&model.command(observed(RunState::Paused)).unwrap()), ["container.drifted"]);
    assert!(model.command(observed(RunState::Paused)).unwrap().is_empty());
    assert_eq!(types(&model.command(Command::Observe(None)).unwrap()), ["container.drifted"]);
    assert!(model.command(Command::Observe(None)).unwrap().is_empty());
    assert!(model.command(Command::Start).is_err());
    assert!(model.command(Command::Delete).is_ok());
}

/// F20: the engine tells the want of memory after the end; the record is set right, once.
#[test]
fn f20_a_want_of_memory_that_is_told_late_is_recorded() {
    let mut model = Model::running();
    let early = Observed { oom_killed: false, ..seen(RunState::Exited) };
    assert_eq!(types(&model.command(Command::Observe(Some(early))).unwrap()).len(), 1);
    let late = model.command(observed(RunState::Exited)).unwrap();
    let [Event::Exited(exit)] = late.as_slice() else { panic!("{late:?}") };
    assert!(exit.oom_killed);
    assert!(model.command(observed(RunState::Exited)).unwrap().is_empty());
}

/// What work of any kind may say when it is done.
fn all_done() -> Done {
    let end = RunEnd { exit_code: Some(137), oom_killed: false, finished_at: Some(Timestamp(5)) };
    let (engine_id, exit_code) = (Some("e1".into()), Some(0));
    Done { engine_id, exit_code, run: Some(process(10)), end: Some(end) }
}

/// A process that was started at this second.
fn process(second: i64) -> Run {
    let image_digest = Some("sha256:86d9".to_owned());
    Run { started_at: Some(Timestamp(second * 1_000_000)), image_digest, ..Run::default() }
}

fn finds(run: Run) -> Command {
    Command::Observe(Some(Observed { run: Some(run), exit_code: None, ..seen(RunState::Running) }))
}

/// What is known of a process is recorded once, when it is learnt and when it changes.
#[test]
fn what_changes_about_a_process_is_recorded_once() {
    let mut model = Model::created();
    model.command(Command::Start).unwrap();
    model.finish(Done { run: Some(process(10)), ..Done::default() });
    assert_eq!(told(&mut model, finds(process(10))), [""; 0]);
    let moved = Run { address: Some("10.192.0.9".to_owned()), ..process(10) };
    assert_eq!(told(&mut model, finds(moved.clone())), ["run_changed"]);
    let well = |status, output: &str| Run {
        health: Some(Health { status, output: output.to_owned() }),
        ..moved.clone()
    };
    assert_eq!(told(&mut model, finds(well(HealthStatus::Starting, ""))), ["health_changed"]);
    assert_eq!(told(&mut model, finds(well(HealthStatus::Unhealthy, "1"))), ["health_changed"]);
    assert_eq!(told(&mut model, finds(well(HealthStatus::Unhealthy, "2"))), [""; 0]);
    assert_eq!(told(&mut model, finds(process(9))), [""; 0], "looked at before it was started");
    // Somebody started another one.
    assert_eq!(types(&model.command(observed(RunState::Exited)).unwrap()), ["container.exited"]);
    assert_eq!(told(&mut model, finds(process(20))), ["drifted", "run_changed"]);
    // While work is open nothing is said of it.
    model.command(Command::Stop { grace_s: 1 }).unwrap();
    assert_eq!(told(&mut model, finds(process(30))), [""; 0]);
}

/// A process that the engine started again is told with that.
#[test]
fn a_restart_is_recorded_with_its_process() {
    let mut model = restarting();
    let ends = [End { signal: None, ..end_at(20) }];
    let look = Command::Observe(Some(Observed {
        ends: ends.to_vec(),
        exit_code: None,
        run: Some(Run { restart_count: 1, ..process(30) }),
        ..seen(RunState::Running)
    }));
    let events = model.command(look).unwrap();
    let [Event::Exited(_), Event::Restarted(restarted)] = &*events else { panic!("{events:?}") };
    assert_eq!(restarted.run.as_ref().map(|run| run.restart_count), Some(1));
}

fn end_at(at: i64) -> End {
    let (exit_code, oom_killed, service_time) = (Some(137), false, None);
    End { exit_code, oom_killed, finished_at: Timestamp(at), service_time, signal: Some(9) }
}

/// A signal is from outside unless somebody here sent the same one to the same process.
#[test]
fn a_signal_from_outside_is_told_from_our_own() {
    let mut model = Model::running();
    let ended = |model: &mut Model, at: i64| {
        model.now = Timestamp(at + 1);
        let look = Observed {
            ends: vec![end_at(at)],
            exit_code: Some(137),
            oom_killed: false,
            finished_at: Some(Timestamp(at)),
            ..seen(RunState::Exited)
        };
        let events = model.command(Command::Observe(Some(look))).unwrap();
        let [Event::Exited(exit)] = &*events else { panic!("{events:?}") };
        exit.signal.clone()
    };
    let start = |model: &mut Model| {
        model.command(Command::Start).unwrap();
        model.finish(Done::default());
    };
    assert_eq!(ended(&mut model, 100).as_deref(), Some("SIGKILL"));
    for (signal, told) in
        [("SIGKILL", None), ("9", None), ("SIGTERM", Some("SIGKILL")), ("kill", None)]
    {
        start(&mut model);
        model.command(Command::Kill { signal: signal.to_owned() }).unwrap();
        model.finish(Done::default());
        let at = model.now.0 + 100;
        assert_eq!(ended(&mut model, at).as_deref(), told, "{signal}");
    }
    // What was sent to the process before says nothing of the next one.
    start(&mut model);
    let at = model.now.0 + 100;
    assert_eq!(ended(&mut model, at).as_deref(), Some("SIGKILL"));
}

/// A stop, a reboot and a refused start say how it ended.
#[test]
fn an_end_that_was_asked_for_is_recorded_with_it() {
    let mut model = Model::running();
    let end = Some(RunEnd { exit_code: Some(143), oom_killed: true, finished_at: None });
    model.command(Command::Pause).unwrap();
    model.finish(Done::default());
    model.command(Command::Reboot { grace_s: 1 }).unwrap();
    let run = Some(process(10));
    let events = model.finish(Done { end: end.clone(), run: run.clone(), ..Done::default() });
    let [Event::Rebooted(rebooted)] = &*events else { panic!("{events:?}") };
    assert_eq!((&rebooted.end, &rebooted.run), (&end, &run));
    model.command(Command::Stop { grace_s: 1 }).unwrap();
    let events = model.finish(Done { end, ..Done::default() });
    let [Event::Stopped(stopped)] = &*events else { panic!("{events:?}") };
    assert_eq!((stopped.exit_code, stopped.oom_killed), (Some(143), true));
    model.command(Command::Start).unwrap();
    let (id, attempt, _) = model.due().unwrap();
    let refused = WorkResult::NotStarted { reason: "no program".into(), exit_code: 127 };
    let events = model.outcome(id, attempt, refused);
    let [Event::NotStarted(code), Event::WorkFailed(failed)] = &*events else {
        panic!("{events:?}")
    };
    assert_eq!((code.exit_code, &*failed.reason), (127, "no program"));
    assert!(model.due().is_none());
}

/// A container that the engine starts again, running since 10.
fn restarting() -> Model {
    let mut model = Model::created_with(RestartPolicy::Always);
    model.now = Timestamp(10);
    model.command(Command::Start).unwrap();
    model.finish(Done::default());
    model
}

/// An inspection that finds these ends: exit codes, times and whether by the OOM killer.
fn looked(state: RunState, ends: &[(Option<i64>, i64, bool)]) -> Command {
    let end = |(exit_code, at, oom_killed): &(Option<i64>, i64, bool)| End {
        exit_code: *exit_code,
        oom_killed: *oom_killed,
        finished_at: Timestamp(*at),
        service_time: None,
        signal: None,
    };
    let ends: Vec<End> = ends.iter().map(end).collect();
    let last = ends.last().filter(|_| state != RunState::Running);
    Command::Observe(Some(Observed {
        exit_code: last.and_then(|end| end.exit_code),
        oom_killed: last.is_some_and(|end| end.oom_killed),
        finished_at: last.map(|end| end.finished_at),
        ends: ends.clone(),
        ..seen(state)
    }))
}

/// What a look leads to, in short; a second one leads to nothing.
#[track_caller]
fn told(model: &mut Model, look: Command) -> Vec<String> {
    let events = model.command(look.clone()).unwrap();
    assert_eq!(model.command(look).unwrap(), [], "told twice");
    let short = |event: &Event| match event {
        Event::Exited(exit) if exit.oom_killed => format!("oom {}", exit.exit_code),
        Event::Exited(exit) => format!("exit {}", exit.exit_code),
        other => other.event_type().trim_start_matches("container.").to_owned(),
    };
    events.iter().map(short).collect()
}

/// F20: the engine starts again what ended before anybody looks.
#[test]
fn f20_ends_that_nobody_saw_are_recorded_once_and_in_order() {
    use RunState::{Exited, Restarting, Running};
    let mut model = restarting();
    model.now = Timestamp(100);
    let mut ends = vec![(Some(7), 5, false), (Some(3), 20, false), (Some(137), 30, true)];
    let four = ["exit 3", "restarted", "oom 137", "restarted"];
    assert_eq!(told(&mut model, looked(Running, &ends)), four, "7 was before it was started");
    ends.push((Some(0), 110, false));
    assert_eq!(told(&mut model, looked(Restarting, &ends)), ["exit 0"]);
    ends.push((Some(4), 120, false));
    assert_eq!(told(&mut model, looked(Exited, &ends)), ["restarted", "exit 4"]);
    // Somebody else starts what the engine does not.
    let mut model = Model::running();
    assert_eq!(told(&mut model, looked(Running, &[(Some(3), 20, false)])), ["exit 3", "drifted"]);
}

/// After a gap the engine may have forgotten how it ended: no exit code is made up.
#[test]
fn an_end_that_is_forgotten_is_a_restart() {
    use RunState::Running;
    let mut model = restarting();
    model.now = Timestamp(100);
    assert_eq!(told(&mut model, looked(Running, &[(None, 20, false)])), ["restarted"]);
    let later = [(None, 20, false), (Some(3), 110, false)];
    assert_eq!(told(&mut model, looked(Running, &later)), ["exit 3", "restarted"]);
    let mut model = restarting();
    model.now = Timestamp(100);
    assert_eq!(told(&mut model, looked(RunState::Exited, &[(Some(3), 20, false)])), ["exit 3"]);
    let both = [(Some(3), 20, false), (None, 30, false)];
    assert_eq!(told(&mut model, looked(Running, &both)), ["restarted", "restarted"]);
}

#[test]
fn f20_a_want_of_memory_that_is_told_after_the_restart_is_recorded() {
    use RunState::Running;
    let mut model = restarting();
    let early = looked(Running, &[(Some(137), 20, false)]);
    assert_eq!(told(&mut model, early), ["exit 137", "restarted"]);
    let late = looked(Running, &[(Some(137), 20, true)]);
    assert_eq!(told(&mut model, late), ["oom 137", "restarted"]);
}

#[test]
fn an_end_that_was_asked_for_is_none_of_its_own() {
    use RunState::{Exited, Running};
    let mut model = restarting();
    model.now = Timestamp(20);
    model.command(Command::Reboot { grace_s: 0 }).unwrap();
    let before = (Some(3), 15, false);
    let rebooted = (Some(137), 25, false);
    let open = looked(Running, &[before, rebooted]);
    assert_eq!(told(&mut model, open), ["exit 3", "restarted"], "what was before it was its turn");
    model.now = Timestamp(40);
    model.finish(Done::default());
    assert_eq!(told(&mut model, looked(Running, &[before, rebooted])), [""; 0]);
    let again = (Some(4), 35, false);
    let look = looked(Running, &[before, rebooted, again]);
    assert_eq!(told(&mut model, look), ["exit 4", "restarted"], "its answer came later than that");
    model.now = Timestamp(50);
    model.command(Command::Stop { grace_s: 0 }).unwrap();
    let stopped = looked(Exited, &[again, (Some(137), 55, false)]);
    assert_eq!(told(&mut model, stopped.clone()), [""; 0]);
    model.now = Timestamp(60);
    model.finish(Done::default());
    assert_eq!(told(&mut model, stopped), [""; 0]);
    // Of what failed nobody can say what it did.
    model.command(Command::Start).unwrap();
    model.fail();
    assert_eq!(told(&mut model, looked(Exited, &[(Some(3), 70, false)])), [""; 0]);
    assert_eq!(told(&mut model, looked(Running, &[(Some(3), 50, false)])), ["restarted"]);
}

#[test]
fn a_command_in_a_container_holds_nothing_back() {
    let mut model = Model::running();
    model.command(Command::Execute { command: vec!["sleep".into(), "99".into()] }).unwrap();
    model.command(Command::Stop { grace_s: 1 }).unwrap();
    let due: Vec<_> = Container::react(&model.state).iter().map(|w| w.action.name()).collect();
    assert_eq!(due, ["stop", "execute"]);
}

fn bay_ctx(now_s: i64) -> Ctx {
    Ctx { now: Timestamp(now_s * 1_000_000) }
}

/// A bay's state after a command at a time.
fn bay_step(state: &mut <Bay as Entity>::State, command: BayCommand, now_s: i64) -> Vec<BayEvent> {
    let ctx = bay_ctx(now_s);
    let events = Bay::decide(state, command, &ctx).unwrap();
    for (number, event) in (u128::from(now_s.unsigned_abs())..).zip(&events) {
        let fact = Fact {
            id: EventId(Uuid::from_u128(number)),
            object: ObjectId(Uuid::from_u128(7)),
            time: ctx.now,
            project: "default",
            request_id: "req-1",
        };
        Bay::evolve(state, event, fact);
    }
    events
}

/// `bay_create_timeout`: what is blocked for longer has failed, and says what stood in the way.
#[test]
fn a_bay_that_is_not_made_within_its_timeout_has_failed() {
    let plan = BayPlan {
        name: None,
        baymodel_id: ObjectId(Uuid::from_u128(1)),
        node_count: 1,
        discovery_url: None,
        create_timeout_min: 2,
        bay_type: None,
        image_id: None,
    };
    let mut state = <Bay as Entity>::State::default();
    bay_step(&mut state, BayCommand::Create { plan, nodes: vec![empty_node()], coe: None }, 100);
    for (now_s, expected) in [(160, "bay.work_blocked"), (221, "bay.work_failed")] {
        let work = Bay::react(&state).remove(0);
        let result = WorkResult::Blocked {
            blocked_on: "node n1".into(),
            reason: "connection refused".into(),
            retry: Retry::After(0),
        };
        let outcome = Outcome { work_id: work.id, attempt: work.attempt, result };
        let events = bay_step(&mut state, BayCommand::Outcome(outcome), now_s);
        assert_eq!(events[0].event_type(), expected);
    }
    assert!(Bay::react(&state).is_empty());
    assert!(Bay::decide(&state, BayCommand::Delete, &bay_ctx(300)).is_ok());
}

/// A node without bays.
fn empty_node() -> NodeFacts {
    NodeFacts {
        node_id: ObjectId(Uuid::from_u128(3)),
        host: "n1".into(),
        registered: true,
        unavailable: None,
        bays: 0,
    }
}

/// A bay with a network whose deletion was asked for at a time.
fn bay_that_goes() -> <Bay as Entity>::State {
    let mut state = <Bay as Entity>::State::default();
    let plan = BayPlan::default();
    bay_step(&mut state, BayCommand::Create { plan, nodes: vec![empty_node()], coe: None }, 100);
    bay_outcome(&mut state, WorkResult::Done(Done::default()), 101);
    bay_step(&mut state, BayCommand::Delete, 102);
    state
}

/// What comes of a bay's work.
fn bay_outcome(state: &mut <Bay as Entity>::State, result: WorkResult, now_s: i64) {
    let work = Bay::react(state).remove(0);
    let outcome = Outcome { work_id: work.id, attempt: work.attempt, result };
    bay_step(state, BayCommand::Outcome(outcome), now_s);
}

fn blocked(reason: &str) -> WorkResult {
    let (blocked_on, reason) = ("n1".to_owned(), reason.to_owned());
    WorkResult::Blocked { blocked_on, reason, retry: Retry::After(1) }
}

/// What was never tried is not given up; what was is, with a list of what stays behind.
#[test]
fn a_bay_is_given_up_only_once_its_deletion_does_not_end() {
    let web = LeftBehind {
        kind: "container".into(),
        object_id: ObjectId(Uuid::from_u128(9)),
        name: Some("web".into()),
        engine_name: "magnum-9".into(),
        engine_id: Some("e9".into()),
        reason: "permission denied".into(),
    };
    let abandon = || BayCommand::Abandon {
        network_id: Some("net".into()),
        containers: vec![web.clone()],
        still_deleted: vec![ObjectId(Uuid::from_u128(8))],
    };
    let reason = |state: &<Bay as Entity>::State| {
        let decided = Bay::decide(state, abandon(), &bay_ctx(200)).ok()?;
        let [BayEvent::Abandoned(event)] = &decided[..] else { panic!("{decided:?}") };
        assert_eq!(event.left_behind[0], web);
        assert_eq!(event.still_deleted, [ObjectId(Uuid::from_u128(8))]);
        let open = Bay::react(state).iter().map(|work| work.id).collect::<Vec<_>>();
        assert_eq!(event.cancelled, open);
        let [_, network] = &event.left_behind[..] else { panic!("{event:?}") };
        let id = ObjectId(Uuid::from_u128(7));
        assert_eq!((network.kind.as_str(), network.object_id), ("network", id));
        assert_eq!(network.engine_name, format!("magnum-{id}"));
        assert_eq!(network.engine_id.as_deref(), Some("net"));
        Some(network.reason.clone())
    };
    let mut state = bay_that_goes();
    assert_eq!(reason(&state), None, "it has just been asked to go");
    bay_outcome(&mut state, blocked("1 container is left"), 103);
    assert_eq!(reason(&state).as_deref(), Some("1 container is left"));
    bay_outcome(&mut state, WorkResult::Done(Done::default()), 104);
    assert_eq!(reason(&state), None, "it is empty, and the network has not been tried");
    bay_outcome(&mut state, blocked("in use"), 105);
    assert_eq!(reason(&state).as_deref(), Some("in use"));
    bay_outcome(&mut state, WorkResult::Progress(Progress::default()), 106);
    assert_eq!(reason(&state), None, "it was its turn only now");
    bay_outcome(&mut state, WorkResult::Failed { reason: "no".into() }, 107);
    assert_eq!(reason(&state).as_deref(), Some("no"));
    bay_step(&mut state, BayCommand::Delete, 108);
    assert_eq!(reason(&state).as_deref(), Some("no"), "asked for again, it was tried before");
    bay_step(&mut state, abandon(), 109);
    assert!(Bay::react(&state).is_empty());
    let refused = Bay::decide(&state, BayCommand::Delete, &bay_ctx(110));
    assert!(matches!(refused, Err(Refusal::NotFound { .. })), "{refused:?}");
}

#[test]
fn a_container_of_a_bay_that_was_given_up_is_deleted_before_it_is_given_up() {
    let mut model = Model::running();
    let types = |events: Vec<Event>| events.iter().map(Event::event_type).collect::<Vec<_>>();
    // A start that failed is no deletion that did.
    model.command(Command::Stop { grace_s: 1 }).unwrap();
    model.fail();
    assert_eq!(types(model.command(Command::Abandon).unwrap()), ["container.delete_requested"]);
    assert_eq!(types(model.command(Command::Abandon).unwrap()), [""; 0], "its turn has come");
    let (id, attempt, _) = model.due().unwrap();
    model.outcome(id, attempt, blocked("away"));
    let events = model.command(Command::Abandon).unwrap();
    let [Event::Abandoned(end)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((end.engine_id.as_deref(), end.reason.as_str()), (Some("e1"), "away"));
    assert_eq!(end.cancelled, [id]);
    assert_eq!(model.outcome(id, attempt + 1, WorkResult::Done(all_done())), [], "it is gone");
    let refused = model.command(Command::Abandon);
    assert!(matches!(refused, Err(Refusal::NotFound { .. })), "{refused:?}");

    // What came back after a deletion that failed is not one that cannot be deleted.
    let mut model = Model::running();
    model.command(Command::Delete).unwrap();
    model.fail();
    model.command(Command::Start).unwrap();
    model.finish(all_done());
    assert_eq!(types(model.command(Command::Abandon).unwrap()), ["container.delete_requested"]);
    model.fail();
    assert_eq!(types(model.command(Command::Abandon).unwrap()), ["container.abandoned"]);
}

/// Rule N1: who answers comes first, then who has least; and each verdict says why.
#[test]
fn a_bay_is_placed_where_it_can_be_with_a_reason_for_every_node() {
    let node = |number, registered, unavailable: Option<&str>, bays| NodeFacts {
        node_id: ObjectId(Uuid::from_u128(number)),
        host: format!("n{number}"),
        registered,
        unavailable: unavailable.map(str::to_owned),
        bays,
    };
    let nodes = [
        node(1, false, None, 0),
        node(2, true, Some("connection refused"), 0),
        node(3, true, None, 7),
        node(4, true, None, 2),
    ];
    let placed = place(&nodes).unwrap();
    assert_eq!(placed.node_id, nodes[3].node_id);
    let reasons: Vec<_> = placed.verdicts.iter().map(|verdict| verdict.reason.as_str()).collect();
    assert!(reasons[0].starts_with("ruled out") && reasons[1].contains("connection refused"));
    assert!(reasons[2].contains("7 bays, the chosen one has 2"), "{reasons:?}");
    assert_eq!(place(&nodes[..2]).unwrap().node_id, nodes[1].node_id, "work waits for it");
    assert!(matches!(place(&nodes[..1]), Err(Refusal::Conflict { .. })));
}

proptest! {
    /// Whatever is asked and whatever comes of it: never two pieces of the queue at once, a delete
    /// ends it, and the same events fold to the same state (F49).
    #[test]
    fn any_course_of_events_keeps_the_rules(
        steps in prop::collection::vec((0..13usize, 0..5u8), 1..60)
    ) {
        let mut model = Model::new();
        model.command(create()).unwrap();
        for (choice, answer) in steps {
            model.now = model.now.plus_ms(1);
            if choice < 9 {
                let (_, command) = actions().swap_remove(choice);
                let _refused = model.command(command);
            } else if choice == 9 {
                let _nothing = model.command(observed(RunState::Exited));
            } else if let Some((id, attempt, _)) = model.due() {
                let done = all_done();
                model.outcome(id, attempt, match answer {
                    0 => WorkResult::Failed { reason: "no".into() },
                    1 => WorkResult::Blocked {
                        blocked_on: "n1".into(), reason: "away".into(), retry: Retry::After(1),
                    },
                    2 => WorkResult::Unknown { reason: "cut off".into() },
                    _ => WorkResult::Done(done),
                });
            }
            let work = Container::react(&model.state);
            // A signal may pass a stop.
            let beside = [Verb::Execute, Verb::Kill];
            let queued = work.iter().filter(|w| !beside.contains(&w.action.verb()));
            prop_assert!(queued.count() <= 1);
        }
        // Deleted unless it is gone already; then everything that is due gets done.
        let _gone = model.command(Command::Delete);
        for _ in 0..100 {
            if model.due().is_none() { break; }
            model.finish(all_done());
        }
        prop_assert!(model.due().is_none());
        let refused = model.command(Command::Start);
        prop_assert!(matches!(refused, Err(Refusal::NotFound { .. })), "{refused:?}");
        let json = |state: &ContainerState| serde_json::to_value(state).unwrap();
        prop_assert_eq!(json(&model.folded_again()), json(&model.state));
    }
}
