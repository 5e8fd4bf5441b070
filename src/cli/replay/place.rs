//! Sources of answers: a server, or files. Both give the same document.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::super::args::ident;
use super::super::client::Call;
use super::super::error::CliError;
use super::super::noun::Session;
use super::read_text;
use crate::ids::Kind;
use crate::replay::among::Among;
use crate::replay::bundle::Bundle;
use crate::replay::find::How;
use crate::replay::question::document;
use crate::replay::verify::{self, Kept};
use crate::replay::{Question, ReplayError, Source, When, check, find, name, system, trace};

/// An object as given: `container/web`.
#[derive(Clone, Debug)]
pub struct NamedObject {
    kind: Kind,
    ident: String,
}

/// Reads an object.
pub fn object(text: &str) -> Result<NamedObject, String> {
    let form = || {
        let nouns = Kind::choice();
        format!("must be like container/web: {nouns}, and a name or UUID")
    };
    let (noun, object) = text.split_once('/').ok_or_else(form)?;
    let kind = Kind::named(noun);
    Ok(NamedObject { kind: kind.ok_or_else(form)?, ident: ident(object)? })
}

/// Which files to read instead of asking a server.
#[derive(Args)]
pub struct Files {
    /// Read this data directory, backup, bundle or log export instead of asking a server
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
}

impl Files {
    /// Compares the caches of a data directory with its log.
    pub async fn verify(&self, session: &Session) -> Result<Value, CliError> {
        match &self.data {
            Some(data) => {
                let source = open(data).await?;
                Ok(document(&verify::verify(&source, &Kept::folder(data)?)?)?)
            }
            None => {
                let call = Call::at(Method::GET, "replay").segment("verify");
                Ok(session.client.send(call).await?.body)
            }
        }
    }

    /// Opens the files, if any were given.
    pub async fn place<'a>(&self, session: &'a Session) -> Result<AnswerSource<'a>, CliError> {
        match &self.data {
            Some(path) => Ok(AnswerSource::Files(open(path).await?)),
            None => Ok(AnswerSource::Server(session)),
        }
    }
}

/// Decides the commands in files again.
pub async fn check_files(path: &Path) -> Result<Value, CliError> {
    Ok(document(&check::check(&open(path).await?)?)?)
}

/// Opens a data directory, backup, bundle or log export.
async fn open(path: &Path) -> Result<Source, CliError> {
    let found = std::fs::metadata(path)
        .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
    if found.is_dir() {
        return Ok(Source::folder(path)?);
    }
    let text = read_text(path)?;
    if is_bundle(&text) { Ok(Bundle::open(&text)?) } else { Ok(Source::export(path).await?) }
}

/// The source of an answer.
pub enum AnswerSource<'a> {
    /// A server.
    Server(&'a Session),
    /// Files.
    Files(Source),
}

impl AnswerSource<'_> {
    /// The answer to a question about an object.
    pub async fn ask(&self, object: &NamedObject, question: &Question) -> Result<Value, CliError> {
        match self {
            Self::Server(session) => {
                let mut call = Call::new(Method::GET, object.kind)
                    .segment(&object.ident)
                    .segment(question.verb());
                for (name, value) in question.arguments() {
                    call = call.query(name, Some(value));
                }
                Ok(session.client.send(call).await.map_err(asked_wrong)?.body)
            }
            Self::Files(source) => {
                let stream = name::find(source, object.kind, &object.ident)?;
                Ok(question.answer(source, stream)?)
            }
        }
    }

    /// When a condition became true.
    pub async fn find(&self, text: &str, among: &str, how: How) -> Result<Value, CliError> {
        let flag = |set: bool| set.then_some("1");
        match self {
            Self::Server(session) => {
                let call = Call::at(Method::GET, "replay")
                    .segment("find")
                    .query("condition", Some(text))
                    .query("among", Some(among).filter(|among| !among.is_empty()))
                    .query("first", flag(how.first))
                    .query("monotone", flag(how.monotone));
                Ok(session.client.send(call).await.map_err(asked_wrong)?.body)
            }
            Self::Files(source) => {
                let found = find::find(source, text, Among::read(source, among)?, how)?;
                serde_json::to_value(found).map_err(|error| CliError::Failed(error.to_string()))
            }
        }
    }
}

impl AnswerSource<'_> {
    /// What changed in the whole system.
    pub async fn system(&self, from: Option<When>, to: When) -> Result<Value, CliError> {
        match self {
            Self::Server(session) => {
                let call = Call::at(Method::GET, "replay").segment("diff");
                let call = call.query("from", from).query("to", Some(to));
                Ok(session.client.send(call).await.map_err(asked_wrong)?.body)
            }
            Self::Files(source) => {
                let archived = || When::Position(source.log().archived());
                let from = from.unwrap_or_else(archived);
                Ok(document(&system::diff(source, from, to)?)?)
            }
        }
    }

    /// What a request led to.
    pub async fn trace(&self, request_id: &str) -> Result<Value, CliError> {
        match self {
            Self::Server(session) => {
                let call = Call::at(Method::GET, "trace").segment(request_id);
                Ok(session.client.send(call).await.map_err(asked_wrong)?.body)
            }
            Self::Files(source) => Ok(document(&trace::trace(source, request_id)?)?),
        }
    }
}

/// Whether a file is a bundle: one document, where an export has one per line.
fn is_bundle(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    match serde_json::from_str::<Value>(first) {
        Ok(document) => document.get("format").is_some(),
        Err(_) => first.starts_with('{'),
    }
}

/// A question that a server rejects is a usage error, as it is with files.
fn asked_wrong(error: CliError) -> CliError {
    match error {
        CliError::Refused { status, words, .. }
            if [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND].contains(&status) =>
        {
            CliError::Usage(words)
        }
        error => error,
    }
}

impl From<ReplayError> for CliError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Invalid(words) | ReplayError::NotFound(words) => Self::Usage(words),
            ReplayError::Archived(archived) => Self::Usage(archived.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}
