//! The whole table of every noun's life: each status with each event, and with each command that
//! is asked for. The tables lie in `tests/golden/lifecycle` to be read; what must hold of them is
//! asserted here.
//!
//! Not here: what is reported, outcomes of work and what the engine has of a container, since what
//! they lead to depends on more than the status (`decisions`, `drift`).

use std::fmt::Write as _;

use magnum::actors::bay::{Bay, BayCommand};
use magnum::actors::baymodel::{Baymodel, BaymodelCommand};
use magnum::actors::container::{Container, ContainerCommand, ContainerState};
use magnum::actors::lifecycle::DueWork;
use magnum::actors::node::{Node, NodeCommand};
use magnum::actors::placement::NodeFacts;
use magnum::actors::pod::{Pod, PodCommand};
use magnum::actors::{Entity, Fact};
use magnum::backends::EngineFacts;
use magnum::bus::{Ctx, Refusal};
use magnum::events::bay::{self, BayEvent, BayPlan};
use magnum::events::baymodel::{self, BaymodelEvent, BaymodelFields};
use magnum::events::container::{self, ContainerEvent, ContainerSpec};
use magnum::events::node::{self, NodeEvent};
use magnum::events::pod::{self, PodEvent, PodSpec};
use magnum::events::status::Status;
use magnum::events::work::FieldChange;
use magnum::events::{EventPayload, Mark, Verb};
use magnum::ids::{EventId, ObjectId, Timestamp, WorkId};
use uuid::Uuid;

use crate::evolution::{pod_values, values};
use crate::harness::golden;

