//! Events for tests of the log, and reading all of one. Not here: tests.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use magnum::clock;
use magnum::events::log::chain;
use magnum::events::log::{Append, CommandKey, EventLog, Expected};
use magnum::events::{EventType, Meta, NewEvent, Recorded, codec};
use magnum::ids::{CommandId, Kind, ObjectId, Position, StreamId};

/// An event with a payload of this many bytes.
pub fn event(payload: usize) -> NewEvent {
    let id = clock::new_event_id();
    let bytes: Vec<u8> = id.0.as_bytes().iter().copied().cycle().take(payload).collect();
    NewEvent {
        id,
        time: clock::now(),
        event_type: EventType::known("container.started"),
        version: 1,
        meta: Meta { user: "tester".to_owned(), ..Meta::default() },
        payload: bytes.into(),
    }
}

pub fn stream() -> StreamId {
    StreamId::new(Kind::Container, ObjectId(clock::new_uuid()))
}

pub fn append(stream: StreamId, expected: Expected, events: usize) -> Append {
    Append { stream, expected, command: None, events: (0..events).map(|_| event(40)).collect() }
}

pub fn key(id: &str, digest: u8) -> Option<CommandKey> {
    Some(CommandKey { id: CommandId(id.to_owned()), digest: [digest; 32] })
}

/// Every event of a log, read in pages of so many; positions and the chain are verified.
pub fn read_all(log: &dyn EventLog, page: usize) -> Vec<Recorded> {
    let mut events: Vec<Recorded> = Vec::new();
    let mut hash = chain::GENESIS;
    loop {
        let after = events.last().map_or(Position(0), |event| event.position);
        let more = log.read(after, page).expect("readable");
        if more.is_empty() {
            return events;
        }
        for event in more {
            let position = Position(events.len() as u64 + 1);
            assert_eq!(event.position, position, "positions are dense");
            hash = chain::extend(&hash, position, &chain::digest(&content(&event)));
            assert_eq!(event.hash, hash, "the chain holds at {position}");
            events.push(event);
        }
    }
}

fn content(event: &Recorded) -> Vec<u8> {
    let Recorded { id, time, event_type, version, meta, payload, .. } = event.clone();
    let meta_bytes = codec::encode(&meta);
    let new = NewEvent { id, time, event_type, version, meta, payload };
    chain::content(event.stream, event.revision, &new, &meta_bytes)
}
