//! What an inspection says of a container's process: where it is reached, and how it is.
//!
//! Not here: whether there is one, and how it ended (`observe`).

use bollard::models::{
    ContainerState, Health as EngineHealth, HealthStatusEnum, NetworkSettings, PortMap,
};

use super::clock::time;
use crate::backends::labels;
use crate::events::container::PortMapping;
use crate::events::run::{Health, HealthStatus, Run};
use crate::ids::ObjectId;
use crate::text;

/// The process of a container in the network of a bay.
pub(super) fn run(
    state: &ContainerState,
    restart_count: u32,
    networks: Option<NetworkSettings>,
    bay_id: Option<ObjectId>,
    image: Option<&str>,
) -> Run {
    let networks = networks.unwrap_or_default();
    let network = bay_id.map(labels::network_name);
    let endpoint = networks.networks.zip(network).and_then(|(mut all, name)| all.remove(&name));
    let address = endpoint.and_then(|endpoint| endpoint.ip_address);
    Run {
        started_at: time(state.started_at.as_deref()),
        restart_count,
        address: address.filter(|address| !address.is_empty()).map(|it| text::words(&it)),
        ports: ports(networks.ports.unwrap_or_default()),
        image_digest: image.filter(|id| !id.is_empty()).map(text::words),
        health: state.health.as_ref().and_then(health),
    }
}

/// The ports that are published now, always in the same order.
fn ports(engine: PortMap) -> Vec<PortMapping> {
    let mut ports = Vec::new();
    for (key, bindings) in engine {
        let (port, protocol) = key.split_once('/').unwrap_or((&key, "tcp"));
        let Ok(container_port) = port.parse() else { continue };
        ports.extend(bindings.unwrap_or_default().into_iter().filter_map(|binding| {
            let host_port = Some(binding.host_port?.parse().ok()?);
            let host_ip = binding.host_ip.filter(|ip| !ip.is_empty()).map(|it| text::words(&it));
            Some(PortMapping {
                container_port,
                host_port,
                host_ip,
                protocol: text::words(protocol),
            })
        }));
    }
    ports.sort_unstable_by(|a, b| {
        let key = |port: &PortMapping| (port.container_port, port.host_port);
        (key(a), &a.protocol, &a.host_ip).cmp(&(key(b), &b.protocol, &b.host_ip))
    });
    ports
}

/// What the health check says; none if there is none. The output of a check is any program's.
fn health(engine: &EngineHealth) -> Option<Health> {
    let status = match engine.status? {
        HealthStatusEnum::STARTING => HealthStatus::Starting,
        HealthStatusEnum::HEALTHY => HealthStatus::Healthy,
        HealthStatusEnum::UNHEALTHY => HealthStatus::Unhealthy,
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => return None,
    };
    let last = engine.log.as_ref().and_then(|log| log.last()?.output.as_deref());
    Some(Health { status, output: text::words(last.unwrap_or_default()) })
}

#[cfg(test)]
mod tests {
    use bollard::models::{HealthcheckResult, PortBinding};

    use super::*;

    #[test]
    fn published_ports_are_those_with_a_host_port() {
        let binding = |ip: &str, port: &str| PortBinding {
            host_ip: Some(ip.to_owned()),
            host_port: Some(port.to_owned()),
        };
        let engine = PortMap::from([
            ("80/tcp".to_owned(), Some(vec![binding("::", "32769"), binding("0.0.0.0", "32769")])),
            ("53/udp".to_owned(), Some(vec![binding("127.0.0.1", "5353")])),
            ("443/tcp".to_owned(), None),
            ("x/tcp".to_owned(), Some(vec![binding("0.0.0.0", "1")])),
        ]);
        let told: Vec<_> = ports(engine)
            .into_iter()
            .map(|port| (port.container_port, port.protocol, port.host_ip, port.host_port))
            .collect();
        let port = |number, protocol: &str, ip: &str, host_port| {
            (number, protocol.to_owned(), Some(ip.to_owned()), Some(host_port))
        };
        assert_eq!(
            told,
            [
                port(53, "udp", "127.0.0.1", 5353),
                port(80, "tcp", "0.0.0.0", 32769),
                port(80, "tcp", "::", 32769),
            ]
        );
    }

    #[test]
    fn what_a_check_prints_is_short_and_plain() {
        let output = Some(format!("bad\u{1b}[2J\n{}", "x".repeat(5_000_000)));
        let log = Some(vec![HealthcheckResult { output, ..HealthcheckResult::default() }]);
        let status = Some(HealthStatusEnum::UNHEALTHY);
        let told = health(&EngineHealth { status, log, failing_streak: None }).unwrap();
        assert_eq!(told.status, HealthStatus::Unhealthy);
        assert!(told.output.starts_with("bad") && told.output.len() <= 1024);
        assert!(!told.output.chars().any(text::is_hidden), "{}", told.output);
        let none = EngineHealth { status: Some(HealthStatusEnum::NONE), ..EngineHealth::default() };
        assert_eq!(health(&none), None);
    }
}
