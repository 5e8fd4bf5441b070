//! Tokens that the service issues itself: they let their users in until they end, beside a running
//! server too, and stand for themselves or behind the cookie of a browser.
//!
//! Not here: what each role may do (`rights`).

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;
use std::thread;

use reqwest::Method;
use serde_json::json;

use crate::harness::{Done, Http, PATIENCE, Server, run, wait_until};
use crate::requests::{baymodel, refused};
use crate::rights::Issuer;
use crate::secrets::files_with;
use crate::stream_client::{Follower, TRANSPORTS, Transport};

/// `magnum token` on a data directory, as JSON.
fn token(data: &Path, args: &[&str]) -> Done {
    let mut magnum = Command::new(env!("CARGO_BIN_EXE_magnum"));
    run(magnum.args(["-o", "json", "token"]).args(args).arg("--data").arg(data))
}

/// Issues one: its text and its id.
fn create(data: &Path, project: &str, role: &str) -> (String, String) {
    let args = ["create", "--project", project, "--user", "ann", "--role", role];
    let made = token(data, &args).json();
    let field = |name: &str| made[name].as_str().unwrap().to_owned();
    (field("token"), field("id"))
}

fn is_let_in(http: &Http) -> bool {
    let answer = http.get("/v1/bays");
    assert!([200, 401].contains(&answer.status), "{}", answer.text);
    answer.status == 200
}

#[test]
fn a_token_is_accepted_until_it_is_revoked_without_a_restart() {
    let issuer = Issuer::new();
    let server = Server::start(issuer.options());
    let unknown = server.as_nobody().get("/v1/bays");
    assert_eq!(
        (unknown.status, unknown.header("www-authenticate")),
        (401, "Bearer realm=\"magnum\"")
    );
    let (text, id) = create(issuer.data(), "shop", "admin");
    let user = server.with_token(&text);
    wait_until("the token to be accepted", PATIENCE, || is_let_in(&user));
    let bearer = format!("Bearer {text}");
    let bearer = [("authorization", &*bearer)];
    server.as_nobody().send(Method::GET, "/v1/bays", &bearer, None).expect(200);
    user.post("/v1/baymodels", &baymodel("b")).expect(201);
    assert_eq!(server.get("/v1/baymodels?name=b").expect(200)["baymodels"], json!([]), "another's");
    let listed = token(issuer.data(), &["list"]).json();
    let row = listed.as_array().unwrap().iter().find(|row| row["id"] == *id).unwrap();
    assert_eq!(
        (&row["project"], &row["user"], &row["role"]),
        (&json!("shop"), &json!("ann"), &json!("admin"))
    );
    assert_eq!((row.get("hash"), row.get("token")), (None, None));
    let mut stream = Follower::open(&user, Transport::Sse, "after=latest", None).unwrap();
    assert_eq!(stream.next().unwrap().control, "heartbeat");
    assert_eq!(token(issuer.data(), &["revoke", &id]).code, 0);
    wait_until("the token to be refused", PATIENCE, || !is_let_in(&user));
    assert_eq!(stream.last().data["code"], "unauthenticated");
    assert_eq!(token(issuer.data(), &["revoke", &id]).code, 1);
    both_are_on_record(&issuer, &server, &id);
    // Nowhere is more of it than its hash.
    assert_eq!(files_with(issuer.data(), &text), Vec::<std::path::PathBuf>::new());
    assert!(!server.stderr().contains(&text));
}

/// That a token was issued and revoked, each once.
fn both_are_on_record(issuer: &Issuer, server: &Server, id: &str) {
    let (text, _) = create(issuer.data(), "shop", "member");
    let colleague = server.with_token(&text);
    wait_until("the colleague to be accepted", PATIENCE, || is_let_in(&colleague));
    let count = |name: &str| {
        let page = colleague.get(&format!("/v1/events?type=audit.{name}")).expect(200);
        let events = page["events"].as_array().unwrap();
        events.iter().filter(|event| event["data"]["token"] == *id).count()
    };
    wait_until("the revocation to be recorded", PATIENCE, || count("token_revoked") == 1);
    assert_eq!(count("token_created"), 1);
}

