//! What a request says: who asks, why, with which arguments and body. The one place that makes a
//! [`Origin`] from HTTP.
//!
//! Not here: what a noun's fields mean (`input`, one file a noun), how it answers (`respond`).

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::caller::Caller;
use super::digest;
use super::host::Addressed;
use super::page;
use super::received::Received;
use super::state::AppState;
use crate::bus::Origin;
use crate::clock;
use crate::http::error::ApiError;
use crate::http::input::time;
use crate::http::text::{MAX_NAME_BYTES, arguments, derived_id, number, shown};
use crate::ids::{CommandId, Kind, ObjectId, ProjectId, Revision, Timestamp};
use crate::json;
use crate::secrets::Digest;
use crate::text::misleads;

/// Longest reason of a user, in bytes: a paragraph.
pub const MAX_REASON_BYTES: usize = 1024;

/// Arguments that every read takes; `edge` acts on them.
const ALWAYS: [&str; 1] = ["min_position"];

/// `req-` and a uuid.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// A request, taken apart.
#[derive(Debug)]
pub struct Call {
    /// Who asks and why.
    pub ctx: Origin,
    /// Who asks, for what goes on until they may not any more.
    pub caller: Caller,
    /// `http://127.0.0.1:9511`: what links start with.
    pub host: String,
    /// How long the client waits for the outcome of work.
    pub wait: Duration,
    installation: Uuid,
    query: Vec<(String, String)>,
    body: Received,
    /// Whether the body is a form.
    is_form: bool,
}

/// The name or uuid in a path.
#[derive(Debug)]
pub struct Ident(pub String);

impl FromRequestParts<AppState> for Ident {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let ident = Path::<String>::from_request_parts(parts, state).await;
        let Path(ident) = ident.map_err(not_utf8)?;
        Ok(Self(checked("ident", ident)?))
    }
}

/// The name or uuid of an object in a path, and the id of something of its own.
#[derive(Debug)]
pub struct InnerIdent(pub String, pub String);

impl FromRequestParts<AppState> for InnerIdent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let idents = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((ident, id)) = idents.map_err(not_utf8)?;
        Ok(Self(checked("ident", ident)?, checked("id", id)?))
    }
}

/// The refusal where a path cannot be taken apart.
fn not_utf8(_: PathRejection) -> ApiError {
    ApiError::BadRequest("The path is not valid UTF-8.".to_owned())
}

/// A part of a path, if it can be a uuid or a name.
fn checked(part: &str, ident: String) -> Result<String, ApiError> {
    if ident.len() > MAX_NAME_BYTES || ident.chars().any(char::is_control) {
        let reason = "This is neither a uuid nor a name: at most 255 bytes, no control characters.";
        return Err(ApiError::field(part, shown(&ident), reason));
    }
    Ok(ident)
}

impl FromRequest<AppState> for Call {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let caller = Caller::of(&parts.extensions)?;
        let project = caller.project.clone();
        let body = Received::of(body, &parts.method, &state.own().places, &project).await?;
        let query = arguments(parts.uri.query().unwrap_or_default())?;
        let headers = &parts.headers;
        let command_id = idempotency_key(headers)?
            .filter(|_| !parts.method.is_safe())
            .map(|key| command_id(&project, &key));
        let digest = match &command_id {
            Some(id) => {
                Some(digest::of(state, &project, id, bare_digest(&parts, body.bytes())).await?)
            }
            None => None,
        };
        let request_id =
            parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
        let ctx = Origin {
            project,
            user: caller.user.clone(),
            roles: caller.roles.clone(),
            request_id,
            command_id,
            digest,
            reason: text_header(headers, "x-magnum-reason", MAX_REASON_BYTES)?,
            causation: None,
            if_match: if_match(headers)?,
        };
        let wait = wait(headers, state.config.request_wait)?;
        let installation = state.installation;
        let is_form = page::is_form(headers);
        Ok(Self { is_form, ctx, caller, host: host(&parts)?, wait, installation, query, body })
    }
}

