//! The forms of what clients write, as JSON Schemas for the OpenAPI document: text, names, ids,
//! numbers, times. Patterns have the part of regular expressions that all languages share.
//!
//! Not here: what is checked (`input`, `text`), who takes what (`parameters`, `input/rule`).

use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};

use super::text::MAX_NAME_BYTES;

/// One character of text that leaves a mark: no controls, no format characters, nothing that
/// Unicode says to ignore.
pub const PLAIN: &str = "[^\
    \\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u0600-\\u0605\\u061c\\u06dd\\u070f\
    \\u0890-\\u0891\\u08e2\\u115f-\\u1160\\u17b4-\\u17b5\\u180b-\\u180f\\u200b-\\u200f\
    \\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffb\
    \u{110bd}\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\
    \u{e0000}-\u{e0fff}]";

/// A canonical uuid.
pub const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

/// The same of another version than 5.
const NEW_UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-46-9a-f][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}";

/// A time in RFC 3339.
pub const TIME: &str = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T\
    ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?\
    (Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";

/// A whole number that 64 bits hold.
pub const NUMBER: &str = "[0-9]{1,19}";

/// Words that are split as `shlex` does: quotes come in pairs, a backslash before something.
const WORDS: &str = r#"([^'"\\\u0000]|\\[^\u0000]|'[^'\u0000]*'|"([^"\\\u0000]|\\[^\u0000])*")*"#;

/// Any text.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Text of this form as a whole.
pub fn matching(pattern: &str) -> ObjectBuilder {
    text().pattern(Some(format!("^({pattern})$")))
}

/// Text that is not empty, of so many bytes, without control characters.
pub fn plain(max_bytes: usize) -> ObjectBuilder {
    matching(&format!("{PLAIN}*")).min_length(Some(1)).max_length(Some(max_bytes))
}

/// A name.
pub fn name() -> ObjectBuilder {
    plain(MAX_NAME_BYTES)
}

/// A canonical uuid.
pub fn uuid() -> ObjectBuilder {
    matching(UUID).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
}

/// A canonical uuid for a new object.
pub fn new_uuid() -> ObjectBuilder {
    matching(NEW_UUID).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
}

/// A whole number from, to.
pub fn whole(min: u64, max: u64) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(min)).maximum(Some(max))
}

/// One of these.
pub fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    text().enum_values(Some(names))
}

/// A line of words.
pub fn words() -> ObjectBuilder {
    matching(WORDS)
}

/// The same with at least one word.
pub fn command() -> ObjectBuilder {
    matching(&format!(r#"([^'"\\\s\u0000]|\\[^\s\u0000]){WORDS}"#))
}

/// A list of at most so many.
pub fn list(item: ObjectBuilder, max: usize) -> ArrayBuilder {
    ArrayBuilder::new().items(item).max_items(Some(max))
}
