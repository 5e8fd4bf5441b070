//! Who may do what: each method of each route for each role, as the table in `docs/operations.md`
//! says, which is generated. `MAGNUM_BLESS=1` writes that again.
//!
//! Not here: what is of which project (`keystone`), how tokens are issued (`tokens`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use magnum::http::edge::token_file::{NewToken, TokenFile};
use magnum::http::policy_document;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Options, Server, run};
use crate::requests::{baymodel, refused};
use crate::stream_client::{Follower, TRANSPORTS};

const BEGIN: &str = "<!-- rights: generated, see tests/it/rights.rs -->\n";
const END: &str = "<!-- /rights -->\n";

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

#[test]
fn the_table_in_the_documentation_is_what_requests_are_checked_with() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let wanted = policy_document();
    if env::var_os("MAGNUM_BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(table, wanted, "run this test with MAGNUM_BLESS=1 and look at the difference");
}

/// A server with tokens of its own.
pub struct Issuer {
    home: TempDir,
    pub file: TokenFile,
}

impl Issuer {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::new(home.path());
        Self { home, file }
    }

    /// A token of somebody.
    pub fn token(&self, project: &str, role: &str) -> String {
        let [project, user, role] = [project, "ann", role].map(str::to_owned);
        self.file.create(NewToken { project, user, role, expires_at: None }).unwrap().0
    }

    pub fn data(&self) -> &Path {
        self.home.path()
    }

    /// A server that accepts them; the test itself is an operator.
    pub fn options(&self) -> Options {
        let operator = self.token("admin", "admin");
        Options::fake().arg("--auth=tokens").data(self.data()).token(&operator)
    }
}

/// The roles that each action takes, as the documentation says.
fn rights() -> BTreeMap<String, Vec<String>> {
    let table = policy_document();
    let rows = table.lines().skip(2).map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let bare = |text: &str| text.trim_matches('`').to_owned();
    rows.map(|cells| (bare(cells[1]), cells[2].split(", ").map(bare).collect())).collect()
}

/// The action that a request is, told by another rule than the service's own table; nothing where
/// it is for everybody.
fn action(method: &str, path: &str, is_served: bool) -> &'static str {
    let looks = ["GET", "HEAD", "OPTIONS"].contains(&method);
    match (looks, is_served, path) {
        _ if method == "OPTIONS" => "",
        (true, true, "/" | "/healthz" | "/readyz" | "/metrics") => "",
        // There is nothing at them where somebody is asked who they are.
        (_, true, "/v2.0" | "/v2.0/tokens" | "/v3" | "/v3/auth/tokens") => "",
        (true, true, "/v1/replay/verify") => "replay:verify",
        (true, true, "/v1/containers/{ident}/logs") => "container:logs",
        (true, true, path) if path.ends_with("/output") => "container:execute",
        (_, true, "/v1/session") => "object:read",
        (false, true, path) if path.starts_with("/v1/nodes") => "node:change",
        (false, true, path) if path.starts_with("/v1/keys") => "key:erase",
        (false, true, path) if path.contains("/execut") => "container:execute",
        (true, ..) => "object:read",
        (false, ..) => "object:change",
    }
}

