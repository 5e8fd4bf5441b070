//! Who is let in before anybody asks who it is: names of the server, types of bodies, connections
//! that cost without asking for anything; and under which address the server says it is.
//!
//! Not here: what a real browser does (`browser`), TLS (`tls`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::harness::{Http, Options, PATIENCE, Server, wait_until};
use crate::requests::{baymodel, head, raw, refused};
use crate::rights::Issuer;

/// A server that is started in a way of its own, by a shell; ends with the value.
pub struct Own {
    child: Child,
    pub url: String,
    home: TempDir,
}

impl Own {
    /// Starts it after some words of the shell, with more arguments.
    pub fn start(shell: &str, args: &[&str]) -> Self {
        let home = TempDir::new().unwrap();
        let stderr = std::fs::File::create(home.path().join("stderr")).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("{shell} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_magnum")])
            .args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0", "--data"])
            .arg(home.path().join("data"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut own = Self { child, url: String::new(), home };
        let url = line.trim().strip_prefix("magnum: listening on ");
        own.url = url.unwrap_or_else(|| panic!("it said {line:?}")).to_owned();
        own
    }

    /// The process.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// What it logged so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.home.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the server's stderr ---\n{}", self.stderr());
        }
    }
}

/// A connection from another address of this machine.
fn connect_from(client: [u8; 4], url: &str) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((client, 0).into()).unwrap();
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        socket.connect(address).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_request_says_once_whom_it_is_for() {
    let server = Server::start(Options::fake());
    let close = "Connection: close\r\n\r\n";
    for (request, status) in [
        ("GET /v1/bays HTTP/1.1\r\n", 400),
        ("GET /v1/bays HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400),
        ("GET /v1/bays HTTP/1.1\r\nHost: a b\"<script>\r\n", 400),
        ("GET /v1/bays HTTP/1.1\r\nHost:\r\n", 400),
        ("GET http://evil.example/v1/bays HTTP/1.1\r\nHost: localhost\r\n", 421),
        ("GET http://localhost/bays HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET /v1/bays HTTP/1.0\r\n", 200),
    ] {
        let (got, answer) = raw(&server, format!("{request}{close}").as_bytes());
        assert_eq!(got, status, "{request}: {answer}");
        assert!(!answer.contains("<script>") && answer.contains("nosniff"), "{answer}");
    }
}

#[test]
fn a_name_that_somebody_could_own_leads_nowhere() {
    let server = Server::start(Options::fake());
    let before = head(&server);
    let headers = [("host", "evil.example:9511"), ("origin", "http://evil.example:9511")];
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/metrics"),
        (Method::GET, "/v1/bays"),
        (Method::GET, "/v1/events/stream"),
        (Method::POST, "/v1/baymodels"),
        (Method::PUT, "/v1/containers/c/execute?command=id"),
        (Method::DELETE, "/v1/keys/x"),
    ] {
        let answer = server.send(method, path, &headers, Some(&baymodel("x")));
        assert!(refused(&answer, 421).contains("--public-url"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    assert_eq!(head(&server), before);
    let known = Server::start(Options::fake().arg("--public-url").arg("http://evil.example:9511"));
    known.send(Method::POST, "/v1/baymodels", &headers, Some(&baymodel("x"))).expect(201);
}

#[test]
fn a_body_that_any_page_may_send_is_not_taken() {
    let server = Server::start(Options::fake());
    let before = head(&server);
    for (method, path) in [
        (Method::POST, "/v1/baymodels"),
        (Method::PATCH, "/v1/baymodels/x"),
        (Method::PUT, "/v1/containers/c/start"),
        (Method::DELETE, "/v1/baymodels/x"),
    ] {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            let typed = [("content-type", kind)];
            let answer = server.send(method.clone(), path, &typed, Some(&baymodel("x")));
            assert!(refused(&answer, 415).contains("application/json"), "{method} {kind}");
        }
    }
    assert_eq!(head(&server), before);
}

#[test]
fn bodies_that_do_not_end_take_only_so_much_memory() {
    let server = Server::start(Options::fake());
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(1_000_000));
    let request = format!(
        "POST /v1/baymodels HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{large}",
        large.len()
    );
    let begin = || {
        let mut stream = connect(server.url());
        stream.write_all(&request.as_bytes()[..200]).unwrap();
        stream
    };
    let mut unfinished: Vec<_> = (0..134).map(|_| begin()).collect();
    wait_until("the room for bodies to be taken", PATIENCE, || {
        unfinished.push(begin());
        let (status, answer) = raw(&server, request.as_bytes());
        assert!(status != 429 || answer.contains("\"too-many\""), "{answer}");
        status == 429
    });
    // Small ones need no room.
    server.post("/v1/baymodels", &baymodel("small")).expect(201);
    drop(unfinished);
    wait_until("room", PATIENCE, || raw(&server, request.as_bytes()).0 == 400);
}

#[test]
fn a_read_takes_no_body() {
    let server = Server::start(Options::fake());
    for (length, status) in [("Content-Length: 2", 400), ("Content-Length: 0", 200)] {
        let body = if status == 400 { "{}" } else { "" };
        let head = "GET /v1/bays HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        let (got, answer) = raw(&server, format!("{head}{length}\r\n\r\n{body}").as_bytes());
        assert_eq!(got, status, "{answer}");
    }
}

#[test]
fn a_key_that_is_there_twice_is_refused_by_its_name() {
    let server = Server::start(Options::fake());
    let before = head(&server);
    for body in [
        r#"{"name":"a","name":"b","coe":"docker","image_id":"i","keypair_id":"k"}"#,
        r#"{"coe":"docker","image_id":"i","keypair_id":"k","x":{"name":1,"name":2}}"#,
    ] {
        let request = format!(
            "POST /v1/baymodels HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (status, answer) = raw(&server, request.as_bytes());
        assert_eq!(status, 400, "{answer}");
        assert!(answer.contains("name") && answer.contains("occurs twice"), "{answer}");
    }
    assert_eq!(head(&server), before);
}

/// Every address that the server gives away starts like this.
#[track_caller]
fn links_start_with(server: &Http, headers: &[(&str, &str)], base: &str) {
    let name = format!("m{}-{}", base.len(), headers.len());
    let made = server.send(Method::POST, "/v1/baymodels", headers, Some(&baymodel(&name)));
    let location = made.header("location").to_owned();
    let made = made.expect(201);
    let uuid = made["uuid"].as_str().unwrap();
    assert_eq!(location, format!("{base}/v1/baymodels/{uuid}"));
    assert_eq!(made["links"][0]["href"], location.as_str());
    assert_eq!(made["links"][1]["href"], format!("{base}/baymodels/{uuid}"));
    let get = |path: &str| server.send(Method::GET, path, headers, None).expect(200);
    let next = get("/v1/baymodels?limit=1")["next"].as_str().unwrap().to_owned();
    assert!(next.starts_with(&format!("{base}/v1/baymodels?")), "{next}");
    assert_eq!(get("/")["versions"][0]["links"][0]["href"], format!("{base}/v1/"));
    assert_eq!(get("/v1")["bays"][0]["href"], format!("{base}/v1/bays/"));
}

#[test]
fn links_lead_to_the_public_url() {
    let url = "https://magnum.example/container";
    let server = Server::start(Options::fake().arg("--public-url").arg(url));
    links_start_with(&server, &[], url);
    let proxied = [("host", "magnum.example"), ("x-forwarded-proto", "http")];
    links_start_with(&server, &proxied, url);
}

#[test]
fn links_lead_where_a_trusted_proxy_was_asked() {
    let forwarded = [("x-forwarded-proto", "https"), ("x-forwarded-host", "localhost:8443")];
    let trusting = Server::start(Options::fake().arg("--trusted-proxy").arg("127.0.0.0/8"));
    links_start_with(&trusting, &forwarded, "https://localhost:8443");
    let others = Server::start(Options::fake().arg("--trusted-proxy").arg("192.0.2.1"));
    links_start_with(&others, &forwarded, others.url());
    let evil = [("x-forwarded-host", "evil.example")];
    refused(&trusting.send(Method::GET, "/v1/bays", &evil, None), 421);
}

#[test]
fn a_head_that_does_not_come_takes_no_place_for_long() {
    let server = Server::start(Options::fake());
    let whole = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for sent in ["", "GET /v1/ba", "GET /v1/bays HTTP/1.1\r\nHost: localhost\r\nX-Long: "] {
        let mut stream = connect(server.url());
        stream.write_all(sent.as_bytes()).unwrap();
        // Fails after PATIENCE where it stays open.
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    let mut kept = connect(server.url());
    kept.write_all(whole.as_bytes()).unwrap();
    kept.read_exact(&mut [0; 12]).unwrap();
    kept.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    kept.read_to_end(&mut Vec::new()).unwrap();
    server.get("/healthz").expect(200);
}

/// What a head can have too much of.
#[derive(Clone, Copy, Debug)]
pub enum Large {
    Head,
    Headers,
    Address,
}

impl Large {
    /// How much it may have, and what is said of more.
    const ALL: [(Self, usize, u16, &'static str); 3] = [
        (Self::Head, 80 << 10, 431, "head-too-large"),
        (Self::Headers, 100, 431, "head-too-large"),
        (Self::Address, 65_534, 414, "address-too-long"),
    ];

    /// A request that has so much.
    pub fn request(self, size: usize, version: &str) -> String {
        let rest = format!(" {version}\r\nHost: localhost\r\nConnection: close\r\n");
        let begin = format!("GET /healthz{rest}");
        match self {
            Self::Head => {
                let value = size - begin.len() - "X: \r\n\r\n".len();
                format!("{begin}X: {}\r\n\r\n", "x".repeat(value))
            }
            Self::Headers => format!("{begin}{}\r\n", "X: x\r\n".repeat(size - 2)),
            Self::Address => {
                let query = size - "/healthz?".len();
                format!("GET /healthz?{}{rest}\r\n", "x".repeat(query))
            }
        }
    }
}

/// Refused in the form of all errors, and the connection is closed.
#[track_caller]
pub fn refused_at_once(answer: &str, status: u16, code: &str) {
    assert!(answer.contains(&format!(" {status} ")), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    for header in [
        "content-type: application/json\r\n",
        "x-content-type-options: nosniff",
        "connection: close",
        "x-openstack-request-id: req-",
        "x-magnum-position: ",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
    let body: Value = serde_json::from_str(body).unwrap();
    let fault: Value = serde_json::from_str(body["error_message"].as_str().unwrap()).unwrap();
    let item = &body["errors"][0];
    assert_eq!((&item["status"], &item["code"]), (&json!(status), &json!(code)));
    assert_eq!(fault["faultstring"], item["detail"]);
}

#[test]
fn a_head_has_a_size() {
    let server = Server::start(Options::fake());
    for (large, most, status, code) in Large::ALL {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let (got, answer) = raw(&server, large.request(most, version).as_bytes());
            // No address that is so long has arguments that are known.
            assert!(got == 200 || answer.contains("Unknown argument"), "{large:?}: {answer}");
            let exceeds = large.request(most + 1, version);
            refused_at_once(&raw(&server, exceeds.as_bytes()).1, status, code);
        }
    }
}

/// Much more than is read: the answer is not lost although the client goes on sending.
#[test]
fn a_head_without_an_end_is_answered() {
    let server = Server::start(Options::fake());
    for (large, _, status, code) in Large::ALL {
        let (_, answer) = raw(&server, large.request(1 << 20, "HTTP/1.1").as_bytes());
        refused_at_once(&answer, status, code);
    }
}

#[test]
fn a_head_has_the_same_size_whenever_it_comes() {
    let server = Server::start(Options::fake());
    let mut kept = connect(server.url());
    kept.write_all(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answers = BufReader::new(kept.try_clone().unwrap());
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        answers.read_line(&mut line).unwrap();
    }
    kept.write_all(Large::Headers.request(101, "HTTP/1.1").as_bytes()).unwrap();
    let mut answer = String::new();
    answers.read_to_string(&mut answer).unwrap();
    refused_at_once(&answer, 431, "head-too-large");
}

#[test]
fn a_head_that_is_too_large_is_refused_before_its_sender_is_known() {
    let issuer = Issuer::new();
    let server = Server::start(issuer.options());
    let begin = "GET /v1/bays HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    assert_eq!(raw(&server, format!("{begin}\r\n").as_bytes()).0, 401);
    let many = format!("{begin}{}\r\n", "X: x\r\n".repeat(200));
    refused_at_once(&raw(&server, many.as_bytes()).1, 431, "head-too-large");
}

/// Opens a stream of events on a connection: its status, and what follows.
fn follow(mut stream: TcpStream) -> (String, BufReader<TcpStream>) {
    let request = "GET /v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    (status, reader)
}

/// With so few descriptors that a test can take all of them.
#[test]
fn connections_never_take_the_descriptors_that_the_log_needs() {
    let server = Own::start("ulimit -n 128;", &[]);
    let open = || follow(connect(&server.url));
    let mut held = Vec::new();
    let (status, reader) = loop {
        let (status, reader) = open();
        if !status.contains(" 200 ") {
            break (status, reader);
        }
        held.push(reader);
        assert!(held.len() < 128, "there is no limit");
    };
    assert!(status.contains(" 503 "), "{status}");
    let headers: Vec<String> = reader.lines().map_while(Result::ok).collect();
    assert!(headers.iter().any(|line| line.eq_ignore_ascii_case("retry-after: 1")), "{headers:?}");
    assert!(held.len() > 10, "{}", held.len());
    // With the others more than there are descriptors.
    let idle: Vec<_> = (0..100).map(|_| connect(&server.url)).collect();
    drop(held);
    drop(idle);
    let http = Http::new().by_way_of(&server.url);
    wait_until("a place", PATIENCE, || {
        http.try_get("/readyz").is_ok_and(|answer| answer.status == 200)
    });
    head(&http);
    // This needs a key, and with it a file.
    let container = json!({ "image_id": "i", "environment": { "A": "b" } });
    http.post("/v1/containers", &container).expect(201);
}

#[test]
fn one_address_takes_its_share_of_the_connections() {
    let server = Own::start("ulimit -n 128;", &[]);
    let open = |last| follow(connect_from([127, 0, 0, last], &server.url));
    let mut held = Vec::new();
    let (status, mut reader) = loop {
        let (status, reader) = open(2);
        if !status.contains(" 200 ") {
            break (status, reader);
        }
        held.push(reader);
        assert!(held.len() < 128, "there is no limit");
    };
    assert!(status.contains(" 503 "), "{status}");
    let mut answer = String::new();
    reader.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("This address has") && answer.contains("retry-after: 1"), "{answer}");
    assert!(server.stderr().contains("127.0.0.2 has"), "{}", server.stderr());
    // It is not all of them; the machine's own address has more than a share.
    let mut others = vec![open(3)];
    others.extend((0..=held.len()).map(|_| open(1)));
    for (status, _) in &others {
        assert!(status.contains(" 200 "), "{status}");
    }
    drop(held);
    wait_until("a place", PATIENCE, || open(2).0.contains(" 200 "));
}
