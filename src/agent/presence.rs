//! Says again and again that the agent is there, and which work it has. Whoever hands out work learns
//! of a new session by this, and of work that was lost on the way (rule W8).

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::worker::WorkerHandle;

/// Between two hellos: a third of what passes before an agent counts as gone.
const BEAT: Duration = Duration::from_secs(5);

/// Between two tries if nobody hears it.
const RETRY: Duration = Duration::from_millis(250);

/// Says so until the service stops.
pub async fn announce(worker: WorkerHandle, mut stopping: watch::Receiver<bool>) {
    let beats = async {
        loop {
            let heard = worker.node().bus.hello(worker.hello()).await;
            if let Err(error) = &heard {
                tracing::debug!(%error, "the conductor does not hear this agent");
            }
            sleep(if heard.is_ok() { BEAT } else { RETRY }).await;
        }
    };
    tokio::select! {
        () = beats => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}
