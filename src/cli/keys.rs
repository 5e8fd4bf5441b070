//! `keys`: the key that the values of environment variables are sealed with, and erasing it.

use clap::{Args, Subcommand};
use reqwest::Method;

use super::client::Call;
use super::failure::CliError;
use super::log::confirm;
use super::noun::{Session, taken_array};
use super::options::Format;
use super::table;

/// Commands for keys.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Print the key of the project; there is one once a container has had an environment
    List,
    /// Erase a key: what was sealed with it can be read by nobody any more, in no backup either
    Erase(Erase),
}

/// Which key.
#[derive(Args)]
pub struct Erase {
    /// What keys list says: 16 characters
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
                    "Values of environment variables that were sealed with it can be read by \
                     nobody any more, in no backup\nand no export either. A container that is not \
                     made yet then fails; those that are there go on."
                );
                confirm(&format!("Erase the key {key} for good?"), "Nothing was erased")?;
            }
            session.client.send(Call::at(Method::DELETE, "keys").segment(&key)).await?;
            if session.format == Format::Table {
                eprintln!("The key {key} is erased.");
            }
            Ok(())
        }
    }
}
