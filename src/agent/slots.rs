//! Places on a node: so many pieces of work at once, and not all of them for one project.
//!
//! Not here: what takes which kind of place (`node`).

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::ids::ProjectId;

/// For so many places that one project may have, one more is kept for the others. Of those each
/// may have half of what is left, so that there is something for the next one, too: work can take
/// hours.
const SHARE: usize = 2;

/// Places of one kind. Who waits gets the next one that is free and that its project may have. With
/// none left but the last one, only a project that has none may have it.
#[derive(Clone)]
pub struct Slots {
    shared: Arc<SlotState>,
}

struct SlotState {
    state: Mutex<State>,
    returned: Notify,
}

struct State {
    all: usize,
    taken: HashMap<ProjectId, usize>,
    free: usize,
    /// The last ones, of which a project gets half at most of what the others leave.
    kept: usize,
    waiting: VecDeque<Waiting>,
    is_closed: bool,
}

struct Waiting {
    project: ProjectId,
    slot: oneshot::Sender<Slot>,
}

/// How places are taken, as a project may know it: nobody else is named (rule T2).
#[derive(Debug, PartialEq, Eq)]
pub struct Usage {
    /// How many there are.
    pub all: usize,
    own: usize,
    others: usize,
    /// How many projects have those.
    projects: usize,
}

impl Display for Usage {
    /// `8 are taken by this project, 2 by 1 other project`
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { own, others, projects, .. } = self;
        let who = if *projects == 1 { "other project" } else { "other projects" };
        let are = |count: &usize| if *count == 1 { "is" } else { "are" };
        match (own, others) {
            (_, 0) => write!(f, "{own} {} taken by this project", are(own)),
            (0, _) => write!(f, "{others} {} taken by {projects} {who}", are(others)),
            _ => {
                let are = are(own);
                write!(f, "{own} {are} taken by this project, {others} by {projects} {who}")
            }
        }
    }
}

/// A place, until it is dropped.
pub struct Slot {
    project: ProjectId,
    shared: Arc<SlotState>,
}

impl State {
    fn own(&self, project: &ProjectId) -> usize {
        self.taken.get(project).copied().unwrap_or_default()
    }

    /// Whether a project may have a place now: as many as there are, but for the last ones; with
    /// those, half of what the others leave.
    fn admits(&self, project: &ProjectId) -> bool {
        let own = self.own(project);
        self.free > self.kept || own < (own + self.free).div_ceil(2)
    }

    fn take(&mut self, project: &ProjectId) {
        debug_assert!(self.free > 0, "no place is free");
        self.free -= 1;
        *self.taken.entry(project.clone()).or_default() += 1;
    }

    fn put_back(&mut self, project: &ProjectId) {
        self.free += 1;
        debug_assert!(self.free <= self.all, "more places than there are");
        if let Some(own) = self.taken.get_mut(project) {
            *own -= 1;
            if *own == 0 {
                self.taken.remove(project);
            }
        }
    }

    /// The next one that waits and may have a place, which is taken for it.
    fn next(&mut self) -> Option<Waiting> {
        if self.is_closed {
            return None;
        }
        // Handing a place to each of thousands that have gone would nest as deep.
        self.waiting.retain(|waiting| !waiting.slot.is_closed());
        let next = self.waiting.iter().position(|waiting| self.admits(&waiting.project))?;
        let waiting = self.waiting.remove(next)?;
        self.take(&waiting.project);
        Some(waiting)
    }
}

impl SlotState {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_on(self: &Arc<Self>) {
        loop {
            let Some(Waiting { project, slot }) = self.state().next() else { return };
            // One that does not wait any more gives it back at once.
            drop(slot.send(Slot { project, shared: self.clone() }));
        }
    }
}

impl Slots {
    /// So many places for one project, and some more for the others.
    pub fn shared(most: usize) -> Self {
        let kept = most.div_ceil(SHARE);
        let all = most + kept;
        let state = State {
            all,
            taken: HashMap::new(),
            free: all,
            kept,
            waiting: VecDeque::new(),
            is_closed: false,
        };
        Self { shared: Arc::new(SlotState { state: Mutex::new(state), returned: Notify::new() }) }
    }

    /// Who has how many, for one who waits.
    pub fn usage(&self, project: &ProjectId) -> Usage {
        let state = self.shared.state();
        let own = state.own(project);
        let others = state.taken.iter().filter(|(of, _)| *of != project);
        let (projects, others) = others.fold((0, 0), |(n, all), (_, taken)| (n + 1, all + taken));
        Usage { all: state.all, own, others, projects }
    }

