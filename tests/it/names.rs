//! Names are unique among living objects (rule L9), and any name works in a path.
//!
//! Not here: what the log promises (`log_names`), which events take a name (`actors/naming`).

use std::fs;
use std::path::Path;

use magnum::clock;
use magnum::events::baymodel::{
    BaymodelCreatedV1, BaymodelDeletedV1, BaymodelEvent, BaymodelFields,
};
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{Append, EventLog, Expected};
use magnum::events::{Meta, NewEvent};
use magnum::files;
use magnum::ids::{Kind, ObjectId, ProjectId, Revision, StreamId};
use magnum::projections::store::open_cache;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Http, Options, PATIENCE, Server, wait_until};
use crate::log_tools::magnum;
use crate::noun::settled;
use crate::requests::{baymodel, refused};
use crate::rights::Issuer;

/// Nouns whose objects have names.
const NAMED: [Kind; 3] = [Kind::Bay, Kind::Baymodel, Kind::Container];

fn body(kind: Kind, name: &str) -> Value {
    match kind {
        Kind::Baymodel => baymodel(name),
        Kind::Container => json!({ "name": name, "image_id": "i" }),
        _ => json!({ "name": name }),
    }
}

fn create(http: &Http, kind: Kind, name: &str) -> Answer {
    http.post(&format!("/v1/{}", kind.collection()), &body(kind, name))
}

fn made(http: &Http, kind: Kind, name: &str) -> String {
    let made = create(http, kind, name).expect(201);
    let uuid = made["uuid"].as_str().unwrap().to_owned();
    settled(kind, http, &uuid);
    uuid
}

fn path(kind: Kind, ident: &str) -> String {
    format!("/v1/{}/{ident}", kind.collection())
}

/// Checks that a name was refused because an object has it.
#[track_caller]
fn taken(answer: &Answer, kind: Kind, holder: &str) {
    let words = refused(answer, 409);
    assert_eq!(answer.json["errors"][0]["code"], "name-taken");
    assert!(words.contains(&format!("A {kind} with the name")), "{words}");
    assert!(words.contains(holder), "{words}");
}

fn rename(http: &Http, kind: Kind, ident: &str, name: &str) -> Answer {
    let patch = json!([{ "op": "replace", "path": "/name", "value": name }]);
    http.patch(&path(kind, ident), &patch)
}

#[test]
fn a_name_belongs_to_one_object_until_it_is_deleted() {
    let mut server = Server::start(Options::fake());
    for kind in NAMED {
        let first = made(&server, kind, "a");
        taken(&create(&server, kind, "a"), kind, &first);
        let accent = made(&server, kind, "caf\u{e9}");
        taken(&create(&server, kind, "cafe\u{301}"), kind, &accent);
        let capital = made(&server, kind, "A");
        assert_ne!(capital, first, "case counts");
        assert_eq!(server.get(&path(kind, "a")).expect(200)["uuid"], *first);
    }
    let nothing = json!({ "image_id": "i" });
    for _ in 0..2 {
        server.post("/v1/containers", &nothing).expect(201);
    }
    // A container has its name in its bay.
    let other = made(&server, Kind::Bay, "other");
    let inside = json!({ "name": "a", "image_id": "i", "bay_uuid": other });
    let inside_too = server.post("/v1/containers", &inside).expect(201);
    let words = refused(&server.get("/v1/containers/a"), 409);
    assert!(words.contains("Multiple containers exist with same name"), "{words}");
    taken(
        &server.post("/v1/containers", &inside),
        Kind::Container,
        inside_too["uuid"].as_str().unwrap(),
    );
    let next = NAMED.map(|kind| {
        let holder = server.get(&path(kind, "A")).expect(200)["uuid"].take();
        let holder = holder.as_str().unwrap();
        assert_eq!(server.delete(&path(kind, holder)).status, 204);
        // At once: what is being deleted does not count, and the name means the new one.
        let next = create(&server, kind, "A").expect(201)["uuid"].take();
        assert_ne!(next, *holder);
        assert_eq!(server.get(&path(kind, "A")).expect(200)["uuid"], next);
        (kind, next.as_str().unwrap().to_owned())
    });
    server.kill();
    server.restart();
    for (kind, holder) in next {
        taken(&create(&server, kind, "A"), kind, &holder);
        assert_eq!(server.get(&path(kind, "A")).expect(200)["uuid"], *holder);
    }
}

