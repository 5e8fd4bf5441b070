//! `token`: the service's own tokens, for `magnum serve --auth tokens`.
//!
//! These commands work on the list in the data directory, also beside a running server: whoever may
//! write there may do everything anyway, and the first token needs no other one. The server records
//! what they change. Not here: the list (`http/edge/token_file`).

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::error::CliError;
use super::log::{Data, time};
use super::options::Format;
use super::table;
use crate::app::{IssuedToken, NewToken, TokenFile, TokenFileError};
use crate::clock;
use crate::ids::Timestamp;

/// Columns of the list.
const COLUMNS: [&str; 7] =
    ["id", "project", "user", "role", "created_at", "expires_at", "last_used_at"];

/// Commands for tokens.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Issue a token and print it, once; the list has only its hash
    Create(Create),
    /// List the tokens that are valid, with their last use to the minute
    List(Data),
    /// Revoke a token; a running server refuses it within a second
    Revoke(Revoke),
}

/// What to issue.
#[derive(Args)]
pub struct Create {
    #[command(flatten)]
    data: Data,
    /// Project that the token is for; objects of other projects are out of its reach
    #[arg(long, value_name = "NAME")]
    project: String,
    /// User that events name
    #[arg(long, value_name = "NAME")]
    user: String,
    /// Role of the user in the project
    #[arg(long, value_name = "reader|member|admin", hide_possible_values = true)]
    #[arg(value_parser = PossibleValuesParser::new(["reader", "member", "admin"]))]
    role: String,
    /// When it expires: an age such as 12h or 90d, or a time such as 2027-01-01T00:00:00Z
    /// [default: never]
    #[arg(long, value_name = "DURATION|TIME", value_parser = end)]
    expires: Option<Timestamp>,
}

/// Which token.
#[derive(Args)]
pub struct Revoke {
    #[command(flatten)]
    data: Data,
    /// Id of the token, from token list: 16 characters
    #[arg(value_name = "ID")]
    id: String,
}

impl From<TokenFileError> for CliError {
    fn from(error: TokenFileError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs a command.
pub fn run(format: Format, command: TokenCommand) -> Result<(), CliError> {
    match command {
        TokenCommand::Create(args) => create(format, args),
        TokenCommand::List(data) => list(format, &data),
        TokenCommand::Revoke(args) => {
            let revoked = TokenFile::new(&args.data.data).revoke(&args.id)?;
            if format == Format::Table {
                eprintln!("The token {} of {} was revoked.", revoked.id, revoked.user);
                return Ok(());
            }
            table::show(format, &shown(&revoked, None))
        }
    }
}

fn create(format: Format, args: Create) -> Result<(), CliError> {
    let Create { data, project, user, role, expires } = args;
    let file = TokenFile::new(&data.data);
    let (token, issued) = file.create(NewToken { project, user, role, expires_at: expires })?;
    let mut object = shown(&issued, None);
    if let Some(fields) = object.as_object_mut() {
        fields.insert("token".to_owned(), token.into());
    }
    table::show(format, &object)?;
    if format == Format::Table {
        eprintln!(
            "The token is shown only now: keep it, for example in MAGNUM_TOKEN. It is accepted by \
             magnum serve --auth tokens --data {}.",
            data.data.display()
        );
    }
    Ok(())
}

fn list(format: Format, data: &Data) -> Result<(), CliError> {
    let file = TokenFile::new(&data.data);
    let (tokens, uses, now) = (file.read()?, file.uses()?, clock::now());
    let valid = tokens.iter().filter(|token| token.is_valid(now));
    let rows: Vec<Value> = valid
        .map(|token| shown(token, uses.get(&token.id).and_then(|uses| uses.used_at)))
        .collect();
    table::list(format, &COLUMNS, &rows)
}

/// A token as it is printed; its hash is nobody's business.
fn shown(token: &IssuedToken, used_at: Option<Timestamp>) -> Value {
    json!({
        "id": token.id, "project": token.project, "user": token.user, "role": token.role,
        "created_at": token.created_at, "expires_at": token.expires_at, "last_used_at": used_at,
    })
}

/// The end of a token: so long from now, or a time.
fn end(text: &str) -> Result<Timestamp, String> {
    let unit_s: i64 = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return time(text),
    };
    let count = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let count: u32 = count
        .parse()
        .map_err(|_| format!("{text:?} is neither an age such as 12h or 90d nor a time"))?;
    let length_us = i64::from(count).saturating_mul(unit_s).saturating_mul(1_000_000);
    Ok(Timestamp(clock::now().0.saturating_add(length_us)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_an_age_or_a_time() {
        let now = clock::now();
        for (text, seconds) in [("90s", 90), ("15m", 900), ("12h", 43_200), ("90d", 7_776_000)] {
            let left_s = end(text).unwrap().since_ms(now) / 1000;
            assert!((seconds..seconds + 60).contains(&left_s), "{text}: {left_s}");
        }
        assert_eq!(end("2027-01-01T00:00:00Z"), Ok(Timestamp(1_798_761_600_000_000)));
        for bad in ["", "d", "-1d", "1.5h", "12", "tomorrow", "üd"] {
            assert!(end(bad).is_err(), "{bad}");
        }
    }
}
