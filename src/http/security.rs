//! How callers say who they are, as the OpenAPI document has it: the ways, and which of them an
//! operation takes.
//!
//! Not here: the ways themselves (`edge/identity`, `edge/session`), who may do what
//! (`edge/policy`).

use axum::http::Method;
use utoipa::openapi::ComponentsBuilder;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};

use super::edge::policy;
use super::edge::session::{COOKIE, CSRF};
use super::route::Route;

/// All ways, each said once.
pub fn schemes(components: ComponentsBuilder) -> ComponentsBuilder {
    let key = |name: &str, meaning: &str| ApiKeyValue::with_description(name, meaning);
    let token = key(
        "X-Auth-Token",
        "A token of Keystone or of `magnum token create`. Needed only where the server requires \
         authentication.",
    );
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The same token; X-Auth-Token goes first if both are there."))
        .build();
    let session = key(
        COOKIE,
        "The session of a page in a browser, from POST /v1/session. It counts only without a \
         token.",
    );
    let csrf = key(
        CSRF,
        "The `csrf_token` from POST /v1/session, which changes with the cookie need as well.",
    );
    components
        .security_scheme("token", SecurityScheme::ApiKey(ApiKey::Header(token)))
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)))
        .security_scheme("csrf", SecurityScheme::ApiKey(ApiKey::Header(csrf)))
}

/// The ways to read, which the document has for all operations that say nothing else.
pub fn to_read() -> Vec<SecurityRequirement> {
    ways(way("session"))
}

/// The ways of an operation, if they are not those to read; none where everybody may look.
pub fn of(route: &Route) -> Option<Vec<SecurityRequirement>> {
    if policy::row(route.method_name(), &route.path) == Some(policy::Need::Nothing) {
        return Some(vec![]);
    }
    let to_change = || ways(way("session").add::<_, _, String>("csrf", []));
    (route.verb() != Method::GET).then(to_change)
}

/// Each of them is enough; the first is none at all, on a server without authentication.
fn ways(session: SecurityRequirement) -> Vec<SecurityRequirement> {
    vec![SecurityRequirement::default(), way("token"), way("bearer"), session]
}

fn way(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new::<_, _, String>(scheme, [])
}
