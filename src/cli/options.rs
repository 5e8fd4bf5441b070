//! Options of every command, before or after its name.
//!
//! Not here: authentication (`login.rs`), the settings of `magnum serve` (`serve.rs`).

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use super::error::CliError;

/// Where a server listens by default.
const DEFAULT_URL: &str = "http://127.0.0.1:9511";

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Table,
    /// Like table, with more columns of a list, every field of an event in its line, and every change
    /// in a difference
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
/// (`--image_id`). Values, and everything after `--`, are left alone.
pub fn hyphenated(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut verbatim = false;
    let respell = |arg: OsString| {
        verbatim |= arg == "--";
        let Some(text) = arg.to_str().filter(|text| !verbatim && text.starts_with("--")) else {
            return arg;
        };
        let name = text.find('=').unwrap_or(text.len());
        let (name, value) = text.split_at(name);
        format!("{}{value}", name.replace('_', "-")).into()
    };
    args.map(respell).collect()
}

#[cfg(test)]
mod tests {
    use super::{hyphenated, parse_url};

    #[test]
    fn only_names_of_options_are_respelt() {
        let typed = ["a_b", "--image_id", "x_y", "--bay_id=a_b", "-o", "--", "--c_d"];
        let meant = ["a_b", "--image-id", "x_y", "--bay-id=a_b", "-o", "--", "--c_d"];
        assert_eq!(hyphenated(typed.iter().map(Into::into)), meant);
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
