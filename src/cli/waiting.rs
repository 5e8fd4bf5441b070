//! Waiting for the end of what a change began: what the server has accepted is not done yet.
//!
//! A change that the server answers with 202 is repeated with the same idempotency key, which asks
//! for its outcome and changes nothing again; a bay is asked for until its status is settled. What
//! is waited for is said on stderr. Not here: the output of commands (`execute`).

use std::io::{IsTerminal, Write};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::client::{Answer, Call, Client, REQUEST_ID};
use super::error::CliError;
use super::terminal::printable;
use crate::clock;
use crate::ids::Kind;

/// Most things are done by then; after that it is said what is waited for.
const QUIET_S: u64 = 2;

/// Between two looks at an object.
const POLL: Duration = Duration::from_secs(1);

/// Where what is said goes to a file, a number in it that changed is worth a line after so long: a
/// pull has another one each second.
const NUMBERS_PAUSE: Duration = Duration::from_secs(10);

/// A deletion that is blocked for so long seems to stay so: in that time the server has tried it
/// again, and would have said that a container has gone.
const STAYS_BLOCKED: Duration = Duration::from_secs(30);

/// Awaits something as long as the user waits; `None` if that is over.
pub async fn until<T>(client: &Client, work: impl Future<Output = T>) -> Option<T> {
    match client.deadline() {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

/// Sends a change of an object and waits until it is done, as far as the user waits. `ident` is
/// what the user calls the object, if it has a name already. However often it is asked for, it is
/// one request with one id.
///
/// # Errors
/// When it is refused or fails, or is not done in time.
pub async fn change(
    client: &Client,
    kind: Kind,
    ident: Option<&str>,
    call: Call<'_>,
) -> Result<Answer, CliError> {
    let id = new_request_id();
    let done = changed(client, kind, ident, call.header(REQUEST_ID, id.clone())).await;
    match done {
        Ok(answer) => Ok(Answer { request_id: Some(id), ..answer }),
        Err(error) => Err(error.of_change(Some(&id))),
    }
}

/// An id for a change, which is known even if no answer comes.
pub fn new_request_id() -> String {
    format!("req-{}", clock::new_uuid())
}

async fn changed(
    client: &Client,
    kind: Kind,
    ident: Option<&str>,
    call: Call<'_>,
) -> Result<Answer, CliError> {
    if !client.waits() {
        return client.send(call).await;
    }
    let is_delete = call.is_delete();
    let (mut wait, mut answer) = begin(client, kind, ident, call).await?;
    // Bays are answered before they are done.
    if kind == Kind::Bay
        && let Some(bay) = wait.settle(is_delete, &mut answer, None).await?
    {
        let why = reason(&bay).unwrap_or_else(|| "the deletion failed".to_owned());
        let name = &wait.line.name;
        let next = format!("magnum {kind}-show {}", printable(&wait.uuid));
        return Err(CliError::Advised(format!("{why}; {}", or_force(name)), next));
    }
    Ok(answer)
}

/// Has a bay deleted and waits until it is gone, or its deletion has failed or is blocked for so
/// long that it seems to stay so. Whether it is still there.
///
/// # Errors
/// As [`change`].
pub async fn is_stuck(
    client: &Client,
    name: &str,
    uuid: &str,
    call: Call<'_>,
) -> Result<bool, CliError> {
    let (mut wait, mut answer) = begin(client, Kind::Bay, Some(uuid), call).await?;
    wait.line.name = printable(name);
    Ok(wait.settle(true, &mut answer, Some(STAYS_BLOCKED)).await?.is_some())
}

/// What helps where the deletion of a bay does not end.
fn or_force(bay: &str) -> String {
    format!("what cannot be deleted can be left behind with: magnum bay-delete {bay} --force")
}

/// Sends a change and waits until the server has answered it for good.
async fn begin<'a>(
    client: &'a Client,
    kind: Kind,
    ident: Option<&str>,
    call: Call<'_>,
) -> Result<(Wait<'a>, Answer), CliError> {
    let call = call.keyed();
    let is_delete = call.is_delete();
    let quiet = client.deadline().map_or(QUIET_S, |deadline| {
        deadline.saturating_duration_since(Instant::now()).as_secs().min(QUIET_S)
    });
    let mut answer = client.send(call.clone().header("prefer", format!("wait={quiet}"))).await?;
    let text =
        |answer: &Answer, field| answer.body.get(field).and_then(Value::as_str).map(str::to_owned);
    let uuid = text(&answer, "uuid").or_else(|| ident.map(str::to_owned)).unwrap_or_default();
    let name = ident.map(str::to_owned).or_else(|| text(&answer, "name"));
    let name = name.unwrap_or_else(|| uuid.clone());
    let mut wait = Wait { client, kind, uuid, is_blocked: false, line: Line::new(name) };
    while answer.in_progress {
        wait.line.show(Some(&answer.body));
        answer = match wait.during(client.exchange(call.clone())).await? {
            Err(CliError::Refused { status: StatusCode::NOT_FOUND, .. }) if is_delete => {
                Answer { in_progress: false, body: Value::Null, position: None, request_id: None }
            }
            again => again?,
        };
        if answer.in_progress {
            wait.during(sleep(POLL)).await?;
        }
    }
    Ok((wait, answer))
}

/// Whether a field of an object has a value.
fn is_set(value: &Value) -> bool {
    !value.is_null()
}

/// Waiting for one object.
struct Wait<'a> {
    client: &'a Client,
    kind: Kind,
    /// Its UUID, or else what the user calls it.
    uuid: String,
    /// Whether it is a bay whose deletion is blocked.
    is_blocked: bool,
    line: Line,
}

