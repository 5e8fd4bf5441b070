//! The one generic actor: takes one command at a time, also across the await of an append.
//!
//! Not here: carrying it out (`perform`), where the actor lives (`directory`).

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, Message,
    WrapFuture,
};

use tracing::Instrument as _;

use super::Entity;
use super::aggregate::Aggregate;
use super::objects::Objects;
use crate::bus::{Authority, CommandError, CommandMessage, CommandReply};

/// An object without messages for so long goes to sleep.
const IDLE: Duration = Duration::from_secs(60);

/// A command for this actor's object. Shared with its sender, who may have to send it again.
#[derive(Message)]
#[rtype(result = "Result<CommandReply, CommandError>")]
pub struct Perform(pub Arc<CommandMessage>, pub Authority);

/// The actor of one object.
pub struct EntityActor<E: Entity> {
    objects: Objects,
    /// `None` only while a message is being handled, and after one that failed half-way.
    aggregate: Option<Aggregate<E>>,
    last_message: tokio::time::Instant,
}

impl<E: Entity> EntityActor<E> {
    /// An actor over an object that was loaded.
    pub fn new(objects: Objects, aggregate: Aggregate<E>) -> Self {
        let last_message = tokio::time::Instant::now();
        Self { objects, aggregate: Some(aggregate), last_message }
    }
}

impl<E: Entity> Actor for EntityActor<E> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(IDLE, |actor, ctx| {
            if actor.last_message.elapsed() >= IDLE {
                ctx.stop();
            }
        });
    }
}

impl<E: Entity> Handler<Perform> for EntityActor<E> {
    type Result = AtomicResponse<Self, Result<CommandReply, CommandError>>;

    fn handle(&mut self, message: Perform, _ctx: &mut Self::Context) -> Self::Result {
        let Perform(message, authority) = message;
        self.last_message = tokio::time::Instant::now();
        let (objects, taken) = (self.objects.clone(), self.aggregate.take());
        let (object, request_id) = (message.stream, &message.origin.request_id);
        let span = tracing::info_span!("command", %object, request_id);
        let performed = async move {
            let Some(mut aggregate) = taken else {
                return (None, Err(CommandError::Overloaded));
            };
            let result = aggregate.perform(&objects, &message, authority).await;
            aggregate.keep(&objects.snapshots);
            (Some(aggregate), result)
        };
        let settled = |(aggregate, result), actor: &mut Self, ctx: &mut Self::Context| {
            actor.aggregate = aggregate;
            // What may or may not be in the log is known again once it is loaded again.
            if matches!(result, Err(CommandError::Internal(_) | CommandError::OutcomeUnknown(_))) {
                ctx.stop();
            }
            result
        };
        AtomicResponse::new(Box::pin(performed.instrument(span).into_actor(self).map(settled)))
    }
}
