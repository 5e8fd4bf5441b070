//! What tenants may use of the host: which of its ports and addresses, images and registries,
//! which labels their containers may have, and what bounds each container.
//!
//! The REST API refuses by these rules before anything is recorded; a node refuses again, by its
//! own settings, before it acts. A container that exists is left alone. Not here: flags
//! (`cli/serve_containers`), images (`sources`), how the engine is told (`backends/docker`).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::sources::Sources;

/// The smallest memory limit that Docker takes.
pub const MIN_MEMORY_BYTES: u64 = 6 << 20;

/// The smallest CPU limit that the kernel's scheduler takes of Docker, in CPUs.
pub const MIN_CPUS: f64 = 0.01;

/// Largest CPU limit, in CPUs: more than any machine has.
pub const MAX_CPUS: f64 = 65_536.0;

/// What the operator allows.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Ports of the host.
    pub ports: Ports,
    /// Images and registries.
    pub images: Sources,
    /// Beginnings of labels that clients may not set, besides those that nobody may.
    pub reserved_labels: Vec<String>,
    /// What bounds each container.
    pub bounds: Bounds,
}

/// Ports of the host that containers may publish.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The first one.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// The only addresses, the first for ports that name none; if empty, any.
    pub addresses: Vec<IpAddr>,
    /// Whether a port may be on loopback alone where `addresses` is empty. One without an address
    /// is on all, loopback included.
    pub has_loopback: bool,
    /// The port of this service, which nobody may have.
    pub own: OwnPort,
}

/// The port of this service; 0 until it is known. Clones are one value, so that the REST API and
/// the node refuse the same port, also one that is known only once the service listens.
#[derive(Clone, Debug, Default)]
pub struct OwnPort(Arc<AtomicU16>);

impl OwnPort {
    /// This one; 0 if it is to be any free one.
    pub fn new(port: u16) -> Self {
        Self(Arc::new(AtomicU16::new(port)))
    }

    /// Says which it is.
    pub fn set(&self, port: u16) {
        self.0.store(port, Ordering::SeqCst);
    }

    fn is(&self, port: u16) -> bool {
        port != 0 && self.0.load(Ordering::SeqCst) == port
    }
}

/// What bounds a container that does not ask for less.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Most processes and threads.
    pub pids: u32,
    /// Most open files of a process; `None`: the engine's own limit.
    pub open_files: Option<u32>,
    /// Size at which a file of its output is followed by another.
    pub log_file_bytes: u64,
    /// How many files of its output are kept.
    pub log_files: u32,
    /// Memory of one that asks for no limit; `None`: no limit.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a CPU of one that asks for no limit; `None`: no limit.
    pub cpu_millis: Option<u32>,
}

/// Without authentication: who asks is the operator.
impl Default for Allowed {
    fn default() -> Self {
        Self {
            ports: Ports {
                // Below are those that only root may listen on, which others trust.
                first: 1024,
                last: u16::MAX,
                addresses: vec![],
                has_loopback: true,
                own: OwnPort::default(),
            },
            images: Sources { is_operator: true, shared: vec![], registries: vec![] },
            reserved_labels: vec![],
            bounds: Bounds {
                // An eighth of the ids that Linux has by default; large programs need hundreds.
                pids: 4096,
                open_files: None,
                log_file_bytes: 10 << 20,
                log_files: 3,
                memory_bytes: None,
                cpu_millis: None,
            },
        }
    }
}

impl Ports {
    /// The address for a port that names none; `None`: the engine's default.
    pub fn address(&self) -> Option<String> {
        self.addresses.first().map(IpAddr::to_string)
    }

    /// Refuses an address and port of the host that may not be published; a port is `None` if the
    /// engine chooses one.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self, address: Option<&str>, port: Option<u16>) -> Result<(), String> {
        self.check_port(port)?;
        let Some(address) = address else {
            return if self.addresses.is_empty() { Ok(()) } else { Err(self.no_address("all")) };
        };
        let parsed = address.parse().map(|address: IpAddr| address.to_canonical());
        let is_allowed = parsed.is_ok_and(|parsed| match &*self.addresses {
            [] => self.has_loopback || !parsed.is_loopback(),
            addresses => addresses.contains(&parsed),
        });
        if is_allowed { Ok(()) } else { Err(self.no_address(address)) }
    }

    fn check_port(&self, port: Option<u16>) -> Result<(), String> {
        let (first, last) = (self.first, self.last);
        let wrong = match port {
            Some(port) if !(first..=last).contains(&port) => {
                format!("Host port {port} is reserved")
            }
            // On any address: who can reach that one may take it for the service.
            Some(port) if self.own.is(port) => {
                format!("Host port {port} is that of this service")
            }
            _ => return Ok(()),
        };
        Err(format!("{wrong}; use another one from {first} to {last}, or none to get a free one."))
    }

    fn no_address(&self, address: &str) -> String {
        let all: Vec<String> = self.addresses.iter().map(IpAddr::to_string).collect();
        let right = match &*all {
            [] => "any address but loopback, or none for all".to_owned(),
            [first, ..] => format!("{}, or none for {first}", all.join(", ")),
        };
        format!("Ports may not be published on the address {address}; use {right}.")
    }
}

