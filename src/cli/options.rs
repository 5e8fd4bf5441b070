//! Options that every command takes, before or after its name.
//!
//! Not here: who the user is (`login.rs`), what `magnum serve` can be told (`serve.rs`).

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use super::failure::CliError;

/// Where a server listens that was started without further words.
const DEFAULT_URL: &str = "http://127.0.0.1:9511";

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Table,
    /// The same with all there is to say of events in each line
    Wide,
    /// JSON as the server sends it; one object a line where events are followed
    Json,
    /// YAML
    Yaml,
}

/// The options that are used.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Options {
    /// Where the server is [env: MAGNUM_URL, or else BYPASS_URL] [default: http://127.0.0.1:9511]
    #[arg(long, global = true, value_name = "URL")]
    magnum_url: Option<String>,
    /// The same, as python-magnumclient calls it
    #[arg(long, global = true, value_name = "URL", hide = true)]
    bypass_url: Option<String>,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t)]
    #[arg(value_name = "table|wide|json|yaml", hide_possible_values = true)]
    pub output: Format,
    /// Why this is done; recorded with what happens
    #[arg(long, global = true, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not wait until the work is done; it goes on at the server
    #[arg(long, global = true)]
    pub no_wait: bool,
    /// Repeat a change with the same key and it is made once
    #[arg(long, global = true, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Show requests and answers on stderr
    #[arg(long, global = true)]
    pub debug: bool,
}

impl Options {
    /// The server's address without a trailing slash or version: what was typed before what the
    /// environment says, our own name for it before the old one.
    ///
    /// # Errors
    /// When it is no `http` address.
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
    let refused = |why: &str| CliError::Failed(format!("{text} is no address of a server: {why}"));
    let url = reqwest::Url::parse(bare).map_err(|error| refused(&error.to_string()))?;
    match url.scheme() {
        "http" if url.has_host() => Ok(url),
        "https" => Err(refused("this client speaks http only; end TLS in front of it.")),
        _ => Err(refused("write it as http://HOST:PORT.")),
    }
}

/// What was typed, with option names in the spelling of today: those of 2014 had underscores
/// (`--image_id`). Values, and all that follows `--`, stay.
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
    }

    #[test]
    fn what_is_no_http_address_is_refused_in_words() {
        for text in ["", "127.0.0.1:9511", "localhost:9511", "https://h", "unix:///run/m.sock"] {
            assert!(parse_url(text).is_err(), "{text}");
        }
    }
}
