//! What can go wrong in the model.
//!
//! Not here: how a fault is set (`knobs`), and what it does (`mod`).

use std::collections::VecDeque;

use super::super::BackendError;

/// What goes wrong with a piece of work. Each fault strikes once, in the order they were set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and this is the answer.
    Fail(BackendError),
    /// It is done twice, as when it is handed over twice.
    Repeat,
    /// It is not done before a [`super::FakeEngine::release`].
    Hang,
    /// It is done, and this is the answer.
    LoseAnswer(BackendError),
    /// It is done, and this is told of how far it is.
    Tell(String),
}

/// What will go wrong, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// With the next pieces of work.
    pub(super) work: VecDeque<Fault>,
    /// With a step of recreating a container, after so many others.
    pub(super) step: Option<(usize, BackendError)>,
    /// With the next inspection.
    pub(super) inspection: Option<BackendError>,
}
