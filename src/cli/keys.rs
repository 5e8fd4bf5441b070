//! `keys`: the key that seals values of environment variables, and erasing it.

use clap::{Args, Subcommand};
use reqwest::Method;

use super::client::Call;
use super::error::CliError;
use super::log::confirm;
use super::noun::{Session, taken_array};
use super::options::Format;
use super::table;
use super::terminal::counted;

/// Commands for keys.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Print the id of the project's key; the first secret or idempotency key creates it
    List,
    /// Erase a key: nothing that it sealed can be read again, not even from backups
    Erase(Erase),
}

/// Which key.
#[derive(Args)]
pub struct Erase {
    /// Id of the key, from keys list: 16 characters
    #[arg(value_name = "KEY")]
    key: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs a command.
pub async fn run(session: &Session, command: KeysCommand) -> Result<(), CliError> {
    match command {
        KeysCommand::List => {
            let mut body = session.client.send(Call::at(Method::GET, "keys")).await?.body;
            table::list(session.format, &["id"], &taken_array(&mut body, "keys"))
        }
        KeysCommand::Erase(Erase { key, yes }) => {
            if !yes {
                eprintln!(
                    "Values of environment variables that this key sealed can never be read again, \
                     not even from backups\nor exports. Containers that are still to be created \
                     with them will fail; existing ones are not affected."
                );
                confirm(&format!("Erase the key {key} permanently?"), "Nothing was erased")?;
            }
            let call = Call::at(Method::DELETE, "keys").segment(&key);
            let response = session.client.open(call).await?;
            let unkeyed = response.headers().get("x-magnum-unkeyed-digests");
            let unkeyed = unkeyed.and_then(|count| count.to_str().ok()?.parse().ok()).unwrap_or(0);
            if session.format == Format::Table {
                eprintln!("The key {key} was erased.");
            }
            if unkeyed > 0 {
                eprintln!(
                    "{} with an idempotency key, recorded by earlier versions, left a hash of the \
                     body that does not\ndepend on the key: guesses of the whole body can still be \
                     confirmed.",
                    counted(unkeyed, "request")
                );
            }
            Ok(())
        }
    }
}
