//! How a request names this server: which names are accepted, and the address that links start
//! with.
//!
//! Whoever owns a domain can have it mean this machine while a page from there is open (DNS
//! rebinding): the browser then takes the page and this API for one site, and only `Host` still
//! tells them apart. So without authentication a request must use a name that nobody else can own.
//! Not here: what pages say about themselves (`page`).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, Version, header};
use ipnet::IpNet;

use crate::config::{AuthConfig, HttpConfig};
use crate::http::error::ApiError;
use crate::http::text::{MAX_NAME_BYTES, shown};

/// The two ends of the connection on which a request came.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The end here.
    pub local: SocketAddr,
    /// The client, or a proxy.
    pub peer: SocketAddr,
    /// Whether it is encrypted.
    pub has_tls: bool,
}

/// A host and perhaps a port. Its text holds nothing that could end a link or a header.
#[derive(Clone, Debug)]
pub struct Authority {
    text: String,
    host: Host,
    port: Option<u16>,
}

/// An address, or a name in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Authority {
    /// What may stand in `Host` (RFC 9112, 3.2), without the forms of RFC 3986 that no resolver
    /// takes.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (Host::Ip(IpAddr::V6(address.parse().ok()?)), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (Host::parse(name)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            // Rust's numbers may have a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            None if port.is_empty() => None,
            _ => return None,
        };
        Some(Self { text: text.to_owned(), host, port })
    }

    /// Whether both are the same place for a client that uses this scheme.
    pub fn is_same(&self, other: &Self, scheme: &str) -> bool {
        let usual = if scheme == "https" { 443 } else { 80 };
        self.host == other.host && self.port.unwrap_or(usual) == other.port.unwrap_or(usual)
    }
}

