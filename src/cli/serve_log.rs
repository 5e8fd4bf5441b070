//! The service's own log: where it goes, in which form, and that an event is one line.
//!
//! Not here: what is logged (whoever logs it).

use std::borrow::Cow;
use std::io::{self, Stderr, Write};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::error::CliError;
use super::terminal;

/// The options of the service's own log.
#[derive(Args)]
pub struct LogArgs {
    /// Format of the service's own log on stderr; MAGNUM_LOG or RUST_LOG filter it
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    #[arg(value_name = "text|json", hide_possible_values = true)]
    log_format: LogFormat,
    /// Log each request: method, path, status, duration, bytes, project, user, request id
    #[arg(long)]
    pub access_log: bool,
}

/// Format of the service's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

impl LogArgs {
    /// Starts writing the service's own log to stderr.
    ///
    /// # Errors
    /// When the environment has a filter that is not one.
    pub fn start(&self) -> Result<(), CliError> {
        let wanted = ["MAGNUM_LOG", "RUST_LOG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|filter| !filter.is_empty()))
            .unwrap_or_else(|| "info".to_owned());
        let filter = EnvFilter::try_new(&wanted).map_err(|error| {
            CliError::Failed(format!(
                "MAGNUM_LOG or RUST_LOG is not a valid filter: {wanted}: {error}"
            ))
        })?;
        let has_colours = terminal::colours(&io::stderr());
        let writer = move || OneLine { out: io::stderr(), has_colours };
        let builder = tracing_subscriber::fmt().with_env_filter(filter);
        match self.log_format {
            LogFormat::Json => builder.with_writer(io::stderr).json().try_init(),
            LogFormat::Text => builder.with_writer(writer).with_ansi(has_colours).try_init(),
        }
        .map_err(|error| CliError::Failed(error.to_string()))
    }
}

/// Writes each event as one line: what others say, such as an engine or a client, must not look
/// like a line of the service's own. The subscriber hands over an event at a time.
struct OneLine {
    out: Stderr,
    /// Whether an escape character may be the subscriber's: it escapes those of others itself.
    has_colours: bool,
}

impl Write for OneLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = one_line(text.strip_suffix('\n').unwrap_or(&text), self.has_colours);
        self.out.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A text without control characters, which are written as in a Rust string.
fn one_line(text: &str, has_colours: bool) -> Cow<'_, str> {
    let is_kept = |c: char| !c.is_control() || (has_colours && c == '\u{1b}');
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_kept(character) {
            line.push(character);
        } else {
            line.extend(character.escape_debug());
        }
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_others_say() {
        assert_eq!(one_line("a é b", false), "a é b");
        assert_eq!(one_line("a\nb\tc\u{1b}[31m\r", false), r"a\nb\tc\u{1b}[31m\r");
        assert_eq!(one_line("\u{1b}[2ma\nb\u{9b}", true), "\u{1b}[2ma\\nb\\u{9b}");
    }
}
