//! The form of responses: JSON in the content type of the 2015 API, links, `ETag`, position.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::edge::request::Call;
use super::error::ApiError;
use crate::ids::{Kind, ObjectId, Position, Timestamp};
use crate::projections::TaskView;

/// The content type of success in the 2015 API.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

/// Up to which position of the log an answer is.
pub const POSITION: HeaderName = HeaderName::from_static("x-magnum-position");

/// Where an object is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Link {
    /// `http://127.0.0.1:9511/v1/bays/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f`
    pub href: String,
    /// `self` or `bookmark`.
    pub rel: String,
}

impl Link {
    /// A link.
    pub fn new(href: String, rel: &str) -> Self {
        Self { href, rel: rel.to_owned() }
    }

    /// The two links of an object.
    pub fn of(host: &str, kind: Kind, id: ObjectId) -> Vec<Self> {
        let collection = kind.collection();
        vec![
            Self::new(format!("{host}/v1/{collection}/{id}"), "self"),
            Self::new(format!("{host}/{collection}/{id}"), "bookmark"),
        ]
    }
}

/// Work that an object waits for. Nothing stays unfinished without one.
#[derive(Debug, Serialize, ToSchema)]
pub struct Task {
    /// The work's id: that of the event that asked for it.
    #[schema(format = Uuid)]
    pub id: String,
    /// `start`.
    pub action: String,
    /// Since when it waits or works.
    #[schema(format = DateTime)]
    pub since: String,
    /// Attempts that ended so far.
    pub attempts: u32,
    /// What it is blocked on, if it is.
    pub blocked_on: Option<String>,
    /// Why, in the backend's words.
    pub reason: Option<String>,
    /// Since when it is blocked.
    #[schema(format = DateTime)]
    pub blocked_since: Option<String>,
    /// When it is tried next at the latest.
    #[schema(format = DateTime)]
    pub retry_at: Option<String>,
    /// How far it is. While an image is pulled, with what is there of it, if that is known; this is
    /// nowhere in the log, so answers about earlier points do not have it.
    pub progress: Option<String>,
}

impl Task {
    /// The first of an object's tasks, which is the one in progress.
    pub fn first(tasks: &[TaskView]) -> Option<Self> {
        tasks.first().map(|task| Self {
            id: task.id.to_string(),
            action: task.action.clone(),
            since: task.requested_at.rfc3339(),
            attempts: task.attempts,
            blocked_on: task.blocked_on.clone(),
            reason: task.reason.clone(),
            blocked_since: task.blocked_since.map(Timestamp::rfc3339),
            retry_at: task.retry_at.map(Timestamp::rfc3339),
            progress: task.progress.clone(),
        })
    }
}

/// Any JSON answer.
pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, JSON)], bytes).into_response(),
        Err(error) => ApiError::Internal(error.to_string()).into_response(),
    }
}

/// Names the place of a new object.
#[must_use]
pub fn located(mut response: Response, call: &Call, kind: Kind, id: ObjectId) -> Response {
    let place = format!("{}/v1/{}/{id}", call.host, kind.collection());
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// Says up to which position an answer is.
#[must_use]
pub fn at(mut response: Response, position: Position) -> Response {
    response.headers_mut().insert(POSITION, HeaderValue::from(position.get()));
    response
}