#[test]
fn a_rename_takes_the_new_name_and_frees_the_old_one() {
    let mut server = Server::start(Options::fake());
    for kind in [Kind::Baymodel, Kind::Container] {
        let (one, two) = (made(&server, kind, "one"), made(&server, kind, "two"));
        taken(&rename(&server, kind, "one", "two"), kind, &two);
        assert_eq!(server.get(&path(kind, "one")).expect(200)["uuid"], *one);
        rename(&server, kind, "one", "one").expect(200);
        rename(&server, kind, "one", "three").expect(200);
        refused(&server.get(&path(kind, "one")), 404);
        assert_eq!(server.get(&path(kind, "three")).expect(200)["uuid"], *one);
        rename(&server, kind, "two", "one").expect(200);
        taken(&create(&server, kind, "three"), kind, &one);
        let clear = json!([{ "op": "remove", "path": "/name" }]);
        server.patch(&path(kind, &two), &clear).expect(200);
    }
    server.stop();
    server.restart();
    for kind in [Kind::Baymodel, Kind::Container] {
        assert_eq!(create(&server, kind, "three").status, 409);
        rename(&server, kind, "three", "one").expect(200);
        rename(&server, kind, "one", "two").expect(200);
    }
}

#[test]
fn of_a_thousand_requests_at_once_one_gets_the_name() {
    let server = Server::start(Options::fake());
    made(&server, Kind::Container, "first");
    for kind in NAMED {
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..20)
                .map(|_| scope.spawn(|| (0..50).map(|_| create(&server, kind, "a")).collect()))
                .collect();
            let each = threads.into_iter().map(|thread| -> Vec<Answer> { thread.join().unwrap() });
            each.flatten().collect()
        });
        assert_eq!(answers.len(), 1000);
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status < 300);
        assert_eq!(won.len(), 1, "{kind}");
        let uuid = won[0].json["uuid"].as_str().unwrap();
        lost.iter().for_each(|answer| taken(answer, kind, uuid));
        let there = server.list(&format!("/v1/{}?name=a", kind.collection()));
        assert_eq!((there.len(), &there[0]["uuid"]), (1, &json!(uuid)));
    }
}

#[test]
fn the_same_request_again_is_not_refused_for_its_own_name() {
    let mut server = Server::start(Options::fake());
    for kind in NAMED {
        let send = |server: &Http, key: &str| {
            let key = &*format!("{kind}-{key}");
            let (list, body) = (format!("/v1/{}", kind.collection()), body(kind, "a"));
            server.send(Method::POST, &list, &[("idempotency-key", key)], Some(&body))
        };
        let uuid = send(&server, "k").expect(201)["uuid"].take();
        assert_eq!(send(&server, "k").expect(201)["uuid"], uuid);
        taken(&send(&server, "other"), kind, uuid.as_str().unwrap());
        server.stop();
        server.restart();
        assert_eq!(send(&server, "k").expect(201)["uuid"], uuid);
    }
}

#[test]
fn names_can_be_shared_where_the_operator_wants_it() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let shared = Options::fake().data(&data).arg("--unique-names").arg("off");
    let mut server = Server::start(shared);
    let all = NAMED.map(|kind| (kind, made(&server, kind, "a"), made(&server, kind, "a")));
    for (kind, ..) in &all {
        assert!(refused(&server.get(&path(*kind, "a")), 409).contains("Multiple"));
    }
    server.stop();
    // The engine has forgotten everything, so that no work ends.
    let server = Server::start(Options::fake().data(&data).arg("--request-wait").arg("0"));
    for (kind, one, two) in all {
        let words = refused(&create(&server, kind, "a"), 409);
        assert!(words.contains(&one) || words.contains(&two), "{words}");
        for uuid in [one, two] {
            assert_eq!(server.get(&path(kind, &uuid)).expect(200)["name"], "a");
            assert_eq!(create(&server, kind, "a").status, 409);
            let gone = server.delete(&path(kind, &uuid));
            assert!(gone.status < 300, "{}", gone.text);
        }
        let new = create(&server, kind, "a");
        assert!(new.status < 300, "{}", new.text);
    }
}

