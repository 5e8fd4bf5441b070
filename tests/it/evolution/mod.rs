//! Events outlive the code that wrote them: their schemas and samples of all of them are files,
//! frozen once written. `MAGNUM_BLESS=1` writes what is missing, and never changes what is there.
//!
//! Not here: reading old versions as such (`src/events/upcast.rs` has its own tests).

mod newer;
pub mod pod_values;
pub mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::{env, fs};

use magnum::actors::Entity;
use magnum::actors::aggregate::Aggregate;
use magnum::events::claim::Claims;
use magnum::events::codec::{self, schemas};
use magnum::events::log::chain::{self, Content};
use magnum::events::log::export::{from_hex, to_hex};
use magnum::events::{EventType, Meta, NewEvent, Recorded};
use magnum::ids::{
    CommandId, EventId, Kind, ObjectId, Position, ProjectId, Revision, StreamId, Timestamp,
};
use magnum::projections::View;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::harness::{Options, Server, python};

/// What to do about a difference.
const FROZEN: &str = "Events that are recorded never change. Put the struct back as it was, and \
    give the event type a new version beside it: docs/events.md says how, step by step.";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name)
}

fn is_blessing() -> bool {
    env::var_os("MAGNUM_BLESS").is_some()
}

/// The files of a folder with their text.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(&path).unwrap())
    };
    fs::read_dir(folder).map(|entries| entries.map(read).collect()).unwrap_or_default()
}

/// What a schema says without the words for people, which may get better.
fn shape(schema: &str) -> Value {
    fn strip(value: &mut Value, is_schema: bool) {
        match value {
            Value::Object(fields) => {
                if is_schema {
                    fields.retain(|name, _| !["title", "description"].contains(&name.as_str()));
                }
                for (name, value) in fields {
                    strip(value, !(is_schema && ["properties", "$defs"].contains(&name.as_str())));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| strip(item, true)),
            _ => {}
        }
    }
    let mut schema = serde_json::from_str(schema).unwrap();
    strip(&mut schema, true);
    schema
}

#[test]
fn the_schemas_are_what_the_types_generate() {
    let folder = folder("events");
    let mut known = files(&folder);
    for schema in schemas() {
        let (file, text) = (schema.file(), schema.document());
        let before = known.remove(&file);
        if let Some(before) = &before {
            assert!(shape(before) == shape(&text), "schemas/events/{file} would change. {FROZEN}");
        }
        if is_blessing() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(&file), &text).unwrap();
        } else {
            let is_same = before.is_some_and(|before| before == text);
            assert!(is_same, "schemas/events/{file}: run this test with MAGNUM_BLESS=1");
        }
    }
    assert!(known.is_empty(), "no type for schemas/events/{:?}. {FROZEN}", known.keys());
}

/// A sample as its file has it.
struct Sample {
    file: String,
    text: String,
    json: Value,
}

impl Sample {
    fn event_type(&self) -> &str {
        self.json["type"].as_str().unwrap()
    }

    fn version(&self) -> u16 {
        self.json["version"].as_u64().unwrap().try_into().unwrap()
    }

    fn content(&self) -> Vec<u8> {
        from_hex(self.json["content"].as_str().unwrap()).unwrap()
    }

    /// The event as a reader of the log gets it.
    fn recorded(&self) -> Recorded {
        let bytes = self.content();
        let content = Content::whole(&bytes).expect("the content of an event");
        let recorded = content.recorded(Position(1), chain::digest(&bytes));
        recorded.unwrap_or_else(|error| panic!("{}: meta: {error}. {FROZEN}", self.file))
    }
}

