//! Places for what requests cause and what lasts or is large: how many there are at once, and how
//! many of them one project may have. For what is short, requests wait for one; otherwise they are
//! refused.
//!
//! Where requests are authenticated one project may have half of the places of a kind, so that no
//! single one can take them all; otherwise there is only one project, which may have all. Not here:
//! who takes which (handlers), commands and work (`actors`, `agent`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::turns::{Turn, Turns};
use crate::http::error::ApiError;
use crate::ids::ProjectId;

/// Most answers that go on until somebody ends them, event streams and followed logs together:
/// each holds a connection, a few kilobytes and at most one page.
const MAX_STREAMS: usize = 8192;

/// Places of those that a followed log takes: it holds up to 1 MiB of output where it is not read,
/// so all of them hold a gigabyte.
const FOLLOWED_LOG: usize = 8;

/// Most readers that are being sent the present state at once: each holds 16 bytes an object.
const MAX_SNAPSHOTS: usize = 64;

/// Most questions that read much of the log at once, such as those of the debugger: each takes a
/// processor, some hundred megabytes of documents where the log has the largest events, and one of
/// the 512 threads that may wait.
const MAX_QUESTIONS: usize = 8;

/// Most reads at once that look at many events or objects for those they want, pages of streams
/// that catch up among them: each takes a processor for some tens of milliseconds, and one of the
/// 512 threads that may wait. With the questions and the states that are sent these take fewer than
/// a hundred, so whatever else needs a thread finds one.
const MAX_SCANS: usize = 16;

/// How long such a read waits for a place: for some hundred others.
const SCAN_WAIT: Duration = Duration::from_secs(10);

/// Most manifests that are being fetched at once: each holds a request for up to ten seconds, and a
/// megabyte.
const MAX_FETCHES: usize = 32;

/// Most bytes of output that is being collected, and of large answers that are being sent,
/// together: eight of the largest outputs.
const MAX_HELD_BYTES: usize = 256 << 20;

/// Most bytes of requests' bodies together: a hundred of the largest. Apart from what answers take,
/// so that a client that reads none does not stop changes.
const MAX_BODY_BYTES: usize = 128 << 20;

/// Places for what lasts. Cheap to clone.
#[derive(Clone)]
pub struct Places {
    streams: Shares,
    snapshots: Shares,
    questions: Shares,
    scans: Arc<Turns<ProjectId>>,
    held_bytes: Shares,
    bodies: Shares,
    fetches: Shares,
}

impl Places {
    /// All of them, free.
    pub fn new(is_shared: bool) -> Self {
        let share = |all: usize| if is_shared { all / 2 } else { all };
        let shares = |what, all: usize| Shares::new(what, all, share(all));
        Self {
            streams: shares("event streams and followed logs", MAX_STREAMS),
            snapshots: shares("streams of the current state", MAX_SNAPSHOTS),
            questions: shares("questions to the debugger and reads with at=", MAX_QUESTIONS),
            scans: Arc::new(Turns::new(MAX_SCANS, share(MAX_SCANS))),
            held_bytes: shares("bytes of output and large answers", MAX_HELD_BYTES),
            bodies: shares("bytes of request bodies", MAX_BODY_BYTES),
            fetches: shares("manifests being fetched", MAX_FETCHES),
        }
    }

    /// A place for an answer that goes on, held as long as the value lives.
    ///
    /// # Errors
    /// When all are taken, or all that the project may have.
    pub fn take(&self, project: &ProjectId) -> Result<Place, ApiError> {
        self.streams.take(project, 1)
    }

    /// The places for a followed log, held as long as the value lives.
    ///
    /// # Errors
    /// When all are taken, or all that the project may have.
    pub fn take_followed_log(&self, project: &ProjectId) -> Result<Place, ApiError> {
        self.streams.take(project, FOLLOWED_LOG)
    }

