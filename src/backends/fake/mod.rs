//! A container engine as a model in memory, with knobs for its faults.
//!
//! `engine` is the model: containers, networks, images. `process` is what commands do, `run` when,
//! `knobs` how it is made to fail, `recreate` how a container is changed, `pod` what pods are,
//! `pod_work` what is done with them, and `picture` what it had at a moment. Here is how it answers
//! as a [`Backend`]. Not here: anything that really runs.

mod container;
mod engine;
mod fault;
mod knobs;
mod picture;
mod pod;
mod pod_work;
mod process;
mod recreate;
mod run;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::watch;
use tokio_stream::wrappers::BroadcastStream;

pub use self::container::{FakeContainer, FakeLine};
pub use self::engine::FakeEngine;
use self::engine::KILLED;
pub use self::fault::Fault;
pub use self::picture::Picture;
use self::process::{Program, Step};
use super::recreate::recreate;
use super::{
    Action, Adjustment, Backend, BackendError, Desired, Done, END_GRACE, EngineFacts, EngineObject,
    Exec, LogQuery, Notice, Observed, ObservedPod, Operation, OutputFrame, Progress, Removed,
    Replacement, Reporter, Work, observed, unless_cancelled,
};
use crate::ids::{ObjectId, StreamId, WorkId};

/// Size of every image.
const IMAGE_BYTES: u64 = 4 << 20;

/// Images under this are in a registry that never answers.
const SILENT_IMAGES: &str = "silent/";

/// Images under this come slowly: a quarter is there at once, and the rest when the engine is asked
/// for any other image.
const TRICKLING_IMAGES: &str = "trickling/";

/// Exit code of a process that `SIGTERM` ended: 128 and the signal's number.
const TERMINATED: i64 = 143;

/// A [`FakeEngine`] as one node. The engine outlives it, as a real one outlives a process of ours.
pub struct FakeBackend {
    engine: Arc<FakeEngine>,
    node_id: ObjectId,
    /// Commands that run by this process, each with what ends it.
    executions: Mutex<HashMap<WorkId, watch::Sender<bool>>>,
}

impl FakeBackend {
    /// The engine as the node `node_id`.
    pub fn new(engine: Arc<FakeEngine>, node_id: ObjectId) -> Self {
        Self { engine, node_id, executions: Mutex::default() }
    }

