//! What every request passes on its way in and out: normalised paths, request id, whether it may
//! come from where it does, authentication, position, metrics, panics.
//!
//! Not here: the parts that do it (`edge`).

use std::any::Any;
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use super::edge::access::Access;
use super::edge::answers;
use super::edge::auth::{Auth, AuthRequest};
use super::edge::caller::Caller;
use super::edge::page;
use super::edge::policy;
use super::edge::request::RequestId;
use super::edge::state::AppState;
use super::error::ApiError;
use super::head_limits::TooLargeHead;
use super::route::Route;
use super::text::{arguments, canonical_uuid, number, shown};
use super::{compress, identity, respond, routes};
use crate::clock;
use crate::ids::{Kind, Position};

/// The id of a request, in and out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// What paths under `/v1` begin with: the clients of 2014 also leave that out.
static VERSIONED: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let first = |route: Route| Some(route.path.strip_prefix("/v1/")?.split('/').next()?.to_owned());
    routes::table().into_iter().filter_map(first).collect()
});

/// The whole REST API.
pub fn service(
    state: AppState,
) -> impl Service<
    Request,
    Response = Response,
    Error = Infallible,
    Future: Future<Output = Result<Response, Infallible>> + Send,
> + Clone {
    // In one layer: each is a copy of all that is in it for each request.
    let edge = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(state.clone(), pass))
        .layer(CatchPanicLayer::custom(panicked));
    // What nobody decided about is not served.
    let has_row = |route: &Route| policy::row(route.method_name(), &route.path).is_some();
    let routes = routes::table()
        .into_iter()
        .filter(has_row)
        .fold(Router::new(), |router, route| router.route(&route.path, route.handler))
        .fallback(async |uri: Uri| ApiError::NoSuchPath(shown(uri.path())))
        .method_not_allowed_fallback(other_method)
        .layer(edge)
        .with_state(state);
    // Before the routes are looked at: old clients write paths in several ways, and follow no
    // redirect.
    ServiceBuilder::new().map_request(with_canonical_path).service(routes)
}

/// A method that a path has no handler for: `OPTIONS` asks which it has. That grants pages of other
/// origins nothing: they are refused before (`page`), and no header of CORS is sent.
async fn other_method(
    State(state): State<AppState>,
    path: MatchedPath,
    method: Method,
) -> Response {
    let path = path.as_str();
    let allow = [(header::ALLOW, routes::allowed(path))];
    if method != Method::OPTIONS {
        return (allow, ApiError::MethodNotAllowed(shown(method.as_str()))).into_response();
    }
    if identity::is_absent(&state, path) {
        return ApiError::NoSuchPath(path.to_owned()).into_response();
    }
    (StatusCode::NO_CONTENT, allow).into_response()
}

async fn pass(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let path = state.config.access_log.then(|| request.uri().path().to_owned());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let id = request_id(request.headers());
    let names = &state.own().names;
    let question = state.auth.question(&request, &id, names.client(&request));
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", id, %method, path = request.uri().path());
    // What no route takes is refused as such, whatever its arguments are.
    let is_taken = route.as_ref().is_some_and(|route| routes::takes(route.as_str(), &method));
    let is_gzip_accepted = compress::is_accepted(request.headers());
    let query = request.uri().query().filter(|_| is_taken).unwrap_or_default().to_owned();
    // Its end is missing, so nothing else that it says counts.
    let whole = request.extensions().get::<TooLargeHead>().map_or(Ok(()), |why| Err((*why).into()));
    let addressed = whole.and_then(|()| names.addressed(&request));
    let addressed = addressed.and_then(|to| page::check(&request, &to, names).map(|()| to));
    let answer = async {
        let admitted = match addressed {
            Ok(to) => {
                request.extensions_mut().insert(to);
                admit(&state, question, &query).await
            }
            Err(error) => Err(error),
        };
        let (response, position, caller) = match admitted {
            Ok((caller, position)) => {
                let project = caller.project.clone();
                request.extensions_mut().insert(caller.clone());
                let response = next.run(request).await;
                let places = &state.own().places;
                let response = compress::coded(is_gzip_accepted, &method, response).await;
                let response = answers::counted(places, &project, &method, response).await;
                (response, position, Some(caller))
            }
            Err(error) => (error.into_response(), *state.reads.position().borrow(), None),
        };
        let told = response.headers().contains_key(respond::POSITION);
        (if told { response } else { respond::at(response, position) }, caller)
    };
    let (mut response, caller) = answer.instrument(span.clone()).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    // No browser takes a log or an error for a page or a script.
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let requests = &state.own().requests;
    requests.answered(known(&method), route, response.status().as_u16(), started.elapsed());
    match path {
        Some(path) => Access { started, method, path, caller, span }.log(response),
        None => response,
    }
}

