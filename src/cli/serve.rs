//! `magnum serve`: the settings of the service, read once.
//!
//! Not here: how the service is assembled (`app`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustix::process::{Resource, getrlimit};

use super::args::bytes;
use super::error::CliError;
use super::serve_auth::{AuthArgs, Authentication, PASSWORD};
use super::serve_containers::ContainerArgs;
use super::serve_http::HttpArgs;
use super::serve_log::LogArgs;
use crate::config::{
    AuditConfig, AuthConfig, BackendConfig, Config, Engine, HttpConfig, KeystoneConfig, LogConfig,
};
use crate::credentials;
use crate::text;

/// Longest `--request-wait`: how long proxies usually keep a silent connection open.
pub const MAX_REQUEST_WAIT_S: u64 = 300;

/// Longest `--log-check`: enough for all of a log that can still be handled, some 10 TB.
const MAX_LOG_CHECK_MS: u64 = 24 * 3600 * 1000;

/// Least address space: what the stacks of a busy server's threads reserve, 512 of 2 MiB. Reserved
/// is not used: the service has a fraction of it in memory.
const MIN_ADDRESS_SPACE_BYTES: u64 = 1 << 30;

/// The settings of the service.
#[derive(Args)]
pub struct ServeArgs {
    /// Data directory: everything that must survive
    #[arg(long, env = "MAGNUM_DATA", value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Directory of `magnum backup`, for the age of the last backup in /metrics
    #[arg(long, value_name = "DIR")]
    backup_dir: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9511")]
    listen: SocketAddr,
    /// Engine that runs the containers
    #[arg(long, value_enum, default_value_t = BackendName::Docker)]
    #[arg(value_name = "docker|fake", hide_possible_values = true)]
    backend: BackendName,
    /// Socket of the Docker engine [env: DOCKER_HOST=unix://PATH] [default: /var/run/docker.sock]
    #[arg(long, value_name = "PATH")]
    docker_socket: Option<PathBuf>,
    /// Name of this machine's node [default: the host name]
    #[arg(long, value_name = "NAME", value_parser = host)]
    host: Option<String>,
    #[command(flatten)]
    auth: AuthArgs,
    /// Accept connections from other machines without authentication
    #[arg(long)]
    allow_remote_without_authentication: bool,
    #[command(flatten)]
    http: HttpArgs,
    /// How long a request waits for its work before it is answered with 202
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=MAX_REQUEST_WAIT_S))]
    request_wait: u64,
    #[command(flatten)]
    log: LogArgs,
    /// Size of the segment files of the event log
    #[arg(long, value_name = "BYTES", default_value = "64m", value_parser = bytes)]
    segment_size: u64,
    /// How long a start may take to check earlier events for damage; the rest is checked while the
    /// server runs
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 250)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=MAX_LOG_CHECK_MS))]
    log_check: u64,
    /// What to audit besides changes: refusals (refused commands), executes (output of executed
    /// commands), logs (container logs), or none
    #[arg(long, value_name = "WHAT,..", default_value = "refusals,executes", value_parser = audit)]
    audit: AuditConfig,
    /// Refuse changes below this much free disk space, so that accepted work can finish
    #[arg(long, value_name = "BYTES", default_value = "64m", value_parser = bytes)]
    reserve: u64,
    /// Whether names are unique: of bays and baymodels in a project, of containers in a bay
    #[arg(long, value_enum, default_value_t = Switch::On)]
    #[arg(value_name = "on|off", hide_possible_values = true)]
    unique_names: Switch,
    #[command(flatten)]
    containers: ContainerArgs,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// As it should be
    On,
    /// As it was in 2014
    Off,
}

/// The engine that runs the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BackendName {
    /// The Docker engine of this machine
    Docker,
    /// A model in memory; runs nothing
    Fake,
}

/// Runs the service until it is told to stop.
pub fn run(args: ServeArgs) -> Result<(), CliError> {
    require_address_space(getrlimit(Resource::As).current)?;
    args.log.start()?;
    let said = |name| std::env::var(name).ok();
    let config = config(args, said("DOCKER_HOST"), said(PASSWORD))?;
    let HttpConfig { listen, auth, tls, .. } = &config.http;
    if !listen.ip().is_loopback() && *auth != AuthConfig::None && tls.is_none() {
        tracing::warn!(%listen, "tokens arrive in the clear: use --tls-cert and --tls-key, or end \
            TLS in front of the server");
    }
    if let AuthConfig::Keystone(KeystoneConfig { url, .. }) = auth
        && credentials::is_exposed(url)
    {
        tracing::warn!(
            url,
            "tokens and the service's password travel to Keystone in the clear: \
            use an https URL in --keystone-url"
        );
    }
    crate::app::serve(config).map_err(|error| CliError::Failed(error.to_string()))
}

/// Refuses to start with so little address space that threads cannot be made: the libraries that
/// make them then end the process without a word.
fn require_address_space(limit: Option<u64>) -> Result<(), CliError> {
    match limit {
        Some(limit) if limit < MIN_ADDRESS_SPACE_BYTES => Err(CliError::Failed(format!(
            "the address space of this process is limited to {limit} bytes; at least \
             {MIN_ADDRESS_SPACE_BYTES} are needed. Remove the limit (ulimit -v, LimitAS= of \
             systemd); to limit memory, use MemoryMax= of systemd."
        ))),
        _ => Ok(()),
    }
}

