//! What every noun has over REST, for each noun from a short fixture: list, detail, show, create,
//! update, delete, history, the questions of the debugger, reads as of any moment, `If-Match`,
//! idempotency.
//!
//! Not here: what is a noun's own (one file a noun), who may see what (`keystone`).

use magnum::ids::Kind;
use magnum::projections::View;
use magnum::projections::field_table::{FieldDef, Patch};
use magnum::with_noun;
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
    /// The field that shows them, and how.
    shown: (&'static str, [Value; 2]),
    /// Whether it has a name, by which it is found too.
    is_named: bool,
    /// An argument of a list that only those from the body fit.
    filter: &'static str,
}

fn fixture(kind: Kind) -> Fixture {
    let (body, field, values) = match kind {
        Kind::Bay => (json!({ "name": "a", "node_count": 1 }), "node_count", [json!(1), json!(4)]),
        Kind::Baymodel => (baymodel("a"), "flavor_id", [Value::Null, json!("m1")]),
        Kind::Node => (json!({ "type": "virt" }), "type", [json!("virt"), json!("bare")]),
        Kind::Container => {
            (json!({ "name": "a", "image_id": "i" }), "desc", [Value::Null, json!("d")])
        }
        Kind::Pod => {
            let spec = json!({ "containers": [{ "name": "c", "image": "i" }] });
            let manifest = json!({ "metadata": { "name": "a" }, "spec": spec });
            (json!({ "manifest": manifest }), "desc", [Value::Null, json!("d")])
        }
    };
    let is_named = kind != Kind::Node;
    let filter = if is_named { "name=a" } else { "type=virt" };
    let shown = match kind {
        // There is one node, so what is set is wanted and not so.
        Kind::Bay => ("desired", [json!({}), json!({ "node_count": 4 })]),
        _ => (field, values.clone()),
    };
    Fixture { kind, body, field, values, shown, is_named, filter }
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
        settled(self.kind, server, &uuid);
        uuid
    }

    fn set(&self, value: &Value) -> Value {
        json!([{ "op": "replace", "path": format!("/{}", self.field), "value": value }])
    }

    /// Rows of a list that are not of the machine itself, nor built in.
    fn rows(&self, server: &Http, list: &str) -> Vec<Value> {
        let page = server.get(&format!("{}{list}", self.collection())).expect(200);
        let rows = page[self.kind.collection()].as_array().unwrap().clone();
        rows.into_iter().filter(|row| row["type"] != "docker" && row["name"] != "default").collect()
    }

    /// The events of an object.
    fn events(&self, server: &Http, uuid: &str) -> Vec<Value> {
        let history = server.get(&format!("{}/history", self.path(uuid))).expect(200);
        history["events"].as_array().unwrap().clone()
    }

    fn delete(&self, server: &Http, uuid: &str) {
        let answer = server.delete(&self.path(uuid));
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{}", self.kind);
        assert_eq!(answer.header("content-type"), "");
        wait_until("it to be gone", PATIENCE, || server.get(&self.path(uuid)).status == 404);
    }
}

/// An object, once it waits for nothing.
pub fn settled(kind: Kind, server: &Http, ident: &str) -> Value {
    wait_for("its work to end", PATIENCE, || {
        let object = server.get(&format!("/v1/{}/{ident}", kind.collection())).expect(200);
        object.get("task").is_none_or(Value::is_null).then_some(object)
    })
}

/// Runs a part of the suite for each noun, with a server of its own.
fn each(part: fn(&Fixture, &Server)) {
    each_on(&Options::fake(), part);
}

/// The same with servers that are started so.
fn each_on(options: &Options, part: fn(&Fixture, &Server)) {
    for kind in Kind::ALL {
        println!("{kind}");
        part(&fixture(kind), &Server::start(options.clone()));
    }
}

/// The names of the fields of an object, in alphabetical order.
fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The fields of a noun that are shown, in a list or of one object, in alphabetical order.
fn shown_of<V: View>(is_listed: bool) -> Vec<&'static str> {
    let shown = V::TABLE.iter().filter(|field| field.schema.is_some());
    let shown = shown.filter(|field| field.is_listed || !is_listed).map(|field| field.name);
    let times = ["created_at", "updated_at"].into_iter().filter(|_| !is_listed);
    let mut names: Vec<&str> = shown.chain(times).chain(["links"]).collect();
    names.sort_unstable();
    names
}

