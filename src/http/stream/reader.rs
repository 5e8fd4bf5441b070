//! One reader of a stream: its position, its filter, and what it gets next.
//!
//! What it has not read yet is in the log, not in memory: the next page is read after the last one
//! was taken. Not here: how it is encoded (`form`).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use super::filter::Filter;
use super::item::Item;
use super::snapshot::Snapshot;
use super::start::Start;
use crate::events::cloudevent::CloudEvent;
use crate::events::log::ReadError;
use crate::events::newest::Shared;
use crate::events::subscription::{Page, Subscription};
use crate::http::edge::auth::Grant;
use crate::http::edge::places::{Place, Places};
use crate::http::edge::state::AppState;
use crate::http::error::{ApiError, UNAUTHENTICATED};
use crate::ids::Position;
use crate::projections::names::Names;

/// Events that are looked at in one go: few enough that a reader gets its first ones at once.
const PAGE: usize = 256;

/// What a page costs both of its ends, whatever is in it: waking up, a write, a read.
const PAGE_COST: Duration = Duration::from_micros(20);

/// What timers can tell apart.
const TICK: Duration = Duration::from_millis(1);

/// How long a reader that has caught up leaves what comes in the log, as one of so many who
/// follow: then they take no more than one processor for their pages, however many they are, and
/// an event more in a page costs little. As few as are done within a tick need no rest.
fn rest(followers: u32) -> Duration {
    let rest = PAGE_COST * followers;
    if rest < TICK { Duration::ZERO } else { rest }
}

/// What a reader asked for.
pub struct Wanted {
    /// Which events.
    pub filter: Arc<Filter>,
    /// After which position.
    pub start: Start,
    /// Under which address the service was asked.
    pub host: String,
    /// The state that comes before the events, if any.
    pub snapshot: Option<Snapshot>,
    /// How long it may follow.
    pub grant: Grant,
    /// Its place among all readers.
    pub place: Place,
}

/// One reader's place and what it wants.
pub struct Reader {
    installation: Uuid,
    names: Arc<Names>,
    host: String,
    events: Subscription,
    snapshot: Option<Snapshot>,
    stopping: watch::Receiver<bool>,
    grant: Grant,
    /// Whether it ended because its reader may not follow any longer.
    is_shut_out: bool,
    /// Up to where what it asked for was archived; told with a heartbeat at once.
    archived: Option<Position>,
    every: Duration,
    beat: Instant,
    /// Nothing more is read before then.
    rests_until: Instant,
    ended: bool,
    places: Places,
    place: Place,
}

/// What happens first.
enum Next {
    Page(Result<Option<Page>, ReadError>),
    Objects(Result<Vec<Item>, ApiError>),
    Beat,
    Stop,
    Lost(&'static str),
}

impl Reader {
    /// A reader at its start.
    pub fn new(state: &AppState, wanted: Wanted) -> Self {
        let Wanted { filter, start, host, snapshot, grant, place } = wanted;
        let log = state.log.clone();
        Self {
            installation: state.installation,
            names: Arc::clone(&state.own().called),
            host,
            events: Subscription::among(Arc::clone(&state.own().newest), start.after)
                .filtered(Arc::new(move |event| filter.wants(log.as_ref(), event))),
            snapshot,
            stopping: state.stopping.clone(),
            grant,
            is_shut_out: false,
            archived: start.is_cut.then_some(start.after),
            every: state.config.heartbeat,
            // One at once, so that the reader sees that it is connected, and from where.
            beat: Instant::now(),
            rests_until: Instant::now(),
            ended: false,
            places: state.own().places.clone(),
            place,
        }
    }

    /// What comes next: the present state, events, a heartbeat, or the end; none after that.
    ///
    /// May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Option<Vec<Item>> {
        if self.ended {
            return None;
        }
        if self.archived.is_some() {
            return Some(self.heartbeat(self.events.cursor()));
        }
        loop {
            let next = tokio::select! {
                biased;
                // Without a sender there is nobody left who could stop it.
                _ = self.stopping.wait_for(|stopping| *stopping) => Next::Stop,
                words = self.grant.lost() => Next::Lost(words),
                next = present_or_new(
                    &mut self.snapshot,
                    &mut self.events,
                    (self.rests_until, self.beat),
                    (&self.places, &self.place),
                ) => next,
            };
            let position = self.events.cursor();
            match next {
                Next::Stop | Next::Page(Ok(None)) => {
                    return Some(self.end("end", json!({ "reason": "the service is stopping" })));
                }
                Next::Lost(words) => {
                    self.is_shut_out = true;
                    // To come back needs another token: not the end that is only an interruption.
                    let fields = json!({ "reason": words, "code": UNAUTHENTICATED });
                    return Some(self.end("end", fields));
                }
                Next::Page(Err(error)) => {
                    tracing::error!(%error, "an event stream ends");
                    let fields = json!({ "reason": "the log cannot be read" });
                    return Some(self.end("error", fields));
                }
                Next::Objects(Err(error)) => {
                    tracing::error!(%error, "an event stream ends");
                    let fields = json!({ "reason": "the current state cannot be read" });
                    return Some(self.end("error", fields));
                }
                Next::Objects(Ok(items)) => {
                    if self.snapshot.as_ref().is_some_and(Snapshot::is_complete) {
                        self.snapshot = None;
                    }
                    if !items.is_empty() {
                        return Some(items);
                    }
                }
                Next::Page(Ok(Some(page))) => {
                    if page.cursor == page.head {
                        self.rests_until = Instant::now() + rest(self.places.taken());
                    }
                    if !page.events.is_empty() {
                        return Some(page.events.iter().map(|event| self.shown(event)).collect());
                    }
                    if Instant::now() >= self.beat {
                        return Some(self.heartbeat(position));
                    }
                }
                Next::Beat => return Some(self.heartbeat(position)),
            }
        }
    }

