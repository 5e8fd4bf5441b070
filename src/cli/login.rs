//! Who the user is to the server: a token, or what Keystone gives one for, from the options and
//! environment variables of the OpenStack clients.
//!
//! Without any of them nothing is sent, and a server that asks nobody needs none.

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};
use reqwest::header::HeaderValue;

use super::failure::CliError;
use crate::credentials::{self, Credentials, Secret, TokenError};

/// Options that take a value, and their environment variables: `os-username`, `OS_USERNAME`. All
/// are accepted, so that old scripts run; what is not looked at below changes nothing.
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

/// Those that take none.
const FLAGS: [&str; 2] = ["os-cache", "insecure"];

/// What to set so that a server knows who asks.
pub const HOW: &str = "set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME, or OS_TOKEN";

/// What was typed of the options of the OpenStack clients.
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
    /// What was typed, else what the environment says.
    fn value(&self, name: &str) -> Option<String> {
        let typed = self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let variable = || std::env::var(name.replace('-', "_").to_uppercase()).ok();
        typed.or_else(variable).filter(|value| !value.is_empty())
    }

    /// What the user can prove; none where too little is set to prove anything.
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

    /// The token to send, from Keystone where none is given; none where nothing is set.
    ///
    /// # Errors
    /// When Keystone gives none.
    pub async fn token(&self) -> Result<Option<HeaderValue>, CliError> {
        if let Some(token) = self.value("os-token") {
            let mut token = HeaderValue::from_str(&token)
                .map_err(|_| CliError::Failed("OS_TOKEN is no token".to_owned()))?;
            token.set_sensitive(true);
            return Ok(Some(token));
        }
        let (Some(url), Some(credentials)) = (self.value("os-auth-url"), self.credentials()) else {
            return Ok(None);
        };
        let keystone = credentials::endpoint(&url).map_err(|why| {
            CliError::Failed(format!("OS_AUTH_URL {url} is no address of Keystone: {why}"))
        })?;
        let http = credentials::client().map_err(|error| CliError::Failed(error.to_string()))?;
        let token = credentials.token(&http, &keystone).await.map_err(|error| match error {
            TokenError::Refused(_) => CliError::Failed(format!(
                "{error}: look at OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME and their domains"
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
