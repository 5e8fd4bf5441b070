//! An object of another project is not found, whichever way leads to it: each route that takes an
//! id answers for one of another project as for one that nobody has (rule T2).
//!
//! Not here: who may do what, lists, names and the log (`keystone`).

use magnum::clock;
use magnum::events::bay::{
    BayCreateRequestedV1, BayCreatedV1, BayDeleteRequestedV1, BayEvent, BayPlan,
};
use magnum::events::baymodel::{BaymodelCreatedV1, BaymodelEvent, BaymodelFields};
use magnum::events::container::{ContainerEvent, ContainerSpec, CreateRequestedV1, CreatedV1};
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{Append, EventLog, Expected};
use magnum::events::work::Placement;
use magnum::events::{EventPayload, Meta, NewEvent};
use magnum::ids::{EventId, Kind, ObjectId, ProjectId, Revision, StreamId};
use magnum::projections::store::open_cache;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::{Builder, Uuid};

use crate::harness::{Answer, Http, Options, PATIENCE, Server, wait_for, wait_until};
use crate::keystone::real::keystone;
use crate::requests::refused;
use crate::stream_client::{Follower, TRANSPORTS};

/// What does not wait for its outcome.
const AT_ONCE: [(&str, &str); 1] = [("Prefer", "respond-async")];

/// Somebody in a project of their own, and its id.
fn somebody(server: &Server, role: &str) -> (Http, String) {
    let user = keystone().user(&[role]);
    (server.with_token(&keystone().token(&user)), user.project_id)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// All that an answer says, but for the id that was asked for, the request's own and positions.
fn said(answer: &Answer, id: &str) -> (u16, String, String) {
    let request = answer.header("x-openstack-request-id");
    let plain = answer.text.replace(id, "ID").replace(request, "REQUEST");
    let mut json = serde_json::from_str::<Value>(&plain).unwrap_or_else(|_| plain.into());
    if let Some(fields) = json.as_object_mut() {
        fields.retain(|name, _| !["position", "head", "next"].contains(&name.as_str()));
    }
    (answer.status, answer.header("content-type").to_owned(), json.to_string())
}

/// Every request about one object that the document describes: with all that its path takes.
fn requests(server: &Http) -> Vec<(Method, String)> {
    let document = server.get("/v1/openapi.json").expect(200);
    let mut requests = vec![];
    for (path, methods) in document["paths"].as_object().unwrap() {
        let kinds = Kind::ALL.map(|kind| format!("/v1/{}/{{ident}}", kind.collection()));
        if !kinds.iter().any(|kind| path.starts_with(kind)) {
            continue;
        }
        let path = path.replace("{id}", &clock::new_uuid().to_string());
        for method in methods.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            let method: Method = method.to_uppercase().parse().unwrap();
            for query in ["", "?at=1", "?at=v:0", "?field=name", "?command=ls", "?min_position=1"] {
                requests.push((method.clone(), format!("{path}{query}")));
            }
        }
    }
    requests
}

