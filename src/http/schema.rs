//! The JSON Schemas of events, as in `schemas/events`: the target of an event's `dataschema`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::edge::request::{Call, Ident};
use super::error::ApiError;
use super::respond;
use super::text::shown;
use crate::events::cloudevent::outward_type;
use crate::events::codec;
use crate::events::schema::{EventSchema, PATH};

/// All schemas of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventSchemas {
    schemas: Vec<SchemaLink>,
}

/// Where a schema is.
#[derive(Debug, Serialize, ToSchema)]
pub struct SchemaLink {
    /// As events have it: `magnum.container.started.v1`.
    r#type: String,
    /// The address of the schema of its `data`.
    dataschema: String,
}

/// `GET /v1/schemas/events`
pub async fn list(call: Call) -> Result<Response, ApiError> {
    call.only(&[])?;
    let link = |schema: EventSchema| SchemaLink {
        r#type: outward_type(schema.event_type, schema.version),
        dataschema: format!("{}{PATH}/{}", call.host, schema.file()),
    };
    let schemas = codec::schemas().into_iter().map(link).collect();
    Ok(respond::json(StatusCode::OK, &EventSchemas { schemas }))
}

/// `GET /v1/schemas/events/{file}`
pub async fn show(Ident(file): Ident, call: Call) -> Result<Response, ApiError> {
    call.only(&[])?;
    let missing = || ApiError::NoSuchPath(shown(&format!("{PATH}/{file}")));
    let schema = codec::schema(&file).ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, "application/schema+json")], schema.document()).into_response())
}
