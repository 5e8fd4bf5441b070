//! Finds the actor of an object: spread over arbiters, loaded on the first message, asleep when
//! idle, with a bounded number of loads at once (rule E5).
//!
//! Not here: what the actor does (`entity`).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use actix::{
    Actor, Addr, Arbiter, AsyncContext, Context, Handler, MailboxError, Message, Recipient,
    ResponseFuture,
};
use async_trait::async_trait;
use tokio::sync::{Mutex, Semaphore};

use super::Entity;
use super::bay::Bay;
use super::baymodel::Baymodel;
use super::container::Container;
use super::entity::{Aggregate, EntityActor, Perform};
use super::node::Node;
use super::snapshot::Snapshots;
use crate::bus::{CommandError, CommandMessage, CommandPort, CommandReply};
use crate::events::log::{EventLog, ReadError};
use crate::ids::{Kind, StreamId};

/// Commands that wait for one shard: what a few hundred connections send at once.
const MAILBOX: usize = 1024;

/// Objects loaded at once by one shard: each may read the disk on a blocking thread.
const MAX_LOADS: usize = 32;

/// Between two sweeps of actors that went to sleep: a tenth of a minute's idling.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(30);

/// Where commands find their object's actor.
pub struct Directory {
    shards: Vec<Addr<Shard>>,
}

impl Directory {
    /// Starts one shard on each arbiter. Must be called inside an actix system.
    pub fn start(log: &Arc<dyn EventLog>, snapshots: &Snapshots, arbiters: &[Arbiter]) -> Self {
        let shard = |arbiter: &Arbiter| {
            let objects = Objects { log: log.clone(), snapshots: snapshots.clone() };
            Shard::start_in_arbiter(&arbiter.handle(), move |_| Shard {
                objects,
                awake: HashMap::new(),
                loads: Arc::new(Semaphore::new(MAX_LOADS)),
            })
        };
        Self { shards: arbiters.iter().map(shard).collect() }
    }

    fn shard(&self, stream: StreamId) -> Option<&Addr<Shard>> {
        let mut hasher = DefaultHasher::new();
        stream.hash(&mut hasher);
        let index = hasher.finish().checked_rem(self.shards.len() as u64)?;
        self.shards.get(usize::try_from(index).ok()?)
    }
}

#[async_trait]
impl CommandPort for Directory {
    async fn command(&self, message: CommandMessage) -> Result<CommandReply, CommandError> {
        let gone = || CommandError::Unavailable("it is stopping".to_owned());
        let shard = self.shard(message.stream).ok_or_else(gone)?;
        match shard.send(Route(message)).await {
            Ok(result) => result,
            Err(MailboxError::Closed) => Err(gone()),
            Err(MailboxError::Timeout) => Err(CommandError::Overloaded),
        }
    }
}

/// A command on its way to its object's actor.
#[derive(Message)]
#[rtype(result = "Result<CommandReply, CommandError>")]
struct Route(CommandMessage);

/// An object that is awake, or being loaded by whoever holds the lock.
type Slot = Arc<Mutex<Option<Recipient<Perform>>>>;

/// Where objects come from when they wake up.
#[derive(Clone)]
struct Objects {
    log: Arc<dyn EventLog>,
    snapshots: Snapshots,
}

/// The objects of one arbiter.
struct Shard {
    objects: Objects,
    awake: HashMap<StreamId, Slot>,
    loads: Arc<Semaphore>,
}

impl Actor for Shard {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(SWEEP, |shard, _| shard.sweep());
    }
}

impl Shard {
    /// Forgets the actors that went to sleep.
    fn sweep(&mut self) {
        self.awake.retain(|_, slot| {
            slot.try_lock().map_or(true, |actor| {
                actor.as_ref().is_some_and(Recipient::connected) || Arc::strong_count(slot) > 1
            })
        });
    }
}

impl Handler<Route> for Shard {
    type Result = ResponseFuture<Result<CommandReply, CommandError>>;

    fn handle(&mut self, Route(message): Route, _ctx: &mut Self::Context) -> Self::Result {
        let slot = self.awake.entry(message.stream).or_default().clone();
        let (objects, loads) = (self.objects.clone(), self.loads.clone());
        Box::pin(async move {
            // An actor that goes to sleep just now closes its mailbox with the message in it,
            // unhandled: that one is sent again to the actor that is loaded next.
            for _ in 0..2 {
                let actor = awaken(&slot, message.stream, &objects, &loads).await?;
                match actor.send(Perform(message.clone())).await {
                    Ok(result) => return result,
                    Err(MailboxError::Timeout) => return Err(CommandError::Overloaded),
                    Err(MailboxError::Closed) => {}
                }
            }
            Err(CommandError::Internal(format!("the actor of {} ended", message.stream)))
        })
    }
}

/// The actor of an object, loaded if it sleeps.
async fn awaken(
    slot: &Slot,
    stream: StreamId,
    objects: &Objects,
    loads: &Semaphore,
) -> Result<Recipient<Perform>, CommandError> {
    let mut held = slot.lock().await;
    if let Some(actor) = held.as_ref().filter(|actor| actor.connected()) {
        return Ok(actor.clone());
    }
    let _permit = loads.acquire().await;
    let actor = match stream.kind {
        Kind::Bay => load::<Bay>(stream, objects).await,
        Kind::Baymodel => load::<Baymodel>(stream, objects).await,
        Kind::Node => load::<Node>(stream, objects).await,
        Kind::Container => load::<Container>(stream, objects).await,
    }
    .map_err(|error| {
        tracing::error!(%stream, %error, "an object cannot be loaded");
        CommandError::Unavailable(format!("{stream} cannot be loaded; see the service's log"))
    })?;
    *held = Some(actor.clone());
    Ok(actor)
}

async fn load<E: Entity>(
    stream: StreamId,
    objects: &Objects,
) -> Result<Recipient<Perform>, ReadError> {
    let Objects { log, snapshots } = objects.clone();
    let (reader, kept) = (log.clone(), snapshots.clone());
    let aggregate =
        tokio::task::spawn_blocking(move || Aggregate::<E>::load(stream, reader.as_ref(), &kept))
            .await
            .map_err(|error| ReadError::Io(error.to_string()))??;
    Ok(EntityActor::new(log, snapshots, aggregate).start().recipient())
}
