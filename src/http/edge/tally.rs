//! Counts what the event log records: work with its outcomes and how long it took, ends of
//! containers' processes, restarts, pulls.
//!
//! Not here: who reads the log (`app/chronicle`), how it is shown (`http/metrics`).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::events::Verb;
use crate::ids::Kind;

/// From what an engine answers at once to the longest stop: an hour.
const SECONDS: [f64; 12] =
    [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// Exit codes of processes that a signal ended: 128 and its number.
const BY_SIGNAL: std::ops::RangeInclusive<i64> = 129..=192;

/// What came of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is done.
    Done,
    /// It was refused, or every attempt failed.
    Failed,
    /// Nobody knows.
    Unknown,
    /// It never began, because of other work.
    Cancelled,
}

impl Finish {
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
        }
    }
}

/// In which way a process ended.
fn kind_of_end(exit_code: i64, oom_killed: bool) -> &'static str {
    match exit_code {
        _ if oom_killed => "oom",
        0 => "success",
        code if BY_SIGNAL.contains(&code) => "signal",
        _ => "failure",
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Settled {
    noun: &'static str,
    action: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfAction {
    noun: &'static str,
    action: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfResult {
    result: &'static str,
}

/// What was counted since the start.
pub struct Tally {
    work: Family<Settled, Counter>,
    blocked: Family<OfAction, Counter>,
    durations: Family<OfAction, Histogram, fn() -> Histogram>,
    ends: Family<OfKind, Counter>,
    restarts: Counter,
    pulls: Family<OfResult, Counter>,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        Self {
            work: Family::default(),
            blocked: Family::default(),
            durations: Family::new_with_constructor(histogram),
            ends: Family::default(),
            restarts: Counter::default(),
            pulls: Family::default(),
        }
    }
}

impl Tally {
    /// Counts work that ended, so long after it was asked for if that is known.
    pub fn settled(&self, kind: Kind, verb: Verb, result: Finish, took: Option<Duration>) {
        let (noun, action) = (kind.name(), verb.name());
        self.work.get_or_create(&Settled { noun, action, result: result.name() }).inc();
        if let Some(took) = took {
            self.durations.get_or_create(&OfAction { noun, action }).observe(took.as_secs_f64());
        }
    }

    /// Counts work that became blocked.
    pub fn blocked(&self, kind: Kind, verb: Verb) {
        self.blocked.get_or_create(&OfAction { noun: kind.name(), action: verb.name() }).inc();
    }

    /// Counts the end of a process.
    pub fn ended(&self, exit_code: i64, oom_killed: bool) {
        self.ends.get_or_create(&OfKind { kind: kind_of_end(exit_code, oom_killed) }).inc();
    }

    /// Counts a restart by the engine.
    pub fn restarted(&self) {
        self.restarts.inc();
    }

    /// Counts work that pulled an image.
    pub fn pulled(&self, result: Finish) {
        self.pulls.get_or_create(&OfResult { result: result.name() }).inc();
    }

    /// Adds what was counted to what is shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("work", "Work that ended, by action and result", self.work.clone());
        registry.register("work_blocked", "Work that became blocked", self.blocked.clone());
        let seconds = "Time from the request for work to its end";
        registry.register("work_seconds", seconds, self.durations.clone());
        let ends = "Ends of containers' processes: success, failure, signal, oom";
        registry.register("container_ends", ends, self.ends.clone());
        let restarts = "Restarts of containers by the engine's restart policy";
        registry.register("container_restarts", restarts, self.restarts.clone());
        registry.register("pulls", "Pulls of images, by result", self.pulls.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        let kind = kind_of_end;
        assert_eq!(kind(0, false), "success");
        assert_eq!(kind(7, false), "failure");
        assert_eq!(kind(127, false), "failure");
        assert_eq!(kind(143, false), "signal");
        assert_eq!(kind(137, false), "signal");
        assert_eq!(kind(137, true), "oom");
        assert_eq!(kind(255, false), "failure");
    }
}
