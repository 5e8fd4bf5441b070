//! The options of `magnum serve` for what containers may use of the host.
//!
//! Not here: what they mean for a request (`allowed`, `sources`).

use std::net::IpAddr;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::args::bytes;
use crate::allowed::{Allowed, Bounds, MAX_CPUS, MIN_CPUS, MIN_MEMORY_BYTES, OwnPort, Ports};
use crate::events::container::cpu_millis;
use crate::image::Registry;
use crate::sources::{SharedImages, Sources};

/// The smallest file of output: some lines.
const MIN_OUTPUT_BYTES: u64 = 1 << 10;

/// What containers may use of the host.
#[derive(Args)]
pub struct ContainerArgs {
    /// Host ports that containers may publish
    #[arg(long, value_name = "FIRST-LAST", default_value = "1024-65535", value_parser = range)]
    published_ports: (u16, u16),
    /// Address that containers may publish ports on (repeatable); the first is that of ports that
    /// name none [default: any; with authentication not loopback alone]
    #[arg(long, value_name = "ADDRESS")]
    published_address: Vec<IpAddr>,
    /// Registry that images may be pulled from (repeatable); docker.io is Docker Hub [default:
    /// any; with authentication any that is not internal]
    #[arg(long, value_name = "HOST[:PORT]")]
    registry: Vec<Registry>,
    /// Image on the engine that every project may use, or the beginning of several with a * after
    /// it (repeatable) [default: none; without authentication all]
    #[arg(long, value_name = "IMAGE")]
    shared_image: Vec<SharedImages>,
    /// Beginning of labels that containers may not have, such as traefik. (repeatable)
    #[arg(long, value_name = "PREFIX", value_parser = NonEmptyStringValueParser::new())]
    reserved_label: Vec<String>,
    /// Most processes and threads in a container
    #[arg(long, value_name = "N", default_value_t = Allowed::default().bounds.pids)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pids_limit: u32,
    /// Most open files of a process in a container [default: the engine's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..))]
    open_files_limit: Option<u32>,
    /// Size of each file of a container's output
    #[arg(long, value_name = "BYTES", default_value = "10m", value_parser = output)]
    log_max_size: u64,
    /// Files of its output that are kept
    #[arg(long, value_name = "N", default_value_t = Allowed::default().bounds.log_files)]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=1000))]
    log_max_files: u32,
    /// Memory limit of containers that are created without one [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = memory)]
    default_memory: Option<u64>,
    /// CPU limit of containers that are created without one [default: no limit]
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    default_cpus: Option<u32>,
}

impl ContainerArgs {
    /// What is allowed: less by default if requests are authenticated, and so are not the
    /// operator's own.
    pub fn allowed(self, is_authenticated: bool) -> Allowed {
        let (first, last) = self.published_ports;
        Allowed {
            ports: Ports {
                first,
                last,
                addresses: self.published_address.iter().map(IpAddr::to_canonical).collect(),
                has_loopback: !is_authenticated,
                own: OwnPort::default(),
            },
            images: Sources {
                is_operator: !is_authenticated,
                shared: self.shared_image,
                registries: self.registry,
            },
            reserved_labels: self.reserved_label,
            bounds: Bounds {
                pids: self.pids_limit,
                open_files: self.open_files_limit,
                log_file_bytes: self.log_max_size,
                log_files: self.log_max_files,
                memory_bytes: self.default_memory,
                cpu_millis: self.default_cpus,
            },
        }
    }
}

/// `1024-65535`, or one port.
fn range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err("use two ports from 1 to 65535, such as 20000-29999".to_owned()),
    }
}

fn output(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        size @ MIN_OUTPUT_BYTES.. => Ok(size),
        _ => Err("the smallest size is 1k".to_owned()),
    }
}

fn memory(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        limit @ MIN_MEMORY_BYTES.. => Ok(limit),
        _ => Err("the smallest memory limit is 6m".to_owned()),
    }
}

/// CPUs as thousandths.
fn cpus(text: &str) -> Result<u32, String> {
    match text.parse::<f64>() {
        Ok(cpus) if (MIN_CPUS..=MAX_CPUS).contains(&cpus) => Ok(cpu_millis(cpus)),
        _ => Err(format!("use a number of CPUs from {MIN_CPUS}, such as 0.5")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        containers: ContainerArgs,
    }

    fn parsed(args: &[&str]) -> Result<Allowed, String> {
        let line = Line::try_parse_from([&["serve"], args].concat());
        line.map(|line| line.containers.allowed(true)).map_err(|error| error.to_string())
    }

    #[test]
    fn each_option_is_a_rule() {
        let allowed = parsed(&[
            "--published-ports=20000-29999",
            "--published-address=::ffff:10.0.0.1",
            "--published-address=10.0.0.2",
            "--registry=docker.io",
            "--registry=[::1]:5000",
            "--shared-image=busybox:local",
            "--reserved-label=traefik.",
            "--pids-limit=100",
            "--open-files-limit=1024",
            "--log-max-size=1m",
            "--log-max-files=2",
            "--default-memory=512m",
            "--default-cpus=0.5",
        ])
        .unwrap();
        assert_eq!((allowed.ports.first, allowed.ports.last), (20_000, 29_999));
        assert_eq!(allowed.ports.address().as_deref(), Some("10.0.0.1"));
        assert!(!allowed.ports.has_loopback && !allowed.images.is_operator);
        let registries: Vec<_> =
            allowed.images.registries.iter().map(Registry::to_string).collect();
        assert_eq!(registries, ["docker.io", "[::1]:5000"]);
        assert_eq!(allowed.images.shared, ["busybox:local".parse().unwrap()]);
        assert_eq!(allowed.reserved_labels, ["traefik."]);
        let bounds = allowed.bounds;
        assert_eq!((bounds.pids, bounds.open_files), (100, Some(1024)));
        assert_eq!((bounds.log_file_bytes, bounds.log_files), (1 << 20, 2));
        assert_eq!((bounds.memory_bytes, bounds.cpu_millis), (Some(512 << 20), Some(500)));
    }

    #[test]
    fn what_no_rule_can_be_made_of_is_refused() {
        for bad in [
            "--published-ports=0-10",
            "--published-ports=10-9",
            "--published-ports=1-65536",
            "--published-ports=1-2-3",
            "--published-ports=",
            "--published-address=localhost",
            "--published-address=10.0.0.1:80",
            "--registry=https://a.b",
            "--registry=a.b/c",
            "--registry=",
            "--shared-image=",
            "--shared-image=A",
            "--reserved-label=",
            "--pids-limit=0",
            "--pids-limit=-1",
            "--open-files-limit=3",
            "--log-max-size=1",
            "--log-max-files=1",
            "--default-memory=1m",
            "--default-cpus=0",
            "--default-cpus=NaN",
            "--default-cpus=inf",
        ] {
            assert!(parsed(&[bad]).is_err(), "{bad}");
        }
        assert_eq!(range("80"), Ok((80, 80)));
    }
}