#[test]
fn the_command_takes_a_token_from_its_variable() {
    let issuer = Issuer::new();
    let (text, _) = create(issuer.data(), "shop", "reader");
    let server = Server::start(issuer.options());
    let list = |name: &str, value: &str| {
        let mut magnum = Command::new(env!("CARGO_BIN_EXE_magnum"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OS_")) {
            magnum.env_remove(name);
        }
        run(magnum.arg("bay-list").env("MAGNUM_URL", server.url()).env(name, value))
    };
    assert_eq!(list("MAGNUM_TOKEN", &text).code, 0);
    assert_eq!(list("OS_TOKEN", &text).code, 0);
    let none = list("MAGNUM_TOKEN", "");
    assert!(none.code == 1 && none.err.contains("MAGNUM_TOKEN"), "{none:?}");
}

#[test]
fn a_token_that_cannot_be_is_not_issued() {
    let issuer = Issuer::new();
    let args = |project: &'static str, role: &'static str| {
        ["create", "--project", project, "--user", "ann", "--role", role]
    };
    let own = token(issuer.data(), &args("default", "admin"));
    assert!(own.code == 1 && own.err.contains("the service's own"), "{own:?}");
    assert_eq!(token(issuer.data(), &args("a/b", "admin")).code, 1);
    assert_eq!(token(issuer.data(), &args("shop", "boss")).code, 2);
    let past = [&args("shop", "admin")[..], &["--expires", "2001-01-01T00:00:00Z"]].concat();
    assert_eq!(token(issuer.data(), &past).code, 1);
    for late in ["4000000d", "4294967295d"] {
        let late = [&args("shop", "admin")[..], &["--expires", late]].concat();
        let late = token(issuer.data(), &late);
        assert!(late.code == 1 && late.err.contains("9999-12-31"), "{late:?}");
    }
    assert_eq!(token(issuer.data(), &["list"]).code, 0);
    let soon = [&args("shop", "admin")[..], &["--expires", "1d"]].concat();
    assert!(token(issuer.data(), &soon).json()["expires_at"].is_string());
}

/// What another user wrote, the server could not read: nobody would be let in.
#[test]
fn the_list_of_another_user_is_not_changed() {
    let issuer = Issuer::new();
    let (_, id) = create(issuer.data(), "shop", "admin");
    let list = issuer.data().join("tokens");
    let before = fs::read(&list).unwrap();
    chown(issuer.data(), Some(65_534), None).unwrap();
    chown(&list, Some(65_534), None).unwrap();
    let create = ["create", "--project", "shop", "--user", "bob", "--role", "admin"];
    for args in [&create[..], &["revoke", &id]] {
        let refused = token(issuer.data(), args);
        assert!(refused.code == 1 && refused.err.contains("run it as user 65534"), "{refused:?}");
    }
    assert_eq!((fs::metadata(&list).unwrap().uid(), fs::read(&list).unwrap()), (65_534, before));
}

/// Begins a session: its cookie and the secret of its page.
fn begin_session(server: &Server, token: &str) -> (String, String) {
    let answer = server.with_token(token).send(Method::POST, "/v1/session", &[], None);
    let cookie = answer.header("set-cookie").to_owned();
    for part in ["Path=/", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let csrf = answer.expect(200)["csrf_token"].as_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("magnum_session=") && !cookie.contains(token), "{cookie}");
    (cookie, csrf)
}

#[test]
fn a_browser_needs_its_cookie_and_for_changes_the_secret_of_its_page() {
    let issuer = Issuer::new();
    let (text, id) = create(issuer.data(), "shop", "member");
    let server = Server::start(issuer.options());
    let nobody = server.as_nobody();
    assert_eq!(nobody.send(Method::POST, "/v1/session", &[], None).status, 401);
    let begin = || begin_session(&server, &text);
    let (cookie, csrf) = begin();
    let (plain, page) = ([("cookie", &*cookie)], [("cookie", &*cookie), ("x-csrf-token", &*csrf)]);
    let who = nobody.send(Method::GET, "/v1/session", &plain, None).expect(200);
    assert_eq!(who, json!({ "user": "ann", "project": "shop", "roles": ["member"] }));
    let model = baymodel("b");
    let forged = [("cookie", &*cookie), ("x-csrf-token", "x")];
    for headers in [&plain[..], &forged] {
        let answer = nobody.send(Method::POST, "/v1/baymodels", headers, Some(&model));
        refused(&answer, 403);
        assert_eq!(answer.json["errors"][0]["code"], "csrf-token");
    }
    let foreign = [&page[..], &[("origin", "http://elsewhere")]].concat();
    refused(&nobody.send(Method::POST, "/v1/baymodels", &foreign, Some(&model)), 403);
    nobody.send(Method::POST, "/v1/baymodels", &page, Some(&model)).expect(201);
    let again = nobody.send(Method::POST, "/v1/session", &page, None);
    assert!(refused(&again, 400).contains("X-Auth-Token"), "it would have no end");
    let other = begin();
    refused(&nobody.send(Method::DELETE, "/v1/session", &plain, None), 403);
    let ended = nobody.send(Method::DELETE, "/v1/session", &page, None);
    assert!(ended.header("set-cookie").contains("Max-Age=0"));
    ended.expect(204);
    assert_eq!(nobody.send(Method::GET, "/v1/bays", &page, None).status, 401);
    let other = [("cookie", &*other.0)];
    nobody.send(Method::GET, "/v1/bays", &other, None).expect(200);
    assert_eq!(token(issuer.data(), &["revoke", &id]).code, 0);
    wait_until("the session to end with its token", PATIENCE, || {
        nobody.send(Method::GET, "/v1/bays", &other, None).status == 401
    });
}

#[test]
fn what_a_session_has_opened_ends_with_it() {
    let issuer = Issuer::new();
    let (text, id) = create(issuer.data(), "shop", "member");
    let server = Server::start(issuer.options());
    let (nobody, user) = (server.as_nobody(), server.with_token(&text));
    user.post("/v1/containers", &json!({ "name": "web", "image_id": "i" })).expect(201);
    user.put("/v1/containers/web/start").expect(200);
    let (ended, other) = (begin_session(&server, &text), begin_session(&server, &text));
    let open = |cookie: &str| {
        TRANSPORTS.map(|transport| {
            let headers = [("cookie", cookie.to_owned())];
            let stream =
                Follower::open_with(&nobody, transport, "after=latest&kind=baymodel", &headers);
            let mut stream = stream.unwrap();
            assert_eq!(stream.next().unwrap().control, "heartbeat");
            stream
        })
    };
    let (streams, mut others) = (open(&ended.0), open(&other.0));
    let (browser, cookie) = (server.as_nobody(), ended.0.clone());
    let log = thread::spawn(move || {
        let cookie = [("cookie", &*cookie)];
        browser.send(Method::GET, "/v1/containers/web/logs?follow=1", &cookie, None)
    });
    wait_until("the log to be followed", PATIENCE, || {
        let line = "route=\"/v1/containers/{ident}/logs\",status=\"200\"} ";
        nobody.get("/metrics").text.contains(line)
    });
    let page = [("cookie", &*ended.0), ("x-csrf-token", &*ended.1)];
    nobody.send(Method::DELETE, "/v1/session", &page, None).expect(204);
    for stream in streams {
        let last = stream.last().data;
        assert_eq!((&last["stream"], &last["code"]), (&json!("end"), &json!("unauthenticated")));
        assert!(last["reason"].as_str().unwrap().contains("signed out"), "{last}");
    }
    let log = log.join().unwrap().text;
    assert!(log.contains("magnum: no longer followed: the session has ended"), "{log}");
    user.post("/v1/baymodels", &baymodel("b")).expect(201);
    for stream in &mut others {
        assert_eq!(stream.event().data["type"], "magnum.baymodel.created.v1");
    }
    assert_eq!(token(issuer.data(), &["revoke", &id]).code, 0);
    for stream in others {
        assert_eq!(stream.last().data["code"], "unauthenticated");
    }
}
