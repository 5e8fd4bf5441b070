//! Commands are carried out once (rule L6, F1, F8), on the real engine: a client that repeats each
//! request five times through a network that loses half of the answers, while the server crashes
//! and its caches are lost.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use magnum::events::log::segment::simulated::Chance;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Http, Options, Server, docker};

/// How often the client asks.
const REPEATS: usize = 5;

/// A way to the server that loses requests and answers.
struct Lossy {
    url: String,
    server: Arc<Mutex<String>>,
}

impl Lossy {
    fn new(server: &Http, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = Arc::new(Mutex::new(address(server)));
        let (server, mut chance) = (to.clone(), Chance::new(seed));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let to = to.lock().unwrap().clone();
                let fate = chance.below(8);
                // A connection that ends early is what this is for.
                let _ended = carry(client, &to, fate);
            }
        });
        Self { url, server }
    }
}

fn address(server: &Http) -> String {
    server.url().trim_start_matches("http://").to_owned()
}

/// Carries one request and its answer, unless it is lost: one of four requests does not arrive,
/// and of the others half of the answers do not.
fn carry(mut client: TcpStream, to: &str, fate: u64) -> std::io::Result<()> {
    let request = read_request(&mut client)?;
    if fate < 2 {
        return Ok(());
    }
    let mut server = TcpStream::connect(to)?;
    server.write_all(&request)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if fate < 5 { Ok(()) } else { client.write_all(&answer) }
}

/// A whole request, as one after which the connection ends.
fn read_request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                break;
            }
        }
        match client.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            bytes => request.extend(&piece[..bytes]),
        }
    }
    let line = request.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    request.splice(line..line, b"Connection: close\r\n".iter().copied());
    Ok(request)
}

/// A request with the first answer that came of it.
struct Asked {
    method: Method,
    path: String,
    key: String,
    body: Option<Value>,
    answer: Answer,
}

/// A client with its network, and everything that it asked so far.
struct Client {
    server: Server,
    network: Lossy,
    asked: Vec<Asked>,
    /// Requests whose answer did not come.
    lost: usize,
}

impl Client {
    fn send(&self, http: &Http, asked: (&Method, &str, &str, Option<&Value>)) -> Option<Answer> {
        let (method, path, key, body) = asked;
        http.try_send(method.clone(), path, &[("Idempotency-Key", key)], body).ok()
    }

    /// Asks five times, with a crash in between, and again for the answer to compare with.
    fn ask(&mut self, method: Method, path: &str, body: Option<Value>, status: u16) -> Value {
        let key = format!("key-{}", self.asked.len());
        let request = (&method, path, key.as_str(), body.as_ref());
        let mut answers = vec![];
        for turn in 0..REPEATS {
            if turn == 2 {
                self.server.kill();
                self.server.restart();
                *self.network.server.lock().unwrap() = address(&self.server);
            }
            let lossy = self.server.by_way_of(&self.network.url);
            match self.send(&lossy, request) {
                Some(answer) => answers.push(answer),
                None => self.lost += 1,
            }
        }
        let answer = self.send(&self.server, request).unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        for earlier in answers {
            assert_same(path, &earlier, &answer);
        }
        let json = answer.json.clone();
        self.asked.push(Asked { method, path: path.to_owned(), key, body, answer });
        json
    }
}

#[track_caller]
fn assert_same(path: &str, one: &Answer, other: &Answer) {
    assert_eq!(one.status, other.status, "{path}: {} and {}", one.text, other.text);
    assert_eq!(one.json["uuid"], other.json["uuid"], "{path}");
    let position = "x-magnum-position";
    assert_eq!(one.header(position), other.header(position), "{path}");
}

/// How often each type of event is in the history of an object.
fn times(server: &Server, path: &str, event_type: &str) -> usize {
    let history = server.get(&format!("{path}/history")).text;
    history.matches(&format!("\"magnum.{event_type}.v")).count()
}

fn container(name: &str, bay: &Value) -> Value {
    let bay = &bay["uuid"];
    json!({ "name": name, "image": "busybox:local", "command": "sleep 600", "bay_uuid": bay })
}

/// What happened to objects. What is refused is on record in a stream of its own.
const OBJECTS: &str = "/v1/events?limit=1000&kind=bay&kind=baymodel&kind=container&kind=node";