    /// A place for being sent the present state, held as long as the value lives.
    ///
    /// # Errors
    /// When all are taken, or all that the project may have.
    pub fn take_snapshot(&self, project: &ProjectId) -> Result<Place, ApiError> {
        self.snapshots.take(project, 1)
    }

    /// A place for reading much of the log, held as long as the value lives.
    ///
    /// # Errors
    /// When all are taken, or all that the project may have.
    pub fn take_question(&self, project: &ProjectId) -> Result<Place, ApiError> {
        self.questions.take(project, 1)
    }

    /// Waits for a place for a read that looks at many events or objects.
    ///
    /// # Errors
    /// When there was none for long, or none that the project may have.
    pub async fn take_scan(&self, project: &ProjectId) -> Result<Turn, ApiError> {
        let turn = timeout(SCAN_WAIT, self.scans.take(project)).await;
        turn.ok().flatten().ok_or_else(|| {
            let what = "searches, histories, and sorted or filtered lists";
            if self.scans.is_used_up(project) {
                too_many(what, self.scans.share())
            } else {
                overloaded(what, MAX_SCANS)
            }
        })
    }

    /// Waits for a place for a page of a stream that catches up, for as long as it takes.
    pub async fn take_page(&self, stream: &Place) -> Option<Turn> {
        self.scans.take(&stream.project).await
    }

    /// Room for so many bytes of an answer, held as long as the value lives.
    ///
    /// # Errors
    /// When there is not as much, or not for the project.
    pub fn take_bytes(&self, project: &ProjectId, bytes: usize) -> Result<Place, ApiError> {
        self.held_bytes.take(project, bytes)
    }

    /// Room for so many bytes of a request's body, held as long as the value lives.
    ///
    /// # Errors
    /// When there is not as much, or not for the project.
    pub fn take_body(&self, project: &ProjectId, bytes: usize) -> Result<Place, ApiError> {
        self.bodies.take(project, bytes)
    }

    /// A place for fetching a manifest, held as long as the value lives.
    ///
    /// # Errors
    /// When all are taken, or all that the project may have.
    pub fn take_fetch(&self, project: &ProjectId) -> Result<Place, ApiError> {
        self.fetches.take(project, 1)
    }

    /// How many streams there are.
    pub fn taken(&self) -> u32 {
        let state = self.streams.state();
        (MAX_STREAMS - state.free.min(MAX_STREAMS)) as u32
    }
}

/// Places of one kind.
#[derive(Clone, Debug)]
struct Shares {
    what: &'static str,
    all: usize,
    /// As many as one project may have.
    share: usize,
    state: Arc<Mutex<ShareState>>,
}

#[derive(Debug)]
struct ShareState {
    free: usize,
    taken: HashMap<ProjectId, usize>,
}

/// Places of one kind that a project has, until they are dropped.
#[derive(Debug)]
pub struct Place {
    shares: Shares,
    project: ProjectId,
    count: usize,
}

impl Shares {
    fn new(what: &'static str, all: usize, share: usize) -> Self {
        let state = ShareState { free: all, taken: HashMap::new() };
        Self { what, all, share, state: Arc::new(Mutex::new(state)) }
    }

    fn take(&self, project: &ProjectId, count: usize) -> Result<Place, ApiError> {
        let mut place = Place { shares: self.clone(), project: project.clone(), count: 0 };
        place.grow(count)?;
        Ok(place)
    }

    fn state(&self) -> MutexGuard<'_, ShareState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes more.
    ///
    /// # Errors
    /// When there are not as many, or not for the project; then it has what it had.
    pub fn grow(&mut self, count: usize) -> Result<(), ApiError> {
        let Shares { what, all, share, .. } = self.shares;
        let mut state = self.shares.state();
        let own = state.taken.get(&self.project).copied().unwrap_or_default();
        if own.saturating_add(count) > share {
            return Err(too_many(what, share));
        }
        if count > state.free {
            return Err(overloaded(what, all));
        }
        state.free -= count;
        *state.taken.entry(self.project.clone()).or_default() += count;
        self.count += count;
        Ok(())
    }
}

