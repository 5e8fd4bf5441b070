//! Who may do what, with a real Keystone: tokens, roles, tenancy, and the service's own identity.
//!
//! Not here: what goes on until somebody ends it (`streams`), Keystone's absence (`away`), TLS on
//! the way there (`secure`), clients (`clients`), what is the host's (`host`), Keystone itself
//! (`real`).

mod access_rules;
mod away;
mod clients;
mod host;
pub mod real;
mod secure;
mod strangers;
mod streams;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Http, PATIENCE, Server, wait_until};
use crate::requests::refused;
use crate::stream_client::{Follower, Transport};
use real::{PASSWORD, User, keystone};

/// What every refusal of somebody unknown looks like.
#[track_caller]
fn unknown(answer: &Answer) {
    assert_eq!((answer.status, &*answer.text), (401, "Authentication required"));
    assert!(answer.header("content-type").starts_with("text/plain"));
    let keystone = format!("Keystone uri='{}'", keystone().url());
    assert_eq!(answer.header("www-authenticate"), keystone);
}

/// The server as somebody.
fn as_user(server: &Server, user: &User) -> Http {
    server.with_token(&keystone().token(user))
}

fn container(name: &str) -> Value {
    json!({ "name": name, "image": "i", "environment": { "A": "secret" } })
}

#[test]
fn who_has_no_valid_token_is_unknown() {
    let server = Server::start(keystone().magnum());
    let nobody = server.as_nobody();
    let strange = "x".repeat(5000);
    for path in ["/v1", "/v1/bays", "/bays", "/v1/nodes", "/v1/events/stream", "/nowhere"] {
        unknown(&nobody.get(path));
        for token in ["bogus", "", &strange] {
            unknown(&nobody.with_token(token).get(path));
        }
    }
    unknown(&nobody.post("/v1/bays", &json!({})));
    for path in ["/", "/healthz", "/readyz", "/metrics"] {
        assert_eq!(nobody.get(path).status, 200, "{path}");
    }
    let user = keystone().user(&["member"]);
    let unscoped = keystone().token_of(&user.name, None);
    let words = refused(&server.with_token(&unscoped).get("/v1/bays"), 403);
    assert!(
        words.contains("not scoped to a project") && words.contains("OS_PROJECT_NAME"),
        "{words}"
    );
    let token = keystone().token(&user);
    server.with_token(&token).get("/v1/bays").expect(200);
    keystone().revoke(&token);
    wait_until("the revocation to be noticed", PATIENCE, || {
        let answer = server.with_token(&token).get("/v1/bays");
        let is_unknown = answer.status == 401;
        if is_unknown {
            unknown(&answer);
        } else {
            answer.expect(200);
        }
        is_unknown
    });
    // Strangers leave nothing in the log, and no token in what the service writes.
    let events = server.get("/v1/events?kind=audit").expect(200);
    assert_eq!(events["events"], json!([]));
    for secret in [&*token, "bogus", PASSWORD, keystone().admin_token()] {
        assert!(!server.stderr().contains(secret));
    }
}

/// Every method of every path that the document describes.
fn operations(server: &Http) -> Vec<(Method, String)> {
    let document = server.get("/v1/openapi.json").expect(200);
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap();
        methods.keys().filter(|name| *name != "parameters").map(move |name| {
            (name.to_uppercase().parse().unwrap(), path.replace("{ident}", "none"))
        })
    });
    methods.collect()
}

