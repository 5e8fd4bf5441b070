//! A document field by field: `tasks.0.action`. Lists of plain values are one field.

use serde_json::{Map, Value};

/// All fields of a document, in its order.
pub fn flatten(document: &Value) -> Map<String, Value> {
    let mut fields = Map::new();
    walk(String::new(), document, &mut fields);
    fields
}

fn walk(path: String, value: &Value, fields: &mut Map<String, Value>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(inner) => inner.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().map(|(place, value)| (place.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    if inner.is_empty() {
        fields.insert(path, value.clone());
        return;
    }
    for (name, value) in inner {
        walk(below(&path, &name), value, fields);
    }
}

/// A field below a path.
fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_flattened_to_what_can_be_compared() {
        let document = json!({"a": {"b": 1, "c": []}, "d": [{"e": null}, {"e": "x"}], "f": [1, 2]});
        let fields = Value::Object(flatten(&document));
        assert_eq!(fields, json!({"a.b": 1, "a.c": [], "d.0.e": null, "d.1.e": "x", "f": [1, 2]}));
    }
}
