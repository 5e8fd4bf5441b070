//! Running commands in containers and pods, and `container-output`: the output of a command while
//! it comes, and its exit code as that of this program.
//!
//! The bytes of both outputs are passed on as they are, in the order in which the engine gives
//! them. Not here: which commands run there (`inside`).

use std::io::Write;
use std::time::Duration;

use clap::Args;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use super::args::{Target, ident};
use super::client::{Call, REQUEST_ID, is_json};
use super::error::{CliError, say};
use super::noun::Session;
use super::table;
use super::terminal::printable;
use super::waiting;
use crate::ids::Kind;

/// The stream of the Docker Engine API, or else what a server has that does not send it.
const ACCEPTED: &str = "application/vnd.docker.multiplexed-stream, application/json";

/// The command that a response is about.
const EXECUTION: &str = "x-magnum-execution";

/// Bytes before each piece of output.
const HEADER: usize = 8;

/// Between two questions how a command ended whose output has ended: the answer is there already,
/// or milliseconds away.
pub const POLL: Duration = Duration::from_millis(200);

/// The exit code of what was interrupted, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// What to execute.
#[derive(Args)]
#[command(after_help = "\
Exit codes: that of the command; 126 and 127 if it cannot be executed or is not found; 125 if
Magnum could not run it or does not know how it ended; 124 if --wait-timeout passed. Ctrl-C ends
the command.")]
pub struct Execute {
    #[command(flatten)]
    pub target: Target,
    /// Command to execute, quoted as for a shell
    #[arg(long)]
    pub command: String,
}

/// Whose output.
#[derive(Args)]
pub struct Output {
    /// Name or UUID
    #[arg(value_name = "NAME|UUID", value_parser = ident)]
    object: String,
    /// Id of the command
    #[arg(value_name = "ID", value_parser = ident)]
    id: String,
}

/// Something in which commands run.
#[derive(Clone, Copy)]
pub struct Inside<'a> {
    /// Its collection.
    pub kind: Kind,
    /// What the user calls it.
    pub ident: &'a str,
}

impl<'a> Inside<'a> {
    /// A container.
    pub const fn container(ident: &'a str) -> Self {
        Self { kind: Kind::Container, ident }
    }

    /// A request about it.
    pub fn call(self, method: Method) -> Call<'a> {
        Call::new(method, self.kind).segment(self.ident)
    }
}

/// Runs a command line there; in one of several containers, if it is said in which.
pub async fn line(
    session: &Session,
    place: Inside<'_>,
    container: Option<&str>,
    command: &str,
) -> Result<(), CliError> {
    let call = place.call(Method::PUT).segment("execute").query("container", container);
    attached(session, place, call.query("command", Some(command))).await
}

/// Prints what a command wrote and still writes, until it ends.
pub async fn output(session: &Session, kind: Kind, args: &Output) -> Result<(), CliError> {
    let place = Inside { kind, ident: &args.object };
    let call = place.call(Method::GET).segment("executions").segment(&args.id).segment("output");
    attached(session, place, call).await
}

/// Passes the output on and exits as the command does.
async fn attached(session: &Session, place: Inside<'_>, call: Call<'_>) -> Result<(), CliError> {
    let is_own = call.is_change();
    let request_id = is_own.then(waiting::new_request_id);
    let call = match &request_id {
        Some(id) => call.header(REQUEST_ID, id),
        None => call,
    };
    let code = async {
        let response = session.client.open(call.header("accept", ACCEPTED)).await?;
        let id = response.headers().get(EXECUTION).and_then(|id| id.to_str().ok());
        let id = id.map(str::to_owned);
        if is_json(&response) {
            return whole(session, place, id, response).await;
        }
        let Some(id) = id else {
            let words = "the response does not say which command it is about";
            return Err(CliError::Failed(words.to_owned()));
        };
        let command = Running { session, place, id: &id };
        let followed = command.follow(response, is_own);
        match waiting::until(&session.client, followed).await {
            Some(code) => code,
            None => Err(command.timed_out()),
        }
    };
    match code.await {
        Ok(0) => Ok(()),
        Ok(code) => Err(CliError::Exit(code)),
        Err(error @ (CliError::Exit(_) | CliError::Io(_))) => Err(error),
        Err(error) => Err(match error.of_change(request_id.as_deref()) {
            error if matches!(error.cause(), CliError::TimedOut(_)) => error,
            error => CliError::NotExecuted(Box::new(error)),
        }),
    }
}

/// The answer in one piece: of a server that does not send output while it comes, or that was asked
/// not to wait.
async fn whole(
    session: &Session,
    place: Inside<'_>,
    id: Option<String>,
    response: Response,
) -> Result<u8, CliError> {
    let is_accepted = response.status() == StatusCode::ACCEPTED;
    let body = session.client.json(&Method::PUT, response).await?;
    table::print(body.get("output").and_then(Value::as_str).unwrap_or_default())?;
    match (body.get("exit_code").and_then(Value::as_i64), id) {
        (Some(code), _) => Ok(exit_code(code)),
        (None, Some(id)) if is_accepted => {
            let command = Running { session, place, id: &id };
            eprintln!("Accepted: the command runs. Get its output with: {}", command.hint());
            Ok(0)
        }
        (None, _) if is_accepted => {
            Err(CliError::Failed("the server does not wait for the end of the command".to_owned()))
        }
        (None, _) => Ok(0),
    }
}