impl Call {
    /// Refuses arguments that the request does not take.
    pub fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        let unknown = self
            .query
            .iter()
            .find(|(key, _)| !known.contains(&&**key) && !ALWAYS.contains(&&**key));
        match unknown {
            Some((key, _)) => {
                Err(ApiError::BadRequest(format!("Unknown argument: \"{}\"", shown(key))))
            }
            None => Ok(()),
        }
    }

    /// Whether it has no arguments.
    pub fn is_plain(&self) -> bool {
        self.query.is_empty()
    }

    /// An argument of the query, the first of its name.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// All arguments whose names are among these.
    pub fn arguments(&self, names: &[&str]) -> Vec<(String, String)> {
        self.query.iter().filter(|(key, _)| names.contains(&&**key)).cloned().collect()
    }

    /// An argument that is a whole number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.argument(name).map(|text| number(name, text)).transpose()
    }

    /// An argument that is yes or no; no where there is none, yes where it has no value.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.argument(name) {
            None => Ok(false),
            Some(text) => match text.to_ascii_lowercase().as_str() {
                "" | "1" | "true" | "yes" => Ok(true),
                "0" | "false" | "no" => Ok(false),
                _ => Err(ApiError::field(name, shown(text), "Use 1 or 0.")),
            },
        }
    }

    /// An argument that is a time, or an age.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = self.argument(name) else { return Ok(None) };
        let moment = time::moment(text, clock::now());
        moment.map(Some).ok_or_else(|| ApiError::field(name, shown(text), time::FORMS))
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value, ApiError> {
        if self.body.bytes().is_empty() {
            return Err(ApiError::BadRequest(
                "The body is empty; send a JSON document.".to_owned(),
            ));
        }
        let text = std::str::from_utf8(self.body.bytes()).map_err(|error| {
            let at = error.valid_up_to();
            ApiError::BadRequest(format!("The body is not valid UTF-8 at byte {at}."))
        })?;
        json::read(text)
            .map_err(|error| ApiError::BadRequest(format!("The body is not valid JSON: {error}.")))
    }

    /// Whether there is a body.
    pub fn has_body(&self) -> bool {
        !self.body.bytes().is_empty()
    }

    /// The body as fields: a JSON object, or a form.
    pub fn fields(&self) -> Result<Map<String, Value>, ApiError> {
        if !self.is_form {
            return self.object();
        }
        let text = str::from_utf8(self.body.bytes()).unwrap_or_default();
        let pairs = arguments(text)?;
        Ok(pairs.into_iter().map(|(name, value)| (name, Value::from(value))).collect())
    }

    /// The body as a JSON object.
    pub fn object(&self) -> Result<Map<String, Value>, ApiError> {
        match self.json()? {
            Value::Object(fields) => Ok(fields),
            _ => Err(ApiError::BadRequest("The body is not a JSON object.".to_owned())),
        }
    }

    /// The id of the object that a POST makes: the client's, or the same for the same
    /// `Idempotency-Key`, or a new one.
    pub fn new_id(&self, kind: Kind, wanted: Option<ObjectId>) -> ObjectId {
        let keyed = || {
            let key = self.ctx.command_id.as_ref()?;
            let texts = [&self.ctx.project.0, &key.0, kind.name()];
            Some(derived_id(self.installation, texts))
        };
        wanted.or_else(keyed).unwrap_or_else(clock::new_object_id)
    }

    /// The same request for an object that is created implicitly on its way: without what applies
    /// to its own object only.
    pub fn on_the_way(&self) -> Origin {
        Origin { command_id: None, digest: None, if_match: None, ..self.ctx.clone() }
    }
}

/// What tells two requests with the same key apart: BLAKE3 over method, path, query and body.
fn bare_digest(parts: &Parts, body: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    let uri = &parts.uri;
    for part in [parts.method.as_str(), uri.path(), uri.query().unwrap_or_default()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(body);
    *hasher.finalize().as_bytes()
}

/// A header as text, checked for length and control characters.
fn text_header(headers: &HeaderMap, name: &str, max: usize) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| ApiError::field(name, "", "The header is not valid UTF-8."))?;
    if text.len() > max || text.chars().any(misleads) {
        let reason = format!("Use at most {max} bytes without control or invisible characters.");
        return Err(ApiError::field(name, shown(text), reason));
    }
    Ok((!text.trim().is_empty()).then(|| text.trim().to_owned()))
}

