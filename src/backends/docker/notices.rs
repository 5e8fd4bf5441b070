//! The engine's events about our containers.
//!
//! The engine drops events for slow listeners, so a dedicated task takes them at once. If the
//! reader falls behind that task, the stream ends: the reader opens it again and inspects
//! everything, as after any gap.

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptions, EventsOptionsBuilder};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::super::{BackendError, Notice, labels};
use super::DockerBackend;
use super::ends::Ends;
use crate::ids::StreamId;

/// Notices that wait for the reader: all of a few hundred containers at once, several each.
const WAITING_MAX: usize = 1024;

/// The engine's events after which a container is not what it was.
const CHANGES: [&str; 11] = [
    "die",
    "oom",
    "start",
    "pause",
    "unpause",
    "rename",
    "destroy",
    "stop",
    "kill",
    "restart",
    "health_status",
];

impl DockerBackend {
    /// Notices from now on.
    pub(super) async fn follow_events(&self) -> Result<BoxStream<'static, Notice>, BackendError> {
        let docker = self.connection.client()?;
        // The engine answers before it listens for us, so what happens between this call and then
        // is asked for by the engine's own time.
        let info = self.info().await?;
        let mut options = self.events();
        options.since = info.system_time.as_deref().and_then(time);
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(pump(docker, options, sender, self.ends.clone()));
        let changes = ReceiverStream::new(receiver).map(Notice::Changed);
        Ok(stream::iter([Notice::Connected]).chain(changes).boxed())
    }

    /// Takes in the notices that the engine still has from before.
    pub(super) async fn hear_past(&self) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        let info = self.info().await?;
        let mut options = self.events();
        options.since = Some("0".to_owned());
        options.until = info.system_time.as_deref().and_then(time);
        let past = docker.events(Some(options)).try_collect::<Vec<_>>();
        self.connection.quick(past).await?.iter().for_each(|event| self.ends.hear(event));
        Ok(())
    }

    /// What is asked for: changes of our node's containers.
    fn events(&self) -> EventsOptions {
        let mut filters = labels::filter(&[(labels::NODE, self.node_id.to_string())]);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        filters.insert("event".to_owned(), CHANGES.map(str::to_owned).to_vec());
        EventsOptionsBuilder::new().filters(&filters).build()
    }
}

/// Takes events off the engine until the connection ends, or the reader is gone or too slow.
async fn pump(docker: Docker, options: EventsOptions, sender: mpsc::Sender<StreamId>, ends: Ends) {
    let mut events = std::pin::pin!(docker.events(Some(options)));
    while let Some(stream) = next_change(&mut events, &sender, &ends).await {
        if sender.try_send(stream).is_err() {
            tracing::warn!("events of the engine were not read fast enough; starting over");
            return;
        }
    }
}

/// The next container of ours that changed, or pod of which one did.
async fn next_change(
    events: &mut (impl Stream<Item = Result<EventMessage, Error>> + Unpin),
    sender: &mpsc::Sender<StreamId>,
    ends: &Ends,
) -> Option<StreamId> {
    loop {
        tokio::select! {
            () = sender.closed() => return None,
            event = events.next() => {
                let event = event?.ok()?;
                ends.hear(&event);
                let labels = event.actor.and_then(|actor| actor.attributes);
                if let Some(stream) = labels::object_of(labels.as_ref()) {
                    return Some(stream);
                }
            }
        }
    }
}

/// A time of the engine as it is asked for.
fn time(text: &str) -> Option<String> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(format!("{}.{:09}", time.timestamp(), time.timestamp_subsec_nanos()))
}
