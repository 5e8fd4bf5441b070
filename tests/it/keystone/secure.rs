//! The way to Keystone: encrypted and verified, or else nothing is told there. A real Keystone
//! behind a server that ends TLS, as most have.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::clients::{magnum, variables};
use super::real::keystone;
use super::{as_user, not_ready};
use crate::door::Own;
use crate::harness::{Http, PATIENCE, Server, run, wait_for, wait_until};
use crate::requests::refused;
use crate::tls::{Files, hang_up};

/// Ends TLS before the Keystone of all tests; ends with the value.
struct Terminator {
    url: String,
    /// Clients that accepted the certificate.
    accepted: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Terminator {
    /// Shows a certificate for 127.0.0.1 at this address.
    fn start(files: &Files, address: &str) -> Self {
        let chain = CertificateDer::pem_file_iter(files.path("own.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(files.path("own.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let behind = keystone().url().strip_prefix("http://").unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((address, 0))).unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    let Ok(mut outer) = acceptor.accept(stream).await else { return };
                    count.fetch_add(1, Ordering::SeqCst);
                    let mut inner = TcpStream::connect(behind).await.unwrap();
                    // Either side may end it as it likes.
                    let _ended = copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        Self { url, accepted, _runtime: runtime }
    }

    /// A server that asks here, with more arguments; nobody waits until it has a node.
    fn magnum(&self, more: &[&str]) -> Own {
        asking(&self.url, more)
    }
}

/// A server that asks at this address.
fn asking(url: &str, more: &[&str]) -> Own {
    let arguments = keystone().arguments(url);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Own::start("", &[&arguments[..], more].concat())
}

#[test]
fn keystone_is_verified_with_the_authorities_of_a_file_or_of_the_system() {
    let files = Files::make();
    let terminator = Terminator::start(&files, "127.0.0.1");
    let url = &terminator.url;
    let user = keystone().user(&["reader"]);
    let own = keystone().magnum_by(url).arg("--keystone-cacert").arg(&files.text("ca.pem"));
    let systems = keystone().magnum_by(url).variable("SSL_CERT_FILE", &files.path("ca.pem"));
    for options in [own, systems] {
        let server = Server::start(options);
        as_user(&server, &user).get("/v1/bays").expect(200);
        assert_eq!(server.get("/readyz").status, 200);
        let unknown = server.as_nobody().get("/v1/bays");
        assert_eq!(unknown.header("www-authenticate"), format!("Keystone uri='{url}'"));
        assert!(!server.stderr().contains("in the clear"), "{}", server.stderr());
    }
    let server = Server::start(keystone().magnum());
    let list = |authority: &Files| {
        let mut command = magnum(&server, &["bay-list"]);
        command.envs(variables(&user)).env("OS_AUTH_URL", format!("{url}/v3"));
        run(command.env("OS_CACERT", authority.path("ca.pem")))
    };
    let known = list(&files);
    assert_eq!(known.code, 0, "{known:?}");
    let unknown = list(&Files::make());
    let is_said = unknown.err.contains("is not trusted") && unknown.err.contains("--os-cacert");
    assert!(unknown.code == 1 && is_said, "{unknown:?}");
}

#[test]
fn a_keystone_that_cannot_prove_who_it_is_is_told_nothing() {
    let files = Files::make();
    let other = Files::make();
    // Of another authority, and for another address.
    for (address, authority) in [("127.0.0.1", &other), ("127.0.0.2", &files)] {
        let terminator = Terminator::start(&files, address);
        let server = terminator.magnum(&["--keystone-cacert", &authority.text("ca.pem")]);
        let http = Http::new().by_way_of(&server.url).with_token("a-token");
        let words = refused(&http.get("/v1/bays"), 503);
        assert!(words.contains("do not accept each other"), "{words}");
        let said = wait_for("the cause", PATIENCE, || {
            let said = server.stderr();
            said.contains("cannot authenticate requests").then_some(said)
        });
        assert!(said.contains("invalid peer certificate") && said.contains("--keystone-cacert"));
        let problems = not_ready(&http);
        assert!(problems.contains("--keystone-cacert"), "{problems}");
        for shown in [words, problems] {
            assert!(!shown.contains("invalid peer") && !shown.contains(address), "{shown}");
        }
        assert_eq!(terminator.accepted.load(Ordering::SeqCst), 0);
    }
}

/// Authorities are replaced without a restart, before the old ones end.
#[test]
fn authorities_that_were_replaced_count_once_the_server_is_told() {
    let (files, other) = (Files::make(), Files::make());
    let terminator = Terminator::start(&files, "127.0.0.1");
    let authorities = other.path("authorities.pem");
    fs::copy(other.path("ca.pem"), &authorities).unwrap();
    let server = terminator.magnum(&["--keystone-cacert", authorities.to_str().unwrap()]);
    let token = || keystone().token(&keystone().user(&["reader"]));
    let http = Http::new().by_way_of(&server.url).with_token(&token());
    wait_until("the cause", PATIENCE, || server.stderr().contains("cannot authenticate requests"));
    assert!(not_ready(&http).contains("--keystone-cacert"));
    fs::copy(files.path("ca.pem"), &authorities).unwrap();
    hang_up(&server);
    wait_until("Keystone to be asked", PATIENCE, || http.get("/v1/bays").status == 200);
    wait_until("it to be ready", PATIENCE, || http.get("/readyz").status == 200);

    fs::write(&authorities, "broken").unwrap();
    hang_up(&server);
    wait_until("a line in the log", PATIENCE, || server.stderr().contains("not reloaded"));
    let another = http.with_token(&token());
    assert_eq!(another.get("/v1/bays").status, 200, "the last good ones stay");
}

#[test]
fn a_server_without_usable_authorities_does_not_start() {
    let files = Files::make();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(files.path("empty.pem"), "").unwrap();
    fs::write(files.path("broken.pem"), broken).unwrap();
    let good = fs::read_to_string(files.path("ca.pem")).unwrap();
    fs::write(files.path("partly.pem"), good + broken).unwrap();
    for name in ["nowhere.pem", "empty.pem", "own.key", "broken.pem", "partly.pem"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
        command.args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(files.path("data")).args(keystone().arguments("https://127.0.0.1:1"));
        let done = run(command.arg("--keystone-cacert").arg(files.path(name)));
        let words = format!("--keystone-cacert {}: ", files.text(name));
        assert!(done.code == 1 && done.err.contains(&words), "{name} {done:?}");
    }
}

#[test]
fn a_password_that_leaves_the_machine_in_the_clear_is_warned_of() {
    // Nobody is at either.
    for (url, is_exposed) in [("http://192.0.2.1:5000", true), ("http://127.0.0.1:1", false)] {
        let server = asking(url, &[]);
        assert_eq!(server.stderr().contains("in the clear"), is_exposed, "{}", server.stderr());
        let http = Http::new().by_way_of(&server.url);
        wait_until("it to be unavailable", PATIENCE, || {
            not_ready(&http).contains("--keystone-url")
        });
    }
}
