//! The processes of the model's containers, from start to exit and restart.

use std::sync::Arc;
use std::time::Duration;

use super::super::{BackendError, RunState};
use super::container::{FakeContainer, FakeLine};
use super::engine::{FakeEngine, KILLED};
use super::process::{Program, Step};
use crate::ids::{ObjectId, StreamId};

/// The number of `SIGKILL`.
const SIGKILL: u8 = 9;

/// Exit code of a program that does not exist.
const NOT_FOUND: i64 = 127;

/// Delay before the engine starts an ended container again, doubled each time up to a minute.
const RESTART_DELAY: Duration = Duration::from_millis(100);
const RESTART_DOUBLINGS_MAX: u32 = 9;

impl FakeEngine {
    /// Starts a container's process, as somebody asked for. It needs its bay's network.
    pub(super) fn start(self: &Arc<Self>, id: &str) -> Result<(), BackendError> {
        self.require_network(id)?;
        self.begin(id, FakeContainer::started)
    }

    /// Lets the process begin of a container that is about to be started by this.
    pub(super) fn begin(
        self: &Arc<Self>,
        id: &str,
        started: impl FnOnce(&mut FakeContainer),
    ) -> Result<(), BackendError> {
        let Some(container) = self.lock().containers.get(id).cloned() else { return Ok(()) };
        let spec = &container.spec;
        let program = Program::of(&spec.command, &spec.environment).ok_or_else(|| {
            let words = "executable file not found in $PATH".to_owned();
            BackendError::NotStarted { words, exit_code: NOT_FOUND }
        })?;
        let now = self.now();
        self.alter(id, |one| {
            started(one);
            one.began_at = Some(now);
        });
        tokio::spawn(Arc::clone(self).run(id.to_owned(), container.runs + 1, program));
        Ok(())
    }

    /// What a process does until it ends, or the container runs another.
    pub(super) async fn run(self: Arc<Self>, id: String, run: u64, program: Program) {
        for step in program.steps {
            match step {
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Write(stream, text) => {
                    let line = FakeLine { at: self.now(), stream, text };
                    let mut state = self.lock();
                    let container = state.containers.get_mut(&id);
                    let Some(container) = container.filter(|one| one.runs == run) else { return };
                    container.lines.push(line);
                }
            }
            self.changes.send_modify(|count| *count += 1);
        }
        let Some(code) = program.exit_code else { return };
        let mut changes = self.changes.subscribe();
        loop {
            let container = self.lock().containers.get(&id).filter(|one| one.runs == run).cloned();
            match container.map(|one| one.state) {
                Some(RunState::Running) => return self.end_by_itself(&id, code, false),
                // A frozen process ends when it is let go.
                Some(RunState::Paused) => drop(changes.changed().await),
                _ => return,
            }
        }
    }

    /// Ends a container's process, for good.
    pub(super) fn end(&self, id: &str, exit_code: i64, oom_killed: bool) {
        let now = self.now();
        self.alter(id, |one| {
            one.ended(exit_code, oom_killed, now);
            one.was_ended = true;
        });
    }

    /// `SIGKILL` ends a container's process, for good.
    pub(super) fn kill(&self, id: &str) {
        self.alter(id, |one| one.signal = Some(SIGKILL));
        self.end(id, KILLED, false);
    }

    /// A container's process ends though nobody asked for that: its restart policy holds.
    pub(super) fn end_by_itself(self: &Arc<Self>, id: &str, exit_code: i64, oom_killed: bool) {
        let found = self.lock().containers.get(id).filter(|one| one.has_process()).cloned();
        let Some(container) = found else { return };
        let now = self.now();
        self.alter(id, |one| one.ended(exit_code, oom_killed, now));
        if container.restarts_after(exit_code) {
            self.alter(id, |one| one.state = RunState::Restarting);
            self.restart_later(container);
        }
    }

    /// Starts a container again after its back-off, unless something else happens to it.
    pub(super) fn restart_later(self: &Arc<Self>, container: FakeContainer) {
        let delay = RESTART_DELAY * 2_u32.pow(container.restarts.min(RESTART_DOUBLINGS_MAX));
        let (engine, id) = (Arc::clone(self), container.engine_id);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let waits = |one: &&FakeContainer| {
                one.runs == container.runs && one.state == RunState::Restarting
            };
            let is_due = {
                let state = engine.lock();
                !state.is_down && state.containers.get(&id).filter(waits).is_some()
            };
            if is_due {
                engine.restart(&id);
            }
        });
    }

    /// The engine starts a container by itself.
    fn restart(self: &Arc<Self>, id: &str) {
        let Some(container) = self.lock().containers.get(id).cloned() else { return };
        match self.require_sandbox(&container) {
            Ok(()) => drop(self.begin(id, FakeContainer::restarted)),
            Err(_) => self.alter(id, |one| one.state = RunState::Exited),
        }
    }

    /// Every process ends with the engine, unseen.
    pub(super) fn end_all(&self) {
        let now = self.now();
        for one in self.lock().containers.values_mut() {
            one.ended(KILLED, false, now);
        }
    }

    /// The engine, which was down, starts what it has to.
    pub(super) fn restart_all(self: &Arc<Self>) {
        let mut all = self.all();
        all.retain(|one| !one.is_alive() && one.restarts_with_engine());
        for one in all {
            self.restart(&one.engine_id);
        }
    }

    /// Waits as long as a stop does: until the grace period is over or the process has ended.
    pub(super) async fn grace(&self, node_id: ObjectId, stream: StreamId, grace: Duration) {
        let mut changes = self.changes.subscribe();
        let ended = async {
            while self.find(node_id, stream).is_some_and(|one| one.ignores_term()) {
                drop(changes.changed().await);
            }
        };
        drop(tokio::time::timeout(grace, ended).await);
    }

    /// Waits until the process that a container has is gone, and all commands in it.
    pub(super) async fn process_gone(&self, container: &FakeContainer) {
        let mut changes = self.changes.subscribe();
        let lives = |now: &FakeContainer| now.runs == container.runs && now.has_process();
        while self.lock().containers.get(&container.engine_id).is_some_and(lives) {
            drop(changes.changed().await);
        }
    }

    /// A line of a container's output; waits for it where it is followed. None at the end.
    pub(super) async fn line(
        &self,
        id: &str,
        number: usize,
        follow: bool,
    ) -> Result<Option<FakeLine>, BackendError> {
        let mut changes = self.changes.subscribe();
        loop {
            self.answers()?;
            let (line, more) = match self.lock().containers.get(id) {
                Some(container) => (container.lines.get(number).cloned(), container.is_alive()),
                None => return Ok(None),
            };
            if line.is_some() || !(follow && more) {
                return Ok(line);
            }
            drop(changes.changed().await);
        }
    }
}
