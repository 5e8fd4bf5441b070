//! Answers of Keystone, changed in their values and bytes, to a running server: whoever it lets in
//! has names that can be shown, and what is wrong is told and logged in few words.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use magnum::text::is_hidden;
use proptest::sample::select;
use proptest::strategy::Strategy;
use serde_json::{Value, json};

use crate::mutation;
use crate::server::Server;
use crate::{CASES, fuzz};

/// What Keystone says of a valid token.
fn valid() -> Value {
    let role = |name: &str| json!({ "id": "r", "name": name });
    json!({ "token": {
        "methods": ["password"],
        "user": { "id": "u1", "name": "alice", "domain": { "id": "default", "name": "Default" } },
        "project": { "id": "p1", "name": "n", "domain": { "id": "default", "name": "Default" } },
        "roles": [role("member"), role("reader")],
        "expires_at": "2999-11-28T22:34:27.000000Z",
        "issued_at": "2026-11-28T22:34:27.000000Z",
    } })
}

/// More answers than changes of a few values make.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let roles = |count: usize, length: usize| {
        let mut answer = valid();
        answer["token"]["roles"] = json!(vec![json!({ "name": "r".repeat(length) }); count]);
        answer
    };
    let at = |pointer: &str, value: &str| {
        let mut answer = valid();
        *answer.pointer_mut(pointer).unwrap() = json!(value);
        answer
    };
    let mut odd = vec![roles(0, 0), roles(129, 3), roles(1, 300), roles(20_000, 100)];
    for time in ["2999-02-30T00:00:00Z", "+262142-01-01T00:00:00Z", "2999-11-28T22:34:27", "0"] {
        odd.push(at("/token/expires_at", time));
    }
    for hidden in ["a\u{202e}b", "\u{1b}[31m", "\u{200b}", "a\u{e0041}"] {
        for place in ["/token/user/id", "/token/project/id", "/token/roles/0/name"] {
            odd.push(at(place, hidden));
        }
    }
    // What should be an object is a text as long as an answer may be.
    odd.push(json!({ "token": "x\u{202e}".repeat(100_000) }));
    let odd = proptest::prop_oneof![select(odd), mutation::document(valid())];
    let status = select(vec![200, 200, 200, 200, 400, 401, 403, 404, 500, 503]);
    (odd, status, mutation::changes(), 0..4_u8).prop_map(|(answer, status, changes, whole)| {
        let body = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        );
        let bytes = format!("{head}{body}").into_bytes();
        if whole > 0 { bytes } else { mutation::changed(bytes, &changes) }
    })
}

/// Reads a request; whether it asks about a token of somebody.
fn is_question(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let length = length.map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).unwrap();
    head.starts_with("get")
}

#[test]
fn answers_of_keystone() {
    let answer: Arc<Mutex<Vec<u8>>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v3", listener.local_addr().unwrap());
    let given = Arc::clone(&answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let own = "HTTP/1.1 201 X\r\nX-Subject-Token: own\r\nConnection: close\r\n\r\n{}";
            let bytes = match is_question(&mut stream) {
                true => given.lock().unwrap().clone(),
                false => own.as_bytes().to_vec(),
            };
            // The server may have seen enough.
            let _gone = stream.write_all(&bytes);
        }
    });
    let server = Server::start(&["--auth", "keystone", "--keystone-url", &url]);
    let asked = Cell::new(0);
    fuzz(CASES, answers(), |bytes| {
        asked.set(asked.get() + 1);
        *answer.lock().unwrap() = bytes;
        // A token that nobody was asked about yet.
        let who = server.get("/v1/session", &format!("X-Auth-Token: t{}\r\n", asked.get()));
        assert!([200, 401, 403, 503].contains(&who.status), "{}: {}", who.status, who.text);
        who.is_plain();
        if who.status == 200 {
            let who = who.json();
            let roles = who["roles"].as_array().unwrap();
            assert!(roles.len() <= 128 && who["project"] != "default", "{who}");
            for name in roles.iter().chain([&who["user"], &who["project"]]) {
                let name = name.as_str().unwrap();
                assert!((1..=255).contains(&name.len()) && !name.chars().any(is_hidden), "{who}");
            }
        }
    });
    server.was_well();
    // What was right was let in.
    *answer.lock().unwrap() = format!("HTTP/1.1 200 X\r\n\r\n{}", valid()).into_bytes();
    assert_eq!(server.get("/v1/session", "X-Auth-Token: valid\r\n").status, 200);
}
