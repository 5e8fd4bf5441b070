//! Work on many objects on two threads, where somebody waits for it.

use std::panic::resume_unwind;
use std::thread;

/// Objects from which on threads of their own are worth their while: some milliseconds of work.
pub(super) const LONG: usize = 8192;

/// Does work on all of them, where they are many on half of them each.
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
