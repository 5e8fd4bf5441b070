//! What every noun has over REST, for each noun from a short fixture: list, detail, show, create,
//! update, delete, history, the questions of the debugger, reads as of any moment, `If-Match`,
//! idempotency.
//!
//! Not here: what is a noun's own (one file a noun), who may see what (`keystone`).

use magnum::ids::Kind;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Http, Options, PATIENCE, Server, wait_for, wait_until};
use crate::requests::{baymodel, refused};

/// A uuid that a client chooses.
const CHOSEN: &str = "3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";

/// What the suite needs to know of a noun.
struct Fixture {
    kind: Kind,
    /// What one is made from.
    body: Value,
    /// A field that a PATCH may set, and two values of it; the first is in the body.
    field: &'static str,
    values: [Value; 2],
    /// Whether it has a name, by which it is found too.
    is_named: bool,
}

fn fixture(kind: Kind) -> Fixture {
    let (body, field, values) = match kind {
        Kind::Bay => (json!({ "name": "a", "node_count": 1 }), "node_count", [json!(1), json!(4)]),
        Kind::Baymodel => (baymodel("a"), "flavor_id", [Value::Null, json!("m1")]),
        Kind::Node => (json!({ "type": "virt" }), "type", [json!("virt"), json!("bare")]),
        Kind::Container => {
            (json!({ "name": "a", "image_id": "i" }), "desc", [Value::Null, json!("d")])
        }
    };
    Fixture { kind, body, field, values, is_named: kind != Kind::Node }
}

impl Fixture {
    fn collection(&self) -> String {
        format!("/v1/{}", self.kind.collection())
    }

    fn path(&self, ident: &str) -> String {
        format!("{}/{ident}", self.collection())
    }

    /// Makes one; its uuid, once it waits for nothing.
    fn make(&self, server: &Http) -> String {
        let made = server.post(&self.collection(), &self.body).expect(201);
        let uuid = made["uuid"].as_str().unwrap().to_owned();
        self.settled(server, &uuid);
        uuid
    }

    /// An object, once it waits for nothing.
    fn settled(&self, server: &Http, uuid: &str) -> Value {
        wait_for("its work to end", PATIENCE, || {
            let object = server.get(&self.path(uuid)).expect(200);
            object.get("task").is_none_or(Value::is_null).then_some(object)
        })
    }

    fn set(&self, value: &Value) -> Value {
        json!([{ "op": "replace", "path": format!("/{}", self.field), "value": value }])
    }

    /// Rows of a list that are not of the machine itself.
    fn rows(&self, server: &Http, list: &str) -> Vec<Value> {
        let page = server.get(&format!("{}{list}", self.collection())).expect(200);
        let rows = page[self.kind.collection()].as_array().unwrap().clone();
        rows.into_iter().filter(|row| row["type"] != "docker").collect()
    }

    /// The events of an object.
    fn events(&self, server: &Http, uuid: &str) -> Vec<Value> {
        let history = server.get(&format!("{}/history", self.path(uuid))).expect(200);
        history["events"].as_array().unwrap().clone()
    }

    fn delete(&self, server: &Http, uuid: &str) {
        assert_eq!(server.delete(&self.path(uuid)).status, 204, "{}", self.kind);
        wait_until("it to be gone", PATIENCE, || server.get(&self.path(uuid)).status == 404);
    }
}

/// Runs a part of the suite for each noun, with a server of its own.
fn each(part: fn(&Fixture, &Server)) {
    for kind in Kind::ALL {
        println!("{kind}");
        part(&fixture(kind), &Server::start(Options::fake()));
    }
}

/// The revision that an answer says.
fn etag(answer: &Answer) -> String {
    answer.header("etag").to_owned()
}

