//! Where the images of containers may come from: which registries, and which images of the engine.
//!
//! The engine pulls as whoever it is in its network, and what it has was pulled by somebody: both
//! belong to the host. Not here: what a reference means (`image`), asking a name server and
//! pulling (`backends/docker/pull`).

use std::str::FromStr;

use crate::addresses::is_internal;
use crate::image::{HUB, Image, Reference, Registry, canonical_beginning};

/// From where images may come.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Whether who asks is the operator of the host, who may use what it has and reaches.
    pub is_operator: bool,
    /// Images of the engine that everybody may use, without a look at their registry.
    pub shared: Vec<SharedImages>,
    /// The only registries; if empty, those that are not internal.
    pub registries: Vec<Registry>,
}

/// Images that the operator shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedImages {
    /// One.
    Exactly(String),
    /// Those whose canonical reference begins so.
    Beginning(String),
}

impl Sources {
    /// Whether an image that the engine has may be used as it is. Any other is pulled for each
    /// container: so its registry says each time whether it gives it to whoever asks.
    pub fn may_use(&self, wanted: &Reference) -> bool {
        let canonical = wanted.canonical();
        self.is_operator || self.shared.iter().any(|shared| shared.has(&canonical))
    }

    /// Refuses an image that cannot come from anywhere, as far as its reference tells.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self, wanted: &Reference) -> Result<(), String> {
        match wanted {
            _ if self.may_use(wanted) => Ok(()),
            Reference::Id(_) => {
                Err("Images cannot be named by an id; name a registry's image.".to_owned())
            }
            Reference::Named(image) => self.check_registry(image),
        }
    }

    /// Refuses an image whose registry may not be used, as far as its name tells.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check_registry(&self, image: &Image) -> Result<(), String> {
        let registry = &image.registry;
        if !self.registries.is_empty() {
            if self.registries.contains(registry) {
                return Ok(());
            }
            let all: Vec<String> = self.registries.iter().map(Registry::to_string).collect();
            let all = all.join(", ");
            return Err(format!("Images may not be pulled from {registry}, only from {all}."));
        }
        if !self.is_operator && is_internal_name(&registry.host) {
            return Err(internal(registry));
        }
        Ok(())
    }

    /// Whether clients choose registries, since the operator names none.
    pub const fn has_any_registry(&self) -> bool {
        !self.is_operator && self.registries.is_empty()
    }

    /// Whether the addresses of an image's registry are to be looked at as well.
    pub fn checks_addresses(&self, image: &Image) -> bool {
        self.has_any_registry() && image.registry.host != HUB
    }
}

impl SharedImages {
    fn has(&self, canonical: &str) -> bool {
        match self {
            Self::Exactly(image) => image == canonical,
            Self::Beginning(beginning) => canonical.starts_with(beginning),
        }
    }
}

/// A reference, or the beginning of one with `*` after it.
impl FromStr for SharedImages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Beginning(String::new())),
            Some(beginning) if beginning.contains(['*', ' ']) => {
                Err("one * may stand at the end".to_owned())
            }
            Some(beginning) => canonical_beginning(beginning).map(Self::Beginning),
            None => Reference::parse(text).map(|image| Self::Exactly(image.canonical())),
        }
    }
}

/// Why nothing is pulled from a registry that only the host reaches.
pub fn internal(registry: &Registry) -> String {
    format!(
        "Images may not be pulled from {registry}: it is this host, or in an internal network. The \
         operator can allow it with --registry."
    )
}

