//! A real Keystone for the tests, started once for all of them: its database and keys in a
//! temporary folder, served by uWSGI on a free port. It ends with the process of the tests,
//! however that ends.
//!
//! Not here: what is expected of Magnum with it (`keystone`, and the other files of this folder).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::harness::{Http, Options, PATIENCE, python, wait_until};

/// The password of everybody.
pub const PASSWORD: &str = "a secret of the tests";

/// Makes the database and, in it, the user and project `admin` and the roles. One process for
/// both: most of the time goes into the imports.
const BOOTSTRAP: &str = "
import sys
from keystone.cmd import cli
manage = ['keystone-manage', '--config-file', sys.argv[1]]
cli.main([*manage, 'db_sync'])
cli.CONF.reset()
cli.main([*manage, 'bootstrap', '--bootstrap-password', sys.argv[2]])
";

/// Copies the database as it stands. Two that serve one file would lock each other out of it.
const COPY: &str = "
import sqlite3, sys
sqlite3.connect(sys.argv[1], timeout=60).execute('VACUUM INTO ?', sys.argv[2:])
";

/// Runs a program until stdin ends, which it does with the process that holds its other end; then
/// removes a folder, if one is named.
const UNTIL_STDIN_ENDS: &str = "
trap '' INT TERM HUP
folder=$1; shift
\"$@\" &
cat >/dev/null
kill -KILL $!; wait
[ -z \"$folder\" ] || rm -rf \"$folder\"
";

static SHARED: LazyLock<Keystone> = LazyLock::new(Keystone::start);

/// The one that all tests share.
pub fn keystone() -> &'static Keystone {
    &SHARED
}

/// A Keystone, as its administrator.
pub struct Keystone {
    folder: PathBuf,
    /// Later files overrule earlier ones.
    config: Vec<PathBuf>,
    log: PathBuf,
    /// Keeps its port while nothing listens there.
    port: TcpSocket,
    process: Child,
    admin: Http,
    /// The id of the administrator's project.
    pub admin_project: String,
}

/// Somebody with a project and roles in it.
pub struct User {
    pub id: String,
    pub name: String,
    pub project_id: String,
    pub project: String,
}