    /// Does work, with the next fault if there is one.
    async fn perform_with_fault(
        &self,
        work: &Work,
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        match self.engine.next_fault() {
            None => self.act(work, reporter).await,
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::Repeat) => {
                drop(self.act(work, reporter).await);
                self.act(work, reporter).await
            }
            Some(Fault::Hang) => {
                unless_cancelled(reporter, self.engine.released().map(Ok)).await?;
                self.engine.answers()?;
                self.act(work, reporter).await
            }
            Some(Fault::LoseAnswer(error)) => {
                drop(self.act(work, reporter).await);
                Err(error)
            }
            Some(Fault::Tell(message)) => {
                reporter.progress(Progress { message, ..Progress::default() }).await;
                self.act(work, reporter).await
            }
        }
    }

    /// Does work without any fault.
    async fn act(&self, work: &Work, reporter: &dyn Reporter) -> Result<Done, BackendError> {
        match &work.action {
            Action::Apply(Desired::Network) => Ok(self.engine.create_network(self.node_id, work)),
            Action::Apply(Desired::Container { name, bay_id, spec }) => {
                if let Some(done) = self.engine.adopt(self.node_id, work)? {
                    return Ok(done);
                }
                unless_cancelled(reporter, self.pull(&spec.image, reporter)).await?;
                self.engine.create(work, name.as_deref(), *bay_id, spec)
            }
            Action::Adjust(Adjustment::Name { name, .. }) => {
                self.engine.rename(self.node_id, work, name.as_deref())
            }
            Action::Adjust(Adjustment::Limits(limits)) => {
                self.engine.adjust(self.node_id, work, limits)
            }
            Action::Replace(Replacement::Container(wanted)) => {
                let done = recreate(self, work, wanted, reporter).await?;
                self.engine.note_once(work);
                Ok(done)
            }
            Action::Remove(Removed::Network) => self.engine.delete_network(self.node_id, work),
            Action::Remove(Removed::Container) => Ok(self.engine.delete(self.node_id, work)),
            Action::Apply(Desired::Pod { name, bay_id, spec }) => {
                self.create_pod(work, name, *bay_id, spec, reporter).await
            }
            Action::Do(Operation::StartPod) => self.start_pod(work, reporter).await,
            Action::Remove(Removed::Pod { grace_s }) => {
                self.delete_pod(work, *grace_s, reporter).await
            }
            Action::Do(operation) => {
                if let Operation::Stop { grace_s } | Operation::Reboot { grace_s } = operation {
                    let grace = Duration::from_secs(u64::from(*grace_s));
                    let over = self.engine.grace(self.node_id, work.stream, grace);
                    unless_cancelled(reporter, over.map(Ok)).await?;
                }
                self.engine.change(self.node_id, work, operation)
            }
            Action::Exec(Exec::Start { command }) => {
                self.execute(work, None, command, reporter).await
            }
            Action::Exec(Exec::InPod { container, command }) => {
                self.execute(work, Some(container), command, reporter).await
            }
            Action::Exec(Exec::End { execution_id }) => Ok(self.end_execution(*execution_id)),
        }
    }

    /// Pulls an image, and says so.
    async fn pull(&self, image: &str, reporter: &dyn Reporter) -> Result<(), BackendError> {
        if self.engine.has_image(image) {
            return Ok(());
        }
        self.pull_again(image, reporter).await
    }

    /// The same, also of an image that the engine has.
    async fn pull_again(&self, image: &str, reporter: &dyn Reporter) -> Result<(), BackendError> {
        reporter.progress(Progress::pull_started(image)).await;
        if image.starts_with(SILENT_IMAGES) {
            std::future::pending::<()>().await;
        }
        let other = self.engine.next_pull();
        reporter.underway(Progress::pulling(image, IMAGE_BYTES / 4, IMAGE_BYTES)).await;
        if image.starts_with(TRICKLING_IMAGES) {
            other.await;
        }
        self.engine.pull(image)?;
        reporter.progress(Progress::pulled(image, None, IMAGE_BYTES)).await;
        Ok(())
    }

    /// Runs a command to its end, or until it is ended, its container stops or it is cancelled.
    async fn execute(
        &self,
        work: &Work,
        member: Option<&str>,
        command: &[String],
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        if work.attempt > 1 {
            let words = "it may have run already; it is not run again";
            return Err(BackendError::Refused(words.to_owned()));
        }
        unless_cancelled(reporter, std::future::ready(Ok(()))).await?;
        let container = self.engine.begin_execute(self.node_id, work, member)?;
        let environment = &container.spec.environment;
        let program = Program::of(command, environment).unwrap_or_else(Program::not_found);
        let ends = watch::Sender::new(false);
        self.lock().insert(work.id, ends.clone());
        let _listed = ListedCommand(self, work.id);
        let exit_code = tokio::select! {
            exit_code = run(&program, reporter) => exit_code,
            exit_code = terminated(&program, &ends) => exit_code,
            () = self.engine.process_gone(&container) => KILLED,
            () = reporter.cancelled() => KILLED,
        };
        Ok(Done { exit_code: Some(exit_code), ..Done::default() })
    }

    /// Ends a command that runs by this backend.
    fn end_execution(&self, id: WorkId) -> Done {
        if let Some(ends) = self.lock().get(&id) {
            ends.send_replace(true);
        }
        Done::default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkId, watch::Sender<bool>>> {
        self.executions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command, gone when its attempt ends in any way.
struct ListedCommand<'a>(&'a FakeBackend, WorkId);

impl Drop for ListedCommand<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
        self.0.engine.lock().commands.remove(&self.1);
    }
}

/// What is told of work whose engine died: a command may have run, all else is tried again.
fn cut_off(work: &Work) -> BackendError {
    let words = "the engine closed the connection".to_owned();
    if work.action.is_command() {
        BackendError::TimedOut(words)
    } else {
        BackendError::Unavailable(words)
    }
}

/// What a command does until it ends by itself.
async fn run(program: &Program, reporter: &dyn Reporter) -> i64 {
    for step in &program.steps {
        match step {
            Step::Write(stream, text) => {
                let data = Bytes::from(text.clone());
                reporter.output(OutputFrame { stream: *stream, data }).await;
            }
            Step::Wait(time) => tokio::time::sleep(*time).await,
        }
    }
    match program.exit_code {
        Some(code) => code,
        None => std::future::pending().await,
    }
}

