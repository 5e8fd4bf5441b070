//! The access rules of an application credential: the only requests that its tokens are for.
//!
//! They mean what Keystone's own middleware takes them to mean: a rule has a service, a method and
//! a path in which `*` and `{name}` stand for a part between slashes and `**` for anything. Not
//! here: where they come from (`validated`), and what the user's roles allow besides (`policy`).

use axum::http::Method;
use serde::Deserialize;

/// What this service is called in Keystone's catalog: today, and in 2014.
const SERVICE_TYPES: [&str; 2] = ["container-infra", "container"];

/// Rules of one credential: several times what somebody writes, as they are kept with the token.
pub const MAX_RULES: usize = 64;

/// Longest path of a rule, in bytes: Keystone's own column.
const MAX_PATTERN_BYTES: usize = 128;

/// Longest path of a request that one can be for, in bytes: twice that of the longest name with all
/// its bytes encoded.
const MAX_PATH_BYTES: usize = 2048;

/// Requests that a token may be used for.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct AccessRule {
    service: String,
    method: String,
    path: String,
}

impl AccessRule {
    /// Whether it is as Keystone makes them.
    pub fn is_sound(&self) -> bool {
        self.path.len() <= MAX_PATTERN_BYTES
    }

    /// Whether it allows a request with this path, which is that of a route.
    pub fn allows(&self, method: &Method, path: &str) -> bool {
        SERVICE_TYPES.contains(&self.service.as_str())
            && self.method == method.as_str()
            && is_match(&parts(&self.path), path)
    }
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PatternPart {
    /// This character.
    One(char),
    /// One that is no slash.
    NoSlash,
    /// Any number of those.
    NoSlashes,
    /// Any number of any.
    Anything,
}

fn parts(pattern: &str) -> Vec<PatternPart> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let tag = rest.strip_prefix('{').and_then(|tag| tag.split_once('}'));
        rest = match (rest.strip_prefix("**"), rest.strip_prefix('*'), tag) {
            (Some(after), ..) => {
                parts.push(PatternPart::Anything);
                after
            }
            (_, Some(after), _) | (.., Some((_, after))) => {
                parts.extend([PatternPart::NoSlash, PatternPart::NoSlashes]);
                after
            }
            _ => {
                parts.push(PatternPart::One(first));
                rest.get(first.len_utf8()..).unwrap_or_default()
            }
        };
    }
    parts
}

/// Whether a path is one of a pattern. The steps are as many as both are long, multiplied: who
/// writes a pattern cannot make it expensive.
fn is_match(parts: &[PatternPart], path: &str) -> bool {
    if path.len() > MAX_PATH_BYTES {
        return false;
    }
    // Whether the path so far may end before each part, and after the last one.
    let mut reached = Vec::new();
    let mut is_here = true;
    for part in with_end(parts) {
        reached.push(is_here);
        is_here &= part.is_some_and(PatternPart::may_be_empty);
    }
    for character in path.chars() {
        is_here = false;
        for (was_here, part) in reached.iter_mut().zip(with_end(parts)) {
            let (stays, moves) = part.map_or((false, false), |part| part.takes(character));
            let moves = *was_here && moves;
            *was_here = is_here || *was_here && stays;
            is_here = moves || *was_here && part.is_some_and(PatternPart::may_be_empty);
        }
    }
    reached.last() == Some(&true)
}

/// The parts, and the end of the pattern.
fn with_end(parts: &[PatternPart]) -> impl Iterator<Item = Option<PatternPart>> {
    parts.iter().copied().map(Some).chain([None])
}

impl PatternPart {
    const fn may_be_empty(self) -> bool {
        matches!(self, Self::NoSlashes | Self::Anything)
    }

    /// Whether it takes a character and goes on, and whether that completes it.
    fn takes(self, character: char) -> (bool, bool) {
        match self {
            Self::One(wanted) => (false, wanted == character),
            Self::NoSlash => (false, character != '/'),
            Self::NoSlashes => (character != '/', false),
            Self::Anything => (true, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_as_keystones_middleware_has_it() {
        for (pattern, path, wanted) in [
            ("/v1/bays", "/v1/bays", true),
            ("/v1/bays", "/v1/bays/b", false),
            ("/v1/bays", "/v1/bay", false),
            ("/v1/bays/*", "/v1/bays/b", true),
            ("/v1/bays/*", "/v1/bays/", false),
            ("/v1/bays/*", "/v1/bays/b/history", false),
            ("/v1/bays/{bay_id}", "/v1/bays/b", true),
            ("/v1/bays/{bay_id}", "/v1/bays/b/history", false),
            ("/v1/containers/{id}/logs", "/v1/containers/web/logs", true),
            ("/v1/containers/{id}/logs", "/v1/containers/a/b/logs", false),
            ("/v1/containers/web-*", "/v1/containers/web-1", true),
            ("/v1/containers/web-*", "/v1/containers/web-", false),
            ("/v1/containers/**", "/v1/containers/web/logs", true),
            ("/v1/containers/**", "/v1/containers/", true),
            ("/v1/containers/**", "/v1/containers", false),
            ("/v1/**/logs", "/v1/containers/web/logs", true),
            ("/v1/**/logs", "/v1/containers/web/logs/x", false),
            ("/**", "/v1/events", true),
            ("**", "/v1/events", true),
            ("/v1/*/*/*", "/v1/containers/web/start", true),
            ("/v1/***", "/v1/bays", true),
            // What means something in regular expressions means itself.
            ("/v1/bays/a.c", "/v1/bays/abc", false),
            ("/v1/bays/[b]+", "/v1/bays/b", false),
            ("/v1/bays/{b", "/v1/bays/{b", true),
            ("/v1/bays/{b", "/v1/bays/x", false),
            ("/v1/bays/ü*", "/v1/bays/üb", true),
            ("", "/v1", false),
            ("", "", true),
            (&"*".repeat(MAX_PATTERN_BYTES), &"/a".repeat(MAX_PATH_BYTES / 2), true),
            ("**", &"/a".repeat(MAX_PATH_BYTES), false),
        ] {
            assert_eq!(is_match(&parts(pattern), path), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn a_rule_is_for_one_method_of_this_service() {
        let rule = |service: &str, method: &str| AccessRule {
            service: service.to_owned(),
            method: method.to_owned(),
            path: "/v1/bays".to_owned(),
        };
        for service in SERVICE_TYPES {
            assert!(rule(service, "GET").allows(&Method::GET, "/v1/bays"));
            assert!(!rule(service, "GET").allows(&Method::HEAD, "/v1/bays"));
            assert!(!rule(service, "POST").allows(&Method::GET, "/v1/bays"));
        }
        assert!(!rule("compute", "GET").allows(&Method::GET, "/v1/bays"));
    }
}