/// The refusal where a project has its share.
fn too_many(what: &str, share: usize) -> ApiError {
    ApiError::TooMany(format!(
        "The limit of {share} {what} at once is reached by this project; end some, or try again \
         later."
    ))
}

/// The refusal where all have as much as there is.
fn overloaded(what: &str, all: usize) -> ApiError {
    ApiError::Overloaded(format!(
        "The service has reached its limit of {all} {what} at once; try again later."
    ))
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shares.state();
        state.free += self.count;
        debug_assert!(state.free <= self.shares.all, "more places than there are");
        if let Some(own) = state.taken.get_mut(&self.project) {
            *own = own.saturating_sub(self.count);
            if *own == 0 {
                state.taken.remove(&self.project);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> ProjectId {
        ProjectId(name.to_owned())
    }

    #[test]
    fn a_place_is_free_again_when_its_holder_ends() {
        let shares = Shares::new("streams", 2, 2);
        let held = [0, 1].map(|_| shares.take(&project("a"), 1).unwrap());
        // Its share is all of it here.
        assert_eq!(shares.take(&project("a"), 1).unwrap_err().status(), 429);
        assert_eq!(shares.take(&project("b"), 1).unwrap_err().status(), 503);
        drop(held);
        assert!(shares.take(&project("b"), 2).is_ok());
        assert!(shares.state().taken.is_empty(), "projects that have none are not remembered");
    }

    #[test]
    fn one_project_has_half_where_there_are_several() {
        let places = Places::new(true);
        let one: Vec<_> =
            (0..MAX_QUESTIONS / 2).map(|_| places.take_question(&project("a")).unwrap()).collect();
        let refused = places.take_question(&project("a")).unwrap_err();
        assert_eq!(refused.status(), 429, "{refused}");
        let _other = places.take_question(&project("b")).unwrap();
        drop(one);
        assert!(places.take_question(&project("a")).is_ok());
        let half = MAX_STREAMS / 2;
        let streams: Vec<_> = (0..half).map(|_| places.take(&project("a")).unwrap()).collect();
        assert_eq!(places.take(&project("a")).unwrap_err().status(), 429);
        assert!(places.take(&project("b")).is_ok());
        assert_eq!(places.taken() as usize, streams.len());
        assert_eq!(Places::new(false).streams.share, MAX_STREAMS, "there is no other project");
    }

    #[test]
    fn bytes_are_taken_as_an_answer_grows() {
        let places = Places::new(true);
        let mut growing = places.take_bytes(&project("a"), 1).unwrap();
        assert_eq!(growing.grow(MAX_HELD_BYTES / 2).unwrap_err().status(), 429);
        growing.grow(MAX_HELD_BYTES / 2 - 1).unwrap();
        assert_eq!(places.take_bytes(&project("a"), 1).unwrap_err().status(), 429);
        let _other = places.take_bytes(&project("b"), MAX_HELD_BYTES / 2).unwrap();
        assert_eq!(places.take_bytes(&project("c"), 1).unwrap_err().status(), 503);
        drop(growing);
        assert!(places.take_bytes(&project("c"), 1).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn scans_wait_for_a_place_and_one_project_leaves_some() {
        let places = Places::new(true);
        let (a, b) = (project("a"), project("b"));
        let mut of_a = Vec::new();
        for _ in 0..MAX_SCANS / 2 {
            of_a.push(places.take_scan(&a).await.unwrap());
        }
        assert_eq!(places.take_scan(&a).await.unwrap_err().status(), 429, "after a while");
        let mut of_b = vec![places.take_scan(&b).await.unwrap()];
        let waiting = places.take_scan(&a);
        let (got, ()) = tokio::join!(waiting, async { drop(of_a.pop()) });
        of_a.push(got.unwrap());
        while of_b.len() < MAX_SCANS / 2 {
            of_b.push(places.take_scan(&b).await.unwrap());
        }
        assert_eq!(places.take_scan(&project("c")).await.unwrap_err().status(), 503);
    }
}