#[test]
fn it_is_made_listed_and_shown() {
    each(|noun, server| {
        let answer = server.post(&noun.collection(), &noun.body);
        let (place, tag) = (answer.header("location").to_owned(), etag(&answer));
        let made = answer.expect(201);
        let uuid = made["uuid"].as_str().unwrap();
        assert_eq!(place, format!("{}{}", server.url(), noun.path(uuid)));
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        assert!(made["created_at"].as_str().unwrap().ends_with("+00:00"));
        assert_eq!(made[noun.field], noun.values[0]);
        let bookmark = format!("{}/{}/{uuid}", server.url(), noun.kind.collection());
        let links = json!([
            { "href": place, "rel": "self" }, { "href": bookmark, "rel": "bookmark" },
        ]);
        assert_eq!(made["links"], links);

        let shown = noun.settled(server, uuid);
        assert_eq!(noun.rows(server, "/detail"), std::slice::from_ref(&shown));
        let rows = noun.rows(server, "");
        assert_eq!(rows.len(), 1);
        for (name, value) in rows[0].as_object().unwrap() {
            assert_eq!(*value, shown[name], "{name}");
        }
        assert_eq!(noun.rows(server, &format!("?uuid={uuid}")), rows);
        assert_eq!(noun.rows(server, &format!("?uuid={CHOSEN}")), Vec::<Value>::new());
        if noun.is_named {
            assert_eq!(server.get(&noun.path("a")).expect(200), shown);
        }
        for path in [noun.collection(), noun.path("detail"), noun.path(uuid)] {
            refused(&server.get(&format!("{path}?bogus=1")), 400);
        }
        refused(&server.get(&noun.path(CHOSEN)), 404);
    });
}

#[test]
fn lists_go_on_where_a_page_ended() {
    each(|noun, server| {
        let mut made: Vec<String> = (0..3).map(|_| noun.make(server)).collect();
        if !noun.is_named {
            made.insert(0, server.get("/v1/nodes").expect(200)["nodes"][0]["uuid"].to_string());
        }
        let (mut list, mut pages) = (format!("{}?limit=2", noun.collection()), Vec::new());
        loop {
            let page = server.get(&list).expect(200);
            pages.push(page[noun.kind.collection()].as_array().unwrap().len());
            match page["next"].as_str() {
                Some(next) => list = next.strip_prefix(server.url()).unwrap().to_owned(),
                None => break,
            }
        }
        assert_eq!(pages.iter().sum::<usize>(), made.len(), "{pages:?}");
        assert_eq!(pages[0], 2);
        if noun.is_named {
            let words = refused(&server.get(&noun.path("a")), 409);
            assert!(words.contains("Multiple") && words.contains(noun.kind.name()), "{words}");
            refused(&server.delete(&noun.path("a")), 409);
        }
    });
}

#[test]
fn it_changes_as_of_a_revision_and_is_shown_as_it_was() {
    each(|noun, server| {
        let uuid = noun.make(server);
        let path = noun.path(&uuid);
        let before = etag(&server.get(&path));
        let patch = |tag: &str| {
            let patch = noun.set(&noun.values[1]);
            server.send(Method::PATCH, &path, &[("if-match", tag)], Some(&patch))
        };
        refused(&patch("\"77\""), 412);
        let answer = patch(&before);
        let (position, after) = (answer.header("x-magnum-position").to_owned(), etag(&answer));
        assert_ne!(before, after);
        let changed = answer.expect(200);
        assert_eq!(changed[noun.field], noun.values[1]);
        assert!(changed["updated_at"].is_string());
        refused(&patch(&before), 412);
        assert_eq!(server.patch(&path, &json!([])).expect(200), changed);
        let internal = json!([{ "op": "replace", "path": "/uuid", "value": "x" }]);
        let words = refused(&server.patch(&path, &internal), 400);
        assert_eq!(words, "'/uuid' is an internal attribute and can not be updated");
        let unknown = json!([{ "op": "add", "path": "/bogus", "value": "x" }]);
        assert!(refused(&server.patch(&path, &unknown), 400).contains("/bogus"));

        let then = format!("v:{}", before.trim_matches('"'));
        let was = server.get(&format!("{path}?at={then}")).expect(200);
        assert_eq!(was[noun.field], noun.values[0]);
        let earlier = position.parse::<u64>().unwrap() - 1;
        let rows = noun.rows(server, &format!("/detail?at={earlier}"));
        assert_eq!(rows[0][noun.field], noun.values[0]);
        let rows = noun.rows(server, &format!("/detail?at={position}"));
        assert_eq!(rows[0][noun.field], noun.values[1]);
    });
}

