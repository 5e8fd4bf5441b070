//! What is shown of a container's process: how it ended, how it is, and where it is reached.
//!
//! Not here: all else that is shown of a container (`container`).

use super::container::ContainerView;
use crate::events::container::{ContainerEvent, Drift, DriftedV1, PortMapping};
use crate::events::run::{Health, Run, RunEnd};

impl ContainerView {
    /// Its ports as asked for, with the host ports that the engine chose for its process.
    pub fn ports_now(&self) -> Vec<PortMapping> {
        let mut published = self.published.clone();
        // The engine publishes on all addresses by one port for IPv4 and one for IPv6, which may
        // have different numbers.
        let is_any = |ip: Option<&str>| matches!(ip, None | Some("0.0.0.0" | "::"));
        let resolve = |asked: &PortMapping| {
            let fits = |found: &PortMapping| {
                found.container_port == asked.container_port
                    && found.protocol == asked.protocol
                    && (asked.host_port.is_none() || found.host_port == asked.host_port)
                    && (found.host_ip == asked.host_ip
                        || (is_any(found.host_ip.as_deref()) && is_any(asked.host_ip.as_deref())))
            };
            let is_ipv6 = |found: &PortMapping| found.host_ip.as_deref() == Some("::");
            let rank = |found: &PortMapping| (found.host_ip != asked.host_ip, is_ipv6(found));
            let fitting = published.iter().enumerate().filter(|(_, found)| fits(found));
            let best = fitting.min_by_key(|(_, found)| rank(found)).map(|(index, _)| index);
            let found = best.map(|index| published.remove(index));
            let host_port = asked.host_port.or(found.and_then(|found| found.host_port));
            PortMapping { host_port, ..asked.clone() }
        };
        self.ports.iter().map(resolve).collect()
    }

    /// Takes in what an event says of its process. As `docker inspect` does, a start clears the
    /// exit code and keeps the time of the end before.
    pub(super) fn follow_run(&mut self, payload: &ContainerEvent) {
        use ContainerEvent as E;
        if let Some(end) = payload.run_end() {
            let RunEnd { exit_code, oom_killed, finished_at } = end;
            (self.exit_code, self.oom_killed) = (exit_code, oom_killed);
            self.finished_at = finished_at;
            self.leave();
        }
        match payload {
            E::Started(started) => self.begin(started.run.as_ref(), 0),
            E::Rebooted(rebooted) => self.begin(rebooted.run.as_ref(), 0),
            E::Recreated(recreated) => {
                self.image_digest = None;
                self.begin(recreated.run.as_ref(), 0);
            }
            E::Restarted(restarted) => {
                self.begin(restarted.run.as_ref(), self.restart_count.saturating_add(1));
            }
            E::NotStarted(_) => self.started_at = None,
            E::Drifted(DriftedV1 { drift: Drift::Started }) => self.begin(None, 0),
            E::RunChanged(changed) => self.take(&changed.run),
            E::HealthChanged(changed) => self.take_health(Some(&changed.health)),
            E::Drifted(DriftedV1 { drift: Drift::Removed | Drift::Replaced { .. } }) => {
                self.leave();
            }
            _ => {}
        }
    }

    /// A process starts, of which this much is known.
    fn begin(&mut self, run: Option<&Run>, restart_count: u32) {
        (self.exit_code, self.oom_killed, self.started_at) = (None, false, None);
        self.restart_count = restart_count;
        self.leave();
        if let Some(run) = run {
            self.take(run);
        }
    }

    fn take(&mut self, run: &Run) {
        let run = run.clone();
        self.started_at = run.started_at;
        self.restart_count = run.restart_count;
        self.address = run.address;
        self.published = run.ports;
        self.image_digest = run.image_digest.or(self.image_digest.take());
        self.take_health(run.health.as_ref());
    }

    fn take_health(&mut self, health: Option<&Health>) {
        self.health = health.map(|health| health.status);
        let output = health.map(|health| health.output.clone());
        self.health_output = output.filter(|output| !output.is_empty());
    }

    /// It has no process that could be reached.
    fn leave(&mut self) {
        self.take_health(None);
        (self.address, self.published) = (None, Vec::new());
    }
}
