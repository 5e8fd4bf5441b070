//! `bay-delete` asks before containers go with a bay, if there is somebody to ask.
//!
//! Not here: the deletion (`noun`), and how is asked (`log`).

use std::io::{self, IsTerminal};

use clap::{Arg, ArgAction};
use reqwest::Method;

use super::args::Targets;
use super::client::Call;
use super::container::CONTAINER;
use super::error::CliError;
use super::log::confirm;
use super::noun::{ListArgs, Session, text_of};
use super::terminal::{counted, printable};
use crate::ids::Kind;

/// The option that does without the question.
pub const YES: &str = "yes";

/// That option.
pub fn yes() -> Arg {
    Arg::new(YES)
        .short('y')
        .long(YES)
        .action(ArgAction::SetTrue)
        .help("Do not ask before containers are deleted with the bay")
}

/// Asks whether the containers in these bays may go, if there are any. Scripts are never asked: no
/// client of 2015 was.
///
/// # Errors
/// When the user does not want it.
pub async fn confirmed(session: &Session, bays: &Targets) -> Result<(), CliError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Ok(());
    }
    let mut full = Vec::new();
    for bay in bays.idents() {
        // What is wrong with one that cannot be asked about is said when it is to be deleted.
        let call = Call::new(Method::GET, Kind::Bay).segment(bay);
        let Ok(found) = session.client.send(call).await else { continue };
        let uuid = text_of(&found.body, "uuid");
        let containers = CONTAINER.rows(session, &ListArgs::default(), Some(uuid)).await?;
        if !containers.is_empty() {
            let count = u64::try_from(containers.len()).unwrap_or(u64::MAX);
            full.push(format!("{} of bay {}", counted(count, "container"), printable(bay)));
        }
    }
    if full.is_empty() {
        return Ok(());
    }
    confirm(&format!("Delete {} too?", full.join(" and ")), "Nothing was deleted")
}
