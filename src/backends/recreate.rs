//! Recreating a container: the one that runs is stopped and set aside under another name, the new
//! one takes its place, and the old one is removed once the new one is there, and runs if it is to.
//! If that fails, the old one comes back.
//!
//! One way for all engines, over the few calls that it needs of one ([`Replacing`]). Each attempt
//! looks at what the engine has, so an attempt may end at any step (rule W3): a container that was
//! made by this work is the new one, and one with the name of what is set aside the old one. Not
//! here: the calls.

use async_trait::async_trait;

use super::action::Recreation;
use super::{BackendError, Done, Progress, Reporter, RunState, Work, labels};
use crate::events::container::RecreateStep;
use crate::events::run::{Run, RunEnd};
use crate::ids::{StreamId, WorkId};

/// A container that has part in it.
#[derive(Debug)]
pub(super) struct Part {
    /// The engine's id.
    pub(super) id: String,
    /// The work that made it.
    pub(super) work_id: Option<WorkId>,
    /// Whether it runs.
    pub(super) state: RunState,
    /// How its process ended, if it has none any more.
    pub(super) end: Option<RunEnd>,
    /// Its process, or its last one.
    pub(super) run: Run,
}

/// Our containers for one object.
#[derive(Debug)]
pub(super) struct Places {
    /// The one in its place.
    pub(super) current: Option<Part>,
    /// The one that is set aside.
    pub(super) aside: Option<Part>,
}

impl Places {
    fn new_one(&self, work: &Work) -> Option<&Part> {
        self.current.as_ref().filter(|one| one.work_id == Some(work.id))
    }
}

/// What recreating needs of an engine.
#[async_trait]
pub(super) trait Replacing: Send + Sync {
    /// What there is of an object.
    async fn parts(&self, stream: StreamId) -> Result<Places, BackendError>;
    /// Gets ready all that the new container needs while the old one runs: its image, the network.
    async fn prepare(
        &self,
        work: &Work,
        wanted: &Recreation,
        reporter: &dyn Reporter,
    ) -> Result<(), BackendError>;
    /// Stops a container.
    async fn halt(&self, id: &str, reporter: &dyn Reporter) -> Result<(), BackendError>;
    /// Gives it another name.
    async fn rename(&self, id: &str, name: &str) -> Result<(), BackendError>;
    /// Makes the new one, not running, with the volumes of the old one, if there is one; the
    /// engine's id of it.
    async fn make(
        &self,
        work: &Work,
        wanted: &Recreation,
        old: Option<&str>,
        reporter: &dyn Reporter,
    ) -> Result<String, BackendError>;
    /// Starts a container.
    async fn launch(&self, id: &str) -> Result<(), BackendError>;
    /// Removes a container, running or not.
    async fn discard(&self, id: &str) -> Result<(), BackendError>;
}

/// Recreates a container; one that is not there is made.
pub(super) async fn recreate(
    engine: &dyn Replacing,
    work: &Work,
    wanted: &Recreation,
    reporter: &dyn Reporter,
) -> Result<Done, BackendError> {
    let found = engine.parts(work.stream).await?;
    let (is_made, is_touched) = (found.new_one(work).is_some(), found.aside.is_some());
    if !is_made {
        match engine.prepare(work, wanted, reporter).await {
            Ok(()) => tell(reporter, RecreateStep::Prepared).await,
            Err(error) if is_touched => return Err(undone(engine, work, wanted, error).await),
            Err(error) => return Err(error),
        }
    }
    let made = match replace(engine, work, wanted, found, reporter).await {
        Ok(made) => made,
        Err(error) => {
            let error = undone(engine, work, wanted, error).await;
            tell(reporter, RecreateStep::Restored).await;
            return Err(error);
        }
    };
    let Places { current, aside } = engine.parts(work.stream).await?;
    if let Some(old) = &aside {
        engine.discard(&old.id).await?;
    }
    let (end, run) = (aside.and_then(|old| old.end), current.map(|new| new.run));
    let run = run.filter(|_| wanted.start);
    Ok(Done { engine_id: Some(made), end, run, ..Done::default() })
}

