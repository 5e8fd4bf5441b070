//! The only reader of time and randomness; decisions get the time through `Ctx` (rule E2).
//!
//! A simulation replaces both for its thread ([`simulate`]): time then follows tokio's clock, and
//! ids, delays and keys come from a seed.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use tokio::time::Instant;
use uuid::{Builder, Uuid};

use crate::ids::{EventId, ObjectId, Timestamp};

thread_local! {
    static SIMULATED: RefCell<Option<Simulated>> = const { RefCell::new(None) };
}

/// Time and randomness of a simulation.
struct Simulated {
    /// What the clock showed, and when that was.
    began: (Timestamp, Instant),
    /// State of the generator (SplitMix64).
    random: u64,
}

impl Simulated {
    fn now(&self) -> Timestamp {
        let (shown, at) = self.began;
        Timestamp(shown.0 + i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    const fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn uuid(&mut self) -> Uuid {
        let millis = u64::try_from(self.now().0 / 1000).unwrap_or(0);
        let mut random = [0; 10];
        let drawn = [self.draw(), self.draw()].into_iter().flat_map(u64::to_le_bytes);
        random.iter_mut().zip(drawn).for_each(|(byte, value)| *byte = value);
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

/// What the simulation of this thread says, if there is one.
fn simulated<T>(ask: impl FnOnce(&mut Simulated) -> T) -> Option<T> {
    SIMULATED.with_borrow_mut(|simulated| simulated.as_mut().map(ask))
}

/// From now on this thread's clock shows `now` and goes on as tokio's does, and everything random
/// follows from the seed. Calling it again sets the clock and begins with another seed. Must be
/// called in a tokio runtime.
pub fn simulate(now: Timestamp, seed: u64) {
    let began = (now, Instant::now());
    SIMULATED.set(Some(Simulated { began, random: seed }));
}

/// Sets a simulated clock forward, or back.
pub fn jump_ms(by: i64) {
    simulated(|clock| clock.began.0.0 += by.saturating_mul(1000));
}

/// Whether this thread is in a simulation, which has no other threads.
pub fn is_simulated() -> bool {
    simulated(|_| ()).is_some()
}

/// The wall clock, for stamping events. Never used to order them: positions do that.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    simulated(|clock| clock.now()).unwrap_or_else(|| Timestamp(Utc::now().timestamp_micros()))
}

/// The wall clock and the steady clock at one moment: the closest of several reads, because a
/// thread may lose its turn between the two. For a clock that starts here and goes on by itself.
pub fn now_and_instant() -> (Timestamp, Instant) {
    let read = |_| {
        let (before, now, after) = (Instant::now(), now(), Instant::now());
        (after - before, (now, after))
    };
    (0..9)
        .map(read)
        .fold(read(0), |closest, next| if next.0 < closest.0 { next } else { closest })
        .1
}

/// A new id that sorts by the time it was made (UUID version 7).
#[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
pub fn new_uuid() -> Uuid {
    simulated(Simulated::uuid).unwrap_or_else(Uuid::now_v7)
}

/// An id for a new object.
pub fn new_object_id() -> ObjectId {
    ObjectId(new_uuid())
}

/// An id for an event that is about to be appended.
pub fn new_event_id() -> EventId {
    EventId(new_uuid())
}

/// Random bytes that make a key: the kernel's, which nobody can guess.
///
/// # Errors
/// When the kernel has none.
pub fn secret() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let drawn = |clock: &mut Simulated| [(); 4].map(|()| clock.draw());
    if let Some(drawn) = simulated(drawn) {
        let source = drawn.into_iter().flat_map(u64::to_le_bytes);
        bytes.iter_mut().zip(source).for_each(|(byte, value)| *byte = value);
        return Ok(bytes);
    }
    // Up to 256 bytes are given whole or not at all.
    let given = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    if given == bytes.len() { Ok(bytes) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

/// The same 256 random bits as text that may stand in headers, cookies and addresses (base64url).
///
/// # Errors
/// When the kernel has none.
pub fn secret_text() -> std::io::Result<String> {
    secret().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

/// A random delay up to `limit_ms`, so that many retries do not come at once.
#[expect(clippy::disallowed_methods, reason = "the one place that reads randomness")]
pub fn jitter_ms(limit_ms: u64) -> u64 {
    let drawn = simulated(Simulated::draw);
    let drawn = drawn.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    drawn.checked_rem(limit_ms).unwrap_or(0)
}