    /// Whether it ended because its reader may not follow any longer.
    pub const fn is_shut_out(&self) -> bool {
        self.is_shut_out
    }

    /// An event as the reader gets it.
    fn shown(&self, event: &Shared) -> Item {
        let document = event.text(&self.host, || {
            let shown = CloudEvent::new(event, self.names.of(event), self.installation, &self.host);
            serde_json::to_string(&shown).unwrap_or_default()
        });
        Item::Event(event.position, document)
    }

    fn heartbeat(&mut self, position: Position) -> Vec<Item> {
        self.beat = Instant::now() + self.every;
        let archived = self.archived.take();
        let fields = archived.map_or_else(|| json!({}), |archived| json!({ "archived": archived }));
        vec![Item::Control("heartbeat", Some(position), fields)]
    }

    /// The last that the reader gets. While the present state is not complete there is nothing
    /// to resume after.
    fn end(&mut self, name: &'static str, fields: Value) -> Vec<Item> {
        self.ended = true;
        let position = self.snapshot.is_none().then_some(self.events.cursor());
        vec![Item::Control(name, position, fields)]
    }
}

/// More of the present state as long as it is not complete, then what the log has. Readers who have
/// much to catch up with take turns: they may all start at the beginning, and want nothing of it.
async fn present_or_new(
    snapshot: &mut Option<Snapshot>,
    events: &mut Subscription,
    (rests_until, beat): (Instant, Instant),
    (places, place): (&Places, &Place),
) -> Next {
    match snapshot {
        Some(snapshot) => Next::Objects(snapshot.next().await),
        None => {
            if Instant::now() < rests_until {
                sleep_until(rests_until).await;
            }
            let page = async {
                let _turn = if events.catches_up() { places.take_page(place).await } else { None };
                events.next_page(PAGE).await
            };
            timeout_at(beat, page).await.map_or(Next::Beat, Next::Page)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::events::audit::{AuditEvent, ReadV1};
    use crate::events::log::memory::MemoryLog;
    use crate::events::log::{Append, EventLog, Expected};
    use crate::events::{Meta, NewEvent};
    use crate::ids::{ProjectId, StreamId, StreamKind};

    #[tokio::test]
    async fn readers_who_catch_up_take_turns_and_those_who_follow_do_not() {
        let (log, project) = (MemoryLog::new(), ProjectId("p".to_owned()));
        let event = || {
            let read = ReadV1 { object: String::new(), what: String::new() };
            let event = AuditEvent::Read(read);
            NewEvent::new(clock::new_event_id(), clock::now(), Meta::default(), &event)
        };
        for _ in 0..100 {
            let append = Append {
                stream: StreamId { kind: StreamKind::Audit, id: clock::new_object_id() },
                expected: Expected::NoStream,
                command: None,
                events: vec![event()],
            };
            log.append(append).await.unwrap();
        }
        let log: Arc<dyn EventLog> = Arc::new(log);
        let places = Places::new(true);
        let place = places.take(&project).unwrap();
        let next = async |after: u64, beat: Instant| {
            let mut events = Subscription::new(Arc::clone(&log), Position(after));
            let at = (Instant::now(), beat);
            present_or_new(&mut None, &mut events, at, (&places, &place)).await
        };
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        let mut turns = Vec::new();
        while let Ok(turn) = timeout_at(now, places.take_page(&place)).await {
            turns.push(turn);
        }
        assert!(matches!(next(0, now).await, Next::Beat));
        assert!(matches!(next(90, later).await, Next::Page(Ok(Some(_)))));
        drop(turns.pop());
        assert!(matches!(next(0, later).await, Next::Page(Ok(Some(_)))));
    }

    #[test]
    fn few_followers_need_no_rest_and_many_take_turns() {
        assert_eq!(rest(1), Duration::ZERO);
        assert_eq!(rest(49), Duration::ZERO);
        assert_eq!(rest(100), Duration::from_millis(2));
        assert_eq!(rest(8192), Duration::from_micros(163_840));
    }
}
