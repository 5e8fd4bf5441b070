//! Manifests that are named by a URL: fetched by the service, from where its clients could as well.
//!
//! The service reaches more than its clients do, so a name is looked up once, each of its addresses
//! is checked, and the connection goes to one that was. Not here: what a manifest has to be
//! (`manifest`), how many are fetched at once (who calls this).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::LOCATION;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Response, Url};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::addresses::is_internal;
use crate::blocking;
use crate::credentials::{builder_for, cause};
use crate::http::error::ApiError;
use crate::http::text::shown;
use crate::manifest::MAX_BYTES;
use crate::text::words;

/// How long all of it may take. A client waits for as long, and holds a connection.
const LIMIT: Duration = Duration::from_secs(10);

/// A manifest from elsewhere.
#[derive(Debug)]
pub struct Fetched {
    /// What was there.
    pub text: String,
    /// BLAKE3 of it, in hexadecimal digits: whoever fetches it again can tell whether it changed.
    pub digest: String,
}

/// Fetches a manifest of at most [`MAX_BYTES`]. `may_be_private` also allows addresses that only
/// this host or its network reaches.
///
/// # Errors
/// What is wrong with the URL, or with what is there. Credentials in a URL are not repeated.
pub async fn fetch(url: &str, may_be_private: bool) -> Result<Fetched, ApiError> {
    let text = url;
    let url = checked(text)?;
    let fetched = timeout(LIMIT, fetch_checked(&url, may_be_private)).await;
    let limit_s = LIMIT.as_secs();
    let fetched = fetched.unwrap_or_else(|_| Err(format!("It took longer than {limit_s} s.")));
    fetched.map_err(|reason| refused(shown(text), &reason))
}

fn refused(value: String, reason: &str) -> ApiError {
    ApiError::field("manifest_url", value, reason)
}

/// A URL that may be looked at.
fn checked(text: &str) -> Result<Url, ApiError> {
    let url = Url::parse(text);
    let url = url.map_err(|error| refused(shown(text), &format!("It is not a URL: {error}.")))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(ApiError::BadRequest(format!("Invalid URL scheme {}", shown(url.scheme()))));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // A password would be in it.
        return Err(refused(String::new(), "It must not contain a user or a password."));
    }
    Ok(url)
}

async fn fetch_checked(url: &Url, may_be_private: bool) -> Result<Fetched, String> {
    let addresses = addresses(url).await?;
    if !may_be_private {
        for address in &addresses {
            if is_internal(address.ip()) || is_own(address.ip().to_canonical()).await {
                return Err("Its host is this one, or in an internal network.".to_owned());
            }
        }
    }
    let client = client(url, addresses).await?;
    let answer = client.get(url.clone()).send().await;
    let answer = answer.map_err(|error| format!("There was no answer: {}.", told(&error)))?;
    match answer.status().as_u16() {
        200 => read(answer).await,
        300..400 => {
            let target = answer.headers().get(LOCATION).map(|it| it.as_bytes());
            let target = words(&String::from_utf8_lossy(target.unwrap_or_default()));
            Err(format!("It leads to {target}; use that URL, if it is what you want."))
        }
        status => Err(format!("It was answered with {status}.")),
    }
}

fn told(error: &reqwest::Error) -> String {
    words(&cause(error))
}

/// All addresses of a URL's host; at least one.
async fn addresses(url: &Url) -> Result<Vec<SocketAddr>, String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or_default();
    let found = lookup_host((host, port)).await;
    let found: Vec<_> = found.map_err(|_| "Its host cannot be looked up.".to_owned())?.collect();
    if found.is_empty() { Err("Its host has no address.".to_owned()) } else { Ok(found) }
}

/// Whether an address is one of this host: what is sent there, the kernel sends from there. Nothing
/// is sent by that.
async fn is_own(address: IpAddr) -> bool {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let Ok(socket) = UdpSocket::bind(any).await else { return false };
    // Any port but 0.
    socket.connect((address, 9)).await.is_ok()
        && socket.local_addr().is_ok_and(|own| own.ip() == address)
}

/// A client that connects to these addresses and no others, whatever name it is given. (One that is
/// an address in a URL is not looked up.)
async fn client(url: &Url, addresses: Vec<SocketAddr>) -> Result<Client, String> {
    let builder = builder_for(url.as_str(), None).dns_resolver(Arc::new(Checked(addresses)));
    // It reads the system's authorities.
    let client = blocking::run(move || builder.build()).await;
    client.and_then(|client| client.map_err(|error| cause(&error))).map_err(|error| {
        tracing::error!(error, "there is no HTTP client");
        "The service cannot fetch anything now; see its log.".to_owned()
    })
}

