//! The bus in one process: hands messages over directly. What it hands over still serialises.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::OutputKey;
use super::{Bus, CommandError, CommandMessage, CommandPort, CommandReply, Frames, NodePort};
use crate::backends::{BackendError, LogQuery, OutputFrame, Work};
use crate::ids::{ObjectId, StreamId};

/// Frames that wait for a reader of a command's output, at most 64 KiB each: 4 MiB.
const OUTPUT_FRAMES: usize = 64;

/// Carries everything within this process.
#[derive(Default)]
pub struct LocalBus {
    commands: OnceLock<Arc<dyn CommandPort>>,
    nodes: RwLock<HashMap<ObjectId, Arc<dyn NodePort>>>,
    outputs: Mutex<HashMap<OutputKey, mpsc::Sender<OutputFrame>>>,
}

impl LocalBus {
    /// Says where commands go. Only the first call counts.
    pub fn serve_commands(&self, port: Arc<dyn CommandPort>) {
        // A second port is a fault of the composition root, which has one directory.
        drop(self.commands.set(port));
    }

    /// Says where a node's work goes.
    pub fn serve_node(&self, node_id: ObjectId, port: Arc<dyn NodePort>) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).insert(node_id, port);
    }

    fn node(&self, node_id: ObjectId) -> Result<Arc<dyn NodePort>, BackendError> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes
            .get(&node_id)
            .cloned()
            .ok_or_else(|| BackendError::Unavailable(format!("no backend serves node {node_id}")))
    }

    fn sender(&self, key: &OutputKey) -> Option<mpsc::Sender<OutputFrame>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn command(&self, message: CommandMessage) -> Result<CommandReply, CommandError> {
        match self.commands.get() {
            Some(port) => port.command(message).await,
            None => Err(CommandError::Unavailable("it is starting".to_owned())),
        }
    }

    async fn work(&self, work: Work) -> Result<(), BackendError> {
        self.node(work.node_id)?.work(work).await
    }

    async fn logs(
        &self,
        node_id: ObjectId,
        stream: StreamId,
        query: LogQuery,
    ) -> Result<Frames, BackendError> {
        self.node(node_id)?.logs(stream, query).await
    }

    fn output(&self, key: OutputKey) -> Frames {
        let (sender, receiver) = mpsc::channel(OUTPUT_FRAMES);
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).insert(key, sender);
        ReceiverStream::new(receiver).map(Ok).boxed()
    }

    async fn publish(&self, key: OutputKey, frame: OutputFrame) {
        if let Some(sender) = self.sender(&key)
            && sender.send(frame).await.is_err()
        {
            self.finish(&key);
        }
    }

    fn finish(&self, key: &OutputKey) {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