/// From the old container to the new one; the engine's id of that.
async fn replace(
    engine: &dyn Replacing,
    work: &Work,
    wanted: &Recreation,
    found: Places,
    reporter: &dyn Reporter,
) -> Result<String, BackendError> {
    let (made, state) = match found.current {
        Some(one) if one.work_id == Some(work.id) => (one.id, one.state),
        current => {
            let old = set_aside(engine, work, current, found.aside, reporter).await?;
            if old.is_some() {
                tell(reporter, RecreateStep::SetAside).await;
            }
            let made = engine.make(work, wanted, old.as_deref(), reporter).await?;
            tell(reporter, RecreateStep::Made).await;
            (made, RunState::Created)
        }
    };
    // One that has run and ended since was started by an attempt whose answer was lost.
    if wanted.start && state == RunState::Created {
        engine.launch(&made).await?;
        tell(reporter, RecreateStep::Started).await;
    }
    Ok(made)
}

/// Stops the old container, if there is one, and takes its name from it; the engine's id of it. One
/// that is there as well as another one that is set aside is the one that counts.
async fn set_aside(
    engine: &dyn Replacing,
    work: &Work,
    current: Option<Part>,
    aside: Option<Part>,
    reporter: &dyn Reporter,
) -> Result<Option<String>, BackendError> {
    let (old, is_named) = match (current, aside) {
        (Some(old), stale) => {
            if let Some(stale) = stale {
                engine.discard(&stale.id).await?;
            }
            (Some(old), false)
        }
        (None, aside) => (aside, true),
    };
    let Some(old) = old else { return Ok(None) };
    // The engine may have started it again with itself.
    if !old.state.has_ended() {
        engine.halt(&old.id, reporter).await?;
    }
    if !is_named {
        engine.rename(&old.id, &labels::aside_name(work.stream.id)).await?;
    }
    Ok(Some(old.id))
}

/// Brings the old container back after an error, and says what came of it. While the engine is
/// away nothing can be done, and the next attempt goes on; after a cancelled one the delete that
/// follows removes both.
async fn undone(
    engine: &dyn Replacing,
    work: &Work,
    wanted: &Recreation,
    error: BackendError,
) -> BackendError {
    if matches!(error, BackendError::Unavailable(_) | BackendError::Cancelled) {
        return error;
    }
    // It is the new one that did not start, and the exit code is its, not that of the old one.
    let error = match error {
        BackendError::NotStarted { words, .. } => BackendError::Refused(words),
        other => other,
    };
    match bring_back(engine, work, wanted).await {
        Err(again) => BackendError::Failed(format!(
            "{error}; the container as it was could not be brought back: {again}"
        )),
        Ok(false) => error,
        Ok(true) => told(error, "; the container as it was is back"),
    }
}

/// Brings the old container back; whether there is one.
async fn bring_back(
    engine: &dyn Replacing,
    work: &Work,
    wanted: &Recreation,
) -> Result<bool, BackendError> {
    let found = engine.parts(work.stream).await?;
    let (new, old) = match found.current {
        Some(one) if one.work_id == Some(work.id) => (Some(one), None),
        current => (None, current),
    };
    if let Some(new) = new {
        engine.discard(&new.id).await?;
    }
    let old = match (old, found.aside) {
        (Some(old), _) => old,
        (None, Some(aside)) => {
            engine.rename(&aside.id, &labels::container_name(work.stream.id)).await?;
            aside
        }
        (None, None) => return Ok(false),
    };
    if wanted.start && old.state.has_ended() {
        engine.launch(&old.id).await?;
    }
    Ok(true)
}

/// An error with more words.
fn told(error: BackendError, more: &str) -> BackendError {
    match error {
        BackendError::Refused(words) | BackendError::Missing(words) => {
            BackendError::Refused(words + more)
        }
        BackendError::Failed(words) => BackendError::Failed(words + more),
        BackendError::TimedOut(words) => BackendError::TimedOut(words + more),
        other => other,
    }
}

async fn tell(reporter: &dyn Reporter, step: RecreateStep) {
    reporter.progress(Progress { step: Some(step), ..Progress::default() }).await;
}