#[test]
fn each_method_of_each_route_is_for_the_roles_of_its_row() {
    let issuer = Issuer::new();
    let server = Server::start(issuer.options());
    let document = server.get("/v1/openapi.json").expect(200);
    let paths = document["paths"].as_object().unwrap();
    let rights = rights();
    assert!(paths.len() > 40 && rights.len() > 8, "{rights:?}");
    let of_shop = |role| (role, server.with_token(&issuer.token("shop", role)));
    let callers = [
        ("nobody", server.as_nobody()),
        of_shop("none"),
        of_shop("reader"),
        of_shop("member"),
        of_shop("manager"),
        of_shop("admin"),
        ("operator", server.http()),
    ];
    crate::harness::wait_until("the tokens to be read", crate::harness::PATIENCE, || {
        callers[1..].iter().all(|(_, http)| http.get("/v1").status != 401)
    });
    for (role, http) in &callers {
        for (path, method) in paths.keys().flat_map(|path| METHODS.map(|method| (path, method))) {
            let listed = if method == "HEAD" { "GET" } else { method };
            // What changes `detail` changes an object of this name.
            let meant = path.strip_suffix("/detail").filter(|_| listed != "GET");
            let meant = meant.map_or(path.clone(), |all| format!("{all}/{{ident}}"));
            let is_served = paths[&meant].get(listed.to_lowercase()).is_some();
            let action = action(method, &meant, is_served);
            let roles = rights.get(action);
            let has = |role: &str| roles.is_some_and(|roles| roles.iter().any(|it| it == role));
            // An operator is an admin as well.
            let may = action.is_empty() || has(role) || (*role == "operator" && has("admin"));
            if may && path.ends_with("/stream") {
                // It answers for as long as one listens.
                continue;
            }
            let method: Method = method.parse().unwrap();
            let status = http.send(method.clone(), path, &[], None).status;
            match (*role, may) {
                ("nobody", false) => assert_eq!(status, 401, "{method} {path}"),
                (_, false) => assert_eq!(status, 403, "{role}: {method} {path}"),
                _ if method == "OPTIONS" => {
                    let is_absent = path.starts_with("/v2.0") || path.starts_with("/v3");
                    assert_eq!(status, if is_absent { 404 } else { 204 }, "{role}: {path}");
                }
                _ if is_served => assert!(![401, 403].contains(&status), "{role}: {method} {path}"),
                _ => assert_eq!(status, 405, "{role}: {method} {path}"),
            }
        }
    }
}

#[test]
fn an_operator_can_change_a_row() {
    let issuer = Issuer::new();
    let (reader, member) = (issuer.token("shop", "reader"), issuer.token("shop", "member"));
    let server = Server::start(issuer.options().arg("--policy=container:logs=member"));
    let words = refused(&server.with_token(&reader).get("/v1/containers/web/logs"), 403);
    assert!(words.contains("the role member in the project"), "{words}");
    refused(&server.with_token(&member).get("/v1/containers/web/logs"), 404);
    server.with_token(&reader).get("/v1/containers").expect(200);
    for (row, words) in [("logs=member", "no action"), ("container:logs=boss", "no role")] {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_magnum"));
        serve.args(["serve", "--backend=fake", "--listen=127.0.0.1:0", "--auth=tokens"]);
        let other = Issuer::new();
        let done = run(serve.arg("--data").arg(other.data()).arg(format!("--policy={row}")));
        assert!(done.code == 1 && done.err.contains(words), "{done:?}");
    }
}

/// An attribute of each of the events that somebody gets.
fn each<'a, T: FromIterator<&'a str>>(page: &'a Value, attribute: &str) -> T {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| event[attribute].as_str().unwrap()).collect()
}

/// The types of the events of a page.
fn types(page: &Value) -> Vec<&str> {
    each(page, "type")
}

#[test]
fn what_was_audited_is_shown_to_those_who_may_see_it() {
    let issuer = Issuer::new();
    let (reader, member) = (issuer.token("shop", "reader"), issuer.token("shop", "member"));
    let server = Server::start(issuer.options());
    let (reader, member) = (server.with_token(&reader), server.with_token(&member));
    let id = "req-6f1c2a4e-8f0b-4f0e-9a51-0c2b7e8d1319";
    let refusal = [("x-openstack-request-id", id)];
    refused(&member.send(Method::GET, "/v1/replay/verify", &refusal, None), 403);
    let query = "/v1/events?type=audit.command_refused";
    let seen = member.get(query).expect(200);
    assert_eq!(types(&seen), ["magnum.audit.command_refused.v1"]);
    for query in [query, "/v1/events?kind=audit", "/v1/events"] {
        assert_eq!(reader.get(query).expect(200)["events"], json!([]), "{query}");
    }
    member.get(&format!("/v1/trace/{id}")).expect(200);
    refused(&reader.get(&format!("/v1/trace/{id}")), 404);
}

