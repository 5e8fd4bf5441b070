//! Bytes of the log: contents of events, payloads, and whole segment files.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use magnum::events::log::chain::{self, Content, GENESIS};
use magnum::events::log::segment::{OfflineLog, export, info, verify};
use magnum::events::{EventType, Meta, NewEvent, codec};
use magnum::ids::Position;

use crate::documents::{segment_file, write_log};
use crate::{CASES, contents, fuzz, is_bounded, mutation};

#[test]
fn contents_of_events() {
    fuzz(CASES * 16, mutation::bytes(contents()), |bytes| {
        let Some(content) = Content::whole(&bytes) else { return };
        // What was taken apart is put together again.
        let event = NewEvent {
            id: content.id,
            time: content.time,
            event_type: EventType::named(content.event_type),
            version: content.version,
            meta: Meta::default(),
            payload: Bytes::copy_from_slice(content.payload),
        };
        let again = chain::content(content.stream, content.revision, &event, content.meta);
        assert_eq!(again, bytes);
        if let Err(words) = content.borrowed(Position(1), &GENESIS) {
            is_bounded(words);
        }
        if let Err(words) = content.recorded(Position(1), GENESIS) {
            is_bounded(words);
        }
        let (kind, name) = (content.stream.kind, content.event_type);
        match codec::payload_json(kind, name, content.version, content.payload) {
            // Nothing is much larger in JSON than it was in bytes: no length in it is believed.
            Ok(json) => assert!(json.to_string().len() <= 64 * bytes.len() + 4096, "{json}"),
            Err(error) => is_bounded(error),
        }
    });
}

#[test]
fn samples_are_read_as_they_are() {
    for bytes in contents() {
        let content = Content::whole(&bytes).expect("a content");
        content.recorded(Position(1), GENESIS).expect("a meta");
        let (kind, name) = (content.stream.kind, content.event_type);
        codec::payload_json(kind, name, content.version, content.payload).expect("a payload");
    }
}

#[test]
fn segment_files() {
    let folder = tempfile::tempdir().unwrap();
    let log = write_log(folder.path());
    let (name, mut used) = segment_file(&log);
    // Behind the last record a file may have room, which says nothing.
    let end = used.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let room = used.split_off(end);
    let damaged = tempfile::tempdir().unwrap();
    let file = damaged.path().join(name);
    fuzz(CASES, mutation::bytes(vec![used.clone()]), |mut bytes| {
        let is_whole = bytes == used;
        bytes.extend_from_slice(&room);
        fs::write(&file, &bytes).unwrap();
        look(damaged.path(), is_whole);
        // Nothing is repaired by looking.
        assert_eq!(fs::read(&file).unwrap(), bytes);
    });
}

/// Reads a log in all ways that only read.
fn look(folder: &Path, is_whole: bool) {
    match verify(folder) {
        Ok(found) => assert!(!is_whole || found.damage.is_empty()),
        Err(error) => {
            assert!(!is_whole, "{error}");
            is_bounded(error);
        }
    }
    if let Err(error) = info(folder) {
        is_bounded(error);
    }
    if let Err(error) = OfflineLog::open(folder) {
        is_bounded(error);
    }
    let mut last = Position(0);
    let read = export(folder, Position(0), |line| {
        assert_eq!(line.position, last.next());
        last = line.position;
        Ok::<_, magnum::events::log::OpenError>(())
    });
    if let Err(error) = read {
        assert!(!is_whole, "{error}");
        is_bounded(error);
    }
}
