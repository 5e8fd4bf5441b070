//! The real program, started for a test: on a free port, with a data directory of its own, and
//! nothing left on the engine when the test ends. Also: waiting for a condition.
//!
//! Not here: what is asked of the server (one file a noun).

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use magnum::credentials;
use reqwest::Method;
use reqwest::header::HeaderMap;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Longer than anything takes on a machine that also compiles; only failing tests wait for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a program did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a program to its end, with nothing on stdin.
pub fn run(command: &mut Command) -> Done {
    Done::of(command.stdin(Stdio::null()).output().unwrap())
}

/// Compares with a file below `tests/golden` that `MAGNUM_BLESS=1` writes.
#[track_caller]
pub fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("MAGNUM_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{name} differs; MAGNUM_BLESS=1 accepts it");
}

/// How the server is started.
#[derive(Clone)]
pub struct Options {
    engine: &'static str,
    args: Vec<String>,
    data: Option<PathBuf>,
    environment: Vec<(&'static str, PathBuf)>,
    token: Option<String>,
}

impl Options {
    /// On the real Docker engine of this machine.
    pub fn docker() -> Self {
        Self::on("docker")
    }

    /// On the model in memory.
    pub fn fake() -> Self {
        Self::on("fake")
    }

    fn on(engine: &'static str) -> Self {
        Self { engine, args: Vec::new(), data: None, environment: Vec::new(), token: None }
    }

    /// With another argument of `magnum serve`.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// With a variable of the environment that names a file.
    pub fn variable(mut self, name: &'static str, file: &Path) -> Self {
        self.environment.push((name, file.to_owned()));
        self
    }

    /// With what says who looks for its node, where it asks that.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// With its data in a folder that the test made, and removes.
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }
}

/// A running server; ends with the value, and takes its containers and networks along.
pub struct Server {
    options: Options,
    home: TempDir,
    child: Option<Child>,
    http: Http,
    nodes: Vec<String>,
}

impl Server {
    /// Starts it and waits until it serves and has a node.
    pub fn start(options: Options) -> Self {
        let home = tempfile::Builder::new().prefix("magnum-it-").tempdir().unwrap();
        let http = Http { token: options.token.clone(), ..Http::new() };
        let mut server = Self { options, home, child: None, http, nodes: Vec::new() };
        server.launch(0).unwrap_or_else(|problem| panic!("{problem}\n{}", server.stderr()));
        server.learn_nodes();
        server
    }

    /// Starts it again on the same data after [`Server::kill`] or [`Server::stop`]; on the same
    /// port unless somebody else took that.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "kill or stop the server first");
        let port = self.http.base.rsplit(':').next().unwrap().parse().unwrap();
        if self.launch(port).is_err() {
            self.launch(0).unwrap_or_else(|problem| panic!("{problem}\n{}", self.stderr()));
        }
        self.learn_nodes();
    }

    /// Runs the program and waits for the line that says where it listens.
    fn launch(&mut self, port: u16) -> Result<(), String> {
        let stderr = File::options().create(true).append(true).open(self.stderr_path()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_magnum"))
            .args(["serve", "--backend", self.options.engine])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg("--data")
            .arg(self.data())
            .args(&self.options.args)
            .envs(self.options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        let (tell, told) = mpsc::channel();
        // Reads on after the line, so that the server never finds its stdout closed or full.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("magnum: listening on ") {
                    let _ = tell.send(url.trim_end_matches('/').to_owned());
                }
            }
        });
        match told.recv_timeout(PATIENCE) {
            Ok(url) => {
                self.http.base = url;
                Ok(())
            }
            Err(_) => {
                self.kill();
                Err("the server did not say `magnum: listening on http://…`".to_owned())
            }
        }
    }

    /// Waits for the node and remembers it, for cleaning up after the server is gone.
    fn learn_nodes(&mut self) {
        self.nodes = wait_for("a node", PATIENCE, || {
            let nodes = self.http.try_get("/v1/nodes").ok()?.json;
            let uuids = nodes["nodes"].as_array()?.iter().filter_map(|node| node["uuid"].as_str());
            let uuids: Vec<String> = uuids.map(str::to_owned).collect();
            (!uuids.is_empty()).then_some(uuids)
        });
    }

    /// The folder that survives restarts.
    pub fn data(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.home.path().join("data"))
    }

    fn stderr_path(&self) -> PathBuf {
        self.home.path().join("stderr.log")
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// What the server logged so far, over all restarts.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.stderr_path()).unwrap_or_default()
    }

    /// Ends it as a power cut would: SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends it as an operator would: SIGTERM; how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        wait_for("the server to end", PATIENCE, || child.try_wait().unwrap())
    }

    /// A way to the server that other threads can have; it stays on the present port.
    pub fn http(&self) -> Http {
        self.http.clone()
    }

    /// Removes what this server made on the engine.
    fn clean_engine(&self) {
        for node in &self.nodes {
            let filter = format!("label=magnum.node={node}");
            let containers = docker(&["ps", "--all", "--quiet", "--filter", &filter]);
            let networks = docker(&["network", "ls", "--quiet", "--filter", &filter]);
            for container in containers.lines() {
                docker(&["rm", "--force", "--volumes", container]);
            }
            for network in networks.lines() {
                docker(&["network", "rm", network]);
            }
        }
    }
}

