//! Text and whole numbers as clients write them, or what is wrong with them.

use serde_json::Value;

/// Longest text where the 2015 API names no length: a description, a public key, a folder.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Text without control characters.
pub fn text(value: &Value, max: usize) -> Result<&str, String> {
    let Value::String(text) = value else {
        return Err(format!("Wrong type. Expected a string, got {}.", type_name(value)));
    };
    if text.is_empty() {
        return Err("Value should have a minimum character requirement of 1.".to_owned());
    }
    if text.len() > max {
        return Err(format!("Value should have a maximum of {max} bytes; it has {}.", text.len()));
    }
    match text.chars().find(|char| char.is_control()) {
        Some(char) => Err(format!("Value contains the control character U+{:04X}.", char as u32)),
        None => Ok(text),
    }
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
    fn names_have_no_control_characters_and_a_length() {
        assert!(text(&json!("web 1 ü"), 255).is_ok());
        for bad in [json!(""), json!("a\nb"), json!("\u{0}"), json!("\u{85}"), json!(5), json!({})]
        {
            assert!(text(&bad, 255).is_err(), "{bad}");
        }
        assert!(text(&json!("x".repeat(255)), 255).is_ok());
        assert!(text(&json!("ü".repeat(128)), 255).is_err());
    }
}
