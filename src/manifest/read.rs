//! The text of a manifest as a value: JSON or YAML, one document, without names that stand twice.
//!
//! Not here: what has to be in it (`check`), older forms (`flat`).

use std::cell::Cell;

use serde::de::DeserializeSeed;
use serde_json::{Map, Number, Value};

use super::invalid::Invalid;
use crate::json::{self, Unique};
use crate::text::words;

/// Longest manifest, in bytes, as text and as what it stands for: the limit of 2015.
pub const MAX_BYTES: usize = 524_288;

/// How deep lists and mappings may be in each other: four times what the deepest field of a pod
/// needs, and half of what the readers of JSON and YAML can do.
const MAX_DEPTH: usize = 64;

/// Most bytes of YAML times opening brackets in it, wherever they stand: 1024 brackets in the
/// largest manifest. Its reader looks at all open brackets for each token, which makes that a
/// second.
const MAX_BRACKET_WORK: usize = 1024 * MAX_BYTES;

/// How YAML names a mapping whose members are to be added to the one that it stands in.
const MERGE: &str = "<<";

/// Reads a document. For the largest one this may take a second, and some tens of megabytes.
pub(super) fn document(text: &str) -> Result<Map<String, Value>, Invalid> {
    // Some editors write a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(Invalid::whole("'manifest' can't be empty"));
    }
    if text.len() > MAX_BYTES {
        return Err(too_large());
    }
    let value = if text.trim_start().starts_with('{') {
        json::read(text).map_err(|error| unreadable("JSON", &error.to_string()))?
    } else {
        yaml(text)?
    };
    let Value::Object(mut document) = value else {
        return Err(Invalid::whole("The manifest is not a JSON object or YAML mapping."));
    };
    document.iter_mut().try_for_each(|(name, value)| settle(value, name, 1))?;
    Ok(document)
}

/// Why a manifest is refused that has too many bytes as text, or as what it stands for.
pub(super) fn too_large() -> Invalid {
    Invalid::whole(format!(
        "The manifest is larger than {MAX_BYTES} bytes; in YAML an alias counts as what it stands \
         for."
    ))
}

fn unreadable(format: &str, why: &str) -> Invalid {
    Invalid::whole(format!("The manifest is not valid {format}: {}.", words(why)))
}

fn yaml(text: &str) -> Result<Value, Invalid> {
    let brackets = text.bytes().filter(|byte| b"[{".contains(byte)).count();
    if brackets.saturating_mul(text.len()) > MAX_BRACKET_WORK {
        return Err(Invalid::whole(
            "The manifest has too many brackets for YAML of its size; write it as JSON, or with \
             indented lines.",
        ));
    }
    let left_bytes = Cell::new(MAX_BYTES);
    let reader = serde_norway::Deserializer::from_str(text);
    Unique::within(&left_bytes).deserialize(reader).map_err(|error| match left_bytes.get() {
        0 => too_large(),
        _ => unreadable("YAML", &error.to_string()),
    })
}

