//! Samples that were changed here and there.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// One change of bytes.
#[derive(Clone, Debug)]
pub enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    // Bytes that lengths and marks are made of.
    let odd = select(vec![0_u8, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xff]);
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<Index>(), odd).prop_map(|(at, byte)| Change::Set(at, byte)),
        any::<Index>().prop_map(Change::Cut),
        (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, new)| Change::Insert(at, new)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match change {
        Change::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
        Change::Set(at, byte) => bytes[at.index(len)] = *byte,
        Change::Cut(at) => bytes.truncate(at.index(len)),
        Change::Insert(at, new) => {
            let at = at.index(len);
            bytes.splice(at..at, new.iter().copied());
        }
        Change::Repeat(from, to) => {
            let (from, to) = (from.index(len), to.index(len));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.extend(piece);
        }
    }
}

/// A few changes, for bytes that are known later.
pub fn changes() -> impl Strategy<Value = Vec<Change>> {
    vec(change(), 0..4)
}

/// These bytes with changes.
pub fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    changes.iter().for_each(|change| apply(&mut bytes, change));
    bytes
}

/// One of these, unchanged or with a few changes.
pub fn bytes(samples: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (select(samples), changes()).prop_map(|(bytes, changes)| changed(bytes, &changes))
}

/// One of these, unchanged or with a few changes; what is no UTF-8 is replaced.
pub fn text(samples: &[&str]) -> impl Strategy<Value = String> {
    let samples = samples.iter().map(|sample| sample.as_bytes().to_vec()).collect();
    bytes(samples).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Values that a reader may not be ready for.
fn odd() -> impl Strategy<Value = Value> {
    select(vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("\u{0}\u{7f}\u{2028}😀"),
        json!("a\u{1b}]0;b\u{7}\u{9b}31m\u{202e}c\u{e0041}"),
        json!(i64::MAX),
        json!("9223372036854775807"),
        json!("9999-12-31T23:59:59.999999999Z"),
        json!("f"),
        json!("ff".repeat(5000)),
        json!([]),
        json!([null]),
        json!({}),
        json!({ "": {} }),
    ])
}

/// All places in a document, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(value, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                places(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// A document in which a few values are others: odd ones, or those of another place.
pub fn document(sample: Value) -> impl Strategy<Value = Value> {
    large_document(sample, 4)
}

/// The same with fewer than so many changes, for a document of more values.
pub fn large_document(sample: Value, most: usize) -> impl Strategy<Value = Value> {
    let change = (any::<Index>(), any::<Index>(), proptest::option::of(odd()));
    vec(change, 0..most).prop_map(move |changes| {
        let mut document = sample.clone();
        for (to, from, odd) in changes {
            let mut all = Vec::new();
            places(&document, "", &mut all);
            let new = odd
                .unwrap_or_else(|| document.pointer(&all[from.index(all.len())]).unwrap().clone());
            *document.pointer_mut(&all[to.index(all.len())]).unwrap() = new;
        }
        document
    })
}
