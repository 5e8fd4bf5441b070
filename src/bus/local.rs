//! The bus in one process: hands messages over directly.
//!
//! With debug assertions every message and every answer passes through its bytes, so that what
//! cannot cross a process boundary fails here first (rule B2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::output::{Credit, KeyTaken, Piece, WINDOW};
use super::wire::{Message, WireError, decode, encode};
use super::{
    AuditRecord, AuditReply, Authority, Bus, CommandError, CommandMessage, CommandPort,
    CommandReply, Comparison, ConductorPort, EdgePort, Hello, Inventory, LogRequest, NodePort,
    Noted, Offer, OutputErasure, ReplyTo, Strays, Taken, Underway,
};
use crate::backends::BackendError;
use crate::ids::ObjectId;

/// Room for the pieces that a reader granted, each of them twice.
const PIECES: usize = 2 * WINDOW as usize;

/// Carries everything within this process.
#[derive(Default)]
pub struct LocalBus {
    commands: OnceLock<Arc<dyn CommandPort>>,
    conductor: OnceLock<Arc<dyn ConductorPort>>,
    edge: OnceLock<Arc<dyn EdgePort>>,
    nodes: RwLock<HashMap<ObjectId, Arc<dyn NodePort>>>,
    readers: Mutex<HashMap<ReplyTo, Reader>>,
}

/// Who reads what is sent to a key.
struct Reader {
    pieces: mpsc::Sender<Piece>,
    granted: watch::Sender<u64>,
}

impl LocalBus {
    /// Says where commands go. Only the first call counts.
    pub fn serve_commands(&self, port: Arc<dyn CommandPort>) {
        // A second port is a fault of the composition root, which has one directory.
        drop(self.commands.set(port));
    }

    /// Sets the port for the conductor's other messages. Only the first call counts.
    pub fn serve_conductor(&self, port: Arc<dyn ConductorPort>) {
        drop(self.conductor.set(port));
    }

    /// Says who is told how far work is. Only the first call counts.
    pub fn serve_edge(&self, port: Arc<dyn EdgePort>) {
        drop(self.edge.set(port));
    }

