//! Actions on an existing container: start, stop, reboot, pause, unpause, recreate, kill.
//!
//! The response waits for the outcome; its body is `null`, as in the 2015 API.

use std::future;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use crate::actors::container::ContainerCommand;
use crate::http::command::{self, Settled};
use crate::http::container::BAY;
use crate::http::edge::request::{Call, Ident};
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::route::{Route, put};
use crate::http::shape;
use crate::http::text::shown;
use crate::http::{read, respond};
use crate::projections::container::ContainerView;

/// Seconds between the stop signal and the kill, as in Docker.
const GRACE_S: u32 = 10;

/// Longest grace: an hour; who needs longer sends a signal and waits.
pub const MAX_GRACE_S: u64 = 3600;

/// Signals with a name; numbers from 1 to 64 serve as well.
pub const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The routes of these actions.
pub fn routes() -> Vec<Route> {
    use ContainerCommand as C;
    vec![
        action("start", "Start", "", |_| Ok(C::Start)),
        action("stop", "Stop", "timeout", |call| Ok(C::Stop { grace_s: grace_s(call)? })),
        action("reboot", "Stop and start", "timeout", |call| {
            Ok(C::Reboot { grace_s: grace_s(call)? })
        }),
        action("pause", "Freeze", "", |_| Ok(C::Pause)),
        action("unpause", "Unpause", "", |_| Ok(C::Unpause)),
        action("recreate", "Make anew from its record, with what is desired", "", |_| {
            Ok(C::Recreate { changes: vec![] })
        }),
        action("kill", "Send a signal", "signal", |call| Ok(C::Kill { signal: signal(call)? })),
    ]
}

/// `PUT /v1/containers/{ident}/{verb}`
fn action(
    verb: &'static str,
    summary: &str,
    argument: &'static str,
    command: fn(&Call) -> Result<ContainerCommand, ApiError>,
) -> Route {
    let handler = move |State(state): State<AppState>, ident: Ident, call: Call| async move {
        let known: Vec<&str> = BAY.into_iter().chain(argument.split_whitespace()).collect();
        call.only(&known)?;
        act(&state, &call, &ident.0, verb, command(&call)?).await
    };
    put(&format!("/v1/containers/{{ident}}/{verb}"), handler, summary)
        .query(argument)
        .waits_as(shape::object::<ContainerView>)
}

async fn act(
    state: &AppState,
    call: &Call,
    ident: &str,
    verb: &str,
    command: ContainerCommand,
) -> Result<Response, ApiError> {
    let find = || read::find::<ContainerView>(state, call, ident);
    let asks = |_: ContainerView| future::ready(Ok(command));
    let reply = command::ask(state, call, find, asks).await?;
    let reply = command::joined::<ContainerView>(state, call, reply, verb).await?;
    match command::settle::<ContainerView>(state, call, &reply).await? {
        Settled::Done(_) => {
            let response = respond::json(StatusCode::OK, &Value::Null);
            Ok(respond::at(response, reply.position))
        }
        outcome => command::not_done::<ContainerView>(state, call, &reply, outcome).await,
    }
}

/// `timeout=`, in seconds.
fn grace_s(call: &Call) -> Result<u32, ApiError> {
    match call.number("timeout")? {
        None => Ok(GRACE_S),
        Some(seconds) if seconds <= MAX_GRACE_S => Ok(seconds as u32),
        Some(seconds) => {
            let reason = format!("Use at most {MAX_GRACE_S} seconds.");
            Err(ApiError::field("timeout", seconds.to_string(), reason))
        }
    }
}

/// `signal=`; a process cannot ignore the one where there is none.
fn signal(call: &Call) -> Result<String, ApiError> {
    let text = call.argument("signal").unwrap_or("SIGKILL");
    named_signal(text).ok_or_else(|| {
        let reason = "Use a signal's name, such as SIGTERM, or its number.";
        ApiError::field("signal", shown(text), reason)
    })
}

/// `SIGTERM`, from `SIGTERM`, `term` or `15`.
fn named_signal(text: &str) -> Option<String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if SIGNALS.contains(&name) {
        return Some(format!("SIG{name}"));
    }
    let number = text.parse::<u8>().ok().filter(|number| (1..=64).contains(number))?;
    Some(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        assert_eq!(named_signal("SIGKILL").unwrap(), "SIGKILL");
        assert_eq!(named_signal("term").unwrap(), "SIGTERM");
        assert_eq!(named_signal("9").unwrap(), "9");
        for bad in ["", "SIG", "SIGFOO", "0", "65", "-9", "KILL; rm"] {
            assert!(named_signal(bad).is_none(), "{bad}");
        }
    }
}
