//! An HTTP client of one Magnum server: headers, responses, errors.
//!
//! Not here: a request and its address (`call`), which requests (one file a command group), how
//! results are printed (`table`).

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use super::call::Call;
use super::error::{CliError, fault_message};
use super::login::{HOW, Openstack};
use super::options::Options;
use super::serve::MAX_REQUEST_WAIT_S;
use super::terminal;

/// A reachable server accepts a connection in far less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A response comes when the work is done or the server's `--request-wait` is over; half a minute
/// more for slow networks.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(MAX_REQUEST_WAIT_S + 30);
/// Streams may be silent for a long time; this detects that the other machine is gone.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Largest response that is read as a whole: as much as a server holds of all of them together.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// The header with the token.
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// The header with the id of a request.
pub const REQUEST_ID: &str = "x-openstack-request-id";

/// A successful response.
#[derive(Debug)]
pub struct Answer {
    /// Whether the work is still in progress.
    pub in_progress: bool,
    /// The body; `null` if there is none.
    pub body: Value,
    /// The position of the log that it is as of.
    pub position: Option<String>,
    /// The id of the request, of a change.
    pub request_id: Option<String>,
}

/// A connection to one server.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    options: Options,
    openstack: Openstack,
    /// The user's token, once it has been obtained.
    token: OnceCell<Option<HeaderValue>>,
    /// Until when the user waits.
    deadline: Option<Instant>,
}

