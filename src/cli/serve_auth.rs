//! The options of `magnum serve` for authentication.
//!
//! Secrets come from the environment or a file: command lines are visible to every user of the
//! machine.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::error::CliError;
use crate::config::KeystoneConfig;
use crate::credentials::{Credentials, Secret, endpoint};

/// The environment variable with the secret.
pub const PASSWORD: &str = "MAGNUM_KEYSTONE_PASSWORD";

/// How requests are authenticated, and with which credentials of the service.
#[derive(Args)]
pub struct AuthArgs {
    /// Authentication: none (everyone may do everything) or keystone
    #[arg(long, value_enum, default_value_t = Auth::None)]
    #[arg(value_name = "none|keystone", hide_possible_values = true)]
    auth: Auth,
    /// URL of Keystone, with or without /v3
    #[arg(long, value_name = "URL", required_if_eq("auth", "keystone"))]
    keystone_url: Option<String>,
    /// The service's own user; its password comes from MAGNUM_KEYSTONE_PASSWORD or a file
    #[arg(long, value_name = "NAME", default_value = "magnum")]
    keystone_username: String,
    /// The project of the service's user
    #[arg(long, value_name = "NAME", default_value = "service")]
    keystone_project: String,
    /// The domain of the service's user
    #[arg(long, value_name = "NAME", default_value = "Default")]
    keystone_user_domain: String,
    /// The domain of the service's project
    #[arg(long, value_name = "NAME", default_value = "Default")]
    keystone_project_domain: String,
    /// Application credential to use instead of a user; its secret replaces the password
    #[arg(long, value_name = "ID")]
    keystone_application_credential: Option<String>,
    /// File that contains only the password or secret
    #[arg(long, value_name = "FILE")]
    keystone_password_file: Option<PathBuf>,
}

/// How requests are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Auth {
    /// Not at all
    None,
    /// By Keystone tokens
    Keystone,
}

impl AuthArgs {
    /// The settings; `None` without authentication. `password` is the value from the environment.
    ///
    /// # Errors
    /// When something is missing: what, and how to set it.
    pub fn config(self, password: Option<String>) -> Result<Option<KeystoneConfig>, CliError> {
        let url = match (self.auth, self.keystone_url) {
            (Auth::None, None) => return Ok(None),
            (Auth::None, Some(_)) => {
                return Err(CliError::Failed(
                    "--keystone-url has no effect without --auth keystone; add that as well."
                        .to_owned(),
                ));
            }
            (Auth::Keystone, url) => url.unwrap_or_default(),
        };
        let url = endpoint(&url).map_err(|why| {
            CliError::Failed(format!("--keystone-url {url} is not a valid Keystone URL: {why}"))
        })?;
        let secret = match (&self.keystone_password_file, password) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    let file = file.display();
                    CliError::Failed(format!("--keystone-password-file {file}: {error}"))
                })?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            (None, Some(password)) => password,
            (None, None) => String::new(),
        };
        if secret.is_empty() {
            return Err(CliError::Failed(format!(
                "--auth keystone needs the password of the service's own user: set {PASSWORD}, or \
                 name a file with --keystone-password-file."
            )));
        }
        let secret = Secret::new(secret);
        let credentials = match self.keystone_application_credential {
            Some(id) => Credentials::Application { id, secret },
            None => Credentials::Password {
                user: self.keystone_username,
                user_domain: self.keystone_user_domain,
                project: self.keystone_project,
                project_domain: self.keystone_project_domain,
                password: secret,
            },
        };
        Ok(Some(KeystoneConfig { url, credentials }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        auth: AuthArgs,
    }

    fn parsed(args: &[&str], password: Option<&str>) -> Result<Option<KeystoneConfig>, CliError> {
        let line = Line::try_parse_from([&["serve"], args].concat());
        let line = line.map_err(|error| CliError::Usage(error.to_string()))?;
        line.auth.config(password.map(str::to_owned))
    }

    const KEYSTONE: [&str; 4] = ["--auth", "keystone", "--keystone-url", "http://k:5000/v3"];

    #[test]
    fn nobody_is_asked_unless_told() {
        assert_eq!(parsed(&[], Some("p")).unwrap(), None);
    }

    #[test]
    fn what_is_missing_is_said() {
        let words = |args: &[&str], password| parsed(args, password).unwrap_err().message();
        assert!(words(&["--auth", "keystone"], Some("p")).contains("--keystone-url"));
        assert!(words(&KEYSTONE[2..], Some("p")).contains("--auth keystone"));
        assert!(words(&KEYSTONE, None).contains(PASSWORD));
        assert!(words(&KEYSTONE, Some("")).contains(PASSWORD));
        let file = [&KEYSTONE[..], &["--keystone-password-file", "/nowhere/p"]].concat();
        assert!(words(&file, Some("p")).contains("/nowhere/p"));
        let secure = ["--auth", "keystone", "--keystone-url", "https://k"];
        assert!(words(&secure, Some("p")).contains("TLS"));
    }

    #[test]
    fn a_file_goes_before_the_environment_and_ends_without_a_line_break() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "in file\n").unwrap();
        let path = file.path().to_str().unwrap();
        let args = [&KEYSTONE[..], &["--keystone-password-file", path]].concat();
        let secret = |text: &str| Secret::new(text.to_owned());
        let wanted = |password| Credentials::Password {
            user: "magnum".to_owned(),
            user_domain: "Default".to_owned(),
            project: "service".to_owned(),
            project_domain: "Default".to_owned(),
            password,
        };
        let credentials = |args: &[&str]| parsed(args, Some("p")).unwrap().unwrap().credentials;
        assert_eq!(credentials(&args), wanted(secret("in file")));
        assert_eq!(credentials(&KEYSTONE), wanted(secret("p")));
        let args = [&KEYSTONE[..], &["--keystone-application-credential", "i"]].concat();
        let application = Credentials::Application { id: "i".to_owned(), secret: secret("p") };
        assert_eq!(credentials(&args), application);
    }
}