#[test]
fn each_role_may_do_what_it_is_for() {
    let server = Server::start(keystone().magnum());
    let operations = operations(&server);
    assert!(operations.len() > 60);
    for (role, looks, changes, rules, operates) in [
        ("service", false, false, false, false),
        ("reader", true, false, false, false),
        ("member", true, true, false, false),
        ("manager", true, true, false, false),
        // In a project of theirs, and in the project of the operators.
        ("admin", true, true, true, false),
        ("admin", true, true, true, true),
    ] {
        let user =
            if operates { server.http() } else { as_user(&server, &keystone().user(&[role])) };
        for (method, path) in &operations {
            // Nothing is where this service would answer for a Keystone that is not asked.
            let is_identity = path.starts_with("/v2.0") || path.starts_with("/v3");
            let is_public =
                is_identity || ["/", "/healthz", "/readyz", "/metrics"].contains(&&**path);
            // These answer for as long as one listens; their right is `streams`' subject.
            if path.ends_with("/stream") && looks {
                continue;
            }
            // A session changes nothing but what its owner's browser sends, and the output of a
            // command is for those who may execute one.
            let is_output = path.ends_with("/output");
            let is_read = *method == Method::GET && !is_output || path == "/v1/session";
            let is_for_operators =
                path == "/v1/replay/verify" || !is_read && path.starts_with("/v1/nodes");
            let is_for_rulers = !is_read && path.starts_with("/v1/keys");
            let may = match (is_public, is_for_operators, is_for_rulers, is_read) {
                (true, ..) => true,
                (_, true, ..) => operates,
                (_, _, true, _) => rules,
                (.., true) => looks,
                (.., false) => changes,
            };
            let answer = user.send(method.clone(), path, &[], None);
            assert_eq!(answer.status != 403, may, "{role}: {method} {path}: {}", answer.text);
            assert_ne!(answer.status, 401, "{role}: {method} {path}");
            if !may {
                let words = refused(&answer, 403);
                assert!(words.contains("admin") && words.contains(role), "{words}");
            }
        }
    }
}

#[test]
fn what_somebody_may_not_do_is_on_record_in_their_project() {
    let server = Server::start(keystone().magnum());
    let reader = keystone().user(&["reader"]);
    let http = as_user(&server, &reader);
    refused(&http.put("/v1/containers/web/start"), 403);
    for query in ["", "?kind=audit", "?type=audit.command_refused"] {
        let page = http.get(&format!("/v1/events{query}")).expect(200);
        assert_eq!(page["events"], json!([]), "who only looks sees no audit: {query}");
    }
    let colleague = as_user(&server, &keystone().colleague(&reader, &["member"]));
    let page = colleague.get("/v1/events?kind=audit").expect(200);
    let event = &page["events"][0];
    assert_eq!(page["events"].as_array().unwrap().len(), 1, "{page}");
    assert_eq!(event["type"], "magnum.audit.command_refused.v1");
    assert_eq!((&event["user"], &event["project"]), (&json!(reader.id), &json!(reader.project_id)));
    assert_eq!(
        (&event["data"]["object"], &event["data"]["command"]),
        (&json!("container/web"), &json!("start"))
    );
    assert_eq!(event["data"]["code"], "forbidden");
    let other = as_user(&server, &keystone().user(&["member"]));
    assert_eq!(other.get("/v1/events").expect(200)["events"], json!([]));
}

/// F34: neither objects, by id or by name, nor events, traces, keys and what the debugger finds.
#[test]
fn nobody_sees_or_reaches_what_is_of_another_project() {
    let server = Server::start(keystone().magnum());
    let owner = keystone().user(&["member"]);
    let (mine, theirs) = (as_user(&server, &owner), as_user(&server, &keystone().user(&["admin"])));
    let key = [("idempotency-key", "k")];
    let made = mine.send(Method::POST, "/v1/containers", &key, Some(&container("web")));
    let request = made.header("x-openstack-request-id").to_owned();
    let at = made.header("x-magnum-position").to_owned();
    let made = made.expect(201);
    let (uuid, bay) = (made["uuid"].as_str().unwrap(), made["bay_uuid"].as_str().unwrap());
    let model = mine.get("/v1/baymodels").expect(200)["baymodels"][0]["uuid"].take();
    let model = model.as_str().unwrap();
    for (noun, ident) in [
        ("containers", uuid),
        ("containers", "web"),
        ("bays", bay),
        ("bays", "default"),
        ("baymodels", model),
    ] {
        for verb in [
            "",
            "/history",
            "/state",
            "/timeline",
            "/blame?field=name",
            "/why",
            "/what-if",
            "/bundle",
            "/diff",
            &format!("?at={at}"),
        ] {
            let path = format!("/v1/{noun}/{ident}{verb}");
            let own = mine.get(&path).status;
            assert!(own == 200 || own == 400, "{path}: {own}");
            assert_eq!(theirs.get(&path).status, 404, "{path}");
        }
        refused(&theirs.delete(&format!("/v1/{noun}/{ident}")), 404);
        let rename = json!([{ "op": "replace", "path": "/name", "value": "x" }]);
        refused(&theirs.patch(&format!("/v1/{noun}/{ident}"), &rename), 404);
        for list in [noun.to_owned(), format!("{noun}/detail"), format!("{noun}?at={at}")] {
            let body = theirs.get(&format!("/v1/{list}")).expect(200);
            let rows = body[noun].as_array().unwrap().iter();
            // Their own built-in one is there.
            let foreign = rows.filter(|row| noun != "baymodels" || row["uuid"] == *model);
            assert_eq!(foreign.count(), 0, "{list}");
        }
    }
    for action in ["start", "stop", "execute?command=ls", "kill"] {
        refused(&theirs.put(&format!("/v1/containers/{uuid}/{action}")), 404);
    }
    refused(&theirs.get(&format!("/v1/containers/{uuid}/logs")), 404);
    refused(&theirs.post("/v1/bays", &json!({ "name": "b", "baymodel_id": model })), 400);
    let in_bay = json!({ "name": "c", "image": "i", "bay_uuid": bay });
    refused(&theirs.post("/v1/containers", &in_bay), 400);
    logs_and_keys_are_apart(&mine, &theirs, &owner, &request, uuid);
    // The same key of somebody else is another key.
    let again = theirs.send(Method::POST, "/v1/containers", &key, Some(&container("other")));
    assert_ne!(again.expect(201)["uuid"], uuid);
    assert_eq!(mine.get("/v1/containers/web").expect(200)["status"], "Stopped");
}

