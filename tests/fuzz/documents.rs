//! Documents from elsewhere: bundles, exports, messages of the bus.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use magnum::app::import_log;
use magnum::backends::LogQuery;
use magnum::bus::{LogRequest, ReplyTo, wire};
use magnum::clock;
use magnum::events::log::chain::{self, Content};
use magnum::events::log::export::{from_hex, to_hex};
use magnum::events::log::segment::{SegmentLog, SegmentOptions, export};
use magnum::events::log::{Append, EventLog, Expected, OpenError};
use magnum::events::{EventType, Meta, NewEvent};
use magnum::ids::{ObjectId, Position, Revision, StreamId};
use magnum::replay::Source;
use magnum::replay::bundle::{self, Bundle};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{CASES, content, fuzz, is_bounded, mutation};

/// What a log has in these tests: the beginning of a bay and of a container.
const STORY: [&str; 4] = [
    "bay.create_requested.v1.full.json",
    "bay.created.v1.full.json",
    "container.create_requested.v1.full.json",
    "container.created.v1.full.json",
];

/// Writes a log into a folder; where it is.
pub fn write_log(folder: &Path) -> PathBuf {
    let folder = folder.join("log");
    let index = sled::Config::new().temporary(true).open().unwrap().open_tree("log").unwrap();
    let options = SegmentOptions { segment_bytes: 1 << 20, folder: clock::new_uuid() };
    let log = SegmentLog::open(&folder, options, index).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (index, name) in STORY.into_iter().enumerate() {
            let bytes = content(name);
            let content = Content::whole(&bytes).unwrap();
            // Two events of each object.
            let expected = match index % 2 {
                0 => Expected::NoStream,
                _ => Expected::Exact(Revision(0)),
            };
            let event = NewEvent {
                id: content.id,
                time: content.time,
                event_type: EventType::named(content.event_type),
                version: content.version,
                meta: Meta::decode(content.meta).unwrap(),
                payload: Bytes::copy_from_slice(content.payload),
            };
            let append =
                Append { stream: content.stream, expected, command: None, events: vec![event] };
            log.append(append).await.unwrap();
        }
        log.close().await;
    });
    folder
}

/// The only segment of a log: its name and bytes.
pub fn segment_file(log: &Path) -> (String, Vec<u8>) {
    let names = fs::read_dir(log).unwrap().map(|it| it.unwrap().file_name());
    let name = names
        .map(|name| name.into_string().unwrap())
        .find(|name| name.ends_with(".seg"))
        .expect("a segment");
    let bytes = fs::read(log.join(&name)).unwrap();
    (name, bytes)
}

fn object(name: &str) -> StreamId {
    Content::whole(&content(name)).unwrap().stream
}

#[test]
fn bundles() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path());
    let source = Source::folder(folder.path()).unwrap();
    let exported = bundle::export(&source, object(STORY[2]), false, false).unwrap();
    let sample = serde_json::to_value(&exported).unwrap();
    Bundle::read(&sample.to_string()).unwrap();
    fuzz(CASES * 2, mutation::document(sample.clone()), |document| {
        match Bundle::read(&document.to_string()) {
            // Whatever is read is what was exported.
            Ok((read, _)) => assert_eq!(read, exported),
            Err(error) => is_bounded(error),
        }
        // Somebody who changes a bundle can change its digest as well.
        let Ok(mut forged) = serde_json::from_value::<Bundle>(document) else { return };
        forged.digest = String::new();
        forged.digest = to_hex(&chain::digest(&serde_json::to_vec(&forged).unwrap()));
        match Bundle::read(&serde_json::to_string(&forged).unwrap()) {
            Ok((read, events)) => assert_eq!(read.events.len(), events.len()),
            Err(error) => is_bounded(error),
        }
    });
}

#[test]
fn exports() {
    let folder = tempfile::tempdir().unwrap();
    let log = write_log(folder.path());
    let mut lines = Vec::new();
    export(&log, Position(0), |line| {
        lines.push(serde_json::to_value(&line).unwrap());
        Ok::<_, OpenError>(())
    })
    .unwrap();
    assert_eq!(lines.len(), STORY.len());
    // Each import is a log of its own, with its syncs.
    let cases = CASES / 8;
    fuzz(cases, mutation::document(Value::from(lines.clone())), |document| {
        let Value::Array(changed) = document else { return };
        let text: String = changed.iter().map(|line| format!("{line}\n")).collect();
        let new = tempfile::tempdir().unwrap();
        match import_log(new.path(), Cursor::new(text)) {
            // What an import takes has the same chain: it is what was exported, or its beginning.
            Ok(head) => {
                let same = changed.iter().zip(&lines).filter(|(one, other)| {
                    (&one["hash"], &one["content"]) == (&other["hash"], &other["content"])
                });
                assert_eq!(head.get(), same.count() as u64, "{changed:?}");
            }
            Err(error) => is_bounded(error),
        }
    });
}

#[test]
fn messages_of_the_bus() {
    let request = LogRequest {
        node_id: ObjectId(Uuid::from_u128(7)),
        stream: object(STORY[2]),
        execution: None,
        query: LogQuery {
            tail: Some(3),
            since: None,
            until: None,
            timestamps: true,
            follow: false,
            container: None,
        },
        reply_to: ReplyTo(Uuid::from_u128(9)),
    };
    let bytes = wire::encode(&request).unwrap();
    let sample: Value = serde_json::from_slice(&bytes).unwrap();
    let read = |bytes: &[u8]| match wire::decode::<LogRequest>(bytes) {
        Ok(read) => {
            let again = wire::encode(&read).unwrap();
            let read = wire::decode::<LogRequest>(&again).unwrap();
            assert_eq!(wire::encode(&read).unwrap(), again);
        }
        Err(error) => is_bounded(error),
    };
    fuzz(CASES * 4, mutation::document(sample), |it| read(it.to_string().as_bytes()));
    fuzz(CASES * 4, mutation::bytes(vec![bytes]), |it| read(&it));
    let other = json!({ "name": "x".repeat(100), "version": 1, "body": {} });
    assert!(wire::decode::<LogRequest>(other.to_string().as_bytes()).is_err());
}

#[test]
fn hex() {
    fuzz(CASES * 4, mutation::text(&["00ff", "0", "xy", "ÿÿ", "DEADbeef"]), |text| match from_hex(
        &text,
    ) {
        Ok(bytes) => assert_eq!(to_hex(&bytes), text.to_lowercase()),
        Err(words) => is_bounded(words),
    });
}