/// What is around the events: a user's request.
fn meta() -> Meta {
    Meta {
        project: ProjectId("shop".to_owned()),
        user: "alice".to_owned(),
        roles: vec!["member".to_owned(), "operator".to_owned()],
        request_id: "req-6f1c2a4e-8f0b-4f0e-9a51-0c2b7e8d1319".to_owned(),
        command_id: Some(CommandId("shop/deploy-17".to_owned())),
        reason: Some("a new release".to_owned()),
        causation: Some(EventId(Uuid::from_u128(0x019a_b6d2_4c75_7aa8_8e10_d93b_5f26_c480))),
        command: Some(r#"{"Update":{"changes":[]}}"#.to_owned()),
        claims: Claims::default(),
    }
}

/// The sample that a value makes: its file and what is in it.
fn make(value: &values::Value, number: u64) -> (String, String) {
    let values::Value { kind, event_type, version, name, payload } = value;
    let id = ObjectId(Uuid::from_u128(0x019a_b6d3_7e97_7cca_a032_fb5d_7148_e6a3));
    let stream = StreamId::new(*kind, id);
    let revision = Revision(number);
    let event = NewEvent {
        id: EventId(Uuid::from_u128(
            0x019a_b6d4_0000_7ddb_b143_0c6e_8259_f7b4 + u128::from(number),
        )),
        // 2026-11-24T22:13:05.123456Z.
        time: Timestamp(1_795_558_385_123_456),
        event_type: EventType::known(event_type),
        version: *version,
        meta: meta(),
        payload: payload.clone().into(),
    };
    let content = chain::content(stream, revision, &event, &codec::encode(&event.meta));
    let data = codec::payload_json(*kind, event_type, *version, payload).unwrap();
    let sample = json!({
        "type": event_type, "version": version, "stream": stream, "revision": revision,
        "id": event.id, "time": event.time, "meta": event.meta, "data": data,
        "content": to_hex(&content),
    });
    let text = serde_json::to_string_pretty(&sample).unwrap() + "\n";
    (format!("{event_type}.v{version}.{name}.json"), text)
}

/// The list of all samples with their hashes, in the format of `b3sum`: what is in it stays.
const MANIFEST: &str = "B3SUMS";

fn manifest(known: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let lines = known.get(MANIFEST).map(String::as_str).unwrap_or_default().lines();
    lines
        .map(|line| {
            let (hash, file) = line.split_once("  ").unwrap();
            (file.to_owned(), hash.to_owned())
        })
        .collect()
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_string()
}

/// All samples, after what is missing was written, if that is wanted.
fn samples() -> Vec<Sample> {
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(|| {
        if is_blessing() {
            write_missing()
        }
    });
    let known = files(&folder("samples"));
    let json = |(file, text): (String, String)| {
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        Sample { file, text, json }
    };
    known.into_iter().filter(|(file, _)| file != MANIFEST).map(json).collect()
}

/// Writes the samples that were never there, and lists them.
fn write_missing() {
    let folder = folder("samples");
    fs::create_dir_all(&folder).unwrap();
    let known = files(&folder);
    let mut listed = manifest(&known);
    for (value, number) in values::all().iter().zip(0..) {
        let (file, text) = make(value, number);
        if !listed.contains_key(&file) {
            fs::write(folder.join(&file), known.get(&file).unwrap_or(&text)).unwrap();
            listed.insert(file.clone(), hash(known.get(&file).unwrap_or(&text)));
        }
    }
    let lines = listed.iter().map(|(file, hash)| format!("{hash}  {file}\n"));
    fs::write(folder.join(MANIFEST), lines.collect::<String>()).unwrap();
}

#[test]
fn samples_are_frozen_and_each_value_has_one() {
    let known: BTreeMap<String, Sample> =
        samples().into_iter().map(|sample| (sample.file.clone(), sample)).collect();
    let listed = manifest(&files(&folder("samples")));
    for (file, hash_then) in &listed {
        let sample = known.get(file);
        let sample = sample.unwrap_or_else(|| panic!("schemas/samples/{file} is gone. {FROZEN}"));
        let is_same = hash(&sample.text) == *hash_then;
        assert!(is_same, "schemas/samples/{file} was changed. {FROZEN}");
    }
    for (value, number) in values::all().iter().zip(0..) {
        let (file, text) = make(value, number);
        let sample = known.get(&file).unwrap_or_else(|| {
            panic!(
                "{file} is not in schemas/samples: run this test with MAGNUM_BLESS=1, and commit \
                 what it writes"
            )
        });
        let now: Value = serde_json::from_str(&text).unwrap();
        assert!(
            sample.json["data"] == now["data"] && sample.recorded().payload == value.payload,
            "The value of schemas/samples/{file} is another one now. If an event's struct was \
             edited: {FROZEN} If only the value in tests/it/evolution/values.rs was: put it back, \
             and add the new one under a name of its own."
        );
    }
    let unlisted: Vec<_> = known.keys().filter(|file| !listed.contains_key(*file)).collect();
    assert!(unlisted.is_empty(), "not in schemas/samples/{MANIFEST}: {unlisted:?}");
}

/// F46: all bytes that were ever written can be read, say what they said then, and can be folded.
#[test]
fn every_sample_is_read_and_folded() {
    let samples = samples();
    assert!(!samples.is_empty());
    for sample in &samples {
        let recorded = sample.recorded();
        let Sample { file, json, .. } = sample;
        assert_eq!(recorded.event_type.as_str(), sample.event_type(), "{file}");
        assert_eq!(recorded.version, sample.version(), "{file}");
        assert_eq!(json!(recorded.stream), json["stream"], "{file}");
        assert_eq!(json!(recorded.revision), json["revision"], "{file}");
        assert_eq!(json!(recorded.id), json["id"], "{file}");
        assert_eq!(json!(recorded.time), json["time"], "{file}");
        assert_eq!(json!(recorded.meta), json["meta"], "{file}: meta. {FROZEN}");
        let (kind, version) = (recorded.stream.kind, recorded.version);
        let data = codec::payload_json(kind, sample.event_type(), version, &recorded.payload);
        let data = data.unwrap_or_else(|error| panic!("{file}: {error}. {FROZEN}"));
        assert_eq!(data, json["data"], "{file}. {FROZEN}");
    }
    for kind in Kind::ALL {
        let of_kind = |sample: &&Sample| sample.recorded().stream.kind == kind;
        let mut events: Vec<Recorded> =
            samples.iter().filter(of_kind).map(Sample::recorded).collect();
        events.sort_by_key(|event| event.revision);
        magnum::with_noun!(kind, entity E, view V => fold::<E, V>(events));
    }
}

/// Folds samples one after another, and each by itself: no order of events may fail.
fn fold<E: Entity, V: View>(mut events: Vec<Recorded>) {
    assert!(!events.is_empty());
    for (event, number) in events.iter_mut().zip(0..) {
        (event.revision, event.position) = (Revision(number), Position(number + 1));
    }
    let stream = events[0].stream;
    let mut story = Aggregate::<E>::new(stream);
    let mut view: Option<V> = None;
    for event in &events {
        let words = |error: &dyn std::fmt::Display| {
            format!("{} v{}: {error}. {FROZEN}", event.event_type.as_str(), event.version)
        };
        story.take(&event.borrowed()).unwrap_or_else(|error| panic!("{}", words(&error)));
        E::react(&story.state);
        let mut alone = Aggregate::<E>::new(stream);
        let first = Recorded { revision: Revision(0), ..event.clone() };
        alone.take(&first.borrowed()).unwrap_or_else(|error| panic!("{}", words(&error)));
        V::apply(&mut None, &event.borrowed()).unwrap_or_else(|error| panic!("{}", words(&error)));
        let mut next = view.clone();
        V::apply(&mut next, &event.borrowed()).unwrap_or_else(|error| panic!("{}", words(&error)));
        // What is gone stays, so that what follows has something to change.
        view = next.or(view);
    }
    assert!(view.is_some());
}

/// Each type and version, each field and each variant is in a sample.
#[test]
fn samples_cover_all_that_can_be_recorded() {
    let samples = samples();
    let mut missing = Vec::new();
    for schema in schemas() {
        let of_schema = |sample: &&Sample| {
            sample.event_type() == schema.event_type && sample.version() == schema.version
        };
        let data: Vec<&Value> =
            samples.iter().filter(of_schema).map(|sample| &sample.json["data"]).collect();
        if data.is_empty() {
            missing.push(format!("{}: no sample", schema.file()));
            continue;
        }
        let document: Value = serde_json::from_str(&schema.document()).unwrap();
        let mut seen = BTreeSet::new();
        data.iter().for_each(|data| words(data, &mut seen));
        let mut wanted = BTreeSet::new();
        wanted_words(&document, &mut wanted);
        missing.extend(wanted.difference(&seen).map(|word| format!("{}: {word}", schema.file())));
    }
    assert!(missing.is_empty(), "tests/it/evolution/values.rs has nothing for {missing:#?}");
}

/// Names of fields that hold something, and texts, of a payload.
fn words(value: &Value, seen: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_empty = value.is_null() || *value == json!([]) || *value == json!({});
                if !is_empty {
                    seen.insert(name.clone());
                    words(value, seen);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| words(item, seen)),
        Value::String(text) => drop(seen.insert(text.clone())),
        _ => {}
    }
}

