//! What can be done with a container that is there: start, stop, reboot, pause, unpause, kill.
//!
//! The answer waits for the outcome; its body is `null`, as in the 2015 API.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use crate::actors::container::ContainerCommand;
use crate::http::command::{self, Outcome};
use crate::http::container::BAY;
use crate::http::edge::request::{Call, Ident};
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::text::shown;
use crate::http::{read, respond};
use crate::projections::container::ContainerView;

/// Seconds between the stop signal and the kill, as in Docker.
const GRACE_S: u32 = 10;

/// Longest grace: an hour; who needs longer sends a signal and waits.
const MAX_GRACE_S: u64 = 3600;

/// Signals with a name; numbers from 1 to 64 serve as well.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// `PUT /v1/containers/{ident}/start`
pub async fn start(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&BAY)?;
    act(&state, &call, &ident, "start", ContainerCommand::Start).await
}

/// `PUT /v1/containers/{ident}/stop`
pub async fn stop(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&["timeout", "bay_ident"])?;
    let grace_s = grace_s(&call)?;
    act(&state, &call, &ident, "stop", ContainerCommand::Stop { grace_s }).await
}

/// `PUT /v1/containers/{ident}/reboot`
pub async fn reboot(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&["timeout", "bay_ident"])?;
    let grace_s = grace_s(&call)?;
    act(&state, &call, &ident, "reboot", ContainerCommand::Reboot { grace_s }).await
}

/// `PUT /v1/containers/{ident}/pause`
pub async fn pause(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&BAY)?;
    act(&state, &call, &ident, "pause", ContainerCommand::Pause).await
}

/// `PUT /v1/containers/{ident}/unpause`
pub async fn unpause(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&BAY)?;
    act(&state, &call, &ident, "unpause", ContainerCommand::Unpause).await
}

/// `PUT /v1/containers/{ident}/kill`
pub async fn kill(
    State(state): State<AppState>,
    Ident(ident): Ident,
    call: Call,
) -> Result<Response, ApiError> {
    call.only(&["signal", "bay_ident"])?;
    let signal = signal(call.argument("signal").unwrap_or("SIGKILL"))?;
    act(&state, &call, &ident, "kill", ContainerCommand::Kill { signal }).await
}

async fn act(
    state: &AppState,
    call: &Call,
    ident: &str,
    action: &str,
    command: ContainerCommand,
) -> Result<Response, ApiError> {
    let find = || read::find::<ContainerView>(state, call, ident);
    let reply = command::ask(state, call, find, |_: &ContainerView| Ok(command)).await?;
    let reply = command::joined::<ContainerView>(state, reply, action)?;
    match command::settle::<ContainerView>(state, call, &reply).await? {
        Outcome::Done(_) => {
            let response = respond::json(StatusCode::OK, &Value::Null);
            Ok(respond::at(response, reply.position))
        }
        Outcome::Waiting => {
            command::shown::<ContainerView>(state, call, &reply, StatusCode::ACCEPTED).await
        }
        other => Err(command::failure(&reply, other)),
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

/// `SIGTERM`, from `SIGTERM`, `term` or `15`.
fn signal(text: &str) -> Result<String, ApiError> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if SIGNALS.contains(&name) {
        return Ok(format!("SIG{name}"));
    }
    match text.parse::<u8>() {
        Ok(number @ 1..=64) => Ok(number.to_string()),
        _ => {
            let reason = "Use a signal's name, such as SIGTERM, or its number.";
            Err(ApiError::field("signal", shown(text), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        assert_eq!(signal("SIGKILL").unwrap(), "SIGKILL");
        assert_eq!(signal("term").unwrap(), "SIGTERM");
        assert_eq!(signal("9").unwrap(), "9");
        for bad in ["", "SIG", "SIGFOO", "0", "65", "-9", "KILL; rm"] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }
}
