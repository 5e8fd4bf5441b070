//! A Keystone that answers what it should not, or slowly: nobody is let in by what it should not
//! have said, and strangers hold up nobody whose token is known.
//!
//! A real Keystone does neither on request, so this one is a model: it issues the service's token
//! and says of other tokens what the test wants.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Answer, Options, PATIENCE, Server, wait_until};
use crate::requests::refused;

/// The service's own token, which the service looks at by itself.
const SERVICE: &str = "service";

/// What it says of tokens that are not its own.
#[derive(Default)]
struct Model {
    /// What it says of tokens; of all others that it does not know them.
    says: Mutex<HashMap<String, Value>>,
    /// Questions about `good`, and about others.
    known: AtomicUsize,
    strange: AtomicUsize,
    /// Whether those about others are answered.
    answers: Mutex<bool>,
    changed: Condvar,
}

fn valid() -> Value {
    json!({ "token": {
        "user": { "id": "u" },
        "project": { "id": "admin", "name": "admin", "domain": { "name": "Default" } },
        "roles": [{ "name": "admin" }],
        "expires_at": "2999-01-01T00:00:00.000000Z",
    } })
}

impl Model {
    /// Starts one; its address.
    fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let model = Arc::new(Self::default());
        model.say("good", valid());
        model.say(SERVICE, valid());
        let served = Arc::clone(&model);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let model = Arc::clone(&served);
                thread::spawn(move || model.answer(stream));
            }
        });
        (model, url)
    }

    fn say(&self, token: &str, says: Value) {
        self.says.lock().unwrap().insert(token.to_owned(), says);
    }

    /// Reads a request and answers it.
    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.map_or("", |line| line.trim_start_matches(": ")).to_owned()
        };
        let length = field("content-length").parse().unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let subject = field("x-subject-token");
        let says = self.says.lock().unwrap().get(&subject).map(Value::to_string);
        let (status, body) = if head.starts_with("POST") {
            ("201 Created\r\nx-subject-token: service", String::new())
        } else if let Some(says) = says {
            self.known.fetch_add(usize::from(subject != SERVICE), Ordering::SeqCst);
            ("200 OK", says)
        } else {
            self.strange.fetch_add(1, Ordering::SeqCst);
            let mut answers = self.answers.lock().unwrap();
            while !*answers {
                answers = self.changed.wait(answers).unwrap();
            }
            ("404 Not Found", String::new())
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close");
        // Who asked may have given up.
        let _gone = (&stream).write_all(format!("{head}\r\n\r\n{body}").as_bytes());
    }

    fn answer_strangers(&self) {
        *self.answers.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn strangers(&self) -> usize {
        self.strange.load(Ordering::SeqCst)
    }
}

/// A server that asks a model, where `good` is an operator's token.
fn server(url: &str) -> Server {
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "p").unwrap();
    Server::start(
        Options::fake()
            .arg("--auth=keystone")
            .arg(&format!("--keystone-url={url}"))
            .arg(&format!("--keystone-password-file={}", password.path().display()))
            .token("good"),
    )
}

#[test]
fn what_keystone_should_not_say_lets_nobody_in() {
    let (model, url) = Model::start();
    model.answer_strangers();
    let server = server(&url);
    let with = |pointer: &str, value: Value| {
        let mut says = valid();
        *says.pointer_mut(pointer).unwrap() = value;
        says
    };
    let long = "x".repeat(100_000);
    let past = json!("2001-01-01T00:00:00.000000Z");
    for (number, says) in [
        with("/token/expires_at", past.clone()),
        with("/token/expires_at", past),
        with("/token/expires_at", Value::Null),
        with("/token/project/id", json!("")),
        with("/token/project/id", json!("a\nb")),
        with("/token/project/id", json!("../keys")),
        with("/token/project/id", json!(long)),
        with("/token/user/id", json!("")),
        with("/token/user/id", json!(long)),
        with("/token/roles/0/name", json!(long)),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("odd-{number}");
        model.say(&token, says.clone());
        let answer = server.with_token(&token).get("/v1/bays");
        assert_eq!(answer.status, 401, "{says:.200}");
    }
    // What is no answer says nothing of the token.
    let mut huge = valid();
    huge["padding"] = json!("x".repeat(2 << 20));
    model.say("huge", huge);
    refused(&server.with_token("huge").get("/v1/bays"), 503);
    let said = server.stderr();
    assert!(said.contains("larger than"), "{said}");
    let words = "its expires_at is in the past";
    assert_eq!(said.matches(words).count(), 1, "said once, of two tokens: {said}");
    server.get("/v1/bays").expect(200);
}

#[test]
fn strangers_hold_up_nobody_whose_token_is_known() {
    let (model, url) = Model::start();
    let server = server(&url);
    server.get("/v1/bays").expect(200);
    thread::scope(|scope| {
        let ask = |number| {
            let http = server.with_token(&format!("stranger-{number}"));
            scope.spawn(move || http.get("/v1/bays"))
        };
        let strangers: Vec<_> = (0..150).map(ask).collect();
        wait_until("strangers to be asked about", PATIENCE, || model.strangers() >= 12);
        // Long enough for the answer about the known token to be asked for again, twice.
        let asked = model.known.load(Ordering::SeqCst);
        wait_until("the known token to be asked about", PATIENCE, || {
            let answer = server.get("/v1/bays");
            assert_eq!(answer.status, 200, "{}", answer.text);
            model.known.load(Ordering::SeqCst) >= asked + 2
        });
        model.answer_strangers();
        let answers: Vec<Answer> = strangers.into_iter().map(|it| it.join().unwrap()).collect();
        let at_once = answers.iter().filter(|answer| {
            let is_refused = answer.status == 503 && answer.text.contains("too-many-tokens");
            assert!(is_refused || [401, 503].contains(&answer.status), "{}", answer.text);
            is_refused
        });
        assert!(at_once.count() > 30, "more than the queue holds are not waited for");
    });
    // And a stranger is heard as soon as there is a place.
    wait_until("a stranger to be refused", PATIENCE, || {
        server.with_token("another").get("/v1/bays").status == 401
    });
}