/// The log, its searches and the sealing keys.
fn logs_and_keys_are_apart(mine: &Http, theirs: &Http, owner: &User, request: &str, uuid: &str) {
    let events = |http: &Http, query: &str| {
        let page = http.get(&format!("/v1/events?{query}")).expect(200);
        page["events"].as_array().unwrap().clone()
    };
    let own = events(mine, "limit=1000");
    assert!(own.iter().all(|event| event["project"] == *owner.project_id), "{own:?}");
    let asked = own.iter().find(|event| event["type"] == "magnum.container.create_requested.v1");
    let asked = asked.unwrap();
    assert_eq!(asked["user"], *owner.id);
    assert!(asked["roles"].as_str().is_none_or(|roles| roles.contains("member")), "{asked}");
    for query in
        [format!("object={uuid}"), format!("request_id={request}"), "type=container.created".into()]
    {
        assert!(!events(mine, &query).is_empty(), "{query}");
        assert!(events(theirs, &query).is_empty(), "{query}");
    }
    refused(&theirs.get(&format!("/v1/events?project={}", owner.project_id)), 400);
    assert_eq!(mine.get(&format!("/v1/trace/{request}")).status, 200);
    refused(&theirs.get(&format!("/v1/trace/{request}")), 404);
    let found = theirs.get("/v1/replay/find?condition=name==%22web%22").text;
    assert!(!found.contains(uuid), "{found}");
    let diff = theirs.get("/v1/replay/diff");
    assert!(!diff.text.contains(uuid), "{}", diff.text);
    let key = mine.get("/v1/keys").expect(200)["keys"][0]["id"].take();
    assert_ne!(theirs.get("/v1/keys").expect(200)["keys"][0]["id"], key);
    refused(&theirs.delete(&format!("/v1/keys/{}", key.as_str().unwrap())), 404);
}

#[test]
fn nodes_are_for_operators_and_hold_what_is_of_every_project() {
    let server = Server::start(keystone().magnum());
    let member = as_user(&server, &keystone().user(&["member"]));
    // In the project `admin`, which Keystone begins with.
    let admin = server.http();
    let node = admin.get("/v1/nodes").expect(200)["nodes"][0]["uuid"].take();
    let node = format!("/v1/nodes/{}", node.as_str().unwrap());
    admin.get(&format!("{node}/history")).expect(200);
    // An admin of any other project is no operator.
    let other = as_user(&server, &keystone().user(&["admin"]));
    for user in [&member, &other] {
        assert_eq!(user.get("/v1/nodes").expect(200)["nodes"], json!([]));
        for path in [node.clone(), format!("{node}/history"), format!("{node}/why")] {
            assert_eq!(user.get(&path).status, 404, "{path}");
        }
        refused(&user.delete(&node), 403);
        refused(&user.get("/v1/replay/verify"), 403);
        refused(&user.get("/v1/events?kind=node&project=default"), 400);
        assert_eq!(user.get("/v1/events?kind=node").expect(200)["events"], json!([]));
    }
    admin.get("/v1/replay/verify").expect(200);
    let events = admin.get("/v1/events?kind=node&project=default").expect(200);
    assert_eq!(events["events"][0]["project"], "default", "{events}");
    let query = "after=0&kind=node&project=default";
    let event = Follower::open(&admin, Transport::Lines, query, None).unwrap().event();
    assert_eq!(event.data["project"], "default");
    member.post("/v1/containers", &container("web")).expect(201);
    let made = admin.post("/v1/nodes", &json!({ "type": "rack" })).expect(201);
    let made = format!("/v1/nodes/{}", made["uuid"].as_str().unwrap());
    let image = json!([{ "op": "add", "path": "/image_id", "value": "x" }]);
    admin.patch(&made, &image).expect(200);
    admin.delete(&made).expect(204);
    let words = refused(&admin.delete(&node), 409);
    assert!(words.contains("a bay is on it"), "{words}");
}