/// Records an event of a baymodel as builds did that knew no claims.
fn record(data: &Path, id: ObjectId, expected: Expected, event: &BaymodelEvent) {
    let meta = Meta { project: ProjectId("default".to_owned()), ..Meta::default() };
    let events = vec![NewEvent::new(clock::new_event_id(), clock::now(), meta, event)];
    let stream = StreamId::new(Kind::Baymodel, id);
    let append = Append { stream, expected, command: None, events };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let cache = open_cache(&data.join("cache").join("log")).unwrap();
        let index = cache.open_tree("log").unwrap();
        let options = SegmentOptions { segment_bytes: 4 << 20, folder: clock::new_uuid() };
        let log = SegmentLog::open(&data.join("log"), options, index).unwrap();
        log.append(append).await.unwrap();
        log.close().await;
    });
}

fn record_new(data: &Path, name: &str) -> String {
    let id = ObjectId(clock::new_uuid());
    let fields = BaymodelFields {
        name: Some(name.to_owned()),
        coe: "docker".to_owned(),
        image_id: "i".to_owned(),
        ..BaymodelFields::default()
    };
    let event = BaymodelEvent::Created(BaymodelCreatedV1 { fields });
    record(data, id, Expected::NoStream, &event);
    id.to_string()
}

#[test]
fn names_that_an_earlier_version_freed_are_free() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut server = Server::start(Options::fake().data(&data));
    let kind = Kind::Baymodel;
    let (gone, stays) = (made(&server, kind, "gone"), made(&server, kind, "stays"));
    server.stop();
    let deleted = BaymodelEvent::Deleted(BaymodelDeletedV1 {});
    record(&data, gone.parse().unwrap(), Expected::Exact(Revision(0)), &deleted);
    server.restart();
    for _ in 0..2 {
        taken(&create(&server, kind, "stays"), kind, &stays);
        let new = made(&server, kind, "gone");
        taken(&create(&server, kind, "gone"), kind, &new);
        server.stop();
        server.restart();
        taken(&create(&server, kind, "gone"), kind, &new);
        assert_eq!(server.delete(&path(kind, "gone")).status, 204);
    }
}

#[test]
fn names_that_an_earlier_version_gave_count_too() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    files::create_folders(&data).unwrap();
    let [one, two, single] = ["m", "m", "n"].map(|name| record_new(&data, name));
    let kind = Kind::Baymodel;
    let mut server = Server::start(Options::fake().data(&data));
    for _ in 0..2 {
        assert!(refused(&server.get(&path(kind, "m")), 409).contains("Multiple"));
        for uuid in [&one, &two] {
            assert_eq!(server.get(&path(kind, uuid)).expect(200)["name"], "m");
        }
        assert_eq!(create(&server, kind, "m").status, 409);
        taken(&create(&server, kind, "n"), kind, &single);
        taken(&rename(&server, kind, &two, "n"), kind, &single);
        server.kill();
        server.restart();
    }
    rename(&server, kind, &one, "o").expect(200);
    taken(&create(&server, kind, "m"), kind, &two);
    assert_eq!(server.delete(&path(kind, "m")).status, 204);
    create(&server, kind, "m").expect(201);
    taken(&create(&server, kind, "o"), kind, &one);
}

