//! `events list`: the last events that match, or the first ones after a place.
//!
//! What is said besides the list, such as how many match before it, goes to stderr. Not here:
//! following events (`events`), how they are printed (`event_line`).

use clap::Args;
use serde_json::Value;

use super::error::CliError;
use super::event_choice::Choice;
use super::event_line::Printer;
use super::noun::{Session, taken_array};
use super::options::Format;
use super::table;
use super::terminal::{counted, printable};

/// Requests that count the events before those of a list, each some 20,000 positions: within
/// seconds.
const MAX_COUNTS: usize = 50;

/// What to list.
#[derive(Args)]
pub struct List {
    /// Start after this position [default: the last --limit events that match]
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    /// List the last events before this position
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(conflicts_with_all = ["after", "since", "follow"])]
    before: Option<u64>,
    #[command(flatten)]
    pub choice: Choice,
    /// Maximum number of events
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    /// Continue with new events, until Ctrl-C
    #[arg(long)]
    pub follow: bool,
}

/// A whole number in an answer.
fn number(body: &Value, name: &str) -> Option<u64> {
    body.get(name).and_then(Value::as_u64)
}

/// Prints a list of events. Returns the position that it has looked up to.
pub async fn list(session: &Session, printer: &mut Printer, args: &List) -> Result<u64, CliError> {
    let is_from_a_place = args.after.is_some() || args.choice.since.is_some();
    let (rows, end) =
        if is_from_a_place { first(session, args).await? } else { last(session, args).await? };
    // A list is one document unless more events follow it.
    if matches!(printer.format, Format::Table | Format::Wide) || args.follow {
        rows.iter().try_for_each(|row| printer.print(row))?;
    } else {
        table::list(printer.format, &[], &rows)?;
    }
    Ok(end)
}

/// The first events after a place, which a server may answer in several parts if few of them match.
async fn first(session: &Session, args: &List) -> Result<(Vec<Value>, u64), CliError> {
    let mut after = args.after.unwrap_or(0);
    let mut since = args.choice.since.as_ref();
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let left = args.limit.saturating_sub(rows.len() as u64);
        let place = if since.is_some() { None } else { Some(after) };
        let call = args.choice.get();
        let call = call.query("since", since.take()).query("after", place);
        let mut body = session.client.send(call.query("limit", Some(left))).await?.body;
        say_archived(&body);
        rows.extend(taken_array(&mut body, "events"));
        let more = body.get("next").is_some_and(Value::is_string);
        let position = number(&body, "position").unwrap_or(after);
        let is_full = rows.len() as u64 >= args.limit;
        let is_over = !more || position <= after || is_full;
        after = position.max(after);
        if is_over {
            if more && is_full && !args.follow {
                say(&format!(
                    "More may match after position {after}: continue with --after {after}."
                ));
            }
            return Ok((rows, after));
        }
    }
}

/// The last events, read backwards until there are as many as wanted or none is left, and on stderr
/// how many there are before them.
async fn last(session: &Session, args: &List) -> Result<(Vec<Value>, u64), CliError> {
    let mut parts: Vec<Vec<Value>> = Vec::new();
    let mut before = args.before.map_or_else(|| "latest".to_owned(), |before| before.to_string());
    let (mut count, mut end) = (0, None);
    loop {
        let left = args.limit.saturating_sub(count);
        let call = args.choice.get().query("before", Some(&before)).query("limit", Some(left));
        let mut body = session.client.send(call).await?.body;
        let part = taken_array(&mut body, "events");
        count += part.len() as u64;
        parts.push(part);
        end = end.or_else(|| number(&body, "position"));
        let from = number(&body, "from").unwrap_or(0);
        let more = body.get("previous").is_some_and(Value::is_string);
        let is_further = before.parse::<u64>().map_or(true, |before| from < before);
        if count >= args.limit || !more || !is_further {
            if count < args.limit {
                say_archived(&body);
            } else if args.choice.filters().next().is_some() {
                say_earlier(session, args, from, &body).await?;
            }
            break;
        }
        before = from.to_string();
    }
    let rows = parts.into_iter().rev().flatten().collect();
    Ok((rows, end.unwrap_or(0)))
}

/// Says how many events match before those that are listed: all of them, or as far as was counted.
async fn say_earlier(
    session: &Session,
    args: &List,
    from: u64,
    body: &Value,
) -> Result<(), CliError> {
    let counted_in = |body: &Value| {
        let earlier = body.get("earlier")?;
        let is_all = earlier.get("is_all").and_then(Value::as_bool)?;
        Some((number(earlier, "matches")?, number(earlier, "from")?, is_all))
    };
    let Some((mut matches, mut back_to, mut is_all)) = counted_in(body) else { return Ok(()) };
    for _ in 0..MAX_COUNTS {
        if is_all {
            break;
        }
        let call = args.choice.get().query("before", Some(back_to)).query("limit", Some(0));
        let body = session.client.send(call).await?.body;
        let Some((more, further, is_rest)) = counted_in(&body) else { break };
        (matches, back_to, is_all) = (matches.saturating_add(more), further, is_rest);
    }
    let events = counted(matches, "earlier event");
    match (matches, is_all) {
        (0, true) => {}
        (_, true) => say(&format!("Before these: {events}. --before {from} lists them.")),
        (_, false) => say(&format!(
            "Before these: at least {events}, counted back to position {back_to} only. --before \
             {from} lists them."
        )),
    }
    Ok(())
}

/// Says that events are missing because they were archived, if so.
fn say_archived(body: &Value) {
    let Some(archived) = body.get("archived") else { return };
    let Some(position) = number(archived, "position") else { return };
    let oldest = archived.get("oldest").and_then(Value::as_str);
    let since = oldest.map(|time| format!(", of {time}")).unwrap_or_default();
    let oldest = position.saturating_add(1);
    say(&format!(
        "Events up to position {position} were archived: the oldest one here is at position \
         {oldest}{since}."
    ));
}

/// Tells people something besides the result.
pub fn say(words: &str) {
    eprintln!("{}", printable(words));
}