    /// Waits for a place; `None` once there are no more.
    pub async fn take(&self, project: &ProjectId) -> Option<Slot> {
        let slot = {
            let mut state = self.shared.state();
            if state.is_closed {
                return None;
            }
            if state.admits(project) {
                state.take(project);
                return Some(Slot { project: project.clone(), shared: self.shared.clone() });
            }
            let (sender, slot) = oneshot::channel();
            state.waiting.push_back(Waiting { project: project.clone(), slot: sender });
            slot
        };
        slot.await.ok()
    }

    /// Gives no place any more.
    pub fn close(&self) {
        let mut state = self.shared.state();
        state.is_closed = true;
        state.waiting.clear();
    }

    /// Gives no place any more, and waits until all are back.
    pub async fn drain(&self) {
        self.close();
        loop {
            let returned = self.shared.returned.notified();
            let is_empty = {
                let state = self.shared.state();
                state.free == state.all
            };
            if is_empty {
                return;
            }
            returned.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.state().put_back(&self.project);
        self.shared.returned.notify_waiters();
        self.shared.hand_on();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn project(name: &str) -> ProjectId {
        ProjectId(name.to_owned())
    }

    fn now(slots: &Slots, name: &str) -> Option<Slot> {
        slots.take(&project(name)).now_or_never().flatten()
    }

    #[test]
    fn no_project_takes_all_places() {
        let slots = Slots::shared(6);
        let all = |name: &str| (0..9).map_while(|_| now(&slots, name)).collect::<Vec<Slot>>();
        let held = ["a", "b", "c", "d"].map(all);
        assert_eq!(held.each_ref().map(Vec::len), [6, 2, 1, 0], "half of what is left, each");
        let [first, ..] = held;
        drop(first);
        assert_eq!(all("d").len(), 3, "three are kept");
    }

    #[tokio::test]
    async fn a_free_place_goes_to_who_has_none_however_long_others_wait() {
        let slots = Slots::shared(6);
        let mut all = |name: &str| (0..9).map_while(|_| now(&slots, name)).collect::<Vec<Slot>>();
        let mut held = ["a", "b", "c"].map(&mut all);
        let names = ["a", "b", "c", "d"].map(project);
        let mut waiting = names.each_ref().map(|name| Box::pin(slots.take(name)));
        assert!(waiting.iter_mut().all(|waits| waits.now_or_never().is_none()));
        held[0].pop();
        let served = waiting.each_mut().map(|waits| waits.now_or_never().is_some());
        assert_eq!(served, [false, false, false, true]);
    }

    #[test]
    fn the_only_place_of_one_project_is_not_that_of_the_others() {
        let slots = Slots::shared(1);
        let slot = now(&slots, "a");
        assert!(slot.is_some() && now(&slots, "a").is_none());
        assert!(now(&slots, "b").is_some());
    }

    #[test]
    fn who_waits_is_told_how_many_are_taken_and_by_nobodys_name() {
        let slots = Slots::shared(6);
        let mut held: Vec<Slot> = (0..6).map_while(|_| now(&slots, "a")).collect();
        assert_eq!(slots.usage(&project("a")).to_string(), "6 are taken by this project");
        assert_eq!(slots.usage(&project("b")).to_string(), "6 are taken by 1 other project");
        held.extend(now(&slots, "b"));
        held.extend(now(&slots, "c"));
        let told = |name: &str| slots.usage(&project(name)).to_string();
        assert_eq!(told("a"), "6 are taken by this project, 2 by 2 other projects");
        assert_eq!(told("c"), "1 is taken by this project, 7 by 2 other projects");
        assert_eq!(told("d"), "8 are taken by 3 other projects");
        assert_eq!(slots.usage(&project("d")).all, 9);
    }

    #[tokio::test]
    async fn a_place_goes_to_the_first_who_may_have_it_and_still_waits() {
        let slots = Slots::shared(3);
        let mut own: Vec<Slot> = (0..4).map_while(|_| now(&slots, "a")).collect();
        let (other, _last) = (now(&slots, "b").unwrap(), now(&slots, "d").unwrap());
        assert_eq!(own.len(), 3);
        let (a, b, c) = (project("a"), project("b"), project("c"));
        let mut late = Box::pin(slots.take(&a));
        let mut left = Box::pin(slots.take(&b));
        let mut third = Box::pin(slots.take(&c));
        for waits in [&mut late, &mut left, &mut third] {
            assert!(waits.now_or_never().is_none());
        }
        drop(left);
        drop(other);
        assert!(third.await.is_some(), "the last place is not for those who have three");
        assert!((&mut late).now_or_never().is_none());
        own.clear();
        assert!(late.await.is_some());
    }

    #[tokio::test]
    async fn draining_waits_for_what_is_taken_and_lets_nothing_start() {
        let slots = Slots::shared(2);
        let held = now(&slots, "a").unwrap();
        let mut drained = Box::pin(slots.drain());
        assert!((&mut drained).now_or_never().is_none());
        assert!(slots.take(&project("b")).await.is_none());
        drop(held);
        drained.await;
    }
}