/// What a POST must have, and what a PATCH cannot remove.
fn mandatory<V: View>() -> (Vec<&'static str>, Vec<&'static str>) {
    let is_needed = |field: &&FieldDef<V>| field.given.is_some_and(|given| given.is_mandatory);
    let is_kept =
        |field: &&FieldDef<V>| matches!(field.patch, Patch::Set { is_mandatory: true, .. });
    let needed = V::TABLE.iter().filter(is_needed).map(|field| field.name);
    let kept = V::TABLE.iter().filter(is_kept).map(|field| field.name);
    (needed.collect(), kept.collect())
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
        assert_eq!(made[noun.shown.0], noun.shown.1[0]);
        let bookmark = format!("{}/{}/{uuid}", server.url(), noun.kind.collection());
        let links = json!([
            { "href": place, "rel": "self" }, { "href": bookmark, "rel": "bookmark" },
        ]);
        assert_eq!(made["links"], links);

        let shown = settled(noun.kind, server, uuid);
        assert_eq!(noun.rows(server, "/detail"), std::slice::from_ref(&shown));
        let rows = noun.rows(server, "");
        assert_eq!(rows.len(), 1);
        for (name, value) in rows[0].as_object().unwrap() {
            assert_eq!(*value, shown[name], "{name}");
        }
        with_noun!(noun.kind, view V => {
            assert_eq!(keys(&rows[0]), shown_of::<V>(true));
            assert_eq!(keys(&shown), shown_of::<V>(false));
        });
        assert_eq!(noun.rows(server, &format!("?uuid={uuid}")), rows);
        assert_eq!(noun.rows(server, &format!("?uuid={CHOSEN}")), Vec::<Value>::new());
        let of_2014 = format!("/{}/{uuid}/", noun.kind.collection());
        assert_eq!(server.get(&of_2014).expect(200), shown);
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
fn lists_filter_sort_and_go_on_where_a_page_ended() {
    let of_one_name = Options::fake().arg("--unique-names").arg("off");
    each_on(&of_one_name, |noun, server| {
        let made: Vec<String> = (0..3).map(|_| noun.make(server)).collect();
        let (collection, filter) = (noun.collection(), noun.filter);
        let page = |path: &str| {
            let page = server.get(path).expect(200);
            let rows = page[noun.kind.collection()].as_array().unwrap().iter();
            let uuids = rows.map(|row| row["uuid"].as_str().unwrap().to_owned());
            let next = page["next"].as_str().map(|next| next.strip_prefix(server.url()).unwrap());
            (uuids.collect::<Vec<_>>(), next.map(str::to_owned))
        };
        let walk = |list: &str| {
            let (mut next, mut pages) = (Some(format!("{collection}{list}")), Vec::new());
            while let Some(path) = next {
                let (uuids, more) = page(&path);
                pages.push(uuids);
                next = more;
            }
            pages
        };
        assert_eq!(walk(&format!("?{filter}&limit=2")), [made[..2].to_vec(), made[2..].to_vec()]);
        assert_eq!(walk(&format!("/?marker={}&{filter}", made[1])), [&made[2..]]);
        assert_eq!(walk(&format!("?uuid={CHOSEN}&limit=1")), [[""; 0]]);
        let mut sorted = made.clone();
        sorted.sort_unstable();
        // A last page that is full has a next one, which is empty.
        let pages = walk(&format!("/detail?sort_key=uuid&limit=3&{filter}"));
        assert_eq!(pages, [sorted.clone(), vec![]]);
        sorted.reverse();
        let list = format!("?sort_key=uuid&sort_dir=desc&limit=2&{filter}");
        assert_eq!(walk(&list), [sorted[..2].to_vec(), sorted[2..].to_vec()]);
        let next = format!("{collection}{list}&marker={}", sorted[1]);
        assert_eq!(page(&format!("{collection}{list}")).1, Some(next));
        if noun.is_named {
            let words = refused(&server.get(&noun.path("a")), 409);
            assert!(words.contains("Multiple") && words.contains(noun.kind.name()), "{words}");
            refused(&server.delete(&noun.path("a")), 409);
        }
    });
}

#[test]
fn what_it_must_have_it_keeps() {
    each(|noun, server| {
        let path = noun.path(&noun.make(server));
        let (needed, kept) = with_noun!(noun.kind, view V => mandatory::<V>());
        for field in needed {
            let mut body = noun.body.clone();
            body.as_object_mut().unwrap().remove(field);
            let words = refused(&server.post(&noun.collection(), &body), 400);
            assert!(words.contains("Mandatory field missing") && words.contains(field), "{words}");
        }
        for field in kept {
            let patch = json!([{ "op": "remove", "path": format!("/{field}") }]);
            let words = refused(&server.patch(&path, &patch), 400);
            let wanted = format!("'/{field}' is a mandatory attribute and can not be removed");
            assert_eq!(words, wanted);
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
        assert_eq!(changed[noun.shown.0], noun.shown.1[1]);
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
        assert_eq!(was[noun.shown.0], noun.shown.1[0]);
        let earlier = position.parse::<u64>().unwrap() - 1;
        let rows = noun.rows(server, &format!("/detail?at={earlier}"));
        assert_eq!(rows[0][noun.shown.0], noun.shown.1[0]);
        let rows = noun.rows(server, &format!("/detail?at={position}"));
        assert_eq!(rows[0][noun.shown.0], noun.shown.1[1]);
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
        settled(noun.kind, server, &uuid);
        let patch = noun.set(&noun.values[1]);
        let (path, key) = (noun.path(&uuid), [("idempotency-key", "p")]);
        for _ in 0..2 {
            let answer = server.send(Method::PATCH, &path, &key, Some(&patch));
            assert_eq!(answer.expect(200)[noun.shown.0], noun.shown.1[1]);
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

#[test]
fn options_without_a_meaning_are_accepted_with_a_warning() {
    each(|noun, server| {
        let mut body = noun.body.clone();
        body["hypervisor"] = json!("xen");
        body["tls_disabled"] = json!(false);
        let words = format!("'hypervisor' was ignored: a {} has no such option.", noun.kind);
        // A repetition gets the same answer.
        let key = [("idempotency-key", "k")];
        for _ in 0..2 {
            let made = server.send(Method::POST, &noun.collection(), &key, Some(&body));
            assert_eq!(made.expect(201)["warnings"], json!([words]), "{}", noun.kind);
        }
        let uuid = noun.rows(server, "")[0]["uuid"].as_str().unwrap().to_owned();
        let object = settled(noun.kind, server, &uuid);
        assert_eq!((object.get("warnings"), object.get("hypervisor")), (None, None));
        noun.delete(server, &uuid);
        let plain = server.post(&noun.collection(), &noun.body).expect(201);
        assert_eq!(plain.get("warnings"), None, "{plain}");
    });
}
