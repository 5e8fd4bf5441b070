//! Empties a bay before its network goes: deletes its containers and waits until they are gone.
//!
//! Runs in the conductor. Safe to run again at any time, as after a restart.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::backends::{Done, Work, WorkResult};
use crate::bus::delivery::report;
use crate::bus::{Bus, CommandMessage, Origin, ServiceCommand};
use crate::clock;
use crate::ids::{Kind, ObjectId, StreamId};

/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(100);

/// Containers that are asked to go at once: what a node's worker takes in a second.
const BATCH: usize = 64;

/// After so long without one container fewer the bay says that it is blocked, and on what.
const STALLED: Duration = Duration::from_secs(20);

/// The blocked bay is looked at again after so many milliseconds.
const RETRY_MS: u64 = 10_000;

/// Who is in a bay, by the read models brought up to the log's head.
#[async_trait]
pub trait Members: Send + Sync + 'static {
    /// The containers of a bay that are not gone; an error in words where nobody can say.
    async fn of(&self, bay_id: ObjectId) -> Result<Vec<ObjectId>, String>;
}

/// Does the work of emptying a bay, and reports what came of it.
pub async fn empty_bay(bus: Arc<dyn Bus>, members: Arc<dyn Members>, work: Work) {
    let result = delete_members(bus.as_ref(), members.as_ref(), &work).await;
    report(bus.as_ref(), &work, result).await;
}

async fn delete_members(bus: &dyn Bus, members: &dyn Members, work: &Work) -> WorkResult {
    let mut fewest = usize::MAX;
    let mut since = tokio::time::Instant::now();
    loop {
        let left = match members.of(work.stream.id).await {
            Ok(left) if left.is_empty() => return WorkResult::Done(Done::default()),
            Ok(left) => left,
            Err(words) => return blocked("read model".to_owned(), words),
        };
        if left.len() < fewest {
            fewest = left.len();
            since = tokio::time::Instant::now();
        } else if since.elapsed() > STALLED {
            let first = left.first().map(ToString::to_string).unwrap_or_default();
            let words = format!("{} containers are not gone yet", left.len());
            return blocked(format!("container {first}"), words);
        }
        for id in left.into_iter().take(BATCH) {
            delete(bus, id, work).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks a container to go; one that is going already, or cannot, shows in the next look.
async fn delete(bus: &dyn Bus, id: ObjectId, work: &Work) {
    let origin = Origin {
        causation: Some(work.id),
        reason: Some(format!("its bay {} is deleted", work.stream.id)),
        ..Origin::service("conductor", &work.request_id)
    };
    let stream = StreamId::new(Kind::Container, id);
    let message = CommandMessage::service(stream, ServiceCommand::Delete, origin);
    if let Err(error) = bus.command(message).await {
        tracing::debug!(%stream, %error, "a container of a deleted bay stays for now");
    }
}

fn blocked(blocked_on: String, reason: String) -> WorkResult {
    WorkResult::Blocked { blocked_on, reason, retry_at: clock::now().plus_ms(RETRY_MS) }
}