impl Wait<'_> {
    /// Awaits something, and says meanwhile how the object is.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, CliError> {
        let mut work = std::pin::pin!(work);
        loop {
            let look = async {
                sleep(POLL).await;
                self.client.exchange(self.look()).await
            };
            let looked = tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                looked = until(self.client, look) => looked,
            };
            match looked {
                Some(looked) => self.line.show(looked.ok().map(|answer| answer.body).as_ref()),
                None => return Err(self.timed_out()),
            }
        }
    }

    /// Waits until the object's status is that of something that is done. One that is deleted is
    /// gone then; one whose deletion failed, or is blocked for longer than `patience`, is returned.
    async fn settle(
        &mut self,
        is_delete: bool,
        answer: &mut Answer,
        patience: Option<Duration>,
    ) -> Result<Option<Value>, CliError> {
        let is_settled = |body: &Value| {
            let status = body.get("status").and_then(Value::as_str);
            status.is_none_or(|status| !status.ends_with("_IN_PROGRESS"))
        };
        if !is_delete && is_settled(&answer.body) {
            return Ok(None);
        }
        let mut own_uuid: Option<String> = None;
        let position = answer.position.clone();
        let begun = Instant::now();
        let mut blocked = None;
        loop {
            let looked = match &own_uuid {
                Some(uuid) => Call::new(Method::GET, self.kind).segment(uuid),
                None => self.look(),
            };
            let looked = looked.query("min_position", position.as_ref());
            let looked = self.client.exchange(looked);
            let body = match until(self.client, looked).await.ok_or_else(|| self.timed_out())? {
                Ok(found) => found.body,
                Err(CliError::Refused { status: StatusCode::NOT_FOUND, .. }) if is_delete => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let status = body.get("status").and_then(Value::as_str).unwrap_or_default();
            if is_delete && status == "DELETE_FAILED" {
                return Ok(Some(body));
            }
            self.is_blocked = is_delete && body.pointer("/task/blocked_on").is_some_and(is_set);
            blocked = self.is_blocked.then(|| blocked.unwrap_or_else(Instant::now));
            if patience.zip(blocked).is_some_and(|(most, since)| since.elapsed() >= most) {
                return Ok(Some(body));
            }
            // Another one may have taken the name meanwhile.
            if is_settled(&body) {
                if !is_delete {
                    answer.body = body;
                }
                return Ok(None);
            }
            if begun.elapsed() >= Duration::from_secs(QUIET_S) {
                self.line.show(Some(&body));
            }
            own_uuid = body.get("uuid").and_then(Value::as_str).map(str::to_owned);
            if until(self.client, sleep(POLL / 4)).await.is_none() {
                return Err(self.timed_out());
            }
        }
    }

    fn look(&self) -> Call<'_> {
        Call::new(Method::GET, self.kind).segment(&self.uuid)
    }

    fn timed_out(&self) -> CliError {
        let what = self.line.last.as_deref().unwrap_or("the work goes on");
        let look = format!("magnum {}-show {}", self.kind, printable(&self.uuid));
        let name = &self.line.name;
        let force = if self.is_blocked { format!("; {}", or_force(name)) } else { String::new() };
        let words = format!("still waiting for {name}: {what}; look with: {look}{force}");
        CliError::TimedOut(words)
    }
}