#[test]
fn an_id_of_another_project_is_one_that_nobody_has() {
    let server = Server::start(keystone().magnum());
    let (owner, _) = somebody(&server, "member");
    let (other, _) = somebody(&server, "member");
    let body = json!({ "name": "web", "image": "i", "environment": { "A": "secret" } });
    let made = owner.post("/v1/containers", &body);
    let asked_in = made.header("x-openstack-request-id").trim_start_matches("req-").to_owned();
    let made = made.expect(201);
    let bay = text(&made["bay_uuid"]);
    let model = text(&owner.get(&format!("/v1/bays/{bay}")).expect(200)["baymodel_id"]);
    let node = text(&server.get("/v1/nodes").expect(200)["nodes"][0]["uuid"]);
    let of = |collection: &str| match collection {
        "bays" => bay.clone(),
        "baymodels" => model.clone(),
        "containers" => text(&made["uuid"]),
        _ => node.clone(),
    };
    let rename = json!([{ "op": "replace", "path": "/name", "value": "x" }]);
    let requests = requests(&server);
    assert!(requests.len() > 6 * 50, "{}", requests.len());
    let unknown = clock::new_uuid().to_string();
    for (method, path) in requests {
        let foreign = of(path.split('/').nth(2).unwrap());
        let body = (method == Method::PATCH).then_some(&rename);
        for headers in [vec![], vec![("if-match", "\"99\"")]] {
            let ask = |id: &str| {
                let path = path.replace("{ident}", id);
                said(&other.send(method.clone(), &path, &headers, body), id)
            };
            let (found, none) = (ask(&foreign), ask(&unknown));
            assert_eq!(found, none, "{method} {path}");
            assert!(found.0 >= 400, "{method} {path}: {found:?}");
        }
    }
    let uuid = text(&made["uuid"]);
    arguments_name_nothing(&other, &uuid, &bay, &model, &asked_in);
    // Followers of an object of another project get what is theirs: nothing.
    for transport in TRANSPORTS {
        let query = format!("snapshot=1&object={uuid}");
        let mut stream = Follower::open(&other, transport, &query, None).unwrap();
        let first = stream.next().unwrap();
        assert_eq!(first.control, "snapshot", "{}", first.data);
    }
    let unchanged = owner.get(&format!("/v1/containers/{}", text(&made["uuid"]))).expect(200);
    assert_eq!((&unchanged["name"], &unchanged["status"]), (&json!("web"), &json!("Stopped")));
}

/// Ids in arguments and bodies.
fn arguments_name_nothing(other: &Http, uuid: &str, bay: &str, model: &str, asked_in: &str) {
    let unknown = clock::new_uuid().to_string();
    let queries = [
        ("containers?marker=ID", uuid),
        ("containers?sort_key=name&marker=ID", uuid),
        ("containers?at=1&marker=ID", uuid),
        ("bays?marker=ID", bay),
        ("bays?baymodel_id=ID", model),
        ("containers?bay_uuid=ID", bay),
        ("containers?bay_ident=ID", bay),
        ("containers?bay_ident=ID&at=1", bay),
        ("events?object=ID", uuid),
        ("events?object=container/ID", uuid),
        ("events?subject=bay/ID", bay),
        ("events?bay=ID", bay),
        ("events?request_id=req-ID", asked_in),
        ("trace/req-ID", asked_in),
        ("replay/find?condition=uuid==%22ID%22", uuid),
        ("replay/find?condition=exists&among=container/ID", uuid),
    ];
    for (path, id) in queries {
        let ask = |id: &str| said(&other.get(&format!("/v1/{}", path.replace("ID", id))), id);
        assert_eq!(ask(id), ask(&unknown), "{path}");
    }
    let in_bay = |id: &str| json!({ "name": "x", "image": "i", "bay_uuid": id });
    let of_model = |id: &str| json!({ "name": "x", "baymodel_id": id });
    let ask = |path: &str, body: Value, id: &str| said(&other.post(path, &body), id);
    let found = ask("/v1/containers", in_bay(bay), bay);
    assert_eq!(found, ask("/v1/containers", in_bay(&unknown), &unknown));
    let found = ask("/v1/bays", of_model(model), model);
    assert_eq!(found, ask("/v1/bays", of_model(&unknown), &unknown));
}

/// The installation's id, which every tenant is told.
fn installation(http: &Http) -> Uuid {
    let events = http.get("/v1/events?limit=1").expect(200);
    let source = text(&events["events"][0]["source"]);
    source.split('/').find_map(|part| part.parse().ok()).unwrap_or_else(|| panic!("{source}"))
}

/// What makes an object with an id of the client's choice.
fn with_uuid(kind: Kind, id: &str) -> Value {
    match kind {
        Kind::Baymodel => {
            json!({ "uuid": id, "coe": "docker", "image_id": "i", "keypair_id": "k" })
        }
        Kind::Bay => json!({ "uuid": id, "name": id }),
        Kind::Container => json!({ "uuid": id, "name": id, "image": "i" }),
        Kind::Pod => {
            let spec = json!({ "containers": [{ "name": "c", "image": "i" }] });
            json!({ "uuid": id, "manifest": { "metadata": { "name": id }, "spec": spec } })
        }
        Kind::Node => json!({ "uuid": id, "type": "rack" }),
    }
}

