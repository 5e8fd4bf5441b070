//! How containers exited, from the engine's events.
//!
//! An inspection reports only the last exit, and hardly anything of it once the engine has started
//! the container again. The engine's events report each exit in full, but it keeps only the last
//! 256 of all containers.
//!
//! An exit has the time of its event. An inspection reports a slightly earlier time, and the
//! previous exit was reported before this run began, so the first event from that time on is about
//! the same exit.
//!
//! Nor is its code always known: the engine writes the labels of a container, those of its image
//! too, over the facts in its events. Where a label has the name of the exit code, only what an
//! inspection says counts, which is the last exit; the codes of those before it are unknown.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::models::EventMessage;

use super::super::{End, Observed};
use super::clock::EngineClock;
use crate::events::signal;
use crate::ids::Timestamp;

/// Notices that are kept of one container, three for each end. The engine waits longer each time
/// that it starts it again, unless it ran for 10 seconds: so these are minutes, and nothing else
/// holds back an inspection for so long.
const NOTICES_MAX: usize = 48;

const NANOS_IN_MICRO: i64 = 1000;

/// What the exit code is called in an event, unless a label of the container has the name.
const EXIT_CODE: &str = "exitCode";

/// What a signal is called in an event, with the same exception.
const SIGNAL: &str = "signal";

/// What events about a container say by its labels, and not by what happened.
#[derive(Clone, Copy, Default)]
pub(super) struct Forged {
    exit_codes: bool,
    signals: bool,
}

/// What events about a container with these labels say by its labels.
pub(super) fn forge(labels: &HashMap<String, String>) -> Forged {
    Forged { exit_codes: labels.contains_key(EXIT_CODE), signals: labels.contains_key(SIGNAL) }
}

/// What a notice says of a container.
#[derive(Clone, Copy)]
enum Word {
    Started,
    OutOfMemory,
    /// It was sent the signal of this number.
    Signalled(u8),
    /// With its exit code, unless that is lost, and when that was by the service's clock.
    Ended(Option<i64>, Timestamp),
}

/// The words of each container by their time in nanoseconds, by the engine's id: no more than
/// there are containers.
type Words = HashMap<String, BTreeMap<i64, Word>>;

/// What an inspection says of a container's last run.
#[derive(Clone, Copy)]
pub(super) struct LastRun {
    /// When its process last started.
    pub(super) started_at: Option<Timestamp>,
    /// When it last ended, even if it runs again.
    pub(super) ended_at: Option<Timestamp>,
}

impl LastRun {
    /// From when on a notice of an end is about its last end. The engine moves the time of an end
    /// when a restart back-off is cancelled, without a notice; the start stays where it was.
    fn end_told_from(self) -> Option<Timestamp> {
        let ended_at = self.ended_at?;
        Some(self.started_at.filter(|started_at| *started_at <= ended_at).unwrap_or(ended_at))
    }
}

/// What the notices told so far.
#[derive(Clone, Default)]
pub(super) struct Ends {
    words: Arc<Mutex<Words>>,
    /// As it is when a notice is taken in: a clock that is set later changes nothing about it.
    pub(super) clock: Arc<EngineClock>,
}

impl Ends {
    /// Takes in a notice; one that was taken in before changes nothing.
    pub(super) fn hear(&self, event: &EventMessage) {
        let Some(actor) = &event.actor else { return };
        let (Some(id), Some(nanos)) = (actor.id.as_deref(), event.time_nano) else { return };
        let attribute = |name: &str| actor.attributes.as_ref()?.get(name).map(String::as_str);
        let exit_code = || attribute(EXIT_CODE)?.parse().ok();
        match event.action.as_deref() {
            Some("start") => self.note(id, nanos, Word::Started),
            Some("oom") => self.note(id, nanos, Word::OutOfMemory),
            Some("kill") => {
                if let Some(number) = attribute(SIGNAL).and_then(signal::number) {
                    self.note(id, nanos, Word::Signalled(number));
                }
            }
            Some("die") => {
                let at = self.clock.ours(Timestamp(nanos / NANOS_IN_MICRO));
                self.note(id, nanos, Word::Ended(exit_code(), at));
            }
            Some("destroy") => drop(self.lock().remove(id)),
            _ => {}
        }
    }

    /// Whether a container's last end, by an inspection, is known from the notices.
    pub(super) fn knows(&self, id: &str, run: LastRun) -> bool {
        let words = self.lock();
        let ended = |word: &Word| matches!(word, Word::Ended(..));
        run.end_told_from().is_none_or(|from| {
            words.get(id).is_some_and(|words| words.range(nanos(from)..).any(|(_, it)| ended(it)))
        })
    }

    /// Takes in what the engine has no notice of any more: what an inspection says has to do.
    pub(super) fn suppose(&self, seen: &Observed, run: LastRun) {
        if let Some(ended_at) = run.ended_at.filter(|_| !self.knows(&seen.engine_id, run)) {
            let word = Word::Ended(seen.exit_code, self.clock.ours(ended_at));
            self.note(&seen.engine_id, nanos(ended_at), word);
        }
    }