/// Labels by which something else than Magnum knows its own containers, or acts on others'. Docker
/// reserves three of them for itself; what Kubernetes finds by its own it removes.
const RESERVED: [&str; 5] =
    ["magnum.", "com.docker.", "io.docker.", "org.dockerproject.", "io.kubernetes."];

/// What the engine's events tell of a container besides its labels, under the same names.
const FACTS: [&str; 6] = ["execDuration", "execID", "exitCode", "image", "name", "signal"];

/// Refuses a label of the service's own, of the engine's, or with one of these beginnings, in any
/// spelling that something may take for it.
///
/// # Errors
/// What is wrong.
pub fn check_label(label: &str, reserved: &[String]) -> Result<(), String> {
    if FACTS.contains(&label) {
        return Err(format!("The label {label} is reserved for what the engine says itself."));
    }
    let plain = label.trim_start_matches(|c: char| !c.is_ascii_graphic()).to_ascii_lowercase();
    let mut all = RESERVED.into_iter().chain(reserved.iter().map(String::as_str));
    match all.find(|beginning| plain.starts_with(&beginning.to_ascii_lowercase())) {
        Some(beginning) => Err(format!("Labels may not start with {beginning}: that is reserved.")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(addresses: &[&str], has_loopback: bool) -> Ports {
        Ports {
            first: 20_000,
            last: 29_999,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            has_loopback,
            own: OwnPort::new(25_000),
        }
    }

    #[test]
    fn ports_are_in_the_range_and_never_the_services_own() {
        let ports = ports(&[], true);
        for port in [None, Some(20_000), Some(24_999), Some(29_999)] {
            assert_eq!(ports.check(None, port), Ok(()));
        }
        for port in [1, 22, 19_999, 30_000, 65_535] {
            let words = ports.check(None, Some(port)).unwrap_err();
            assert!(words.contains("from 20000 to 29999"), "{words}");
        }
        for address in [None, Some("10.0.0.1"), Some("127.0.0.1"), Some("::")] {
            let words = ports.check(address, Some(25_000)).unwrap_err();
            assert!(words.contains("this service"), "{words}");
        }
        let default = Allowed::default().ports;
        for port in [1, 22, 80, 1023] {
            assert!(default.check(None, Some(port)).is_err());
        }
        assert_eq!(default.check(Some("127.0.0.1"), Some(1024)), Ok(()));
    }

    #[test]
    fn loopback_alone_is_not_for_tenants() {
        let tenants = ports(&[], false);
        for address in ["127.0.0.1", "127.9.9.9", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"] {
            let words = tenants.check(Some(address), None).unwrap_err();
            assert!(words.contains("any address but loopback, or none for all"), "{words}");
            assert_eq!(ports(&[], true).check(Some(address), None), Ok(()));
        }
        for address in [None, Some("10.0.0.1"), Some("0.0.0.0"), Some("::"), Some("fe80::1")] {
            assert_eq!(tenants.check(address, None), Ok(()));
        }
        assert!(tenants.check(Some("localhost"), None).is_err());
    }

    #[test]
    fn addresses_that_are_listed_are_the_only_ones() {
        let two = ports(&["10.0.0.1", "127.0.0.1"], false);
        assert_eq!(two.address().as_deref(), Some("10.0.0.1"));
        for address in ["10.0.0.1", "::ffff:10.0.0.1", "127.0.0.1"] {
            assert_eq!(two.check(Some(address), None), Ok(()));
        }
        for address in [None, Some("0.0.0.0"), Some("::"), Some("10.0.0.2"), Some("::1")] {
            let words = two.check(address, None).unwrap_err();
            assert!(words.contains("10.0.0.1, 127.0.0.1, or none for 10.0.0.1"), "{words}");
        }
        assert_eq!(ports(&[], false).address(), None);
    }

    #[test]
    fn labels_that_others_act_on_are_reserved_in_every_spelling() {
        let own = ["traefik.".to_owned(), "Acme.".to_owned()];
        for label in [
            "magnum.node",
            "Magnum.x",
            " magnum.x",
            "\u{200b}MAGNUM.x",
            "com.docker.compose.project",
            "COM.docker.swarm.service.id",
            "io.kubernetes.docker.type",
            "traefik.http.routers.x.rule",
            "acme.x",
        ] {
            assert!(check_label(label, &own).is_err(), "{label:?}");
        }
        for label in ["exitCode", "signal", "execID", "execDuration", "name", "image"] {
            assert!(check_label(label, &[]).is_err(), "{label}");
        }
        for label in ["tier", "magnum", "magnums.x", "x.magnum.y", "com.dockerx", "exitcode"] {
            assert_eq!(check_label(label, &own), Ok(()), "{label}");
        }
        assert_eq!(check_label("traefik.enable", &[]), Ok(()));
    }
}