/// The settings from the arguments and the environment.
fn config(
    args: ServeArgs,
    docker_host: Option<String>,
    password: Option<String>,
) -> Result<Config, CliError> {
    let Authentication { auth, admin_project, policy } = args.auth.config(password)?;
    let is_told = auth != AuthConfig::None || args.allow_remote_without_authentication;
    if !args.listen.ip().is_loopback() && !is_told {
        return Err(CliError::Failed(format!(
            "{} is reachable from other machines, and requests are not authenticated: anyone who \
             can connect is root on this machine. Listen on 127.0.0.1, use --auth tokens or \
             --auth keystone, or accept the risk with --allow-remote-without-authentication.",
            args.listen
        )));
    }
    let allowed = args.containers.allowed(auth != AuthConfig::None);
    let defaults = Config::default();
    let engine = match args.backend {
        BackendName::Fake => Engine::Fake,
        BackendName::Docker => match args.docker_socket.map_or_else(|| from(docker_host), Ok)? {
            socket if socket.as_os_str().is_empty() => defaults.backend.engine,
            socket => Engine::Docker { socket },
        },
    };
    Ok(Config {
        data_dir: args.data,
        log: LogConfig {
            segment_bytes: args.segment_size,
            reserve_bytes: args.reserve,
            unique_names: args.unique_names == Switch::On,
            check: Duration::from_millis(args.log_check),
        },
        backup_dir: args.backup_dir,
        http: args.http.config(HttpConfig {
            listen: args.listen,
            allow_remote_without_authentication: args.allow_remote_without_authentication,
            auth,
            admin_project,
            policy,
            request_wait: Duration::from_secs(args.request_wait),
            access_log: args.log.access_log,
            audit: args.audit,
            allowed: allowed.clone(),
            ..defaults.http
        }),
        backend: BackendConfig {
            engine,
            host: args.host.unwrap_or(defaults.backend.host),
            allowed,
            ..defaults.backend
        },
    })
}

/// The name of a node: what is recorded of it and shown is what was given.
fn host(name: &str) -> Result<String, String> {
    if name.is_empty() || text::words(name) != name {
        return Err("must be a short name without control or invisible characters".to_owned());
    }
    Ok(name.to_owned())
}

/// The socket in `DOCKER_HOST`; empty if it is not set.
fn from(docker_host: Option<String>) -> Result<PathBuf, CliError> {
    let Some(text) = docker_host.filter(|text| !text.is_empty()) else {
        return Ok(PathBuf::new());
    };
    text.strip_prefix("unix://").map(PathBuf::from).ok_or_else(|| {
        CliError::Failed(format!(
            "DOCKER_HOST is {text}, but only unix:// sockets are supported. Unset it, or name the \
             socket with --docker-socket."
        ))
    })
}

/// What is audited: some of `refusals,executes,logs`, or `none`.
fn audit(text: &str) -> Result<AuditConfig, String> {
    let mut config = AuditConfig { refusals: false, executes: false, logs: false };
    for word in text.split(',').map(str::trim).filter(|_| text != "none") {
        match word {
            "refusals" => config.refusals = true,
            "executes" => config.executes = true,
            "logs" => config.logs = true,
            _ => return Err(format!("{word:?} is not one of refusals, executes, logs, none")),
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn parsed(args: &[&str], docker_host: Option<&str>) -> Result<Config, CliError> {
        let line = Line::try_parse_from([&["serve"], args].concat()).unwrap();
        config(line.serve, docker_host.map(str::to_owned), Some("p".to_owned()))
    }

    #[test]
    fn what_is_audited_is_a_list() {
        let all = AuditConfig { refusals: true, executes: true, logs: true };
        assert_eq!(audit("logs, refusals,executes"), Ok(all));
        let none = AuditConfig { refusals: false, executes: false, logs: false };
        assert_eq!(audit("none"), Ok(none));
        for bad in ["", "reads", "none,logs", "logs,"] {
            assert!(audit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_arguments_mean_the_defaults() {
        let (given, default) = (parsed(&[], None).unwrap(), Config::default());
        assert_eq!(format!("{given:?}"), format!("{default:?}"));
    }

    #[test]
    fn other_machines_are_let_in_only_if_explicitly_allowed() {
        assert!(parsed(&["--listen", "[::1]:0"], None).is_ok());
        let refused = parsed(&["--listen", "0.0.0.0:9511"], None).unwrap_err();
        assert!(refused.message().contains("--allow-remote-without-authentication"));
        let keystone = ["--auth", "keystone", "--keystone-url", "http://k"];
        assert!(parsed(&[&["--listen", "0.0.0.0:9511"], &keystone[..]].concat(), None).is_ok());
        assert!(parsed(&["--listen", "0.0.0.0:9511", "--auth", "tokens"], None).is_ok());
        let flag = "--allow-remote-without-authentication";
        assert!(parsed(&["--listen", "0.0.0.0:9511", flag], None).is_ok());
    }

    #[test]
    fn the_docker_socket_is_the_flag_or_docker_host() {
        let engine = |args: &[&str], host| parsed(args, host).map(|config| config.backend.engine);
        let docker = |path: &str| Engine::Docker { socket: path.into() };
        assert_eq!(engine(&[], Some("unix:///a")).unwrap(), docker("/a"));
        let flag = ["--docker-socket", "/b"];
        assert_eq!(engine(&flag, Some("tcp://h:1")).unwrap(), docker("/b"));
        assert_eq!(engine(&["--backend", "fake"], Some("tcp://h:1")).unwrap(), Engine::Fake);
        assert!(engine(&[], Some("tcp://h:1")).unwrap_err().message().contains("DOCKER_HOST"));
    }
}