impl Client {
    /// A client of the server in the options. Connects later.
    ///
    /// # Errors
    /// When the address is invalid, or the file with authorities.
    pub fn new(options: Options, openstack: Openstack) -> Result<Self, CliError> {
        let base = options.url()?;
        let http = openstack
            .builder_for(base.as_str())?
            .user_agent(concat!("magnum/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            .build()
            .map_err(|error| CliError::Failed(error.to_string()))?;
        let wait = options.wait_timeout.map(Duration::from_secs);
        let deadline = wait.and_then(|wait| Instant::now().checked_add(wait));
        Ok(Self { http, base, options, openstack, token: OnceCell::new(), deadline })
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// When the server refuses, is unreachable, or does not answer in JSON.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, CliError> {
        let waiting = format!("Waiting for {}", call.path.join(" "));
        terminal::with_progress(&waiting, self.exchange(call)).await
    }

    /// The same, without a word of its progress.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn exchange(&self, call: Call<'_>) -> Result<Answer, CliError> {
        let method = call.method.clone();
        let answer = async {
            let response = self.open(call).await?;
            let in_progress = response.status() == StatusCode::ACCEPTED;
            let json = is_json(&response);
            let position = response.headers().get("x-magnum-position");
            let position = position.and_then(|it| it.to_str().ok()).map(str::to_owned);
            let text = self.body(&method, response).await?;
            self.debug(|| format!("< {}", String::from_utf8_lossy(&text)));
            let body = match (json, text.is_empty()) {
                (_, true) => Value::Null,
                (true, false) => serde_json::from_slice(&text).map_err(|_| self.not_magnum())?,
                (false, false) => return Err(self.not_magnum()),
            };
            Ok(Answer { in_progress, body, position, request_id: None })
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
        answer.unwrap_or_else(|_| Err(self.silent()))
    }

    /// Whether the user waits for the end of what a change begins.
    pub const fn waits(&self) -> bool {
        !self.options.no_wait
    }

    /// Until when the user waits.
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Sends a request whose response is read piece by piece.
    ///
    /// # Errors
    /// When the server refuses or is unreachable.
    pub async fn open(&self, call: Call<'_>) -> Result<Response, CliError> {
        let url = call.url(&self.base);
        let mut headers = self.headers(&call)?;
        let token = self.token.get_or_try_init(|| self.openstack.token()).await?;
        headers.extend(token.iter().map(|token| (TOKEN, token.clone())));
        self.debug(|| format!("> {} {url}\n{}", call.method, shown(&headers, "> ")));
        let mut request = self.http.request(call.method.clone(), url).headers(headers);
        if let Some(body) = &call.body {
            self.debug(|| format!("> {}", without_secrets(body)));
            request = request.body(body.to_string());
        }
        let response = request.send().await.map_err(|error| self.broken(&call.method, &error))?;
        let status = response.status();
        self.debug(|| format!("< {status}\n{}", shown(response.headers(), "< ")));
        if status.is_success() {
            return Ok(response);
        }
        let request = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        // What went wrong in the service, or at the engine, is best seen as a whole.
        let request = request.filter(|_| status.is_server_error());
        let trace = request.map(|id| format!("magnum trace {id}"));
        let text = self.body(&call.method, response).await.unwrap_or_default();
        self.debug(|| format!("< {}", String::from_utf8_lossy(&text)));
        let body = serde_json::from_slice(&text).unwrap_or(Value::Null);
        let words = match (status, token) {
            (StatusCode::UNAUTHORIZED, None) => {
                format!("this server requires authentication: {HOW}")
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => {
                format!("the server does not accept the token: get a new one, or {HOW}")
            }
            _ => fault_message(status, &body),
        };
        Err(CliError::Refused { status, words, next: call.next(status, &body).or(trace) })
    }

    /// The whole body of a response, which is JSON.
    ///
    /// # Errors
    /// When it is too large, ends too early, or is not JSON.
    pub async fn json(&self, method: &Method, response: Response) -> Result<Value, CliError> {
        let text = self.body(method, response).await?;
        serde_json::from_slice(&text).map_err(|_| self.not_magnum())
    }

    /// The whole body of a response, if it is not too large.
    async fn body(&self, method: &Method, mut response: Response) -> Result<Vec<u8>, CliError> {
        let mut body = Vec::new();
        while let Some(piece) =
            response.chunk().await.map_err(|error| self.broken(method, &error))?
        {
            if body.len().saturating_add(piece.len()) > MAX_ANSWER_BYTES {
                let url = self.address();
                return Err(CliError::Failed(format!(
                    "the response from {url} is larger than {MAX_ANSWER_BYTES} bytes"
                )));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// The headers of every request, and those for its options.
    fn headers(&self, call: &Call<'_>) -> Result<HeaderMap, CliError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &call.headers {
            headers.insert(*name, header_value(name, value)?);
        }
        if call.method == Method::GET {
            return Ok(headers);
        }
        if let Some(reason) = &self.options.reason {
            headers.insert("x-magnum-reason", header_value("--reason", reason)?);
        }
        if self.options.no_wait {
            headers.insert("prefer", HeaderValue::from_static("respond-async"));
        }
        if let Some(key) = self.key_of(call) {
            headers.insert("idempotency-key", header_value("--idempotency-key", &key)?);
        }
        Ok(headers)
    }

    /// The idempotency key. With several objects each gets its own, the key and the object's name,
    /// so that repeating the command repeats the keys; so does each of several changes.
    fn key_of(&self, call: &Call<'_>) -> Option<String> {
        let Some(mut key) = self.options.idempotency_key.clone() else { return call.key.clone() };
        key.extend(call.part.iter().flat_map(|part| [":", part]));
        let object = call.path.get(1).filter(|_| call.one_of_many);
        Some(object.map_or(key.clone(), |object| {
            let object: String = form_urlencoded::byte_serialize(object.as_bytes()).collect();
            format!("{key}:{object}")
        }))
    }

    /// Writes to stderr with `--debug`.
    fn debug(&self, text: impl FnOnce() -> String) {
        if self.options.debug {
            eprintln!("{}", terminal::printable(text().trim_end()));
        }
    }

    /// A connection that could not be made, or ended too early.
    pub fn broken(&self, method: &Method, error: &reqwest::Error) -> CliError {
        let url = self.address();
        let cause = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source())
            .last()
            .map_or_else(String::new, ToString::to_string);
        CliError::Unreachable(if error.is_connect() {
            format!(
                "no Magnum server is reachable at {url} ({cause}). Start one with 'magnum serve', \
                 or set MAGNUM_URL."
            )
        } else if *method == Method::GET {
            format!("the connection to {url} broke ({cause}).")
        } else {
            format!(
                "the connection to {url} broke ({cause}). The outcome is unknown: check, or \
                 repeat the command if it had an --idempotency-key."
            )
        })
    }

    fn silent(&self) -> CliError {
        let seconds = ANSWER_TIMEOUT.as_secs();
        let url = self.address();
        CliError::Unreachable(format!(
            "{url} did not answer within {seconds} s. The request may still be carried out."
        ))
    }

    fn not_magnum(&self) -> CliError {
        let url = self.address();
        CliError::Failed(format!("the response from {url} is not JSON: is it a Magnum server?"))
    }

    /// The server's address as people write it.
    pub fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }
}

/// Whether the response declares a JSON body.
pub fn is_json(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    content_type.and_then(|value| value.to_str().ok()).is_some_and(|t| t.contains("json"))
}

/// Text as a header value: UTF-8, one line.
fn header_value(name: &str, text: &str) -> Result<HeaderValue, CliError> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| CliError::Usage(format!("{name} must be one line without control characters")))
}

/// A body as `--debug` shows it: such output is often shared.
fn without_secrets(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(environment) = body.get_mut("environment") {
        *environment = "***".into();
    }
    body
}

/// Headers one a line.
fn shown(headers: &HeaderMap, prefix: &str) -> String {
    headers
        .iter()
        .map(|(name, value)| {
            let value = if value.is_sensitive() { b"***".as_slice() } else { value.as_bytes() };
            format!("{prefix}{name}: {}\n", String::from_utf8_lossy(value))
        })
        .collect()
}
