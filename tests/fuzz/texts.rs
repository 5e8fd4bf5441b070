//! Texts of users: conditions, moments, questions of the debugger.

use magnum::replay::condition::Condition;
use magnum::replay::when::When;
use magnum::replay::{Question, question};
use proptest::collection::vec;
use proptest::sample::select;
use serde_json::json;

use crate::{CASES, fuzz, is_bounded, mutation};

const CONDITIONS: [&str; 8] = [
    "status == \"Error\"",
    "exit_code != 0 && name.startsWith(\"web\")",
    "state.tasks.queue.size() > 1 || !(oom_killed)",
    "labels[\"tier\"] in [\"front\", 'back'] ? true : false",
    "has(labels.tier) && labels.size() < 3",
    "[1, 2, 3].exists(x, x == exit_code)",
    "ports.all(p, p.container_port > 80) && name.matches('^(a+)+$')",
    "revision * 9223372036854775807 / 0 % -1 == 1u || b'\\xff' == bytes(name)",
];

/// Pieces that nest and join.
const PIECES: [&str; 14] =
    ["(", ")", "[", "]", "{", "}", "!", "-", ".", "?", "status", "==", "&&", "\""];

/// Reads a condition and asks it of what is shown of a container.
fn ask(text: &str) {
    let condition = match Condition::read(text) {
        Ok(condition) => condition,
        Err(error) => return is_bounded(error),
    };
    let shown = json!({
        "head": { "revision": 3, "updated_at": null },
        "fields": {
            "name": "web",
            "status": "Error",
            "exit_code": 1,
            "oom_killed": false,
            "labels": { "tier": "front" },
            "ports": [{ "container_port": 80 }],
        },
    });
    // What it says of a condition that is neither true nor false has no other bound than the text.
    let _ = condition.holds_of(shown, || json!({ "tasks": { "queue": [] } }));
}

#[test]
fn conditions() {
    fuzz(CASES * 4, mutation::text(&CONDITIONS), |text| ask(&text));
}

#[test]
fn conditions_that_nest() {
    let nested = (select(PIECES.to_vec()), 1..1100_usize, vec(select(PIECES.to_vec()), 0..12));
    fuzz(CASES, nested, |(piece, times, rest)| {
        ask(&format!("{}{}", piece.repeat(times), rest.concat()));
        ask(&format!("{}{}", rest.concat(), piece.repeat(times)));
    });
}

#[test]
fn moments() {
    let samples = [
        "latest",
        "17",
        "v:3",
        "2015-05-21T20:46:13.25+02:00",
        "before:019ab6d4-0000-7ddb-b143-0c6e8259f7bb",
        "after:019ab6d4-0000-7ddb-b143-0c6e8259f7bb",
    ];
    fuzz(CASES * 4, mutation::text(&samples), |text| match text.parse::<When>() {
        // Times are shown in another form, and mean the same.
        Ok(when) => assert_eq!(when.to_string().parse(), Ok(when), "{text}"),
        Err(words) => is_bounded(words),
    });
}

#[test]
fn questions() {
    let verbs = ["state", "timeline", "diff", "blame", "why", "what-if", "bundle", "else"];
    let arguments = [
        "",
        "1",
        "v:3",
        "latest",
        "status",
        "\"start\"",
        "[{\"stop\": {\"grace_s\": 1}}, \"start\"]",
        "019ab6d4-0000-7ddb-b143-0c6e8259f7bb,019ab6d4-0000-7ddb-b143-0c6e8259f7bc",
    ];
    let asked = (select(verbs.to_vec()), mutation::text(&arguments), mutation::text(&arguments));
    fuzz(CASES * 4, asked, |(verb, one, other)| {
        let argument = |name: &str| match name {
            "at" | "from" | "field" => Some(one.as_str()),
            "related" => Some("1"),
            _ => Some(other.as_str()),
        };
        match Question::read(verb, argument) {
            Ok(None) => assert_eq!(verb, "else"),
            Ok(Some(question)) => {
                // What is sent on means the same.
                let sent = question.arguments();
                let read = |name: &str| {
                    sent.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_str())
                };
                assert_eq!(Question::read(question.verb(), read), Ok(Some(question.clone())));
            }
            Err(bad) => is_bounded(bad.why),
        }
    });
}

#[test]
fn commands_in_a_question() {
    let samples = ["\"start\"", "[\"stop\", {\"stop\": {\"grace_s\": 1}}]", "[[[[[]]]]]"];
    fuzz(CASES * 4, mutation::text(&samples), |text| match question::commands(&text) {
        Ok(commands) => assert!(commands.len() <= text.len()),
        Err(bad) => is_bounded(bad.why),
    });
    assert!(question::commands(&"[".repeat(100_000)).is_err());
}
