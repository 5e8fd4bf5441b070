//! The engine's events about our containers.
//!
//! The engine drops events of a listener that is slow, so they are taken off it at once by a task
//! of their own. When the reader falls behind that one, the stream ends: the reader opens it
//! again and looks at everything, which is what it does after any gap.

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptions, EventsOptionsBuilder};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::super::{BackendError, Notice};
use super::oom::OutOfMemory;
use super::{DockerBackend, labels};
use crate::ids::StreamId;

/// Notices that wait for the reader: all of a few hundred containers at once, several each.
const WAITING_MAX: usize = 1024;

/// The engine's events after which a container is not what it was.
const CHANGES: [&str; 10] =
    ["die", "oom", "start", "pause", "unpause", "rename", "destroy", "stop", "kill", "restart"];

impl DockerBackend {
    /// Notices from now on.
    pub(super) async fn follow_events(&self) -> Result<BoxStream<'static, Notice>, BackendError> {
        let docker = self.connection.client()?;
        // The engine answers before it listens for us, so what happens between this call and then
        // is asked for by the engine's own time.
        let info = self.connection.quick(docker.info()).await?;
        let options = options(self.node_id.to_string(), info.system_time.as_deref());
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(pump(docker, options, sender, self.ooms.clone()));
        let changes = ReceiverStream::new(receiver).map(Notice::Changed);
        Ok(stream::iter([Notice::Connected]).chain(changes).boxed())
    }
}

/// Takes events off the engine until the connection ends, or the reader is gone or too slow.
async fn pump(
    docker: Docker,
    options: EventsOptions,
    sender: mpsc::Sender<StreamId>,
    ooms: OutOfMemory,
) {
    let mut events = std::pin::pin!(docker.events(Some(options)));
    while let Some(stream) = next_change(&mut events, &sender, &ooms).await {
        if sender.try_send(stream).is_err() {
            tracing::warn!("notices of the engine are not read fast enough; starting again");
            return;
        }
    }
}

/// The next container of ours that changed.
async fn next_change(
    events: &mut (impl Stream<Item = Result<EventMessage, Error>> + Unpin),
    sender: &mpsc::Sender<StreamId>,
    ooms: &OutOfMemory,
) -> Option<StreamId> {
    loop {
        tokio::select! {
            () = sender.closed() => return None,
            event = events.next() => {
                let event = event?.ok()?;
                let actor = event.actor.unwrap_or_default();
                let (action, id) = (event.action.as_deref(), actor.id.as_deref());
                ooms.hear(action.unwrap_or_default(), id.unwrap_or_default());
                if let Some(stream) = labels::container_of(actor.attributes.as_ref()) {
                    return Some(stream);
                }
            }
        }
    }
}

/// What is asked for: our node's containers, since the engine's `now`.
fn options(node_id: String, now: Option<&str>) -> EventsOptions {
    let mut filters = labels::filter(&[(labels::NODE, node_id)]);
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    filters.insert("event".to_owned(), CHANGES.map(str::to_owned).to_vec());
    let options = EventsOptionsBuilder::new().filters(&filters);
    let now = now.and_then(|now| chrono::DateTime::parse_from_rfc3339(now).ok());
    match now {
        Some(now) => options
            .since(&format!("{}.{:09}", now.timestamp(), now.timestamp_subsec_nanos()))
            .build(),
        None => options.build(),
    }
}