#[test]
fn an_id_that_the_service_derives_is_not_to_be_had() {
    let server = Server::start(keystone().magnum());
    let (bob, _) = somebody(&server, "member");
    let (victim, project) = somebody(&server, "member");
    bob.post("/v1/baymodels", &json!({ "coe": "docker", "image_id": "i", "keypair_id": "k" }))
        .expect(201);
    let installation = installation(&bob);
    let derived = |text: &str| Uuid::new_v5(&installation, text.as_bytes()).to_string();
    for kind in [Kind::Baymodel, Kind::Bay, Kind::Container, Kind::Pod] {
        let name = kind.name();
        for id in [
            derived(&format!("{project}/{name}/default")),
            derived(&format!("{}:{project},{}:{name},7:default,", project.len(), name.len())),
            derived(&format!("{project}/deploy-1/{name}")),
            derived("anything"),
        ] {
            let path = format!("/v1/{}", kind.collection());
            let answer = bob.post(&path, &with_uuid(kind, &id));
            let words = refused(&answer, 400);
            assert!(words.contains("uuid") && words.contains("version 5"), "{words}");
        }
    }
    assert_eq!(bob.list("/v1/bays"), Vec::<Value>::new(), "nothing was made on the way");
    // They are assigned as before: to the built-in objects, and to what a key asks for.
    let key = [("idempotency-key", "deploy-1")];
    let body = json!({ "name": "db", "image": "i" });
    let made = victim.send(Method::POST, "/v1/containers", &key, Some(&body)).expect(201);
    let again = victim.send(Method::POST, "/v1/containers", &key, Some(&body)).expect(201);
    assert_eq!(made["uuid"], again["uuid"]);
    let bay = victim.get(&format!("/v1/bays/{}", text(&made["bay_uuid"]))).expect(200);
    assert_eq!(bay["name"], "default");
    for (kind, id) in [
        (Kind::Container, &made["uuid"]),
        (Kind::Bay, &made["bay_uuid"]),
        (Kind::Baymodel, &bay["baymodel_id"]),
    ] {
        let id = text(id);
        assert_eq!(id.parse::<Uuid>().unwrap().get_version_num(), 5, "{kind}");
        let path = format!("/v1/{}", kind.collection());
        let own = victim.post(&path, &with_uuid(kind, &id));
        assert_eq!(refused(&own, 409), format!("A {kind} with UUID {id} already exists."));
        let free = derived(&format!("nobody's {kind}"));
        let taken = bob.post(&path, &with_uuid(kind, &id));
        assert_eq!(said(&taken, &id), said(&bob.post(&path, &with_uuid(kind, &free)), &free));
    }
}

