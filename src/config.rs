//! The settings, read once at the start; one struct for each section.
//!
//! Not here: flags and environment variables (`cli/serve.rs` fills these).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Url;

use crate::allowed::{Allowed, OwnPort};
use crate::credentials::Credentials;
use crate::text;

/// Everything that `magnum serve` can be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder that holds everything that must survive.
    pub data_dir: PathBuf,
    /// Where backups are made, if that is known.
    pub backup_dir: Option<PathBuf>,
    /// The log's settings.
    pub log: LogConfig,
    /// The REST API's settings.
    pub http: HttpConfig,
    /// The backend's settings.
    pub backend: BackendConfig,
}

impl Config {
    /// The port that is to be listened on as one value wherever containers are kept from it. If it
    /// is 0, say which one it became before anything is served.
    pub fn share_own_port(&mut self) -> OwnPort {
        let own = OwnPort::new(self.http.listen.port());
        self.http.allowed.ports.own = own.clone();
        self.backend.allowed.ports.own = own.clone();
        own
    }
}

/// Settings of the log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Size of a segment file in bytes, allocated at once.
    pub segment_bytes: u64,
    /// Free space below which requests to change something are refused (507), so that what was
    /// accepted can still be finished and recorded.
    pub reserve_bytes: u64,
    /// Whether no two objects may have one name (rule L9), which the 2014 API allowed.
    pub unique_names: bool,
    /// How long a start may look for damage in what it needs not read; the rest is looked at while
    /// the service runs.
    pub check: Duration,
}

/// Where everything is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// The folder that holds everything that must survive.
    pub data_dir: PathBuf,
    /// Where backups are made, if that is known.
    pub backup_dir: Option<PathBuf>,
}

/// Settings of the REST API.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Whether it may listen beyond loopback though it asks nobody who they are (rule T2).
    pub allow_remote_without_authentication: bool,
    /// The address that links start with, where it is not the one that the client used.
    pub public_url: Option<Url>,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The certificate; plain HTTP without.
    pub tls: Option<TlsConfig>,
    /// How callers are asked who they are.
    pub auth: AuthConfig,
    /// Whose admins are the operators.
    pub admin_project: AdminProject,
    /// Rows of the table of rights in place of the defaults: `container:logs=member,admin`.
    pub policy: Vec<String>,
    /// How long a request waits for the outcome of the work it asked for.
    pub request_wait: Duration,
    /// Time between two heartbeats of an event stream.
    pub heartbeat: Duration,
    /// Whether each request is logged.
    pub access_log: bool,
    /// What is recorded besides changes.
    pub audit: AuditConfig,
    /// What containers may use of the host: other requests are refused.
    pub allowed: Allowed,
}

/// Where the service's certificate is; PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate, and those between it and an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Who knows whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthConfig {
    /// Nobody: everyone may do everything.
    None,
    /// The service itself: the list of tokens in its data directory.
    Tokens,
    /// Keystone.
    Keystone(KeystoneConfig),
}

/// Where Keystone is, and who the service is to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeystoneConfig {
    /// Its address, without a version: `http://127.0.0.1:5000`.
    pub url: String,
    /// PEM file with the authorities that verify it, in place of the system's.
    pub cacert: Option<PathBuf>,
    /// The service's own.
    pub credentials: Credentials,
}

/// The project whose admins look after the installation. The name alone is not enough: in
/// Keystone it is unique in its domain only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminProject {
    /// Its name or id.
    pub project: String,
    /// The name or id of its domain.
    pub domain: String,
}

/// What a project's audit stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Commands that an object refused.
    pub refusals: bool,
    /// Reads of the output of executed commands.
    pub executes: bool,
    /// Reads of containers' logs.
    pub logs: bool,
}

/// Settings of the backend.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// Which one.
    pub engine: Engine,
    /// The name of this machine's node.
    pub host: String,
    /// Pieces of work at once on this node.
    pub concurrency: usize,
    /// What containers may use of this machine.
    pub allowed: Allowed,
}

/// Which engine the backend drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A Docker engine; the socket where it listens.
    Docker {
        /// `/var/run/docker.sock`.
        socket: PathBuf,
    },
    /// A model in memory, for trying things out: nothing really runs.
    Fake,
}

/// The defaults: loopback, the local Docker engine, data in `./data`.
impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            log: LogConfig {
                segment_bytes: 64 << 20,
                reserve_bytes: 64 << 20,
                unique_names: true,
                // Half a million events, which is more than most logs have, and a start that takes
                // so much longer is still over within a second.
                check: Duration::from_millis(250),
            },
            backup_dir: None,
            http: HttpConfig {
                listen: SocketAddr::from(([127, 0, 0, 1], 9511)),
                allow_remote_without_authentication: false,
                public_url: None,
                trusted_proxies: Vec::new(),
                tls: None,
                auth: AuthConfig::None,
                admin_project: AdminProject {
                    project: "admin".to_owned(),
                    domain: "Default".to_owned(),
                },
                policy: Vec::new(),
                request_wait: Duration::from_secs(30),
                heartbeat: Duration::from_secs(15),
                access_log: false,
                audit: AuditConfig { refusals: true, executes: true, logs: false },
                allowed: Allowed::default(),
            },
            backend: BackendConfig {
                engine: Engine::Docker { socket: PathBuf::from("/var/run/docker.sock") },
                host: text::words(&rustix::system::uname().nodename().to_string_lossy()),
                concurrency: 8,
                allowed: Allowed::default(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_kept_from_the_port_that_any_free_one_became() {
        let mut config = Config::default();
        let refused = |config: &Config, port| {
            let all = [&config.http.allowed.ports, &config.backend.clone().allowed.ports];
            all.map(|ports| ports.check(None, Some(port)).is_err())
        };
        config.share_own_port();
        assert_eq!(refused(&config, 9511), [true; 2]);
        config.http.listen.set_port(0);
        let (own, taken) = (config.share_own_port(), config.clone());
        assert_eq!(refused(&taken, 9511), [false; 2]);
        own.set(40_000);
        assert_eq!(refused(&taken, 40_000), [true; 2]);
        assert_eq!(refused(&taken, 9511), [false; 2]);
    }
}
