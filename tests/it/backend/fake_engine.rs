//! The knobs of the model do what they say.

use std::sync::Arc;

use futures_util::StreamExt;
use magnum::backends::fake::Fault;
use magnum::backends::{
    Action, BackendError, Exec, LogQuery, Notice, Operation, Removed, RunState,
};
use magnum::events::container::{ContainerSpec, RestartPolicy};
use magnum::ids::StreamId;

use super::{
    Bench, Fake, Notes, act, bay, container, create, created, observed, only, open_bay, recreate,
    spec, started, work,
};

fn failed() -> BackendError {
    BackendError::Failed("disk on fire".to_owned())
}

#[tokio::test]
async fn the_next_work_fails_and_only_that() {
    let bench = Fake::new();
    let stream = created(&bench, spec("sleep 100")).await;
    bench.engine.inject(Fault::Fail(failed()));
    assert_eq!(act(&bench, stream, Action::Do(Operation::Start)).await, Err(failed()));
    assert_eq!(observed(&bench, stream).await.state, RunState::Created);
    act(&bench, stream, Action::Do(Operation::Start)).await.unwrap();
    assert_eq!(observed(&bench, stream).await.state, RunState::Running);
}

#[tokio::test]
async fn work_that_is_repeated_or_whose_answer_is_lost_is_done_once() {
    let bench = Fake::new();
    let stream = container();
    let bay = open_bay(&bench).await;
    let before = bench.engine.effects().len();
    let mut work = work(bench.node, stream, create(bay, spec("sleep 100")));
    bench.engine.inject(Fault::Repeat);
    bench.engine.inject(Fault::LoseAnswer(failed()));
    let first = bench.backend().perform(&work, &Notes::default()).await.unwrap();
    work.attempt = 2;
    assert_eq!(bench.backend().perform(&work, &Notes::default()).await, Err(failed()));
    work.attempt = 3;
    assert_eq!(bench.backend().perform(&work, &Notes::default()).await, Ok(first));
    assert_eq!(bench.engine.effects()[before..], [(work.id, "create")]);
    bench.engine.inject(Fault::LoseAnswer(failed()));
    assert_eq!(act(&bench, stream, Action::Do(Operation::Start)).await, Err(failed()));
    assert_eq!(observed(&bench, stream).await.state, RunState::Running);
}

#[tokio::test]
async fn what_is_told_of_work_is_told_before_it_is_done() {
    let bench = Fake::new();
    let stream = created(&bench, spec("sleep 100")).await;
    bench.engine.inject(Fault::Tell("layer: x".to_owned()));
    let (notes, start) = (Notes::default(), Action::Do(Operation::Start));
    bench.backend().perform(&work(bench.node, stream, start), &notes).await.unwrap();
    assert_eq!(notes.progress.lock().unwrap()[0].message, "layer: x");
    assert_eq!(observed(&bench, stream).await.state, RunState::Running);
}

#[tokio::test]
async fn a_network_goes_though_the_engine_kept_an_endpoint_in_it() {
    let bench = Fake::new();
    let (bay, stream) = (open_bay(&bench).await, container());
    act(&bench, stream, create(bay, spec("sleep 100"))).await.unwrap();
    bench.engine.keep_endpoint(stream.id);
    act(&bench, stream, Action::Remove(Removed::Container)).await.unwrap();
    bench.engine.join_network(bay.id);
    let in_use = act(&bench, bay, Action::Remove(Removed::Network)).await;
    assert!(matches!(in_use, Err(BackendError::Failed(_))), "{in_use:?}");
    bench.engine.leave_network(bay.id);
    act(&bench, bay, Action::Remove(Removed::Network)).await.unwrap();
    assert_eq!(bench.engine.networks(), []);
}

#[tokio::test]
async fn names_that_the_engine_says_are_short_and_plain() {
    let bench = Fake::new();
    let stream = created(&bench, spec("sleep 100")).await;
    for size in [3_000_000, 5_000_000] {
        bench.engine.rename_behind(stream.id, &format!("a\u{202e}\n{}", "x".repeat(size)));
        let seen = observed(&bench, stream).await;
        assert!(seen.engine_name.starts_with("a x") && seen.engine_name.len() <= 1024);
        assert!(!seen.name_is_ours);
    }
}

