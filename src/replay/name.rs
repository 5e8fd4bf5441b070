//! Finds objects by name in a log without read models, by folding all of it.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::object::{self, Object};
use super::{ReplayError, Source, state};
use crate::ids::{Kind, ObjectId, StreamId};
use crate::text::composed;

/// The object of a noun with a uuid or a name: one that is there, else the only one that was.
///
/// # Errors
/// When there is none, or several, in words that say what to do; when the log cannot be read.
pub fn find(source: &Source, kind: Kind, ident: &str) -> Result<StreamId, ReplayError> {
    let uuid = ident.parse::<ObjectId>().ok().filter(|id| id.to_string() == ident);
    if let Some(id) = uuid {
        let stream = StreamId::new(kind, id);
        if source.first_of(stream)?.is_some() {
            return Ok(stream);
        }
    }
    let (there, gone) = named(source, kind, ident)?;
    match (there.as_slice(), gone.as_slice()) {
        ([one], _) | ([], [one]) => Ok(*one),
        ([], []) => Err(ReplayError::NotFound(not_found(kind, ident))),
        ([], many) | (many, _) => {
            let uuids: Vec<String> = many.iter().map(|stream| stream.id.to_string()).collect();
            Err(ReplayError::Invalid(format!(
                "{} {} have the name {ident}. Use a UUID: {}.",
                many.len(),
                kind.collection(),
                uuids.join(", ")
            )))
        }
    }
}

/// There is no such object, and what to do.
pub fn not_found(kind: Kind, ident: &str) -> String {
    let collection = kind.collection();
    format!(
        "There is no {kind} {ident}. Deleted objects are found by UUID; `magnum replay diff \
         --all` lists all {collection} that ever existed."
    )
}

/// The objects of a noun that have a name, and those that had it when they went.
fn named(
    source: &Source,
    kind: Kind,
    name: &str,
) -> Result<(Vec<StreamId>, Vec<StreamId>), ReplayError> {
    let name = composed(name);
    let mut objects: HashMap<StreamId, (Box<dyn Object>, bool)> = HashMap::new();
    source.each(Default::default(), source.head(), |event| {
        if event.stream.kind == kind {
            let fresh = || (object::new(event.stream), false);
            let (folded, had_it) = objects.entry(event.stream).or_insert_with(fresh);
            folded.take(event)?;
            if folded.head().is_some() {
                *had_it = state::name(folded.as_ref()).is_some_and(|its| composed(&its) == name);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let (mut there, mut gone) = (Vec::new(), Vec::new());
    for (stream, (folded, _)) in objects.into_iter().filter(|(_, (_, had_it))| *had_it) {
        if folded.head().is_some() { there.push(stream) } else { gone.push(stream) }
    }
    there.sort_unstable();
    gone.sort_unstable();
    Ok((there, gone))
}
