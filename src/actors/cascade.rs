//! Deleting what is in a bay that is being deleted: before its network is removed, and after it
//! what was accepted meanwhile, or stays after a bay that was given up.
//!
//! Runs in the conductor. It can be repeated at any time, for example after a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::lifecycle::Cascade;
use crate::backends::{Done, Progress, Retry, Work, WorkResult};
use crate::bus::delivery::{record, report};
use crate::bus::{Bus, CommandError, CommandMessage, Origin, ServiceCommand};
use crate::ids::{Kind, ObjectId, ProjectId, StreamId};

/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(100);

/// Members that are asked to go at once: what a node's worker takes in a second.
const BATCH: usize = 64;

/// A member that was asked to go is asked again after so long, should its deletion have failed.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// After so long without one member fewer the bay says that it is blocked, and on what.
const STALLED: Duration = Duration::from_secs(20);

/// The blocked bay is looked at again after this many milliseconds.
const RETRY_MS: u64 = 10_000;

/// What is in a bay, by the read models brought up to the log's head. A bay's members are
/// containers and pods of its own project: whatever else names it is left alone (rule T2).
#[async_trait]
pub trait Members: Send + Sync + 'static {
    /// The members of a project's bay that are not gone; an error in words where nobody can say.
    async fn of(&self, project: &ProjectId, bay_id: ObjectId) -> Result<Vec<StreamId>, String>;

    /// Whether a project has a bay that is not being deleted; an error in words if that is unknown.
    async fn has_bay(&self, project: &ProjectId, bay_id: ObjectId) -> Result<bool, String>;

    /// Members whose bay, of their own project, is gone or going; an error in words if that is
    /// unknown.
    async fn orphans(&self) -> Result<Vec<Orphan>, String>;
}

/// A member of a bay that is gone or going.
#[derive(Clone, Copy, Debug)]
pub struct Orphan {
    /// The container or pod.
    pub member: StreamId,
    /// Its bay.
    pub bay_id: ObjectId,
    /// Whether the bay was given up.
    pub is_abandoned: bool,
}

impl Orphan {
    /// What asks it to go.
    fn leaves(self) -> CommandMessage {
        let origin = Origin::service("conductor", "");
        if self.is_abandoned {
            let reason = format!("its bay {} was given up", self.bay_id);
            return CommandMessage::service(
                self.member,
                ServiceCommand::Abandon,
                Origin { reason: Some(reason), ..origin },
            );
        }
        going(self.member, self.bay_id, origin)
    }
}