/// Names of all fields, and all texts of enums, of a schema.
fn wanted_words(schema: &Value, wanted: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let names = fields.get("properties").and_then(Value::as_object);
            wanted.extend(names.into_iter().flat_map(Map::keys).cloned());
            let texts = fields.get("enum").and_then(Value::as_array).into_iter().flatten();
            wanted.extend(texts.filter_map(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| wanted_words(value, wanted));
        }
        Value::Array(items) => items.iter().for_each(|item| wanted_words(item, wanted)),
        _ => {}
    }
}

/// The schema that an event names is served, and is the file.
#[test]
fn a_server_has_the_schema_that_an_event_names() {
    let server = Server::start(Options::fake());
    let index = server.get("/v1/schemas/events").expect(200);
    let links = index["schemas"].as_array().unwrap();
    assert_eq!(links.len(), schemas().len());
    let page = server.get("/v1/events?type=node.created").expect(200);
    let event = &page["events"][0];
    let is_of_event = |link: &&Value| link["type"] == event["type"];
    let link = links.iter().find(is_of_event).unwrap();
    assert_eq!(link["dataschema"], event["dataschema"]);
    let path = event["dataschema"].as_str().unwrap().strip_prefix(server.url()).unwrap();
    let answer = server.get(path);
    assert_eq!(answer.header("content-type"), "application/schema+json");
    let files = files(&folder("events"));
    assert_eq!(answer.text, files["node.created.v1.json"]);
    assert_eq!(answer.json["$id"], path);
    for missing in
        ["node.created.v2.json", "node.flew.v1.json", "node.created", "..%2fopenapi.json"]
    {
        let answer = server.get(&format!("/v1/schemas/events/{missing}"));
        assert_eq!(answer.expect(404)["errors"][0]["code"], "no-such-path", "{missing}");
    }
}

