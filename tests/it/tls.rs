//! TLS in the server itself: certificates from files, with curl and our own CLI as clients.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::door::{Large, Own, refused_at_once};
use crate::harness::{Done, PATIENCE, run, wait_until};

/// What openssl is told: an authority, and a certificate for this machine.
const EXTENSIONS: &str = "[req]\ndistinguished_name = dn\n[dn]\n\
    [ca]\nbasicConstraints = critical,CA:TRUE\n\
    [own]\nbasicConstraints = critical,CA:FALSE\nsubjectAltName = IP:127.0.0.1,DNS:localhost\n";

/// Files of an authority and of a certificate that it signed.
pub struct Files {
    home: TempDir,
}

impl Files {
    /// Of an authority (`ca.pem`), or of a certificate that it signed and its key (`own.pem`,
    /// `own.key`).
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The same as an argument.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn openssl(&self, args: &[&str]) {
        let done = run(Command::new("openssl").args(args).current_dir(self.home.path()));
        assert_eq!(done.code, 0, "{args:?} {done:?}");
    }

    /// Makes an authority, and a certificate with its key by it.
    pub fn make() -> Self {
        let files = Self { home: TempDir::new().unwrap() };
        fs::write(files.path("conf"), EXTENSIONS).unwrap();
        let curve = "ec_paramgen_curve:prime256v1";
        let new = ["-x509", "-newkey", "ec", "-pkeyopt", curve, "-nodes", "-days", "2"];
        let req = [&["req", "-config", "conf"][..], &new[..]].concat();
        let ca = ["-subj", "/CN=ca", "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem"];
        files.openssl(&[&req[..], &ca[..]].concat());
        let own = ["-subj", "/CN=own", "-extensions", "own", "-CA", "ca.pem", "-CAkey", "ca.key"];
        let out = ["-keyout", "own.key", "-out", "own.pem"];
        files.openssl(&[&req[..], &own[..], &out[..]].concat());
        files
    }

    /// Takes over the certificate of others, as an operator replaces files.
    fn replace_by(&self, other: &Self) {
        for name in ["own.pem", "own.key"] {
            fs::copy(other.path(name), self.path(name)).unwrap();
        }
    }

    fn serve(&self) -> Own {
        let (certificate, key) = (self.text("own.pem"), self.text("own.key"));
        Own::start("", &["--tls-cert", &certificate, "--tls-key", &key])
    }

    /// What curl says that knows this authority.
    fn curl(&self, url: &str) -> Done {
        let ca = self.path("ca.pem");
        run(Command::new("curl").args(["-sS", "-m", "60", "--cacert"]).arg(ca).arg(url))
    }
}

fn magnum(server: &Own, ca: Option<&Path>) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    command.args(["bay-list", "-o", "json", "--magnum-url", &server.url]).env_remove("OS_CACERT");
    run(command.envs(ca.map(|ca| ("OS_CACERT", ca))))
}

pub fn hang_up(server: &Own) {
    kill_process(Pid::from_child(server.child()), Signal::HUP).unwrap();
}

#[test]
fn clients_that_know_the_authority_are_served() {
    let files = Files::make();
    let server = files.serve();
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let root = files.curl(&format!("{}/v1", server.url));
    assert_eq!(root.json()["links"][0]["href"], format!("{}/v1/", server.url));
    let made = Files::make();
    assert_ne!(made.curl(&server.url).code, 0, "another authority signed it");
    let plain = files.curl(&server.url.replace("https", "http"));
    assert!(!plain.out.contains("Magnum"), "{plain:?}");
    assert!(server.stderr().contains("expires"), "{}", server.stderr());

    let known = magnum(&server, Some(&files.path("ca.pem")));
    assert_eq!((known.code, known.out.trim()), (0, "[]"), "{known:?}");
    let unknown = magnum(&server, Some(&made.path("ca.pem")));
    assert!(unknown.code != 0 && unknown.err.contains("certificate"), "{unknown:?}");
    let missing = magnum(&server, Some(Path::new("nowhere.pem")));
    assert!(missing.code != 0 && missing.err.contains("nowhere.pem"), "{missing:?}");
}

#[test]
fn a_certificate_is_replaced_without_a_restart() {
    let (files, other) = (Files::make(), Files::make());
    let server = files.serve();
    // In the older form of a key as well.
    other.openssl(&["ec", "-in", "own.key", "-out", "own.key"]);
    files.replace_by(&other);
    assert_eq!(files.curl(&server.url).code, 0, "not before it is told");
    hang_up(&server);
    wait_until("the new certificate", PATIENCE, || other.curl(&server.url).code == 0);
    assert_ne!(files.curl(&server.url).code, 0);

    fs::write(files.path("own.pem"), "broken").unwrap();
    hang_up(&server);
    wait_until("a line in the log", PATIENCE, || server.stderr().contains("not reloaded"));
    assert_eq!(other.curl(&server.url).code, 0, "the last good one stays");
}

#[test]
fn a_server_without_its_certificate_does_not_start() {
    let (files, other) = (Files::make(), Files::make());
    fs::copy(other.path("own.key"), files.path("other.key")).unwrap();
    for (certificate, key, words) in [
        ("nowhere.pem", "own.key", "--tls-cert"),
        ("own.key", "own.key", "--tls-cert"),
        ("own.pem", "nowhere.key", "--tls-key"),
        ("own.pem", "own.pem", "--tls-key"),
        ("own.pem", "other.key", "--tls-key"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
        command.args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(files.path("data")).arg("--tls-cert").arg(files.path(certificate));
        let done = run(command.arg("--tls-key").arg(files.path(key)));
        assert!(done.code == 1 && done.err.contains(words), "{certificate} {key} {done:?}");
    }
}

#[test]
fn a_head_that_is_too_large_is_refused_in_the_same_form() {
    let files = Files::make();
    let server = files.serve();
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-verify_quiet", "-CAfile", &files.text("ca.pem")]);
    client.args(["-connect", server.url.strip_prefix("https://").unwrap()]);
    let mut client =
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let request = Large::Head.request(1 << 20, "HTTP/1.1");
    // It ends when the server closes the connection, whether or not it has sent all by then.
    let mut stdin = client.stdin.take().unwrap();
    let _is_gone = stdin.write_all(request.as_bytes());
    let answer = client.wait_with_output().unwrap().stdout;
    refused_at_once(&String::from_utf8(answer).unwrap(), 431, "head-too-large");
}
