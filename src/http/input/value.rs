//! Text and whole numbers as clients write them, or what is wrong with them.

use serde_json::Value;

use crate::text::{composed, is_hidden, misleads};

/// Longest text where the 2015 API names no length: a description, a public key.
pub const MAX_TEXT_BYTES: usize = 4096;

/// A name, in the form in which names are compared.
pub fn name(value: &Value, max: usize) -> Result<String, String> {
    let name = composed(text(value, max)?);
    // Few letters are longer in this form.
    if name.len() > max { Err(too_long(max, name.len())) } else { Ok(name.into_owned()) }
}

/// Text without hidden characters.
pub fn text(value: &Value, max: usize) -> Result<&str, String> {
    without(is_hidden, value, max)
}

/// Text of a person, of several lines perhaps: in some languages words contain joiners, which are
/// hidden.
pub fn prose(value: &Value, max: usize) -> Result<&str, String> {
    let is_refused = |it| misleads(it) && !matches!(it, '\n' | '\r' | '\t');
    without(is_refused, value, max)
}

/// Text of a length without some characters.
fn without(is_refused: fn(char) -> bool, value: &Value, max: usize) -> Result<&str, String> {
    let Value::String(text) = value else {
        return Err(format!("Wrong type. Expected a string, got {}.", type_name(value)));
    };
    if text.is_empty() {
        return Err("Value should have a minimum character requirement of 1.".to_owned());
    }
    if text.len() > max {
        return Err(too_long(max, text.len()));
    }
    match text.chars().find(|character| is_refused(*character)) {
        Some(character) => Err(format!("Value contains {}.", shown_hidden(character))),
        None => Ok(text),
    }
}

fn too_long(max: usize, bytes: usize) -> String {
    format!("Value should have a maximum of {max} bytes; it has {bytes}.")
}

/// A hidden character, for people.
pub fn shown_hidden(character: char) -> String {
    let what = if character.is_control() { "control" } else { "invisible" };
    format!("the {what} character U+{:04X}", character as u32)
}

/// A whole number, also as text.
pub fn integer(value: &Value, min: u64, max: u64) -> Result<u64, String> {
    let number = match value {
        Value::Number(number) => number
            .as_i128()
            .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i128)),
        Value::String(text) => text.trim().parse().ok(),
        _ => return Err(format!("Wrong type. Expected an integer, got {}.", type_name(value))),
    };
    let Some(number) = number else {
        return Err("Value is not a whole number.".to_owned());
    };
    if number < i128::from(min) {
        return Err(format!("Value should be greater or equal to {min}"));
    }
    u64::try_from(number)
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(|| format!("Value should be lower or equal to {max}"))
}

/// What a JSON value is, for people.
pub const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_come_as_numbers_or_text() {
        assert_eq!(integer(&json!(3), 1, 10), Ok(3));
        assert_eq!(integer(&json!("3"), 1, 10), Ok(3));
        assert_eq!(integer(&json!(3.0), 1, 10), Ok(3));
        for bad in [
            json!(0),
            json!(-1),
            json!("x"),
            json!(""),
            json!(3.5),
            json!([]),
            json!(true),
            json!(11),
            json!(1e300),
            json!(u64::MAX),
            json!("99999999999999999999999999999999999999999"),
        ] {
            assert!(integer(&bad, 1, 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn huge_and_negative_numbers_are_told_which_side_they_are_on() {
        assert!(integer(&json!(-5), 1, 10).unwrap_err().contains("greater or equal to 1"));
        assert!(integer(&json!(1e19), 1, 10).unwrap_err().contains("lower or equal to 10"));
        assert!(integer(&json!(u64::MAX), 0, 10).unwrap_err().contains("lower or equal to 10"));
    }

    #[test]
    fn names_have_no_hidden_characters_and_a_length() {
        assert!(text(&json!("web 1 ü"), 255).is_ok());
        for bad in [
            json!(""),
            json!("a\nb"),
            json!("\u{0}"),
            json!("\u{85}"),
            json!("a\u{200b}"),
            json!("a\u{200d}b"),
            json!("\u{202e}cod.exe"),
            json!("a\u{2028}b"),
            json!("a\u{e0041}"),
            json!("\u{feff}a"),
            json!("\u{3164}"),
            json!(5),
            json!({}),
        ] {
            assert!(text(&bad, 255).is_err(), "{bad}");
            assert!(name(&bad, 255).is_err(), "{bad}");
        }
        let refused = text(&json!("\u{202e}"), 255).unwrap_err();
        assert_eq!(refused, "Value contains the invisible character U+202E.");
        assert!(text(&json!("x".repeat(255)), 255).is_ok());
        assert!(text(&json!("ü".repeat(128)), 255).is_err());
    }

    #[test]
    fn prose_may_join_letters_and_nothing_else() {
        for good in ["می\u{200c}خواهم", "👩\u{200d}🚒", "a b", "a\n\tb\r\n"] {
            assert_eq!(prose(&json!(good), 255), Ok(good));
        }
        for bad in
            ["a\u{b}b", "a\u{1b}[2J", "a\u{202e}b", "a\u{200b}b", "a\u{2029}b", "a\u{e0041}b"]
        {
            assert!(prose(&json!(bad), 255).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_kept_in_one_form() {
        for written in ["caf\u{e9}", "cafe\u{301}"] {
            assert_eq!(name(&json!(written), 255).as_deref(), Ok("café"));
        }
        assert!(name(&json!("\u{958}".repeat(85)), 255).is_err(), "6 bytes each instead of 3");
    }
}
