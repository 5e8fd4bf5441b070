//! How far work is that is in progress, beside what the log says of it: `(12 of 40 MB)` of a pull.
//!
//! Nothing of this is recorded, so it is in no view and in no answer about an earlier point. What
//! nodes say is kept here for a minute, by work, and shown with the first task of an object that
//! somebody may see, only as long as the log has that task open at the step that it belongs to. Not
//! here: steps, which are events (`projections`), and what nodes say (`agent/node`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::{EdgePort, Underway};
use crate::ids::WorkId;
use crate::projections::{TaskView, View, with_bytes};

/// Without news for so long nobody knows how far it is: a node has some each second.
const KEPT: Duration = Duration::from_secs(60);

/// Most work that is known of at once: what 300 nodes pull at once, with their twelve places each.
/// With an image's name each that is 1 MiB. Of more than that only the log's words are shown.
const MAX_KNOWN: usize = 4096;

/// What nodes said last of work in progress.
#[derive(Default)]
pub struct LatestNews(Mutex<KnownNews>);

#[derive(Default)]
struct KnownNews {
    by_work: HashMap<WorkId, Heard>,
    /// When those that are out of date were forgotten last.
    swept: Option<Instant>,
}

struct Heard {
    news: Underway,
    at: Instant,
}

impl Heard {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < KEPT
    }

    /// Whether other news are later. Those of another life of the node are: it has ended.
    fn is_before(&self, other: &Underway) -> bool {
        let (own, theirs) = (self.news.place, other.place);
        let is_later = own.session != theirs.session || own.number < theirs.number;
        self.news.attempt < other.attempt || (self.news.attempt == other.attempt && is_later)
    }
}

impl LatestNews {
    /// Says in the first task of an object how far it is, as far as that is known now.
    pub fn tell<V: View>(&self, view: &mut V) {
        let Some((tasks, _)) = view.work() else { return };
        let Some(task) = tasks.first_mut() else { return };
        if let Some(words) = self.of(task) {
            task.progress = Some(words);
        }
    }

    /// The words of a task with how far it is.
    fn of(&self, task: &TaskView) -> Option<String> {
        let step = task.progress.as_ref()?;
        let known = self.known();
        let heard = known.by_work.get(&task.id).filter(|heard| heard.is_fresh())?;
        let progress = &heard.news.progress;
        let is_of_step = progress.message == *step && heard.news.attempt > task.attempts;
        is_of_step.then(|| with_bytes(step, progress.current_bytes, progress.total_bytes))
    }

    fn known(&self) -> MutexGuard<'_, KnownNews> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EdgePort for LatestNews {
    fn underway(&self, news: Underway) {
        let mut known = self.known();
        if known.swept.is_none_or(|swept| swept.elapsed() >= KEPT) {
            known.by_work.retain(|_, heard| heard.is_fresh());
            known.swept = Some(Instant::now());
        }
        let is_full = known.by_work.len() >= MAX_KNOWN;
        match known.by_work.get(&news.work_id) {
            Some(heard) if heard.is_fresh() && !heard.is_before(&news) => return,
            None if is_full => return,
            _ => {}
        }
        known.by_work.insert(news.work_id, Heard { news, at: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use uuid::Uuid;

    use super::*;
    use crate::backends::Progress;
    use crate::bus::{Place, SessionId};
    use crate::ids::{EventId, ObjectId, Timestamp};
    use crate::projections::container::ContainerView;

    const IMAGE: &str = "busybox:1";

    fn work(number: u128) -> WorkId {
        EventId(Uuid::from_u128(number))
    }

    fn news(number: u64, mb: u64) -> Underway {
        Underway {
            node_id: ObjectId::default(),
            work_id: work(1),
            attempt: 1,
            place: Place { session: SessionId(Uuid::from_u128(7)), number },
            progress: Progress::pulling(IMAGE, mb * 1_000_000, 40_000_000),
        }
    }

    /// A container whose image is being pulled, as the log says.
    fn pulling() -> ContainerView {
        let task = TaskView {
            id: work(1),
            action: "create".to_owned(),
            requested_at: Timestamp(0),
            attempts: 0,
            blocked_on: None,
            reason: None,
            blocked_since: None,
            retry_at: None,
            progress: Some(Progress::pull_started(IMAGE).message),
        };
        ContainerView { tasks: vec![task], ..ContainerView::default() }
    }

    fn shown(known: &LatestNews, mut view: ContainerView) -> Option<String> {
        known.tell(&mut view);
        view.tasks.first()?.progress.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_latest_counts_whatever_becomes_of_the_others_on_their_way() {
        let known = LatestNews::default();
        let says = |mb: u64| Some(format!("pulling busybox:1 ({mb} of 40 MB)"));
        assert_eq!(shown(&known, pulling()).as_deref(), Some("pulling busybox:1"));
        for (place, mb, told) in [(3, 12, 12), (2, 4, 12), (3, 12, 12), (5, 20, 20)] {
            known.underway(news(place, mb));
            assert_eq!(shown(&known, pulling()), says(told));
        }
        // Of the next attempt, which begins again, and of the next life of the node.
        known.underway(Underway { attempt: 2, ..news(6, 1) });
        known.underway(news(7, 30));
        assert_eq!(shown(&known, pulling()), says(1));
        let place = Place { session: SessionId(Uuid::from_u128(8)), number: 0 };
        known.underway(Underway { attempt: 2, place, ..news(0, 2) });
        assert_eq!(shown(&known, pulling()), says(2));
        advance(KEPT).await;
        assert_eq!(shown(&known, pulling()).as_deref(), Some("pulling busybox:1"));
        known.underway(news(0, 3));
        assert_eq!(shown(&known, pulling()), says(3), "what is out of date is not later");
    }

    #[tokio::test]
    async fn it_is_shown_with_the_step_of_the_log_that_it_belongs_to() {
        let known = LatestNews::default();
        known.underway(news(1, 12));
        let with = |change: fn(&mut TaskView)| {
            let mut view = pulling();
            change(&mut view.tasks[0]);
            let log = view.tasks[0].progress.clone();
            (shown(&known, view), log)
        };
        for change in [
            (|task| task.progress = None) as fn(&mut TaskView),
            |task| task.progress = Some("pulling busybox:2".to_owned()),
            |task| task.id = work(2),
            // Its attempt has ended, and the next one has begun to pull.
            |task| task.attempts = 1,
        ] {
            let (told, log) = with(change);
            assert_eq!(told, log);
        }
        assert_eq!(shown(&known, ContainerView::default()), None);
        let mut second = pulling();
        second.tasks.insert(0, TaskView { id: work(2), ..second.tasks[0].clone() });
        known.tell(&mut second);
        assert_eq!(second.tasks[1].progress.as_deref(), Some("pulling busybox:1"), "not shown");
    }

    #[tokio::test(start_paused = true)]
    async fn so_much_is_known_at_once_and_what_is_out_of_date_makes_room() {
        let known = LatestNews::default();
        let of = |number| Underway { work_id: work(number), ..news(1, 1) };
        for number in 0..=MAX_KNOWN as u128 {
            known.underway(of(number));
        }
        let has = |number: u128| known.known().by_work.contains_key(&work(number));
        assert!(has(0) && !has(MAX_KNOWN as u128));
        known.underway(Underway { place: Place { number: 2, ..news(0, 0).place }, ..of(0) });
        assert_eq!(known.known().by_work[&work(0)].news.place.number, 2);
        advance(KEPT).await;
        known.underway(of(MAX_KNOWN as u128));
        assert_eq!(known.known().by_work.len(), 1);
    }
}
