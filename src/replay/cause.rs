//! The causes of an event: the event that caused it, the one before that, up to the request.

use super::{ReplayError, Source};
use crate::events::Recorded;
use crate::ids::{EventId, Revision};

/// Most steps of a chain; the longest so far has four (a bay's delete, its emptying, a container's
/// delete, the outcome).
const MAX_STEPS: usize = 32;

/// Events of an object that are looked at for a cause at once.
const PAGE: u64 = 64;

/// Events of an object before an effect in which its cause is looked for; work is asked for by an
/// event shortly before the outcome as a rule.
const NEAR: u64 = 16 * PAGE;

/// An event and what led to it, the latest first. The last one has the command of the request.
///
/// # Errors
/// When the log cannot be read.
pub fn chain(source: &Source, event: &Recorded) -> Result<Vec<Recorded>, ReplayError> {
    let mut chain = vec![event.clone()];
    while let Some(last) = chain.last().filter(|_| chain.len() < MAX_STEPS) {
        let before = match last.meta.causation {
            Some(id) => cause(source, last, id)?,
            // Of what one command did the first event has the command.
            None if last.meta.command.is_none() => first_of_command(source, last)?,
            None => None,
        };
        match before.filter(|before| before.position < last.position) {
            Some(before) => {
                source.keep(&before)?;
                chain.push(before);
            }
            None => break,
        }
    }
    Ok(chain)
}

/// The event with an id that led to another one: of the same object as a rule.
fn cause(source: &Source, effect: &Recorded, id: EventId) -> Result<Option<Recorded>, ReplayError> {
    let mut end = effect.revision.get();
    let least = end.saturating_sub(NEAR);
    while end > least {
        let from = end.saturating_sub(PAGE).max(least);
        let limit = usize::try_from(end - from).unwrap_or_default();
        let page = source.log().read_stream(effect.stream, Revision(from), limit)?;
        if let Some(found) = page.into_iter().find(|event| event.id == id) {
            return Ok(Some(found));
        }
        end = from;
    }
    source.find(id)
}

/// The event of the same command that has the command.
fn first_of_command(source: &Source, event: &Recorded) -> Result<Option<Recorded>, ReplayError> {
    let mut revision = event.revision.get();
    while let Some(before) = revision.checked_sub(1) {
        revision = before;
        match source.log().read_stream(event.stream, Revision(before), 1)?.pop() {
            Some(found) if found.meta.request_id != event.meta.request_id => return Ok(None),
            Some(found) if found.meta.command.is_some() => return Ok(Some(found)),
            Some(_) => {}
            None => return Ok(None),
        }
    }
    Ok(None)
}
