//! Requests that a page in a browser makes: refused unless the page is from here.
//!
//! A browser sends for any page, with the user's network and cookies: images, forms, WebSockets,
//! `fetch`. The page reads no answer without our permission, which nobody gets, but a change is
//! made and work is done all the same. Three signs tell: `Sec-Fetch-Site`, `Origin`, and body types
//! that a page may send without asking first. Not here: pages whose own name was made to mean this
//! machine (`host`).

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};

use super::host::{Addressed, Authority, Names};
use super::policy::is_public;
use crate::http::error::ApiError;
use crate::http::text::shown;

/// Where a request comes from (Fetch Metadata). Browsers send it to encrypted and to loopback
/// addresses.
const SITE: &str = "sec-fetch-site";

/// Headers with a token, which pages send only after the browser has asked whether they may.
const TOKENS: [&str; 2] = ["x-auth-token", "authorization"];

/// What it says of a page from here, and of an address that the user typed. A page on another port
/// of this machine is `same-site`.
const OWN: [&[u8]; 2] = [b"same-origin", b"none"];

/// Refuses what pages from elsewhere send.
///
/// # Errors
/// 403 where it is from such a page, 415 where its body is of a type that any page may send.
pub fn check(request: &Request, to: &Addressed, names: &Names) -> Result<(), ApiError> {
    let headers = request.headers();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    if let Some(origin) = origins.next() {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        if !is_own(&origin, to, names) {
            return Err(ApiError::ForeignOrigin(format!("Origin {}", shown(&origin))));
        }
        if origins.next().is_some() {
            return Err(ApiError::ForeignOrigin("several origins".to_owned()));
        }
    }
    let mut sites = headers.get_all(SITE).iter();
    if let Some(site) = sites.find(|site| !OWN.contains(&site.as_bytes()))
        && !is_visit(request)
    {
        let site = String::from_utf8_lossy(site.as_bytes());
        return Err(ApiError::ForeignOrigin(format!("Sec-Fetch-Site {}", shown(&site))));
    }
    // Browsers that send neither sign still have to ask before they send JSON.
    if !request.method().is_safe() && !request.body().is_end_stream() {
        // No page can send a token without asking first either.
        if is_form(headers) && TOKENS.iter().any(|name| headers.contains_key(*name)) {
            return Ok(());
        }
        return is_json(headers);
    }
    Ok(())
}

/// Whether an origin is this server, by the name that the request used or by its public URL.
fn is_own(origin: &str, to: &Addressed, names: &Names) -> bool {
    let Some((scheme @ ("http" | "https"), authority)) = origin.split_once("://") else {
        return false;
    };
    Authority::parse(authority).is_some_and(|authority| {
        to.authority.is_same(&authority, scheme) || names.is_public_url(&authority, scheme)
    })
}

/// Whether a user follows a link to something that is for everybody and costs nothing.
fn is_visit(request: &Request) -> bool {
    let mode = request.headers().get("sec-fetch-mode");
    let navigates = mode.is_some_and(|mode| mode.as_bytes() == b"navigate");
    navigates && request.method() == Method::GET && is_public(request.uri().path())
}