#[test]
fn a_uuid_that_is_taken_is_refused_alike_whoever_has_it() {
    let server = Server::start(keystone().magnum());
    let (owner, _) = somebody(&server, "member");
    let (other, _) = somebody(&server, "member");
    for kind in [Kind::Baymodel, Kind::Bay, Kind::Container] {
        let path = format!("/v1/{}", kind.collection());
        let random = Builder::from_random_bytes(clock::new_uuid().into_bytes()).into_uuid();
        for id in [random.to_string(), clock::new_uuid().to_string()] {
            let body = with_uuid(kind, &id);
            assert_eq!(owner.post(&path, &body).expect(201)["uuid"], *id);
            let own = owner.post(&path, &body);
            refused(&own, 409);
            let keyed = [("idempotency-key", id.as_str())];
            let foreign = other.send(Method::POST, &path, &keyed, Some(&body));
            assert_eq!(said(&foreign, &id), said(&own, &id), "{kind}");
            let refusals = |http: &Http| {
                let events = http.get(&format!("/v1/events?kind=audit&object={id}")).expect(200);
                let events = events["events"].as_array().unwrap().clone();
                events.into_iter().map(|event| event["data"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(refusals(&other), refusals(&owner), "{kind}");
        }
    }
    for made in ["bays", "containers"] {
        assert_eq!(other.list(&format!("/v1/{made}")), Vec::<Value>::new(), "on the way");
    }
    // The built-in one is shown, and was not recorded.
    refused(&other.get("/v1/baymodels/default/history"), 404);
}

/// Records events of an object, as an earlier release would have.
async fn record<E: EventPayload>(log: &SegmentLog, project: &str, stream: StreamId, event: &E) {
    let meta = Meta { project: ProjectId(project.to_owned()), ..Meta::default() };
    let events = vec![NewEvent::new(clock::new_event_id(), clock::now(), meta, event)];
    let head = log.stream_head(stream).unwrap();
    let expected = head.map_or(Expected::NoStream, Expected::Exact);
    log.append(Append { stream, expected, command: None, events }).await.unwrap();
}

/// The event that asked for an object: the id of the work that makes it.
fn asked_by(log: &SegmentLog, stream: StreamId) -> EventId {
    log.read_stream(stream, Revision(0), 1).unwrap()[0].id
}

/// In a log of a release that let clients choose derived ids: another project has those of the
/// built-in objects, a container of this project is in its bay, and it deletes that bay. Another
/// container is in a bay of which the log has no event left.
#[test]
fn what_another_project_claimed_before_is_not_used_and_its_bay_takes_nothing_along() {
    let mut server = Server::start(Options::fake());
    let model = json!({ "coe": "docker", "image_id": "i", "keypair_id": "k" });
    let model = server.post("/v1/baymodels", &model).expect(201);
    let bay = json!({ "name": "own", "baymodel_id": model["uuid"] });
    let bay = server.post("/v1/bays", &bay).expect(201);
    let own = json!({ "name": "own", "image": "i", "bay_uuid": bay["uuid"] });
    server.post("/v1/containers", &own).expect(201);
    let node = text(&server.get("/v1/nodes").expect(200)["nodes"][0]["uuid"]);
    let installation = installation(&server);
    let derived = |kind: &str| {
        ObjectId(Uuid::new_v5(&installation, format!("default/{kind}/default").as_bytes()))
    };
    let (claimed, model) = (derived("bay"), derived("baymodel"));
    let [inside, left, archived] = std::array::from_fn(|_| clock::new_object_id());
    server.stop();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let inside_of = [(inside, claimed), (left, archived)];
    runtime.block_on(claim(&server, node.parse().unwrap(), claimed, model, inside_of));
    server.restart();
    let is_idle = |server: &Server| server.get("/metrics").text.contains("objects_waiting 0");
    wait_until("the bay to be gone", PATIENCE, || is_idle(&server));
    let made = server.post("/v1/containers", &json!({ "name": "new", "image": "i" })).expect(201);
    assert_ne!(made["bay_uuid"], claimed.to_string());
    let bay = server.get(&format!("/v1/bays/{}", text(&made["bay_uuid"]))).expect(200);
    assert_eq!(bay["name"], "default");
    assert_ne!(bay["baymodel_id"], model.to_string());
    server.get(&format!("/v1/baymodels/{}", text(&bay["baymodel_id"]))).expect(200);
    // Nor is it deleted as a leftover at the next start.
    server.stop();
    server.restart();
    wait_until("what is left to do", PATIENCE, || is_idle(&server));
    for inside in [inside, left].map(|id| format!("/v1/containers/{id}")) {
        server.get(&inside).expect(200);
        let history = server.get(&format!("{inside}/history")).expect(200).to_string();
        assert!(!history.contains("delete_requested"), "{history}");
    }
}

/// Puts the claim into the log of a server that is stopped.
async fn claim(
    server: &Server,
    node_id: ObjectId,
    claimed: ObjectId,
    model: ObjectId,
    inside: [(ObjectId, ObjectId); 2],
) {
    let cache = open_cache(&server.data().join("cache").join("log")).unwrap();
    let options = SegmentOptions { segment_bytes: 4 << 20, folder: clock::new_uuid() };
    let index = cache.open_tree("log").unwrap();
    let log = SegmentLog::open(&server.data().join("log"), options, index).unwrap();
    let placement = || Placement { node_id, verdicts: vec![] };
    let bay = StreamId::new(Kind::Bay, claimed);
    let fields = BaymodelFields { coe: "docker".to_owned(), ..BaymodelFields::default() };
    let made = BaymodelEvent::Created(BaymodelCreatedV1 { fields });
    record(&log, "bob", StreamId::new(Kind::Baymodel, model), &made).await;
    let plan = BayPlan { baymodel_id: model, node_count: 1, ..BayPlan::default() };
    let asked = BayCreateRequestedV1 { plan, placement: placement() };
    record(&log, "bob", bay, &BayEvent::CreateRequested(asked)).await;
    let (work_id, network_id) = (asked_by(&log, bay), "n".to_owned());
    record(&log, "bob", bay, &BayEvent::Created(BayCreatedV1 { work_id, network_id })).await;
    for (id, bay_id) in inside {
        let container = StreamId::new(Kind::Container, id);
        let asked = CreateRequestedV1 {
            name: Some("inside".to_owned()),
            desc: None,
            spec: ContainerSpec { image: "i".to_owned(), ..ContainerSpec::default() },
            bay_id,
            placement: placement(),
        };
        record(&log, "default", container, &ContainerEvent::CreateRequested(asked)).await;
        let (work_id, engine_id) = (asked_by(&log, container), "e".to_owned());
        let made = ContainerEvent::Created(CreatedV1 { work_id, engine_id });
        record(&log, "default", container, &made).await;
    }
    record(&log, "bob", bay, &BayEvent::DeleteRequested(BayDeleteRequestedV1 {})).await;
    log.close().await;
}

/// Eight containers at once may be made for a project on a node. The next one says what it waits
/// for and whose work that is, can be deleted, and holds back no other project.
#[test]
fn what_waits_for_a_place_says_for_whose_work_and_can_be_taken_back() {
    let server = Server::start(keystone().magnum());
    let (bob, _) = somebody(&server, "member");
    let (alice, _) = somebody(&server, "member");
    let create = |name: &str, image: &str| {
        let body = json!({ "name": name, "image": image });
        let made = bob.send(Method::POST, "/v1/containers", &AT_ONCE, Some(&body));
        format!("/v1/containers/{}", text(&made.expect(202)["uuid"]))
    };
    // Of these the engine never has an answer.
    let made: Vec<String> = (0..8).map(|n| create(&format!("c{n}"), "silent/x:1")).collect();
    let late = create("late", "silent/x:1");
    let waits = wait_for("it to say that it waits", PATIENCE, || {
        let why = bob.get(&format!("{late}/why")).expect(200);
        why["waits_for"][0]["words"].is_string().then_some(why)
    });
    let words = "waiting for one of 12 places for containers being created; 8 are taken by this \
        project";
    assert_eq!(waits["waits_for"][0]["words"], words);
    let says = text(&waits["says"]);
    assert!(says.contains(words) && says.contains("before its first attempt"), "{says}");
    assert!(!says.contains("Its node is working on it"), "{says}");
    // The others still have places, for all that they do.
    let body = json!({ "name": "quick", "image": "i" });
    let quick = alice.post("/v1/containers", &body).expect(201);
    assert_eq!(alice.put(&format!("/v1/containers/{}/start", text(&quick["uuid"]))).status, 200);
    assert_eq!(bob.delete(&late).status, 204);
    assert_eq!(bob.get(&late).status, 404);
    for path in made {
        assert_eq!(bob.delete(&path).status, 204);
    }
}

/// A stop or a reboot that would take an hour is ended by a kill, which does not wait behind it.
#[test]
fn a_kill_passes_a_stop_that_takes_long() {
    let server = Server::start(Options::fake());
    for (verb, after) in [("stop", "Stopped"), ("reboot", "Running")] {
        let command = "sh -c \"trap '' TERM; sleep 100000\"";
        let body = json!({ "name": verb, "image": "i", "command": command });
        let made = server.post("/v1/containers", &body).expect(201);
        let path = format!("/v1/containers/{}", text(&made["uuid"]));
        assert_eq!(server.put(&format!("{path}/start")).status, 200);
        let asked = format!("{path}/{verb}?timeout=3600");
        assert_eq!(server.send(Method::PUT, &asked, &AT_ONCE, None).status, 202);
        let killed = server.put(&format!("{path}/kill"));
        assert_eq!(killed.status, 200, "{}", killed.text);
        wait_until("it to be over", PATIENCE, || {
            let container = server.get(&path).expect(200);
            container["status"] == after && container["task"].is_null()
        });
    }
}
