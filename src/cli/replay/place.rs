//! Where an answer comes from: a server, or files. Both give the same document.

use std::path::PathBuf;

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::super::client::Call;
use super::super::failure::CliError;
use super::super::noun::Session;
use super::super::target::ident;
use crate::ids::Kind;
use crate::replay::{Question, ReplayError, Source, name};

/// An object as it was typed: `container/web`.
#[derive(Clone, Debug)]
pub struct Object {
    kind: Kind,
    ident: String,
}

/// Reads an object.
pub fn object(text: &str) -> Result<Object, String> {
    let form = || "write it as container/web: bay, baymodel, node or container, and a name or UUID";
    let (noun, object) = text.split_once('/').ok_or_else(form)?;
    let kind = Kind::ALL.into_iter().find(|it| it.name() == noun || it.collection() == noun);
    Ok(Object { kind: kind.ok_or_else(form)?, ident: ident(object)? })
}

/// Whether to look into files.
#[derive(Args)]
pub struct Files {
    /// Look into this data folder, a backup of one, or a file that `log export` printed; no server
    /// is asked
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
}

impl Files {
    /// Opens the files that were named, if any were.
    pub async fn place<'a>(&self, session: &'a Session) -> Result<Place<'a>, CliError> {
        let Some(path) = &self.data else { return Ok(Place::Server(session)) };
        let found = std::fs::metadata(path)
            .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
        let source = if found.is_dir() { Source::folder(path) } else { Source::export(path).await };
        Ok(Place::Files(source?))
    }
}

/// Where an answer comes from.
pub enum Place<'a> {
    /// A server.
    Server(&'a Session),
    /// Files.
    Files(Source),
}

impl Place<'_> {
    /// The answer to a question about an object.
    pub async fn ask(&self, object: &Object, question: &Question) -> Result<Value, CliError> {
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
}

/// What a server calls a bad question is one, as it is with files.
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
            error => Self::Failed(error.to_string()),
        }
    }
}