/// A validator that is not ours: the schemas are JSON Schema 2020-12, the samples satisfy them.
#[test]
fn samples_satisfy_their_schemas() {
    const SCRIPT: &str = r#"
import json, pathlib, sys
from jsonschema import Draft202012Validator as Validator
folder, count = pathlib.Path(sys.argv[1]), 0
for file in folder.glob("events/*.json"):
    Validator.check_schema(json.loads(file.read_text()))
for file in folder.glob("samples/*.json"):
    sample = json.loads(file.read_text())
    schema = folder / "events" / f"{sample['type']}.v{sample['version']}.json"
    checker = Validator.FORMAT_CHECKER
    validator = Validator(json.loads(schema.read_text()), format_checker=checker)
    validator.validate(sample["data"])
    more = sample["data"] | {"surprise": 1}
    assert not validator.is_valid(more), f"{file.name}: a field too many is valid"
    for name in sample["data"]:
        less = {other: it for other, it in sample["data"].items() if other != name}
        assert not validator.is_valid(less), f"{file.name}: without {name} it is valid"
    count += 1
print(count)
"#;
    let schemas = folder("events");
    let output = Command::new(python())
        .args(["-c", SCRIPT, schemas.parent().unwrap().to_str().unwrap()])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), samples().len().to_string());
}
