//! Counts and times responses. Not here: how they are shown (`metrics`).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From half a millisecond to the longest wait for an outcome.
const SECONDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 30.0];

/// What requests are told apart by.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    method: String,
    route: String,
    status: u16,
}

/// What durations are told apart by.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
}

/// What was counted since the start.
pub struct Requests {
    requests: Family<Answered, Counter>,
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
}

impl Default for Requests {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        Self { requests: Family::default(), durations: Family::new_with_constructor(histogram) }
    }
}

impl Requests {
    /// Counts an answer. `route` is a path of the route table, never one that a client made up.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        let asked = RequestLabels { method: method.clone(), route: route.clone() };
        self.durations.get_or_create(&asked).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { method, route, status }).inc();
    }

    /// Adds what was counted to what is shown.
    pub fn register(&self, registry: &mut Registry) {
        let (requests, durations) = (self.requests.clone(), self.durations.clone());
        registry.register("http_requests", "Responses by route and status", requests);
        registry.register(
            "http_request_seconds",
            "Time to the first byte of the response",
            durations,
        );
    }
}
