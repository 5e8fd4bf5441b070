//! Which agents are there, and which work each of them has: what an agent lost with its memory is
//! offered again or is unknown, and what it never answers is given up (rule W8).
//!
//! Pure: says what to do now. Not here: doing it (`reactor`).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::backends::Work;
use crate::bus::{Hello, SessionId};
use crate::ids::{ObjectId, WorkId};

/// Between two calls of [`Sessions::silent`].
pub const TICK: Duration = Duration::from_secs(1);

/// An agent that says nothing for so many ticks is gone: three of its beats. Ticks are counted, and
/// not the time, so that a conductor that stood still itself suspects nobody.
const SILENCE_TICKS: u32 = 15;

/// Work that its agent does not have after this time, an offer and its answer being long over, was
/// lost on the way.
const ON_THE_WAY: Duration = Duration::from_secs(5);

/// Offers of one attempt that may be lost, before it counts as begun and lost.
const MAX_OFFERS: u32 = 5;

/// Sessions of a node that are remembered: an agent that restarts as often in seconds is broken.
const MAX_PAST: usize = 16;

/// What an attempt may take beyond its own limit, which its agent enforces if it is there.
const GRACE: Duration = Duration::from_secs(60);

/// Work that waits so long for its agent says so.
const SAYS_IT_WAITS: Duration = Duration::from_secs(5);

/// What to do with work now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Offer it.
    Offer(Work),
    /// It may have been done, and is not to be done twice.
    Unknown(Work),
}

/// Work that an agent was given, or had when the conductor started.
#[derive(Debug)]
struct Given {
    work: Work,
    /// Whom it was given to; `None` if by an earlier conductor.
    to: Option<SessionId>,
    at: Instant,
    offers: u32,
    /// When it is given up.
    deadline: Option<Instant>,
}

/// Work whose agent is not there.
#[derive(Debug)]
struct Parked {
    work: Work,
    since: Instant,
    is_told: bool,
}

#[derive(Debug)]
struct Agent {
    session: SessionId,
    /// The last beat of it that was heard.
    beat: u64,
    /// Those before it: what is still heard of them was late on its way.
    past: VecDeque<SessionId>,
    /// Ticks since it was heard.
    silent: u32,
}

/// The agents, and what each of them has.
#[derive(Debug, Default)]
pub struct Sessions {
    // In order, so that the same hello has the same consequences in the same order (F49).
    agents: BTreeMap<ObjectId, Agent>,
    given: BTreeMap<WorkId, Given>,
    parked: Vec<Parked>,
}

impl Sessions {
    /// Takes up work that was open when the conductor started: its agent says whether it has it.
    pub fn inherit(&mut self, work: Work, now: Instant) {
        let given = Given { work, to: None, at: now, offers: 0, deadline: None };
        self.given.insert(given.work.id, given);
    }

    /// The work and the session that it is for, if its agent is there to be given it now. It waits
    /// here if not.
    pub fn give(&mut self, work: Work, now: Instant) -> Option<(Work, SessionId)> {
        let Some(agent) = self.agents.get(&work.node_id) else {
            self.parked.retain(|parked| parked.work.id != work.id);
            self.parked.push(Parked { work, since: now, is_told: false });
            return None;
        };
        let session = agent.session;
        let to = Some(session);
        let offers = match self.given.get(&work.id) {
            Some(given) if given.work.attempt == work.attempt && given.to == to => given.offers,
            _ => 0,
        };
        let deadline = work.action.traits().limit.map(|limit| now + limit + GRACE);
        let given = Given { work: work.clone(), to, at: now, offers: offers + 1, deadline };
        self.given.insert(work.id, given);
        Some((work, session))
    }

    /// Forgets work that is not due any more.
    pub fn forget(&mut self, id: WorkId) {
        self.given.remove(&id);
        self.parked.retain(|parked| parked.work.id != id);
    }