/// Whether a body says that it is a form.
pub fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// Whether a body says that it is JSON.
fn is_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let types: Vec<_> = headers.get_all(header::CONTENT_TYPE).iter().collect();
    let [only] = types.as_slice() else {
        let said = if types.is_empty() { "none" } else { "several" };
        return Err(ApiError::NotJson(said.to_owned()));
    };
    let text = String::from_utf8_lossy(only.as_bytes()).to_ascii_lowercase();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_json = essence.strip_prefix("application/").is_some_and(|subtype| {
        // A list of types is no type.
        (subtype == "json" || subtype.ends_with("+json")) && !subtype.contains([',', ' ', '/'])
    });
    if is_json { Ok(()) } else { Err(ApiError::NotJson(shown(&text))) }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::config::Config;

    fn status(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let mut config = Config::default().http;
        config.public_url = Some("https://magnum.example".parse().unwrap());
        let names = Names::new(&config);
        let mut request = Request::builder().method(method).uri(path);
        if headers.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", "127.0.0.1:9511");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let to = names.addressed(&request).unwrap();
        check(&request, &to, &names).map_or_else(|error| error.status().as_u16(), |()| 200)
    }

    #[test]
    fn a_foreign_page_gets_nothing_by_any_method() {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let sent = |headers: &[(&str, &str)]| status(method, "/v1/bays", headers, "");
            for origin in [
                "http://evil.example",
                "null",
                "",
                "file://",
                "http://127.0.0.1:1",
                "http://127.0.0.1",
                "http://localhost:9511",
                "http://127.0.0.1:9511.evil.example",
                "http://evil.example/127.0.0.1:9511",
                "ftp://127.0.0.1:9511",
                "http://magnum.example",
                "http://127.0.0.1:9511, http://127.0.0.1:9511",
            ] {
                assert_eq!(sent(&[("origin", origin)]), 403, "{method} {origin}");
            }
            let own = ("origin", "http://127.0.0.1:9511");
            assert_eq!(sent(&[own]), 200);
            assert_eq!(sent(&[own, ("origin", "http://evil.example")]), 403);
            assert_eq!(sent(&[own, own]), 403);
            assert_eq!(sent(&[("origin", "https://magnum.example")]), 200);
            for (site, status) in [
                ("cross-site", 403),
                ("same-site", 403),
                ("Same-Origin", 403),
                ("", 403),
                ("same-origin", 200),
                ("none", 200),
            ] {
                assert_eq!(sent(&[(SITE, site)]), status, "{method} {site}");
            }
            assert_eq!(sent(&[(SITE, "none"), (SITE, "cross-site")]), 403);
        }
    }

    #[test]
    fn usual_ports_need_not_be_said() {
        for (host, origin) in [
            ("localhost", "http://localhost:80"),
            ("localhost:443", "https://localhost"),
            ("LOCALHOST", "https://localhost"),
        ] {
            assert_eq!(status("PUT", "/v1", &[("host", host), ("origin", origin)], ""), 200);
        }
    }

    #[test]
    fn links_lead_only_to_what_is_for_everybody() {
        let visit = [(SITE, "cross-site"), ("sec-fetch-mode", "navigate")];
        for path in ["/", "/healthz", "/readyz", "/metrics"] {
            assert_eq!(status("GET", path, &visit, ""), 200, "{path}");
            assert_eq!(status("POST", path, &visit, ""), 403, "{path}");
            let embedded = [(SITE, "cross-site"), ("sec-fetch-mode", "no-cors")];
            assert_eq!(status("GET", path, &embedded, ""), 403, "{path}");
        }
        assert_eq!(status("GET", "/v1/containers", &visit, ""), 403);
    }

    #[test]
    fn a_body_is_json_and_says_so() {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let sent = |headers: &[(&str, &str)], body| status(method, "/v1/bays", headers, body);
            for good in [
                "application/json",
                "Application/JSON; charset=UTF-8",
                "application/json-patch+json",
            ] {
                assert_eq!(sent(&[("content-type", good)], "{}"), 200, "{good}");
            }
            for bad in [
                "",
                "text/plain",
                "text/plain; application/json",
                "text/plain, application/json",
                "application/json, text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "application/octet-stream",
                "*/*",
            ] {
                assert_eq!(sent(&[("content-type", bad)], "{}"), 415, "{bad}");
            }
            let json = ("content-type", "application/json");
            assert_eq!(sent(&[json, json], "{}"), 415);
            assert_eq!(sent(&[], "{}"), 415);
            // Old clients say what they like where there is no body.
            assert_eq!(sent(&[("content-type", "application/octet-stream")], ""), 200);
            assert_eq!(sent(&[], ""), 200);
        }
    }
}
