//! What every backend must do with pods, run on the model and on a real Docker engine. What only
//! one of them can show is at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use magnum::backends::fake::FakeBackend;
use magnum::backends::unsealing::Unsealing;
use magnum::backends::{
    Action, Backend, BackendError, Desired, Done, EngineObject, Exec, LogQuery, Notice, Observed,
    ObservedPod, Operation, Removed, RunState,
};
use magnum::clock;
use magnum::events::pod::{PodContainer, PodSpec};
use magnum::ids::{Kind, ObjectId, ProjectId, StreamId};
use magnum::manifest::variables;
use magnum::secrets::Secrets;
use serde_json::{Value, json};

use super::{
    BACK_OFF, Behind, Bench, Docker, Fake, IMAGE, Notes, PATIENCE, act, bay, by_output, container,
    containers, create, logs, name_in_pod, noticed, open_bay, words, work,
};

contracts!(
    a_pod_is_made_started_and_deleted,
    what_initialises_a_pod_runs_in_order,
    what_fails_to_initialise_a_pod_is_told,
    what_initialises_a_pod_is_retried,
    containers_are_restarted_as_the_pod_says,
    output_and_commands_are_of_one_container,
    fields_of_the_pod_are_variables,
    work_on_a_pod_can_be_repeated,
    what_an_earlier_attempt_did_not_make_is_made,
    a_pod_is_deleted_while_it_is_initialised,
    the_grace_of_a_pod_ends_when_it_is_cancelled,
    a_pod_begins_again_with_its_sandbox,
    every_change_of_a_pod_is_noticed,
    a_pod_of_others_is_left_alone,
    what_is_not_there_of_a_pod_is_missing_or_fine,
    what_cannot_be_run_is_refused_before_anything_is_made,
);

fn pod() -> StreamId {
    StreamId::new(Kind::Pod, clock::new_object_id())
}

/// A container as a manifest has it.
fn member(name: &str, command: &str) -> Value {
    json!({ "name": name, "image": IMAGE, "command": words(command) })
}

fn manifest(spec: Value) -> Value {
    let metadata = json!({ "name": "web-1", "labels": { "tier": "front" } });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
}

fn create_pod(bay: StreamId, spec: Value) -> Action {
    create_from(bay, of(manifest(spec)))
}

fn create_from(bay: StreamId, spec: PodSpec) -> Action {
    Action::Apply(Desired::Pod { name: "web-1".to_owned(), bay_id: bay.id, spec })
}

/// What a pod is made from, with its values in the clear.
fn of(mut document: Value) -> PodSpec {
    let environment = variables::taken(&mut document);
    let containers = ["initContainers", "containers"].map(|list| &document["spec"][list]);
    let containers = containers.into_iter().filter_map(Value::as_array).flatten();
    let containers = containers.map(|_| PodContainer::default()).collect();
    PodSpec { manifest: document.to_string(), environment, containers, ..PodSpec::default() }
}

const START: Action = Action::Do(Operation::StartPod);

const fn delete(grace_s: u32) -> Action {
    Action::Remove(Removed::Pod { grace_s })
}

fn in_pod(container: &str, command: &str) -> Action {
    let container = container.to_owned();
    Action::Exec(Exec::InPod { container, command: words(command) })
}

/// A new pod in a bay of its own, none of whose containers run.
async fn made(bench: &dyn Bench, spec: Value) -> StreamId {
    let (bay, pod) = (open_bay(bench).await, pod());
    act(bench, pod, create_pod(bay, spec)).await.unwrap();
    pod
}

async fn seen(bench: &dyn Bench, pod: StreamId) -> ObservedPod {
    bench.backend().inspect_pod(pod).await.unwrap().unwrap()
}

/// A container of a pod.
async fn one(bench: &dyn Bench, pod: StreamId, name: &str) -> Observed {
    let all = seen(bench, pod).await.containers;
    all.into_iter().find(|one| one.name == name).unwrap().observed
}

async fn states(bench: &dyn Bench, pod: StreamId) -> Vec<(String, RunState)> {
    let all = seen(bench, pod).await.containers;
    all.into_iter().map(|one| (one.name, one.observed.state)).collect()
}

