//! Changes of each object that a command is about: deleting, and what else a request does. What
//! became of one is said on stderr as the old client said it and, with `-o json` or `-o yaml`,
//! printed as a document that has the same form for all such commands.
//!
//! Not here: creating and updating, which print the object (`noun`), commands executed in
//! containers, which print what those wrote (`execute`), and erasing a key (`keys`).

use std::ops::ControlFlow;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::Targets;
use super::client::{Answer, Call};
use super::error::{CliError, say, say_request};
use super::noun::{Noun, Session};
use super::options::Format;
use super::{table, waiting};
use crate::ids::Kind;

impl Noun {
    /// Deletes some.
    pub async fn delete(&self, session: &Session, targets: &Targets) -> Result<(), CliError> {
        self.each(session, targets, "Delete", Call::new(Method::DELETE, self.kind), None).await
    }

    /// Sends the same request for each target. All are tried, and failures are reported as the old
    /// client reported them. Unlike the old client, the command then fails.
    pub async fn each(
        &self,
        session: &Session,
        targets: &Targets,
        verb: &str,
        call: Call<'_>,
        action: Option<&str>,
    ) -> Result<(), CliError> {
        let mut acting = Acting::new(session, *self, verb);
        for target in targets.idents() {
            let mut call = call.clone().segment(target).one_of_many(targets.many());
            if let Some(action) = action {
                call = call.segment(action);
            }
            if acting.change(target, target, call).await.is_break() {
                break;
            }
        }
        acting.end(targets.many())
    }
}

/// Changes of some objects, one after the other.
pub struct Acting<'a> {
    session: &'a Session,
    noun: Noun,
    verb: &'a str,
    /// What is printed of each object so far; nothing as a table.
    documents: Vec<Value>,
    /// What helps after the first failure, if there was one.
    failed: Option<Option<String>>,
    /// Why no further change can be made.
    broken: Option<CliError>,
}

impl<'a> Acting<'a> {
    /// Before the first change.
    pub const fn new(session: &'a Session, noun: Noun, verb: &'a str) -> Self {
        Self { session, noun, verb, documents: Vec::new(), failed: None, broken: None }
    }

    /// Makes a change of the object with this name or UUID and says what became of it. Whether it
    /// is done; a break if further ones would fail as well.
    pub async fn change(
        &mut self,
        ident: &str,
        name: &str,
        call: Call<'_>,
    ) -> ControlFlow<(), bool> {
        let is_delete = call.is_delete();
        let before = self.look(ident, None).await;
        let client = &self.session.client;
        let answered = waiting::change(client, self.noun.kind, Some(ident), call).await;
        self.note(ident, before, &answered, is_delete).await;
        self.tell(ident, name, answered)
    }

    /// Says what became of a change. Whether it is done; a break if further ones would fail as
    /// well.
    pub fn tell(
        &mut self,
        ident: &str,
        name: &str,
        answered: Result<Answer, CliError>,
    ) -> ControlFlow<(), bool> {
        match answered {
            Ok(answer) => {
                self.noun.say_if_in_progress(&answer, ident);
                ControlFlow::Continue(!answer.in_progress)
            }
            Err(error) if error.is_of_object() => {
                let (verb, noun, words) = (self.verb, self.noun.kind, error.message());
                say(&format!("{verb} for {noun} {name} failed: {words}"));
                say_request(error.request_id());
                self.failed.get_or_insert_with(|| error.next().map(str::to_owned));
                ControlFlow::Continue(false)
            }
            Err(error) => {
                self.broken = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Adds fields to the document of the last object, if there are documents.
    pub fn add(&mut self, fields: Map<String, Value>) {
        if let Some(Value::Object(document)) = self.documents.last_mut() {
            document.extend(fields);
        }
    }

    /// Prints what became of the changes, as a list or of the only one; fails if one of them did.
    pub fn end(self, is_list: bool) -> Result<(), CliError> {
        let Self { session: Session { format, .. }, documents, failed, broken, .. } = self;
        match documents.first() {
            _ if *format == Format::Table => {}
            Some(document) if !is_list => table::show(*format, document)?,
            _ => table::list(*format, &[], &documents)?,
        }
        let reported = || failed.map_or(Ok(()), |next| Err(CliError::Reported(next)));
        broken.map_or_else(reported, Err)
    }

    /// The object as it is, for its document.
    async fn look(&self, ident: &str, position: Option<&String>) -> Option<Value> {
        if self.session.format == Format::Table {
            return None;
        }
        let call = Call::new(Method::GET, self.noun.kind).segment(ident);
        let call = call.query("min_position", position);
        self.session.client.exchange(call).await.ok().map(|answer| answer.body)
    }

    /// Makes the document of an object, if documents are printed.
    pub async fn note(
        &mut self,
        ident: &str,
        before: Option<Value>,
        answered: &Result<Answer, CliError>,
        is_delete: bool,
    ) {
        if self.session.format == Format::Table {
            return;
        }
        let text = |object: &Option<Value>, field: &str| {
            object.as_ref()?.get(field)?.as_str().map(str::to_owned)
        };
        let uuid = text(&before, "uuid");
        let position = answered.as_ref().ok().and_then(|answer| answer.position.as_ref());
        let after = self.look(uuid.as_deref().unwrap_or(ident), position).await;
        let (result, error, request_id) = match answered {
            Ok(answer) if answer.in_progress => ("in_progress", None, answer.request_id.as_deref()),
            Ok(answer) => ("done", None, answer.request_id.as_deref()),
            Err(error) => (result_of(error), Some(error.message()), error.request_id()),
        };
        let status = match &after {
            None if is_delete && result == "done" => Some(deleted(self.noun.kind).to_owned()),
            after => text(after, "status"),
        };
        self.documents.push(json!({
            "kind": self.noun.kind.name(),
            "uuid": text(&after, "uuid").or(uuid),
            "name": text(&after, "name").or(text(&before, "name")).unwrap_or(ident.to_owned()),
            "action": self.verb.to_ascii_lowercase(),
            "result": result,
            "status": status,
            "error": error,
            "request_id": request_id,
        }));
    }
}

/// What became of a change that was not done.
pub fn result_of(error: &CliError) -> &'static str {
    match error.cause() {
        CliError::TimedOut(_) => "in_progress",
        error if error.is_of_object() => "failed",
        _ => "unknown",
    }
}

/// The last status of an object, with which no answer shows it.
const fn deleted(kind: Kind) -> &'static str {
    match kind {
        Kind::Bay => "DELETED",
        Kind::Node => "deleted",
        _ => "Deleted",
    }
}
