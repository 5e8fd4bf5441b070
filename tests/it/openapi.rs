//! `schemas/openapi.json` is what the routes and types generate. `MAGNUM_BLESS=1` writes it again.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::Path;

use magnum::http::openapi_document as document;
use serde_json::Value::{self, Null};
use serde_json::json;

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

/// Of each operation, which of the ways are enough: each way's schemes in one word.
#[test]
fn operations_name_the_ways_in_that_they_take() {
    let document: Value = serde_json::from_str(&document()).unwrap();
    let schemes = &document["components"]["securitySchemes"];
    let form = |name: &str| ["type", "in", "scheme", "name"].map(|part| &schemes[name][part]);
    assert_eq!(form("token"), [&json!("apiKey"), &json!("header"), &Null, &json!("X-Auth-Token")]);
    assert_eq!(form("bearer"), [&json!("http"), &Null, &json!("bearer"), &Null]);
    let cookie = json!("magnum_session");
    assert_eq!(form("session"), [&json!("apiKey"), &json!("cookie"), &Null, &cookie]);
    assert_eq!(form("csrf"), [&json!("apiKey"), &json!("header"), &Null, &json!("X-CSRF-Token")]);
    let ways = |security: &Value| {
        let ways = security.as_array().unwrap().iter().map(|way| {
            let mut schemes: Vec<_> = way.as_object().unwrap().keys().cloned().collect();
            schemes.sort();
            schemes.join("+")
        });
        ways.collect::<Vec<_>>()
    };
    let mut public = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let ways = ways(operation.get("security").unwrap_or(&document["security"]));
            match method.as_str() {
                _ if ways.is_empty() => public.push(format!("{method} {path}")),
                "get" => assert_eq!(ways, ["", "token", "bearer", "session"], "{path}"),
                _ => assert_eq!(ways, ["", "token", "bearer", "csrf+session"], "{method} {path}"),
            }
        }
    }
    let stand_in = ["get /v2.0", "post /v2.0/tokens", "get /v3", "post /v3/auth/tokens"];
    let service = ["get /", "get /healthz", "get /metrics", "get /readyz"];
    assert_eq!(public, [service, stand_in].concat());
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