/// Deletes a member that was just asked for if its bay is going or gone. The log decides which came
/// first: one that was recorded before the deletion of its bay is deleted with it, and one that was
/// recorded after it is deleted here.
pub async fn admit(
    bus: Arc<dyn Bus>,
    members: Arc<dyn Members>,
    project: ProjectId,
    member: StreamId,
    bay_id: ObjectId,
) {
    loop {
        match members.has_bay(&project, bay_id).await {
            Ok(true) => return,
            Ok(false) => {
                let orphan = Orphan { member, bay_id, is_abandoned: false };
                return delete(bus.as_ref(), orphan).await;
            }
            Err(error) => {
                tracing::warn!(%bay_id, %error, "cannot tell whether the bay still accepts \
                    members");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Has what is in a bay go that was given up.
pub async fn abandon_members(
    bus: Arc<dyn Bus>,
    members: Arc<dyn Members>,
    project: ProjectId,
    bay_id: ObjectId,
) {
    let left = loop {
        match members.of(&project, bay_id).await {
            Ok(left) => break left,
            Err(error) => {
                tracing::warn!(%bay_id, %error, "cannot look for what is in a bay that was given \
                    up");
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    let orphans = left.into_iter().map(|member| Orphan { member, bay_id, is_abandoned: true });
    let delete = |orphan| delete(bus.as_ref(), orphan);
    stream::iter(orphans).for_each_concurrent(BATCH, delete).await;
}

/// Deletes what is in a bay that is gone or going: the service stopped in between, or the engine
/// did not delete them when it was asked.
pub async fn delete_orphans(bus: Arc<dyn Bus>, members: Arc<dyn Members>) {
    match members.orphans().await {
        Ok(orphans) => {
            // One that cannot be deleted now does not hold back the others.
            let delete = |orphan| delete(bus.as_ref(), orphan);
            stream::iter(orphans).for_each_concurrent(BATCH, delete).await;
        }
        Err(error) => tracing::warn!(%error, "cannot look for what is left of deleted bays"),
    }
}

/// Does the work of emptying a bay, and reports what came of it.
pub async fn empty_bay(bus: Arc<dyn Bus>, members: Arc<dyn Members>, work: Work<Cascade>) {
    let result = delete_members(bus.as_ref(), members.as_ref(), &work).await;
    report(bus.as_ref(), &work, result).await;
}

async fn delete_members(bus: &dyn Bus, members: &dyn Members, work: &Work<Cascade>) -> WorkResult {
    let mut fewest = usize::MAX;
    let mut since = tokio::time::Instant::now();
    let mut refused = None;
    let mut asked: HashMap<StreamId, tokio::time::Instant> = HashMap::new();
    // An earlier attempt may have been blocked.
    let mut is_told = work.attempt <= 1;
    loop {
        let left = match members.of(&work.project, work.stream.id).await {
            Ok(left) if left.is_empty() => return WorkResult::Done(Done::default()),
            Ok(left) => left,
            Err(words) => return blocked("read model".to_owned(), words),
        };
        if left.len() < fewest {
            if fewest != usize::MAX && !is_told {
                report(bus, work, WorkResult::Progress(Progress::default())).await;
                is_told = true;
            }
            fewest = left.len();
            since = tokio::time::Instant::now();
        } else if since.elapsed() > STALLED {
            let why = refused.map(|error: CommandError| format!(": {error}")).unwrap_or_default();
            return blocked(first_of(&left), undeleted(&left) + &why);
        }
        for member in left.into_iter().take(BATCH) {
            if asked.get(&member).is_some_and(|at| at.elapsed() < ASK_AGAIN) {
                continue;
            }
            // One that is going already, or cannot go, shows in a later look.
            let origin = Origin {
                causation: Some(work.id),
                ..Origin::service("conductor", &work.request_id)
            };
            match bus.command(going(member, work.stream.id, origin)).await {
                Ok(_) => drop(asked.insert(member, tokio::time::Instant::now())),
                Err(error) => refused = Some(error),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The first of these, as messages name it.
fn first_of(left: &[StreamId]) -> String {
    left.first().map(|it| format!("{} {}", it.kind, it.id)).unwrap_or_default()
}

/// How many of each noun are left.
fn undeleted(left: &[StreamId]) -> String {
    let counted = Kind::ALL.iter().filter_map(|kind| {
        let count = left.iter().filter(|it| it.kind == *kind).count();
        match count {
            0 => None,
            1 => Some(format!("1 {}", kind.name())),
            many => Some(format!("{many} {}", kind.collection())),
        }
    });
    let verb = if left.len() == 1 { "has" } else { "have" };
    let counted: Vec<String> = counted.collect();
    format!("{} {verb} not been deleted yet", counted.join(" and "))
}

/// Asks a member to go until that is recorded.
async fn delete(bus: &dyn Bus, orphan: Orphan) {
    if let Err(error) = record(bus, orphan.leaves()).await {
        let member = orphan.member;
        tracing::error!(%member, %error, "what was in a deleted bay is not deleted");
    }
}

/// What asks a member to go.
fn going(member: StreamId, bay_id: ObjectId, origin: Origin) -> CommandMessage {
    let reason = Some(format!("its bay {bay_id} is deleted"));
    CommandMessage::service(member, ServiceCommand::Delete, Origin { reason, ..origin })
}

fn blocked(blocked_on: String, reason: String) -> WorkResult {
    WorkResult::Blocked { blocked_on, reason, retry: Retry::After(RETRY_MS) }
}
