//! One method of one path: its handler and its documentation.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::ToSchema;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::{HttpMethod, RefOr, Schema};

use super::edge::state::AppState;

/// Pushes a type's schema with those it needs; its name.
pub type Register = fn(&mut Schemas) -> String;

/// Schemas by name.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// Adds a type's schema with those it needs; its name.
pub fn register<T: ToSchema>(schemas: &mut Schemas) -> String {
    T::schemas(schemas);
    let name = T::name().into_owned();
    schemas.push((name.clone(), T::schema()));
    name
}

/// One method of one path.
#[derive(Clone)]
pub struct Route {
    /// With `{ident}` for a name or uuid.
    pub path: String,
    /// For the document.
    pub method: HttpMethod,
    /// For the router.
    pub handler: MethodRouter<AppState>,
    /// What it does, in a few words.
    pub summary: String,
    /// The names of its arguments.
    pub query: Vec<&'static str>,
    /// Its other arguments.
    pub filters: Vec<Parameter>,
    /// The schema of its body.
    pub body: Option<Register>,
    /// The status of success.
    pub status: u16,
    /// The schema of its answer.
    pub answer: Option<Register>,
    /// Another status that is no refusal: what it means, and the schema of its answer.
    pub other: Option<(u16, &'static str, Option<Register>)>,
    /// The content types of its answer where that is not JSON.
    pub text: &'static [&'static str],
}

impl Route {
    /// The method as a request says it.
    pub const fn method_name(&self) -> &'static str {
        match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Patch => "PATCH",
            HttpMethod::Delete => "DELETE",
            HttpMethod::Head => "HEAD",
            HttpMethod::Options => "OPTIONS",
            HttpMethod::Trace => "TRACE",
        }
    }

    /// With these names of arguments, after those that it has.
    #[must_use]
    pub fn query(mut self, names: &'static str) -> Self {
        self.query.extend(names.split_whitespace());
        self
    }

    /// With arguments that it has besides.
    #[must_use]
    pub fn filters(mut self, filters: Vec<Parameter>) -> Self {
        self.filters = filters;
        self
    }

    /// With the schema of its body, which this pushes.
    #[must_use]
    pub const fn takes(mut self, register: Register) -> Self {
        self.body = Some(register);
        self
    }

    /// With the schema of its answer.
    #[must_use]
    pub fn answers<T: ToSchema>(self) -> Self {
        self.answers_as(register::<T>)
    }

    /// With the schema of its answer, which this pushes.
    #[must_use]
    pub const fn answers_as(mut self, register: Register) -> Self {
        self.answer = Some(register);
        self
    }

    /// With the schema of its answer where it does not wait for the outcome.
    #[must_use]
    pub fn waits<T: ToSchema>(self) -> Self {
        self.waits_as(register::<T>)
    }

    /// With the same, which this pushes.
    #[must_use]
    pub const fn waits_as(self, register: Register) -> Self {
        self.or(202, "Recorded and still in progress: the object as it is", Some(register))
    }

    /// With another status that is no refusal.
    #[must_use]
    pub const fn or(
        mut self,
        status: u16,
        meaning: &'static str,
        answer: Option<Register>,
    ) -> Self {
        self.other = Some((status, meaning, answer));
        self
    }

    /// That status.
    pub fn status_of_other(&self) -> Option<u16> {
        self.other.map(|(status, ..)| status)
    }

    /// Its method.
    pub const fn verb(&self) -> Method {
        match self.method {
            HttpMethod::Post => Method::POST,
            HttpMethod::Put => Method::PUT,
            HttpMethod::Patch => Method::PATCH,
            HttpMethod::Delete => Method::DELETE,
            _ => Method::GET,
        }
    }

    /// With text that is not JSON as its answer, in one of these content types.
    #[must_use]
    pub const fn text(mut self, types: &'static [&'static str]) -> Self {
        self.text = types;
        self
    }
}

fn route<H, T>(
    method: HttpMethod,
    filter: MethodFilter,
    path: &str,
    handler: H,
    summary: &str,
) -> Route
where
    H: Handler<T, AppState>,
    T: 'static,
{
    Route {
        path: path.to_owned(),
        status: match method {
            HttpMethod::Post => 201,
            HttpMethod::Delete => 204,
            _ => 200,
        },
        method,
        handler: on(filter, handler),
        summary: summary.to_owned(),
        query: vec![],
        filters: Vec::new(),
        body: None,
        answer: None,
        other: None,
        text: &[],
    }
}

/// Declares a function that makes a route of one method.
macro_rules! methods {
    ($($name:ident $method:ident $filter:ident),*) => {
        $(#[doc = concat!("A route of ", stringify!($filter), ".")]
        pub fn $name<H, T>(path: &str, handler: H, summary: &str) -> Route
        where
            H: Handler<T, AppState>,
            T: 'static,
        {
            route(HttpMethod::$method, MethodFilter::$filter, path, handler, summary)
        })*
    };
}

methods!(get Get GET, post Post POST, put Put PUT, patch Patch PATCH, delete Delete DELETE);
