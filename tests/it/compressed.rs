//! Answers come compressed to clients that accept it, as a real client sees them.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Options, PATIENCE, Server, run, wait_until};

/// The head and the body that curl gets, decoded by it.
fn curl(server: &Server, args: &[&str], path: &str) -> (String, String) {
    let url = format!("{}{path}", server.url());
    let done = run(Command::new("curl").args(["-sSi", "--noproxy", "*"]).args(args).arg(url));
    assert_eq!(done.code, 0, "{}", done.err);
    let (head, body) = done.out.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn lists_are_compressed_where_that_is_accepted() {
    let server = Server::start(Options::fake());
    for number in 0..20 {
        let body = json!({ "name": format!("b{number}") });
        server.post("/v1/bays", &body).expect(201);
    }
    let is_made = |bay: &Value| bay["status"] == "CREATE_COMPLETE";
    wait_until("the bays", PATIENCE, || server.list("/v1/bays").iter().all(is_made));
    let plain = server.get("/v1/bays").text;
    let (head, body) = curl(&server, &["--compressed"], "/v1/bays");
    assert!(head.contains("\r\ncontent-encoding: gzip"), "{head}");
    assert!(head.contains("\r\nvary: accept-encoding"), "{head}");
    let listed = |text: &str| serde_json::from_str::<Value>(text).unwrap()["bays"].clone();
    assert_eq!(listed(&body), listed(&plain));
    let length = |head: &str| -> Option<usize> {
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
    };
    assert!(length(&head).unwrap() < plain.len() / 4, "{head}");
    let (head, _) = curl(&server, &[], "/v1/bays");
    assert!(!head.contains("content-encoding"), "{head}");
    assert_eq!(length(&head), Some(plain.len()), "{head}");
    // A HEAD says what the GET has, or nothing.
    let (head, body) = curl(&server, &["--head"], "/v1/bays");
    assert_eq!((length(&head), body.as_str()), (Some(plain.len()), ""), "{head}");
    let (head, body) = curl(&server, &["--head", "-H", "Accept-Encoding: gzip"], "/v1/bays");
    assert!(length(&head).is_none_or(|bytes| bytes < plain.len() / 4), "{head}");
    assert!(body.is_empty());
    // What is small is not.
    let (head, _) = curl(&server, &["--compressed"], "/healthz");
    assert!(!head.contains("content-encoding"), "{head}");
}

#[test]
fn an_etag_of_a_compressed_answer_matches() {
    let server = Server::start(Options::fake());
    let labels = json!({ "text": "x".repeat(3000) });
    let body = json!({ "name": "web", "image_id": "busybox:local", "labels": labels });
    server.post("/v1/containers", &body).expect(201);
    let (head, _) = curl(&server, &["--compressed"], "/v1/containers/web");
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    assert!(etag.starts_with("w/\""), "{etag}");
    let patch = json!([{ "op": "replace", "path": "/desc", "value": "d" }]);
    let etag = etag.to_uppercase();
    let send = |etag: &str| {
        let headers = [("if-match", etag)];
        server.send(Method::PATCH, "/v1/containers/web", &headers, Some(&patch)).status
    };
    assert_eq!(send(&etag), 200);
    assert_eq!(send(&etag), 412, "it has changed since");
}

#[test]
fn streams_are_not_compressed() {
    let server = Server::start(Options::fake());
    let args = ["--compressed", "--max-time", "2", "-H", "Accept: text/event-stream"];
    let url = format!("{}/v1/events/stream?after=0", server.url());
    let output = Command::new("curl").args(["-sSi", "--noproxy", "*"]).args(args).arg(url).output();
    let text = String::from_utf8_lossy(&output.unwrap().stdout).to_lowercase();
    assert!(text.contains("node.created"), "{text}");
    assert!(!text.contains("content-encoding"), "{text}");
}
