//! Command lines mean what they mean to Python's `shlex`: compared with it on lines of characters
//! that matter, made from a fixed seed.

use std::io::Write;
use std::process::{Command, Stdio};

use magnum::command_line::{join, split};
use serde_json::{Value, json};

use crate::harness::python;

const ORACLE: &str = r"
import json, shlex, sys

def split(line):
    try:
        return {'words': shlex.split(line)}
    except ValueError as error:
        return {'error': str(error)}

lines, lists = json.load(sys.stdin)
json.dump([[split(line) for line in lines], [shlex.join(words) for words in lists]], sys.stdout)
";

/// What means something to one shell or another, what separates words for some, and letters.
const CHARACTERS: [char; 28] = [
    ' ',
    ' ',
    ' ',
    '\t',
    '\r',
    '\n',
    '\\',
    '\\',
    '\'',
    '\'',
    '"',
    '"',
    '#',
    '#',
    'a',
    'b',
    'é',
    '\u{a0}',
    '\u{2028}',
    '\u{b}',
    '\u{1c}',
    '$',
    ';',
    '~',
    '=',
    '-',
    '*',
    '\u{1f600}',
];

/// Texts of up to so many characters, the same each time.
fn texts(count: usize, longest: u64) -> Vec<String> {
    let mut state: u64 = 20150521;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    let mut text = || {
        let length = draw(longest + 1);
        let character = |_| CHARACTERS[draw(CHARACTERS.len() as u64) as usize];
        (0..length).map(character).collect()
    };
    (0..count).map(|_| text()).collect()
}

fn ask_python(question: &Value) -> Value {
    let mut child = Command::new(python())
        .args(["-c", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn lines_are_split_and_joined_as_python_does() {
    let lines = texts(20_000, 16);
    let lists: Vec<Vec<String>> = texts(6_000, 5).chunks(3).map(<[String]>::to_vec).collect();
    let answer = ask_python(&json!([lines, lists]));
    for (line, theirs) in lines.iter().zip(answer[0].as_array().unwrap()) {
        let ours = match split(line) {
            Ok(words) => json!({ "words": words }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        assert_eq!(&ours, theirs, "{line:?}");
    }
    for (words, theirs) in lists.iter().zip(answer[1].as_array().unwrap()) {
        assert_eq!(&json!(join(words)), theirs, "{words:?}");
        assert_eq!(&split(&join(words)).unwrap(), words);
    }
    let split_lines = answer[0].as_array().unwrap().iter().filter(|it| it["words"].is_array());
    assert!(split_lines.count() > 2_000, "the corpus is mostly errors");
}
