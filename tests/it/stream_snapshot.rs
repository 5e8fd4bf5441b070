//! The present state and then the events: what a reader has at P, changed by what it sees after P,
//! is what lists show at Q.

use std::collections::BTreeMap;
use std::thread;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::harness::{Http, Options, Server};
use crate::requests::{baymodel, head};
use crate::stream_client::{Follower, TRANSPORTS, Transport};

/// Name and revision of each baymodel.
type Names = BTreeMap<String, (String, u64)>;

/// What a writer does to its own baymodels.
#[derive(Clone, Debug)]
enum Step {
    Create,
    Rename(usize),
    Delete(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Create),
        3 => (0..64_usize).prop_map(Step::Rename),
        2 => (0..64_usize).prop_map(Step::Delete),
    ];
    prop::collection::vec(step, 20..60)
}

/// Carries steps out.
fn write(http: &Http, writer: usize, steps: &[Step]) {
    let mut own: Vec<String> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let name = format!("w{writer}-{number}");
        match step {
            Step::Create => {
                let made = http.post("/v1/baymodels", &baymodel(&name)).expect(201);
                own.push(made["uuid"].as_str().unwrap().to_owned());
            }
            Step::Rename(index) if !own.is_empty() => {
                let path = format!("/v1/baymodels/{}", own[index % own.len()]);
                let patch = json!([{ "op": "replace", "path": "/name", "value": name }]);
                http.patch(&path, &patch).expect(200);
            }
            Step::Delete(index) if !own.is_empty() => {
                let gone = own.swap_remove(index % own.len());
                assert_eq!(http.delete(&format!("/v1/baymodels/{gone}")).status, 204);
            }
            Step::Rename(_) | Step::Delete(_) => {}
        }
    }
}

/// Takes the state and then events, up to a position; what there is then.
fn fold(stream: &mut Follower, until: u64) -> Names {
    let (mut names, mut marker) = (Names::new(), None);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    loop {
        let message = stream.next().expect("the stream goes on");
        let (data, position) = (&message.data, message.position);
        match (message.control.as_str(), marker) {
            ("object", None) => {
                assert_eq!(position, None, "there is nothing to resume after yet");
                let uuid = text(&data["object"]["uuid"]);
                assert_eq!(data["subject"], format!("baymodel/{uuid}"));
                let state = (text(&data["object"]["name"]), data["revision"].as_u64().unwrap());
                assert_eq!(names.insert(uuid, state), None, "each object once");
            }
            ("snapshot", None) => marker = position,
            ("heartbeat", Some(_)) => {}
            ("", Some(marker)) => {
                assert!(position.unwrap() > marker);
                apply(&mut names, data);
            }
            other => panic!("{other:?}: {message:?}"),
        }
        if marker.is_some() && position.is_some_and(|position| position >= until) {
            return names;
        }
    }
}

/// Changes what there is by an event: the next one of its object, never one that is in it already.
fn apply(names: &mut Names, event: &Value) {
    let uuid = event["subject"].as_str().unwrap().strip_prefix("baymodel/").unwrap().to_owned();
    let revision: u64 = event["revision"].as_str().unwrap().parse().unwrap();
    let before = names.remove(&uuid);
    assert_eq!(
        before.as_ref().map(|(_, revision)| revision + 1),
        (revision > 0).then_some(revision)
    );
    let name = match event["type"].as_str().unwrap() {
        "magnum.baymodel.created.v1" => {
            event["data"]["fields"]["name"].as_str().unwrap().to_owned()
        }
        "magnum.baymodel.updated.v1" => {
            serde_json::from_str(event["data"]["changes"][0]["value"].as_str().unwrap()).unwrap()
        }
        "magnum.baymodel.deleted.v1" => return,
        other => panic!("{other}"),
    };
    names.insert(uuid, (name, revision));
}

/// What lists show.
fn listed(server: &Server) -> Names {
    let list = server.get("/v1/baymodels").expect(200);
    // The built-in one is not recorded.
    let models = list["baymodels"].as_array().unwrap().iter().filter(|it| it["name"] != "default");
    let models = models.map(|model| {
        let uuid = model["uuid"].as_str().unwrap().to_owned();
        let etag = server.get(&format!("/v1/baymodels/{uuid}")).header("etag").to_owned();
        let name = model["name"].as_str().unwrap().to_owned();
        (uuid, (name, etag.trim_matches('"').parse().unwrap()))
    });
    models.collect()
}

#[test]
fn the_state_at_p_and_the_events_after_it_are_the_state_at_q() {
    // Each case uses the names of the one before it again.
    let server = Server::start(Options::fake().arg("--unique-names=off"));
    head(&server);
    let mut runner =
        TestRunner::new(Config { cases: 6, failure_persistence: None, ..Config::default() });
    let case = prop::collection::vec(steps(), 3);
    let done = runner.run(&case, |writers| {
        let query = "snapshot=1&kind=baymodel";
        let folded = thread::scope(|scope| {
            let writers: Vec<_> = (writers.iter().enumerate())
                .map(|(number, steps)| {
                    let http = server.http();
                    scope.spawn(move || write(&http, number, steps))
                })
                .collect();
            // Readers come while it goes on, one after the other.
            let readers: Vec<_> = (0..9)
                .map(|number| {
                    let transport = TRANSPORTS[number % TRANSPORTS.len()];
                    let stream = Follower::open(&server, transport, query, None).unwrap();
                    server.get("/v1/baymodels").expect(200);
                    stream
                })
                .collect();
            for writer in writers {
                writer.join().unwrap();
            }
            let last = server.post("/v1/baymodels", &baymodel("last"));
            let until = last.header("x-magnum-position").parse().unwrap();
            let fold = |mut stream| scope.spawn(move || fold(&mut stream, until));
            let folds: Vec<_> = readers.into_iter().map(fold).collect();
            folds.into_iter().map(|fold| fold.join().unwrap()).collect::<Vec<_>>()
        });
        let wanted = listed(&server);
        for names in folded {
            prop_assert_eq!(&names, &wanted);
        }
        Ok(())
    });
    done.unwrap();
}

#[test]
fn a_snapshot_is_what_matches_and_is_not_sent_twice() {
    let server = Server::start(Options::fake());
    let bay = server.post("/v1/bays", &json!({ "name": "b" })).expect(201)["uuid"].take();
    let body = json!({ "name": "c", "image": "i", "bay_uuid": bay });
    server.post("/v1/containers", &body).expect(201);
    let position = server.post("/v1/containers", &json!({ "name": "other", "image": "i" }));
    let position = position.header("x-magnum-position").to_owned();
    let open = |query: &str, last| Follower::open(&server, Transport::Lines, query, last).unwrap();
    let query = format!("snapshot=1&bay=b&min_position={position}");
    let mut stream = open(&query, None);
    let mut subjects = Vec::new();
    let marker = loop {
        let message = stream.next().unwrap();
        match message.control.as_str() {
            "object" => {
                let subject = message.data["subject"].as_str().unwrap().to_owned();
                let (kind, uuid) = subject.split_once('/').unwrap();
                let shown = server.get(&format!("/v1/{kind}s/{uuid}")).expect(200);
                assert_eq!(message.data["object"], shown, "as GET shows it");
                subjects.push(kind.to_owned());
            }
            _ => break message,
        }
    };
    assert_eq!(
        (marker.control.as_str(), subjects),
        ("snapshot", vec!["bay".into(), "container".into()])
    );
    // Who has a position has the state.
    assert_eq!(open(&query, marker.position).next().unwrap().control, "heartbeat");
}