    /// Takes in that an agent is there: what to do with the work that it should have.
    pub fn hear(&mut self, hello: &Hello, now: Instant) -> Vec<Next> {
        let Hello { node_id, session, .. } = *hello;
        let holds: HashSet<WorkId> = hello.holds.iter().copied().collect();
        if !self.is_news(hello) {
            return vec![];
        }
        let (mut next, mut lost) = (vec![], vec![]);
        for given in self.given.values_mut().filter(|given| given.work.node_id == node_id) {
            let is_same = given.to == Some(session);
            if holds.contains(&given.work.id) {
                given.to = Some(session);
            } else if !is_same || given.offers >= MAX_OFFERS {
                lost.push(given.work.id);
            } else if now.duration_since(given.at) >= ON_THE_WAY {
                given.at = now;
                next.push(Next::Offer(given.work.clone()));
            }
        }
        for id in lost {
            let Some(Given { mut work, .. }) = self.given.remove(&id) else { continue };
            // It may have been lost in the middle of the attempt.
            work.attempt = work.attempt.saturating_add(1);
            next.push(if work.action.traits().repeatable {
                Next::Offer(work)
            } else {
                Next::Unknown(work)
            });
        }
        let own = self.parked.extract_if(.., |parked| parked.work.node_id == node_id);
        next.extend(own.map(|parked| Next::Offer(parked.work)));
        next
    }

    /// Whether a hello comes after all that was heard of its node.
    fn is_news(&mut self, hello: &Hello) -> bool {
        let Hello { node_id, session, beat, .. } = *hello;
        let Some(agent) = self.agents.get_mut(&node_id) else {
            let agent = Agent { session, beat, past: VecDeque::new(), silent: 0 };
            self.agents.insert(node_id, agent);
            return true;
        };
        if agent.session == session {
            if beat <= agent.beat {
                return false;
            }
        } else if agent.past.contains(&session) {
            return false;
        } else {
            agent.past.push_back(agent.session);
            if agent.past.len() > MAX_PAST {
                agent.past.pop_front();
            }
            agent.session = session;
        }
        (agent.beat, agent.silent) = (beat, 0);
        true
    }

    /// Attempts whose time is over without an outcome. Each is named once.
    pub fn overdue(&mut self, now: Instant) -> Vec<Work> {
        let late = |given: &&mut Given| given.deadline.is_some_and(|deadline| deadline <= now);
        let overdue = self.given.values_mut().filter(late).map(|given| {
            given.deadline = None;
            given.work.clone()
        });
        overdue.collect()
    }

    /// Work that waits for an agent that is not there. Each is named once.
    pub fn unserved(&mut self, now: Instant) -> Vec<Work> {
        let waits = |parked: &&mut Parked| {
            !parked.is_told && now.duration_since(parked.since) >= SAYS_IT_WAITS
        };
        let unserved = self.parked.iter_mut().filter(waits).map(|parked| {
            parked.is_told = true;
            parked.work.clone()
        });
        unserved.collect()
    }

    /// Counts a tick: nodes whose agents are gone. Each is named once.
    pub fn silent(&mut self) -> Vec<ObjectId> {
        let silent = self.agents.iter_mut().filter_map(|(id, agent)| {
            agent.silent = agent.silent.saturating_add(1);
            (agent.silent == SILENCE_TICKS).then_some(*id)
        });
        silent.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::backends::{Action, Exec, Operation};
    use crate::ids::{EventId, Kind, ProjectId, StreamId};
    use uuid::Uuid;

    fn node() -> ObjectId {
        ObjectId(Uuid::from_u128(9))
    }

    fn work(number: u128, action: Action) -> Work {
        Work {
            id: EventId(Uuid::from_u128(number)),
            attempt: 1,
            not_before: None,
            due_at: None,
            stream: StreamId::new(Kind::Container, ObjectId(Uuid::from_u128(number))),
            project: ProjectId::default(),
            node_id: node(),
            request_id: String::new(),
            action,
        }
    }

    fn start(number: u128) -> Work {
        work(number, Action::Do(Operation::Start))
    }

    fn execute(number: u128) -> Work {
        work(number, Action::Exec(Exec::Start { command: vec![] }))
    }

    /// Each is later than those before it.
    fn hello(session: u128, holds: &[u128]) -> Hello {
        static BEATS: AtomicU64 = AtomicU64::new(1);
        Hello {
            node_id: node(),
            session: SessionId(Uuid::from_u128(session)),
            beat: BEATS.fetch_add(1, Ordering::Relaxed),
            holds: holds.iter().map(|number| EventId(Uuid::from_u128(*number))).collect(),
        }
    }

    fn second(mut work: Work) -> Work {
        work.attempt += 1;
        work
    }

    /// The offers first.
    fn sorted(mut next: Vec<Next>) -> Vec<Next> {
        next.sort_by_key(|next| matches!(next, Next::Unknown(_)));
        next
    }

    #[test]
    fn work_waits_for_its_agent_and_says_so_once() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        assert_eq!(sessions.give(start(1), now), None);
        assert_eq!(sessions.unserved(now), []);
        assert_eq!(sessions.unserved(now + SAYS_IT_WAITS), [start(1)]);
        assert_eq!(sessions.unserved(now + SAYS_IT_WAITS), []);
        assert_eq!(sessions.hear(&hello(1, &[]), now), [Next::Offer(start(1))]);
        assert_eq!(sessions.hear(&hello(1, &[]), now), []);
        let first = SessionId(Uuid::from_u128(1));
        assert_eq!(sessions.give(start(2), now), Some((start(2), first)));
    }

