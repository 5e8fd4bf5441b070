//! Actions on an existing container: start, stop, reboot, pause, unpause, recreate, kill.
//!
//! The response waits for the outcome; its body is `null`, as in the 2015 API.

use std::future;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use crate::actors::container::ContainerCommand;
use crate::events::container::NO_KILL;
use crate::http::bay::BAY;
use crate::http::command::{self, Settled};
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

/// Longest grace: what the engine's number holds. A negative one never ends, as in Docker.
const MAX_GRACE_S: i64 = i32::MAX as i64;

/// Signals with a name; numbers from 1 to 64 serve as well.
pub const SIGNALS: [&str; 34] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS", "CLD", "IOT", "POLL",
];

/// Real-time signals count from both ends, to as far as the engine has names.
const REAL_TIME: [(&str, char, u8); 2] = [("RTMIN", '+', 15), ("RTMAX", '-', 14)];

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
    call.argument("timeout").map_or(Ok(GRACE_S), |text| {
        seconds(text).ok_or_else(|| {
            let reason = format!(
                "Use a whole number of seconds, at most {MAX_GRACE_S}; -1 waits without a kill."
            );
            ApiError::field("timeout", shown(text), reason)
        })
    })
}

fn seconds(text: &str) -> Option<u32> {
    match text.parse::<i64>().ok()? {
        ..0 => Some(NO_KILL),
        seconds @ 0..=MAX_GRACE_S => u32::try_from(seconds).ok(),
        _ => None,
    }
}

/// `signal=`; a process cannot ignore the one where there is none.
fn signal(call: &Call) -> Result<String, ApiError> {
    let text = call.argument("signal").unwrap_or("SIGKILL");
    named_signal(text).ok_or_else(|| {
        let reason =
            "Use a signal's name, such as SIGTERM or SIGRTMIN+3, or its number from 1 to 64.";
        ApiError::field("signal", shown(text), reason)
    })
}

/// `SIGTERM`, from `SIGTERM`, `term` or `15`.
fn named_signal(text: &str) -> Option<String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    // A plus sign that was not encoded arrives as a space.
    let name = name.replace(' ', "+");
    if SIGNALS.contains(&&*name) || is_real_time(&name) {
        return Some(format!("SIG{name}"));
    }
    let number = text.parse::<u8>().ok().filter(|number| (1..=64).contains(number))?;
    Some(number.to_string())
}

/// `RTMIN`, `RTMIN+3`, `RTMAX-2`.
fn is_real_time(name: &str) -> bool {
    REAL_TIME.iter().any(|(end, sign, most)| {
        let Some(rest) = name.strip_prefix(end) else { return false };
        let digits = rest.strip_prefix(*sign).filter(|digits| !digits.starts_with(['0', '+']));
        rest.is_empty() || digits.and_then(|it| it.parse::<u8>().ok()).is_some_and(|it| it <= *most)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_signals_have_the_names_that_the_engine_knows() {
        for (good, name) in [
            ("SIGRTMIN", "SIGRTMIN"),
            ("SIGRTMIN+3", "SIGRTMIN+3"),
            ("rtmin 15", "SIGRTMIN+15"),
            ("SIGRTMAX-2", "SIGRTMAX-2"),
            ("RTMAX-14", "SIGRTMAX-14"),
            ("37", "37"),
            ("SIGPOLL", "SIGPOLL"),
        ] {
            assert_eq!(named_signal(good).as_deref(), Some(name));
        }
        let bad = ["RTMIN+16", "RTMIN-1", "RTMAX+1", "RTMAX-15", "RTMIN+", "RTMIN+0", "RTMIN++1"];
        for bad in bad.into_iter().chain(["RTMIN3", "RTMAX-03", "SIGSIGTERM"]) {
            assert_eq!(named_signal(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_negative_grace_never_ends() {
        for (text, grace) in [
            ("0", Some(0)),
            ("7200", Some(7200)),
            ("-1", Some(NO_KILL)),
            ("-9", Some(NO_KILL)),
            ("2147483647", Some(i32::MAX as u32)),
            ("2147483648", None),
            ("1.5", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(seconds(text), grace, "{text}");
        }
    }

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