impl Deref for Server {
    type Target = Http;

    fn deref(&self) -> &Http {
        &self.http
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- the server's stderr ---\n{}", self.stderr());
        }
        if self.options.engine == "docker" {
            self.clean_engine();
        }
    }
}

/// The Python of the tests, with what scripts/requirements.txt names.
pub fn python() -> PathBuf {
    let venv = std::env::var_os("MAGNUM_VENV").unwrap_or_else(|| ".venv".into());
    let program = PathBuf::from(venv).join("bin/python");
    assert!(program.exists(), "{}: run scripts/install.sh test", program.display());
    program
}

/// Runs the `docker` program and gives its output; fails softly, with a word on stderr.
pub fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker is installed");
    if !output.status.success() {
        eprintln!("docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A blocking HTTP client; to be used from plain threads, not inside an async runtime.
#[derive(Clone)]
pub struct Http {
    base: String,
    client: reqwest::Client,
    runtime: Arc<Runtime>,
    /// Who asks, where that is asked.
    pub token: Option<String>,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body; `Null` where it is no JSON.
    pub json: Value,
    pub text: String,
}

impl Answer {
    /// The body, if the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json
    }

    /// A header as text; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Http {
    pub fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = credentials::plain().timeout(PATIENCE).build().unwrap();
        Self { base: String::new(), client, runtime: Arc::new(runtime), token: None }
    }

    /// The same as somebody else.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same as somebody who does not say who it is.
    pub fn as_nobody(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The same client on another way to the server.
    pub fn by_way_of(&self, url: &str) -> Self {
        Self { base: url.to_owned(), ..self.clone() }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Any request; an error where the server is gone or does not answer.
    pub fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("x-auth-token", token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.runtime.block_on(async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let text = response.text().await?;
            let json = serde_json::from_str(&text).unwrap_or(Value::Null);
            Ok(Answer { status, headers, json, text })
        })
    }

    /// Any request to a server that is expected to answer.
    #[track_caller]
    pub fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        self.try_send(method.clone(), path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    pub fn try_get(&self, path: &str) -> reqwest::Result<Answer> {
        self.try_send(Method::GET, path, &[], None)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None)
    }

    /// The objects in a list.
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<Value> {
        let list = self.get(path).expect(200);
        let rows = list.as_object().unwrap().values().find_map(Value::as_array);
        rows.unwrap_or_else(|| panic!("{list}")).clone()
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body))
    }

    #[track_caller]
    pub fn put(&self, path: &str) -> Answer {
        self.send(Method::PUT, path, &[], None)
    }

    #[track_caller]
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, &[], Some(body))
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None)
    }
}

/// Waits until the closure gives something, and gives that; fails after the time.
#[track_caller]
pub fn wait_for<T>(what: &str, timeout: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < timeout, "waited {timeout:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the closure says yes; fails after the time.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut probe: impl FnMut() -> bool) {
    wait_for(what, timeout, || probe().then_some(()));
}
