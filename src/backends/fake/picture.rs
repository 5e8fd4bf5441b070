//! A copy of the model at one point, so that a test can continue from there more than once.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::RunState;
use super::engine::{FakeEngine, State, new_notices};
use super::process::{Program, Step};
use crate::ids::Timestamp;

/// Everything that an engine had at a moment.
#[derive(Clone, Debug)]
pub struct Picture {
    state: State,
    began: (Timestamp, Instant),
}

impl FakeEngine {
    /// What it has now.
    pub fn picture(&self) -> Picture {
        let _whole = self.whole();
        let mut state = self.lock().clone();
        // Who listens to this engine hears nothing of the others, and is not kept waiting by them.
        state.notices = new_notices();
        Picture { state, began: self.began }
    }
}

impl Picture {
    /// An engine that goes on from this moment, with the same clock. Its processes go on as well,
    /// but what they had still to write is lost, and so are commands. Must be called where tasks
    /// can be spawned.
    pub fn engine(&self) -> Arc<FakeEngine> {
        let mut state = self.state.clone();
        state.commands.clear();
        state.notices = new_notices();
        let engine = FakeEngine::with(state, self.began);
        for container in engine.all() {
            if container.state == RunState::Restarting {
                engine.restart_later(container);
                continue;
            }
            if !container.has_process() {
                continue;
            }
            let spec = &container.spec;
            let Some(mut program) = Program::of(&spec.command, &spec.environment) else { continue };
            program.steps.retain(|step| matches!(step, Step::Wait(_)));
            tokio::spawn(engine.clone().run(container.engine_id, container.runs, program));
        }
        engine
    }
}