#[test]
fn the_same_request_counts_once() {
    each(|noun, server| {
        let key = [("idempotency-key", "k")];
        let create = |body: &Value| {
            let answer = server.send(Method::POST, &noun.collection(), &key, Some(body));
            (answer.status, answer.json["uuid"].as_str().unwrap_or_default().to_owned())
        };
        let (status, uuid) = create(&noun.body);
        assert_eq!(status, 201);
        assert_eq!(create(&noun.body), (201, uuid.clone()));
        let mut other = noun.body.clone();
        other["image_id"] = json!("another");
        assert_eq!(create(&other).0, 422);
        noun.settled(server, &uuid);
        let patch = noun.set(&noun.values[1]);
        let (path, key) = (noun.path(&uuid), [("idempotency-key", "p")]);
        for _ in 0..2 {
            let answer = server.send(Method::PATCH, &path, &key, Some(&patch));
            assert_eq!(answer.expect(200)[noun.field], noun.values[1]);
        }
        let updated = format!("magnum.{}.updated.v1", noun.kind);
        let is_update = |event: &&Value| event["type"] == *updated;
        assert_eq!(noun.events(server, &uuid).iter().filter(is_update).count(), 1);
        for _ in 0..2 {
            let answer = server.send(Method::DELETE, &path, &[("idempotency-key", "d")], None);
            assert_eq!(answer.status, 204, "{}", answer.text);
        }
        wait_until("it to be gone", PATIENCE, || server.get(&path).status == 404);
        // What was made and is gone by now is answered as it was.
        assert_eq!(create(&noun.body), (201, uuid));
        assert_eq!(noun.rows(server, ""), Vec::<Value>::new());
    });
}

#[test]
fn a_uuid_can_be_chosen_once() {
    each(|noun, server| {
        let mut body = noun.body.clone();
        body["uuid"] = json!(CHOSEN);
        assert_eq!(server.post(&noun.collection(), &body).expect(201)["uuid"], CHOSEN);
        let words = refused(&server.post(&noun.collection(), &body), 409);
        assert!(words.contains(&format!("{} with UUID {CHOSEN}", noun.kind)), "{words}");
        body["uuid"] = json!("x");
        assert!(refused(&server.post(&noun.collection(), &body), 400).contains("uuid"));
    });
}

#[test]
fn what_is_gone_is_still_on_record() {
    each(|noun, server| {
        let uuid = noun.make(server);
        noun.delete(server, &uuid);
        let path = noun.path(&uuid);
        refused(&server.delete(&path), 404);
        refused(&server.patch(&path, &noun.set(&noun.values[1])), 404);
        let was = server.get(&format!("{path}?at=v:0")).expect(200);
        assert_eq!(was["uuid"], *uuid);
        let events = noun.events(server, &uuid);
        let of_noun = format!("magnum.{}.", noun.kind);
        assert!(events.len() > 1);
        for event in &events {
            assert!(event["type"].as_str().unwrap().starts_with(&of_noun));
            assert_eq!(event["subject"], format!("{}/{uuid}", noun.kind));
        }
        let last = events.last().unwrap()["type"].as_str().unwrap();
        assert_eq!(last, format!("{of_noun}deleted.v1"));
        for question in ["state", "timeline", "diff", "blame", "why", "what-if", "bundle"] {
            let answer = server.get(&format!("{path}/{question}"));
            // Blame is about a field, which is to be named.
            let (status, field) =
                if question == "blame" { (400, "?field=name") } else { (200, "") };
            assert_eq!(answer.status, status, "{question}: {}", answer.text);
            refused(&server.get(&format!("{path}/{question}?bogus=1")), 400);
            let elsewhere = noun.path(CHOSEN);
            refused(&server.get(&format!("{elsewhere}/{question}{field}")), 404);
        }
    });
}
