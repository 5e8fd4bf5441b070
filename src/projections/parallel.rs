//! Work on many objects on two threads, where a caller waits for it.

use std::panic::resume_unwind;
use std::thread;

/// The number of objects from which a second thread pays off: some milliseconds of work.
pub(super) const LONG: usize = 8192;

/// Works on all of them; if there are many, on two halves in parallel.
pub fn in_halves<T: Send, R: Send + Default>(
    mut all: Vec<T>,
    work: impl Fn(Vec<T>) -> R + Sync,
) -> [R; 2] {
    let others = all.split_off(if all.len() < LONG { all.len() } else { all.len() / 2 });
    thread::scope(|scope| {
        let others = (!others.is_empty()).then(|| scope.spawn(|| work(others)));
        let mine = work(all);
        let others = others.map(|it| it.join().unwrap_or_else(|it| resume_unwind(it)));
        [mine, others.unwrap_or_default()]
    })
}