/// The projects of the events of a page.
fn projects(page: &Value) -> BTreeSet<&str> {
    each(page, "project")
}

#[test]
fn auditors_of_the_operators_read_and_follow_all_projects_and_nobody_else_does() {
    let issuer = Issuer::new();
    let who = |project: &'static str, role| (project, role, issuer.token(project, role));
    let others = [
        who("shop", "reader"),
        who("shop", "member"),
        who("shop", "admin"),
        who("garden", "admin"),
        who("admin", "reader"),
    ];
    let auditors = [who("admin", "member"), who("admin", "admin")];
    let server = Server::start(issuer.options());
    let mut made = Vec::new();
    for (project, role, token) in &others[2..4] {
        let http = server.with_token(token);
        let mut model = http.post("/v1/baymodels", &baymodel(project)).expect(201);
        made.push(model["uuid"].take());
        refused(&http.get("/v1/replay/verify"), 403);
        assert_eq!(*role, "admin");
    }
    for (project, role, token) in &others {
        let http = server.with_token(token);
        let other = if *project == "shop" { "garden" } else { "shop" };
        for asked in ["all", "default", other] {
            for path in ["/v1/events", "/v1/events/stream"] {
                let query = format!("{path}?project={asked}");
                let told = refused(&http.get(&query), 400);
                assert!(told.contains("Only events of your own project"), "{role}: {told}");
            }
        }
        let seen = http.get("/v1/events?limit=1000").expect(200);
        assert!(projects(&seen).iter().all(|seen| seen == project), "{role} of {project}: {seen}");
    }
    for (_, _, token) in &auditors {
        let http = server.with_token(token);
        let all = http.get("/v1/events?project=all&limit=1000").expect(200);
        assert!(projects(&all).is_superset(&["default", "garden", "shop"].into()), "{all}");
        let shop = http.get("/v1/events?project=shop").expect(200);
        assert_eq!(projects(&shop), ["shop"].into());
        assert!(types(&shop).contains(&"magnum.audit.command_refused.v1"), "{shop}");
        let is_model = |event: &&Value| event["type"] == "magnum.baymodel.created.v1";
        let model = shop["events"].as_array().unwrap().iter().find(is_model);
        assert_eq!(model.unwrap()["objectname"], "shop");
        let nodes = http.get("/v1/events?project=all&kind=node").expect(200);
        assert!(types(&nodes).contains(&"magnum.node.came_up.v1"), "{nodes}");
        for transport in TRANSPORTS {
            let query = format!("after=0&project=all&object=baymodel/{}", text(&made[1]));
            let event = Follower::open(&http, transport, &query, None).unwrap().event();
            assert_eq!(
                (&event.data["project"], &event.data["objectname"]),
                (&json!("garden"), &json!("garden")),
                "{transport:?}"
            );
            let query = "after=0&project=default&kind=node";
            let event = Follower::open(&http, transport, query, None).unwrap().event();
            assert_eq!(event.data["type"], "magnum.node.created.v1", "{transport:?}");
        }
        // Events, and nothing else of them.
        refused(&http.get(&format!("/v1/baymodels/{}", text(&made[0]))), 404);
        refused(&http.get("/v1/events/stream?snapshot=1&project=shop"), 400);
    }
    // Names are those of the project that is asked for.
    let http = server.with_token(&auditors[0].2);
    let named = http.get("/v1/events?project=shop&object=baymodel/shop").expect(200);
    let subject = format!("baymodel/{}", text(&made[0]));
    let of_it = |event: &Value| event["subject"] == subject || event["data"]["object"] == subject;
    assert!(named["events"].as_array().unwrap().iter().all(of_it), "{named}");
    assert!(types(&named).contains(&"magnum.baymodel.created.v1"), "{named}");
    refused(&http.get("/v1/events?project=shop&object=baymodel/garden"), 400);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
