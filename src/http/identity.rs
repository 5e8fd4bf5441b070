//! What old clients ask of Keystone before anything else, answered where nobody is asked who they
//! are (`--auth none`): a token that opens nothing, and a catalog that leads here. `OS_AUTH_URL` is
//! then this server with `/v2.0` or `/v3`.
//!
//! Not here: authentication. With `--auth keystone` or `--auth tokens` these paths do not exist.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::edge::request::Call;
use super::edge::state::AppState;
use super::error::ApiError;
use super::respond;

/// Where version 2.0 of Keystone's API is.
pub const V2: &str = "/v2.0";

/// Where it issues tokens.
pub const V2_TOKENS: &str = "/v2.0/tokens";

/// Where version 3 is.
pub const V3: &str = "/v3";

/// Where that issues tokens.
pub const V3_TOKENS: &str = "/v3/auth/tokens";

/// The header in which version 3 has the token itself.
const TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// What clients send back to us, where nobody looks at it.
const ANY_TOKEN: &str = "anonymous";

/// No client is to ask again while it runs.
const ISSUED: &str = "2014-12-08T00:00:00.000000Z";
const EXPIRES: &str = "2099-01-01T00:00:00.000000Z";

const REGION: &str = "RegionOne";

/// `GET /v2.0`
pub async fn v2(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    version(&state, &call, V2, "v2.0")
}

/// `GET /v3`
pub async fn v3(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    version(&state, &call, V3, "v3.0")
}

/// By this clients choose how to ask for a token.
fn version(state: &AppState, call: &Call, path: &str, id: &str) -> Result<Response, ApiError> {
    stand_in(state, path)?;
    call.only(&[])?;
    let links = json!([{ "rel": "self", "href": format!("{}{path}/", call.host) }]);
    let version = json!({ "id": id, "status": "stable", "links": links });
    Ok(respond::json(StatusCode::OK, &json!({ "version": version })))
}

/// `POST /v2.0/tokens`
pub async fn v2_token(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    stand_in(&state, V2_TOKENS)?;
    let (user, project) = named(&call);
    let (url, tenant) =
        (endpoint(&call), json!({ "id": project, "name": project, "enabled": true }));
    let places = json!([{
        "region": REGION, "publicURL": url, "internalURL": url, "adminURL": url,
    }]);
    let access = json!({
        "token": { "id": ANY_TOKEN, "issued_at": ISSUED, "expires": EXPIRES, "tenant": tenant },
        "user": { "id": user, "name": user, "username": user, "roles": [], "roles_links": [] },
        "serviceCatalog": [{
            "type": "container", "name": "magnum", "endpoints": places, "endpoints_links": [],
        }],
        "metadata": {},
    });
    Ok(respond::json(StatusCode::OK, &json!({ "access": access })))
}

/// `POST /v3/auth/tokens`
pub async fn v3_token(State(state): State<AppState>, call: Call) -> Result<Response, ApiError> {
    stand_in(&state, V3_TOKENS)?;
    let (user, project) = named(&call);
    let domain = json!({ "id": "default", "name": "Default" });
    let url = endpoint(&call);
    let place = |interface: &str| {
        json!({
            "id": format!("magnum-{interface}"), "interface": interface, "url": url,
            "region": REGION, "region_id": REGION,
        })
    };
    let places: Value = ["public", "internal", "admin"].into_iter().map(place).collect();
    let token = json!({
        "methods": ["password"],
        "issued_at": ISSUED,
        "expires_at": EXPIRES,
        "user": { "id": user, "name": user, "domain": domain },
        "project": { "id": project, "name": project, "domain": domain },
        "roles": [],
        "catalog": [{
            "id": "magnum", "type": "container", "name": "magnum", "endpoints": places,
        }],
    });
    let mut response = respond::json(StatusCode::CREATED, &json!({ "token": token }));
    response.headers_mut().insert(TOKEN, HeaderValue::from_static(ANY_TOKEN));
    Ok(response)
}

/// Refuses where a real Keystone, or our own tokens, say who somebody is.
fn stand_in(state: &AppState, path: &str) -> Result<(), ApiError> {
    if state.auth.tells_projects_apart() {
        return Err(ApiError::NoSuchPath(path.to_owned()));
    }
    Ok(())
}

/// Whether a path is one of these where they do not exist.
pub fn is_absent(state: &AppState, path: &str) -> bool {
    state.auth.tells_projects_apart() && [V2, V2_TOKENS, V3, V3_TOKENS].contains(&path)
}

/// Where this server is for the client, by the name under which it was reached.
fn endpoint(call: &Call) -> String {
    format!("{}/v1", call.host)
}

/// The user and the project that events will name, whatever name and password a client sends.
fn named(call: &Call) -> (String, String) {
    (call.caller.user.clone(), call.caller.project.to_string())
}