/// The id of a command that its client has a key for. The slash ends the project's id, whatever
/// that contains: no key of one project is another one's.
fn command_id(project: &ProjectId, key: &str) -> CommandId {
    let project = project.0.replace('%', "%25").replace('/', "%2F");
    CommandId(format!("{project}/{key}"))
}

/// The client's key for this request.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let name = "idempotency-key";
    if headers.get(name).is_some_and(|value| value.as_bytes().trim_ascii().is_empty()) {
        return Err(ApiError::field(
            name,
            "",
            "The key is empty; use a new UUID for each \
            request.",
        ));
    }
    text_header(headers, name, MAX_NAME_BYTES)
}

/// The revision that the object must have; none with `*`, which any object that exists has.
fn if_match(headers: &HeaderMap) -> Result<Option<Revision>, ApiError> {
    if !headers.contains_key("if-match") {
        return Ok(None);
    }
    // An empty one was meant as a condition, and is not to be passed over.
    let text = text_header(headers, "if-match", MAX_NAME_BYTES)?.unwrap_or_default();
    if text == "*" {
        return Ok(None);
    }
    let plain = text.strip_prefix("W/").unwrap_or(&text).trim_matches('"');
    plain.parse().map(|revision| Some(Revision(revision))).map_err(|_| {
        ApiError::field("If-Match", shown(&text), "Use the ETag of an answer, such as \"3\", or *.")
    })
}

/// How long the client waits for an outcome (RFC 7240), at most `limit`.
fn wait(headers: &HeaderMap, limit: Duration) -> Result<Duration, ApiError> {
    let mut wait = limit;
    for value in headers.get_all("prefer") {
        let text = value.to_str().map_err(|_| {
            ApiError::field("Prefer", "", "Use respond-async, or wait= with seconds.")
        })?;
        for preference in text.split([',', ';']).map(str::trim) {
            if preference.eq_ignore_ascii_case("respond-async") {
                wait = Duration::ZERO;
            } else if let Some(seconds) = preference.strip_prefix("wait=") {
                let seconds = number("Prefer", seconds.trim_matches('"'))?;
                wait = wait.min(Duration::from_secs(seconds));
            }
        }
    }
    Ok(wait)
}

/// The address of this server, for links to it.
fn host(parts: &Parts) -> Result<String, ApiError> {
    Addressed::of(&parts.extensions).map(|to| to.base.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_takes_what_clients_send() {
        let parse = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("if-match", text.parse().unwrap());
            if_match(&headers)
        };
        assert_eq!(parse("\"3\"").unwrap(), Some(Revision(3)));
        assert_eq!(parse("3").unwrap(), Some(Revision(3)));
        assert_eq!(parse("W/\"3\"").unwrap(), Some(Revision(3)));
        assert_eq!(parse("*").unwrap(), None);
        for bad in ["x", "", " ", "\"-1\""] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keys_of_two_projects_are_never_the_same() {
        let id = |project: &str, key| command_id(&ProjectId(project.to_owned()), key).0;
        assert_eq!(id("a", "k"), "a/k", "as recorded ever since");
        assert_ne!(id("a", "b/k"), id("a/b", "k"));
        assert_ne!(id("a/", "k"), id("a", "/k"));
        assert_ne!(id("a/b", "k"), id("a%2Fb", "k"));
    }

    #[test]
    fn prefer_only_shortens_the_wait() {
        let parse = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", text.parse().unwrap());
            wait(&headers, Duration::from_secs(30)).unwrap()
        };
        assert_eq!(parse("respond-async"), Duration::ZERO);
        assert_eq!(parse("wait=5"), Duration::from_secs(5));
        assert_eq!(parse("wait=500"), Duration::from_secs(30));
        assert_eq!(parse("return=minimal"), Duration::from_secs(30));
    }
}