impl Host {
    fn parse(name: &str) -> Option<Self> {
        if let Ok(address) = name.parse() {
            return Some(Self::Ip(IpAddr::V4(address)));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain);
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

/// Where a request was sent.
#[derive(Clone, Debug)]
pub struct Addressed {
    /// What links start with: `http://127.0.0.1:9511`, or the public URL.
    pub base: String,
    /// The authority that the client used.
    pub authority: Authority,
}

impl Addressed {
    /// Where the request of these extensions was sent.
    ///
    /// # Errors
    /// When nobody found out.
    pub fn of(extensions: &Extensions) -> Result<&Self, ApiError> {
        let unknown = || ApiError::Internal("a request without an address".to_owned());
        extensions.get().ok_or_else(unknown)
    }
}

/// The names of this server, and whom it believes that it has others.
#[derive(Debug)]
pub struct Names {
    listen: SocketAddr,
    /// The name of this machine, where other machines can reach it.
    machine: Option<Host>,
    public: Option<(String, Authority)>,
    proxies: Vec<IpNet>,
    /// With authentication a foreign page gains nothing by a name: it has no token.
    takes_any: bool,
}

impl Names {
    /// The names that the settings give.
    pub fn new(config: &HttpConfig) -> Self {
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let public = config.public_url.as_ref().and_then(|url| {
            let base = url.as_str().trim_end_matches('/').to_owned();
            Some((base, Authority::parse(url.authority())?))
        });
        Self {
            listen: config.listen,
            machine: Host::parse(&machine).filter(|_| !config.listen.ip().is_loopback()),
            public,
            proxies: config.trusted_proxies.clone(),
            takes_any: config.auth != AuthConfig::None,
        }
    }

    /// Where a request was sent, if that is here.
    ///
    /// # Errors
    /// 400 where it does not say so as HTTP demands, 421 where it is not here.
    pub fn addressed(&self, request: &Request) -> Result<Addressed, ApiError> {
        let connection = request.extensions().get::<Connection>();
        let host = self.direct(request, connection)?;
        let forwarded = match connection {
            Some(connection) if self.trusts(connection.peer.ip()) => {
                Forwarded::of(request.headers())?
            }
            _ => Forwarded::default(),
        };
        let authority = match forwarded.host {
            Some(host) => self.accepted(host)?,
            None => host,
        };
        let has_tls = connection.is_some_and(|connection| connection.has_tls);
        let scheme = forwarded.scheme.unwrap_or(if has_tls { "https" } else { "http" });
        let base = match &self.public {
            Some((base, _)) => base.clone(),
            None => format!("{scheme}://{}", authority.text),
        };
        Ok(Addressed { base, authority })
    }

    /// Where a request comes from: the peer, or what a trusted proxy says; of IPv6 the network, of
    /// which one client has all addresses.
    pub fn client(&self, request: &Request) -> Option<IpAddr> {
        let peer = request.extensions().get::<Connection>()?.peer.ip();
        let forwarded = || last(request.headers(), "x-forwarded-for")?.parse::<IpAddr>().ok();
        let client = if self.trusts(peer) { forwarded() } else { None };
        Some(match client.unwrap_or(peer).to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address @ IpAddr::V4(_) => address,
        })
    }

    /// Whether an authority is that of the public URL.
    pub fn is_public_url(&self, authority: &Authority, scheme: &str) -> bool {
        self.public.as_ref().is_some_and(|(base, public)| {
            public.is_same(authority, scheme) && base.starts_with(&format!("{scheme}://"))
        })
    }

    /// What the request itself says: the authority of its target before `Host` (RFC 9112, 3.2.2).
    fn direct(
        &self,
        request: &Request,
        connection: Option<&Connection>,
    ) -> Result<Authority, ApiError> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(self.accepted(parsed("Host", host.as_bytes())?)?),
            (Some(_), Some(_)) => {
                return Err(ApiError::BadRequest(
                    "The request has several Host headers; send one.".to_owned(),
                ));
            }
            (None, _) if request.version() >= Version::HTTP_11 => {
                return Err(ApiError::BadRequest(
                    "The request has no Host header, which HTTP/1.1 requires.".to_owned(),
                ));
            }
            (None, _) => None,
        };
        let target = request
            .uri()
            .authority()
            .map(|target| self.accepted(parsed("request target", target.as_str().as_bytes())?));
        if let Some(authority) = target.transpose()?.or(host) {
            return Ok(authority);
        }
        let local = connection.map_or(self.listen, |connection| connection.local);
        Authority::parse(&local.to_string())
            .ok_or_else(|| ApiError::Internal(format!("{local} is not an authority")))
    }

    fn accepted(&self, authority: Authority) -> Result<Authority, ApiError> {
        if self.takes_any || self.is_own(&authority.host) {
            return Ok(authority);
        }
        Err(ApiError::Misdirected(authority.text))
    }

    /// Whether nobody else can own this name. A browser that sends an IP address as `Host` has the
    /// page from that address: there is no name between that could be made to mean another
    /// one. So where any address of this machine is listened on, any address will do; it may be
    /// that of a router that forwards a port. Ports are not compared: they are forwarded too.
    fn is_own(&self, host: &Host) -> bool {
        if self.public.as_ref().is_some_and(|(_, public)| public.host == *host) {
            return true;
        }
        match host {
            Host::Ip(address) => {
                let (address, listen) = (address.to_canonical(), self.listen.ip().to_canonical());
                address.is_loopback() || listen.is_unspecified() || address == listen
            }
            Host::Name(name) => name == "localhost" || self.machine.as_ref() == Some(host),
        }
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.contains(&peer.to_canonical()))
    }
}

/// What a trusted proxy says about the request that it got.
#[derive(Default)]
struct Forwarded {
    scheme: Option<&'static str>,
    host: Option<Authority>,
}

impl Forwarded {
    /// From `Forwarded` (RFC 7239), or else `X-Forwarded-Proto` and `X-Forwarded-Host`. The last
    /// element counts: proxies append, and what comes before may be the client's own.
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let (mut scheme, mut host) =
            (last(headers, "x-forwarded-proto"), last(headers, "x-forwarded-host"));
        if let Some(element) = last(headers, "forwarded") {
            let pair = |name: &str| {
                let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
                let pair = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
                pair.map(|(_, value)| value.trim().trim_matches('"').to_owned())
            };
            (scheme, host) = (pair("proto"), pair("host"));
        }
        let scheme = scheme.map(|scheme| match scheme.to_ascii_lowercase().as_str() {
            "http" => Ok("http"),
            "https" => Ok("https"),
            _ => {
                let reason = "The proxy must send http or https.";
                Err(ApiError::field("X-Forwarded-Proto", shown(&scheme), reason))
            }
        });
        let host = host.map(|host| parsed("X-Forwarded-Host", host.as_bytes()));
        Ok(Self { scheme: scheme.transpose()?, host: host.transpose()? })
    }
}

/// The last element of a list in a header.
fn last(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get_all(name).iter().next_back()?;
    let text = String::from_utf8_lossy(value.as_bytes());
    text.rsplit(',').next().map(|element| element.trim().to_owned())
}

