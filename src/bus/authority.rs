//! What a sender may do: known from the way that a message came, never from what it says (rules B3
//! and T4).

use super::message::{Asked, CommandMessage, ServiceCommand};
use super::refusal::CommandError;
use crate::ids::{Kind, ObjectId, StreamId};

/// Who is at the other end of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// An API process: it has authenticated the user that it names.
    Edge,
    /// The conductor itself, for whichever tenant the object has.
    Conductor,
    /// The agent of this node.
    Agent(ObjectId),
}

impl Authority {
    /// Whether the service itself asks.
    pub const fn is_service(self) -> bool {
        !matches!(self, Self::Edge)
    }

    /// The message with what this sender may claim; what it may not claim is refused.
    ///
    /// # Errors
    /// When this sender may not send it.
    pub fn admit(self, mut message: CommandMessage) -> Result<CommandMessage, CommandError> {
        let is_allowed = match (self, message.asked()) {
            (Self::Conductor, _) | (Self::Edge, Asked::Noun(_) | Asked::Again) => true,
            (Self::Edge, Asked::Service(_)) => false,
            (Self::Agent(node_id), Asked::Service(command)) => match command {
                ServiceCommand::Outcome(_)
                | ServiceCommand::Observe(_)
                | ServiceCommand::ObservePod(_) => true,
                ServiceCommand::Up(_) | ServiceCommand::Down { .. } => {
                    message.stream == StreamId::new(Kind::Node, node_id)
                }
                ServiceCommand::Delete | ServiceCommand::Abandon => false,
            },
            (Self::Agent(_), _) => false,
        };
        if !is_allowed {
            return Err(CommandError::Forbidden(format!(
                "{self:?} may not send {} to {}",
                message.text(),
                message.stream
            )));
        }
        if self.is_service() {
            message.origin.roles = vec!["service".to_owned()];
        }
        Ok(message)
    }
}