/// What is said of a wait: on a terminal a line that changes, otherwise a line for each change.
struct Line {
    name: String,
    last: Option<String>,
    /// The last line that stays, and when it was printed.
    printed: Option<(String, Instant)>,
    begun: Instant,
    is_terminal: bool,
}

impl Line {
    fn new(name: String) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let name = printable(&name);
        Self { name, last: None, printed: None, begun: Instant::now(), is_terminal }
    }

    /// Whether it is worth another line that stays.
    fn is_news(&self, now: &str) -> bool {
        let Some((last, printed)) = &self.printed else { return true };
        let words = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "");
        last != now && (words(last) != words(now) || printed.elapsed() >= NUMBERS_PAUSE)
    }

    fn show(&mut self, object: Option<&Value>) {
        let now = object.map(state).or_else(|| self.last.clone());
        let Some(now) = now else { return };
        let name = &self.name;
        let mut stderr = std::io::stderr();
        // A lost terminal must not fail the command.
        if self.is_terminal {
            let seconds = self.begun.elapsed().as_secs() + QUIET_S;
            let _gone = write!(stderr, "\r\x1b[K{name}: {now} ({seconds} s)");
        } else if self.is_news(&now) {
            let _gone = writeln!(stderr, "{name}: {now}");
            self.printed = Some((now.clone(), Instant::now()));
        }
        self.last = Some(now);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_terminal && self.last.is_some() {
            let _gone = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// The status of an object and why it is not another one: `Creating — pulling busybox`.
fn state(object: &Value) -> String {
    let status = object.get("status").and_then(Value::as_str).unwrap_or("in progress");
    let why = reason(object).map(|why| format!(" — {why}")).unwrap_or_default();
    printable(&format!("{status}{why}").replace('\n', " "))
}

/// What an object waits for, or why it failed.
fn reason(object: &Value) -> Option<String> {
    let task = object.get("task").unwrap_or(&Value::Null);
    let of_task = ["reason", "progress", "blocked_on", "action"].map(|field| task.get(field));
    let all = of_task.into_iter().chain([object.get("status_reason")]).flatten();
    all.filter_map(Value::as_str).find(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lines_that_stay_are_few_where_only_numbers_change() {
        let mut line = Line::new("c".to_owned());
        line.is_terminal = false;
        let mut kept = vec![];
        for second in 0..25 {
            let progress = format!("pulling x (1{second} of 400 MB)");
            let task = json!({"progress": progress});
            line.show(Some(&json!({"status": "Creating", "task": task})));
            assert!(line.last.as_ref().unwrap().ends_with(&progress), "the latest is known");
            kept.push(line.printed.as_ref().unwrap().0.clone());
            advance(POLL).await;
        }
        kept.dedup();
        let words = |second| format!("Creating — pulling x (1{second} of 400 MB)");
        assert_eq!(kept, [words(0), words(10), words(20)]);
        line.show(Some(&json!({"status": "Error"})));
        assert_eq!(line.printed.as_ref().unwrap().0, "Error");
    }

    #[test]
    fn a_wait_says_the_status_and_the_reason() {
        let task = json!({"action": "create", "reason": null, "progress": "pulling busybox:local"});
        let creating = json!({"status": "Creating", "task": task});
        assert_eq!(state(&creating), "Creating — pulling busybox:local");
        let blocked = json!({"reason": "no route\nto x", "blocked_on": "node n"});
        assert_eq!(state(&json!({"status": "Error", "task": blocked})), "Error — no route to x");
        let failed = json!({"status": "DELETE_FAILED", "task": null, "status_reason": "why"});
        assert_eq!(state(&failed), "DELETE_FAILED — why");
        assert_eq!(state(&json!({})), "in progress");
    }
}
