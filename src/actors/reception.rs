//! What the conductor hears besides commands, and who it goes to.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::audit::AuditWriter;
use super::comparison::{self, Records};
use crate::bus::{
    AuditRecord, AuditReply, Bus, CommandError, Comparison, ConductorPort, Hello, Inventory, Noted,
    Strays,
};

/// Hellos that wait for the reactor: all agents there are, twice.
pub const HELLOS: usize = 4096;

/// Where messages to the conductor arrive.
pub struct Reception {
    /// The conductor's own way to the objects.
    pub bus: Arc<dyn Bus>,
    /// What is on record.
    pub records: Arc<dyn Records>,
    /// The way to the reactor.
    pub hellos: mpsc::Sender<Hello>,
    /// Who writes the audit streams.
    pub audit: AuditWriter,
}

#[async_trait]
impl ConductorPort for Reception {
    async fn audit(&self, record: AuditRecord) -> Result<AuditReply, CommandError> {
        self.audit.record(record).await
    }

    async fn hello(&self, hello: Hello) -> Result<Noted, CommandError> {
        let stopped = |_| CommandError::Unavailable("it is stopping".to_owned());
        self.hellos.send(hello).await.map(|()| Noted).map_err(stopped)
    }

    async fn inventory(&self, inventory: Inventory) -> Result<Comparison, CommandError> {
        comparison::compare(self.records.as_ref(), inventory).await
    }

    async fn strays(&self, strays: Strays) -> Result<Noted, CommandError> {
        comparison::note(self.bus.as_ref(), strays).await
    }
}
