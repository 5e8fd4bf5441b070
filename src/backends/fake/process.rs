//! The commands that the model can run: a few of a shell's; all others exit at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::OutputStream;
use crate::command_line;
use crate::events::container::UNSET;

/// The one command that no image has.
const NOT_FOUND: &str = "no-such-command";

/// What a command does, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    /// Its steps.
    pub(super) steps: Vec<Step>,
    /// Its exit code; `None` if it goes on forever.
    pub(super) exit_code: Option<i64>,
    /// Whether it ignores `SIGTERM`.
    pub(super) ignores_term: bool,
}

/// One thing that a command does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Writes a line.
    Write(OutputStream, String),
    /// Waits.
    Wait(Duration),
}

impl Program {
    /// What a command does; `None` if there is no such command. Without any it is the image's own,
    /// which is taken to be a server.
    pub(super) fn of(command: &[String], environment: &BTreeMap<String, String>) -> Option<Self> {
        let Some((name, arguments)) = command.split_first() else { return Some(Self::default()) };
        let first = arguments.first().map(String::as_str);
        let program = match (name.rsplit('/').next().unwrap_or(name), first) {
            (NOT_FOUND, _) => return None,
            ("echo", _) => Self::write(OutputStream::Stdout, arguments.join(" ")),
            ("false", _) => Self::ends(1),
            ("exit", code) => Self::ends(code.and_then(|code| code.parse().ok()).unwrap_or(0)),
            ("env", _) => environment.iter().filter(|(_, value)| *value != UNSET).fold(
                Self::ends(0),
                |program, (key, value)| {
                    program.then(Self::write(OutputStream::Stdout, format!("{key}={value}")))
                },
            ),
            ("sleep", Some(time)) => match time.parse().map(Duration::from_secs_f64) {
                Ok(time) => Self { steps: vec![Step::Wait(time)], ..Self::ends(0) },
                Err(_) => Self::default(),
            },
            ("trap", Some("")) => Self { ignores_term: true, ..Self::ends(0) },
            ("sh", Some("-c")) => Self::script(arguments.get(1)?, environment),
            _ => Self::ends(0),
        };
        Some(program)
    }

    /// What an engine says of a command that is not there (20.10; later ones say 127).
    pub(super) fn not_found() -> Self {
        let words = format!("exec: \"{NOT_FOUND}\": executable file not found in $PATH");
        Self { exit_code: Some(126), ..Self::write(OutputStream::Stdout, words) }
    }

    /// Commands one after the other; `>&2` at the end of one sends its output to the other side.
    fn script(script: &str, environment: &BTreeMap<String, String>) -> Self {
        let mut whole = Self::ends(0);
        for part in script.split(';') {
            let mut words = command_line::split(part).unwrap_or_default();
            let to_stderr = words.pop_if(|word| word == ">&2").is_some();
            let exits = words.first().is_some_and(|word| word == "exit");
            let mut program = Self::of(&words, environment).unwrap_or_else(|| Self::ends(127));
            if to_stderr {
                for step in &mut program.steps {
                    if let Step::Write(stream, _) = step {
                        *stream = OutputStream::Stderr;
                    }
                }
            }
            whole = whole.then(program);
            if exits || whole.exit_code.is_none() {
                break;
            }
        }
        whole
    }

    const fn ends(code: i64) -> Self {
        Self { steps: Vec::new(), exit_code: Some(code), ignores_term: false }
    }

    fn write(stream: OutputStream, line: String) -> Self {
        Self { steps: vec![Step::Write(stream, line + "\n")], ..Self::ends(0) }
    }

    fn then(mut self, next: Self) -> Self {
        self.steps.extend(next.steps);
        let ignores_term = self.ignores_term || next.ignores_term;
        Self { exit_code: next.exit_code, ignores_term, ..self }
    }
}
