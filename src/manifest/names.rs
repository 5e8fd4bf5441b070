//! What names, keys and values in a manifest may be, as the API server of Kubernetes checks them.

/// Longest DNS label: names of containers and volumes, and parts of a subdomain.
const MAX_LABEL_BYTES: usize = 63;

/// Longest DNS subdomain: names of pods, and prefixes of keys.
const MAX_SUBDOMAIN_BYTES: usize = 253;

/// Longest name of a port (RFC 6335).
const MAX_PORT_NAME_BYTES: usize = 15;

/// What is wrong with a name; the text goes on after a colon.
pub(super) type Checked = Result<(), String>;

/// A DNS label (RFC 1123).
pub(super) fn label(name: &str) -> Checked {
    match is_label(name) {
        true => Ok(()),
        false => Err(format!(
            "use at most {MAX_LABEL_BYTES} small letters, digits and -, with a letter or digit at \
             both ends"
        )),
    }
}

/// A DNS subdomain (RFC 1123): labels with dots between them. Their lengths do not count, as in
/// Kubernetes.
pub(super) fn subdomain(name: &str) -> Checked {
    match is_subdomain(name) {
        true => Ok(()),
        false => Err(format!(
            "use at most {MAX_SUBDOMAIN_BYTES} small letters, digits, - and ., with a letter or \
             digit at both ends of each part"
        )),
    }
}

/// The key of a label or an annotation: a name, and before a slash a DNS subdomain.
pub(super) fn key(key: &str) -> Checked {
    let (prefix, name) =
        key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    match is_qualified(name) && prefix.is_none_or(is_subdomain) {
        true => Ok(()),
        false => Err(format!(
            "a key is at most {MAX_LABEL_BYTES} letters, digits, -, _ and ., with a letter or \
             digit at both ends, perhaps after a DNS name and a slash"
        )),
    }
}

/// The value of a label.
pub(super) fn label_value(value: &str) -> Checked {
    match value.is_empty() || is_qualified(value) {
        true => Ok(()),
        false => Err(format!(
            "use at most {MAX_LABEL_BYTES} letters, digits, -, _ and ., with a letter or digit at \
             both ends"
        )),
    }
}

/// The name of an environment variable: what is printable in ASCII, without `=`, as in Kubernetes
/// since 1.30.
pub(super) fn variable(name: &str) -> Checked {
    match !name.is_empty() && name.bytes().all(|it| matches!(it, b' '..=b'~') && it != b'=') {
        true => Ok(()),
        false => Err("use printable ASCII characters without =".to_owned()),
    }
}

/// The name of a port (RFC 6335).
pub(super) fn port(name: &str) -> Checked {
    let fits = is_label(name)
        && name.len() <= MAX_PORT_NAME_BYTES
        && !name.contains("--")
        && name.bytes().any(|byte| byte.is_ascii_lowercase());
    match fits {
        true => Ok(()),
        false => Err(format!(
            "use at most {MAX_PORT_NAME_BYTES} small letters, digits and single -, a letter among \
             them"
        )),
    }
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(name: &str) -> bool {
    name.len() <= MAX_LABEL_BYTES && is_part(name)
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= MAX_SUBDOMAIN_BYTES && name.split('.').all(is_part)
}

/// A part of a subdomain, of any length.
fn is_part(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.iter().all(|byte| is_alphanumeric(*byte) || *byte == b'-')
        && ends.into_iter().all(|end| end.is_some_and(|byte| is_alphanumeric(*byte)))
}

/// The name in a key, or a value.
fn is_qualified(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    name.len() <= MAX_LABEL_BYTES
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && ends.into_iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kubernetes() {
        let (l63, l64) = ("a".repeat(63), "a".repeat(64));
        let (s253, s254) = ("a.".repeat(126) + "a", "a.".repeat(126) + "ab");
        type Rule = fn(&str) -> Checked;
        let cases: [(Rule, &[&str], &[&str]); 6] = [
            (label, &["a", "a-1", "1", &l63], &["", "A", "a.b", "-a", "a-", "a_b", "ä", &l64]),
            (subdomain, &["a", "a.b-c.1", &l64, &s253], &["", ".", "a.", "a..b", "A.b", &s254]),
            (key, &["a", "A_b.c", "a.b/c", &l63], &["", "/a", "a/", "A/b", "a/b/c", "-a", &l64]),
            (label_value, &["", "A", "a_b.C-1", &l63], &["-", "a ", "a/b", "a.", &l64]),
            (variable, &["A", "a-b.c", "1", "a b"], &["", "A=B", "ä", "a\0", "a\n"]),
            (port, &["http", "a-1", "123456789012abc"], &["", "1", "a--b", "-a", "HTTP", "a_b"]),
        ];
        for (at, (rule, good, bad)) in cases.into_iter().enumerate() {
            for name in good {
                assert_eq!(rule(name), Ok(()), "{at} {name}");
            }
            for name in bad {
                assert!(rule(name).is_err(), "{at} {name}");
            }
        }
        assert!(port(&"a".repeat(16)).is_err());
    }
}