    /// Adds the ends up to the last one that the inspection knew: of later ones there will be
    /// notices of their own. Exit codes and signals that are forged are left out.
    pub(super) fn complete(
        &self,
        observed: &mut Observed,
        last: Option<Timestamp>,
        forged: Forged,
    ) {
        let Some(last) = last else { return };
        let mut ends = self.lock().get(&observed.engine_id).map(told).unwrap_or_default();
        let later = ends.iter().position(|end| end.finished_at >= last);
        ends.truncate(later.map_or(ends.len(), |later| later + 1));
        for end in &mut ends {
            end.exit_code = end.exit_code.filter(|_| !forged.exit_codes);
            end.signal = end.signal.filter(|_| !forged.signals);
        }
        if observed.finished_at.is_some()
            && let Some(end) = ends.last_mut()
        {
            if forged.exit_codes {
                end.exit_code = observed.exit_code;
            }
            end.oom_killed |= observed.oom_killed;
            observed.oom_killed = end.oom_killed;
            observed.finished_at = Some(end.finished_at);
        }
        observed.ends = ends;
    }

    fn note(&self, id: &str, nanos: i64, word: Word) {
        let mut all = self.lock();
        let words = all.entry(id.to_owned()).or_default();
        words.entry(nanos).or_insert(word);
        // Of signals in a row the last one counts: however many there are, they displace no ends.
        if matches!(word, Word::Signalled(_))
            && let Some((before, Word::Signalled(_))) = words.range(..nanos).next_back()
        {
            let before = *before;
            words.remove(&before);
        }
        if words.len() > NOTICES_MAX {
            words.pop_first();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ends among the words of a container. The engine tells of an OOM kill before the end or after
/// it.
fn told(words: &BTreeMap<i64, Word>) -> Vec<End> {
    let mut ends: Vec<End> = Vec::new();
    let (mut runs, mut oom_killed, mut signal) = (true, false, None);
    for (nanos, word) in words {
        match (word, ends.last_mut()) {
            (Word::Started, _) => (runs, oom_killed, signal) = (true, false, None),
            (Word::Signalled(number), _) => signal = Some(*number),
            (Word::OutOfMemory, Some(end)) if !runs => end.oom_killed = true,
            (Word::OutOfMemory, _) => oom_killed = true,
            (Word::Ended(exit_code, at), _) => {
                let finished_at = Timestamp(nanos / NANOS_IN_MICRO);
                let service_time = Some(*at).filter(|at| *at != finished_at);
                let (exit_code, signal) = (*exit_code, signal.take());
                ends.push(End { exit_code, oom_killed, finished_at, service_time, signal });
                (runs, oom_killed) = (false, false);
            }
        }
    }
    ends
}

const fn nanos(time: Timestamp) -> i64 {
    time.0.saturating_mul(NANOS_IN_MICRO)
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;
    use crate::backends::RunState;

    /// What the engine tells at these microseconds, and what an inspection finds then.
    fn ends(told: &[(i64, &str)], last: i64) -> Vec<(Option<i64>, bool, i64)> {
        ends_of(told, None, last)
    }

    fn ends_of(
        told: &[(i64, &str)],
        started_at: Option<i64>,
        last: i64,
    ) -> Vec<(Option<i64>, bool, i64)> {
        let ends = Ends::default();
        for (micros, word) in told {
            let code = word.strip_prefix("die ");
            ends.hear(&EventMessage {
                action: Some(code.map_or(*word, |_| "die").to_owned()),
                actor: Some(EventActor {
                    id: Some("e1".to_owned()),
                    attributes: code
                        .map(|code| HashMap::from([("exitCode".to_owned(), code.to_owned())])),
                }),
                time_nano: Some(micros * NANOS_IN_MICRO + 1),
                ..EventMessage::default()
            });
        }
        let mut seen = seen_running();
        let ended_at = Some(Timestamp(last));
        ends.suppose(&seen, LastRun { started_at: started_at.map(Timestamp), ended_at });
        ends.complete(&mut seen, ended_at, Forged::default());
        seen.ends.iter().map(|end| (end.exit_code, end.oom_killed, end.finished_at.0)).collect()
    }

    #[test]
    fn a_want_of_memory_belongs_to_the_end_before_or_after_it() {
        let early = [(1, "start"), (2, "oom"), (3, "die 137"), (4, "start"), (5, "die 1")];
        assert_eq!(ends(&early, 5), [(Some(137), true, 3), (Some(1), false, 5)]);
        let late = [(1, "start"), (2, "die 137"), (3, "oom"), (4, "start"), (5, "die 1")];
        assert_eq!(ends(&late, 5), [(Some(137), true, 2), (Some(1), false, 5)]);
        let survived = [(1, "start"), (2, "oom"), (3, "start"), (5, "die 1")];
        assert_eq!(ends(&survived, 5), [(Some(1), false, 5)]);
    }

    #[test]
    fn a_signal_belongs_to_the_end_after_it() {
        let heard = |told: &[(i64, &str, &str)], forged: Forged| {
            let ends = Ends::default();
            for (micros, action, signal) in told {
                ends.hear(&EventMessage {
                    action: Some((*action).to_owned()),
                    actor: Some(EventActor {
                        id: Some("e1".to_owned()),
                        attributes: Some(HashMap::from([
                            ("signal".to_owned(), (*signal).to_owned()),
                            ("exitCode".to_owned(), "137".to_owned()),
                        ])),
                    }),
                    time_nano: Some(micros * NANOS_IN_MICRO),
                    ..EventMessage::default()
                });
            }
            let last = told.last().map(|(micros, ..)| Timestamp(*micros));
            let mut seen = seen_running();
            ends.complete(&mut seen, last, forged);
            seen.ends.iter().map(|end| end.signal).collect::<Vec<_>>()
        };
        let told = [
            (1, "kill", "15"),
            (2, "kill", "9"),
            (3, "die", ""),
            (4, "start", ""),
            (5, "die", ""),
            (6, "start", ""),
            (7, "kill", "1"),
            (8, "die", ""),
        ];
        assert_eq!(heard(&told, Forged::default()), [Some(9), None, Some(1)]);
        let forged = Forged { signals: true, exit_codes: false };
        assert_eq!(heard(&told, forged), [None, None, None]);
        let mut many: Vec<_> = vec![(1, "die", "")];
        many.extend((2..500).map(|micros| (micros, "kill", "18")));
        many.push((500, "die", ""));
        assert_eq!(heard(&many, Forged::default()), [None, Some(18)]);
    }

    fn seen_running() -> Observed {
        Observed {
            engine_id: "e1".to_owned(),
            engine_name: "magnum-1".to_owned(),
            name_is_ours: true,
            state: RunState::Running,
            exit_code: None,
            oom_killed: false,
            finished_at: None,
            ends: vec![],
            restarts: 1,
            run: None,
        }
    }

    #[test]
    fn an_end_is_one_by_the_clock_of_its_notice() {
        let twice = [(3, "die 3"), (3, "die 3")];
        assert_eq!(ends(&twice, 2), [(Some(3), false, 3)]);
        assert_eq!(ends(&[(3, "die 3"), (6, "die 4")], 2), [(Some(3), false, 3)], "not later ones");
        assert_eq!(
            ends(&[(3, "die 3")], 5),
            [(Some(3), false, 3), (None, false, 5)],
            "one is lost"
        );
        assert_eq!(ends(&[(3, "die 3"), (4, "destroy")], 3), [(None, false, 3)]);
    }

    #[test]
    fn the_end_of_a_restart_back_off_is_not_an_end() {
        let told = [(1, "start"), (2, "die 7")];
        assert_eq!(ends_of(&told, Some(1), 9), [(Some(7), false, 2)]);
        let missed = [(Some(7), false, 2), (None, false, 9)];
        assert_eq!(ends_of(&told, Some(5), 9), missed, "it was started again, and ended");
    }

    #[test]
    fn exit_codes_that_a_label_says_are_not_believed() {
        let labels = |name: &str| HashMap::from([(name.to_owned(), "0".to_owned())]);
        let forged = forge(&labels("exitCode"));
        assert!(forged.exit_codes && !forged.signals && !forge(&labels("tier")).exit_codes);
        assert!(forge(&labels("signal")).signals);
        let ends = Ends::default();
        for (micros, action) in [(1, "start"), (2, "die"), (3, "start"), (4, "die")] {
            ends.hear(&EventMessage {
                action: Some(action.to_owned()),
                actor: Some(EventActor {
                    id: Some("e1".to_owned()),
                    attributes: Some(labels("exitCode")),
                }),
                time_nano: Some(micros * NANOS_IN_MICRO),
                ..EventMessage::default()
            });
        }
        let seen = |state, exit_code, finished_at: Option<i64>| {
            let mut seen = Observed {
                state,
                exit_code,
                finished_at: finished_at.map(Timestamp),
                ..seen_running()
            };
            ends.complete(&mut seen, Some(Timestamp(4)), forged);
            seen.ends.iter().map(|end| end.exit_code).collect::<Vec<_>>()
        };
        assert_eq!(seen(RunState::Exited, Some(7), Some(4)), [None, Some(7)]);
        assert_eq!(seen(RunState::Running, None, None), [None, None], "it runs again");
    }

    #[test]
    fn the_oldest_notices_make_room() {
        let many: Vec<_> = (0..1000).map(|micros| (micros, "die 1")).collect();
        assert_eq!(ends(&many, 999).len(), NOTICES_MAX);
    }
}