/// A command that runs somewhere.
struct Running<'a> {
    session: &'a Session,
    place: Inside<'a>,
    id: &'a str,
}

impl Running<'_> {
    /// Passes its output on to its end; its exit code. Ctrl-C ends it, if it is ours to end.
    async fn follow(&self, response: Response, is_own: bool) -> Result<u8, CliError> {
        let ended = async {
            let words = pass_on(self.session, response).await;
            self.outcome(words).await
        };
        let mut ended = std::pin::pin!(ended);
        tokio::select! {
            code = &mut ended => return code,
            _ = tokio::signal::ctrl_c() => {}
        }
        if !is_own {
            return Err(CliError::Exit(INTERRUPTED));
        }
        let end = async {
            let call = self.call(Method::DELETE);
            if let Err(error) = self.session.client.exchange(call).await {
                say(&format!("the command cannot be ended: {}", error.message()));
            }
        };
        let ended = async { tokio::join!(ended, end).0 };
        tokio::select! {
            code = ended => code,
            _ = tokio::signal::ctrl_c() => Err(CliError::Exit(INTERRUPTED)),
        }
    }

    /// The exit code of a command whose output has ended.
    async fn outcome(&self, output: Result<Option<String>, CliError>) -> Result<u8, CliError> {
        if let Err(error @ CliError::Io(_)) = output {
            return Err(error);
        }
        let incomplete = match output {
            Ok(words) => words,
            Err(error) => Some(error.message()),
        };
        if let Some(words) = incomplete {
            let words = format!("the output is incomplete: {words}");
            return Err(CliError::Advised(words, self.hint()));
        }
        loop {
            let body = self.session.client.exchange(self.call(Method::GET)).await?.body;
            let text = |field| body.get(field).and_then(Value::as_str);
            match (text("status"), body.get("exit_code").and_then(Value::as_i64)) {
                (_, Some(code)) => return Ok(exit_code(code)),
                (Some("waiting" | "running"), None) => tokio::time::sleep(POLL).await,
                _ => {
                    let words = text("reason").unwrap_or("the command has no exit code");
                    return Err(CliError::Failed(words.to_owned()));
                }
            }
        }
    }

    fn call(&self, method: Method) -> Call<'_> {
        self.place.call(method).segment("executions").segment(self.id)
    }

    fn hint(&self) -> String {
        let Inside { kind, ident } = self.place;
        format!("magnum {kind}-output {} {}", printable(ident), self.id)
    }

    fn timed_out(&self) -> CliError {
        let words = format!("the command in {} still runs", printable(self.place.ident));
        CliError::TimedOut(format!("{words}; get its output with: {}", self.hint()))
    }
}

/// An exit code as that of this program.
pub fn exit_code(code: i64) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Writes the output to stdout and stderr while it comes; what the service says at the end, if it
/// is not complete.
async fn pass_on(session: &Session, mut response: Response) -> Result<Option<String>, CliError> {
    let mut frames = Demultiplexer::default();
    while let Some(piece) =
        response.chunk().await.map_err(|error| session.client.broken(&Method::GET, &error))?
    {
        frames.take(&piece, &mut std::io::stdout().lock(), &mut std::io::stderr().lock())?;
    }
    match frames.words.is_empty() {
        true if frames.is_whole() => Ok(None),
        true => Ok(Some("it ended in the middle".to_owned())),
        false => Ok(Some(String::from_utf8_lossy(&frames.words).into_owned())),
    }
}

/// Takes frames apart, wherever they are cut.
#[derive(Default)]
struct Demultiplexer {
    header: Vec<u8>,
    stream: u8,
    left: usize,
    /// What the service itself says.
    words: Vec<u8>,
}

impl Demultiplexer {
    fn take(
        &mut self,
        mut bytes: &[u8],
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> Result<(), CliError> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (now, later) = bytes.split_at(bytes.len().min(HEADER - self.header.len()));
                self.header.extend_from_slice(now);
                bytes = later;
                if let [stream, _, _, _, length @ ..] = self.header.as_slice()
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.stream = *stream;
                    self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                    self.header.clear();
                }
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.left));
            match self.stream {
                1 => out.write_all(now)?,
                2 => err.write_all(now)?,
                _ => self.words.extend_from_slice(now),
            }
            self.left -= now.len();
            bytes = later;
        }
        out.flush()?;
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.left == 0 && self.header.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart_wherever_they_are_cut() {
        let all: Vec<u8> = (0..=255).collect();
        let mut bytes = b"\x01\0\0\0\0\0\x01\0".to_vec();
        bytes.extend(&all);
        bytes.extend(b"\x02\0\0\0\0\0\0\x03err\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\x02no");
        for size in 1..bytes.len() {
            let (mut frames, mut out, mut err) = (Demultiplexer::default(), Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                frames.take(piece, &mut out, &mut err).unwrap();
            }
            assert_eq!((&out, &*err, &*frames.words), (&all, &b"err"[..], &b"no"[..]), "{size}");
            assert!(frames.is_whole());
        }
        let (mut frames, mut out) = (Demultiplexer::default(), Vec::new());
        frames.take(&bytes[..20], &mut out, &mut Vec::new()).unwrap();
        assert!(!frames.is_whole());
    }

    #[test]
    fn exit_codes_are_passed_through() {
        assert_eq!([0, 9, 127, 255, 256, -1].map(exit_code), [0, 9, 127, 255, 255, 255]);
    }
}
