//! The processes of one command in a container, as this machine has them.
//!
//! The engine cannot end a command once it runs; it only says which process of the machine the
//! command is. The engine makes that one the leader of a session, so whatever it started is found
//! as well. Needs to see the engine's processes and to be allowed to signal them: the same PID
//! namespace, and root.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use super::super::BackendError;

/// Between two looks at whether processes have ended: short beside what people notice.
const POLL: Duration = Duration::from_millis(50);

/// After `SIGKILL` a process is gone in milliseconds, unless it hangs in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The session of a command in a container.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The process that leads it: its number on this machine.
    pub(super) leader: i32,
    /// The engine's id of the container, which is part of the name of its control group.
    pub(super) engine_id: String,
}

impl Session {
    /// Whether its leader is a process of the container, as far as this process can see.
    pub(super) fn is_visible(&self) -> bool {
        belongs(self.leader, self)
    }

    /// Sends `SIGTERM`, and `SIGKILL` to what is left after the grace period. Returns when none
    /// of its processes is left.
    pub(super) async fn end(&self, grace: Duration) -> Result<(), BackendError> {
        let kill_at = Instant::now() + grace;
        if !grace.is_zero() {
            self.signal(Signal::TERM).await?;
        }
        loop {
            let kills = Instant::now() >= kill_at;
            let left = if kills { self.signal(Signal::KILL).await? } else { self.count().await? };
            if left == 0 {
                return Ok(());
            }
            if Instant::now() >= kill_at + KILL_LIMIT {
                let words = "the command does not end even by SIGKILL";
                return Err(BackendError::Failed(words.to_owned()));
            }
            sleep(POLL).await;
        }
    }

    /// Sends a signal to each of its processes; how many there were.
    async fn signal(&self, signal: Signal) -> Result<usize, BackendError> {
        let session = self.clone();
        blocking(move || {
            let pids = session.pids();
            let sent = pids.iter().filter_map(|pid| send(*pid, signal, &session).transpose());
            sent.collect::<Result<Vec<()>, _>>().map(|sent| sent.len())
        })
        .await?
    }

    /// How many processes it has.
    async fn count(&self) -> Result<usize, BackendError> {
        let session = self.clone();
        blocking(move || session.pids().len()).await
    }

    /// Its processes, in the order in which they are signalled.
    fn pids(&self) -> Vec<i32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        self.leader_first(pids.filter(|pid| belongs(*pid, self)).collect())
    }

    /// A leader that sees what it waits for end before its own signal may end by itself, with
    /// another exit code.
    fn leader_first(&self, mut pids: Vec<i32>) -> Vec<i32> {
        pids.sort_by_key(|pid| *pid != self.leader);
        pids
    }
}

/// Sends a signal to a process if it is one of the session; `None` if it is not, or has ended.
fn send(pid: i32, signal: Signal, session: &Session) -> Result<Option<()>, BackendError> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
    let Ok(process) = pidfd_open(number, PidfdFlags::empty()) else { return Ok(None) };
    // Looked at again: the descriptor stays with this process, whoever has its number next.
    if !belongs(pid, session) {
        return Ok(None);
    }
    match pidfd_send_signal(&process, signal) {
        Ok(()) => Ok(Some(())),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => {
            let words = format!("the command's process cannot be signalled: {error}");
            Err(BackendError::Refused(words))
        }
    }
}

/// Whether a process lives, is in the session and in the container.
fn belongs(pid: i32, session: &Session) -> bool {
    let folder = Path::new("/proc").join(pid.to_string());
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    // Every name contains the empty one.
    !session.engine_id.is_empty()
        && session_of(&read("stat")) == Some(session.leader)
        && read("cgroup").contains(&session.engine_id)
}

/// The session in a line of `/proc/PID/stat`: the fourth column after the command, which is in
/// parentheses and may have any characters. `None` for a process that has ended.
fn session_of(stat: &str) -> Option<i32> {
    let mut columns = stat.rsplit_once(')')?.1.split_whitespace();
    let state = columns.next()?;
    columns.nth(2)?.parse().ok().filter(|_| !matches!(state, "Z" | "X"))
}

/// Reads of `/proc` may wait for a lock of the kernel.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackendError> {
    let ended = tokio::task::spawn_blocking(read).await;
    ended.map_err(|error| BackendError::Failed(format!("the processes cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_whatever_the_command_is_called() {
        assert_eq!(session_of("7 (sh) S 1 7 5 0 -1"), Some(5));
        assert_eq!(session_of("7 (a ) b) S 1 7 5 0 -1"), Some(5));
        assert_eq!(session_of("7 (sh) Z 1 7 5 0 -1"), None);
        assert_eq!(session_of(""), None);
    }

    #[test]
    fn a_leader_is_signalled_first_also_where_process_numbers_began_again() {
        let session = Session { leader: 7, engine_id: String::new() };
        assert_eq!(session.leader_first(vec![3, 5, 7, 9]), [7, 3, 5, 9]);
    }

    #[test]
    fn a_process_of_another_container_is_left_alone() {
        let leader = i32::try_from(std::process::id()).unwrap();
        let stranger = Session { leader, engine_id: "no-such-container".to_owned() };
        assert!(!stranger.is_visible());
        assert_eq!(send(leader, Signal::KILL, &stranger), Ok(None));
    }

    #[test]
    fn no_process_is_of_a_container_without_an_id() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let leader = session_of(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        let session = Session { leader, engine_id: String::new() };
        assert!(!belongs(pid, &session));
    }
}
