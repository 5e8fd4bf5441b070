//! One request to a Magnum server: its path, its arguments and its body.
//!
//! Not here: sending it (`client`).

use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use crate::clock;
use crate::ids::Kind;

/// One request.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// How.
    pub method: Method,
    kind: Option<Kind>,
    /// The segments of the path.
    pub path: Vec<&'a str>,
    query: Vec<(&'a str, String)>,
    /// The body, which is JSON.
    pub body: Option<Value>,
    /// Headers besides those of every request.
    pub headers: Vec<(&'static str, String)>,
    /// Whether the command makes it to several objects.
    pub one_of_many: bool,
    /// Which one it is where a command makes several changes to one object, for their keys.
    pub part: Option<&'static str>,
    /// What makes it exactly-once, where the user gives no key.
    pub key: Option<String>,
}

impl<'a> Call<'a> {
    /// A request to a collection.
    pub fn new(method: Method, kind: Kind) -> Self {
        Self { kind: Some(kind), ..Self::at(method, kind.collection()) }
    }

    /// A request to another path below `/v1`.
    pub fn at(method: Method, path: &'a str) -> Self {
        Self {
            method,
            kind: None,
            path: vec![path],
            query: Vec::new(),
            body: None,
            headers: Vec::new(),
            one_of_many: false,
            part: None,
            key: None,
        }
    }

    /// One more segment of the path: an object, an action. Encoded here.
    #[must_use]
    pub fn segment(mut self, segment: &'a str) -> Self {
        self.path.push(segment);
        self
    }

    /// One more query argument, if it is given.
    #[must_use]
    pub fn query(mut self, name: &'a str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// The JSON body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Says that the command makes this change to several objects, each of which needs an
    /// idempotency key of its own.
    #[must_use]
    pub fn one_of_many(mut self, many: bool) -> Self {
        self.one_of_many = many;
        self
    }

    /// Says which of several changes it is that the command makes to one object.
    #[must_use]
    pub fn part(mut self, part: &'static str) -> Self {
        self.part = Some(part);
        self
    }

    /// With a key of its own, so that it can be repeated to ask for its outcome.
    #[must_use]
    pub fn keyed(mut self) -> Self {
        self.key = Some(clock::new_uuid().to_string());
        self
    }

    /// Whether it may change something.
    pub fn is_change(&self) -> bool {
        self.method != Method::GET
    }

    /// Whether it deletes something.
    pub fn is_delete(&self) -> bool {
        self.method == Method::DELETE
    }

    /// The address. The old clients put a slash before the question mark of a list; so do we.
    pub fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(&self.path);
            if self.path.len() == 1 && self.kind.is_some() && !self.query.is_empty() {
                segments.push("");
            }
        }
        if let (Some(_), [collection, "detail"]) = (self.kind, &*self.path) {
            // An object of this name, and not the list.
            let path = url.path().trim_end_matches("detail").to_owned();
            debug_assert!(path.ends_with(&format!("{collection}/")), "the end of the path");
            url.set_path(&format!("{path}%64etail"));
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }

    /// A command that helps with an error, chosen by its code.
    pub fn next(&self, status: StatusCode, body: &Value) -> Option<String> {
        let noun = self.kind?.name();
        let object = self.path.get(1).copied();
        let code = body.pointer("/errors/0/code").and_then(Value::as_str);
        match (code, object) {
            (_, Some(id)) if self.path.get(2) == Some(&"executions") => {
                Some(format!("magnum {noun}-execution-list {id}"))
            }
            (Some("work-unknown"), Some(id)) => Some(format!("magnum {noun}-history {id}")),
            (Some("illegal-transition" | "conflict" | "work-failed" | "queue-full"), Some(id)) => {
                Some(format!("magnum {noun}-show {id}"))
            }
            (Some("ambiguous-name"), _) => Some(format!("magnum {noun}-list")),
            _ if status == StatusCode::NOT_FOUND => Some(format!("magnum {noun}-list")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(call: &Call<'_>) -> String {
        call.url(&Url::parse("http://h:1/").unwrap()).to_string()
    }

    #[test]
    fn names_are_encoded_in_paths_and_commands_in_queries() {
        let call = Call::new(Method::PUT, Kind::Container).segment("a b/c%?#").segment("execute");
        assert_eq!(
            url(&call.query("command", Some("ls -l /tmp"))),
            "http://h:1/v1/containers/a%20b%2Fc%25%3F%23/execute?command=ls+-l+%2Ftmp"
        );
    }

    #[test]
    fn an_object_whose_name_is_a_route_is_not_the_list() {
        let call = Call::new(Method::GET, Kind::Bay).segment("detail");
        assert_eq!(url(&call), "http://h:1/v1/bays/%64etail");
        assert_eq!(url(&call.segment("why")), "http://h:1/v1/bays/detail/why");
        let list = Call::at(Method::GET, "bays").segment("detail");
        assert_eq!(url(&list), "http://h:1/v1/bays/detail");
    }

    #[test]
    fn lists_have_a_slash_only_before_a_question_mark() {
        let list = Call::new(Method::GET, Kind::Bay);
        assert_eq!(url(&list), "http://h:1/v1/bays");
        assert_eq!(url(&list.query("limit", Some(3))), "http://h:1/v1/bays/?limit=3");
        let none = Call::new(Method::GET, Kind::Bay).query("limit", None::<u8>);
        assert_eq!(url(&none), "http://h:1/v1/bays");
    }

    #[test]
    fn a_prefix_of_the_server_stays() {
        let base = Url::parse("http://h/magnum").unwrap();
        let call = Call::at(Method::GET, "events").segment("stream");
        assert_eq!(call.url(&base).as_str(), "http://h/magnum/v1/events/stream");
    }
}