fn parsed(place: &str, bytes: &[u8]) -> Result<Authority, ApiError> {
    let text = String::from_utf8_lossy(bytes);
    Authority::parse(&text).ok_or_else(|| {
        let reason = "Use a host name or an IP address, and a port if it is not the usual one.";
        // Not repeated: it may be anything.
        ApiError::field(place, "", reason)
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;

    use super::*;
    use crate::config::{Config, KeystoneConfig};
    use crate::credentials::{Credentials, Secret};

    fn names(listen: &str, change: impl FnOnce(&mut HttpConfig)) -> Names {
        let mut config = Config::default().http;
        config.listen = listen.parse().unwrap();
        change(&mut config);
        Names::new(&config)
    }

    fn keystone(config: &mut HttpConfig) {
        let secret = Secret::new("s".to_owned());
        let credentials = Credentials::Application { id: "i".to_owned(), secret };
        let keystone = KeystoneConfig { url: "http://k".to_owned(), cacert: None, credentials };
        config.auth = AuthConfig::Keystone(keystone);
    }

    fn request(headers: &[(&str, &str)], peer: &str, has_tls: bool) -> Request {
        let mut request = Request::builder().uri("/v1/bays");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let local = "127.0.0.1:9511".parse().unwrap();
        let peer = SocketAddr::new(peer.parse().unwrap(), 5);
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Connection { local, peer, has_tls });
        request
    }

    /// The base of links, or the status of the refusal.
    fn base(names: &Names, headers: &[(&str, &str)]) -> Result<String, StatusCode> {
        let addressed = names.addressed(&request(headers, "127.0.0.1", false));
        addressed.map(|to| to.base).map_err(|error| error.status())
    }

    #[test]
    fn only_an_authority_is_one() {
        for good in ["h", "H-1.example.", "h_1:1", "127.0.0.1:65535", "[::1]", "[::1]:80"] {
            assert_eq!(Authority::parse(good).expect(good).text, good);
        }
        for bad in [
            "",
            ":80",
            "h:",
            "h:+1",
            "h:65536",
            "h:x",
            "a b",
            "u@h",
            "h/x",
            "h?x",
            "h\"",
            "<h>",
            "::1",
            "[::1",
            "[::1]x",
            "[127.0.0.1]",
            "[fe80::1%eth0]",
            "h,g",
            "h\u{e9}",
            "h%41",
        ] {
            assert!(Authority::parse(bad).is_none(), "{bad}");
        }
        assert!(Authority::parse(&"x".repeat(256)).is_none());
    }

    #[test]
    fn without_authentication_only_names_that_nobody_else_can_own() {
        let loopback = names("127.0.0.1:9511", |_| ());
        let one = names("192.0.2.7:9511", |_| ());
        let all = names("0.0.0.0:9511", |_| ());
        let public = names("127.0.0.1:9511", |config| {
            config.public_url = Some("https://magnum.example/api/".parse().unwrap());
        });
        for (host, accepted) in [
            ("localhost", [true; 4]),
            ("LOCALHOST:1", [true; 4]),
            ("127.0.0.1:9511", [true; 4]),
            ("127.255.3.4", [true; 4]),
            ("[::1]:9511", [true; 4]),
            ("[::ffff:127.0.0.1]", [true; 4]),
            ("192.0.2.7", [false, true, true, false]),
            ("192.0.2.8", [false, false, true, false]),
            ("magnum.example:9511", [false, false, false, true]),
            ("evil.example:9511", [false; 4]),
            ("localhost.evil.example", [false; 4]),
            ("x.localhost", [false; 4]),
            ("127.0.0.1.evil.example", [false; 4]),
            // The browser's own spelling of addresses is the canonical one.
            ("127.1", [false; 4]),
            ("2130706433", [false; 4]),
        ] {
            for (names, accepted) in [&loopback, &one, &all, &public].into_iter().zip(accepted) {
                let wanted = if accepted { Ok(()) } else { Err(StatusCode::MISDIRECTED_REQUEST) };
                assert_eq!(base(names, &[("host", host)]).map(|_| ()), wanted, "{host} {names:?}");
            }
        }
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert!(base(&all, &[("host", &machine)]).is_ok(), "{machine}");
        let asks = names("127.0.0.1:9511", keystone);
        assert!(base(&asks, &[("host", "any.example")]).is_ok());
        let bad = [("host", "a b\"<script>")];
        assert_eq!(base(&asks, &bad), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn a_host_is_there_once() {
        let names = names("127.0.0.1:9511", |_| ());
        assert_eq!(base(&names, &[]), Err(StatusCode::BAD_REQUEST));
        let two = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(base(&names, &two), Err(StatusCode::BAD_REQUEST));
        let mut old = request(&[], "127.0.0.1", false);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(names.addressed(&old).unwrap().base, "http://127.0.0.1:9511");
    }

    #[test]
    fn the_target_goes_before_the_header() {
        let names = names("127.0.0.1:9511", |_| ());
        let ask = |target: &str| {
            let mut request = request(&[("host", "127.0.0.1:1")], "127.0.0.1", false);
            *request.uri_mut() = target.parse().unwrap();
            names.addressed(&request).map(|to| to.base).map_err(|error| error.status())
        };
        assert_eq!(ask("http://localhost:7/v1").unwrap(), "http://localhost:7");
        assert_eq!(ask("http://evil.example/v1"), Err(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(ask("http://u@localhost/v1"), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn links_are_as_the_client_came() {
        let host = ("host", "localhost:7");
        let plain = names("127.0.0.1:9511", |_| ());
        assert_eq!(base(&plain, &[host]).unwrap(), "http://localhost:7");
        let secure = plain.addressed(&request(&[host], "127.0.0.1", true)).unwrap();
        assert_eq!(secure.base, "https://localhost:7");
        let public = names("127.0.0.1:9511", |config| {
            config.public_url = Some("https://magnum.example/api/".parse().unwrap());
        });
        let forwarded = [host, ("x-forwarded-proto", "http")];
        assert_eq!(base(&public, &forwarded).unwrap(), "https://magnum.example/api");
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let behind = names("127.0.0.1:9511", |config| {
            keystone(config);
            config.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
        });
        let told = |peer: &str, more: &[(&str, &str)]| {
            let headers = [&[("host", "h")][..], more].concat();
            let addressed = behind.addressed(&request(&headers, peer, false));
            addressed.map(|to| to.base).map_err(|error| error.status())
        };
        let both = [("x-forwarded-proto", "https"), ("x-forwarded-host", "m.example:8443")];
        assert_eq!(told("192.0.2.9", &both).unwrap(), "https://m.example:8443");
        assert_eq!(told("::ffff:192.0.2.9", &both).unwrap(), "https://m.example:8443");
        assert_eq!(told("198.51.100.1", &both).unwrap(), "http://h");
        let listed = [("x-forwarded-proto", "http, https"), ("x-forwarded-host", "evil, m")];
        assert_eq!(told("192.0.2.9", &listed).unwrap(), "https://m");
        let rfc = [("forwarded", "for=x;host=evil, for=y;Host=\"m:1\";proto=HTTPS")];
        assert_eq!(told("192.0.2.9", &rfc).unwrap(), "https://m:1");
        let bad = [("x-forwarded-host", "a b")];
        assert_eq!(told("192.0.2.9", &bad), Err(StatusCode::BAD_REQUEST));
        assert!(told("198.51.100.1", &bad).is_ok());
        let bad = [("x-forwarded-proto", "gopher")];
        assert_eq!(told("192.0.2.9", &bad), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn a_client_is_told_by_its_address_and_behind_a_proxy_by_what_that_says() {
        let behind = names("127.0.0.1:9511", |config| {
            config.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
        });
        let client = |peer: &str, headers: &[(&str, &str)]| {
            behind.client(&request(headers, peer, false)).unwrap().to_string()
        };
        let told = [("x-forwarded-for", "203.0.113.1, 198.51.100.7")];
        assert_eq!(client("192.0.2.9", &told), "198.51.100.7");
        assert_eq!(client("198.51.100.1", &told), "198.51.100.1", "anybody may say so");
        assert_eq!(client("192.0.2.9", &[]), "192.0.2.9");
        assert_eq!(client("::ffff:198.51.100.1", &[]), "198.51.100.1");
        assert_eq!(client("2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
    }

    #[test]
    fn a_name_that_a_proxy_was_asked_for_is_checked_like_any_other() {
        let behind = names("127.0.0.1:9511", |config| {
            config.trusted_proxies = vec!["127.0.0.1".parse::<IpAddr>().unwrap().into()];
        });
        let asked = [("host", "127.0.0.1:9511"), ("x-forwarded-host", "evil.example")];
        assert_eq!(base(&behind, &asked), Err(StatusCode::MISDIRECTED_REQUEST));
    }
}
