//! Image references: which registry, which image, or which id of an image.
//!
//! The grammar and the defaults are those of the package `distribution/reference`, with which the
//! engine reads them: what is decided about a reference is decided about what the engine will do.
//! Not here: which images may be used (`sources`).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A name of 255 bytes, a tag of 128 and a digest of 135 (SHA-512), with `:` and `@` between them.
pub const MAX_REFERENCE_BYTES: usize = 520;

/// Longest name without its registry (`RepositoryNameTotalLengthMax`; older engines count both).
const MAX_NAME_BYTES: usize = 255;

/// Longest tag.
const MAX_TAG_BYTES: usize = 128;

/// Digests that the engine computes, with the number of hexadecimal digits.
const ALGORITHMS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];

/// As many digits of an id as the engine shows. Fewer are read as a name, which at a registry is
/// one, and which on the engine is only looked for with a registry before it.
const SHORT_ID_DIGITS: usize = 12;

/// The digits of a whole id.
const ID_DIGITS: usize = 64;

/// Docker Hub: the registry of a reference that names none.
pub const HUB: &str = "docker.io";

/// An older name of it.
const OLD_HUB: &str = "index.docker.io";

/// Where Docker Hub has the images whose name is one word.
const OFFICIAL: &str = "library";

/// What an image is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The id of an image on the engine, or the beginning of one.
    Id(String),
    /// An image of a registry.
    Named(Image),
}

/// An image of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it is pulled from.
    pub registry: Registry,
    /// Its name with the registry: `docker.io/library/busybox`.
    name: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Where images are: a host and, unless it is that of HTTPS, a port. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, if one is given.
    pub port: Option<u16>,
}

impl Reference {
    /// Reads what a client wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_REFERENCE_BYTES {
            return Err(format!("An image reference has at most {MAX_REFERENCE_BYTES} bytes."));
        }
        if is_id(text) {
            return Ok(Self::Id(text.to_owned()));
        }
        Image::parse(text).map(Self::Named).ok_or_else(|| {
            "An image reference is like busybox, busybox:1.36 or registry.example.com/team/web:1; \
             the name is in lower case."
                .to_owned()
        })
    }

    /// Its one form: an id without the algorithm, or a name with registry and tag or digest.
    pub fn canonical(&self) -> String {
        match self {
            Self::Id(id) => id.rsplit(':').next().unwrap_or(id).to_owned(),
            Self::Named(image) => image.canonical(),
        }
    }
}

impl Image {
    fn parse(text: &str) -> Option<Self> {
        let (text, digest) = match text.split_once('@') {
            Some((text, digest)) if is_digest(digest) => (text, Some(digest.to_owned())),
            Some(_) => return None,
            None => (text, None),
        };
        // A colon before the last slash is that of a port.
        let last = text.rsplit('/').next().unwrap_or(text);
        let (name, tag) = match last.split_once(':') {
            Some((_, tag)) if is_tag(tag) => {
                (text.strip_suffix(tag)?.strip_suffix(':')?, Some(tag))
            }
            Some(_) => return None,
            None => (text, None),
        };
        let (domain, path) = split(name);
        let path = match path.contains('/') {
            false if domain == HUB => format!("{OFFICIAL}/{path}"),
            _ => path.to_owned(),
        };
        let fits = path.len() <= MAX_NAME_BYTES && path.split('/').all(is_component);
        let registry = domain.parse().ok().filter(|_| fits)?;
        let name = format!("{domain}/{path}");
        Some(Self { registry, name, tag: tag.map(str::to_owned), digest })
    }

    /// With its registry, and its digest or tag. The engine never takes this for an id.
    pub fn canonical(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => self.at(digest),
            (None, tag) => format!("{}:{}", self.name, tag.as_deref().unwrap_or("latest")),
        }
    }

    /// The same image with this digest.
    pub fn at(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name)
    }

    /// Its digest, if that is given: what it means never changes then.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl FromStr for Registry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not HOST or HOST:PORT");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
                host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
                (host, port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                if !host.split('.').all(is_label) {
                    return Err(wrong());
                }
                (host, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        };
        let host = host.to_ascii_lowercase();
        Ok(Self { host: if host == OLD_HUB { HUB.to_owned() } else { host }, port })
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The beginning of a reference in the form of [`Reference::canonical`].
///
/// # Errors
/// If it looks like the whole of a registry, or the beginning of one, whose images begin with it
/// and a slash.
pub fn canonical_beginning(text: &str) -> Result<String, String> {
    if !text.contains('/') && split(&format!("{text}/")).1.is_empty() {
        return Err(format!(
            "write {text}/* for all images of a registry, and {HUB}/{OFFICIAL}/{text}* for images \
             of Docker Hub"
        ));
    }
    Ok(match split(text) {
        (HUB, path) if !path.contains('/') && !text.contains('/') => {
            format!("{HUB}/{OFFICIAL}/{path}")
        }
        (domain, path) => format!("{domain}/{path}"),
    })
}

/// The registry of a name and the rest of it. The first part is a registry if it cannot be part
/// of the name of an image.
fn split(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((OLD_HUB, path)) => (HUB, path),
        Some((first, path))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.contains(|c: char| c.is_ascii_uppercase()) =>
        {
            (first, path)
        }
        _ => (HUB, name),
    }
}

/// Whether the engine looks for this among the ids of its images.
fn is_id(text: &str) -> bool {
    match text.split_once(':') {
        Some((algorithm, digits)) => {
            ALGORITHMS.iter().any(|(known, _)| *known == algorithm) && is_hex(digits)
        }
        None => (SHORT_ID_DIGITS..=ID_DIGITS).contains(&text.len()) && is_hex(text),
    }
}

