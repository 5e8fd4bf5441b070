//! The user's token: given, or obtained from Keystone with the options and environment variables
//! of the OpenStack clients.
//!
//! Without any of them no token is sent; a server without authentication needs none.

use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};
use reqwest::ClientBuilder;
use reqwest::header::HeaderValue;

use super::error::CliError;
use crate::credentials::{self, Credentials, Secret, TokenError};

/// Options that take a value, and their environment variables: `os-username`, `OS_USERNAME`. All
/// are accepted so that old scripts work; those not used below have no effect.
const VALUES: [&str; 20] = [
    "os-username",
    "os-password",
    "os-tenant-id",
    "os-tenant-name",
    "os-project-id",
    "os-project-name",
    "os-user-domain-id",
    "os-user-domain-name",
    "os-project-domain-id",
    "os-project-domain-name",
    "os-application-credential-id",
    "os-application-credential-secret",
    "os-auth-url",
    "os-auth-system",
    "os-token",
    "os-region-name",
    "os-cacert",
    "service-type",
    "endpoint-type",
    "magnum-api-version",
];

/// Options that take no value.
const FLAGS: [&str; 2] = ["os-cache", "insecure"];

/// What to set to authenticate.
pub const HOW: &str = "set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME, or OS_TOKEN, \
    or MAGNUM_TOKEN with a token from magnum token create";

/// The options of the OpenStack clients that were given.
#[derive(Default)]
pub struct Openstack(Vec<(&'static str, String)>);

impl Args for Openstack {
    fn augment_args(command: clap::Command) -> clap::Command {
        let option = |name: &'static str, action| {
            Arg::new(name).long(name).action(action).global(true).hide(true)
        };
        let values = VALUES.map(|name| option(name, ArgAction::Set));
        let flags = FLAGS.map(|name| option(name, ArgAction::SetTrue));
        command.args(values).args(flags)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Openstack {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let typed = |name| matches.get_one::<String>(name).map(|value| (name, value.clone()));
        Ok(Self(VALUES.into_iter().filter_map(typed).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Openstack {
    /// The value of an option, or else of its environment variable.
    fn value(&self, name: &str) -> Option<String> {
        let typed = self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let variable = || std::env::var(name.replace('-', "_").to_uppercase()).ok();
        typed.or_else(variable).filter(|value| !value.is_empty())
    }

    /// What a client of the server with this URL is made of. An encrypted one is verified with the
    /// authorities in the file that `--os-cacert` names, if it names one.
    ///
    /// # Errors
    /// When there are none in it.
    pub fn builder_for(&self, url: &str) -> Result<ClientBuilder, CliError> {
        let file = self.value("os-cacert").filter(|_| url.starts_with("https:"));
        let authorities = file.map(|file| {
            let wrong = |words| CliError::Failed(format!("--os-cacert {file}: {words}"));
            credentials::authorities(Path::new(&file)).map_err(wrong)
        });
        Ok(credentials::builder_for(url, authorities.transpose()?))
    }

    /// The credentials; `None` if they are incomplete.
    fn credentials(&self) -> Option<Credentials> {
        let value = |name| self.value(name);
        let domain = |name| self.value(name).unwrap_or_else(|| "Default".to_owned());
        if let Some(id) = value("os-application-credential-id") {
            let secret = Secret::new(value("os-application-credential-secret")?);
            return Some(Credentials::Application { id, secret });
        }
        Some(Credentials::Password {
            user: value("os-username")?,
            user_domain: domain("os-user-domain-name"),
            project: value("os-project-name").or_else(|| value("os-tenant-name"))?,
            project_domain: domain("os-project-domain-name"),
            password: Secret::new(value("os-password")?),
        })
    }

    /// The token to send, obtained from Keystone if none is given; `None` if nothing is set.
    ///
    /// # Errors
    /// When Keystone does not issue one.
    pub async fn token(&self) -> Result<Option<HeaderValue>, CliError> {
        let typed = self.0.iter().find(|(name, _)| *name == "os-token").map(|(_, it)| it.clone());
        // Our own name goes before the variables of the OpenStack clients.
        let own = || std::env::var("MAGNUM_TOKEN").ok();
        let own = typed.or_else(own).filter(|token| !token.is_empty());
        if let Some(token) = own.or_else(|| self.value("os-token")) {
            let mut token = HeaderValue::from_str(&token)
                .map_err(|_| CliError::Failed("the given token is not valid".to_owned()))?;
            token.set_sensitive(true);
            return Ok(Some(token));
        }
        let (Some(url), Some(credentials)) = (self.value("os-auth-url"), self.credentials()) else {
            return Ok(None);
        };
        let keystone = credentials::endpoint(&url).map_err(|why| {
            CliError::Failed(format!("OS_AUTH_URL {url} is not a valid Keystone URL: {why}"))
        })?;
        let http = credentials::client(self.builder_for(&keystone)?)
            .map_err(|error| CliError::Failed(credentials::cause(&error)))?;
        let token = credentials.token(&http, &keystone).await.map_err(|error| match error {
            TokenError::Refused(_) => CliError::Failed(format!(
                "{error}: check OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME and their domains"
            )),
            TokenError::Untrusted(..) => CliError::Failed(format!(
                "{error}: name its authority with --os-cacert or OS_CACERT"
            )),
            TokenError::Unavailable(..) => CliError::Unreachable(error.to_string()),
        })?;
        Ok(Some(token))
    }
}

impl std::fmt::Debug for Openstack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Openstack").finish_non_exhaustive()
    }
}