#[tokio::test]
async fn work_that_hangs_is_done_when_it_is_let_go() {
    let bench = Arc::new(Fake::new());
    let stream = created(&*bench, spec("sleep 100")).await;
    bench.engine.inject(Fault::Hang);
    let hanging = {
        let bench = Arc::clone(&bench);
        tokio::spawn(async move { act(&*bench, stream, Action::Do(Operation::Start)).await })
    };
    // On one thread it has come as far as it can when others had their turn.
    tokio::task::yield_now().await;
    assert!(!hanging.is_finished());
    assert_eq!(observed(&*bench, stream).await.state, RunState::Created);
    bench.engine.release();
    hanging.await.unwrap().unwrap();
    assert_eq!(observed(&*bench, stream).await.state, RunState::Running);
}

/// Every step of recreating a container meets trouble: an attempt that is cut off goes on with the
/// next one, one that fails leaves the old container as it was. There is one container each time.
#[tokio::test]
async fn recreating_may_end_at_any_step() {
    let away = BackendError::Unavailable("away".to_owned());
    for (error, failing_twice) in [(away, false), (failed(), false), (failed(), true)] {
        for steps in 0.. {
            let bench = Fake::new();
            let (bay, stream) = (open_bay(&bench).await, container());
            act(&bench, stream, create(bay, spec("sleep 100"))).await.unwrap();
            act(&bench, stream, Action::Do(Operation::Start)).await.unwrap();
            let old = only(&bench, stream).await;
            let mut work = work(bench.node, stream, recreate(bay, spec("sleep 200"), true));
            bench.engine.inject_at_step(steps, error.clone());
            let first = bench.backend().perform(&work, &Notes::default()).await;
            let context = format!("{error:?} after {steps} steps: {first:?}");
            if first.is_ok() {
                assert!(steps > 5, "{context}");
                break;
            }
            // The last step only removes the old one; what is new stays.
            let left = bench.engine.containers();
            if error == failed() && left.len() == 1 {
                let back = only(&bench, stream).await;
                assert_eq!(back.engine_id, old.engine_id, "{context}");
                assert_eq!(back.state, RunState::Running, "{context}");
            }
            work.attempt = 2;
            if failing_twice {
                bench.engine.inject_at_step(steps, failed());
                drop(bench.backend().perform(&work, &Notes::default()).await);
                work.attempt = 3;
                bench.engine.inject_at_step(usize::MAX, failed());
            }
            let done = bench.backend().perform(&work, &Notes::default()).await.unwrap();
            let new = only(&bench, stream).await;
            assert_eq!((new.state, Some(new.engine_id)), (RunState::Running, done.engine_id));
            assert_eq!(bench.engine.containers()[0].spec, spec("sleep 200"), "{context}");
        }
    }
}

/// A delete leaves nothing behind, wherever a recreate was cut off (rule W5).
#[tokio::test]
async fn a_delete_removes_what_a_recreate_left() {
    for steps in 0..6 {
        let bench = Fake::new();
        let (bay, stream) = (open_bay(&bench).await, container());
        act(&bench, stream, create(bay, spec("sleep 100"))).await.unwrap();
        bench.engine.inject_at_step(steps, BackendError::Cancelled);
        drop(act(&bench, stream, recreate(bay, spec("sleep 200"), true)).await);
        act(&bench, stream, Action::Remove(Removed::Container)).await.unwrap();
        assert!(bench.engine.containers().is_empty(), "after {steps} steps");
    }
}

