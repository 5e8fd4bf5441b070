//! `schemas/openapi.json` is what the routes and types generate. `MAGNUM_BLESS=1` writes it again.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::Path;

use magnum::http::openapi_document as document;
use serde_json::Value;

#[test]
fn the_file_is_what_the_routes_and_types_generate() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json");
    if env::var_os("MAGNUM_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, document()).unwrap();
    }
    let file = fs::read_to_string(&path).unwrap_or_default();
    assert!(file == document(), "run this test with MAGNUM_BLESS=1 and look at the difference");
}

#[test]
fn it_is_openapi_3_1_and_every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(&document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut references = HashSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 15, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn operations_have_names_of_their_own() {
    let document: Value = serde_json::from_str(&document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
    let names: Vec<_> = operations.filter_map(|o| o["operationId"].as_str()).collect();
    assert!(names.len() > 40, "{names:?}");
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
}

/// Every `$ref` of a document.
fn collect(value: &Value, references: &mut HashSet<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