/// `sha256:` and 64 digits, or another algorithm of the engine's.
pub fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, digits)| {
        ALGORITHMS.contains(&(algorithm, digits.len())) && is_hex(digits)
    })
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG_BYTES
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

/// One part of a name between slashes: words with `.`, `_`, `__` or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator =
        |run: &str| ["", ".", "_", "__"].contains(&run) || run.trim_matches('-').is_empty();
    text.starts_with(word) && text.ends_with(word) && text.split(word).all(is_separator)
}

/// One part of a host name between dots.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:86d9d04493d586d9d04493d586d9d04493d586d9d04493d586d9d04493d50123";

    fn named(text: &str) -> Image {
        match Reference::parse(text) {
            Ok(Reference::Named(image)) => image,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_reference_has_one_form() {
        let at = |name: &str| format!("{name}@{DIGEST}");
        for (text, registry, canonical) in [
            ("busybox", "docker.io", "docker.io/library/busybox:latest"),
            ("busybox:local", "docker.io", "docker.io/library/busybox:local"),
            ("docker.io/busybox", "docker.io", "docker.io/library/busybox:latest"),
            ("index.docker.io/a/b:1", "docker.io", "docker.io/a/b:1"),
            ("a/b/c", "docker.io", "docker.io/a/b/c:latest"),
            ("localhost/x", "localhost", "localhost/x:latest"),
            ("localhost:5000/x:1", "localhost:5000", "localhost:5000/x:1"),
            ("127.0.0.1:22/x", "127.0.0.1:22", "127.0.0.1:22/x:latest"),
            ("Registry.Example.COM/a:B", "registry.example.com", "Registry.Example.COM/a:B"),
            // What is upper case cannot be part of a name.
            ("LOCALHOST/x", "localhost", "LOCALHOST/x:latest"),
            ("[::1]:5000/x", "[::1]:5000", "[::1]:5000/x:latest"),
            ("[FE80::1]/x", "[fe80::1]", "[FE80::1]/x:latest"),
            ("2130706433:1/x", "2130706433:1", "2130706433:1/x:latest"),
            ("a__b-.c", "", ""),
            ("a__b--c.d_e", "docker.io", "docker.io/library/a__b--c.d_e:latest"),
            (&at("x.y/z"), "x.y", &at("x.y/z")),
            // The engine ignores the tag as well.
            (&at("x:1"), "docker.io", &at("docker.io/library/x")),
            // Shorter than what the engine shows of an id.
            ("cafe", "docker.io", "docker.io/library/cafe:latest"),
        ] {
            if canonical.is_empty() {
                assert!(Reference::parse(text).is_err(), "{text}");
                continue;
            }
            let image = named(text);
            assert_eq!(
                (image.registry.to_string(), image.canonical()),
                (registry.to_owned(), canonical.to_owned())
            );
            // What was decided about it holds for what the engine is asked for.
            assert_eq!(named(canonical).canonical(), canonical);
        }
        assert_eq!(named(&at("x")).digest(), Some(DIGEST));
        assert_eq!(named("x:1").at(DIGEST), at("docker.io/library/x"));
    }

    #[test]
    fn ids_are_told_from_names() {
        let digits = DIGEST.strip_prefix("sha256:").unwrap();
        for id in [digits, DIGEST, "sha256:86d9d04493d5", "sha256:8", "86d9d04493d5"] {
            let parsed = Reference::parse(id).unwrap();
            assert_eq!(parsed, Reference::Id(id.to_owned()));
            assert!(digits.starts_with(&parsed.canonical()));
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let long = |tag: usize| format!("{}:{}", "a".repeat(247), "t".repeat(tag));
        for text in [
            "",
            "..",
            "a/../b",
            "/a",
            "a/",
            "a//b",
            "a?b",
            "a#b",
            "a b",
            "a%2fb",
            "ä",
            "A",
            "Bad_Case",
            "-x",
            "x-",
            "a:",
            ":a",
            "a:b:c",
            "a:-b",
            "a@",
            "a@sha256:00",
            "a@md5:00",
            "@x",
            "a@b@c",
            "a___b",
            "a._b",
            "_a",
            "a.b./x",
            ".a.b/x",
            "-a.b/x",
            "a_b.c/x",
            "a.b:/x",
            "a.b:0/x",
            "a.b:65536/x",
            "a.b:+80/x",
            "a.b:8 0/x",
            "[::1/x",
            "[::1]x/x",
            "[1.2.3.4]/x",
            "::1/x",
            "http://a.b/x",
            "user@a.b/x",
            "a.b\\c/x",
            "a.b/X",
            "a\0b",
            "a\nb",
            "[fe80::1%eth0]/x",
            &"a".repeat(248),
            &long(129),
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        assert!(Reference::parse(&format!("{}@{DIGEST}", long(128))).is_ok());
    }

    #[test]
    fn beginnings_have_the_form_of_what_they_begin() {
        for (text, canonical) in [
            ("busy", "docker.io/library/busy"),
            ("acme/", "docker.io/acme/"),
            ("docker.io/acme/b", "docker.io/acme/b"),
            ("registry.example.com/base/", "registry.example.com/base/"),
            ("localhost:5000/", "localhost:5000/"),
        ] {
            assert_eq!(canonical_beginning(text).as_deref(), Ok(canonical));
        }
    }
}