/// Whether a host's name alone tells that it is internal.
fn is_internal_name(host: &str) -> bool {
    if let Ok(address) = host.parse() {
        return is_internal(address);
    }
    // One word is looked up in the host's own domain. Resolvers also read numbers as addresses, in
    // more forms than are worth telling apart: 2130706433, 0x7f.1, 0177.0.0.1.
    let last = host.rsplit('.').next().unwrap_or(host);
    !host.contains('.')
        || last == "localhost"
        || last.starts_with("0x")
        || last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(shared: &[&str], registries: &[&str]) -> Sources {
        Sources {
            is_operator: false,
            shared: shared.iter().map(|text| text.parse().unwrap()).collect(),
            registries: registries.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn check(sources: &Sources, image: &str) -> Result<(), String> {
        sources.check(&Reference::parse(image).unwrap())
    }

    const INTERNAL: [&str; 38] = [
        "127.0.0.1:22/x",
        "127.0.0.1:1/x:1",
        "127.1.2.3/x",
        "127.1/x",
        "127.0.1:5000/x",
        "0.0.0.0:22/x",
        "0.1.2.3/x",
        "0:22/x",
        "2130706433:22/x",
        "0x7f000001:22/x",
        "0x7f.1/x",
        "0X7F.1/x",
        "0177.0.0.1/x",
        "127.0.0.0x1/x",
        "017700000001:80/x",
        "10.0.0.1/x",
        "172.16.0.1/x",
        "172.31.255.255:5000/x",
        "192.168.1.1/x",
        "100.64.0.1/x",
        "100.100.100.200/x",
        "169.254.169.254/x:y",
        "168.63.129.16/x",
        "224.0.0.1/x",
        "255.255.255.255/x",
        "[::1]:22/x",
        "[::]:22/x",
        "[0:0:0:0:0:0:0:1]/x",
        "[::ffff:127.0.0.1]:22/x",
        "[::ffff:7f00:1]/x",
        "[::127.0.0.1]/x",
        "[64:ff9b::7f00:1]/x",
        "[2002:a00:1::]/x",
        "[fd00:ec2::254]/x",
        "[fe80::1]/x",
        "localhost/x",
        "LocalHost:5000/x",
        "a.localhost:5000/x",
    ];

    #[test]
    fn what_only_the_host_reaches_is_no_registry() {
        let all = sources(&[], &[]);
        let words = ["registry:5000/x", "kubernetes.default.localhost/x", "METADATA/x"];
        for image in INTERNAL.into_iter().chain(words) {
            assert!(check(&all, image).unwrap_err().contains("--registry"), "{image}");
        }
        for image in [
            "busybox",
            "a/b",
            "docker.io/a/b:1",
            "quay.io/a/b",
            "registry.example.com:5000/x",
            "8.8.8.8/x",
            "172.32.0.1/x",
            "100.128.0.1/x",
            "[2606:4700::1111]:5000/x",
            "[::ffff:8.8.8.8]/x",
            "127.0.0.1.example.com/x",
            "10.com/x",
        ] {
            assert_eq!(check(&all, image), Ok(()), "{image}");
        }
    }

    #[test]
    fn registries_that_are_listed_are_the_only_ones() {
        let two = sources(&[], &["127.0.0.1:5000", "Quay.io"]);
        for image in ["127.0.0.1:5000/x", "quay.io/a/b", "QUAY.IO/a/b:1"] {
            assert_eq!(check(&two, image), Ok(()), "{image}");
        }
        for image in ["127.0.0.1/x", "127.0.0.1:5001/x", "quay.io:443/a", "busybox", "x.quay.io/a"]
        {
            let words = check(&two, image).unwrap_err();
            assert!(words.contains("only from 127.0.0.1:5000, quay.io"), "{image}: {words}");
        }
        for hub in ["docker.io", "index.docker.io"] {
            let hub = sources(&[], &[hub]);
            for image in ["busybox", "a/b:1", "docker.io/a", "index.docker.io/a/b"] {
                assert_eq!(check(&hub, image), Ok(()), "{image}");
            }
            assert!(check(&hub, "quay.io/a").is_err());
        }
    }

    #[test]
    fn images_of_the_engine_are_for_the_operator_unless_they_are_shared() {
        let digits = "86d9d04493d5".repeat(5) + "0123";
        let some = sources(&["busybox:local", "base/*", "10.0.0.1/*", &digits], &[]);
        let may_use = |image: &str| some.may_use(&Reference::parse(image).unwrap());
        for image in [
            "busybox:local",
            "docker.io/library/busybox:local",
            "base/x",
            "index.docker.io/base/y:1",
            "10.0.0.1/x",
            &digits,
            &format!("sha256:{digits}"),
        ] {
            assert!(may_use(image), "{image}");
            assert_eq!(check(&some, image), Ok(()), "{image}");
        }
        for image in
            ["busybox", "busybox:local2", "base", "quay.io/base/x", "quay.io/busybox:local"]
        {
            assert!(!may_use(image), "{image}");
        }
        for id in ["86d9d04493d5", "sha256:86", "sha256:86d9d04493d5"] {
            assert!(check(&some, id).unwrap_err().contains("id"), "{id}");
        }
        let all = sources(&["*"], &[]);
        for image in ["86d9d04493d5", "op-backend:1", "127.0.0.1:22/x"] {
            assert!(all.may_use(&Reference::parse(image).unwrap()), "{image}");
        }
        let operator = Sources { is_operator: true, ..sources(&[], &[]) };
        for image in INTERNAL.into_iter().chain(["86d9d04493d5", "x"]) {
            assert_eq!(check(&operator, image), Ok(()), "{image}");
        }
        // The operator may still say where from anything is pulled.
        let operator = Sources { is_operator: true, ..sources(&[], &["docker.io"]) };
        let Reference::Named(image) = Reference::parse("quay.io/x").unwrap() else { panic!() };
        assert!(operator.check_registry(&image).is_err());
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "A", "a**", "a*b", "a b", "a *"] {
            assert!(bad.parse::<SharedImages>().is_err(), "{bad}");
        }
        // They would be taken for images of Docker Hub, and match nothing.
        for registry in ["registry.example.com", "localhost:5000", "localhost", "docker.io", "A.b"]
        {
            let words = format!("{registry}*").parse::<SharedImages>().unwrap_err();
            assert!(words.contains(&format!("{registry}/*")), "{words}");
            assert!(format!("{registry}/*").parse::<SharedImages>().is_ok());
        }
        for image in ["busybox*", "base/x:1*", "docker.io/library/busybox:1*"] {
            assert!(image.parse::<SharedImages>().is_ok(), "{image}");
        }
    }

    #[test]
    fn names_are_looked_up_only_where_clients_choose_them() {
        let named = |text: &str| match Reference::parse(text).unwrap() {
            Reference::Named(image) => image,
            Reference::Id(id) => panic!("{id}"),
        };
        assert!(sources(&[], &[]).checks_addresses(&named("quay.io/a")));
        assert!(!sources(&[], &[]).checks_addresses(&named("a")));
        assert!(!sources(&[], &["quay.io"]).checks_addresses(&named("quay.io/a")));
        let operator = Sources { is_operator: true, ..sources(&[], &[]) };
        assert!(!operator.checks_addresses(&named("quay.io/a")));
    }
}
