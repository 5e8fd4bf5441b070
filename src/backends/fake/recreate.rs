//! How a container of the model is made, and what changes one that is there: its name, its limits,
//! and what recreating it needs: each call is one step, before which a test can make it fail.

use async_trait::async_trait;

use super::super::action::Recreation;
use super::super::recreate::{Part, Places, Replacing};
use super::super::{
    BackendError, Done, Reporter, Work, labels, name_taken, no_network, unless_cancelled,
};
use super::FakeBackend;
use super::container::FakeContainer;
use super::engine::{FakeEngine, missing};
use crate::events::container::{ContainerSpec, Limits};
use crate::ids::{ObjectId, StreamId};

impl FakeEngine {
    /// Every container that it has, whosever it is.
    pub(super) fn all(&self) -> Vec<FakeContainer> {
        self.lock().containers.values().cloned().collect()
    }

    /// A node's containers for an object, the oldest first.
    pub(super) fn all_of(&self, node_id: ObjectId, stream: StreamId) -> Vec<FakeContainer> {
        let ours = |container: &&FakeContainer| {
            container.node_id == Some(node_id) && container.stream == Some(stream)
        };
        self.lock().containers.values().filter(ours).cloned().collect()
    }

    /// Does the work of making a container.
    pub(super) fn create(
        &self,
        work: &Work,
        name: Option<&str>,
        bay_id: ObjectId,
        spec: &ContainerSpec,
    ) -> Result<Done, BackendError> {
        let _whole = self.whole();
        let id = self.make(work, name, bay_id, spec)?;
        self.lock().effects.push((work.id, work.action.name()));
        Ok(Done { engine_id: Some(id), ..Done::default() })
    }

    /// Makes a container that was not there; its id.
    pub(super) fn make(
        &self,
        work: &Work,
        name: Option<&str>,
        bay_id: ObjectId,
        spec: &ContainerSpec,
    ) -> Result<String, BackendError> {
        let labels = labels::of_container(work, name, bay_id, &spec.labels, &[])?;
        let mut state = self.lock();
        if !state.networks.contains_key(&(work.node_id, bay_id)) {
            return Err(no_network(bay_id));
        }
        let id = state.new_id();
        let mut container = FakeContainer::new(id.clone(), work, bay_id, labels, spec.clone());
        container.aliases = labels::aliases(name, work.stream.id);
        state.containers.insert(id.clone(), container);
        Ok(id)
    }

    /// Lets a container be reached by a name, and by no other.
    pub(super) fn rename(
        &self,
        node_id: ObjectId,
        work: &Work,
        name: Option<&str>,
    ) -> Result<Done, BackendError> {
        let _whole = self.whole();
        let found = self.find(node_id, work.stream).ok_or_else(|| missing(work.stream))?;
        let aliases = labels::aliases(name, work.stream.id);
        if found.aliases != aliases {
            self.lock().effects.push((work.id, work.action.name()));
            self.alter(&found.engine_id, |one| one.aliases = aliases);
        }
        Ok(Done::default())
    }

    /// Gives a container other limits.
    pub(super) fn adjust(
        &self,
        node_id: ObjectId,
        work: &Work,
        limits: &Limits,
    ) -> Result<Done, BackendError> {
        let _whole = self.whole();
        let found = self.find(node_id, work.stream).ok_or_else(|| missing(work.stream))?;
        let mut spec = found.spec.clone();
        limits.set(&mut spec);
        if spec != found.spec {
            self.lock().effects.push((work.id, work.action.name()));
            self.alter(&found.engine_id, |one| one.spec = spec);
        }
        Ok(Done::default())
    }

    /// Notes that work was done, unless an earlier attempt has.
    pub(super) fn note_once(&self, work: &Work) {
        let mut state = self.lock();
        if !state.effects.iter().any(|(id, _)| *id == work.id) {
            state.effects.push((work.id, work.action.name()));
        }
    }
}

impl FakeBackend {
    /// Whether the next call is made: a fault may stand in its way.
    pub(super) fn step(&self) -> Result<(), BackendError> {
        self.engine.answers()?;
        match self.engine.next_step_fault() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Replacing for FakeBackend {
    async fn parts(&self, stream: StreamId) -> Result<Places, BackendError> {
        self.engine.answers()?;
        let mut all = self.engine.all_of(self.node_id, stream);
        let aside = all.iter().position(|one| one.name == labels::aside_name(stream.id));
        let aside = aside.map(|place| all.remove(place));
        Ok(Places { current: all.pop().map(part), aside: aside.map(part) })
    }

    async fn prepare(
        &self,
        work: &Work,
        wanted: &Recreation,
        reporter: &dyn Reporter,
    ) -> Result<(), BackendError> {
        self.step()?;
        self.engine.ensure_network(self.node_id, wanted.bay_id);
        labels::of_container(work, None, wanted.bay_id, &wanted.spec.labels, &[])?;
        unless_cancelled(reporter, self.pull(&wanted.spec.image, reporter)).await
    }

    async fn halt(&self, id: &str, _: &dyn Reporter) -> Result<(), BackendError> {
        self.step()?;
        self.engine.kill(id);
        Ok(())
    }

    async fn rename(&self, id: &str, name: &str) -> Result<(), BackendError> {
        self.step()?;
        if self.engine.all().iter().any(|one| one.name == name) {
            let words = format!("the name {name} is already in use by container");
            return Err(BackendError::Refused(words));
        }
        self.engine.alter(id, |one| name.clone_into(&mut one.name));
        Ok(())
    }

    async fn make(
        &self,
        work: &Work,
        wanted: &Recreation,
        _: Option<&str>,
        _: &dyn Reporter,
    ) -> Result<String, BackendError> {
        self.step()?;
        let _whole = self.engine.whole();
        let name = labels::container_name(work.stream.id);
        match self.engine.all().into_iter().find(|one| one.name == name) {
            Some(one) if one.work_id == Some(work.id) => Ok(one.engine_id),
            Some(other) => Err(name_taken(&name, &other.engine_id)),
            None => self.engine.make(work, wanted.name.as_deref(), wanted.bay_id, &wanted.spec),
        }
    }

    async fn launch(&self, id: &str) -> Result<(), BackendError> {
        self.step()?;
        self.engine.start(id)
    }

    async fn discard(&self, id: &str) -> Result<(), BackendError> {
        self.step()?;
        self.engine.discard(id);
        Ok(())
    }
}

fn part(one: FakeContainer) -> Part {
    let (end, run) = (one.end(), one.run());
    Part { id: one.engine_id, work_id: one.work_id, state: one.state, end, run }
}
