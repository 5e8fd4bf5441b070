//! Changes over HTTP, with the load generator on the same cores as the server.
//!
//! Not here: reading (`views`).

use std::time::Duration;

use crate::report::Report;
use crate::server::Server;

/// Connections that stay open, each with one request at a time.
const CONNECTIONS: u32 = 64;

/// How long each is measured, after as long a warm-up as a server has on its first requests.
const LASTS: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(2);

/// Answers in a second.
const RATE: f64 = 8_000.0;

/// The longest of ninety-nine in a hundred.
const P99: Duration = Duration::from_millis(25);

const BAYMODEL: &str = r#"return wrk.format("POST", "/v1/baymodels",
    { ["Content-Type"] = "application/json" }, string.format(
    '{"name":"m%d","image_id":"busybox","keypair_id":"k","coe":"docker"}', n))"#;

const BAY: &str = r#"return wrk.format("POST", "/v1/bays",
    { ["Content-Type"] = "application/json" }, string.format(
    '{"name":"b%d","baymodel_id":"small","node_count":1}', n))"#;

/// Measures both nouns.
pub fn measure(report: &mut Report) {
    for (what, request, target) in [
        ("`POST /v1/baymodels`, one event each", BAYMODEL, true),
        ("`POST /v1/bays`, two events and work each", BAY, false),
    ] {
        let server = Server::start();
        server.post(
            "/v1/baymodels",
            r#"{"name":"small","image_id":"i","keypair_id":"k","coe":"docker"}"#,
        );
        server.load(CONNECTIONS, WARM_UP, request);
        let load = server.load(CONNECTIONS, LASTS, request);
        assert_eq!(load.failed, 0, "requests failed");
        let figure = format!("{:.0}/s, p50 {:.2?}, p99 {:.2?}", load.rate, load.p50, load.p99);
        let reached = !target || (load.rate >= RATE && load.p99 < P99);
        let wanted = if target { "8,000/s, p99 under 25 ms" } else { "nothing" };
        let beside = format!("{CONNECTIONS} connections, wrk on the same cores");
        report.add(what, &figure, wanted, reached, &beside);
    }
}