impl Keystone {
    /// A new one.
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("magnum-keystone-").tempdir().unwrap().keep();
        for keys in ["fernet", "credential"] {
            let keys = folder.join(keys);
            fs::create_dir(&keys).unwrap();
            for name in ["0", "1"] {
                fs::write(keys.join(name), URL_SAFE.encode(magnum::clock::secret().unwrap()))
                    .unwrap();
            }
        }
        let here = folder.display();
        let config = format!(
            "[DEFAULT]\nlog_file = {here}/keystone.log\n\
             [database]\nconnection = sqlite:///{here}/keystone.db\n\
             [fernet_tokens]\nkey_repository = {here}/fernet\n\
             [fernet_receipts]\nkey_repository = {here}/fernet\n\
             [credential]\nkey_repository = {here}/credential\n\
             [cache]\nenabled = true\nbackend = dogpile.cache.memory\n\
             [identity]\npassword_hash_rounds = 4\n"
        );
        let path = folder.join("keystone.conf");
        fs::write(&path, config).unwrap();
        fs::write(folder.join("password"), format!("{PASSWORD}\n")).unwrap();
        run_python(BOOTSTRAP, &[&path, Path::new(PASSWORD)]);
        let keystone = Self::serve(&folder, &[path], free_port(), true);
        let role = keystone.role("service");
        let service = json!({ "project": { "name": "service", "domain_id": "default" } });
        let project = keystone.admin.post("/v3/projects", &service).expect(201);
        keystone.user_in("magnum", project["project"]["id"].as_str().unwrap(), &[&role]);
        keystone
    }

    /// Another one on a port of its own, which the test may end. It has the same keys and the users
    /// that there are by now, and goes its own way from there. `more` is what is set besides.
    pub fn another(&self, more: &str) -> Self {
        let new = |suffix| {
            let file = tempfile::Builder::new().suffix(suffix).tempfile_in(&self.folder).unwrap();
            file.keep().unwrap().1
        };
        let (database, config) = (new(".db"), new(".conf"));
        run_python(COPY, &[&self.folder.join("keystone.db"), &database]);
        let connection = format!("[database]\nconnection = sqlite:///{}\n", database.display());
        fs::write(&config, connection + more).unwrap();
        let config = [self.folder.join("keystone.conf"), config];
        Self::serve(&self.folder, &config, free_port(), false)
    }

    /// Starts it again on the same port, once it was stopped.
    pub fn again(self) -> Self {
        Self::serve(&self.folder, &self.config, self.port, false)
    }

    fn serve(folder: &Path, config: &[PathBuf], port: TcpSocket, owns: bool) -> Self {
        let log = tempfile::Builder::new().suffix(".log").tempfile_in(folder).unwrap();
        let log = log.keep().unwrap().1;
        let out = File::options().append(true).open(&log).unwrap();
        let python = python();
        let venv = python.parent().and_then(Path::parent).unwrap();
        let files: Vec<_> = config.iter().map(|file| file.to_str().unwrap()).collect();
        let address = port.local_addr().unwrap();
        let process = Command::new("sh")
            .args(["-c", UNTIL_STDIN_ENDS, "sh"])
            .arg(if owns { folder } else { Path::new("") })
            .arg(venv.join("bin/uwsgi"))
            .args(["--reuse-port", "--http-socket", &address.to_string()])
            .arg("--virtualenv")
            .arg(venv)
            .args(["--module", "keystone.wsgi.api:application", "--need-app"])
            .args(["--buffer-size", "65535"])
            // It does, and does not say so by itself.
            .args(["--add-header", "Connection: close"])
            .env("OS_KEYSTONE_CONFIG_FILES", files.join(";"))
            .stdin(Stdio::piped())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        wait_until("Keystone", PATIENCE, || {
            fs::read_to_string(&log).unwrap().contains("spawned uWSGI worker 1")
        });
        let http = Http::new().by_way_of(&format!("http://{address}"));
        let (folder, config) = (folder.to_owned(), config.to_vec());
        let admin_project = String::new();
        let mut keystone = Self { folder, config, log, port, process, admin: http, admin_project };
        let token = keystone.token_of("admin", Some("admin"));
        keystone.admin.token = Some(token);
        let projects = keystone.admin.get("/v3/projects?name=admin").expect(200);
        keystone.admin_project = projects["projects"][0]["id"].as_str().unwrap().to_owned();
        keystone
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        self.admin.url()
    }

    /// The administrator's way to its API.
    pub const fn admin(&self) -> &Http {
        &self.admin
    }

    /// A token of the administrator.
    pub fn admin_token(&self) -> &str {
        self.admin.token.as_deref().unwrap()
    }

    /// How often it was asked for what begins so: `GET /v3/auth/tokens`.
    pub fn asked(&self, line: &str) -> usize {
        fs::read_to_string(&self.log).unwrap().matches(line).count()
    }

    /// A Magnum on the model engine that asks this Keystone.
    pub fn magnum(&self) -> Options {
        self.magnum_by(self.url())
    }

    /// The same by way of another address.
    pub fn magnum_by(&self, url: &str) -> Options {
        let arguments = self.arguments(url);
        let options = arguments.iter().fold(Options::fake(), |options, it| options.arg(it));
        options.token(self.admin_token())
    }

    /// What such a Magnum is started with.
    pub fn arguments(&self, url: &str) -> [String; 3] {
        let file = self.folder.join("password");
        [
            "--auth=keystone".to_owned(),
            format!("--keystone-url={url}/v3"),
            format!("--keystone-password-file={}", file.display()),
        ]
    }

    /// Somebody in a new project, with these roles in it.
    pub fn user(&self, roles: &[&str]) -> User {
        let name = new_name("project");
        let body = json!({ "project": { "name": name, "domain_id": "default" } });
        let made = self.admin.post("/v3/projects", &body).expect(201);
        let project_id = made["project"]["id"].as_str().unwrap().to_owned();
        self.member(&project_id, &name, roles)
    }

    /// Somebody else in the same project.
    pub fn colleague(&self, user: &User, roles: &[&str]) -> User {
        self.member(&user.project_id, &user.project, roles)
    }

    fn member(&self, project_id: &str, project: &str, roles: &[&str]) -> User {
        let roles: Vec<String> = roles.iter().map(|role| self.role(role)).collect();
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        let name = new_name("user");
        let id = self.user_in(&name, project_id, &roles);
        User { id, name, project_id: project_id.to_owned(), project: project.to_owned() }
    }

    /// Makes a user with roles in a project; the id.
    pub fn user_in(&self, name: &str, project_id: &str, roles: &[&str]) -> String {
        let user = json!({ "name": name, "password": PASSWORD, "domain_id": "default" });
        let made = self.admin.post("/v3/users", &json!({ "user": user })).expect(201);
        let id = made["user"]["id"].as_str().unwrap();
        for role in roles {
            self.admin
                .put(&format!("/v3/projects/{project_id}/users/{id}/roles/{role}"))
                .expect(204);
        }
        id.to_owned()
    }

    /// The id of a role.
    pub fn role(&self, name: &str) -> String {
        let roles = self.admin.get(&format!("/v3/roles?name={name}")).expect(200);
        roles["roles"][0]["id"].as_str().unwrap().to_owned()
    }

    /// A new token of somebody for their project.
    pub fn token(&self, user: &User) -> String {
        self.token_of(&user.name, Some(&user.project))
    }

    /// A new token, for no project where none is named.
    pub fn token_of(&self, user: &str, project: Option<&str>) -> String {
        let domain = json!({ "id": "default" });
        let user = json!({ "name": user, "domain": domain, "password": PASSWORD });
        let identity = json!({ "methods": ["password"], "password": { "user": user } });
        let mut auth = json!({ "identity": identity });
        auth["scope"] = match project {
            Some(project) => json!({ "project": { "name": project, "domain": domain } }),
            None => Value::from("unscoped"),
        };
        let nobody = self.admin.as_nobody();
        let answer = nobody.post("/v3/auth/tokens", &json!({ "auth": auth }));
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.header("x-subject-token").to_owned()
    }

    /// Revokes a token.
    pub fn revoke(&self, token: &str) {
        let headers = [("x-subject-token", token)];
        self.admin.send(Method::DELETE, "/v3/auth/tokens", &headers, None).expect(204);
    }

    /// Sets whether a `user` or `project` is enabled.
    pub fn enable(&self, kind: &str, id: &str, enabled: bool) {
        let body = json!({ kind: { "enabled": enabled } });
        self.admin.patch(&format!("/v3/{kind}s/{id}"), &body).expect(200);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

/// A port that is kept although nothing listens there: only those who agree to share it get it.
fn free_port() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

/// Runs a script to its end.
fn run_python(script: &str, arguments: &[&Path]) {
    let mut python = Command::new(python());
    let made = python.args(["-W", "ignore", "-c", script]).args(arguments).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A name that no other test has.
fn new_name(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
