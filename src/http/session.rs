//! `/v1/session`: a page in a browser exchanges its token for a cookie that its scripts cannot
//! read, asks who it is, and signs out.
//!
//! Not here: what a session is (`edge/session`).

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::edge::request::Call;
use super::edge::session::COOKIE;
use super::edge::state::AppState;
use super::error::ApiError;
use super::respond;
use crate::ids::Timestamp;

/// A new session; its id is in the cookie alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionBegun {
    /// What requests with the cookie bring as `X-CSRF-Token` if they change anything.
    csrf_token: String,
    /// When it ends at the latest; it ends with its token before.
    expires_at: Timestamp,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Who {
    /// The user; `anonymous` without authentication.
    user: String,
    /// The project.
    project: String,
    /// The user's roles in the project.
    roles: Vec<String>,
}

/// `POST /v1/session`
pub async fn begin(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    call.only(&[])?;
    let new = state.auth.begin_session(&call.caller)?;
    let cookie = cookie(&call, &new.id);
    let body = SessionBegun { csrf_token: new.csrf_token, expires_at: new.expires_at };
    let mut response = respond::json(StatusCode::OK, &body);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `GET /v1/session`
pub async fn show(call: Call) -> Result<Response, ApiError> {
    call.only(&[])?;
    let caller = call.caller;
    let (user, project, roles) = (caller.user, caller.project.to_string(), caller.roles);
    Ok(respond::json(StatusCode::OK, &Who { user, project, roles }))
}

/// `DELETE /v1/session`
pub async fn end(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    call.only(&[])?;
    state.auth.end_session(&call.caller);
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie(&call, ""));
    Ok(response)
}

/// The cookie; one without an id takes it away.
fn cookie(call: &Call, id: &str) -> HeaderValue {
    let ends = if id.is_empty() { "; Max-Age=0" } else { "" };
    // A browser that came by TLS is not to send it in the clear.
    let secure = if call.host.starts_with("https://") { "; Secure" } else { "" };
    let text = format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Strict{ends}{secure}");
    // An id is base64.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
