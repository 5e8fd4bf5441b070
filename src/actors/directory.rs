//! Finds the actor of an object: spread over arbiters, loaded on the first message, passivated when
//! idle, with a bounded number of concurrent loads (rule E5).
//!
//! A command goes directly from its sender to the actor; a sender that finds the actor passivated
//! loads it. Not here: what the actor does (`entity`).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use actix::{Actor, ArbiterHandle, MailboxError, Recipient};
use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::Entity;
use super::entity::{EntityActor, Perform};
use super::objects::Objects;
use super::perform::unreadable;
use crate::bus::{
    Authority, CommandError, CommandMessage, CommandPort, CommandReply, Place, Refusal,
};
use crate::ids::{StreamId, StreamKind};
use crate::with_noun;

/// Commands that wait for one object; more are refused. An object takes some 1,000 a second, each
/// waits for a sync: so the last one waits for a quarter of a second, and others with it. The bound
/// of the actor's mailbox does not hold: it lets each sender in again, and every command has one of
/// its own.
pub const MAX_WAITING: usize = 256;

/// Between two sweeps of actors that went to sleep: half of what they idle before.
const SWEEP: Duration = Duration::from_secs(30);

/// Where commands find their object's actor.
pub struct Directory {
    objects: Objects,
    arbiters: Vec<ArbiterHandle>,
    awake: Arc<Awake>,
}

/// An object that somebody asks for.
struct Slot {
    /// `None` while it is asleep, or being loaded by the holder of the lock.
    actor: tokio::sync::Mutex<Option<Recipient<Perform>>>,
    /// Who may wait for it.
    places: Semaphore,
    /// The last of what an agent said of it.
    said: Mutex<Option<Place>>,
}

impl Slot {
    /// Whether a message comes after those of its session that were here before. One that was
    /// overtaken on its way would have the object go back in time.
    fn is_latest(&self, place: Place) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_latest =
            said.is_none_or(|last| last.session != place.session || last.number <= place.number);
        if is_latest {
            *said = Some(place);
        }
        is_latest
    }
}

/// The objects that are awake, or were a sweep ago.
#[derive(Default)]
struct Awake(Mutex<HashMap<StreamId, Arc<Slot>>>);

impl Awake {
    fn slots(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, stream: StreamId) -> Arc<Slot> {
        let new = || {
            let places = Semaphore::new(MAX_WAITING);
            Arc::new(Slot { actor: tokio::sync::Mutex::new(None), places, said: Mutex::default() })
        };
        self.slots().entry(stream).or_insert_with(new).clone()
    }

    /// Forgets the actors that went to sleep, and the memory that so many took.
    fn sweep(&self) {
        let mut slots = self.slots();
        slots.retain(|_, slot| {
            // Nobody else can get at a slot while the map is locked, but by a count above one.
            Arc::strong_count(slot) > 1
                || slot
                    .actor
                    .try_lock()
                    .is_ok_and(|actor| actor.as_ref().is_some_and(Recipient::connected))
        });
        if slots.len() < slots.capacity() / 4 {
            slots.shrink_to_fit();
        }
    }
}

async fn keep_swept(awake: Weak<Awake>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        match awake.upgrade() {
            Some(awake) => awake.sweep(),
            None => return,
        }
    }
}

impl Directory {
    /// Has actors run on these arbiters.
    pub fn start(objects: Objects, arbiters: Vec<ArbiterHandle>) -> Self {
        let awake = Arc::new(Awake::default());
        if let Some(first) = arbiters.first() {
            // An arbiter that takes nothing any more has no actors either.
            let _stopped = first.spawn(keep_swept(Arc::downgrade(&awake)));
        }
        Self { objects, arbiters, awake }
    }

    /// The actor of an object, loaded if it sleeps.
    async fn actor(
        &self,
        stream: StreamId,
        slot: &Slot,
    ) -> Result<Recipient<Perform>, CommandError> {
        let mut held = slot.actor.lock().await;
        if let Some(actor) = held.as_ref().filter(|actor| actor.connected()) {
            return Ok(actor.clone());
        }
        let StreamKind::Object(kind) = stream.kind else {
            return Err(CommandError::Internal("an audit stream accepts no commands".to_owned()));
        };
        let actor = with_noun!(kind, entity E => self.load::<E>(stream).await)?;
        *held = Some(actor.clone());
        Ok(actor)
    }

    async fn load<E: Entity>(&self, stream: StreamId) -> Result<Recipient<Perform>, CommandError> {
        let arbiter = self.arbiter(stream).ok_or_else(gone)?;
        let aggregate = self.objects.load::<E>(stream).await;
        let aggregate = aggregate.map_err(|error| unreadable(stream, error))?;
        let actor = EntityActor::new(self.objects.clone(), aggregate);
        Ok(EntityActor::start_in_arbiter(arbiter, |_| actor).recipient())
    }

    fn arbiter(&self, stream: StreamId) -> Option<&ArbiterHandle> {
        let mut hasher = DefaultHasher::new();
        stream.hash(&mut hasher);
        let index = hasher.finish().checked_rem(self.arbiters.len() as u64)?;
        self.arbiters.get(usize::try_from(index).ok()?)
    }
}

fn gone() -> CommandError {
    CommandError::Unavailable("it is stopping".to_owned())
}

#[async_trait]
impl CommandPort for Directory {
    async fn command(
        &self,
        message: CommandMessage,
        authority: Authority,
    ) -> Result<CommandReply, CommandError> {
        let slot = self.awake.slot(message.stream);
        // What the service itself has to say of an object, outcomes above all, always gets in: no
        // more of that comes than there is work.
        let place = (!authority.is_service()).then(|| slot.places.try_acquire());
        let _place = place.transpose().map_err(|_| CommandError::Overloaded)?;
        if message.place.is_some_and(|place| !slot.is_latest(place)) {
            let reason = "something newer was said of it".to_owned();
            return Err(CommandError::Refused(Refusal::Conflict { reason }));
        }
        let message = Arc::new(message);
        // An actor that goes to sleep just now closes its mailbox with the message in it,
        // unhandled: that one is sent again to the actor that is loaded next.
        for _ in 0..2 {
            let actor = self.actor(message.stream, &slot).await?;
            match actor.send(Perform(message.clone(), authority)).await {
                Ok(result) => return result,
                Err(MailboxError::Timeout) => return Err(CommandError::Overloaded),
                Err(MailboxError::Closed) => {}
            }
        }
        Err(CommandError::Internal(format!("the actor of {} ended", message.stream)))
    }
}
