//! What travels between the parts of Magnum, and the trait of what carries it.
//!
//! A wire, not a store: nothing that must survive exists only here (rule B1). `message`, `output`
//! and `underway` are what travels, `refusal` what is said against it, `wire` its bytes,
//! `authority` who may send what, `delivery` what is sent until it arrives. `local` carries it
//! within a process, `lossy` badly. Not here: what commands mean (`actors`), what work does
//! (`backends`), and queries, which are answered from read models.

pub mod authority;
pub mod delivery;
pub mod local;
pub mod lossy;
mod message;
pub mod output;
mod refusal;
mod underway;
pub mod wire;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

pub use self::authority::Authority;
pub use self::message::{
    Asked, AuditRecord, AuditReply, Audited, CommandMessage, CommandReply, Comparison, Ctx, Hello,
    Inventory, Listed, ListedPod, LogRequest, Noted, NounCommand, Offer, Origin, OutputErasure,
    Place, ReplyTo, ServiceCommand, SessionId, Strays, Taken,
};
pub use self::output::Frames;
use self::output::{Credit, KeyTaken, Piece};
pub use self::refusal::{CommandError, Refusal};
pub use self::underway::Underway;
use crate::backends::BackendError;

/// One sender's way to everybody else.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Asks an object's entity to change, and waits until that is recorded.
    async fn command(&self, message: CommandMessage) -> Result<CommandReply, CommandError>;

    /// Has something recorded that changes no object, and waits until it is.
    async fn audit(&self, record: AuditRecord) -> Result<AuditReply, CommandError>;

    /// Says that an agent is there, and what it has.
    async fn hello(&self, hello: Hello) -> Result<Noted, CommandError>;

    /// Has all that a node has compared with the record.
    async fn inventory(&self, inventory: Inventory) -> Result<Comparison, CommandError>;

    /// Says what a node has without a record.
    async fn strays(&self, strays: Strays) -> Result<Noted, CommandError>;

    /// Says how far work is. There is no answer, and no harm if nobody hears it.
    async fn underway(&self, news: Underway);

    /// Hands work to its node. The outcome arrives as a command to its object.
    async fn work(&self, offer: Offer) -> Result<Taken, BackendError>;

    /// Has a node send a container's output.
    async fn logs(&self, request: LogRequest) -> Result<Taken, BackendError>;

    /// Has a node forget what commands wrote.
    async fn erase_output(&self, erasure: OutputErasure) -> Result<Taken, BackendError>;

    /// The reader's end of a key: see [`output::frames`].
    ///
    /// # Errors
    /// When the key has a reader already.
    fn pieces(&self, reply_to: ReplyTo) -> Result<mpsc::Receiver<Piece>, KeyTaken>;

    /// Tells a source how much it may send.
    async fn credit(&self, credit: Credit);

    /// Gives a key back.
    fn forget(&self, reply_to: ReplyTo);

    /// How much the reader of a key has granted; closed once it is gone. `None` if there is none.
    fn granted(&self, reply_to: ReplyTo) -> Option<watch::Receiver<u64>>;

    /// Sends a piece of output; it is dropped if nobody reads it.
    async fn piece(&self, piece: Piece);
}

/// Where commands are carried out: the directory of entities.
#[async_trait]
pub trait CommandPort: Send + Sync + 'static {
    /// See [`Bus::command`]. What the sender may do is `authority`, whatever the message says.
    async fn command(
        &self,
        message: CommandMessage,
        authority: Authority,
    ) -> Result<CommandReply, CommandError>;
}

/// What the conductor hears besides commands.
#[async_trait]
pub trait ConductorPort: Send + Sync + 'static {
    /// See [`Bus::audit`].
    async fn audit(&self, record: AuditRecord) -> Result<AuditReply, CommandError>;
    /// See [`Bus::hello`].
    async fn hello(&self, hello: Hello) -> Result<Noted, CommandError>;
    /// See [`Bus::inventory`].
    async fn inventory(&self, inventory: Inventory) -> Result<Comparison, CommandError>;
    /// See [`Bus::strays`].
    async fn strays(&self, strays: Strays) -> Result<Noted, CommandError>;
}

/// What the REST API hears of work in progress.
pub trait EdgePort: Send + Sync + 'static {
    /// See [`Bus::underway`].
    fn underway(&self, news: Underway);
}

/// Where a node's work is done.
#[async_trait]
pub trait NodePort: Send + Sync + 'static {
    /// See [`Bus::work`].
    async fn work(&self, offer: Offer) -> Result<Taken, BackendError>;
    /// See [`Bus::logs`].
    async fn logs(&self, request: LogRequest) -> Result<Taken, BackendError>;
    /// See [`Bus::erase_output`].
    async fn erase_output(&self, erasure: OutputErasure) -> Result<Taken, BackendError>;
}
