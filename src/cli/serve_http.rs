//! The options of `magnum serve` for how the REST API is reached: TLS, its public address, proxies.
//!
//! Not here: where it listens (`serve`), who may use it (`serve_auth`).

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use reqwest::Url;

use crate::config::{HttpConfig, TlsConfig};

/// How the REST API is reached.
#[derive(Args)]
pub struct HttpArgs {
    /// Certificate for TLS with its chain, PEM; read again on SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// URL at which clients reach the service; links start with it [default: as requests name it]
    #[arg(long, value_name = "URL", value_parser = public_url)]
    public_url: Option<Url>,
    /// Proxy whose X-Forwarded-Proto, X-Forwarded-Host and Forwarded headers are believed;
    /// repeatable
    #[arg(long, value_name = "ADDRESS|CIDR", value_parser = network)]
    trusted_proxy: Vec<IpNet>,
}

impl HttpArgs {
    /// The settings with these.
    pub fn config(self, rest: HttpConfig) -> HttpConfig {
        let tls = self.tls_cert.zip(self.tls_key);
        HttpConfig {
            tls: tls.map(|(certificate, key)| TlsConfig { certificate, key }),
            public_url: self.public_url,
            trusted_proxies: self.trusted_proxy,
            ..rest
        }
    }
}

/// A URL that links can start with.
fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if matches!(url.scheme(), "http" | "https") && is_plain {
        return Ok(url);
    }
    Err("write it as https://HOST, with a port and a path if there are any".to_owned())
}

/// A network; an address is one of its own.
fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    let network = address.or_else(|_| text.parse::<IpNet>().map(|network| network.trunc()));
    network.map_err(|_| "write an address (192.0.2.7) or a network (192.0.2.0/24)".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Config;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        http: HttpArgs,
    }

    fn parsed(args: &[&str]) -> Option<HttpConfig> {
        let line = Line::try_parse_from([&["serve"], args].concat()).ok()?;
        Some(line.http.config(Config::default().http))
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let both = parsed(&["--tls-cert", "c", "--tls-key", "k"]).unwrap();
        let wanted = TlsConfig { certificate: "c".into(), key: "k".into() };
        assert_eq!(both.tls, Some(wanted));
        assert!(parsed(&["--tls-cert", "c"]).is_none());
        assert!(parsed(&["--tls-key", "k"]).is_none());
    }

    #[test]
    fn a_public_url_is_the_start_of_one() {
        for good in ["https://m.example", "http://[::1]:8080/", "https://m.example/container"] {
            assert!(parsed(&["--public-url", good]).is_some(), "{good}");
        }
        for bad in
            ["m.example", "ftp://m", "https://u:p@m", "https://u@m", "http://m/?a", "http://m/#a"]
        {
            assert!(parsed(&["--public-url", bad]).is_none(), "{bad}");
        }
    }

    #[test]
    fn proxies_are_addresses_or_networks() {
        let flag = "--trusted-proxy";
        let args =
            [flag, "192.0.2.7", flag, "198.51.100.9/24", flag, "::1", flag, "::ffff:10.0.0.1"];
        let proxies = parsed(&args).unwrap().trusted_proxies;
        let texts: Vec<_> = proxies.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.0.2.7/32", "198.51.100.0/24", "::1/128", "10.0.0.1/32"]);
        for bad in ["", "proxy.example", "192.0.2.0/33", "192.0.2.7:80"] {
            assert!(parsed(&[flag, bad]).is_none(), "{bad}");
        }
    }
}