/// Refuses what is too deep, and what other readers of YAML would replace. Makes text of numbers
/// that are others when they are read again.
fn settle(value: &mut Value, name: &str, depth: usize) -> Result<(), Invalid> {
    if depth > MAX_DEPTH {
        return Err(Invalid::whole(format!("The manifest is deeper than {MAX_DEPTH} levels.")));
    }
    if name == MERGE {
        return Err(Invalid::whole(
            "The manifest has a merge key (<<); write out the members that it stands for.",
        ));
    }
    match value {
        Value::Object(members) => {
            members.iter_mut().try_for_each(|(name, value)| settle(value, name, depth + 1))
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| settle(item, "", depth + 1)),
        Value::Number(number) if number.is_f64() => {
            let text = number.to_string();
            let again: Result<Number, _> = serde_json::from_str(&text);
            if again.is_ok_and(|again| again != *number) {
                *value = Value::String(text);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(text: &str) -> String {
        document(text).unwrap_err().message
    }

    #[test]
    fn json_and_yaml_say_the_same() {
        let wanted = json!({ "a": [1, "b", null, 0.5], "c": { "1": true } });
        for text in [
            r#" {"a": [1, "b", null, 0.5], "c": {"1": true}}"#,
            "a: [1, b, null, 0.5]\nc:\n  1: true\n",
            "---\na:\n- 1\n- b\n- ~\n- 0.5\nc: {1: true}\n...\n",
            "\u{feff}# b\n\na: &a [1, b, null, 0.5]\nc: {1: true}",
        ] {
            assert_eq!(Value::Object(document(text).unwrap()), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_one_mapping_is_refused() {
        for text in ["", " \n\t", "\u{feff}"] {
            assert_eq!(refused(text), "'manifest' can't be empty");
        }
        for text in ["# nothing", "---", "null", "5", "pod", "- a: b", "[{}]", "\"{}\""] {
            assert_eq!(refused(text), "The manifest is not a JSON object or YAML mapping.");
        }
        for (text, words) in [
            ("{\"a\": 1", "not valid JSON: EOF"),
            ("{\"a\": 1} {}", "not valid JSON: trailing characters"),
            ("{a: 1}", "not valid JSON: key must be a string"),
            ("{\"a\": {\"b\": 1, \"b\": 2}}", "not valid JSON: the key \"b\" occurs twice"),
            ("a: {b: 1, b: 2}", "the key \"b\" occurs twice"),
            ("a: 1\n\"a\": 2", "the key \"a\" occurs twice"),
            ("a: 1\n---\na: 2", "more than one document"),
            ("a: [1", "not valid YAML: "),
            ("a: *b", "not valid YAML: "),
            ("a: .nan", "a number that JSON does not have"),
            ("a: !b c", "not valid YAML: "),
            ("[1]: 2", "not valid YAML: "),
            ("a: &a {b: 1}\nc: {<<: *a}", "merge key"),
        ] {
            let message = refused(text);
            assert!(message.contains(words), "{text}: {message}");
        }
    }

    #[test]
    fn aliases_do_not_explode() {
        let mut laughs = format!("a: &a {}\n", "lol".repeat(100));
        for (name, of) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip("abcdefgh".chars()) {
            let all = vec![format!("*{of}"); 9].join(", ");
            laughs += &format!("{name}: &{name} [{all}]\n");
        }
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(200_000), "*a, ".repeat(1000));
        let many = format!("a: &a [{}]\nb: [{}]", "[], ".repeat(9000), "*a, ".repeat(1000));
        for text in [laughs, long, many] {
            assert!(refused(&text).starts_with("The manifest is larger than 524288 bytes"));
        }
        assert!(document("a: &a [1, 2]\nb: [*a, *a]").is_ok());
    }

    #[test]
    fn size_and_depth_are_limited() {
        let sized = |bytes: usize| format!("{{\"a\": \"{}\"}}", "x".repeat(bytes - 9));
        assert!(document(&sized(MAX_BYTES)).is_ok());
        assert_eq!(document(&sized(MAX_BYTES + 1)), Err(too_large()));
        let deep = |depth: usize| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(document(&deep(MAX_DEPTH - 1)).is_ok());
        assert!(refused(&deep(MAX_DEPTH + 1)).contains("deeper than 64 levels"));
    }

    #[test]
    fn brackets_are_limited_where_they_cost() {
        for text in ["[".repeat(MAX_BYTES / 2), "[#]\n".repeat(20_000), "{\"[\": ".repeat(20_000)] {
            let message = refused(&format!("a: {text}"));
            assert!(message.contains("too many brackets"), "{message}");
        }
        let most = format!("a: {}{}", "[".repeat(1023), "b, ".repeat(174_000));
        assert!(most.len() < MAX_BYTES && refused(&most).contains("not valid YAML"));
        for nested in ["- ", "? ", "&a - ", "? - "] {
            let text = nested.repeat((MAX_BYTES - 1) / nested.len());
            assert!(refused(&text).contains("not valid YAML"), "{nested}");
        }
        let line = "- {name: A, value: b}\n";
        assert!(document(&format!("a:\n{}", line.repeat(1000))).is_ok());
        let json = format!("{{\"a\": [{}[]]}}", "[], ".repeat(100_000));
        assert!(document(&json).is_ok(), "JSON has no such limit");
    }

    #[test]
    fn numbers_do_not_drift() {
        let document = document("a: 1.3306582034171921e+253\nb: 0.5\nc: 1e3").unwrap();
        let text = Value::Object(document).to_string();
        assert_eq!(text, r#"{"a":"1.3306582034171921e+253","b":0.5,"c":1000.0}"#);
    }
}