#[test]
fn f1_a_request_that_is_repeated_over_a_bad_network_has_one_effect() {
    let server = Server::start(Options::docker());
    let network = Lossy::new(&server, 7);
    let mut client = Client { server, network, asked: vec![], lost: 0 };
    let model = json!({"name": "m", "coe": "docker", "image_id": "i", "keypair_id": "k"});
    let model = client.ask(Method::POST, "/v1/baymodels", Some(model), 201);
    let renamed = json!([{"op": "replace", "path": "/name", "value": "n"}]);
    let model_path = format!("/v1/baymodels/{}", model["uuid"].as_str().unwrap());
    client.ask(Method::PATCH, &model_path, Some(renamed), 200);
    let bay = json!({"name": "b", "baymodel_id": model["uuid"], "node_count": 1});
    let bay = client.ask(Method::POST, "/v1/bays", Some(bay), 201);
    let bay_path = format!("/v1/bays/{}", bay["uuid"].as_str().unwrap());
    let made = client.ask(Method::POST, "/v1/containers", Some(container("c", &bay)), 201);
    let id = made["uuid"].as_str().unwrap();
    let path = format!("/v1/containers/{id}");
    client.ask(Method::PUT, &format!("{path}/start"), None, 200);
    let command = "execute?command=sh%20-c%20%27echo%20ran%20%3E%3E%20%2Fran%27";
    client.ask(Method::PUT, &format!("{path}/{command}"), None, 200);
    client.ask(Method::PUT, &format!("{path}/reboot?timeout=0"), None, 200);
    let ran = docker(&["exec", &format!("magnum-{id}"), "cat", "/ran"]);
    assert_eq!(ran, "ran", "a command runs once");
    client.ask(Method::PUT, &format!("{path}/pause"), None, 200);
    client.ask(Method::PUT, &format!("{path}/unpause"), None, 200);
    client.ask(Method::PUT, &format!("{path}/stop?timeout=0"), None, 200);
    let other = client.ask(Method::POST, "/v1/containers", Some(container("d", &bay)), 201);
    let other_path = format!("/v1/containers/{}", other["uuid"].as_str().unwrap());
    client.ask(Method::DELETE, &other_path, None, 204);
    assert!(client.lost >= client.asked.len(), "the network is good: {} lost", client.lost);

    let server = &client.server;
    let count = |path: &str, field| server.get(path).expect(200)[field].as_array().unwrap().len();
    assert_eq!(count("/v1/baymodels", "baymodels"), 2, "and the built-in one");
    assert_eq!(count("/v1/bays", "bays"), 1);
    assert_eq!(count("/v1/containers", "containers"), 1);
    let once = [
        (&model_path, "baymodel.created baymodel.updated"),
        (&bay_path, "bay.create_requested bay.created"),
        (&path, "container.create_requested container.created container.start_requested"),
        (&path, "container.started container.execute_requested container.executed"),
        (&path, "container.reboot_requested container.rebooted container.pause_requested"),
        (&path, "container.paused container.unpaused container.stop_requested container.stopped"),
        (&other_path, "container.create_requested container.delete_requested container.deleted"),
    ];
    for (path, types) in once {
        for event_type in types.split(' ') {
            assert_eq!(times(server, path, event_type), 1, "{event_type} of {path}");
        }
    }

    // What is known of the keys comes from the log: without the caches it is the same.
    client.server.kill();
    fs::remove_dir_all(client.server.data().join("cache")).unwrap();
    client.server.restart();
    let before = client.server.get(OBJECTS).json["events"].clone();
    for one in &client.asked {
        let request = (&one.method, one.path.as_str(), one.key.as_str(), one.body.as_ref());
        let again = client.send(&client.server, request).unwrap();
        assert_same(&one.path, &again, &one.answer);
        // The same key for something else.
        let another = json!({"name": "another"});
        let elsewhere = (&Method::POST, "/v1/baymodels", one.key.as_str(), Some(&another));
        let refused = client.send(&client.server, elsewhere).unwrap();
        assert_eq!(refused.status, 422, "{}: {}", one.path, refused.text);
        assert!(refused.text.contains("Idempotency-Key"), "{}", refused.text);
    }
    assert_eq!(client.server.get(OBJECTS).json["events"], before, "nothing happened to them");
}
