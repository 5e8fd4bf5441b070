//! What monitoring sees: both formats, valid by the checker of Prometheus, and what they count.

use std::fs;
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Done, Http, Options, PATIENCE, Server, python, run, wait_until};
use crate::rights::Issuer;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a scraper gets that accepts something.
fn scrape(http: &Http, accept: &str) -> Answer {
    let answer = http.send(Method::GET, "/metrics", &[("accept", accept)], None);
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

/// The value of a series; nothing if it is not there.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[track_caller]
fn assert_value(text: &str, series: &str, wanted: f64) {
    assert_eq!(value(text, series), Some(wanted), "{series}\n{text}");
}

/// Waits until a series has a value.
fn wait_for_value(http: &Http, series: &str, wanted: f64) {
    wait_until(series, PATIENCE, || value(&http.get("/metrics").text, series) == Some(wanted));
}

fn container(server: &Server, name: &str, command: &str) {
    let body = json!({ "name": name, "image_id": "busybox:1", "command": command });
    server.post("/v1/containers", &body).expect(201);
    server.put(&format!("/v1/containers/{name}/start")).expect(200);
}

#[test]
fn what_happens_is_counted() {
    let server = Server::start(Options::fake());
    container(&server, "good", "exit 0");
    container(&server, "bad", "exit 3");
    container(&server, "killed", "sleep 3600");
    let body = json!({ "name": "absent", "image_id": "missing/image" });
    assert!(server.post("/v1/containers", &body).status < 500);
    server.put("/v1/containers/killed/kill").expect(200);
    for (kind, wanted) in [("success", 1.0), ("failure", 1.0), ("signal", 1.0)] {
        let series = format!("magnum_container_ends_total{{kind=\"{kind}\"}}");
        wait_for_value(&server, &series, wanted);
    }
    let of = |action: &str, result: &str| {
        let labels = format!("noun=\"container\",action=\"{action}\",result=\"{result}\"");
        format!("magnum_work_total{{{labels}}}")
    };
    wait_for_value(&server, &of("create", "failed"), 1.0);
    wait_for_value(&server, &of("start", "done"), 3.0);
    wait_for_value(&server, "magnum_pulls_total{result=\"done\"}", 1.0);
    wait_for_value(&server, "magnum_pulls_total{result=\"failed\"}", 1.0);
    wait_for_value(&server, "magnum_containers{status=\"Stopped\"}", 3.0);
    let text = server.get("/metrics").text;
    assert_value(&text, &of("create", "done"), 3.0);
    assert_value(&text, "magnum_containers{status=\"Error\"}", 1.0);
    assert_value(&text, "magnum_nodes{status=\"available\"}", 1.0);
    assert_value(&text, "magnum_streams", 0.0);
    let seconds = "magnum_work_seconds_bucket{le=\"3600.0\",noun=\"container\",action=\"start\"}";
    assert_value(&text, seconds, 3.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_value(&text, &format!("magnum_build_info{{version=\"{version}\"}}"), 1.0);
    assert!(value(&text, "magnum_data_used_bytes").is_some_and(|bytes| bytes >= 1e6), "{text}");
    assert!(value(&text, "magnum_data_free_bytes").is_some_and(|bytes| bytes > 0.0), "{text}");
    let bay = server.list("/v1/bays")[0]["uuid"].as_str().unwrap().to_owned();
    assert_value(&text, &format!("magnum_bay_containers{{bay=\"{bay}\"}}"), 4.0);
    assert_value(&text, "magnum_bay_containers{bay=\"other\"}", 0.0);
}

#[test]
fn how_full_each_bay_is_is_for_operators() {
    let issuer = Issuer::new();
    let member = issuer.token("shop", "member");
    let server = Server::start(issuer.options());
    let body = json!({ "name": "web" });
    server.with_token(&member).post("/v1/bays", &body).expect(201);
    let tells = |http: &Http| {
        let text = http.get("/metrics").text;
        assert!(text.contains("magnum_bays{"), "{text}");
        text.contains("magnum_bay_containers")
    };
    assert!(tells(&server));
    let others = [server.as_nobody(), server.with_token(&member), server.with_token("unknown")];
    assert_eq!(others.each_ref().map(tells), [false; 3]);
}

#[test]
fn both_formats_are_valid() {
    let server = Server::start(Options::fake());
    container(&server, "web", "exit 0");
    let prometheus = scrape(&server, "text/plain");
    assert_eq!(prometheus.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &prometheus.text).unwrap();
    let promtool = python().parent().unwrap().join("promtool");
    let mut checker = Command::new(promtool);
    checker.args(["check", "metrics"]).stdin(Stdio::from(fs::File::open(file.path()).unwrap()));
    let checked = Done::of(checker.output().unwrap());
    assert_eq!((checked.code, checked.err.as_str()), (0, ""), "{}", prometheus.text);
    let open = scrape(&server, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert_eq!(open.header("content-type"), OPENMETRICS);
    fs::write(file.path(), &open.text).unwrap();
    let script = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
        names = {family.name for family in read(open(sys.argv[1]).read())}\n\
        assert 'magnum_work' in names and 'magnum_build' in names, names\n";
    let read = run(Command::new(python()).args(["-c", script]).arg(file.path()));
    assert_eq!(read.code, 0, "{}\n{}", read.err, open.text);
}

#[test]
fn the_age_of_the_last_backup_is_known_where_backups_are() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("backup");
    let server = Server::start(Options::fake().arg("--backup-dir").arg(target.to_str().unwrap()));
    let age = |text: &str| value(text, "magnum_backup_age_seconds");
    assert_eq!(age(&server.get("/metrics").text), None, "there is none yet");
    let program = env!("CARGO_BIN_EXE_magnum");
    let mut backup = Command::new(program);
    backup.arg("backup").arg("--data").arg(server.data()).arg(&target);
    assert_eq!(run(&mut backup).code, 0);
    wait_until("the age", PATIENCE, || age(&server.get("/metrics").text).is_some());
}
