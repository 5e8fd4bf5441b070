//! What bounds a container on its machine, whatever it asks for: processes, privileges, the size
//! of its output.
//!
//! Not here: how much of each (`allowed`), memory and CPUs, which the record names (`create`).

use std::collections::HashMap;
use std::sync::PoisonError;

use bollard::models::{HostConfig, HostConfigLogConfig, ResourcesUlimits, SystemInfo};

use super::super::BackendError;
use super::paths::note_data_root;
use super::{DockerBackend, observe};
use crate::allowed::Bounds;
use crate::clock;

/// Log drivers that write files on this machine, and take these options.
const WRITES_FILES: [&str; 2] = ["json-file", "local"];

/// No program in a container gets rights by being started, such as those of its file's owner.
const NO_NEW_PRIVILEGES: &str = "no-new-privileges=true";

/// The capability to write packets that pretend to be another's, in the network of a bay.
const FORGES_PACKETS: &str = "NET_RAW";

impl DockerBackend {
    /// What the engine says about itself.
    pub(super) async fn info(&self) -> Result<SystemInfo, BackendError> {
        let docker = self.connection.client()?;
        let asked = clock::now();
        let info = self.connection.quick(docker.info()).await?;
        if let Some(shown) = observe::time(info.system_time.as_deref()) {
            self.ends.clock.read(asked, shown, clock::now());
        }
        self.endpoints.note_version(info.server_version.as_deref().unwrap_or_default());
        note_data_root(info.docker_root_dir.as_deref().unwrap_or_default());
        let driver = info.logging_driver.clone().unwrap_or_default();
        // Another engine, with another driver, may answer after a restart.
        *self.log_driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver);
        Ok(info)
    }

    /// The log driver that containers get.
    pub(super) async fn log_driver(&self) -> Result<String, BackendError> {
        let known = self.log_driver.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(driver) => Ok(driver),
            None => Ok(self.info().await?.logging_driver.unwrap_or_default()),
        }
    }
}

/// Adds what bounds a container on an engine with this log driver.
pub(super) fn bounded(config: HostConfig, bounds: &Bounds, log_driver: String) -> HostConfig {
    let rotates = WRITES_FILES.contains(&log_driver.as_str());
    let options = HashMap::from([
        ("max-size".to_owned(), bounds.log_file_bytes.to_string()),
        ("max-file".to_owned(), bounds.log_files.to_string()),
    ]);
    let files = |most: i64| ResourcesUlimits {
        name: Some("nofile".to_owned()),
        soft: Some(most),
        hard: Some(most),
    };
    HostConfig {
        pids_limit: Some(i64::from(bounds.pids)),
        cap_drop: Some(vec![FORGES_PACKETS.to_owned()]),
        security_opt: Some(vec![NO_NEW_PRIVILEGES.to_owned()]),
        ulimits: bounds.open_files.map(|most| vec![files(i64::from(most))]),
        log_config: rotates
            .then_some(HostConfigLogConfig { typ: Some(log_driver), config: Some(options) }),
        ..config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allowed::Allowed;

    #[test]
    fn output_is_bounded_where_the_engine_writes_it_to_files() {
        let bounds = Bounds { open_files: Some(1024), ..Allowed::default().bounds };
        let config = |driver: &str| bounded(HostConfig::default(), &bounds, driver.to_owned());
        for driver in WRITES_FILES {
            let log = config(driver).log_config.unwrap();
            let option = |name: &str| log.config.as_ref().unwrap()[name].clone();
            assert_eq!(log.typ.as_deref(), Some(driver));
            assert_eq!((option("max-size"), option("max-file")), ("10485760".into(), "3".into()));
        }
        for driver in ["journald", "none", "syslog", ""] {
            assert_eq!(config(driver).log_config, None, "{driver}");
        }
        let config = config("none");
        assert_eq!(config.pids_limit, Some(4096));
        let files = config.ulimits.unwrap().remove(0);
        assert_eq!((files.soft, files.hard), (Some(1024), Some(1024)));
    }
}