/// Status by event: what it leads to, and `.` where it changes nothing.
fn table_of_events<S: Status + std::fmt::Debug>(
    statuses: &[S],
    name: fn(S) -> &'static str,
    events: &[(&'static str, S::Event)],
) -> String {
    let mut table = String::new();
    for status in statuses {
        writeln!(table, "{}", name(*status)).unwrap();
        for (label, event) in events {
            let after = status.after(event);
            if after != *status {
                let event_type = event.event_type();
                writeln!(table, "    {event_type} ({label}) -> {}", name(after)).unwrap();
            }
        }
    }
    table
}

/// What must hold of any noun.
fn holds<S: Status + std::fmt::Debug>(statuses: &[S], events: &[(&'static str, S::Event)]) {
    for status in statuses {
        for (label, event) in events {
            let after = status.after(event);
            let context = || format!("{status:?} after {} ({label})", event.event_type());
            let begins = !S::default().after(event).is_gone();
            if status.is_deleting() && after != *status && !begins {
                assert!(
                    event.mark().ends_work() || event.is_end(),
                    "only its outcome ends a deletion, or that it is given up: {}",
                    context()
                );
            }
            if status.is_gone() && !begins {
                assert_eq!(after, *status, "what is gone stays gone: {}", context());
            }
            if event.mark() == Mark::Done(Verb::Delete) && !status.is_gone() {
                assert!(after.is_gone(), "{}", context());
            }
            if event.mark().is_progress() {
                assert_eq!(after, *status, "progress changes no status: {}", context());
            }
        }
    }
}

/// The table of a noun's events.
macro_rules! each_status_after_each_event {
    ($($name:ident: $noun:ident, $from:ident, $values:ident;)*) => {
        $(#[test]
        fn $name() {
            let (statuses, events) = ($noun::Status::ALL, $from::$values());
            holds(statuses, &events);
            let table = table_of_events(statuses, $noun::Status::name, &events);
            golden(concat!("lifecycle/", stringify!($noun), "-events.txt"), &table);
        })*
    };
}

each_status_after_each_event! {
    each_status_of_a_baymodel_after_each_event: baymodel, values, baymodels;
    each_status_of_a_bay_after_each_event: bay, values, bays;
    each_status_of_a_node_after_each_event: node, values, nodes;
    each_status_of_a_container_after_each_event: container, values, containers;
    each_status_of_a_pod_after_each_event: pod, pod_values, pods;
}

/// An object that events are applied to; their ids are 1, 2, 3, ..., but for the one that asks for
/// its creation: the samples that end work end that.
struct Life<E: Entity> {
    state: E::State,
    events: u128,
}

impl<E: Entity> Life<E> {
    fn new() -> Self {
        Self { state: E::State::default(), events: 0 }
    }

    fn after(mut self, events: &[E::Event]) -> Self {
        for event in events {
            self.events += 1;
            let creates = event.mark() == Mark::Asks(Verb::Create);
            let id = EventId(Uuid::from_u128(self.events));
            let fact = Fact {
                id: if creates { values::WORK } else { id },
                object: ObjectId(Uuid::from_u128(7)),
                time: Timestamp(0),
                project: "default",
                request_id: "req-1",
            };
            E::evolve(&mut self.state, event, fact);
        }
        self
    }

    fn decide(&self, command: E::Command) -> Result<Vec<E::Event>, Refusal> {
        E::decide(&self.state, command, &Ctx { now: Timestamp(0) })
    }

    fn due(&self) -> Vec<DueWork> {
        E::react(&self.state)
    }
}

/// What each command does in each status: the events, nothing, or why it is refused.
fn table_of_commands<E: Entity>(
    lives: &[(&'static str, Life<E>)],
    commands: &[(&'static str, E::Command)],
) -> String {
    let mut table = String::new();
    for (status, life) in lives {
        writeln!(table, "{status}").unwrap();
        for (name, command) in commands {
            let decided = match life.decide(command.clone()) {
                Ok(events) if events.is_empty() => "changes nothing".to_owned(),
                Ok(events) => {
                    events.iter().map(EventPayload::event_type).collect::<Vec<_>>().join(", ")
                }
                Err(refusal) => format!("refused: {refusal}"),
            };
            writeln!(table, "    {name}: {decided}").unwrap();
        }
    }
    table
}

/// The first sample of a type of event, about the work with this number.
fn event<E: EventPayload>(all: &[(&'static str, E)], event_type: &str, label: &str) -> E {
    let found = all.iter().find(|(of, it)| it.event_type() == event_type && *of == label);
    found.unwrap_or_else(|| panic!("{event_type} ({label})")).1.clone()
}

#[test]
fn each_command_in_each_status_of_a_container() {
    let all = values::containers();
    let of = |short: &str, label: &str| event(&all, &format!("container.{short}"), label);
    let full = |short: &str| of(short, "full");
    let created = [full("create_requested"), full("created")];
    let running = [&created[..], &[full("started")]].concat();
    let after = |events: &[ContainerEvent]| Life::<Container>::new().after(events);
    let then = |before: &[ContainerEvent], more: ContainerEvent| after(&[before, &[more]].concat());
    let mut blocked = full("work_blocked");
    if let ContainerEvent::WorkBlocked(blocked) = &mut blocked {
        // The fourth event asked for it.
        blocked.work_id = EventId(Uuid::from_u128(4));
    }
    let mut not_deleted = full("work_failed");
    if let ContainerEvent::WorkFailed(failed) = &mut not_deleted {
        "delete".clone_into(&mut failed.action);
    }
    let lives = [
        ("Absent", after(&[])),
        ("Creating", after(&created[..1])),
        ("Stopped", after(&created)),
        ("Running", after(&running)),
        ("Restarting", then(&running, of("exited", "restarting"))),
        ("Paused", then(&running, full("paused"))),
        ("Error", then(&created, full("work_failed"))),
        ("Error (never made)", then(&created[..1], full("work_failed"))),
        ("Error (removed)", then(&running, of("drifted", "removed"))),
        ("Deleting", then(&running, full("delete_requested"))),
        (
            "Deleting (blocked)",
            after(&[&running[..], &[full("delete_requested"), blocked]].concat()),
        ),
        ("Error (not deleted)", then(&running, not_deleted)),
        ("Deleted", then(&running, full("deleted"))),
    ];
    for (status, life) in &lives {
        let state = serde_json::to_value(&life.state).unwrap();
        let is = state["lifecycle"]["status"].as_str().unwrap();
        assert_eq!(is, status.split(' ').next().unwrap());
    }
    type Command = ContainerCommand;
    let execution_id = EventId(Uuid::from_u128(99));
    let create = Command::Create {
        name: Some("web1".to_owned()),
        desc: None,
        spec: ContainerSpec { image: "busybox".to_owned(), ..ContainerSpec::default() },
        bay_id: ObjectId(Uuid::from_u128(2)),
        node_id: ObjectId(Uuid::from_u128(3)),
        host: "n1".to_owned(),
    };
    let commands = [
        ("create", create),
        ("start", Command::Start),
        ("stop", Command::Stop { grace_s: 10 }),
        ("reboot", Command::Reboot { grace_s: 10 }),
        ("recreate", Command::Recreate { changes: changes("image_id", "\"other\"") }),
        ("pause", Command::Pause),
        ("unpause", Command::Unpause),
        ("kill", Command::Kill { signal: "SIGKILL".to_owned() }),
        ("execute", Command::Execute { command: vec!["true".to_owned()] }),
        ("end execution", Command::EndExecution { execution_id }),
        ("update", Command::Update { changes: changes("name", "\"2\"") }),
        ("delete", Command::Delete),
        ("abandon", Command::Abandon),
    ];
    golden("lifecycle/container-commands.txt", &table_of_commands(&lives, &commands));
}

#[test]
fn each_command_in_each_status_of_a_pod() {
    let all = pod_values::pods();
    let of = |short: &str, label: &str| event(&all, &format!("pod.{short}"), label);
    let full = |short: &str| of(short, "full");
    let created = [full("create_requested"), full("created"), full("start_requested")];
    let running = [&created[..], &[full("state_changed")]].concat();
    let after = |events: &[PodEvent]| Life::<Pod>::new().after(events);
    let then = |before: &[PodEvent], more: PodEvent| after(&[before, &[more]].concat());
    let mut blocked = full("work_blocked");
    if let PodEvent::WorkBlocked(blocked) = &mut blocked {
        // The fifth event asked for it.
        blocked.work_id = EventId(Uuid::from_u128(5));
    }
    let mut not_deleted = full("work_failed");
    if let PodEvent::WorkFailed(failed) = &mut not_deleted {
        "delete".clone_into(&mut failed.action);
    }
    let lives = [
        ("Absent", after(&[])),
        ("Pending", after(&created[..1])),
        ("Pending (starting)", after(&created)),
        ("Running", after(&running)),
        ("Succeeded", then(&running, of("state_changed", "succeeded"))),
        ("Failed", then(&running, of("state_changed", "failed"))),
        ("Failed (never made)", then(&created[..1], full("work_failed"))),
        ("Failed (removed)", then(&running, of("drifted", "removed"))),
        ("Unknown", then(&running, of("state_changed", "unknown"))),
        ("Terminating", then(&running, full("delete_requested"))),
        (
            "Terminating (blocked)",
            after(&[&running[..], &[full("delete_requested"), blocked]].concat()),
        ),
        ("Failed (not deleted)", then(&running, not_deleted)),
        ("Deleted", then(&running, full("deleted"))),
    ];
    for (status, life) in &lives {
        let state = serde_json::to_value(&life.state).unwrap();
        let is = state["lifecycle"]["status"].as_str().unwrap();
        assert_eq!(is, status.split(' ').next().unwrap());
    }
    type Command = PodCommand;
    let execution_id = EventId(Uuid::from_u128(99));
    let create = Command::Create {
        name: "web-1".to_owned(),
        desc: None,
        spec: PodSpec::default(),
        bay_id: ObjectId(Uuid::from_u128(2)),
        node_id: ObjectId(Uuid::from_u128(3)),
        host: "n1".to_owned(),
    };
    let command = vec!["true".to_owned()];
    let commands = [
        ("create", create),
        ("execute", Command::Execute { container: "web".to_owned(), command }),
        ("end execution", Command::EndExecution { execution_id }),
        ("update", Command::Update { changes: changes("desc", "\"2\"") }),
        ("delete", Command::Delete),
        ("abandon", Command::Abandon),
    ];
    golden("lifecycle/pod-commands.txt", &table_of_commands(&lives, &commands));
}

#[test]
fn each_command_in_each_status_of_a_bay() {
    let all = values::bays();
    let full = |short: &str| event(&all, &format!("bay.{short}"), "full");
    let created = [full("create_requested"), full("created")];
    let after = |events: &[BayEvent]| Life::<Bay>::new().after(events);
    let then = |before: &[BayEvent], more: &[BayEvent]| after(&[before, more].concat());
    let failed = full("work_failed");
    let mut not_deleted = failed.clone();
    if let BayEvent::WorkFailed(failed) = &mut not_deleted {
        "delete".clone_into(&mut failed.action);
    }
    let mut blocked = full("work_blocked");
    if let BayEvent::WorkBlocked(blocked) = &mut blocked {
        // The third event asked for it.
        blocked.work_id = EventId(Uuid::from_u128(3));
    }
    let asked = full("delete_requested");
    let lives = [
        ("ABSENT", after(&[])),
        ("CREATE_IN_PROGRESS", after(&created[..1])),
        ("CREATE_COMPLETE", after(&created)),
        ("CREATE_FAILED", then(&created[..1], &[failed])),
        ("UPDATE_COMPLETE", then(&created, &[full("updated")])),
        ("DELETE_IN_PROGRESS", then(&created, &[full("delete_requested")])),
        ("DELETE_IN_PROGRESS (blocked)", then(&created, &[asked, blocked])),
        ("DELETE_FAILED", then(&created, &[full("delete_requested"), not_deleted])),
        ("DELETED", then(&created, &[full("deleted")])),
    ];
    for (status, life) in &lives {
        let state = serde_json::to_value(&life.state).unwrap();
        assert_eq!(state["status"], *status.split(' ').next().unwrap());
    }
    let node = NodeFacts {
        node_id: ObjectId(Uuid::from_u128(3)),
        host: "n1".to_owned(),
        registered: true,
        unavailable: None,
        bays: 0,
    };
    let create = BayCommand::Create { plan: BayPlan::default(), nodes: vec![node], coe: None };
    let abandon =
        BayCommand::Abandon { network_id: None, containers: vec![], still_deleted: vec![] };
    let commands = [
        ("create", create),
        ("update", BayCommand::Update { changes: changes("node_count", "2") }),
        ("delete", BayCommand::Delete),
        ("abandon", abandon),
    ];
    golden("lifecycle/bay-commands.txt", &table_of_commands(&lives, &commands));
}

#[test]
fn each_command_in_each_status_of_a_baymodel() {
    let all = values::baymodels();
    let full = |short: &str| event(&all, &format!("baymodel.{short}"), "full");
    let after = |events: &[BaymodelEvent]| Life::<Baymodel>::new().after(events);
    let lives = [
        ("Absent", after(&[])),
        ("Present", after(&[full("created")])),
        ("Deleted", after(&[full("created"), full("deleted")])),
    ];
    type Command = BaymodelCommand;
    let changes = changes("name", "\"2\"");
    let commands = [
        ("create", Command::Create { fields: BaymodelFields::default() }),
        ("update", Command::Update { changes }),
        ("delete", Command::Delete { bays: 0 }),
        ("delete with a bay made from it", Command::Delete { bays: 1 }),
    ];
    golden("lifecycle/baymodel-commands.txt", &table_of_commands(&lives, &commands));
}

#[test]
fn each_command_in_each_status_of_a_node() {
    let all = values::nodes();
    let of = |short: &str, label: &str| event(&all, &format!("node.{short}"), label);
    let full = |short: &str| of(short, "full");
    let (created, up) = (full("created"), full("came_up"));
    let after = |events: &[NodeEvent]| Life::<Node>::new().after(events);
    let lives = [
        ("absent", after(&[])),
        ("unknown", after(std::slice::from_ref(&created))),
        ("unknown (made by a user)", after(&[of("created", "bare")])),
        ("available", after(&[created.clone(), up.clone()])),
        ("unavailable", after(&[created.clone(), up, full("went_down")])),
        ("deleted", after(&[created, full("deleted")])),
    ];
    type Command = NodeCommand;
    let facts = |cpus| EngineFacts {
        engine: "docker 20.10.24".to_owned(),
        cpus,
        memory_bytes: 16_777_216_000,
    };
    let create = Command::Create {
        node_type: None,
        image_id: None,
        ironic_node_id: None,
        host: Some("n1".to_owned()),
    };
    let commands = [
        ("create", create),
        ("update", Command::Update { changes: changes("type", "\"2\"") }),
        (
            "update of an Ironic node",
            Command::Update { changes: changes("ironic_node_id", "\"2\"") },
        ),
        ("delete", Command::Delete { bays: 0 }),
        ("delete with a bay on it", Command::Delete { bays: 1 }),
        ("up", Command::Up(facts(8))),
        ("up with other facts", Command::Up(facts(4))),
        ("down", Command::Down { reason: "refused".to_owned() }),
        ("unknown containers", Command::Unknown { containers: vec![], complete: true }),
        ("unknown networks", Command::UnknownNetworks { networks: vec![], complete: true }),
    ];
    golden("lifecycle/node-commands.txt", &table_of_commands(&lives, &commands));
}

fn changes(field: &str, value: &str) -> Vec<FieldChange> {
    vec![FieldChange { field: field.to_owned(), value: value.to_owned() }]
}

/// A bay that is deleted while it is being created stays deleted, whatever comes late.
#[test]
fn a_bay_that_is_being_deleted_does_not_come_back() {
    let all = values::bays();
    let full = |short: &str| event(&all, &format!("bay.{short}"), "full");
    let life = Life::<Bay>::new().after(&[full("create_requested"), full("delete_requested")]);
    let due: Vec<_> = life.due().iter().map(|work| work.action.name()).collect();
    assert_eq!(due, ["empty"], "the creation is cancelled and the deletion due at once");
    for (label, late) in &all {
        let after =
            Life::<Bay> { state: life.state.clone(), events: 2 }.after(std::slice::from_ref(late));
        let status = serde_json::to_value(&after.state).unwrap()["status"].clone();
        let ends = late.is_end() || late.mark() == Mark::Asks(Verb::Create);
        assert!(
            ends || status == "DELETE_IN_PROGRESS",
            "{} ({label}): {status}",
            late.event_type()
        );
    }
}

/// Work queued behind work that failed is cancelled with it, in the same event (rule W9).
#[test]
fn work_queued_behind_failed_work_is_cancelled_with_it() {
    use magnum::backends::{Outcome, WorkResult};
    let all = values::containers();
    let full = |short: &str| event(&all, &format!("container.{short}"), "full");
    let queued = [full("create_requested"), full("start_requested"), full("pause_requested")];
    let life = Life::<Container>::new().after(&queued);
    let create = life.due()[0].clone();
    for unknown in [false, true] {
        let reason = "no such image".to_owned();
        let result =
            if unknown { WorkResult::Unknown { reason } } else { WorkResult::Failed { reason } };
        let outcome = Outcome { work_id: create.id, attempt: 1, result };
        let events = life.decide(ContainerCommand::Outcome(outcome)).unwrap();
        let id = |number| EventId(Uuid::from_u128(number));
        let cancelled: Vec<WorkId> = events[0].cancelled().to_vec();
        assert_eq!(cancelled, [id(2), id(3)]);
        let state: ContainerState = life.state.clone();
        let after = Life::<Container> { state, events: 3 }.after(&events);
        assert!(after.due().is_empty(), "{:?}", after.due());
    }
}