/// Addresses that were checked, for every name.
struct Checked(Vec<SocketAddr>);

impl Resolve for Checked {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

async fn read(mut answer: Response) -> Result<Fetched, String> {
    let mut bytes = Vec::new();
    while let Some(part) =
        answer.chunk().await.map_err(|error| format!("The answer broke off: {}.", told(&error)))?
    {
        if bytes.len() + part.len() > MAX_BYTES {
            return Err(format!("What is there is larger than {MAX_BYTES} bytes."));
        }
        bytes.extend_from_slice(&part);
    }
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let text = String::from_utf8(bytes).map_err(|error| {
        format!("What is there is not UTF-8 at byte {}.", error.utf8_error().valid_up_to())
    })?;
    Ok(Fetched { text, digest })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::Redirect;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    /// A server on loopback; its port.
    async fn server() -> u16 {
        let large = |bytes: usize| get(move || async move { "x".repeat(bytes) });
        let routes = Router::new()
            .route("/pod", get(|| async { "kind: Pod é" }))
            .route("/bytes", get(|| async { vec![b'a', 0xff] }))
            .route("/fits", large(MAX_BYTES))
            .route("/large", large(MAX_BYTES + 1))
            .route("/moved", get(|| async { Redirect::temporary("http://10.0.0.1/secret") }))
            .route("/slow", get(pending::<StatusCode>));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        port
    }

    async fn words_of(url: &str, may_be_private: bool) -> String {
        fetch(url, may_be_private).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_manifest_is_fetched() {
        let port = server().await;
        for host in ["127.0.0.1", "localhost"] {
            let fetched = fetch(&format!("http://{host}:{port}/pod"), true).await.unwrap();
            assert_eq!(fetched.text, "kind: Pod é");
            assert_eq!(fetched.digest, blake3::hash("kind: Pod é".as_bytes()).to_string());
        }
        let fits = fetch(&format!("http://127.0.0.1:{port}/fits"), true).await.unwrap();
        assert_eq!(fits.text.len(), MAX_BYTES);
    }

    #[tokio::test]
    async fn what_is_not_a_manifest_is_refused() {
        let port = server().await;
        for (path, words) in [
            ("large", "larger than 524288 bytes"),
            ("bytes", "not UTF-8 at byte 1"),
            ("none", "answered with 404"),
            ("moved", "leads to http://10.0.0.1/secret"),
        ] {
            let told = words_of(&format!("http://127.0.0.1:{port}/{path}"), true).await;
            assert!(told.contains(words), "{told}");
            assert!(told.contains("manifest_url"), "{told}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_left_after_a_while() {
        let told = words_of(&format!("http://127.0.0.1:{}/slow", server().await), true).await;
        assert!(told.contains("longer than 10 s"), "{told}");
    }

    #[tokio::test]
    async fn urls_are_checked_before_anything_is_asked() {
        for (url, words) in [
            ("ftp://example.com/pod", "Invalid URL scheme ftp"),
            ("file:///etc/passwd", "Invalid URL scheme file"),
            ("FTP:x", "Invalid URL scheme ftp"),
        ] {
            assert_eq!(words_of(url, true).await, words);
        }
        assert!(words_of("pod.yaml", true).await.contains("It is not a URL"));
        assert!(words_of("http://", true).await.contains("It is not a URL"));
        for url in ["http://user@127.0.0.1/", "http://:hunter2@127.0.0.1/"] {
            let told = words_of(url, true).await;
            assert!(told.contains("a user or a password") && !told.contains("hunter2"), "{told}");
        }
    }

    #[tokio::test]
    async fn internal_addresses_are_refused() {
        let port = server().await;
        for host in [
            "127.0.0.1",
            "localhost",
            "127.1",
            "0x7f000001",
            "[::1]",
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "224.0.0.1",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fc00::1]",
        ] {
            let told = words_of(&format!("http://{host}:{port}/pod"), false).await;
            assert!(told.contains("this one, or in an internal network"), "{host}: {told}");
        }
    }

    #[tokio::test]
    async fn addresses_of_this_host_are_known() {
        assert!(is_own("127.0.0.1".parse().unwrap()).await);
        // For documentation: nobody has it.
        assert!(!is_own("192.0.2.1".parse().unwrap()).await);
    }

    #[tokio::test]
    async fn only_addresses_that_were_checked_are_connected_to() {
        let port = server().await;
        let url: Url = format!("http://nowhere.invalid:{port}/pod").parse().unwrap();
        let client = client(&url, vec![([127, 0, 0, 1], port).into()]).await.unwrap();
        assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    }
}
