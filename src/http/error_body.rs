//! The body of a refusal, which every client understands: `error_message` for those of 2015,
//! `errors` for later ones. Our own faults are logged here, once.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::error::ApiError;

/// The body of every refusal.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// `{"debuginfo", "faultcode", "faultstring"}` as a JSON string: what clients of 2015 read.
    pub error_message: String,
    /// What later clients read; one item.
    pub errors: Vec<ErrorItem>,
}

/// A refusal for programs.
#[derive(Serialize, ToSchema)]
pub struct ErrorItem {
    /// The HTTP status again.
    pub status: u16,
    /// What tells errors of one status apart: `illegal-transition`.
    pub code: String,
    /// The status in words.
    pub title: String,
    /// What was wrong, and what to do.
    pub detail: String,
    /// The field that is wrong, where it is one.
    pub field: Option<String>,
    /// The oldest position that can be asked for, where older ones were archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
    /// The latest position, where older ones than the oldest were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<u64>,
    /// Always empty.
    pub links: Vec<String>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if let Self::Unauthenticated(challenge) = &self {
            // In plain text, as Keystone's own middleware answers, which old clients expect.
            return (status, [(header::WWW_AUTHENTICATE, challenge)], self.to_string())
                .into_response();
        }
        if status.is_server_error() && !self.is_expected() {
            tracing::error!(error = %self, "a request failed");
        }
        let faultcode = if status.is_client_error() { "Client" } else { "Server" };
        let detail = self.detail();
        let archived = match self {
            Self::Archived(archived) => Some(archived),
            _ => None,
        };
        let fault = json!({ "debuginfo": null, "faultcode": faultcode, "faultstring": detail });
        let item = ErrorItem {
            status: status.as_u16(),
            code: self.code().to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            field: self.at_field().map(str::to_owned),
            detail,
            oldest: archived.map(|it| it.oldest.get()),
            latest: archived.map(|it| it.latest.get()),
            links: Vec::new(),
        };
        let body = ErrorBody { error_message: fault.to_string(), errors: vec![item] };
        let mut response = (status, Json(body)).into_response();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            // One second: queues and projections move on within it, or somebody has to look.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Kind;

    #[tokio::test]
    async fn both_shapes_are_in_one_body() {
        let response = ApiError::not_found(Kind::Bay, "x").into_response();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let fault: serde_json::Value =
            serde_json::from_str(body["error_message"].as_str().unwrap()).unwrap();
        assert_eq!(fault["faultstring"], "Bay x could not be found.");
        assert_eq!(fault["faultcode"], "Client");
        assert_eq!(fault["debuginfo"], serde_json::Value::Null);
        assert_eq!(body["errors"][0]["status"], 404);
        assert_eq!(body["errors"][0]["title"], "Not Found");
        assert_eq!(body["errors"][0]["detail"], "Bay x could not be found.");
    }
}
