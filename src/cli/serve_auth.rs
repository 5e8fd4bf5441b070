//! The options of `magnum serve` for authentication.
//!
//! Secrets come from the environment or a file: command lines are visible to every user of the
//! machine.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::error::CliError;
use crate::config::{AdminProject, AuthConfig, KeystoneConfig};
use crate::credentials::{Credentials, Secret, endpoint};

/// The environment variable with the secret.
pub const PASSWORD: &str = "MAGNUM_KEYSTONE_PASSWORD";

/// How requests are authenticated, and with which credentials of the service.
#[derive(Args)]
pub struct AuthArgs {
    /// Authentication: none (everyone may do everything), tokens (see magnum token) or keystone
    #[arg(long, value_enum, default_value_t = Auth::None)]
    #[arg(value_name = "none|tokens|keystone", hide_possible_values = true)]
    auth: Auth,
    /// URL of Keystone, with or without /v3
    #[arg(long, value_name = "URL", required_if_eq("auth", "keystone"))]
    keystone_url: Option<String>,
    /// Authorities (PEM) that verify an https URL of Keystone; read again on SIGHUP [default: the
    /// system's]
    #[arg(long, value_name = "FILE")]
    keystone_cacert: Option<PathBuf>,
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
    /// Project whose admins are the operators, who see nodes and verify the whole log
    #[arg(long, value_name = "NAME_OR_ID", default_value = "admin")]
    admin_project: String,
    /// Domain of that project, in which its name is unique
    #[arg(long, value_name = "NAME_OR_ID", default_value = "Default")]
    admin_project_domain: String,
    /// Roles that an action takes, such as container:logs=member,admin (repeatable)
    #[arg(long, value_name = "ACTION=ROLE,..")]
    policy: Vec<String>,
}

/// Who is asked who callers are, and what they may do.
#[derive(Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Who is asked.
    pub auth: AuthConfig,
    /// Whose admins are the operators.
    pub admin_project: AdminProject,
    /// Rows of the table of rights in place of the defaults.
    pub policy: Vec<String>,
}

/// How requests are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Auth {
    /// Not at all
    None,
    /// By tokens of the service's own
    Tokens,
    /// By Keystone tokens
    Keystone,
}

impl AuthArgs {
    /// The settings. `password` is the value from the environment.
    ///
    /// # Errors
    /// When something is missing: what, and how to set it.
    pub fn config(self, password: Option<String>) -> Result<Authentication, CliError> {
        if self.auth == Auth::None && !self.policy.is_empty() {
            return Err(CliError::Failed(
                "--policy has no effect without authentication, where everyone may do everything."
                    .to_owned(),
            ));
        }
        if self.auth != Auth::Keystone && self.keystone_url.is_some() {
            return Err(CliError::Failed(
                "--keystone-url has no effect without --auth keystone; add that as well."
                    .to_owned(),
            ));
        }
        if self.auth != Auth::Keystone && self.keystone_cacert.is_some() {
            return Err(CliError::Failed(
                "--keystone-cacert has no effect without --auth keystone; add that as well."
                    .to_owned(),
            ));
        }
        let admin_project = AdminProject {
            project: self.admin_project.clone(),
            domain: self.admin_project_domain.clone(),
        };
        let policy = self.policy.clone();
        let auth = match self.auth {
            Auth::None => AuthConfig::None,
            Auth::Tokens => AuthConfig::Tokens,
            Auth::Keystone => AuthConfig::Keystone(self.keystone(password)?),
        };
        Ok(Authentication { auth, admin_project, policy })
    }

    fn keystone(self, password: Option<String>) -> Result<KeystoneConfig, CliError> {
        let url = self.keystone_url.unwrap_or_default();
        let url = endpoint(&url).map_err(|why| {
            CliError::Failed(format!("--keystone-url {url} is not a valid Keystone URL: {why}"))
        })?;
        if self.keystone_cacert.is_some() && !url.starts_with("https:") {
            return Err(CliError::Failed(format!(
                "--keystone-cacert has no effect on --keystone-url {url}, which is not encrypted; \
                 write it as https://HOST."
            )));
        }
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
        Ok(KeystoneConfig { url, cacert: self.keystone_cacert, credentials })
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

    fn parsed(args: &[&str], password: Option<&str>) -> Result<Authentication, CliError> {
        let line = Line::try_parse_from([&["serve"], args].concat());
        let line = line.map_err(|error| CliError::Usage(error.to_string()))?;
        line.auth.config(password.map(str::to_owned))
    }

    const KEYSTONE: [&str; 4] = ["--auth", "keystone", "--keystone-url", "http://k:5000/v3"];

    #[test]
    fn nobody_is_asked_unless_told() {
        assert_eq!(parsed(&[], Some("p")).unwrap().auth, AuthConfig::None);
        assert_eq!(parsed(&["--auth", "tokens"], None).unwrap().auth, AuthConfig::Tokens);
    }

    #[test]
    fn rights_need_somebody_who_is_asked_who_they_are() {
        let row = ["--policy", "container:logs=member"];
        assert!(parsed(&row, None).unwrap_err().message().contains("without authentication"));
        let given = parsed(&[&KEYSTONE[..], &row, &row].concat(), Some("p")).unwrap();
        assert_eq!(given.policy, ["container:logs=member"; 2]);
        assert_eq!(
            (&*given.admin_project.project, &*given.admin_project.domain),
            ("admin", "Default")
        );
        let other = [&KEYSTONE[..], &["--admin-project", "ops", "--admin-project-domain", "d"]];
        let given = parsed(&other.concat(), Some("p")).unwrap();
        assert_eq!((&*given.admin_project.project, &*given.admin_project.domain), ("ops", "d"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let words = |args: &[&str], password| parsed(args, password).unwrap_err().message();
        assert!(words(&["--auth", "keystone"], Some("p")).contains("--keystone-url"));
        assert!(words(&KEYSTONE[2..], Some("p")).contains("--auth keystone"));
        let tokens = [&["--auth", "tokens"], &KEYSTONE[2..]].concat();
        assert!(words(&tokens, None).contains("--auth keystone"));
        assert!(words(&KEYSTONE, None).contains(PASSWORD));
        assert!(words(&KEYSTONE, Some("")).contains(PASSWORD));
        let file = [&KEYSTONE[..], &["--keystone-password-file", "/nowhere/p"]].concat();
        assert!(words(&file, Some("p")).contains("/nowhere/p"));
        let cacert = ["--keystone-cacert", "f"];
        assert!(words(&[&KEYSTONE[..], &cacert].concat(), Some("p")).contains("https://"));
        assert!(words(&cacert, None).contains("--auth keystone"));
        let secure = ["--auth", "keystone", "--keystone-url", "https://k"];
        assert!(parsed(&[&secure[..], &cacert].concat(), Some("p")).is_ok());
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
        let credentials = |args: &[&str]| match parsed(args, Some("p")).unwrap().auth {
            AuthConfig::Keystone(config) => config.credentials,
            other => panic!("{other:?}"),
        };
        assert_eq!(credentials(&args), wanted(secret("in file")));
        assert_eq!(credentials(&KEYSTONE), wanted(secret("p")));
        let args = [&KEYSTONE[..], &["--keystone-application-credential", "i"]].concat();
        let application = Credentials::Application { id: "i".to_owned(), secret: secret("p") };
        assert_eq!(credentials(&args), application);
    }
}
