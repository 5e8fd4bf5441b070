//! stub
use super::Recorded;
use super::log::{EventLog, ReadError};
use crate::ids::Position;
use std::sync::Arc;
/// stub
pub struct Subscription {
    log: Arc<dyn EventLog>,
    after: Position,
    head: tokio::sync::watch::Receiver<Position>,
}
impl Subscription {
    /// stub
    pub fn new(log: Arc<dyn EventLog>, after: Position) -> Self {
        let head = log.head();
        Self { log, after, head }
    }
    /// stub
    pub async fn next_page(&mut self, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        loop {
            let page = self.log.read(self.after, limit)?;
            if let Some(last) = page.last() {
                self.after = last.position;
                return Ok(page);
            }
            let _ = self.head.changed().await;
        }
    }
}
