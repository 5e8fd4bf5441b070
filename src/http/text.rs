//! Text from clients: canonical ids, numbers, arguments, and how an error repeats a value.

use uuid::Uuid;

use super::error::ApiError;
use crate::ids::ObjectId;

/// Longest name, identifier and key, in bytes: a column of the 2015 database.
pub const MAX_NAME_BYTES: usize = 255;

/// The version of the uuids that the service derives from texts: 5, SHA-1.
const DERIVED_VERSION: usize = 5;

/// Longest part of a bad value that an error repeats, in characters.
const MAX_SHOWN_CHARS: usize = 64;

/// The id of an object that follows from texts (version 5), another one in every installation:
/// two of them may share an engine. Whoever knows the texts can compute it, so no client may choose
/// such an id ([`is_derived`]). Other texts have another id, wherever one ends and the next begins.
pub fn derived_id(installation: Uuid, texts: [&str; 3]) -> ObjectId {
    let [one, two, three] = texts;
    let (ones, twos, threes) = (one.len(), two.len(), three.len());
    let text = format!("{ones}:{one},{twos}:{two},{threes}:{three},");
    ObjectId(Uuid::new_v5(&installation, text.as_bytes()))
}

/// Whether an id is of the kind that the service derives.
pub fn is_derived(id: ObjectId) -> bool {
    id.0.get_version_num() == DERIVED_VERSION
}

/// A value as an error repeats it: short, in one line.
pub fn shown(value: &str) -> String {
    let mut text: String =
        value.chars().take(MAX_SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if value.chars().nth(MAX_SHOWN_CHARS).is_some() {
        text.push('…');
    }
    text
}

/// A canonical, lower-case uuid.
pub fn canonical_uuid(text: &str) -> Option<ObjectId> {
    let id = Uuid::parse_str(text).ok()?;
    (id.hyphenated().to_string() == text).then_some(ObjectId(id))
}

/// A whole number in an argument.
pub fn number(name: &str, text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::field(name, shown(text), "Use a non-negative whole number."))
}

/// The arguments of a query.
pub fn arguments(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    // The parser puts the replacement character for bytes that are not UTF-8.
    if pairs.iter().any(|(key, value)| key.contains('\u{fffd}') || value.contains('\u{fffd}')) {
        return Err(ApiError::BadRequest("The query is not valid UTF-8.".to_owned()));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_canonical_or_nothing() {
        let text = "3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";
        assert!(canonical_uuid(text).is_some());
        assert!(canonical_uuid(&text.to_uppercase()).is_none());
        assert!(canonical_uuid(&text.replace('-', "")).is_none());
        assert!(canonical_uuid("b").is_none());
    }

    #[test]
    fn derived_ids_tell_texts_apart_by_where_they_end() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let id = derived_id(one, ["a", "b/k", "container"]);
        assert_eq!(id, derived_id(one, ["a", "b/k", "container"]), "the same each time");
        assert_ne!(id, derived_id(one, ["a/b", "k", "container"]));
        assert_ne!(id, derived_id(one, ["a", "b", "k/container"]));
        assert_ne!(id, derived_id(other, ["a", "b/k", "container"]));
        assert!(is_derived(id));
        assert!(!is_derived(crate::clock::new_object_id()));
        assert!(!is_derived("3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f".parse().unwrap()));
    }

    #[test]
    fn values_in_errors_are_short_and_in_one_line() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert!(shown(&"x".repeat(1000)).chars().count() <= MAX_SHOWN_CHARS + 1);
    }
}
