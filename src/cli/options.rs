//! Options of every command, before or after its name.
//!
//! Not here: authentication (`login.rs`), the settings of `magnum serve` (`serve.rs`).

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use super::error::CliError;

/// Where a server listens by default.
const DEFAULT_URL: &str = "http://127.0.0.1:9511";

/// Commands with a `--timeout` of their own.
const HAVE_TIMEOUT: [&str; 5] =
    ["bay-create", "container-stop", "container-reboot", "stop", "restart"];

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Table,
    /// Like table, with more columns of a list, a timeline or a trace, every field of an event in
    /// its line, and every change in a difference
    Wide,
    /// JSON as the server sends it; followed events are one object per line
    Json,
    /// YAML
    Yaml,
}

/// The global options.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Options {
    /// URL of the server [env: MAGNUM_URL, or else BYPASS_URL] [default: http://127.0.0.1:9511]
    #[arg(long, global = true, value_name = "URL")]
    magnum_url: Option<String>,
    /// The same, as python-magnumclient calls it
    #[arg(long, global = true, value_name = "URL", hide = true)]
    bypass_url: Option<String>,
    /// Output format
    #[arg(short, long, global = true, value_enum, default_value_t)]
    #[arg(value_name = "table|wide|json|yaml", hide_possible_values = true)]
    pub output: Format,
    /// Reason for the change; recorded with its events
    #[arg(long, global = true, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not wait for the work; it continues on the server
    #[arg(long, global = true)]
    pub no_wait: bool,
    /// Wait at most so long; then exit with 124, while the work continues on the server. Also
    /// --timeout, where a command has no --timeout of its own
    #[arg(long, global = true, value_name = "SECONDS")]
    pub wait_timeout: Option<u64>,
    /// Make a change only once, however often it is repeated with the same key
    #[arg(long, global = true, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Print requests and responses to stderr
    #[arg(long, global = true)]
    pub debug: bool,
}

impl Options {
    /// The server's address without a trailing slash or version. Options take precedence over the
    /// environment, and our names over the old ones.
    ///
    /// # Errors
    /// When it is not an `http` or `https` URL.
    pub fn url(&self) -> Result<reqwest::Url, CliError> {
        let from = |name: &str| std::env::var(name).ok().filter(|url| !url.is_empty());
        let text = self
            .magnum_url
            .clone()
            .or_else(|| self.bypass_url.clone())
            .or_else(|| from("MAGNUM_URL"))
            .or_else(|| from("BYPASS_URL"))
            .unwrap_or_else(|| DEFAULT_URL.to_owned());
        parse_url(&text)
    }
}

/// An address in the forms that the old clients take: with or without `/v1`, with or without `/`.
fn parse_url(text: &str) -> Result<reqwest::Url, CliError> {
    let bare = text.trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").unwrap_or(bare).trim_end_matches('/');
    let refused = |why: &str| CliError::Failed(format!("{text} is not a valid server URL: {why}"));
    let url = reqwest::Url::parse(bare).map_err(|error| refused(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(refused("write it as http://HOST:PORT or https://HOST:PORT.")),
    }
}

/// The arguments with today's spelling of option names: those of 2014 had underscores
/// (`--image_id`). Values, and everything after `--`, `exec` or `run`, whose last arguments are a
/// command of the user's, are left alone. `--timeout` is short for `--wait-timeout`, except where a
/// command has a `--timeout` of its own.
pub fn hyphenated(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let (mut verbatim, mut is_named, mut has_timeout) = (false, false, false);
    let respell = |arg: OsString| {
        verbatim |= arg == "--" || (!is_named && (arg == "exec" || arg == "run"));
        is_named |= arg.to_str().is_some_and(is_of_2014);
        has_timeout |= HAVE_TIMEOUT.iter().any(|command| arg == *command);
        let Some(text) = arg.to_str().filter(|text| !verbatim && text.starts_with("--")) else {
            return arg;
        };
        let name = text.find('=').unwrap_or(text.len());
        let (name, value) = text.split_at(name);
        let name = if name == "--timeout" && !has_timeout { "--wait-timeout" } else { name };
        format!("{}{value}", name.replace('_', "-")).into()
    };
    args.map(respell).collect()
}

/// Whether an argument names a command whose options have another spelling.
fn is_of_2014(text: &str) -> bool {
    ["bay-", "baymodel-", "node-", "container-"].iter().any(|noun| text.starts_with(noun))
}

#[cfg(test)]
mod tests {
    use super::{hyphenated, parse_url};

    #[test]
    fn only_names_of_options_are_respelt() {
        let typed = ["a_b", "--image_id", "x_y", "--bay_id=a_b", "-o", "--", "--c_d"];
        let meant = ["a_b", "--image-id", "x_y", "--bay-id=a_b", "-o", "--", "--c_d"];
        assert_eq!(hyphenated(typed.iter().map(Into::into)), meant);
        let own = ["magnum", "--magnum_url", "u", "exec", "c", "x", "--a_b"];
        assert_eq!(hyphenated(own.iter().map(Into::into))[1..2], ["--magnum-url"]);
        assert_eq!(hyphenated(own.iter().map(Into::into))[2..], own[2..]);
        let waits = ["magnum", "--timeout=3", "container-stop", "c", "--timeout", "5"];
        let meant = ["magnum", "--wait-timeout=3", "container-stop", "c", "--timeout", "5"];
        assert_eq!(hyphenated(waits.iter().map(Into::into)), meant);
        let name = ["magnum", "container-create", "--name", "run", "--image_id", "i"];
        assert_eq!(hyphenated(name.iter().map(Into::into))[4], "--image-id");
    }

    #[test]
    fn addresses_are_taken_as_the_old_clients_take_them() {
        for text in ["http://h:9511", "http://h:9511/", "http://h:9511/v1", "http://h:9511/v1/"] {
            assert_eq!(parse_url(text).unwrap().as_str(), "http://h:9511/", "{text}");
        }
        let prefixed = parse_url("http://h/magnum-v1/").unwrap();
        assert_eq!(prefixed.as_str(), "http://h/magnum-v1");
        assert_eq!(parse_url("https://h/v1").unwrap().as_str(), "https://h/");
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in ["", "127.0.0.1:9511", "localhost:9511", "unix:///run/m.sock"] {
            assert!(parse_url(text).is_err(), "{text}");
        }
    }
}
