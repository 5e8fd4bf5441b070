//! Discovery: the documents at `/` and `/v1`, as in the 2015 API.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::edge::request::Call;
use super::error::ApiError;
use super::respond::{self, Link};
use crate::ids::Kind;

/// What serves here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Root {
    name: String,
    description: String,
    versions: Vec<Version>,
    default_version: Version,
}

/// A version of the API.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    id: String,
    links: Vec<Link>,
}

impl Version {
    fn v1(host: &str) -> Self {
        let links = vec![Link::new(format!("{host}/v1/"), "self")];
        Self { id: "v1".to_owned(), links }
    }
}

/// `GET /`
pub async fn root(call: Call) -> Result<Response, ApiError> {
    call.only(&[])?;
    let root = Root {
        name: "OpenStack Magnum API".to_owned(),
        description: "Magnum is an OpenStack project which aims to provide container management."
            .to_owned(),
        versions: vec![Version::v1(&call.host)],
        default_version: Version::v1(&call.host),
    };
    Ok(respond::json(StatusCode::OK, &root))
}

/// `GET /v1`
pub async fn v1(call: Call) -> Result<Response, ApiError> {
    call.only(&[])?;
    let host = &call.host;
    let mut document = Map::new();
    document.insert("id".to_owned(), Value::from("v1"));
    let links = json!([
        { "href": format!("{host}/v1/"), "rel": "self" },
        {
            "href": "http://docs.openstack.org/developer/magnum/dev/api-spec-v1.html",
            "type": "text/html",
            "rel": "describedby",
        },
    ]);
    document.insert("links".to_owned(), links);
    let media_types = json!([{
        "base": "application/json",
        "type": "application/vnd.openstack.magnum.v1+json",
    }]);
    document.insert("media_types".to_owned(), media_types);
    // Nodes never were among them.
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Node) {
        let name = kind.collection();
        let links = [
            Link::new(format!("{host}/v1/{name}/"), "self"),
            Link::new(format!("{host}/{name}/"), "bookmark"),
        ];
        document.insert(name.to_owned(), json!(links));
    }
    Ok(respond::json(StatusCode::OK, &document))
}