#[test]
fn names_go_with_the_events_of_a_log() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let text = |name: &str| at(name).to_str().unwrap().to_owned();
    let mut server = Server::start(Options::fake().data(&at("data")));
    let holders = NAMED.map(|kind| {
        let gone = made(&server, kind, "gone");
        assert_eq!(server.delete(&path(kind, &gone)).status, 204);
        if kind == Kind::Bay {
            return (kind, made(&server, kind, "a"));
        }
        let holder = made(&server, kind, "before");
        rename(&server, kind, "before", "a").expect(200);
        (kind, holder)
    });
    server.stop();
    let export = |name: &str| magnum(&at(name), &["log", "export"]).out;
    let exported = export("data");
    assert!(exported.contains(r#""claims":[{"release":"#), "{exported}");
    fs::write(at("lines"), &exported).unwrap();
    assert_eq!(magnum(&at("imported"), &["log", "import", &text("lines")]).code, 0);
    assert_eq!(magnum(&at("data"), &["backup", &text("backup")]).code, 0);
    let restore = ["restore", &text("backup"), "--data", &text("restored"), "--yes"];
    assert_eq!(magnum(&at("data"), &restore).code, 0);
    fs::remove_dir_all(at("data").join("cache")).unwrap();
    for name in ["imported", "restored", "data"] {
        assert_eq!(export(name), exported, "{name}");
        // The engine has forgotten everything, so that no work ends.
        let options = Options::fake().data(&at(name)).arg("--request-wait").arg("0");
        let server = Server::start(options);
        for (kind, holder) in &holders {
            taken(&create(&server, *kind, "a"), *kind, holder);
            for free in ["gone", "before"] {
                let new = create(&server, *kind, free);
                assert!(new.status < 300, "{name}: {}", new.text);
            }
        }
    }
}

#[test]
fn a_project_has_nothing_to_do_with_the_names_of_another_one() {
    let issuer = Issuer::new();
    let tokens = ["shop", "mail"].map(|project| issuer.token(project, "admin"));
    let server = Server::start(issuer.options());
    let [shop, mail] = tokens.map(|token| server.with_token(&token));
    for kind in NAMED {
        let (one, other) = (made(&shop, kind, "a"), made(&mail, kind, "a"));
        for (http, own) in [(&shop, &one), (&mail, &other)] {
            taken(&create(http, kind, "a"), kind, own);
            assert_eq!(http.get(&path(kind, "a")).expect(200)["uuid"], **own);
        }
        assert_eq!(shop.delete(&path(kind, "a")).status, 204);
        taken(&create(&mail, kind, "a"), kind, &other);
        let new = made(&shop, kind, "a");
        taken(&create(&shop, kind, "a"), kind, &new);
    }
}

#[test]
fn what_a_project_calls_default_is_its_default() {
    let server = Server::start(Options::fake());
    let own = made(&server, Kind::Baymodel, "default");
    let bay = made(&server, Kind::Bay, "default");
    assert_eq!(server.get(&path(Kind::Bay, &bay)).expect(200)["baymodel_id"], *own);
    let container = json!({ "name": "c", "image_id": "i" });
    assert_eq!(server.post("/v1/containers", &container).expect(201)["bay_uuid"], *bay);

    let server = Server::start(Options::fake());
    let made = server.post("/v1/containers", &container).expect(201);
    taken(&create(&server, Kind::Bay, "default"), Kind::Bay, made["bay_uuid"].as_str().unwrap());
    let model = server.get("/v1/baymodels/default").expect(200)["uuid"].take();
    taken(&create(&server, Kind::Baymodel, "default"), Kind::Baymodel, model.as_str().unwrap());
}

#[test]
fn a_name_that_is_a_route_works() {
    let server = Server::start(Options::fake());
    let names = ["detail", "start", "execute", "logs", "history", "v1", "containers", "events"];
    for kind in NAMED {
        for name in names {
            let uuid = made(&server, kind, name);
            for path in [path(kind, name), format!("/{}/{name}/", kind.collection())] {
                assert_eq!(server.get(&path).expect(200)["uuid"], *uuid, "{path}");
            }
            for question in ["history", "state", "timeline", "why", "bundle"] {
                let answer = server.get(&format!("{}/{question}", path(kind, name)));
                assert_eq!(answer.status, 200, "{name}/{question}: {}", answer.text);
            }
            if kind == Kind::Container {
                assert_eq!(server.put(&format!("/v1/containers/{name}/start")).status, 200);
            }
            if kind != Kind::Bay {
                rename(&server, kind, name, "x").expect(200);
                rename(&server, kind, "x", name).expect(200);
            }
        }
        // The list is still what it was, and an encoded name is only that of an object.
        let list = server.get(&path(kind, "detail")).expect(200);
        let count = list[kind.collection()].as_array().unwrap().len();
        assert!(count >= names.len(), "{list}");
        let only = server.get(&path(kind, "%64etail")).expect(200);
        assert_eq!((&only["name"], only.get(kind.collection())), (&json!("detail"), None));
        let first = server.get(&path(kind, "detail?limit=1")).expect(200);
        assert!(first.get("uuid").is_none(), "{first}");
        for name in names {
            let gone = path(kind, if name == "detail" { "%64etail" } else { name });
            assert_eq!(server.delete(&path(kind, name)).status, 204, "{name}");
            wait_until("it to be gone", PATIENCE, || server.get(&gone).status == 404);
        }
        let list = server.get(&path(kind, "detail")).expect(200);
        assert!(list.get("uuid").is_none(), "{list}");
    }
}
