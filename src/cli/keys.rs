//! `keys`: the key that seals values of environment variables, and erasing it.

use clap::{Args, Subcommand};
use reqwest::{Method, Response};
use serde_json::json;

use super::acting::result_of;
use super::client::{Call, REQUEST_ID};
use super::error::CliError;
use super::log::confirm;
use super::noun::{Session, taken_array};
use super::options::Format;
use super::terminal::counted;
use super::{table, waiting};

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
            erase(session, &key).await
        }
    }
}

/// Erases a key and says what became of it, in the form of all commands that act (`acting`).
async fn erase(session: &Session, key: &str) -> Result<(), CliError> {
    let id = waiting::new_request_id();
    let call = Call::at(Method::DELETE, "keys").segment(key).header(REQUEST_ID, id.clone());
    let answered = session.client.open(call).await.map_err(|error| error.of_change(Some(&id)));
    let unkeyed = answered.as_ref().map(unkeyed_digests).unwrap_or_default();
    if session.format != Format::Table {
        let error = answered.as_ref().err();
        let document = json!({
            "kind": "key",
            "uuid": null,
            "name": key,
            "action": "erase",
            "result": error.map_or("done", result_of),
            "status": null,
            "error": error.map(CliError::message),
            "request_id": id,
            "unkeyed_digests": unkeyed,
        });
        table::show(session.format, &document)?;
    }
    answered?;
    if session.format == Format::Table {
        eprintln!("The key {key} was erased.");
    }
    if let Some(unkeyed @ 1..) = unkeyed {
        eprintln!(
            "{} with an idempotency key, recorded by earlier versions, left a hash of the body \
             that does not\ndepend on the key: guesses of the whole body can still be confirmed.",
            counted(unkeyed, "request")
        );
    }
    Ok(())
}

/// How many digests of requests do not depend on the key; `None` if the server does not know.
fn unkeyed_digests(response: &Response) -> Option<u64> {
    response.headers().get("x-magnum-unkeyed-digests")?.to_str().ok()?.parse().ok()
}