/// F36: work is done under the identity of the service, so nobody who leaves blocks any.
#[test]
fn work_goes_on_when_whoever_asked_for_it_has_left() {
    let server = Server::start(keystone().magnum());
    let gone = keystone().user(&["member"]);
    let colleague = as_user(&server, &keystone().colleague(&gone, &["member"]));
    as_user(&server, &gone).post("/v1/containers", &container("web")).expect(201);
    keystone().admin().delete(&format!("/v3/users/{}", gone.id)).expect(204);
    colleague.put("/v1/containers/web/start").expect(200);
    assert_eq!(colleague.get("/v1/containers/web").expect(200)["status"], "Running");
    colleague.delete("/v1/containers/web").expect(204);
    assert_eq!(colleague.get("/v1/containers").expect(200)["containers"], json!([]));
}

/// F36: what is wrong with the service's own credential is said, and heals with it.
#[test]
fn a_service_that_keystone_does_not_know_any_more_says_what_to_check() {
    let service = keystone().user(&["service"]);
    let user = keystone().user(&["reader"]);
    let mut own = keystone().another("");
    let server = Server::start(
        own.magnum()
            .arg(&format!("--keystone-username={}", service.name))
            .arg(&format!("--keystone-project={}", service.project)),
    );
    let user = as_user(&server, &user);
    user.get("/v1/bays").expect(200);
    own.enable("user", &service.id, false);
    wait_until("the service to be locked out", PATIENCE, || {
        let answer = user.get("/v1/bays");
        assert!([200, 503].contains(&answer.status), "{}", answer.text);
        answer.status == 503
    });
    let words = refused(&user.get("/v1/bays"), 503);
    assert!(
        words.contains("do not accept each other") && !words.contains("unavailable"),
        "{words}"
    );
    let problems = not_ready(&server);
    assert!(problems.contains("--keystone-password-file"), "{problems}");
    let said = server.stderr();
    assert!(
        said.contains("--keystone-password-file") && said.contains("does not accept"),
        "{said}"
    );
    own.enable("user", &service.id, true);
    // The old token stays revoked: this takes a new one.
    wait_until("the service to be back", PATIENCE, || server.get("/readyz").status == 200);
    wait_until("requests to be served", PATIENCE, || user.get("/v1/bays").status == 200);
    let roles = format!("/v3/projects/{}/users/{}/roles", service.project_id, service.id);
    let right = format!("{roles}/{}", own.role("service"));
    own.admin().delete(&right).expect(204);
    own.admin().put(&format!("{roles}/{}", own.role("reader"))).expect(204);
    wait_until("the missing right to be noticed", PATIENCE, || {
        user.get("/v1/bays");
        server.stderr().contains("has the role service or admin")
    });
    // What Keystone says of tokens that are none does not show that the service may ask.
    assert_eq!(user.with_token("bogus").get("/v1/bays").status, 401);
    assert!(not_ready(&server).contains("has the role service or admin"));
    own.admin().put(&right).expect(204);
    wait_until("the right to be noticed", PATIENCE, || server.get("/readyz").status == 200);
    wait_until("requests to be served", PATIENCE, || user.get("/v1/bays").status == 200);
    own.stop();
}

/// Why a server is not ready, as anybody may read.
#[track_caller]
fn not_ready(server: &Http) -> String {
    let readiness = server.as_nobody().get("/readyz");
    assert_eq!(readiness.status, 503, "{}", readiness.text);
    let problems = readiness.json["problems"].to_string();
    assert!(problems.contains("no request can be authenticated since"), "{problems}");
    assert!(!problems.contains("//"), "no address: {problems}");
    let metrics = server.as_nobody().get("/metrics").text;
    assert!(metrics.contains("magnum_authentication_healthy 0"), "{metrics}");
    problems
}
