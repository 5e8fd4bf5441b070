//! What proves who somebody is, and names of what a container may use: files of tokens, cookies,
//! headers, references to images, ports and labels.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use magnum::allowed::{Allowed, check_label};
use magnum::app::{NewToken, TokenFile};
use magnum::clock;
use magnum::http::edge::host::Authority;
use magnum::http::edge::identity::Token;
use magnum::http::edge::session::{COOKIE, Sessions};
use magnum::ids::ProjectId;
use magnum::image::{Reference, Registry, canonical_beginning};
use magnum::sources::SharedImages;
use proptest::option;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;

use crate::mutation;
use crate::{CASES, fuzz, is_bounded};

#[test]
fn files_of_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let file = TokenFile::new(folder.path());
    let new = |user: &str| NewToken {
        project: "p".to_owned(),
        user: user.to_owned(),
        role: "member".to_owned(),
        expires_at: Some(clock::now().plus_ms(1_000_000)),
    };
    file.create(new("alice")).unwrap();
    file.create(new("bob")).unwrap();
    let sample: Value = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
    let written = |bytes: &[u8]| {
        fs::write(file.path(), bytes).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        match file.read() {
            // What is read is what is there, and is never repaired by reading.
            Ok(tokens) => {
                let there: Value = serde_json::from_slice(bytes).unwrap();
                assert_eq!(tokens.len(), there["tokens"].as_array().unwrap().len());
                assert_eq!(fs::read(file.path()).unwrap(), bytes);
            }
            Err(error) => is_bounded(error),
        }
        if let Err(error) = file.revoke("0000000000000000") {
            is_bounded(error);
        }
    };
    fuzz(CASES / 2, mutation::document(sample.clone()), |it| written(it.to_string().as_bytes()));
    let bytes = serde_json::to_vec(&sample).unwrap();
    fuzz(CASES / 2, mutation::bytes(vec![bytes]), |bytes| written(&bytes));
}

/// Headers of these values, as far as they can be some.
fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(*name, value);
        }
    }
    headers
}

#[test]
fn cookies_and_the_secrets_of_pages() {
    let sessions = Sessions::default();
    let token = Token::new(&HeaderValue::from_static("t")).unwrap();
    let end = clock::now().plus_ms(100_000_000);
    let owner = (ProjectId("p".to_owned()), "u".to_owned());
    let new = sessions.begin(owner, (token, end)).unwrap();
    let right = format!("{COOKIE}={}", new.id);
    let cookies = [&*right, &format!("a=b; {right}; c"), &format!("{COOKIE}=; {right}"), "x"];
    let secrets = [&*new.csrf_token];
    let asked = (mutation::text(&cookies), option::of(mutation::text(&secrets)));
    fuzz(CASES * 4, asked, |(cookie, csrf)| {
        let mut pairs = vec![("cookie", &*cookie)];
        pairs.extend(csrf.iter().map(|csrf| ("x-csrf-token", &**csrf)));
        let brought = sessions.brought(&headers(&pairs));
        // Whatever is near a secret is not the secret.
        assert!(brought.is_none() || cookie.contains(&right), "{cookie}");
        if let Some(brought) = brought {
            let is_same = csrf.as_deref() == Some(&*new.csrf_token);
            assert_eq!(brought.is_from_page, is_same, "{csrf:?}");
        }
    });
    let brought = sessions.brought(&headers(&[("cookie", &right)])).unwrap();
    assert!(!brought.is_from_page);
}

#[test]
fn headers_with_a_token() {
    let samples = ["gAAAAABk_-x", "Bearer mgt_abc", "bearer  t", "Basic dDp0", "Bearer"];
    let asked = (mutation::text(&samples), mutation::text(&samples));
    fuzz(CASES * 4, asked, |(token, authorization)| {
        let found =
            Token::of(&headers(&[("x-auth-token", &token), ("authorization", &authorization)]));
        if let Some(found) = found {
            let text = found.text().to_str().unwrap();
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            assert!(text == token || authorization.contains(text), "{text}");
            assert!(!format!("{found:?}").contains(text) || text.len() < 4, "{text}");
        }
    });
}

#[test]
fn names_of_hosts() {
    let samples =
        ["localhost:9511", "127.0.0.1", "[::1]:80", "magnum.example", "a:65535", "[fe80::1%25e]"];
    fuzz(CASES * 4, mutation::text(&samples), |text| {
        if Authority::parse(&text).is_some() {
            let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"/\\@?#<>\"'".contains(&byte);
            assert!(text.bytes().all(is_plain), "{text:?}");
        }
    });
}

#[test]
fn references_to_images() {
    let digest = format!("busybox@sha256:{}", "0af1".repeat(16));
    let samples = [
        "busybox",
        "busybox:1.36-glibc",
        "library/busybox",
        "quay.io/a/b_c--d.e:x",
        &digest,
        "localhost:5000/x",
        "[::1]:5000/x:y",
        "index.docker.io/a",
        "sha256:86d9d04493d5",
        "UPPER/x",
    ];
    fuzz(CASES * 16, mutation::text(&samples), |text| match Reference::parse(&text) {
        Ok(Reference::Id(id)) => assert!(id.bytes().all(|byte| byte.is_ascii_graphic())),
        Ok(read @ Reference::Named(_)) => {
            let canonical = read.canonical();
            assert!(canonical.bytes().all(|byte| byte.is_ascii_graphic()), "{canonical:?}");
            // The engine never takes what it is asked for as something else.
            let Reference::Named(again) = Reference::parse(&canonical).unwrap() else {
                panic!("{canonical}")
            };
            assert_eq!(again.canonical(), canonical, "{text}");
            let Reference::Named(image) = read else { return };
            assert_eq!(again.registry, image.registry, "{text}");
            assert_eq!(image.registry.to_string().parse::<Registry>(), Ok(image.registry));
        }
        Err(words) => is_bounded(words),
    });
}

#[test]
fn lists_of_images_and_registries() {
    let samples = ["*", "quay.io/team/*", "busybox:1", "a*b", "[::1]:5000", "registry.local:443"];
    fuzz(CASES * 4, mutation::text(&samples), |text| {
        if let Err(words) = text.parse::<SharedImages>() {
            is_bounded(words);
        }
        if let Err(words) = text.parse::<Registry>() {
            is_bounded(words);
        }
        let canonical = canonical_beginning(&text);
        assert!(canonical.is_err() || canonical.is_ok_and(|it| it.len() <= text.len() + 32));
    });
}

#[test]
fn labels_and_published_ports() {
    let samples = ["magnum.x", "com.docker.compose", "exitCode", " \u{200b}MAGNUM.a", "tier"];
    fuzz(CASES * 4, mutation::text(&samples), |label| {
        let plain = label.trim_start_matches(|c: char| !c.is_ascii_graphic());
        let is_ours = plain.to_ascii_lowercase().starts_with("magnum.");
        match check_label(&label, &["tier".to_owned()]) {
            Ok(()) => assert!(!is_ours && label != "exitCode", "{label:?}"),
            Err(words) => is_bounded(words),
        }
    });
    let ports = Allowed::default().ports;
    let addresses = ["127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1", "1.2.3.4%eth0"];
    let asked = (mutation::text(&addresses), option::of(proptest::num::u16::ANY));
    fuzz(CASES * 4, asked, |(address, port)| match ports.check(Some(&address), port) {
        Ok(()) => assert!(port.is_none_or(|port| port >= 1024), "{port:?}"),
        Err(words) => is_bounded(words),
    });
}
