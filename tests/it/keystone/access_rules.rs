//! Application credentials whose access rules allow some requests only, of a real Keystone.

use reqwest::Method;
use serde_json::{Value, json};

use super::real::{User, keystone};
use crate::harness::{Http, Server};
use crate::requests::refused;

/// A token of an application credential of somebody with these access rules.
fn token(user: &User, rules: Value) -> String {
    let admin = keystone().admin();
    let own = admin.with_token(&keystone().token(user));
    let mut wanted = json!({ "name": "c" });
    if !rules.is_null() {
        wanted["access_rules"] = rules;
    }
    let path = format!("/v3/users/{}/application_credentials", user.id);
    let made = own.post(&path, &json!({ "application_credential": wanted })).expect(201);
    let credential = &made["application_credential"];
    let by = json!({ "id": credential["id"], "secret": credential["secret"] });
    let methods = ["application_credential"];
    let identity = json!({ "methods": methods, "application_credential": by });
    let answer =
        admin.as_nobody().post("/v3/auth/tokens", &json!({ "auth": { "identity": identity } }));
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.header("x-subject-token").to_owned()
}

/// Somebody who may do all in a project, as far as rules allow it.
fn with_rules(server: &Server, rules: &[(&str, &str, &str)]) -> Http {
    let rules: Vec<_> = rules
        .iter()
        .map(
            |(service, method, path)| json!({ "service": service, "method": method, "path": path }),
        )
        .collect();
    server.with_token(&token(&keystone().user(&["member"]), rules.into()))
}

#[test]
fn a_credential_is_for_the_requests_of_its_access_rules_alone() {
    let server = Server::start(keystone().magnum());
    let some = with_rules(
        &server,
        &[
            ("container", "GET", "/v1/bays"),
            ("container-infra", "GET", "/v1/containers/{id}/logs"),
            ("container-infra", "POST", "/v1/containers"),
            ("compute", "GET", "/v1/**"),
        ],
    );
    some.get("/v1/bays").expect(200);
    // However the path is written.
    some.get("/bays/?limit=1").expect(200);
    let made = json!({ "name": "web", "image_id": "i" });
    some.post("/v1/containers", &made).expect(201);
    some.get("/v1/containers/web/logs").expect(200);
    for (method, path) in [
        (Method::GET, "/v1/containers"),
        (Method::GET, "/v1/bays/detail"),
        (Method::HEAD, "/v1/bays"),
        (Method::POST, "/v1/bays"),
        (Method::DELETE, "/v1/containers/web"),
        (Method::PUT, "/v1/containers/web/start"),
        (Method::GET, "/v1/containers/web/logs/x"),
        (Method::GET, "/v1/events"),
        (Method::POST, "/v1/session"),
    ] {
        let answer = some.send(method.clone(), path, &[], None);
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text);
    }
    let words = refused(&some.get("/v1/events"), 403);
    assert!(words.contains("access rules of the application credential"), "{words}");
}

#[test]
fn rules_allow_no_more_than_the_role_does() {
    let server = Server::start(keystone().magnum());
    let all = with_rules(&server, &[("container-infra", "GET", "/**")]);
    all.get("/v1/events").expect(200);
    refused(&all.get("/v1/replay/verify"), 403);
    let every: Vec<_> = ["GET", "POST", "DELETE"].map(|it| ("container", it, "/v1/**")).into();
    let reader = keystone().user(&["reader"]);
    let rules = every.iter().map(|(s, m, p)| json!({ "service": s, "method": m, "path": p }));
    let reader = server.with_token(&token(&reader, rules.collect()));
    reader.get("/v1/bays").expect(200);
    let words = refused(&reader.post("/v1/bays", &json!({ "name": "b" })), 403);
    assert!(words.contains("the role member"), "{words}");
    // A credential without rules is for all that its role allows.
    let user = keystone().user(&["member"]);
    let plain = server.with_token(&token(&user, Value::Null));
    plain.post("/v1/bays", &json!({ "name": "b" })).expect(201);
}