    #[test]
    fn w8_a_new_session_is_offered_what_the_old_one_had_but_nothing_twice() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        sessions.hear(&hello(1, &[]), now);
        sessions.give(start(1), now);
        sessions.give(execute(2), now);
        let next = sorted(sessions.hear(&hello(2, &[]), now));
        assert_eq!(next, [Next::Offer(second(start(1))), Next::Unknown(second(execute(2)))]);
    }

    #[test]
    fn a_new_conductor_leaves_alone_what_the_agent_still_has() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        sessions.inherit(execute(1), now);
        sessions.inherit(execute(2), now);
        sessions.inherit(start(3), now);
        let next = sorted(sessions.hear(&hello(1, &[1]), now));
        assert_eq!(next, [Next::Offer(second(start(3))), Next::Unknown(second(execute(2)))]);
    }

    #[test]
    fn an_offer_that_was_lost_is_made_again_as_the_same_attempt() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        sessions.hear(&hello(1, &[]), now);
        sessions.give(execute(1), now);
        assert_eq!(sessions.hear(&hello(1, &[]), now), [], "it may be on its way");
        let later = now + ON_THE_WAY;
        assert_eq!(sessions.hear(&hello(1, &[1]), later), [], "it arrived");
        assert_eq!(sessions.hear(&hello(1, &[]), later), [Next::Offer(execute(1))]);
        for _ in 1..MAX_OFFERS {
            sessions.give(execute(1), now);
        }
        assert_eq!(sessions.hear(&hello(1, &[]), later), [Next::Unknown(second(execute(1)))]);
        sessions.forget(execute(1).id);
        assert_eq!(sessions.hear(&hello(2, &[]), later), []);
    }

    #[test]
    fn a_hello_that_comes_late_says_nothing() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (old, older) = (hello(1, &[]), hello(1, &[]));
        sessions.hear(&older, now);
        sessions.hear(&hello(2, &[]), now);
        sessions.give(execute(1), now);
        assert_eq!(sessions.hear(&old, now), [], "of a session that is over");
        let late = hello(2, &[]);
        sessions.hear(&hello(2, &[1]), now);
        assert_eq!(sessions.hear(&late, now + ON_THE_WAY), [], "overtaken");
    }

    #[test]
    fn an_attempt_without_an_outcome_is_given_up() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        sessions.hear(&hello(1, &[]), now);
        sessions.give(start(1), now);
        sessions.give(execute(2), now);
        let end = now + Action::Do(Operation::Start).traits().limit.unwrap() + GRACE;
        assert_eq!(sessions.overdue(end - Duration::from_secs(1)), []);
        assert_eq!(sessions.overdue(end), [start(1)], "a command may take for ever");
        assert_eq!(sessions.overdue(end), []);
    }

    #[test]
    fn an_agent_that_says_nothing_is_gone_until_it_is_heard_again() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        sessions.hear(&hello(1, &[]), now);
        let mut ticks =
            |count: u32| -> Vec<ObjectId> { (0..count).flat_map(|_| sessions.silent()).collect() };
        assert_eq!(ticks(SILENCE_TICKS - 1), []);
        assert_eq!(ticks(100), [node()]);
        sessions.hear(&hello(1, &[]), now);
        assert_eq!(sessions.silent(), []);
    }
}