#[tokio::test]
async fn an_engine_that_is_away_says_so_and_its_streams_end() {
    let bench = Fake::new();
    let stream = started(&bench, "sleep 100").await;
    let backend = bench.backend();
    let mut notices = backend.notices().await.unwrap();
    assert_eq!(notices.next().await, Some(Notice::Connected));
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let mut logs = backend.logs(stream, follow).await.unwrap();
    bench.engine.go_away();
    assert_eq!(notices.next().await, None);
    assert!(matches!(logs.next().await, Some(Err(BackendError::Unavailable(_)))));
    assert!(matches!(backend.probe().await, Err(BackendError::Unavailable(_))));
    assert!(matches!(backend.inspect(stream).await, Err(BackendError::Unavailable(_))));
    assert!(matches!(backend.inventory().await, Err(BackendError::Unavailable(_))));
    let start = act(&bench, stream, Action::Do(Operation::Start)).await;
    assert!(matches!(start, Err(BackendError::Unavailable(_))), "{start:?}");
    bench.engine.come_back();
    assert_eq!(observed(&bench, stream).await.state, RunState::Running);
}

#[tokio::test(start_paused = true)]
async fn a_crash_takes_all_containers_along_and_policies_hold_when_the_engine_starts() {
    let bench = Arc::new(Fake::new());
    let policies = [
        RestartPolicy::No,
        RestartPolicy::OnFailure(0),
        RestartPolicy::Always,
        RestartPolicy::UnlessStopped,
    ];
    let (mut running, mut stopped) = (vec![], vec![]);
    for restart_policy in policies {
        let with_policy = ContainerSpec { restart_policy, ..spec("sleep 100000") };
        for streams in [&mut running, &mut stopped] {
            let stream = created(&*bench, with_policy.clone()).await;
            act(&*bench, stream, Action::Do(Operation::Start)).await.unwrap();
            streams.push(stream);
        }
    }
    for stream in &stopped {
        act(&*bench, *stream, Action::Do(Operation::Stop { grace_s: 0 })).await.unwrap();
    }
    let command = Action::Exec(Exec::Start { command: vec!["sleep".into(), "100000".into()] });
    let executing = {
        let (bench, stream) = (Arc::clone(&bench), running[0]);
        tokio::spawn(async move { act(&*bench, stream, command).await })
    };
    tokio::task::yield_now().await;
    bench.engine.crash();
    let executed = executing.await.unwrap();
    assert!(matches!(executed, Err(BackendError::TimedOut(_))), "it may have run: {executed:?}");
    assert_eq!(bench.engine.commands_in(running[0].id), 0);
    assert!(matches!(bench.backend().probe().await, Err(BackendError::Unavailable(_))));
    let all = bench.engine.containers();
    assert!(all.iter().all(|one| one.state == RunState::Exited), "{all:?}");
    bench.engine.start_up();
    let states = async |streams: &[StreamId]| {
        let mut states = vec![];
        for stream in streams {
            states.push(observed(&*bench, *stream).await.state);
        }
        states
    };
    let (exited, runs) = (RunState::Exited, RunState::Running);
    assert_eq!(states(&running).await, [exited, exited, runs, runs]);
    assert_eq!(states(&stopped).await, [exited, exited, runs, exited]);
}

#[tokio::test]
async fn an_image_is_pulled_with_progress_once() {
    let bench = Fake::new();
    for (image, pulled) in [("nginx:1", true), ("nginx:1", false)] {
        let notes = Notes::default();
        let spec = ContainerSpec { image: image.to_owned(), ..spec("") };
        let bay = open_bay(&bench).await;
        let work = work(bench.node, container(), create(bay, spec));
        bench.backend().perform(&work, &notes).await.unwrap();
        let underway = notes.underway.into_inner().unwrap();
        let so_far = underway.iter().map(|it| it.current_bytes < it.total_bytes);
        assert_eq!(so_far.collect::<Vec<_>>(), vec![true; usize::from(pulled)]);
        let progress = notes.progress.into_inner().unwrap();
        assert_eq!(
            progress.last().map(|last| last.current_bytes == last.total_bytes),
            pulled.then_some(true)
        );
    }
    let spec = ContainerSpec { image: "missing/x".to_owned(), ..spec("") };
    let answer = act(&bench, container(), create(bay(), spec)).await;
    assert!(matches!(answer, Err(BackendError::Refused(_))), "{answer:?}");
}