/// The exit code of a command once it was ended.
async fn terminated(program: &Program, ends: &watch::Sender<bool>) -> i64 {
    drop(ends.subscribe().wait_for(|ends| *ends).await);
    if program.ignores_term {
        tokio::time::sleep(END_GRACE).await;
        return KILLED;
    }
    TERMINATED
}

#[async_trait]
impl Backend for FakeBackend {
    async fn perform(&self, work: &Work, reporter: &dyn Reporter) -> Result<Done, BackendError> {
        self.engine.answers()?;
        tokio::select! {
            biased;
            () = self.engine.crashed() => Err(cut_off(work)),
            done = self.perform_with_fault(work, reporter) => done,
        }
    }

    async fn inspect(&self, stream: StreamId) -> Result<Option<Observed>, BackendError> {
        self.engine.answers()?;
        self.engine.next_inspect_fault().map_or(Ok(()), Err)?;
        Ok(self.engine.find(self.node_id, stream).map(|container| container.observed()))
    }

    async fn inspect_pod(&self, stream: StreamId) -> Result<Option<ObservedPod>, BackendError> {
        self.engine.answers()?;
        Ok(self.engine.observe_pod(self.node_id, stream))
    }

    async fn inventory(&self) -> Result<Vec<(StreamId, EngineObject)>, BackendError> {
        self.engine.answers()?;
        let ours = |one: &FakeContainer| one.node_id == Some(self.node_id);
        let streams = |all: Vec<FakeContainer>| -> BTreeSet<StreamId> {
            all.into_iter().filter(ours).filter_map(|one| one.stream).collect()
        };
        let find = |stream| self.engine.find(self.node_id, stream);
        let containers = streams(self.engine.containers()).into_iter();
        let containers = containers.filter_map(|it| find(it).map(|one| (it, one.observed())));
        let pods = streams(self.engine.pods()).into_iter();
        let pods = pods.filter_map(|it| Some((it, self.engine.observe_pod(self.node_id, it)?)));
        let networks = self.engine.networks_of(self.node_id);
        Ok(observed::inventory(containers.collect(), networks, pods.collect()))
    }

    async fn notices(&self) -> Result<BoxStream<'static, Notice>, BackendError> {
        self.engine.answers()?;
        let node_id = self.node_id;
        // A reader that falls behind starts again, as after a broken connection.
        let changes = BroadcastStream::new(self.engine.subscribe())
            .take_while(|notice| std::future::ready(notice.is_ok()))
            .filter_map(|notice| std::future::ready(notice.ok()))
            .filter(move |(node, _)| std::future::ready(*node == node_id))
            .map(|(_, stream)| Notice::Changed(stream));
        Ok(stream::iter([Notice::Connected]).chain(changes).boxed())
    }

    async fn logs(
        &self,
        stream: StreamId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<OutputFrame, BackendError>>, BackendError> {
        self.engine.answers()?;
        let name = query.container.as_deref();
        let container = self.engine.find_one(self.node_id, stream, name)?;
        let tail = query.tail.and_then(|lines| usize::try_from(lines).ok());
        let first = container.lines.len().saturating_sub(tail.unwrap_or(usize::MAX));
        let reader = (Arc::clone(&self.engine), container.engine_id, first);
        let follow = query.follow;
        let lines = stream::try_unfold(reader, move |(engine, id, next)| async move {
            let line = engine.line(&id, next, follow).await?;
            Ok(line.map(|line| (line, (engine, id, next.saturating_add(1)))))
        });
        let wanted = lines.try_filter_map(move |line| {
            let old = query.since.is_some_and(|since| line.at < since);
            let late = query.until.is_some_and(|until| line.at >= until);
            std::future::ready(Ok((!old && !late).then(|| line.frame(query.timestamps))))
        });
        Ok(wanted.boxed())
    }

    async fn probe(&self) -> Result<EngineFacts, BackendError> {
        self.engine.answers()?;
        Ok(EngineFacts { engine: "fake 1".to_owned(), cpus: 4, memory_bytes: 8 << 30 })
    }
}