/// Who asks, and up to where the answer will be at least.
async fn admit(
    state: &AppState,
    question: AuthRequest,
    query: &str,
) -> Result<(Caller, Position), ApiError> {
    let caller = Auth::admit(&state.audit, question).await?;
    Ok((caller, position(state, query).await?))
}

/// Up to where the answer will be at least: where the views are, or where a read wants them
/// (`min_position`, rule P5).
async fn position(state: &AppState, query: &str) -> Result<Position, ApiError> {
    let arguments = arguments(query)?;
    match arguments.iter().find(|(name, _)| name == "min_position") {
        None => Ok(*state.reads.position().borrow()),
        Some((name, text)) => {
            let wanted = Position(number(name, text)?);
            let waited = state.reads.wait_for(wanted, state.config.request_wait).await;
            waited.map_err(|error| ApiError::query(Kind::Bay, "", error))
        }
    }
}

/// The client's id of the request where it is well-formed, otherwise a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given {
        Some(id) if id.strip_prefix("req-").and_then(canonical_uuid).is_some() => id.to_owned(),
        _ => format!("req-{}", clock::new_uuid()),
    }
}

/// A method for the metrics, which do not grow with what clients make up.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// The answer of a handler that panicked; the panic itself is in the log.
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no words");
    ApiError::Internal(format!("a handler panicked: {words}")).into_response()
}

/// Gives every path its one form: under `/v1`, without a slash at the end, and with the name of an
/// object written so that it is not taken for another resource.
fn with_canonical_path(mut request: Request) -> Request {
    if let Some(uri) = canonical(request.method(), request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn canonical(method: &Method, uri: &Uri) -> Option<Uri> {
    let path = uri.path().trim_end_matches('/');
    let first = path.split('/').nth(1).unwrap_or_default();
    let version = if VERSIONED.contains(first) { "/v1" } else { "" };
    let path = if path.is_empty() { "/" } else { path };
    let mut whole = format!("{version}{path}");
    if routes::names_object(&whole, method) {
        whole = as_name(&whole)?;
    }
    if whole == uri.path() {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let whole: PathAndQuery = format!("{whole}{query}").parse().ok()?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(whole);
    Uri::from_parts(parts).ok()
}

/// A path whose last part the routes take for a name: its first character is percent-encoded,
/// which they decode.
fn as_name(path: &str) -> Option<String> {
    let (parent, name) = path.rsplit_once('/')?;
    let (first, rest) = name.as_bytes().split_first()?;
    Some(format!("{parent}/%{first:02X}{}", std::str::from_utf8(rest).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_nobody_but_the_log() {
        let response = panicked(Box::new("the password is hunter2"));
        assert_eq!(response.status(), 500);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("hunter2"));
    }

    #[test]
    fn every_way_to_write_a_path() {
        for (given, wanted) in [
            ("/", "/"),
            ("/v1", "/v1"),
            ("/v1/", "/v1"),
            ("/v1/bays/?limit=3", "/v1/bays?limit=3"),
            ("/bays", "/v1/bays"),
            ("/bays/b/", "/v1/bays/b"),
            ("/containers/c/logs?tail=1", "/v1/containers/c/logs?tail=1"),
            ("/healthz", "/healthz"),
            ("/metrics/", "/metrics"),
            ("/v3/auth/tokens", "/v3/auth/tokens"),
            ("/v2/", "/v2"),
            ("http://h:1/bays/", "http://h:1/v1/bays"),
        ] {
            let uri: Uri = given.parse().unwrap();
            assert_eq!(canonical(&Method::GET, &uri).unwrap_or(uri).to_string(), wanted);
        }
    }

    #[test]
    fn a_name_that_is_a_route_is_a_name_where_the_route_is_not_asked_for() {
        for collection in Kind::ALL.map(Kind::collection) {
            let path = format!("/v1/{collection}/detail");
            let uri: Uri = path.parse().unwrap();
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(canonical(&method, &uri), None);
            }
            for method in [Method::PATCH, Method::DELETE] {
                let object = format!("/v1/{collection}/{{ident}}");
                let named = format!("/v1/{collection}/%64etail");
                let named = Some(named).filter(|_| routes::takes(&object, &method));
                assert_eq!(canonical(&method, &uri).map(|uri| uri.to_string()), named);
            }
        }
        let uri: Uri = "/bays/detail/?x=1".parse().unwrap();
        let named = canonical(&Method::DELETE, &uri).unwrap().to_string();
        assert_eq!(named, "/v1/bays/%64etail?x=1");
        for (method, path) in [(Method::DELETE, "/v1/events"), (Method::DELETE, "/v1/bays/b")] {
            assert_eq!(canonical(&method, &path.parse().unwrap()), None);
        }
    }
}