/// Waits until a container of a pod is as it should be.
async fn until(
    bench: &dyn Bench,
    pod: StreamId,
    name: &str,
    is_so: impl Fn(&Observed) -> bool,
) -> Observed {
    let wait = async {
        loop {
            let now = one(bench, pod, name).await;
            if is_so(&now) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap()
}

fn runs(seen: &Observed) -> bool {
    seen.state == RunState::Running
}

fn codes(seen: &Observed) -> Vec<Option<i64>> {
    seen.ends.iter().map(|end| end.exit_code).collect()
}

/// The engine's ids of all that a pod is.
fn ids(seen: &ObservedPod) -> Vec<String> {
    let members = seen.containers.iter().map(|one| one.observed.engine_id.clone());
    members.chain([seen.engine_id.clone()]).collect()
}

/// The pods that are listed.
async fn pods(bench: &dyn Bench) -> Vec<(StreamId, ObservedPod)> {
    let all = bench.backend().inventory().await.unwrap().into_iter();
    let pods = all.filter_map(|(stream, seen)| match seen {
        EngineObject::Pod(observed) => Some((stream, observed)),
        EngineObject::Container(_) | EngineObject::Network(_) => None,
    });
    pods.collect()
}

/// Why something was refused.
fn refusal<T: std::fmt::Debug>(answer: Result<T, BackendError>) -> String {
    match answer {
        Err(BackendError::Refused(words)) => words,
        other => panic!("{other:?}"),
    }
}

async fn a_pod_is_made_started_and_deleted(bench: &dyn Bench) {
    let (bay, pod) = (open_bay(bench).await, pod());
    let volumes =
        json!([{ "name": "data" }, { "name": "cache", "emptyDir": { "medium": "Memory" } }]);
    let spec = json!({
        "volumes": volumes,
        "initContainers": [member("setup", "true")],
        "containers": [member("web", "sleep 100"), member("log", "sleep 100")],
    });
    let create = work(bench.node(), pod, create_pod(bay, spec));
    let done = bench.backend().perform(&create, &Notes::default()).await.unwrap();
    let new = seen(bench, pod).await;
    assert_eq!((Some(&new.engine_id), new.work_id), (done.engine_id.as_ref(), Some(create.id)));
    assert!(new.is_up && new.address.is_some(), "{new:?}");
    let members: Vec<_> = new.containers.iter().map(|one| (&*one.name, one.is_init)).collect();
    assert_eq!(members, [("setup", true), ("web", false), ("log", false)]);
    for one in &new.containers {
        assert_eq!(one.observed.state, RunState::Created);
        assert!(one.observed.name_is_ours, "{one:?}");
    }
    assert_eq!(pods(bench).await, [(pod, new.clone())]);
    assert_eq!(containers(bench).await, [], "nothing of a pod is a container of ours");
    assert_eq!(act(bench, pod, START).await, Ok(Done::default()));
    let now = seen(bench, pod).await;
    assert_eq!((ids(&now), &now.address), (ids(&new), &new.address));
    let told = states(bench, pod).await;
    let wanted = [RunState::Exited, RunState::Running, RunState::Running];
    assert_eq!(told.iter().map(|(_, state)| *state).collect::<Vec<_>>(), wanted);
    let mut left = bench.left_of(pod.id);
    left.sort();
    let named = |name| name_in_pod(pod.id, name);
    let all = [None, Some("cache"), Some("data"), Some("log"), Some("setup"), Some("web")];
    assert_eq!(left, all.map(named));
    act(bench, pod, delete(0)).await.unwrap();
    assert_eq!(bench.left_of(pod.id), [""; 0]);
    assert_eq!(bench.backend().inspect_pod(pod).await, Ok(None));
    act(bench, bay, Action::Remove(Removed::Network)).await.unwrap();
}

async fn what_initialises_a_pod_runs_in_order(bench: &dyn Bench) {
    let pod = made(
        bench,
        json!({
            "initContainers": [member("first", "sleep 0.3"), member("second", "sleep 0.3")],
            "containers": [member("web", "sleep 100")],
        }),
    )
    .await;
    act(bench, pod, START).await.unwrap();
    let [first, second] = [one(bench, pod, "first").await, one(bench, pod, "second").await];
    assert_eq!((codes(&first), codes(&second)), (vec![Some(0)], vec![Some(0)]));
    let started_at = one(bench, pod, "web").await.run.unwrap().started_at.unwrap();
    let ends = [first.finished_at.unwrap(), second.finished_at.unwrap()];
    assert!(ends[0].plus_ms(300) <= ends[1] && ends[1] <= started_at, "{ends:?} {started_at}");
}

async fn what_fails_to_initialise_a_pod_is_told(bench: &dyn Bench) {
    let pod = made(
        bench,
        json!({
            "restartPolicy": "Never",
            "initContainers": [member("good", "true"), member("bad", r#"sh -c "exit 3""#)],
            "containers": [member("web", "sleep 100")],
        }),
    )
    .await;
    let mut start = work(bench.node(), pod, START);
    // It has had its chance: another attempt says the same.
    for attempt in 1..=2 {
        start.attempt = attempt;
        let answer = bench.backend().perform(&start, &Notes::default()).await;
        assert_eq!(refusal(answer), "init container bad failed with exit code 3");
        assert_eq!(codes(&one(bench, pod, "good").await), [Some(0)]);
        assert_eq!(codes(&one(bench, pod, "bad").await), [Some(3)]);
        assert_eq!(one(bench, pod, "web").await.state, RunState::Created);
    }
}

async fn what_initialises_a_pod_is_retried(bench: &dyn Bench) {
    let retried = json!({ "name": "setup", "image": IMAGE, "command": bench.failing_once() });
    let pod = made(
        bench,
        json!({
            "restartPolicy": "OnFailure",
            "initContainers": [retried],
            "containers": [member("web", "sleep 100")],
        }),
    )
    .await;
    let ends = async {
        until(bench, pod, "setup", |it| it.state != RunState::Created).await;
        bench.end_in_pod(pod.id, "setup", 3);
        until(bench, pod, "setup", |it| it.restarts == 1 && it.state != RunState::Restarting).await;
        bench.end_in_pod(pod.id, "setup", 0);
    };
    let (started, ()) = tokio::join!(act(bench, pod, START), ends);
    assert_eq!(started, Ok(Done::default()));
    assert_eq!(codes(&one(bench, pod, "setup").await), [Some(3), Some(0)]);
    assert!(runs(&one(bench, pod, "web").await));
}

async fn containers_are_restarted_as_the_pod_says(bench: &dyn Bench) {
    for (policy, good_again, bad_again) in
        [("Always", true, true), ("OnFailure", false, true), ("Never", false, false)]
    {
        let pod = made(
            bench,
            json!({
                "restartPolicy": policy,
                "containers": [member("good", "true"), member("bad", r#"sh -c "exit 3""#)],
            }),
        )
        .await;
        act(bench, pod, START).await.unwrap();
        for (name, is_again, code) in [("good", good_again, 0), ("bad", bad_again, 3)] {
            let last = match is_again {
                true => until(bench, pod, name, |it| it.restarts >= 2).await,
                false => until(bench, pod, name, |it| it.state == RunState::Exited).await,
            };
            assert_eq!(last.restarts >= 2, is_again, "{policy} {name}");
            assert_eq!(codes(&last)[0], Some(code), "{policy} {name}");
        }
        act(bench, pod, delete(0)).await.unwrap();
    }
}

async fn output_and_commands_are_of_one_container(bench: &dyn Bench) {
    let says = |name: &str| member(name, &format!(r#"sh -c "echo {name}; sleep 100""#));
    let pod = made(
        bench,
        json!({
            "initContainers": [member("setup", "echo setup")],
            "containers": [says("web"), says("log")],
        }),
    )
    .await;
    refusal(act(bench, pod, in_pod("web", "true")).await);
    act(bench, pod, START).await.unwrap();
    for (container, text) in [
        (None, "web\n"),
        (Some("web"), "web\n"),
        (Some("log"), "log\n"),
        (Some("setup"), "setup\n"),
    ] {
        let query = || LogQuery { container: container.map(str::to_owned), ..LogQuery::default() };
        let wait = async {
            while logs(bench, pod, query()).await.0 != text {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }
    let notes = Notes::default();
    let mut command = work(bench.node(), pod, in_pod("log", r#"sh -c "echo hi; exit 4""#));
    let done = bench.backend().perform(&command, &notes).await.unwrap();
    assert_eq!(done.exit_code, Some(4));
    assert_eq!(by_output(notes.output.into_inner().unwrap()).0, "hi\n");
    command.attempt = 2;
    refusal(bench.backend().perform(&command, &Notes::default()).await);
    let query = LogQuery { container: Some("db".to_owned()), ..LogQuery::default() };
    for words in [
        refusal(act(bench, pod, in_pod("db", "true")).await),
        refusal(bench.backend().logs(pod, query).await.map(drop)),
    ] {
        assert_eq!(words, "the pod has no container db; it has setup, web, log");
    }
}

async fn fields_of_the_pod_are_variables(bench: &dyn Bench) {
    let field = |name: &str, path: &str| {
        let from = json!({ "fieldPath": path });
        json!({ "name": name, "valueFrom": { "fieldRef": from } })
    };
    let web = json!({ "name": "web", "image": IMAGE, "command": ["env"], "env": [
        field("NAME", "metadata.name"),
        field("SPACE", "metadata.namespace"),
        field("UID", "metadata.uid"),
        field("TIER", "metadata.labels['tier']"),
        field("NONE", "metadata.annotations['none']"),
        field("IP", "status.podIP"),
        { "name": "GREETING", "value": "$(NAME) at $(IP), $$(NAME) $(NOBODY)" },
    ] });
    let says = json!({
        "name": "says",
        "image": IMAGE,
        "command": ["echo", "$(WORD)"],
        "args": ["and $(WORD)"],
        "env": [{ "name": "WORD", "value": "hi" }],
    });
    let pod = made(bench, json!({ "restartPolicy": "Never", "containers": [web, says] })).await;
    act(bench, pod, START).await.unwrap();
    let ended = |it: &Observed| it.state == RunState::Exited;
    until(bench, pod, "web", ended).await;
    let (text, _) = logs(bench, pod, LogQuery::default()).await;
    let told: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let address = seen(bench, pod).await.address.unwrap();
    let (uid, greeting) = (pod.id.to_string(), format!("web-1 at {address}, $(NAME) $(NOBODY)"));
    for (name, value) in [
        ("NAME", "web-1"),
        ("SPACE", "default"),
        ("UID", &*uid),
        ("TIER", "front"),
        ("NONE", ""),
        ("IP", &*address),
        ("GREETING", &*greeting),
    ] {
        assert_eq!(told.get(name), Some(&value), "{name}: {text}");
    }
    until(bench, pod, "says", ended).await;
    let query = LogQuery { container: Some("says".to_owned()), ..LogQuery::default() };
    assert_eq!(logs(bench, pod, query).await.0, "hi and hi\n");
}

async fn work_on_a_pod_can_be_repeated(bench: &dyn Bench) {
    let (bay, pod) = (open_bay(bench).await, pod());
    let spec = json!({
        "volumes": [{ "name": "data" }],
        "initContainers": [member("setup", "true")],
        "containers": [member("web", "sleep 100"), member("log", "true")],
        "restartPolicy": "Never",
    });
    let mut first = None;
    for action in [create_pod(bay, spec), START, delete(0)] {
        let mut work = work(bench.node(), pod, action);
        let done = bench.backend().perform(&work, &Notes::default()).await.unwrap();
        if work.action == START {
            // Nor is one started again that has ended.
            until(bench, pod, "log", |it| it.state == RunState::Exited).await;
        }
        let before = bench.backend().inspect_pod(pod).await.unwrap();
        let left = bench.left_of(pod.id);
        work.attempt = 2;
        assert_eq!(bench.backend().perform(&work, &Notes::default()).await, Ok(done));
        assert_eq!(bench.backend().inspect_pod(pod).await.unwrap(), before, "{:?}", work.action);
        assert_eq!(bench.left_of(pod.id), left);
        first = first.or(before.as_ref().map(ids));
        assert!(before.is_none_or(|now| Some(ids(&now)) == first));
    }
    assert_eq!(bench.left_of(pod.id), [""; 0]);
}

async fn what_an_earlier_attempt_did_not_make_is_made(bench: &dyn Bench) {
    let (bay, pod) = (open_bay(bench).await, pod());
    let spec = json!({
        "volumes": [{ "name": "data" }],
        "containers": [member("web", "sleep 100"), member("log", "sleep 100")],
    });
    let mut create = work(bench.node(), pod, create_pod(bay, spec));
    let done = bench.backend().perform(&create, &Notes::default()).await.unwrap();
    let before = seen(bench, pod).await;
    create.attempt = 2;
    bench.remove_in_pod(pod.id, Some("log"));
    assert_eq!(bench.backend().perform(&create, &Notes::default()).await, Ok(done));
    let after = seen(bench, pod).await;
    let [web, log] = [0, 1].map(|at| ids(&before)[at] == ids(&after)[at]);
    assert!(web && !log && before.engine_id == after.engine_id);
    // What the containers know of a sandbox that has ended is not so any more.
    bench.kill_in_pod(pod.id, None);
    create.attempt = 3;
    bench.backend().perform(&create, &Notes::default()).await.unwrap();
    let now = seen(bench, pod).await;
    assert!(now.is_up && now.address.is_some(), "{now:?}");
    assert!(ids(&now)[..2].iter().all(|id| !ids(&after).contains(id)), "{now:?}");
    act(bench, pod, START).await.unwrap();
    assert!(runs(&one(bench, pod, "web").await));
}

async fn a_pod_is_deleted_while_it_is_initialised(bench: &dyn Bench) {
    let pod = made(
        bench,
        json!({
            "initContainers": [member("setup", "sleep 1000")],
            "containers": [member("web", "sleep 100")],
        }),
    )
    .await;
    let (start, notes) = (work(bench.node(), pod, START), Notes::default());
    let backend = bench.backend();
    let cancel = async {
        until(bench, pod, "setup", runs).await;
        notes.cancel.cancel();
    };
    let (started, ()) = tokio::join!(backend.perform(&start, &notes), cancel);
    assert_eq!(started, Err(BackendError::Cancelled));
    act(bench, pod, delete(0)).await.unwrap();
    assert_eq!(bench.left_of(pod.id), [""; 0]);
}

async fn the_grace_of_a_pod_ends_when_it_is_cancelled(bench: &dyn Bench) {
    let deaf = r#"sh -c "trap '' TERM; sleep 1000""#;
    let spec = json!({ "containers": [member("web", deaf), member("log", deaf)] });
    let pod = made(bench, spec).await;
    act(bench, pod, START).await.unwrap();
    let (slow, notes) = (work(bench.node(), pod, delete(1000)), Notes::default());
    let backend = bench.backend();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        notes.cancel.cancel();
    };
    let (deleted, ()) = tokio::join!(backend.perform(&slow, &notes), cancel);
    assert_eq!(deleted, Err(BackendError::Cancelled));
    act(bench, pod, delete(0)).await.unwrap();
    assert_eq!(bench.left_of(pod.id), [""; 0]);
}

async fn a_pod_begins_again_with_its_sandbox(bench: &dyn Bench) {
    let pod = made(
        bench,
        json!({
            "initContainers": [member("setup", "true")],
            "containers": [member("web", "sleep 100"), member("log", "sleep 100")],
        }),
    )
    .await;
    act(bench, pod, START).await.unwrap();
    let before = seen(bench, pod).await;
    bench.kill_in_pod(pod.id, Some("log"));
    assert_eq!(one(bench, pod, "log").await.state, RunState::Exited);
    assert!(seen(bench, pod).await.is_up);
    bench.kill_in_pod(pod.id, None);
    let down = seen(bench, pod).await;
    assert_eq!((down.is_up, down.address), (false, None));
    // What is left of its last life is no reason to wait.
    act(bench, pod, START).await.unwrap();
    let after = seen(bench, pod).await;
    assert!(after.is_up && after.address.is_some() && ids(&after) == ids(&before));
    assert_eq!(codes(&one(bench, pod, "setup").await), [Some(0), Some(0)]);
    for name in ["web", "log"] {
        let now = one(bench, pod, name).await;
        assert!(runs(&now) && codes(&now) == [Some(137)], "{now:?}");
    }
    act(bench, pod, delete(0)).await.unwrap();
    assert_eq!(bench.left_of(pod.id), [""; 0]);
}

async fn every_change_of_a_pod_is_noticed(bench: &dyn Bench) {
    let pod = made(bench, json!({ "containers": [member("web", "sleep 100")] })).await;
    let mut notices = bench.backend().notices().await.unwrap();
    assert_eq!(notices.next().await, Some(Notice::Connected));
    act(bench, pod, START).await.unwrap();
    noticed(&mut notices, pod).await;
    for container in [Some("web"), None] {
        let mut notices = bench.backend().notices().await.unwrap();
        assert_eq!(notices.next().await, Some(Notice::Connected));
        bench.kill_in_pod(pod.id, container);
        noticed(&mut notices, pod).await;
    }
}

async fn a_pod_of_others_is_left_alone(bench: &dyn Bench) {
    let spec =
        || json!({ "volumes": [{ "name": "data" }], "containers": [member("web", "sleep 100")] });
    let (bay, foreign) = (open_bay(bench).await, pod());
    bench.behind(Behind::OccupyName, foreign.id);
    let words = refusal(act(bench, foreign, create_pod(bay, spec())).await);
    assert!(words.contains("used by"), "{words}");
    act(bench, foreign, delete(0)).await.unwrap();
    assert!(bench.name_is_occupied(foreign.id));
    // Ours, but of other work.
    let pod = made(bench, spec()).await;
    let words = refusal(act(bench, pod, create_pod(bay, spec())).await);
    assert!(words.contains("used by"), "{words}");
    // Another node's.
    let stranger = clock::new_object_id();
    let other = bench.backend_as(stranger);
    assert_eq!(other.inspect_pod(pod).await, Ok(None));
    other.perform(&work(stranger, pod, delete(0)), &Notes::default()).await.unwrap();
    assert_eq!(bench.left_of(pod.id).len(), 3);
}

async fn what_is_not_there_of_a_pod_is_missing_or_fine(bench: &dyn Bench) {
    let nowhere = pod();
    for action in [START, in_pod("web", "true")] {
        let answer = act(bench, nowhere, action).await;
        assert!(matches!(answer, Err(BackendError::Missing(_))), "{answer:?}");
    }
    let logs = bench.backend().logs(nowhere, LogQuery::default()).await.err().unwrap();
    assert!(matches!(logs, BackendError::Missing(_)));
    assert_eq!(act(bench, nowhere, delete(0)).await, Ok(Done::default()));
    assert_eq!(bench.backend().inspect_pod(nowhere).await, Ok(None));
    let spec = || json!({ "containers": [member("web", "sleep 100")] });
    // Without a sandbox there is nothing to start, but what is left is seen and removed.
    let pod = made(bench, spec()).await;
    bench.remove_in_pod(pod.id, None);
    let rest = seen(bench, pod).await;
    assert!(!rest.is_up && rest.engine_id.is_empty() && rest.containers.len() == 1, "{rest:?}");
    let answer = act(bench, pod, START).await;
    assert!(matches!(answer, Err(BackendError::Missing(_))), "{answer:?}");
    act(bench, pod, delete(0)).await.unwrap();
    assert_eq!(bench.left_of(pod.id), [""; 0]);
    // A pod never brings a network back.
    let answer = act(bench, nowhere, create_pod(bay(), spec())).await;
    assert!(matches!(&answer, Err(BackendError::Failed(words)) if words.contains("not exist")));
    assert_eq!(bench.left_of(nowhere.id), [""; 0]);
}

async fn what_cannot_be_run_is_refused_before_anything_is_made(bench: &dyn Bench) {
    let bay = open_bay(bench).await;
    let never = json!({ "name": "web", "image": "none/x:1", "imagePullPolicy": "Never" });
    for (spec, words) in [
        (json!({ "hostNetwork": true, "containers": [member("a", "true")] }), "spec.hostNetwork"),
        (json!({ "containers": [] }), "containers"),
        (json!({ "containers": [never] }), "never to be pulled"),
    ] {
        let pod = pod();
        let told = refusal(act(bench, pod, create_pod(bay, spec)).await);
        assert!(told.contains(words), "{told}");
        assert_eq!(bench.left_of(pod.id), [""; 0]);
    }
    let absent =
        json!({ "containers": [member("good", "sleep 100"), member("bad", "no-such-command")] });
    let pod = made(bench, absent).await;
    let told = refusal(act(bench, pod, START).await);
    assert!(told.starts_with("container bad: "), "{told}");
    assert!(runs(&one(bench, pod, "good").await), "one keeps none of the others from it");
}

/// The value of a field of what the engine says of a container of a pod.
fn says(pod: ObjectId, container: Option<&str>, format: &str) -> String {
    super::docker(&["inspect", "-f", format, &name_in_pod(pod, container)])
}

/// Runs a command in a container of a pod, and gives what it wrote.
async fn output(bench: &dyn Bench, stream: StreamId, action: Action) -> String {
    let (work, notes) = (work(bench.node(), stream, action), Notes::default());
    let done = bench.backend().perform(&work, &notes).await.unwrap();
    let (out, errors) = by_output(notes.output.into_inner().unwrap());
    assert_eq!(done.exit_code, Some(0), "{out} {errors}");
    out
}

#[tokio::test]
async fn containers_of_a_pod_share_their_network_and_its_volumes() {
    let bench = Docker::new();
    let (bay, pod) = (open_bay(&bench).await, pod());
    let mounted = |name: &str, command: &str, path: &str| {
        let mounts = json!([
            { "name": "data", "mountPath": format!("{path}/data") },
            { "name": "memory", "mountPath": format!("{path}/memory") },
        ]);
        json!({
            "name": name,
            "image": IMAGE,
            "command": words(command),
            "volumeMounts": mounts,
            "securityContext": { "runAsUser": 1000, "readOnlyRootFilesystem": true },
        })
    };
    let setup = r#"sh -c "echo disk >/a/data/x; echo memory >/a/memory/x""#;
    let spec = json!({
        "hostname": "front",
        "hostAliases": [{ "ip": "192.0.2.7", "hostnames": ["elsewhere"] }],
        "volumes": [
            { "name": "data" },
            { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
        ],
        "initContainers": [mounted("setup", setup, "/a")],
        "containers": [
            mounted("web", "nc -ll -p 7000 -e hostname", "/b"),
            mounted("log", "sleep 1000", "/srv"),
        ],
    });
    act(&bench, pod, create_pod(bay, spec)).await.unwrap();
    act(&bench, pod, START).await.unwrap();
    // Over the loopback device, by the name of the pod, and by an alias.
    let ask = r#"sh -c "until nc -w 5 127.0.0.1 7000 | grep .; do sleep 0.1; done""#;
    assert_eq!(output(&bench, pod, in_pod("log", ask)).await, "front\n");
    let hosts = output(&bench, pod, in_pod("log", "cat /etc/hosts")).await;
    assert!(hosts.contains("192.0.2.7\telsewhere"), "{hosts}");
    // What initialised it left files, on disk and in memory.
    let read = in_pod("web", "cat /b/data/x /b/memory/x");
    assert_eq!(output(&bench, pod, read).await, "disk\nmemory\n");
    // Both write; nothing else is writable.
    let write = r#"sh -c "touch /srv/data/y && ! touch /y && ls /srv/data""#;
    assert_eq!(output(&bench, pod, in_pod("log", write)).await, "x\ny\n");
    let full = r#"sh -c "! head -c 2000000 /dev/zero >/b/memory/y""#;
    output(&bench, pod, in_pod("web", full)).await;
    // A container of the bay reaches it by its name, its id and its address.
    let guest = container();
    act(&bench, guest, create(bay, super::spec("sleep 1000"))).await.unwrap();
    act(&bench, guest, Action::Do(Operation::Start)).await.unwrap();
    for name in ["web-1".to_owned(), pod.id.to_string(), seen(&bench, pod).await.address.unwrap()] {
        let ask = format!(r#"sh -c "until nc -w 5 {name} 7000 | grep .; do sleep 0.1; done""#);
        let action = Action::Exec(Exec::Start { command: words(&ask) });
        assert_eq!(output(&bench, guest, action).await, "front\n", "{name}");
    }
    act(&bench, pod, delete(0)).await.unwrap();
    assert_eq!(bench.left_of(pod.id), [""; 0]);
    act(&bench, guest, Action::Remove(Removed::Container)).await.unwrap();
    act(&bench, bay, Action::Remove(Removed::Network)).await.unwrap();
}

#[tokio::test]
async fn containers_of_a_pod_are_bounded_and_its_sandbox_may_do_nothing() {
    let bench = Docker::new();
    let limits = json!({ "cpu": "250m", "memory": "32Mi" });
    let web = json!({
        "name": "web",
        "image": IMAGE,
        "command": ["cat"],
        "workingDir": "/tmp",
        "tty": true,
        "stdin": true,
        "resources": { "limits": limits },
    });
    let pod = made(&bench, json!({ "containers": [web] })).await;
    act(&bench, pod, START).await.unwrap();
    let web = |format: &str| says(pod.id, Some("web"), format);
    assert_eq!(web("{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}"), "250000000 33554432");
    assert_eq!(web("{{.HostConfig.PidsLimit}} {{.HostConfig.CapDrop}}"), "4096 [NET_RAW]");
    assert_eq!(web("{{.HostConfig.SecurityOpt}}"), "[no-new-privileges=true]");
    assert_eq!(
        web("{{.Config.Tty}} {{.Config.OpenStdin}} {{.Config.WorkingDir}}"),
        "true true /tmp"
    );
    let label = |name: &str| web(&format!("{{{{index .Config.Labels \"{name}\"}}}}"));
    assert_eq!(
        (label("magnum.pod"), label("magnum.container")),
        (pod.id.to_string(), String::new())
    );
    assert_eq!(web("{{.State.Running}}"), "true", "its terminal is open");
    let sandbox = |format: &str| says(pod.id, None, format);
    assert_eq!(sandbox("{{.HostConfig.CapDrop}} {{.Config.User}}"), "[ALL] 65535:65535");
    let policy = sandbox("{{.HostConfig.RestartPolicy.Name}}");
    assert!(["", "no"].contains(&policy.as_str()), "{policy}");
    // The first process of a container sees only signals that it handles: it is killed.
    super::docker(&["stop", &name_in_pod(pod.id, None)]);
    assert_eq!(sandbox("{{.State.ExitCode}}"), "137");
}

#[tokio::test]
async fn a_part_of_a_volume_is_refused_where_the_whole_would_be_mounted() {
    let bench = Docker::new();
    let (bay, pod) = (open_bay(&bench).await, pod());
    let mount = json!({ "name": "data", "mountPath": "/data", "subPath": "a/b" });
    let web =
        json!({ "name": "web", "image": IMAGE, "command": ["true"], "volumeMounts": [mount] });
    let spec = json!({ "volumes": [{ "name": "data" }], "containers": [web] });
    let answer = act(&bench, pod, create_pod(bay, spec)).await;
    let version = super::docker(&["version", "-f", "{{.Server.Version}}"]);
    let major: u32 = version.split('.').next().unwrap().parse().unwrap();
    if major >= 26 {
        answer.unwrap();
        act(&bench, pod, START).await.unwrap();
        act(&bench, pod, delete(0)).await.unwrap();
    } else {
        let told = refusal(answer);
        assert!(told.contains("subPath") && told.contains("Docker 26"), "{told}");
    }
    assert_eq!(bench.left_of(pod.id), [""; 0]);
}

/// Somebody who starts the sandbox again has not brought back the pod's life.
#[tokio::test]
async fn a_sandbox_that_somebody_restarts_begins_a_new_life() {
    let bench = Docker::new();
    let pod = made(&bench, json!({ "containers": [member("web", "sleep 1000")] })).await;
    act(&bench, pod, START).await.unwrap();
    let before = one(&bench, pod, "web").await.run.unwrap();
    super::docker(&["restart", &name_in_pod(pod.id, None)]);
    act(&bench, pod, START).await.unwrap();
    let now = one(&bench, pod, "web").await;
    assert!(runs(&now) && now.run.unwrap().started_at > before.started_at);
    let up = r#"sh -c "ip addr | grep eth0""#;
    output(&bench, pod, in_pod("web", up)).await;
}

/// Every step of work on a pod is cut off once; the next attempt does the rest.
#[tokio::test]
async fn work_on_a_pod_may_be_cut_off_at_any_step() {
    let away = BackendError::Unavailable("away".to_owned());
    for action in 0..3 {
        for steps in 0.. {
            let bench = Fake::new();
            let (bay, pod) = (open_bay(&bench).await, pod());
            let spec = json!({
                "volumes": [{ "name": "data" }],
                "initContainers": [member("setup", "true"), member("more", "true")],
                "containers": [member("web", "sleep 100"), member("log", "sleep 100")],
            });
            let actions = [create_pod(bay, spec), START, delete(0)];
            for before in &actions[..action] {
                act(&bench, pod, before.clone()).await.unwrap();
            }
            let mut work = work(bench.node, pod, actions[action].clone());
            bench.engine.inject_at_step(steps, away.clone());
            let first = bench.backend().perform(&work, &Notes::default()).await;
            if first.is_ok() {
                assert!(steps > 2, "{action} has {steps} steps");
                break;
            }
            work.attempt = 2;
            bench.backend().perform(&work, &Notes::default()).await.unwrap();
            let effects = bench.engine.effects();
            assert_eq!(effects.iter().filter(|(id, _)| *id == work.id).count(), 1);
            let names = bench.left_of(pod.id);
            assert_eq!(names.len(), if action == 2 { 0 } else { 6 }, "{names:?}");
            if action == 1 {
                for (name, ends) in [("setup", 1), ("more", 1), ("web", 0), ("log", 0)] {
                    assert_eq!(one(&bench, pod, name).await.ends.len(), ends, "{name}");
                }
            }
        }
    }
}

/// The model does as Docker does where it dies.
#[tokio::test(start_paused = true)]
async fn a_crash_of_the_engine_ends_a_pod_until_it_is_started() {
    let bench = Fake::new();
    let pod = made(&bench, json!({ "containers": [member("web", "sleep 100000")] })).await;
    act(&bench, pod, START).await.unwrap();
    bench.engine.crash();
    bench.engine.start_up();
    tokio::time::sleep(BACK_OFF).await;
    assert!(!seen(&bench, pod).await.is_up);
    assert_eq!(one(&bench, pod, "web").await.state, RunState::Exited, "it has no network");
    act(&bench, pod, START).await.unwrap();
    assert!(seen(&bench, pod).await.is_up && runs(&one(&bench, pod, "web").await));
}

/// A pod whose values are sealed, and the door that opens them.
#[tokio::test]
async fn sealed_values_of_a_pod_are_opened_as_long_as_there_is_the_key() {
    const SECRET: &str = "correct horse";
    let home = tempfile::tempdir().unwrap();
    let (secrets, project) = (Secrets::new(home.path().join("keys")), ProjectId::default());
    let bench = Fake::new();
    let backend = FakeBackend::new(Arc::clone(&bench.engine), bench.node);
    let door = Unsealing::new(Arc::new(backend), secrets.clone());
    let with_token = |name: &str| {
        let env = [json!({ "name": "TOKEN", "value": SECRET })];
        json!({ "name": name, "image": IMAGE, "command": ["sleep", "100"], "env": env })
    };
    let bay = open_bay(&bench).await;
    let mut spec = of(manifest(json!({ "containers": [with_token("web"), with_token("log")] })));
    secrets.seal(&project, &mut spec.environment).unwrap();
    let create = || work(bench.node, pod(), create_from(bay, spec.clone()));
    let (mut made, mut torn, late) = (create(), create(), create());
    for work in [&made, &torn] {
        door.perform(work, &Notes::default()).await.unwrap();
        assert!(!format!("{work:?}").contains(SECRET));
    }
    let all = bench.engine.pods();
    let tokens = all.iter().filter_map(|one| one.spec.environment.get("TOKEN"));
    assert_eq!(tokens.collect::<Vec<_>>(), [SECRET; 4]);
    bench.remove_in_pod(torn.stream.id, Some("log"));
    let key = secrets.key_id(&project).unwrap().unwrap();
    assert!(secrets.erase(&project, &key).unwrap());
    (made.attempt, torn.attempt) = (2, 2);
    door.perform(&made, &Notes::default()).await.unwrap();
    for work in [torn, late] {
        let told = refusal(door.perform(&work, &Notes::default()).await);
        assert!(told.contains("/TOKEN can no longer be read"), "{told}");
    }
}
