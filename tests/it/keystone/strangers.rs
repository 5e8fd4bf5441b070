//! A Keystone that answers what it should not, or slowly: nobody is let in by what it should not
//! have said, and strangers hold up nobody whose token is known.
//!
//! A real Keystone does neither on request, so this one is a model: it issues the service's token
//! and says of other tokens what the test wants.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use reqwest::Method;
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
    /// Questions about tokens whose names start with `many`, now and at most so far.
    many: AtomicUsize,
    most: AtomicUsize,
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
            if subject.starts_with("many") {
                self.think();
            } else {
                self.known.fetch_add(usize::from(subject != SERVICE), Ordering::SeqCst);
            }
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

    /// Takes as long for an answer that many are asked for at once.
    fn think(&self) {
        let now = self.many.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(300));
        self.many.fetch_sub(1, Ordering::SeqCst);
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
    server_with(url, Options::fake())
}

/// The same with more options.
fn server_with(url: &str, options: Options) -> Server {
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "p").unwrap();
    Server::start(
        options
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

/// Says that it is over when it is dropped, also by a failure.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_project_with_many_tokens_holds_up_no_other_one() {
    let (model, url) = Model::start();
    model.answer_strangers();
    let server = server(&url);
    server.get("/v1/bays").expect(200);
    let mut of_project = valid();
    of_project["token"]["project"]["id"] = json!("many");
    let tokens: Vec<String> = (0..40).map(|number| format!("many-{number}")).collect();
    thread::scope(|scope| {
        for token in &tokens {
            model.say(token, of_project.clone());
            let http = server.with_token(token);
            // As strangers they may have to come again.
            scope.spawn(move || {
                wait_until("a token to be known", PATIENCE, || http.get("/v1/bays").status == 200);
            });
        }
    });
    model.most.store(0, Ordering::SeqCst);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for token in &tokens {
            let (http, is_over) = (server.with_token(token), &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    http.get("/v1/bays");
                }
            });
        }
        // Once their answers are too old, all are asked about again at about the same time.
        wait_until("a project to have its share", PATIENCE, || {
            let answer = server.get("/v1/bays");
            assert_eq!(answer.status, 200, "{}", answer.text);
            model.most.load(Ordering::SeqCst) >= 12
        });
        // Nor are strangers held up.
        assert_eq!(server.with_token("stranger").get("/v1/bays").status, 401);
        let asked = model.known.load(Ordering::SeqCst);
        wait_until("another one to be asked about", PATIENCE, || {
            let answer = server.get("/v1/bays");
            assert_eq!(answer.status, 200, "{}", answer.text);
            model.known.load(Ordering::SeqCst) >= asked + 2
        });
    });
    assert_eq!(model.most.load(Ordering::SeqCst), 12, "the rest is for others");
}

#[test]
fn strangers_at_one_address_hold_up_none_at_another() {
    let (model, url) = Model::start();
    let server = server_with(&url, Options::fake().arg("--trusted-proxy=127.0.0.1"));
    let ask = |address: &str, token: &str| {
        let from = [("x-forwarded-for", address)];
        server.with_token(token).send(Method::GET, "/v1/bays", &from, None)
    };
    let is_refused = |answer: &Answer| answer.text.contains("too-many-tokens");
    let refused = &AtomicUsize::new(0);
    let ask = &ask;
    thread::scope(|scope| {
        for number in 0..100 {
            scope.spawn(move || {
                let answer = ask("198.51.100.1", &format!("stranger-{number}"));
                refused.fetch_add(usize::from(is_refused(&answer)), Ordering::SeqCst);
            });
        }
        // Those beyond the share hear so at once, while nobody else is answered.
        wait_until("strangers to be refused", PATIENCE, || refused.load(Ordering::SeqCst) >= 40);
        let other = scope.spawn(move || ask("198.51.100.2", "another"));
        wait_until("a share to be used up", PATIENCE, || refused.load(Ordering::SeqCst) >= 70);
        model.answer_strangers();
        assert_eq!(other.join().unwrap().status, 401);
    });
}
