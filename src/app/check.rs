//! Looking for damage in the log that opening it does not find, since that reads its tail only:
//! before the start for a short time on all cores, then slowly while the service runs.
//!
//! Not here: how it is found (`events/log/segment/scrub`).

use std::thread;
use std::time::Duration;

use rustix::process::setpriority_process;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{AppError, io};
use crate::events::log::segment::SegmentLog;
use crate::events::log::segment::scrub::Scrub;
use crate::events::log::{OpenError, ReadError};

/// Bytes that are read in a second while the service runs, at most: a tenth of one core, and of
/// what a slow disk gives. 10,000,000 events take two minutes.
const BYTES_PER_S: u64 = 50_000_000;

/// Everything else on this machine goes before that.
const LEAST_PRIORITY: i32 = 19;

/// The check of one start.
pub(super) struct DamageCheck {
    scrub: Scrub,
    began: Instant,
    is_done: bool,
}

impl DamageCheck {
    /// Reads for so long at most, or until the service is to stop.
    ///
    /// # Errors
    /// The damage that was found in that time.
    pub(super) fn begin(
        log: &SegmentLog,
        limit: Duration,
        stopping: &watch::Receiver<bool>,
    ) -> Result<Self, AppError> {
        let (scrub, began) = (log.scrub(), Instant::now());
        let read = scrub.read_on_all_cores(&|_| began.elapsed() < limit && !*stopping.borrow());
        let is_done = read.map_err(|error| match error {
            ReadError::Damaged(words) => OpenError::Damaged(words).into(),
            other => io("the check of the log")(std::io::Error::other(other)),
        })?;
        let check = Self { scrub, began, is_done };
        if is_done {
            check.tell();
        }
        Ok(check)
    }

    /// Goes on with what is left, if anything is, until the service is to stop. Damage is told by
    /// the log's health from then on.
    pub(super) fn go_on(self, stopping: watch::Receiver<bool>) {
        if self.is_done {
            return;
        }
        let thread = thread::Builder::new().name("log-check".to_owned());
        if let Err(error) = thread.spawn(move || self.run(&stopping)) {
            tracing::warn!(%error, "the rest of the log is not checked for damage");
        }
    }

    fn run(&self, stopping: &watch::Receiver<bool>) {
        // Linux has a priority for each thread, and this is about the one that asks.
        if let Err(error) = setpriority_process(None, LEAST_PRIORITY) {
            tracing::debug!(%error, "the log is checked with the usual priority");
        }
        let go_on = |bytes: u64| {
            thread::sleep(Duration::from_micros(bytes.saturating_mul(1_000_000) / BYTES_PER_S));
            !*stopping.borrow()
        };
        match self.scrub.read(&go_on) {
            Ok(true) => self.tell(),
            Ok(false) => {}
            Err(ReadError::Damaged(words)) => tracing::error!("{words}"),
            Err(error) => tracing::error!(%error, "the rest of the log is not checked for damage"),
        }
    }

    fn tell(&self) {
        let took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let events = self.scrub.events();
        tracing::info!(events, took_ms, "the log was checked, and no damage was found");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::events::baymodel::{BaymodelCreatedV1, BaymodelEvent};
    use crate::events::log::segment::SegmentOptions;
    use crate::events::log::{Append, EventLog, Expected};
    use crate::events::{Meta, NewEvent};
    use crate::ids::{Kind, StreamId};

    #[tokio::test]
    async fn nothing_more_is_read_once_the_service_is_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let index = sled::Config::new().temporary(true).open().unwrap().open_tree("log").unwrap();
        let options = SegmentOptions { segment_bytes: 1 << 20, folder: clock::new_uuid() };
        let log = SegmentLog::open(folder.path(), options, index).unwrap();
        let made = BaymodelEvent::Created(BaymodelCreatedV1 { fields: Default::default() });
        let made = NewEvent::new(clock::new_event_id(), clock::now(), Meta::default(), &made);
        let stream = StreamId::new(Kind::Baymodel, clock::new_object_id());
        let expected = Expected::NoStream;
        log.append(Append { stream, expected, command: None, events: vec![made] }).await.unwrap();

        let hour = Duration::from_secs(3600);
        let (sender, stopping) = watch::channel(true);
        let check = DamageCheck::begin(&log, hour, &stopping).unwrap();
        check.run(&stopping);
        assert_eq!((check.is_done, check.scrub.events()), (false, 0));
        sender.send_replace(false);
        check.run(&stopping);
        assert_eq!(check.scrub.events(), 1);

        let none = DamageCheck::begin(&log, Duration::ZERO, &stopping).unwrap();
        assert_eq!((none.is_done, none.scrub.events()), (false, 0));
        let all = DamageCheck::begin(&log, hour, &stopping).unwrap();
        assert_eq!((all.is_done, all.scrub.events()), (true, 1));
        log.close().await;
    }
}
