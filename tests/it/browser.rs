//! A page of somebody else in a real browser on the machine of the server: it reaches nothing.
//!
//! Not here: the rules case by case (`http/edge/{host,page}.rs`), other clients (`door`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Options, PATIENCE, Server, run, wait_until};
use crate::requests::{baymodel, head};

/// Tries everything that a page can do to MAGNUM, writes into itself what it sees of it, and says
/// when it has. The image `/wait` keeps the browser from taking the page for complete before.
const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><body><pre id="told">nothing</pre>
<img src="/wait"><iframe name="frame"></iframe>
<form id="form" method="post" enctype="text/plain" target="frame"><input type="hidden" id="field">
</form><script>
const magnum = 'http://MAGNUM', form = document.getElementById('form');
const made = `{"name":"forged","coe":"docker","image_id":"i","keypair_id":"k","x":"`;
const tried = (path, options) =>
  fetch(magnum + path, options).then(answer => answer.type, () => 'refused');
const post = (mode, type) => tried('/v1/baymodels',
  { method: 'POST', mode, headers: type ? { 'Content-Type': type } : {},
    body: new Blob([made + '"}']) });
const element = (tag, path) => new Promise(resolve => {
  const it = document.createElement(tag);
  it.onload = () => resolve('loaded');
  it.onerror = () => resolve('refused');
  it.src = magnum + path;
  document.body.append(it);
});
const socket = () => new Promise(resolve => {
  const it = new WebSocket(magnum.replace('http', 'ws') + '/v1/events/stream?after=0');
  it.onopen = () => resolve('open');
  it.onerror = () => resolve('refused');
});
const submitted = () => new Promise(resolve => {
  const field = document.getElementById('field');
  [field.name, field.value, form.action] = [made, '"}', magnum + '/v1/baymodels'];
  frames.frame.frameElement.onload = () => resolve('sent');
  form.submit();
});
(async () => {
  const told = {
    read: await tried('/v1/baymodels'),
    json: await post('cors', 'application/json'),
    put: await tried('/v1/containers/c/start', { method: 'PUT' }),
    remove: await tried('/v1/baymodels/victim', { method: 'DELETE' }),
    text: await post('no-cors', 'text/plain'),
    urlencoded: await post('no-cors', 'application/x-www-form-urlencoded'),
    untyped: await post('no-cors', null),
    image: await element('img', '/v1/replay/find?condition=true'),
    script: await element('script', '/v1/events'),
    socket: await socket(),
    form: await submitted(),
  };
  document.getElementById('told').textContent = JSON.stringify(told);
  await fetch('/told', { method: 'POST' });
})();
</script>"#;

/// Serves the page on a port of its own, for as long as the test binary lives.
fn serve_page(magnum: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let page = PAGE.replace("MAGNUM", magnum);
    let is_told = Arc::new(AtomicBool::new(false));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (page, is_told) = (page.clone(), is_told.clone());
            thread::spawn(move || answer(stream, &page, &is_told));
        }
    });
    port
}

fn answer(mut stream: TcpStream, page: &str, is_told: &AtomicBool) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    // The whole head; there are no bodies.
    lines.find(String::is_empty);
    let body = match request.split(' ').nth(1) {
        Some("/") => page,
        Some("/wait") => {
            wait_until("the page to be through", PATIENCE, || is_told.load(Ordering::Relaxed));
            ""
        }
        Some("/told") => {
            is_told.store(true, Ordering::Relaxed);
            ""
        }
        _ => "",
    };
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length:";
    // The browser may have closed it: it opens some for later.
    let _ = write!(stream, "{head} {length}\r\n\r\n{body}");
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read(&mut [0]);
}

/// What a browser shows of an address, to which `evil.example` leads as well.
fn shown(address: &str) -> String {
    let profile = TempDir::new().unwrap();
    let mut browser = Command::new("chromium");
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    browser.arg("--host-resolver-rules=MAP evil.example 127.0.0.1").arg("--dump-dom");
    browser.arg(format!("--user-data-dir={}", profile.path().display())).arg(address);
    let done = run(browser.env("HOME", profile.path()));
    assert_eq!(done.code, 0, "{done:?}");
    done.out
}

/// How often a route gave a status.
fn answered(server: &Server, method: &str, route: &str, status: u16) -> u64 {
    let start = format!(
        "magnum_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} "
    );
    let metrics = server.get("/metrics").text;
    metrics.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |n| n.parse().unwrap())
}

#[test]
fn a_page_from_elsewhere_reaches_nothing() {
    let server = Server::start(Options::fake());
    server.post("/v1/baymodels", &baymodel("victim")).expect(201);
    let before = head(&server);
    let magnum = server.url().strip_prefix("http://").unwrap();

    // Its own name leads here: the browser takes the page and the API for one site.
    let port = magnum.rsplit(':').next().unwrap();
    let rebound = shown(&format!("http://evil.example:{port}/v1/baymodels"));
    assert!(rebound.contains("misdirected") && !rebound.contains("victim"), "{rebound}");

    let page = shown(&format!("http://evil.example:{}/", serve_page(magnum)));
    let told = page.split("<pre id=\"told\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let told: Value = serde_json::from_str(told.unwrap_or("")).unwrap_or_else(|_| panic!("{page}"));
    // A page does not learn what became of what it may send without asking.
    assert_eq!(
        told,
        json!({
            "read": "refused", "json": "refused", "put": "refused", "remove": "refused",
            "text": "opaque", "urlencoded": "opaque", "untyped": "opaque",
            "image": "refused", "script": "refused", "socket": "refused", "form": "sent",
        })
    );
    for (method, route, count) in [
        ("POST", "/v1/baymodels", 4),
        ("GET", "/v1/baymodels", 1),
        ("GET", "/v1/replay/find", 1),
        ("GET", "/v1/events", 1),
        ("GET", "/v1/events/stream", 1),
    ] {
        assert_eq!(answered(&server, method, route, 403), count, "{method} {route}");
    }
    assert_eq!(head(&server), before, "something was changed");
}