    /// Says where a node's work goes.
    pub fn serve_node(&self, node_id: ObjectId, port: Arc<dyn NodePort>) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).insert(node_id, port);
    }

    /// The way of one sender.
    pub fn port(self: &Arc<Self>, authority: Authority) -> Arc<dyn Bus> {
        Arc::new(Port { bus: self.clone(), authority })
    }

    fn node(&self, node_id: ObjectId) -> Result<Arc<dyn NodePort>, BackendError> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes
            .get(&node_id)
            .cloned()
            .ok_or_else(|| BackendError::Unavailable(format!("no backend serves node {node_id}")))
    }

    fn conductor(&self) -> Result<&Arc<dyn ConductorPort>, CommandError> {
        self.conductor.get().ok_or_else(starting)
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<ReplyTo, Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn starting() -> CommandError {
    CommandError::Unavailable("it is starting".to_owned())
}

/// A message as the other side gets it.
fn carried<T: Message>(message: T) -> Result<T, WireError> {
    if cfg!(debug_assertions) { decode(&encode(&message)?) } else { Ok(message) }
}

fn command_fault(error: WireError) -> CommandError {
    CommandError::Internal(error.to_string())
}

fn backend_fault(error: WireError) -> BackendError {
    BackendError::Failed(error.to_string())
}

/// A sender's end.
struct Port {
    bus: Arc<LocalBus>,
    authority: Authority,
}

impl Port {
    /// Refuses what is said of another node than the sender's.
    fn speaks_for(&self, node_id: ObjectId) -> Result<(), CommandError> {
        if matches!(self.authority, Authority::Agent(own) if own == node_id) {
            return Ok(());
        }
        Err(CommandError::Forbidden(format!("{:?} is not node {node_id}", self.authority)))
    }
}

#[async_trait]
impl Bus for Port {
    async fn command(&self, message: CommandMessage) -> Result<CommandReply, CommandError> {
        let message = self.authority.admit(carried(message).map_err(command_fault)?)?;
        let port = self.bus.commands.get().ok_or_else(starting)?;
        carried(port.command(message, self.authority).await).map_err(command_fault)?
    }

    async fn audit(&self, record: AuditRecord) -> Result<AuditReply, CommandError> {
        if self.authority != Authority::Edge {
            return Err(CommandError::Forbidden(format!("{:?} audits nothing", self.authority)));
        }
        let record = carried(record).map_err(command_fault)?;
        carried(self.bus.conductor()?.audit(record).await).map_err(command_fault)?
    }

    async fn hello(&self, hello: Hello) -> Result<Noted, CommandError> {
        self.speaks_for(hello.node_id)?;
        let hello = carried(hello).map_err(command_fault)?;
        carried(self.bus.conductor()?.hello(hello).await).map_err(command_fault)?
    }

    async fn inventory(&self, inventory: Inventory) -> Result<Comparison, CommandError> {
        self.speaks_for(inventory.node_id)?;
        let inventory = carried(inventory).map_err(command_fault)?;
        carried(self.bus.conductor()?.inventory(inventory).await).map_err(command_fault)?
    }

    async fn strays(&self, strays: Strays) -> Result<Noted, CommandError> {
        self.speaks_for(strays.node_id)?;
        let strays = carried(strays).map_err(command_fault)?;
        carried(self.bus.conductor()?.strays(strays).await).map_err(command_fault)?
    }

    async fn underway(&self, news: Underway) {
        let (Ok(()), Ok(news)) = (self.speaks_for(news.node_id), carried(news)) else { return };
        if let Some(edge) = self.bus.edge.get() {
            edge.underway(news);
        }
    }

    async fn work(&self, offer: Offer) -> Result<Taken, BackendError> {
        if self.authority != Authority::Conductor {
            return Err(BackendError::Refused(format!("{:?} offers no work", self.authority)));
        }
        let node = self.bus.node(offer.work.node_id)?;
        let offer = carried(offer).map_err(backend_fault)?;
        carried(node.work(offer).await).map_err(backend_fault)?
    }

    async fn logs(&self, request: LogRequest) -> Result<Taken, BackendError> {
        let node = self.bus.node(request.node_id)?;
        let request = carried(request).map_err(backend_fault)?;
        carried(node.logs(request).await).map_err(backend_fault)?
    }

    async fn erase_output(&self, erasure: OutputErasure) -> Result<Taken, BackendError> {
        let node = self.bus.node(erasure.node_id)?;
        let erasure = carried(erasure).map_err(backend_fault)?;
        carried(node.erase_output(erasure).await).map_err(backend_fault)?
    }

    fn pieces(&self, reply_to: ReplyTo) -> Result<mpsc::Receiver<Piece>, KeyTaken> {
        let mut readers = self.bus.readers();
        if readers.contains_key(&reply_to) {
            return Err(KeyTaken);
        }
        let (pieces, receiver) = mpsc::channel(PIECES);
        readers.insert(reply_to, Reader { pieces, granted: watch::Sender::new(0) });
        Ok(receiver)
    }

    async fn credit(&self, credit: Credit) {
        let Ok(credit) = carried(credit) else { return };
        if let Some(reader) = self.bus.readers().get(&credit.reply_to) {
            reader.granted.send_if_modified(|granted| {
                let is_more = credit.pieces > *granted;
                *granted = credit.pieces.max(*granted);
                is_more
            });
        }
    }

    fn forget(&self, reply_to: ReplyTo) {
        self.bus.readers().remove(&reply_to);
    }

    fn granted(&self, reply_to: ReplyTo) -> Option<watch::Receiver<u64>> {
        self.bus.readers().get(&reply_to).map(|reader| reader.granted.subscribe())
    }

    async fn piece(&self, piece: Piece) {
        let Ok(piece) = carried(piece) else { return };
        let reader = self.bus.readers().get(&piece.reply_to).map(|reader| reader.pieces.clone());
        // A source that sends more than it may loses what does not fit; its reader is told.
        drop(reader.map(|pieces| pieces.try_send(piece)));
    }
}
